//! What becomes of logins that are more than the server can do: `cargo bench --bench login -- --overload`.
//!
//! An open loop: logins are sent at their own times, whatever became of those before, over two thousand keep-alive
//! connections, and every latency counts from the moment at which a login was due. Server, Postgres and the `GetMobile`
//! peer share one core, the load has the other. First the peak is looked for, in steps; then three and five times as
//! many logins are offered.
//!
//! ```text
//! --overload                          the peak, then 3 and 5 times as many
//! --overload --rate 15000             only this rate, logins a second
//! --overload --other PATH             of another build of the program
//! --overload ONECLICK_X=VALUE         with this variable
//! ```

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::database::Database;
use crate::load::Load;
use crate::open_loop::{Answers, Offer};
use crate::peer::Peer;
use crate::program::Program;

const CONNECTIONS: usize = 2_000;

/// Enough to find the peak with: more connections would measure the shedding already.
const CONNECTIONS_AT_PEAK: usize = 256;

const STEP: Duration = Duration::from_secs(5);
const WARM_UP: Duration = Duration::from_secs(2);

/// Logins a second.
const FIRST_RATE: u64 = 2_000;
const RATE_STEP: u64 = 500;

const SERVERS_CORE: &str = "0";
const LOADS_CORE: &str = "1";

/// Starts the peer instead of the benchmark, as a process that can be pinned.
pub const AS_PEER: &str = "--as-peer";

/// Says where it is, and answers until it is killed.
pub async fn be_the_peer() {
    println!("{}", Peer::start().await.endpoint());
    std::future::pending().await
}

pub async fn measure(arguments: &[String]) {
    tokio::task::LocalSet::new().run_until(measure_here(arguments)).await;
}

async fn measure_here(arguments: &[String]) {
    pin(std::process::id(), LOADS_CORE);
    let value = |flag: &str| arguments.iter().position(|it| it == flag).and_then(|at| arguments.get(at + 1));
    let path = value("--other").map_or(env!("CARGO_BIN_EXE_oneclick-login").to_owned(), Clone::clone);
    let path = std::fs::canonicalize(path).unwrap();
    let rate = value("--rate").map(|rate| rate.parse::<u64>().unwrap());

    let database = Database::start().await;
    pin(database.postmaster().id(), SERVERS_CORE);
    let peer = PeerProcess::start();
    let folder = tempfile::tempdir().unwrap();
    let url = database.url();
    let mut variables = vec![
        ("DATABASE_URL", url.as_str()),
        ("ONECLICK_VERIFIER__PROVIDER", "aliyun"),
        ("ONECLICK_VERIFIER__ALIYUN__ENDPOINT", &peer.endpoint),
        ("ONECLICK_VERIFIER__ALIYUN__ACCESS_KEY_ID", "LTAI-benchmark"),
        ("ONECLICK_VERIFIER__ALIYUN__ACCESS_KEY_SECRET", "benchmark"),
    ];
    variables.extend(arguments.iter().filter_map(|argument| argument.split_once('=')));
    let program = Program::spawn(&path, folder.path(), &variables);
    pin(program.process().id(), SERVERS_CORE);
    let program = program.listening().await;
    let load = Load::new("");
    load.register_everybody(program.address(), 64).await;

    println!("{}", Answers::HEADINGS);
    let offer = |rate, connections, lasts| Offer { server: program.address(), rate, connections, lasts };
    offer(FIRST_RATE, CONNECTIONS_AT_PEAK, WARM_UP).make(&load).await;
    let step = async |rate, connections, lasts| {
        let answers = offer(rate, connections, lasts).make(&load).await;
        println!("{}", answers.row(rate, connections, program.process()));
        program.empty_log();
        tokio::time::sleep(Duration::from_secs(1)).await;
        answers.timely_a_second()
    };
    if let Some(rate) = rate {
        step(rate, CONNECTIONS, STEP * 2).await;
        return;
    }
    let mut peak = 0.0_f64;
    for rate in (FIRST_RATE..).step_by(usize::try_from(RATE_STEP).unwrap()) {
        let timely = step(rate, CONNECTIONS_AT_PEAK, STEP).await;
        if timely < peak * 0.97 {
            break;
        }
        peak = peak.max(timely);
    }
    println!("peak: {peak:.0} logins a second, answered 200 within a second");
    for times in [3, 5] {
        let timely = step((peak as u64) * times, CONNECTIONS, STEP * 2).await;
        println!("{times} times the peak: {:.0} % of the peak in time", timely / peak * 100.0);
    }
}

/// All threads of a process, and its children from now on.
fn pin(process: u32, core: &str) {
    let mut taskset = Command::new("taskset");
    taskset.args(["--all-tasks", "--pid", "--cpu-list", core, &process.to_string()]).stdout(Stdio::null());
    assert!(taskset.status().expect("taskset is a part of util-linux").success(), "a process can be pinned");
}

struct PeerProcess {
    child: Child,
    endpoint: String,
}

impl PeerProcess {
    fn start() -> Self {
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new(program).args(["--bench", AS_PEER]).stdout(Stdio::piped()).spawn().unwrap();
        let mut endpoint = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut endpoint).unwrap();
        pin(child.id(), SERVERS_CORE);
        Self { child, endpoint: endpoint.trim_end().to_owned() }
    }
}

impl Drop for PeerProcess {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
