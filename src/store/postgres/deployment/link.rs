//! Which of several hosts the connection leads to and who would follow it, and how safe the way there is.

use sqlx::FromRow;
use sqlx::postgres::PgConnectOptions;

use super::super::host;
use super::super::url::Target;
use crate::finding::Finding;

/// Of the connection that asks. Behind a pooler, of the one from there.
pub(super) const LINK: &str = r"
select coalesce(host(inet_server_addr()) || ':' || inet_server_port(), 'a socket') as server,
       (select version from pg_stat_ssl where pid = pg_backend_pid() and ssl) as tls,
       current_setting('synchronous_standby_names') as standby_names,
       (select count(*) from pg_stat_replication) as standbys,
       (select count(*) from pg_stat_replication where sync_state in ('sync', 'quorum')) as synchronous,
       (select count(*) from pg_stat_replication where sync_state is null) as hidden";

#[derive(FromRow, Clone)]
pub(super) struct Link {
    pub server: String,
    pub tls: Option<String>,
    /// Empty where no commit waits for a standby.
    pub standby_names: String,
    /// Connected ones; backups under way count, too.
    pub standbys: i64,
    /// Those that a commit waits for.
    pub synchronous: i64,
    /// Those of which the role may see nothing but that they are there.
    pub hidden: i64,
}

impl Link {
    pub fn findings(&self, target: &Target) -> Vec<Finding> {
        let mut findings = Vec::new();
        if target.hosts.len() > 1 {
            let names: Vec<_> = target.hosts.iter().map(place).collect();
            findings.push(Finding::ok("host", format!("on {}, of {}", self.server, names.join(", "))));
        }
        findings.extend(self.standby(target.hosts.len() > 1));
        findings.push(self.encryption(target));
        findings
    }

    /// Nothing where there is neither a standby nor a second host: what keeps the data is not Postgres' replication.
    fn standby(&self, fails_over: bool) -> Option<Finding> {
        let Self { standby_names, standbys, synchronous, hidden, .. } = self;
        if standby_names.is_empty() {
            let message =
                format!("none of {standbys} is synchronous: a failover can lose sessions that were already answered");
            return if fails_over {
                let advice = "run: alter system set synchronous_standby_names = '*'; select pg_reload_conf(); \
                              or what the cluster's manager has for it";
                Some(Finding::warn("standby", message, advice))
            } else {
                (*standbys > 0).then(|| Finding::ok("standby", message))
            };
        }
        Some(if *synchronous > 0 {
            Finding::ok("standby", format!("{synchronous} of {standbys} synchronous ({standby_names})"))
        } else if *hidden > 0 {
            let message = format!("this role may not see whether one of {standbys} is synchronous ({standby_names})");
            Finding::skip("standby", message)
        } else {
            Finding::warn(
                "standby",
                format!("no synchronous one is connected ({standby_names}): every commit waits for one"),
                "start the standby, or see why it does not follow",
            )
        })
    }

    fn encryption(&self, target: &Target) -> Finding {
        let verified = target.hosts.iter().all(host::is_verified);
        let advice = "add sslmode=verify-full&sslrootcert=FILE, of the authority that signed the server's certificate, \
                      to database.url";
        match &self.tls {
            Some(version) if verified => Finding::ok("encryption", format!("{version}, the certificate is verified")),
            _ if target.hosts.iter().all(host::is_local) => {
                let version = self.tls.as_deref().unwrap_or("none");
                Finding::ok("encryption", format!("{version}, on this machine"))
            }
            Some(version) => {
                let message =
                    format!("{version}, but any certificate is taken: whoever is in between can read and write");
                Finding::warn("encryption", message, advice)
            }
            None => Finding::warn("encryption", "none: whoever is in between can read and write", advice),
        }
    }
}

/// As the URL names it.
fn place(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::url;
    use super::*;
    use crate::finding::Verdict;

    fn link() -> Link {
        let (server, standby_names) = ("10.0.0.5:5432".to_owned(), String::new());
        Link { server, tls: None, standby_names, standbys: 0, synchronous: 0, hidden: 0 }
    }

    fn said(link: &Link, url: &str) -> Vec<(&'static str, Verdict, String)> {
        let findings = link.findings(&url::parse(&url.to_owned().into()).ok().unwrap());
        findings.into_iter().map(|finding| (finding.check, finding.verdict, finding.to_string())).collect()
    }

    #[track_caller]
    fn assert_says(link: &Link, url: &str, check: &str, verdict: Verdict, words: &str) {
        let said = said(link, url);
        let found = said.iter().find(|(name, ..)| *name == check).unwrap_or_else(|| panic!("{said:?}"));
        assert!(found.1 == verdict && found.2.contains(words), "{found:?}");
    }

    const TWO: &str = "postgres://a:5432,b:5433/d";

    #[test]
    fn of_several_hosts_the_one_at_hand_is_named() {
        assert_says(&link(), TWO, "host", Verdict::Ok, "on 10.0.0.5:5432, of a:5432, b:5433");
        let checks: Vec<_> = said(&link(), "postgres://a/d").into_iter().map(|(check, ..)| check).collect();
        assert_eq!(checks, ["encryption"], "one host, no standby");
    }

    #[test]
    fn a_failover_that_can_lose_sessions_is_a_warning() {
        assert_says(&link(), TWO, "standby", Verdict::Warn, "none of 0 is synchronous: a failover can lose sessions");
        let asynchronous = Link { standbys: 2, ..link() };
        assert_says(&asynchronous, TWO, "standby", Verdict::Warn, "alter system set synchronous_standby_names");
        assert_says(&asynchronous, "postgres://a/d", "standby", Verdict::Ok, "none of 2 is synchronous");
        let named = Link { standby_names: "*".to_owned(), ..link() };
        assert_says(&named, TWO, "standby", Verdict::Warn, "every commit waits");
        let hidden = Link { standbys: 1, hidden: 1, ..named.clone() };
        assert_says(&hidden, TWO, "standby", Verdict::Skip, "may not see");
        let synchronous = Link { standbys: 2, synchronous: 1, ..named };
        assert_says(&synchronous, "postgres://a/d", "standby", Verdict::Ok, "1 of 2 synchronous (*)");
    }

    #[test]
    fn a_way_that_is_not_safe_is_a_warning_save_on_this_machine() {
        let encrypted = Link { tls: Some("TLSv1.3".to_owned()), ..link() };
        let verified = "postgres://a/d?sslmode=verify-full";
        assert_says(&encrypted, verified, "encryption", Verdict::Ok, "TLSv1.3, the certificate is verified");
        for lax in ["postgres://a/d", "postgres://a/d?sslmode=require", "postgres://localhost,a/d?sslmode=prefer"] {
            assert_says(&encrypted, lax, "encryption", Verdict::Warn, "any certificate is taken");
            assert_says(&link(), lax, "encryption", Verdict::Warn, "none: whoever is in between");
        }
        for local in ["postgres://localhost/d", "postgres://127.0.0.2,[::1]/d", "postgres:///d?host=/run"] {
            assert_says(&link(), local, "encryption", Verdict::Ok, "none, on this machine");
            assert_says(&encrypted, local, "encryption", Verdict::Ok, "TLSv1.3, on this machine");
        }
        // To a pooler that is encrypted, from which the way may be plain: what Postgres sees is said.
        assert_says(&link(), verified, "encryption", Verdict::Warn, "none");
    }
}
