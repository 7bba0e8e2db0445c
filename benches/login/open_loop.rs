//! Logins that are sent when they are due, over as many connections as there are, and what was answered to each.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use crate::load::{Answer, Connection, Load};
use crate::process::Process;

/// What is still in time.
const TIMELY: Duration = Duration::from_secs(1);

/// How long to wait for answers after the last login was sent.
const PATIENCE: Duration = Duration::from_secs(9);

#[derive(Debug, Clone, Copy)]
pub struct Offer {
    pub server: SocketAddr,
    /// Logins a second.
    pub rate: u64,
    pub connections: usize,
    pub lasts: Duration,
}

/// Latencies in seconds, by kind of answer.
#[derive(Debug, Default)]
pub struct Answers {
    lasts: f64,
    /// From the moment at which the login was due.
    logged_in: Vec<f64>,
    /// From the moment at which the login was sent.
    refused: Vec<f64>,
    /// Answered "unknown": the token was spent, and there may be no session.
    unknown: u64,
    /// Due, and not answered.
    missing: u64,
}

/// The connections that have nothing to do, and the logins that wait for one.
#[derive(Default)]
struct Desk {
    idle: Vec<UnboundedSender<Instant>>,
    due: VecDeque<Instant>,
    answers: Answers,
}

impl Offer {
    pub async fn make(self, load: &Load) -> Answers {
        let desk = Rc::new(RefCell::new(Desk::default()));
        let mut tasks = JoinSet::new();
        for _ in 0..self.connections {
            tasks.spawn_local(serve(self.server, load.clone(), Rc::clone(&desk)));
        }
        while desk.borrow().idle.len() < self.connections {
            sleep(Duration::from_millis(10)).await;
        }
        let begun = Instant::now();
        let mut sent = 0_u64;
        while begun.elapsed() < self.lasts {
            let due = u64::try_from(begun.elapsed().as_micros()).unwrap() * self.rate / 1_000_000;
            while sent < due {
                let at = begun + Duration::from_micros(sent * 1_000_000 / self.rate);
                desk.borrow_mut().hand_out(at);
                sent += 1;
            }
            sleep_until((Instant::now() + Duration::from_millis(1)).into()).await;
        }
        let give_up_at = Instant::now() + PATIENCE;
        while desk.borrow().idle.len() < self.connections && Instant::now() < give_up_at {
            sleep(Duration::from_millis(10)).await;
        }
        tasks.shutdown().await;
        let mut answers = std::mem::take(&mut desk.borrow_mut().answers);
        let answered = answers.logged_in.len() + answers.refused.len();
        answers.missing = sent - answers.unknown - u64::try_from(answered).unwrap();
        answers.lasts = self.lasts.as_secs_f64();
        for latencies in [&mut answers.logged_in, &mut answers.refused] {
            latencies.sort_by(f64::total_cmp);
        }
        answers
    }
}

impl Desk {
    fn hand_out(&mut self, due: Instant) {
        match self.idle.pop() {
            Some(connection) => connection.send(due).unwrap(),
            None => self.due.push_back(due),
        }
    }
}

async fn serve(server: SocketAddr, load: Load, desk: Rc<RefCell<Desk>>) {
    let mut request = load.request();
    let mut connection = Connection::open(server).await;
    let (sender, mut due) = unbounded_channel();
    desk.borrow_mut().idle.push(sender.clone());
    while let Some(due) = due.recv().await {
        load.renew(&mut request);
        let sent = Instant::now();
        let answer = connection.log_in(&request.bytes).await;
        desk.borrow_mut().answers.add(&answer, sent - due, sent.elapsed());
        if answer.last {
            connection = Connection::open(server).await;
        }
        let mut desk = desk.borrow_mut();
        match desk.due.pop_front() {
            Some(due) => sender.send(due).unwrap(),
            None => desk.idle.push(sender.clone()),
        }
    }
}

impl Answers {
    pub const HEADINGS: &'static str = "   offered  connections  in time/s  200 p50/p99 ms   refused/s  refused p50/p99 ms  \
                                        unknown  missing  resident MiB";

    fn add(&mut self, answer: &Answer, waited: Duration, took: Duration) {
        match (answer.logged_in, answer.unspent) {
            (true, _) => self.logged_in.push((waited + took).as_secs_f64()),
            (false, true) => self.refused.push(took.as_secs_f64()),
            (false, false) => self.unknown += 1,
        }
    }

    pub fn timely_a_second(&self) -> f64 {
        let timely = self.logged_in.partition_point(|latency| *latency <= TIMELY.as_secs_f64());
        timely as f64 / self.lasts
    }

    pub fn row(&self, rate: u64, connections: usize, server: Process) -> String {
        let (timely, refused) = (self.timely_a_second(), self.refused.len() as f64 / self.lasts);
        let [ok_median, ok_slow, refused_median, refused_slow] = [
            millis(&self.logged_in, 0.5),
            millis(&self.logged_in, 0.99),
            millis(&self.refused, 0.5),
            millis(&self.refused, 0.99),
        ];
        format!(
            "{rate:>10}  {connections:>11}  {timely:>9.0}  {ok_median:>6.1}/{ok_slow:<7.1}  {refused:>9.0}  \
             {refused_median:>8.1}/{refused_slow:<9.1}  {:>7}  {:>7}  {:>12.1}",
            self.unknown,
            self.missing,
            server.resident_mib()
        )
    }
}

fn millis(sorted: &[f64], quantile: f64) -> f64 {
    let at = (sorted.len() as f64 * quantile) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default() * 1_000.0
}
