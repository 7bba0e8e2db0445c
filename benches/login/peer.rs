//! Alibaba Cloud's side: answers `GetMobile` with the number that the access token begins with. As cheap as can be, for
//! it takes from the CPU that the server and Postgres share; signatures and single use are the tests' matter.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::load::NUMBER_DIGITS;

const TOKEN: &[u8] = b"AccessToken=";
const HEAD_END: &[u8] = b"\r\n\r\n";

#[derive(Debug)]
pub struct Peer {
    address: SocketAddr,
}

impl Peer {
    /// Runs until the runtime ends.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer_all(stream));
            }
        });
        Self { address }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Until the caller goes away.
async fn answer_all(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let (mut answer, number_at) = answer();
    let mut request = Vec::with_capacity(8 * 1024);
    loop {
        while !request.ends_with(HEAD_END) {
            match stream.read_buf(&mut request).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        let token_at = find(&request, TOKEN).expect("a call has an access token") + TOKEN.len();
        answer[number_at..][..NUMBER_DIGITS].copy_from_slice(&request[token_at..][..NUMBER_DIGITS]);
        request.clear();
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// The answer, and where in it the number goes.
fn answer() -> (Vec<u8>, usize) {
    let number = "0".repeat(NUMBER_DIGITS);
    let body = format!(
        r#"{{"Code":"OK","Message":"OK","RequestId":"5E4C0A6E-1B7C-4C0A-9D5C-2F0E8C1A7B11","GetMobileResultDTO":{{"Mobile":"{number}"}}}}"#
    );
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json;charset=utf-8\r\nConnection: keep-alive\r\n";
    let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes();
    let number_at = find(&answer, number.as_bytes()).unwrap();
    (answer, number_at)
}

pub fn find(text: &[u8], sought: &[u8]) -> Option<usize> {
    text.windows(sought.len()).position(|window| window == sought)
}
