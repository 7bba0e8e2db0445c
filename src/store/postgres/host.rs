//! A connection to one of the hosts that `database.url` names: the first that the URL means. It knows of no pool.

use std::net::IpAddr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, PgConnection, Row};
use tokio::time::timeout;

use super::connections::CONNECT_TIMEOUT;
use super::error::{Failure, classify, no_connection};
use super::url::{SessionTarget, Target};
use crate::store::StoreError;

/// A standby takes no writes, nor does a server or role whose transactions are read-only unless they say otherwise.
const TAKES_WRITES: &str =
    "select not pg_is_in_recovery() and not current_setting('default_transaction_read_only')::boolean";

/// Tries the hosts in their order, and gives the options that worked with the connection.
///
/// # Errors
/// That of the last host, if none is what the URL means.
pub(super) async fn connect(target: &Target) -> Result<(PgConnection, &PgConnectOptions), StoreError> {
    let mut failure = None;
    for options in &target.hosts {
        match connect_to(options, target.session).await {
            Ok(connection) => return Ok((connection, options)),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| StoreError::Unavailable("database.url names no host".into())))
}

/// To this host and no other, within the time that a connection has.
pub(super) async fn connect_to(options: &PgConnectOptions, session: SessionTarget) -> Result<PgConnection, StoreError> {
    within(CONNECT_TIMEOUT, async {
        let mut connection = options.connect().await.map_err(no_connection)?;
        if session == SessionTarget::ReadWrite {
            // By the simple protocol, as one message: a pooler may lead two to two servers.
            let row = sqlx::raw_sql(TAKES_WRITES).fetch_one(&mut connection).await.map_err(classify)?;
            if !row.try_get::<bool, _>(0).map_err(classify)? {
                let (host, port) = (options.get_host(), options.get_port());
                let why = format!("{host}:{port} takes no writes, and neither does another host of database.url");
                return Err(StoreError::Unavailable(why.into()));
            }
        }
        Ok(connection)
    })
    .await
}

pub(super) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(limit, call).await.unwrap_or_else(|_| Err(Failure::no_answer(limit).error))
}

/// A socket, or an address that no other machine is reached by.
pub(super) fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    options.get_socket().is_some() || host.starts_with('/') || host == "localhost" || loopback
}

/// Whether the server must have a certificate that an authority vouches for.
pub(super) fn is_verified(options: &PgConnectOptions) -> bool {
    matches!(options.get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull)
}
