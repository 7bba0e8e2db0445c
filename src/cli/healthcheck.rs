//! `healthcheck`: for a container's health check, which has no other client at hand.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;

use super::{CliError, say};

const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub struct Arguments {
    /// Ask whether the server takes logins; without it, whether the process answers at all. An orchestrator that
    /// restarts unhealthy containers must not be told about a database that is away.
    #[arg(long)]
    ready: bool,
}

pub async fn run(arguments: &Arguments, listen: SocketAddr, out: &mut dyn Write) -> Result<(), CliError> {
    let path = if arguments.ready { "readyz" } else { "livez" };
    let url = format!("http://{}/{path}", reachable(listen));
    let refused = |error: reqwest::Error| CliError::Refused(format!("{url} does not answer: {}", error.without_url()));
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().map_err(refused)?;
    let response = client.get(&url).send().await.map_err(refused)?;
    let status = response.status();
    let body = response.text().await.map_err(refused)?;
    if !status.is_success() {
        return Err(CliError::Refused(format!("{url} answers {status}: {body}")));
    }
    say(out, format_args!("{body}"))
}

/// The address to call for one that is listened on: "all interfaces" is reached by the loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
