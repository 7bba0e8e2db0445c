//! nginx with `deploy/nginx/oneclick-login.conf` in front of two addresses.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;

use super::daemon::Daemon;
use super::{client, program, rendered};
use crate::support::app::{Answer, Call, login};
use crate::support::program::{eventually, exchange};
use crate::support::tls::{self, MadePair};

/// What stands around the shipped file; without a path of its own nginx would write where only root may.
const AROUND: &str = "
daemon off;
pid nginx.pid;
error_log error.log info;
worker_processes 2;
events { worker_connections 1024; }
http {
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include oneclick-login.conf;
}
";

pub struct Nginx {
    daemon: Daemon,
    client: reqwest::Client,
}

/// A line of the shipped log format, with what it says of each replica that was tried.
#[derive(Debug)]
pub struct Logged {
    pub request_id: String,
    pub tries: Vec<Try>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Try {
    pub upstream: String,
    pub bytes_sent: u64,
}

impl Nginx {
    pub fn before(replicas: [SocketAddr; 2]) -> Self {
        Self::start(replicas, None)
    }

    /// Before replicas that speak TLS with this certificate.
    pub fn before_tls(replicas: [SocketAddr; 2], pair: &MadePair) -> Self {
        Self::start(replicas, Some(pair))
    }

    fn start(replicas: [SocketAddr; 2], pair: Option<&MadePair>) -> Self {
        let nginx = program("nginx", &[], &["nginx"]);
        let [one, other] = replicas.map(|address| address.to_string());
        let command = [nginx.to_str().unwrap(), "-p", "{folder}", "-e", "error.log", "-c", "nginx.conf"];
        let daemon = Daemon::start("nginx", &command, |folder, port| {
            let at = |name: &str| folder.join(name).display().to_string();
            let site = rendered(
                "deploy/nginx/oneclick-login.conf",
                &[
                    ("10.0.0.11:8080", &one),
                    ("10.0.0.12:8080", &other),
                    ("    listen [::]:443 ssl http2;\n", ""),
                    ("listen 443 ", &format!("listen 127.0.0.1:{port} ")),
                    ("/etc/nginx/tls/login.example.com.pem", &at("tls.pem")),
                    ("/etc/nginx/tls/login.example.com.key", &at("tls.key")),
                    ("/var/log/nginx/oneclick-login.log", &at("access.log")),
                ],
            );
            let site = match pair {
                None => site,
                Some(_) => [
                    ("proxy_pass http://", "proxy_pass https://"),
                    ("        #proxy_ssl_", "        proxy_ssl_"),
                    ("/etc/nginx/tls/replicas-authority.pem", &at("authority.pem")),
                    ("login.internal", "localhost"),
                ]
                .iter()
                .fold(site, |site, (written, ours)| site.replace(written, ours)),
            };
            vec![
                ("authority.pem", pair.map(|pair| pair.certificate.clone()).unwrap_or_default()),
                ("nginx.conf", AROUND.to_owned()),
                ("oneclick-login.conf", site),
                ("tls.pem", tls::certificate_pem()),
                ("tls.key", tls::private_key_pem()),
            ]
        });
        Self { daemon, client: client(Ipv4Addr::LOCALHOST) }
    }

    pub fn port(&self) -> u16 {
        self.daemon.port
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port())
    }

    pub async fn send(&self, call: Call) -> Answer {
        exchange(&self.client, &self.url(), call).await.expect("nginx answers")
    }

    /// As somebody else than the test itself: loopback has a whole network of addresses.
    pub async fn send_from(&self, address: Ipv4Addr, call: Call) -> Answer {
        exchange(&client(address), &self.url(), call).await.expect("nginx answers")
    }

    pub async fn log_in(&self, access_token: &str) -> Answer {
        self.send(login(access_token)).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        let mut call = login("").method(reqwest::Method::GET).body("");
        path.clone_into(&mut call.path);
        self.send(call).await
    }

    /// Its log, once that has this many lines.
    pub async fn logged(&self, lines: usize) -> Vec<Logged> {
        eventually("logged", async || {
            let log = self.daemon.log("access.log");
            let complete: Vec<_> = log.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(parse).collect();
            (complete.len() >= lines).then_some(complete)
        })
        .await
    }
}

fn parse(line: &str) -> Logged {
    let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let text = |key: &str| line[key].as_str().unwrap().to_owned();
    let (upstreams, bytes) = (text("upstream"), text("upstream_bytes_sent"));
    let tries = upstreams.split(", ").zip(bytes.split(", ")).filter(|(upstream, _)| !upstream.is_empty());
    Logged {
        request_id: text("request_id"),
        tries: tries
            .map(|(upstream, bytes)| Try { upstream: upstream.to_owned(), bytes_sent: bytes.parse().unwrap() })
            .collect(),
    }
}
