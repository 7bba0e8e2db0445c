//! The parameters of a Postgres URL: which are known, what is said of the others, and what their values must be.

use std::collections::BTreeMap;
use std::fs::File;

use super::{InvalidUrl, decoded};

/// By libpq's names. An empty value is as good as none.
#[derive(Default)]
pub(super) struct Parameters {
    values: BTreeMap<&'static str, String>,
    /// `options` and sqlx's `options[name]`, which add up.
    options: Vec<(String, String)>,
}

/// Parameters that libpq's variables stand in for. Others (`PGUSER`, `PGPASSWORD`, `PGPASSFILE`, `PGDATABASE`,
/// `PGAPPNAME`, `PGOPTIONS`) are read by sqlx itself.
const VARIABLES: [(&str, &str); 8] = [
    ("PGHOSTADDR", "host"),
    ("PGHOST", "host"),
    ("PGPORT", "port"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
];

/// What sqlx takes under the same name.
const OF_SQLX: [&str; 9] = [
    "user",
    "password",
    "dbname",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "application_name",
    "statement-cache-capacity",
];

/// With the names that sqlx has for some of them beside libpq's.
fn known(name: &str) -> Option<&'static str> {
    Some(match name {
        "host" => "host",
        "hostaddr" => "hostaddr",
        "port" => "port",
        "dbname" => "dbname",
        "user" => "user",
        "password" => "password",
        "sslmode" | "ssl-mode" => "sslmode",
        "sslrootcert" | "ssl-root-cert" | "ssl-ca" => "sslrootcert",
        "sslcert" | "ssl-cert" => "sslcert",
        "sslkey" | "ssl-key" => "sslkey",
        "application_name" => "application_name",
        "target_session_attrs" => "target_session_attrs",
        "statement-cache-capacity" => "statement-cache-capacity",
        _ => return None,
    })
}

/// Parameters of libpq and of other drivers that would be missed in silence, and what is there instead.
fn unsupported(name: &str) -> Option<&'static str> {
    Some(match name {
        "connect_timeout" => "a connection is given one second for each host; leave it out",
        "tcp_user_timeout" | "keepalives" | "keepalives_idle" | "keepalives_interval" | "keepalives_count" => {
            "every connection and statement has a time limit here; leave it out"
        }
        "passfile" => "name the file by the variable PGPASSFILE",
        "sslpassword" => "the key in sslkey must not be encrypted",
        "sslcrl" | "sslcrldir" => "no list of revoked certificates is read",
        "channel_binding" | "require_auth" | "requirepeer" => "sslmode=verify-full makes sure of the server",
        "gssencmode" | "krbsrvname" | "gsslib" | "gssdelegation" => "there is no GSSAPI here; leave it out",
        "service" | "servicefile" => "write host, port, user and database into the URL",
        "load_balance_hosts" => "hosts are tried in the order they are written",
        "client_encoding" => "it is always UTF8; leave it out",
        "fallback_application_name" => "write application_name",
        "ssl" | "requiressl" => "write sslmode",
        "schema" | "search_path" | "currentSchema" => "write options=-csearch_path%3Dname",
        "pgbouncer" => "set database.transaction_pooler to true",
        "replication"
        | "sslcompression"
        | "sslsni"
        | "sslcertmode"
        | "sslnegotiation"
        | "sslkeylogfile"
        | "ssl_min_protocol_version"
        | "ssl_max_protocol_version"
        | "min_protocol_version"
        | "max_protocol_version"
        | "scram_client_key"
        | "scram_server_key"
        | "oauth_issuer"
        | "oauth_client_id"
        | "oauth_client_secret"
        | "oauth_scope" => "leave it out",
        _ => return None,
    })
}

impl Parameters {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub fn set(&mut self, name: &'static str, value: String) {
        // Several defaults are a list of commas.
        if value.is_empty() {
            self.values.remove(name);
        } else {
            self.values.insert(name, value);
        }
    }

    /// As in libpq, a parameter goes before what stands in front of the query, the last before the others, and a plus
    /// sign is a plus sign.
    pub fn add_query(&mut self, query: &str) -> Result<(), InvalidUrl> {
        // What follows an ampersand in a password that is written plainly would be taken for a name.
        let mut follows_secret = false;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(InvalidUrl::Form)?;
            if name == "options" || (name.starts_with("options[") && name.ends_with(']')) {
                self.options.push((name.to_owned(), decoded(value)?));
            } else if let Some(name) = known(name) {
                self.set(name, decoded(value)?);
            } else if let Some(why) = unsupported(name) {
                return Err(InvalidUrl::Unsupported { name: name.to_owned(), why });
            } else {
                let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
                return Err(InvalidUrl::Unknown((plain && !follows_secret).then(|| name.to_owned())));
            }
            follows_secret |= name == "password";
        }
        Ok(())
    }

    pub fn add_environment(&mut self, environment: impl Fn(&str) -> Option<String>) {
        for (variable, name) in VARIABLES {
            let given = self.values.contains_key(name) || name == "host" && self.values.contains_key("hostaddr");
            if let (false, Some(value)) = (given, environment(variable)) {
                self.set(name, value);
            }
        }
    }

    /// The values that do not concern the hosts. Files are opened: sqlx says neither which one is missing nor, to a
    /// server that waits for its database, that it is an error for good.
    pub fn check(&mut self) -> Result<(), InvalidUrl> {
        match self.get("sslmode") {
            None | Some("disable" | "prefer" | "require" | "verify-ca" | "verify-full") => {}
            // sqlx takes `allow` and never encrypts then.
            Some(_) => return Err(InvalidUrl::SslMode),
        }
        if self.get("statement-cache-capacity").is_some_and(|value| value.parse::<usize>().is_err()) {
            return Err(InvalidUrl::CacheCapacity);
        }
        if self.get("sslcert").is_some() != self.get("sslkey").is_some() {
            return Err(InvalidUrl::ClientCertificate);
        }
        for parameter in ["sslrootcert", "sslcert", "sslkey"] {
            if let Some(path) = self.get(parameter) {
                // Whoever writes the key itself there must not read it in an error.
                let shown = if path.contains("-----") { "(not a file's name, but PEM)" } else { path };
                File::open(path).map_err(|error| InvalidUrl::File { parameter, path: shown.to_owned(), error })?;
            }
        }
        // As in libpq: who names an authority wants the server's certificate to be verified by it.
        if self.get("sslmode") == Some("require") && self.get("sslrootcert").is_some() {
            self.set("sslmode", "verify-ca".to_owned());
        }
        Ok(())
    }

    pub fn for_sqlx(&self) -> impl Iterator<Item = (&str, &str)> {
        let values = OF_SQLX.iter().filter_map(|name| Some((*name, self.get(name)?)));
        values.chain(self.options.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }
}
