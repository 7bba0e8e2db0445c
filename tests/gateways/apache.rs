//! Apache with `deploy/apache/protected.conf` in front of an application.

use std::net::{Ipv4Addr, SocketAddr};

use super::daemon::Daemon;
use super::nginx::Nginx;
use super::{client, program, rendered};
use crate::support::app::{Answer, Call};
use crate::support::program::exchange;
use crate::support::tls;

const MODULES: &str = "/usr/lib/apache2/modules";

/// What Debian's own configuration loads, and the four that the shipped file names.
const LOADED: [&str; 10] = [
    "mpm_event",
    "authn_core",
    "authz_core",
    "authz_user",
    "socache_shmcb",
    "proxy",
    "ssl",
    "headers",
    "proxy_http",
    "auth_openidc",
];

pub struct Apache {
    daemon: Daemon,
    client: reqwest::Client,
}

impl Apache {
    /// Takes the keys from the service behind `gateway`, and lets through to `application`.
    pub fn before(application: SocketAddr, gateway: &Nginx) -> Self {
        let module = format!("{MODULES}/mod_auth_openidc.so");
        let apache = program("apache2", &[&module], &["apache2-bin", "libapache2-mod-auth-openidc"]);
        let command = [apache.to_str().unwrap(), "-D", "FOREGROUND", "-d", "{folder}", "-f", "{folder}/apache.conf"];
        let daemon = Daemon::start("apache", &command, |folder, port| {
            let at = |name: &str| folder.join(name).display().to_string();
            let site = rendered(
                "deploy/apache/protected.conf",
                &[
                    ("https://login.example.com/api/v1/oauth2/keys", &format!("{}/api/v1/oauth2/keys", gateway.url())),
                    ("/etc/ssl/certs/ca-certificates.crt", &at("tls.pem")),
                    ("/etc/apache2/tls/app.example.com.pem", &at("tls.pem")),
                    ("/etc/apache2/tls/app.example.com.key", &at("tls.key")),
                    ("*:443", &format!("127.0.0.1:{port}")),
                    ("127.0.0.1:3000", &application.to_string()),
                ],
            );
            let modules = LOADED.map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n")).concat();
            let around = format!(
                "DefaultRuntimeDir {0}\nPidFile {0}/apache.pid\nErrorLog {0}/error.log\nLogLevel notice\n\
                 ServerName localhost\nListen 127.0.0.1:{port}\n{modules}Include {0}/protected.conf\n",
                folder.display()
            );
            vec![
                ("apache.conf", around),
                ("protected.conf", site),
                ("tls.pem", tls::certificate_pem()),
                ("tls.key", tls::private_key_pem()),
            ]
        });
        Self { daemon, client: client(Ipv4Addr::LOCALHOST) }
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        let call = Call { method: reqwest::Method::GET, path: path.to_owned(), headers, body: Vec::new() };
        let base = format!("https://localhost:{}", self.daemon.port);
        exchange(&self.client, &base, call).await.expect("Apache answers")
    }

    /// The page, asked for with this token.
    pub async fn page(&self, token: &str) -> Answer {
        self.get("/page", &[("Authorization", &format!("Bearer {token}"))]).await
    }
}
