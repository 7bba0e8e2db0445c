//! What one round gives, and the table of all of them.

use std::fmt;
use std::time::{Duration, Instant};

use crate::Effort;
use crate::database::Database;
use crate::load::Load;
use crate::process::Process;
use crate::program::Program;

#[derive(Debug)]
pub struct Figures {
    pub logins_per_second: f64,
    /// Not among the logins.
    pub refused: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub server_us: f64,
    pub postgres_us: f64,
    pub load_us: f64,
    pub median_batch: f64,
    pub mean_batch: f64,
    pub resident_mib: f64,
}

/// One round of load on one program.
pub async fn measure(
    program: &Program,
    database: &Database,
    load: &Load,
    connections: usize,
    effort: &Effort,
) -> Figures {
    let (server, postmaster, own) = (program.process(), database.postmaster(), Process::new(std::process::id()));
    let spent = || [server.cpu(), postmaster.cpu_of_family(), own.cpu()];

    let since = database.now().await;
    let running = load.run(program.address(), connections);
    tokio::time::sleep(effort.warm_up).await;
    let (started, logins_before, before) = (Instant::now(), running.logged_in(), spent());
    running.keep_latencies(true);
    tokio::time::sleep(effort.round).await;
    let (elapsed, logins, after) = (started.elapsed(), running.logged_in() - logins_before, spent());
    running.keep_latencies(false);
    let refused = running.refused() as f64;
    let resident_mib = server.resident_mib();
    let latencies = running.stop().await;
    let batches = database.batches(since).await;
    program.empty_log();

    let logins = logins as f64;
    let us_per_login = |of: usize| (after[of] - before[of]).as_micros() as f64 / logins;
    Figures {
        logins_per_second: logins / elapsed.as_secs_f64(),
        refused,
        p50_ms: percentile_ms(&latencies, 50),
        p99_ms: percentile_ms(&latencies, 99),
        server_us: us_per_login(0),
        postgres_us: us_per_login(1),
        load_us: us_per_login(2),
        median_batch: batches.median as f64,
        mean_batch: batches.mean,
        resident_mib,
    }
}

impl Figures {
    pub fn median(rounds: &[Self], figure: impl Fn(&Self) -> f64) -> f64 {
        let mut values: Vec<f64> = rounds.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }
}

/// Of sorted values.
fn percentile_ms(sorted: &[Duration], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100].as_secs_f64() * 1_000.0
}

/// The medians of each variant's rounds, and how they compare with the first variant's.
pub struct Table<'a>(Vec<(&'a str, &'a Vec<Figures>)>);

impl<'a> Table<'a> {
    pub const fn new(variants: Vec<(&'a str, &'a Vec<Figures>)>) -> Self {
        Self(variants)
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        writeln!(
            f,
            "{:width$}  logins/s (low..high)  first/this  p50 ms  p99 ms  server µs  Postgres µs  load µs  batch (mean)",
            ""
        )?;
        let rate = |figures: &Figures| figures.logins_per_second;
        let first = self.0.first().map_or(0.0, |(_, rounds)| Figures::median(rounds, rate));
        for (name, rounds) in &self.0 {
            let median = |figure: fn(&Figures) -> f64| Figures::median(rounds, figure);
            let rates = || rounds.iter().map(rate);
            let (low, high) = (rates().fold(f64::MAX, f64::min), rates().fold(0.0, f64::max));
            writeln!(
                f,
                "{name:width$}  {:>8.0} ({low:>5.0}..{high:>5.0})  {:>10.2}  {:>6.2}  {:>6.2}  {:>9.1}  {:>11.1}  {:>7.1}  {:>5.0} ({:>4.1})",
                median(rate),
                first / median(rate),
                median(|figures| figures.p50_ms),
                median(|figures| figures.p99_ms),
                median(|figures| figures.server_us),
                median(|figures| figures.postgres_us),
                median(|figures| figures.load_us),
                median(|figures| figures.median_batch),
                median(|figures| figures.mean_batch),
            )?;
            let refused: f64 = rounds.iter().map(|figures| figures.refused).sum();
            if refused > 0.0 {
                writeln!(f, "{:width$}  {refused:>8} requests got no login", "")?;
            }
        }
        Ok(())
    }
}
