//! A pooler in transaction mode that drops the time limits of a connection without a word, as PgBouncer does with
//! `ignore_startup_parameters = options`.

use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use super::postgres::TestDatabase;

/// Deals one connection to Postgres out to all clients, a transaction at a time.
pub struct Pooler {
    /// What Postgres said until it was ready: each client is told the same.
    greeting: Vec<u8>,
    server: Mutex<TcpStream>,
}

impl Pooler {
    /// The database's url by way of a pooler.
    pub async fn start(database: &TestDatabase) -> String {
        let options: PgConnectOptions = database.url().parse().unwrap();
        let mut server = TcpStream::connect((options.get_host(), options.get_port())).await.unwrap();
        let name = options.get_database().unwrap();
        let parameters = format!("user\0{}\0database\0{name}\0\0", options.get_username());
        let length = u32::try_from(8 + parameters.len()).unwrap().to_be_bytes();
        let version_3 = 0x0003_0000_u32.to_be_bytes();
        server.write_all(&[&length, &version_3, parameters.as_bytes()].concat()).await.unwrap();
        let greeting = until_ready(&mut server).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let pooler = Arc::new(Self { greeting, server: Mutex::new(server) });
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let pooler = Arc::clone(&pooler);
                // A client that goes away ends its own task only.
                tokio::spawn(async move { pooler.serve(client).await });
            }
        });
        format!("postgres://{}@127.0.0.1:{port}/{name}?sslmode=disable", options.get_username())
    }

    async fn serve(&self, mut client: TcpStream) -> Result<()> {
        let mut startup = vec![0; client.read_u32().await? as usize - 4];
        client.read_exact(&mut startup).await?;
        client.write_all(&self.greeting).await?;
        loop {
            let mut next = message(&mut client).await?;
            let mut server = self.server.lock().await;
            loop {
                if next[0] == b'X' {
                    return Ok(());
                }
                server.write_all(&next).await?;
                if b"QS".contains(&next[0]) {
                    let answer = until_ready(&mut server).await?;
                    client.write_all(&answer).await?;
                    if answer.ends_with(b"I") {
                        break;
                    }
                }
                next = message(&mut client).await?;
            }
        }
    }
}

/// The next message, with its type and its length.
async fn message(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let (kind, length) = (stream.read_u8().await?, stream.read_u32().await?);
    let mut message = [&[kind], length.to_be_bytes().as_slice()].concat();
    message.resize(1 + length as usize, 0);
    stream.read_exact(&mut message[5..]).await?;
    Ok(message)
}

/// All messages up to the one that says whether a transaction is open.
async fn until_ready(server: &mut TcpStream) -> Result<Vec<u8>> {
    let mut messages = Vec::new();
    loop {
        let message = message(server).await?;
        messages.extend_from_slice(&message);
        if message[0] == b'Z' {
            return Ok(messages);
        }
    }
}
