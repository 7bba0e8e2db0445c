//! What an operator can do about a failure, as far as Postgres or the network says why.

use std::io::ErrorKind;

use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;

use super::error::{NoAnswer, Refusal};
use super::url::{self, Target};
use crate::store::StoreError;
use crate::verifier::BoxError;

/// What [`Store::remedy`](crate::store::Store::remedy) says, for whoever has no store at hand.
pub fn remedy(url: &SecretString, error: &StoreError) -> Option<String> {
    of(error, &url::parse(url).ok()?)
}

pub(super) fn of(error: &StoreError, target: &Target) -> Option<String> {
    // Role and database are the same for every host.
    let options = target.hosts.first()?;
    match error {
        StoreError::Unavailable(cause)
        | StoreError::Conflict(cause)
        | StoreError::Data(cause)
        | StoreError::Other(cause) => of_cause(cause, options),
        // Says itself what to do.
        StoreError::Busy
        | StoreError::Url(_)
        | StoreError::Schema(_)
        | StoreError::Replaced
        | StoreError::Corrupt { .. } => None,
    }
}

fn of_cause(cause: &BoxError, options: &PgConnectOptions) -> Option<String> {
    if let Some(refusal) = cause.downcast_ref::<Refusal>() {
        return with_names(refusal, options).or_else(|| of_refusal(refusal).map(str::to_owned));
    }
    if cause.is::<NoAnswer>() {
        let advice = "look for a firewall or security group that drops packets, or a wrong host in database.url";
        return Some(advice.to_owned());
    }
    cause.downcast_ref::<sqlx::Error>().and_then(of_connecting).map(str::to_owned)
}

fn of_connecting(error: &sqlx::Error) -> Option<&'static str> {
    match error {
        sqlx::Error::Io(error) => Some(match error.kind() {
            ErrorKind::ConnectionRefused => {
                "nothing listens there: start Postgres, or mend host and port in database.url"
            }
            ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => {
                "something there hangs up: see the log of Postgres, or of the pooler or load balancer in front of it"
            }
            // The resolver's errors have no kind of their own.
            _ if error.to_string().contains("lookup") => "the host in database.url has no address: mend it, or the DNS",
            _ => "look at the network between here and the host in database.url",
        }),
        sqlx::Error::Protocol(_) => {
            Some("something else than Postgres listens there: mend host and port in database.url")
        }
        sqlx::Error::Tls(_) => Some("look at sslmode and sslrootcert in database.url, and at the server's certificate"),
        _ => None,
    }
}

/// Statements to copy, for the role and the database at hand.
fn with_names(refusal: &Refusal, options: &PgConnectOptions) -> Option<String> {
    let role = identifier(options.get_username());
    // A server takes the role's name for the database's where none is given.
    let database = identifier(options.get_database().unwrap_or(options.get_username()));
    let about = |kind: &str| named_after(&refusal.message, kind).map(identifier);
    Some(match refusal.sqlstate.as_str() {
        "3D000" => format!(
            "create the database: createdb --owner={role} --encoding=UTF8 --template=template0 {database}; \
             or mend its name in database.url"
        ),
        "42501" => match (about("schema "), about("database ")) {
            (Some(schema), _) => format!(
                "run, as who owns the schema: grant usage on schema {schema} to {role}; and for the role that migrates: \
                 grant usage, create on schema {schema} to {role};"
            ),
            (_, Some(name)) => format!("run, as who owns the database: grant connect on database {name} to {role};"),
            _ if refusal.message.starts_with("must be owner") => {
                "migrate with a DATABASE_URL whose role owns the tables".to_owned()
            }
            _ => format!(
                "run, as the role that migrates: grant select, insert, update, delete on all tables in schema public \
                 to {role};"
            ),
        },
        "3F000" => {
            format!("make the schema that search_path names: create schema NAME authorization {role};")
        }
        "42P07" => "another program's tables are in this schema: give this one a database of its own".to_owned(),
        _ => return None,
    })
}

/// `public` of `permission denied for schema public`.
fn named_after<'a>(message: &'a str, kind: &str) -> Option<&'a str> {
    message.strip_prefix("permission denied for ")?.strip_prefix(kind).map(|name| name.trim_matches('"'))
}

/// As it stands in a statement, and in a shell where it is plain.
fn identifier(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let begins = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    if begins && name.bytes().all(plain) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn of_refusal(refusal: &Refusal) -> Option<&'static str> {
    Some(match refusal.sqlstate.as_str() {
        "28P01" => "put the role's password into database.url, special characters as %XX",
        "28000" => "make the role, or let it in by pg_hba.conf from this host, with or without TLS as in database.url",
        "53300" => "lower database.max_connections or the number of replicas, or raise the limit that is met",
        "57P03" => "wait: the server is starting or stopping; or see its log",
        "25006" => "give database.url the host of the primary, or switch default_transaction_read_only off",
        "53100" => "make room on the database's disk",
        // What PgBouncer says to the time limits that come with a connection.
        "08P01" if refusal.message.contains("startup parameter") => {
            "there is a pooler: set database.transaction_pooler to true"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(sqlstate: &str, message: &str, url: &str) -> String {
        let refusal = Refusal::new(sqlstate, message);
        remedy(&url.to_owned().into(), &StoreError::Other(refusal.into())).unwrap()
    }

    #[test]
    fn what_is_to_be_run_names_the_role_and_the_database_at_hand() {
        let url = "postgres://login:canary@h/one";
        for (sqlstate, message, words) in [
            (
                "3D000",
                "database \"one\" does not exist",
                "createdb --owner=login --encoding=UTF8 --template=template0 one;",
            ),
            ("42501", "permission denied for schema public", "grant usage, create on schema public to login;"),
            ("42501", "permission denied for database \"one\"", "grant connect on database one to login;"),
            (
                "42501",
                "permission denied for table users",
                "grant select, insert, update, delete on all tables in schema public to login;",
            ),
            ("42501", "must be owner of table users", "whose role owns the tables"),
            ("3F000", "no schema has been selected to create in", "create schema NAME authorization login;"),
            ("42P07", "relation \"users\" already exists", "a database of its own"),
        ] {
            let text = advice(sqlstate, message, url);
            assert!(text.contains(words) && !text.contains("canary"), "{message}: {text}");
        }
        let odd = advice("3D000", "", "postgres://Log-In@h");
        assert!(odd.contains("createdb --owner=\"Log-In\"") && odd.contains("\"Log-In\";"), "{odd}");
    }
}
