//! The wire.
use crate::support::app::login;

/// A whole login request on a connection that stays.
pub fn raw_login(access_token: &str) -> Vec<u8> {
    let call = login(access_token);
    let mut request = format!("POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n", call.path, call.body.len());
    for (name, value) in &call.headers {
        request.push_str(&format!("{name}: {}\r\n", String::from_utf8_lossy(value)));
    }
    [request.as_bytes(), b"\r\n", &call.body].concat()
}
