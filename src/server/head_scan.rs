//! Reads a request's head before hyper does, by the same parser: hyper answers what it refuses by itself, with an empty
//! body and without a word to anybody. It also drops one of two lengths, and takes a bare LF for the end of a line;
//! whoever stands in front may have read either the other way. Where the request ends is found out, too, so that what
//! lies behind it is looked at in its turn.

use axum::http::Uri;
use httparse::{EMPTY_HEADER, Request, Status};

use crate::refusal::Refusal;

/// A request's line and headers.
pub(super) const MAX_HEAD_BYTES: usize = 16 * 1024;

pub(super) const MAX_HEADERS: usize = 64;

/// How TLS begins, and nothing of HTTP.
pub(super) const TLS_HANDSHAKE: u8 = 0x16;

/// What hyper keeps for itself of the lengths that there are.
const MAX_BODY_BYTES: u64 = u64::MAX - 2;

/// The lines of a head, as far as they have been looked at.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    looked: usize,
    line: usize,
    /// The request line is complete.
    begun: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// More must come.
    Part,
    /// A head, and how many bytes the request has with its body. All there are, if the body comes in chunks.
    Request(u64),
    Refused(Refusal),
}

impl HeadScan {
    /// `bytes` begin with the head; those that were there before are there again.
    pub fn look(&mut self, bytes: &[u8]) -> Seen {
        if !self.begun
            && let Some(refusal) = begins_wrong(bytes)
        {
            return Seen::Refused(refusal);
        }
        while let Some(end) = bytes[self.looked..].iter().position(|byte| *byte == b'\n') {
            let next = self.looked + end + 1;
            let line = &bytes[self.line..next];
            (self.looked, self.line) = (next, next);
            let blank = line == b"\r\n";
            if next > MAX_HEAD_BYTES {
                return Seen::Refused(Refusal::HeadTooLarge);
            } else if !line.ends_with(b"\r\n") {
                return Seen::Refused(Refusal::BareLineFeed);
            } else if blank && self.begun {
                return read(&bytes[..next]);
            } else if !blank && !self.begun {
                self.begun = true;
                if let Some(refusal) = request_line(line) {
                    return Seen::Refused(refusal);
                }
            }
            // Blank lines before the request line are skipped (RFC 9112, 2.2).
        }
        self.looked = bytes.len();
        if bytes.len() >= MAX_HEAD_BYTES { Seen::Refused(Refusal::HeadTooLarge) } else { Seen::Part }
    }
}

/// What can be told from the first bytes, and must be: of these clients none sends a line and waits.
fn begins_wrong(bytes: &[u8]) -> Option<Refusal> {
    // Of PROXY v2's signature, the part that no HTTP begins with.
    if bytes.starts_with(b"\r\n\r\n\0") {
        return Some(Refusal::ProxyProtocol);
    }
    match bytes.iter().find(|byte| !matches!(byte, b'\r' | b'\n'))? {
        &TLS_HANDSHAKE => Some(Refusal::Tls),
        byte if byte.is_ascii_graphic() => None,
        _ => Some(Refusal::Malformed),
    }
}

fn request_line(line: &[u8]) -> Option<Refusal> {
    if [&b"PROXY TCP4 "[..], b"PROXY TCP6 ", b"PROXY UNKNOWN"].iter().any(|start| line.starts_with(start)) {
        return Some(Refusal::ProxyProtocol);
    }
    if line == b"PRI * HTTP/2.0\r\n" {
        return Some(Refusal::Http2);
    }
    Request::new(&mut []).parse(line).is_err().then_some(Refusal::Malformed)
}

fn read(head: &[u8]) -> Seen {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    match request.parse(head) {
        Ok(Status::Complete(bytes)) if bytes == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Seen::Refused(Refusal::HeadTooLarge),
        Ok(_) | Err(_) => return Seen::Refused(Refusal::Malformed),
    }
    let is_uri = request.path.is_some_and(|path| Uri::try_from(path).is_ok());
    let values = |name: &'static str| {
        request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    let (mut lengths, encoding) = (values("content-length"), values("transfer-encoding").next_back());
    let has_length = values("content-length").next().is_some();
    match encoding {
        _ if !is_uri => Seen::Refused(Refusal::Malformed),
        Some(encoding) if request.version != Some(1) || !ends_in_chunked(encoding) => Seen::Refused(Refusal::Malformed),
        Some(_) if has_length => Seen::Refused(Refusal::TwoLengths),
        Some(_) => Seen::Request(u64::MAX),
        None => {
            let first = lengths.next().map_or(Some(0), length);
            match first.filter(|first| lengths.all(|other| length(other) == Some(*first))) {
                Some(body) => Seen::Request((head.len() as u64).saturating_add(body)),
                None => Seen::Refused(Refusal::Malformed),
            }
        }
    }
}

fn ends_in_chunked(encoding: &[u8]) -> bool {
    encoding.rsplit(|byte| *byte == b',').next().is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// Digits only: the standard library would take a sign.
fn length(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok().filter(|length| *length <= MAX_BODY_BYTES)
}

/// A request without a body, for hyper to have instead of one that is refused: then the answer comes in its turn, and
/// goes the way of all others. It keeps what the answer depends on, as far as that can be read.
pub(super) fn stand_in(refused: &[u8]) -> Vec<u8> {
    let mut words = refused.trim_ascii_start().splitn(3, |byte| *byte == b' ');
    let method = words.next().filter(|method| *method == b"POST").unwrap_or(b"GET");
    let target = words.next().and_then(|target| target.split(|byte| matches!(byte, b'?' | b'\r' | b'\n')).next());
    let path = target.filter(|path| path.starts_with(b"/") && Uri::try_from(*path).is_ok()).unwrap_or(b"/");
    let mut head = [method, b" ", path, b" HTTP/1.1\r\n"].concat();

    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    if request.parse(refused).is_ok_and(|parsed| parsed.is_complete()) {
        let governs = |name: &str| {
            ["connection", "content-length", "expect", "transfer-encoding", "upgrade"]
                .iter()
                .any(|other| name.eq_ignore_ascii_case(other))
        };
        for header in request.headers.iter().filter(|header| !governs(header.name)) {
            head.extend([header.name.as_bytes(), b": ", header.value, b"\r\n"].concat());
        }
    }
    head.extend(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is seen when so many bytes come at a time.
    fn look(bytes: &[u8], at_a_time: usize) -> Seen {
        let mut scan = HeadScan::default();
        let ends = (at_a_time..bytes.len()).step_by(at_a_time).chain([bytes.len()]);
        ends.map(|end| scan.look(&bytes[..end])).find(|seen| *seen != Seen::Part).unwrap_or(Seen::Part)
    }

    #[test]
    fn a_request_ends_with_its_body_however_the_bytes_come() {
        for (request, behind) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", ""),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"),
            ("POST / HTTP/1.1\r\ncontent-LENGTH: 3\r\nContent-Length: 3\r\n\r\nabc", "GET"),
            ("POST / HTTP/1.1\r\nX-Content-Length: 7\r\nA: Transfer-Encoding:\r\n\r\n", "Transfer-Encoding: chunked"),
        ] {
            for at_a_time in [1, 2, 7, 1_000] {
                let seen = look(format!("{request}{behind}").as_bytes(), at_a_time);
                assert_eq!(seen, Seen::Request(request.len() as u64), "{request:?} by {at_a_time}");
            }
        }
        assert_eq!(look(b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n", 5), Seen::Request(u64::MAX));
        assert_eq!(look(b"GET / HTTP/1.1\r\nHost: a\r\n", 5), Seen::Part);
    }

    #[test]
    fn what_is_refused_is_refused_for_its_reason_however_the_bytes_come() {
        let long = format!("GET /?{} HTTP/1.1\r\n\r\n", "x".repeat(MAX_HEAD_BYTES));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEADERS + 1));
        for (bytes, refusal) in [
            (&b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"[..], Refusal::ProxyProtocol),
            (b"PROXY UNKNOWN\r\n", Refusal::ProxyProtocol),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", Refusal::ProxyProtocol),
            (b"\x16\x03\x01\x02\0\x01", Refusal::Tls),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refusal::Http2),
            (b"GET / HTTP/1.1\nHost: a\n\n", Refusal::BareLineFeed),
            (b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", Refusal::BareLineFeed),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\n", Refusal::BareLineFeed),
            (b"\nGET / HTTP/1.1\r\n\r\n", Refusal::BareLineFeed),
            (b"\0", Refusal::Malformed),
            (b"nonsense\r\n", Refusal::Malformed),
            (b"PROXY /x HTTP/1.2\r\n", Refusal::Malformed),
            (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", Refusal::Malformed),
            (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Refusal::Malformed),
            (b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", Refusal::Malformed),
            (b"GET / HTTP/1.1\r\nContent-Length: 0\r\ntransfer-ENCODING:chunked\r\n\r\n", Refusal::TwoLengths),
            (long.as_bytes(), Refusal::HeadTooLarge),
            (many.as_bytes(), Refusal::HeadTooLarge),
        ] {
            for at_a_time in [1, 2, 7, 100_000] {
                let text = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]);
                assert_eq!(look(bytes, at_a_time), Seen::Refused(refusal), "{text:?} by {at_a_time}");
            }
        }
    }

    #[test]
    fn the_stand_in_keeps_what_the_answer_depends_on_and_has_no_body() {
        for (refused, expected) in [
            ("POST /a?b HTTP/1.1\nX: y\n\nA: b", "POST /a HTTP/1.1\r\nX: y\r\n\r\n"),
            ("POST /a?bbbbbbb", "POST /a HTTP/1.1\r\n\r\n"),
            ("CONNECT a:443 HTTP/1.1\r\n", "GET / HTTP/1.1\r\n\r\n"),
            ("\x16\x03\x01", "GET / HTTP/1.1\r\n\r\n"),
            (
                "POST /a HTTP/1.1\r\nX-L: zh\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
                "POST /a HTTP/1.1\r\nX-L: zh\r\n\r\n",
            ),
        ] {
            assert_eq!(String::from_utf8(stand_in(refused.as_bytes())).unwrap(), expected);
        }
    }
}
