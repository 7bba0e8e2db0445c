//! From nothing to the first 200 on the embedded store: what a restart costs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::CONNECTIONS;
use crate::load::Load;
use crate::program::Program;

const PROGRAM: &str = env!("CARGO_BIN_EXE_oneclick-login");

/// Between tries to connect: short against what is measured, long enough to leave the server its CPU.
const PAUSE: Duration = Duration::from_micros(500);

const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

/// Starts the program again and again on one data folder with users and sessions in it. Each is ended by a kill, so the
/// next one's start includes reading the journal that was left.
pub async fn measure(starts: usize) {
    let folder = tempfile::tempdir().unwrap();
    let load = Load::new("sandbox:");
    let (program, _) = start(folder.path(), &load);
    load.register_everybody(program.address(), CONNECTIONS).await;
    drop(program);

    let mut times: Vec<Duration> = (0..starts).map(|_| start(folder.path(), &load).1).collect();
    times.sort_unstable();
    let ms = |at: usize| times[at].as_secs_f64() * 1_000.0;
    println!("start to the first 200, SQLite in ./data with 10,000 users and sessions, {starts} starts");
    println!("  median {:.0} ms   fastest {:.0} ms   slowest {:.0} ms", ms(starts / 2), ms(0), ms(starts - 1));
}

/// The running program, and the time from its start to the last byte of the answer to its first login.
fn start(folder: &Path, load: &Load) -> (Program, Duration) {
    let request = load.request();
    let started = Instant::now();
    let program = Program::spawn(Path::new(PROGRAM), folder, &[]);
    let mut stream = loop {
        match TcpStream::connect(program.address()) {
            Ok(stream) => break stream,
            Err(error) => {
                assert!(started.elapsed() < GIVE_UP_AFTER, "the server does not listen: {error}");
                thread::sleep(PAUSE);
            }
        }
    };
    stream.write_all(&request.bytes).unwrap();
    let mut answer = vec![0; 16 * 1024];
    let read = stream.read(&mut answer).unwrap();
    let taken = started.elapsed();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "no login: {}", String::from_utf8_lossy(&answer[..read]));
    (program, taken)
}
