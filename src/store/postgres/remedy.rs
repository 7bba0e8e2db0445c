//! What an operator can do about a failure, as far as Postgres or the network says why.

use std::io::ErrorKind;

use super::error::{NoAnswer, Refusal};
use crate::store::StoreError;
use crate::verifier::BoxError;

pub(super) fn of(error: &StoreError) -> Option<String> {
    match error {
        StoreError::Unavailable(cause)
        | StoreError::Conflict(cause)
        | StoreError::Data(cause)
        | StoreError::Other(cause) => of_cause(cause),
        // Says itself what to run.
        StoreError::Url(_) | StoreError::Schema(_) | StoreError::Corrupt { .. } => None,
    }
    .map(str::to_owned)
}

fn of_cause(cause: &BoxError) -> Option<&'static str> {
    if let Some(refusal) = cause.downcast_ref::<Refusal>() {
        return of_refusal(refusal);
    }
    if cause.is::<NoAnswer>() {
        return Some("look for a firewall or security group that drops packets, or a wrong host in database.url");
    }
    match cause.downcast_ref::<sqlx::Error>()? {
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

fn of_refusal(refusal: &Refusal) -> Option<&'static str> {
    Some(match refusal.sqlstate.as_str() {
        "28P01" => "put the role's password into database.url, special characters as %XX",
        "28000" => "make the role, or let it in by pg_hba.conf from this host, with or without TLS as in database.url",
        "3D000" => "create the database, or mend its name in database.url",
        "53300" => "lower database.max_connections or the number of replicas, or raise the limit that is met",
        "57P03" => "wait: the server is starting or stopping; or see its log",
        "25006" => "give database.url the host of the primary, or switch default_transaction_read_only off",
        "42501" => "grant select, insert, update and delete on all tables of the schema to the role in database.url",
        "53100" => "make room on the database's disk",
        // What PgBouncer says to the time limits that come with a connection.
        "08P01" if refusal.message.contains("startup parameter") => {
            "there is a pooler: set database.transaction_pooler to true"
        }
        _ => return None,
    })
}
