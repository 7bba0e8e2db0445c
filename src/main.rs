//! Parses the command line and runs it; the exit code is 0 only on success.

use std::process::ExitCode;

use clap::Parser;
use oneclick_login::cli::Cli;
use oneclick_login::error_chain::Chain;

#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the one place where a command says why it failed")]
            {
                eprintln!("error: {}", Chain(&error));
            }
            ExitCode::FAILURE
        }
    }
}
