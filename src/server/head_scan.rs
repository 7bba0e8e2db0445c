//! Looks at a request's head while it passes. It finds out how much came behind the head, and whether the head gives the
//! length of its body in two ways: by `Content-Length` and by `Transfer-Encoding`. hyper drops the first of the two before anybody else sees it (RFC 9112, 6.1, leaves a
//! server the choice to refuse such a request; whoever stands in front may have read it the other way).

const CONTENT_LENGTH: &[u8] = b"content-length:";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding:";

/// What is kept of a line: enough for the longer of the two names.
const LINE_BYTES: usize = TRANSFER_ENCODING.len();

#[derive(Debug, Default)]
pub(super) struct HeadScan {
    /// The beginning of the line that is not complete yet.
    line: [u8; LINE_BYTES],
    kept: usize,
    begun: bool,
    ended: bool,
    length: bool,
    encoding: bool,
    behind: usize,
}

impl HeadScan {
    /// Takes the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !self.ended && !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let line = &bytes[..end.unwrap_or(bytes.len())];
            let more = line.len().min(LINE_BYTES - self.kept);
            self.line[self.kept..self.kept + more].copy_from_slice(&line[..more]);
            self.kept += more;
            let Some(end) = end else { break };
            self.end_line();
            bytes = &bytes[end + 1..];
        }
        if self.ended {
            self.behind += bytes.len();
        }
    }

    pub const fn has_two_lengths(&self) -> bool {
        self.length && self.encoding
    }

    /// Bytes that came together with the end of the head: of its body, or of what follows.
    pub const fn bytes_behind(&self) -> usize {
        self.behind
    }

    fn end_line(&mut self) {
        let line = &self.line[..self.kept];
        let is_blank = matches!(line, [] | [b'\r']);
        let is = |name: &[u8]| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        self.length |= is(CONTENT_LENGTH);
        self.encoding |= is(TRANSFER_ENCODING);
        // Blank lines before the request line are skipped (RFC 9112, 2.2).
        self.ended = is_blank && self.begun;
        self.begun |= !is_blank;
        self.kept = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(head: &str, chunk: usize) -> HeadScan {
        let mut scan = HeadScan::default();
        head.as_bytes().chunks(chunk).for_each(|bytes| scan.feed(bytes));
        scan
    }

    #[test]
    fn what_came_behind_the_head_is_counted() {
        for (head, behind) in
            [("GET / HTTP/1.1\r\n\r\n", 0), ("POST / HTTP/1.1\r\nA: b\r\n\r\nabc\r\n", 5), ("GET /", 0)]
        {
            for chunk in [1, 3, 1_000] {
                assert_eq!(scan(head, chunk).bytes_behind(), behind, "{head:?} by {chunk}");
            }
        }
    }

    #[test]
    fn both_are_seen_in_either_order_and_case_however_the_bytes_come() {
        for (head, expected) in [
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", true),
            ("\r\nPOST / HTTP/1.1\r\ntransfer-ENCODING:chunked\r\nX: y\r\ncontent-length:\r\n\r\n", true),
            ("POST / HTTP/1.1\nContent-Length: 1\nTransfer-Encoding: chunked\n\n", true),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nX-Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nA: Content-Length:\r\nTransfer-Encoding: chunked\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nTransfer-Encoding: chunked\r\n\r\n", false),
        ] {
            for chunk in [1, 2, 7, 19, 1_000] {
                assert_eq!(scan(head, chunk).has_two_lengths(), expected, "{head:?} by {chunk}");
            }
        }
    }
}
