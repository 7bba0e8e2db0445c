//! Parses the command line and runs it; the exit code is 0 only on success.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use oneclick_login::cli::Cli;
use oneclick_login::error_chain::Chain;

#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a shell reports of `oneclick-login app list | head -1`, as of every other program.
const DIED_OF_SIGPIPE: u8 = 128 + 13;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_unheard() => ExitCode::from(DIED_OF_SIGPIPE),
        Err(error) => {
            // The one place where a command says why it failed; perhaps nobody listens.
            let _ = writeln!(io::stderr(), "error: {}", Chain(&error));
            ExitCode::FAILURE
        }
    }
}
