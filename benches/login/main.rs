//! The whole login, measured over loopback HTTP: `cargo bench --bench login`.
//!
//! The parts are real: the release build of the program as its own process, a throwaway Postgres cluster with
//! `fsync=on` and `synchronous_commit=on`, a peer that answers `GetMobile`, and 64 keep-alive connections, each of which
//! sends its next login when the last was answered. Users come back, every login brings a fresh access token, the
//! id_token is signed with ES256, and the log goes to a file as JSON. The variants take turns, so that whatever else the
//! machine does falls on all of them alike.
//!
//! Load and peer share the machine with what is measured. Compare CPU per login and ratios; logins a second say what
//! this machine could do just now.
//!
//! ```text
//! cargo bench --bench login                          three rounds of ten seconds for each variant
//! cargo bench --bench login -- --quick               one short round
//! cargo bench --bench login -- ONECLICK_LOGIN__MAX_BATCH=16     one more variant, with these variables (A=1,B=2)
//! cargo bench --bench login -- --other PATH          one more variant: another build of the program
//! cargo bench --bench login -- --overload            what becomes of more logins than the server can do
//! ```

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "it prints what it measured, or stops and says why not")]

mod database;
mod figures;
mod load;
mod open_loop;
mod overload;
mod peer;
mod process;
mod program;
mod start;

use std::path::{Path, PathBuf};
use std::time::Duration;

use self::database::Database;
use self::figures::{Figures, Table};
use self::load::Load;
use self::peer::Peer;
use self::program::Program;

/// What the targets are stated for.
const CONNECTIONS: usize = 64;

/// What resident memory is stated for.
const MANY_CONNECTIONS: usize = 256;

/// Half of them write: more than can help on a small machine.
const MANY_DATABASE_CONNECTIONS: &str = "32";

/// How long and how often.
struct Effort {
    rounds: usize,
    round: Duration,
    /// Before each round, unmeasured: the caches of this variant's server and of its connections.
    warm_up: Duration,
    starts: usize,
}

const FULL: Effort = Effort { rounds: 3, round: Duration::from_secs(10), warm_up: Duration::from_secs(1), starts: 20 };
const QUICK: Effort =
    Effort { rounds: 1, round: Duration::from_secs(3), warm_up: Duration::from_millis(500), starts: 5 };

/// One way to run the program.
struct Variant {
    name: String,
    program: PathBuf,
    variables: Vec<(String, String)>,
}

impl Variant {
    fn new(name: &str, variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            name: name.to_owned(),
            program: env!("CARGO_BIN_EXE_oneclick-login").into(),
            variables: variables.iter().map(owned).collect(),
        }
    }
}

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` runs this too, and a measurement is no test.
    if !take(&mut arguments, "--bench") {
        println!("nothing is measured: run it with `cargo bench --bench login`");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if take(&mut arguments, overload::AS_PEER) {
        return runtime.block_on(overload::be_the_peer());
    }
    if take(&mut arguments, "--overload") {
        return runtime.block_on(overload::measure(&arguments));
    }
    let effort = if take(&mut arguments, "--quick") { QUICK } else { FULL };
    let variants = variants(&arguments);
    // One thread for load and peer: what they take is not left for what is measured.
    runtime.block_on(async {
        measure_logins(&variants, &effort).await;
        start::measure(effort.starts).await;
    });
}

fn take(arguments: &mut Vec<String>, flag: &str) -> bool {
    let count = arguments.len();
    arguments.retain(|argument| argument != flag);
    arguments.len() < count
}

/// The first is the one that the others are compared with.
fn variants(arguments: &[String]) -> Vec<Variant> {
    let mut variants = vec![
        Variant::new("as delivered", &[]),
        Variant::new("batches of one", &[("ONECLICK_LOGIN__MAX_BATCH", "1")]),
        Variant::new(
            "batches of one, twice the writers",
            &[("ONECLICK_LOGIN__MAX_BATCH", "1"), ("ONECLICK_DATABASE__MAX_CONNECTIONS", MANY_DATABASE_CONNECTIONS)],
        ),
        Variant::new("transaction_pooler", &[("ONECLICK_DATABASE__TRANSACTION_POOLER", "true")]),
    ];
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let variables: Vec<_> = argument.split(',').filter_map(|pair| pair.split_once('=')).collect();
        variants.push(if argument == "--other" {
            let path = arguments.next().expect("--other is followed by the path of a program");
            let program = std::fs::canonicalize(path).unwrap();
            Variant { program, ..Variant::new("the other build", &[]) }
        } else if variables.is_empty() {
            panic!("{argument} is neither --quick, --other nor NAME=VALUE");
        } else {
            Variant::new(&argument.replace("ONECLICK_", "").to_lowercase(), &variables)
        });
    }
    variants
}

async fn measure_logins(variants: &[Variant], effort: &Effort) {
    let database = Database::start().await;
    let peer = Peer::start().await;
    let folders: Vec<_> = variants.iter().map(|_| tempfile::tempdir().unwrap()).collect();
    let mut programs = Vec::new();
    for (variant, folder) in variants.iter().zip(&folders) {
        let program = start_variant(variant, folder.path(), &database, &peer);
        programs.push(program.listening().await);
    }
    let load = Load::new("");
    load.register_everybody(programs[0].address(), CONNECTIONS).await;

    let mut measured: Vec<Vec<Figures>> = variants.iter().map(|_| Vec::new()).collect();
    for _ in 0..effort.rounds {
        for (program, measured) in programs.iter().zip(&mut measured) {
            measured.push(figures::measure(program, &database, &load, CONNECTIONS, effort).await);
        }
    }
    let names = variants.iter().map(|variant| variant.name.as_str());
    println!("{}", Table::new(names.zip(&measured).collect()));

    let many = figures::measure(&programs[0], &database, &load, MANY_CONNECTIONS, effort).await;
    let few = Figures::median(&measured[0], |figures| figures.resident_mib);
    println!("resident memory of the server, as delivered, under load");
    println!("  {CONNECTIONS:>4} connections  {few:>6.1} MiB");
    println!("  {MANY_CONNECTIONS:>4} connections  {:>6.1} MiB", many.resident_mib);
    println!("  at its highest    {:>6.1} MiB\n", programs[0].process().peak_resident_mib());
}

fn start_variant(variant: &Variant, folder: &Path, database: &Database, peer: &Peer) -> Program {
    let (url, endpoint) = (database.url(), peer.endpoint());
    let mut variables = vec![
        ("DATABASE_URL", url.as_str()),
        ("ONECLICK_VERIFIER__PROVIDER", "aliyun"),
        ("ONECLICK_VERIFIER__ALIYUN__ENDPOINT", &endpoint),
        ("ONECLICK_VERIFIER__ALIYUN__ACCESS_KEY_ID", "LTAI-benchmark"),
        ("ONECLICK_VERIFIER__ALIYUN__ACCESS_KEY_SECRET", "benchmark"),
    ];
    variables.extend(variant.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    Program::spawn(&variant.program, folder, &variables)
}
