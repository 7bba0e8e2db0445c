//! Why what came on a connection never reached the routes. It must not know what is answered, if anything is.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No `Host`, an empty one or several.
    Host,
    /// The length of the body is given in two ways.
    TwoLengths,
    HeadTooLarge,
    /// Against HTTP's grammar.
    Malformed,
    /// A line of the head ends in LF without CR.
    BareLineFeed,
    ProxyProtocol,
    /// TLS, where it is not spoken.
    Tls,
    /// HTTP without TLS, where that is spoken.
    PlainHttp,
    /// A TLS handshake that came to nothing.
    Handshake,
    Http2,
    /// A head began and was not complete in time.
    HeaderTimeout,
    /// No byte came in time.
    Silent,
    /// Its peer has as many connections as it may have.
    TooManyConnections,
}

impl Refusal {
    pub const ALL: [Self; 13] = [
        Self::Host,
        Self::TwoLengths,
        Self::HeadTooLarge,
        Self::Malformed,
        Self::BareLineFeed,
        Self::ProxyProtocol,
        Self::Tls,
        Self::PlainHttp,
        Self::Handshake,
        Self::Http2,
        Self::HeaderTimeout,
        Self::Silent,
        Self::TooManyConnections,
    ];

    /// As the metric has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::TwoLengths => "two_lengths",
            Self::HeadTooLarge => "head_too_large",
            Self::Malformed => "malformed",
            Self::BareLineFeed => "bare_line_feed",
            Self::ProxyProtocol => "proxy_protocol",
            Self::Tls => "tls",
            Self::PlainHttp => "plain_http",
            Self::Handshake => "tls_handshake",
            Self::Http2 => "http2",
            Self::HeaderTimeout => "header_timeout",
            Self::Silent => "silent",
            Self::TooManyConnections => "too_many_connections",
        }
    }

    /// What is wrong, and where somebody set something up so, what to change.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Host => "a request names no host, or several",
            Self::TwoLengths => "a request gives the length of its body in two ways",
            Self::HeadTooLarge => "a request's head is larger than 16 KiB, or has more than 64 headers",
            Self::Malformed => "a request is not HTTP/1.1",
            Self::BareLineFeed => "a line of a request's head ends in LF without CR",
            Self::ProxyProtocol => {
                "the gateway speaks the PROXY protocol to this port; switch it off there, and have it set X-Forwarded-For"
            }
            Self::Tls => {
                "TLS is spoken to this port, which takes plain HTTP/1.1; have the gateway end TLS, or set server.tls"
            }
            Self::PlainHttp => {
                "plain HTTP is spoken to this port, which takes TLS (server.tls); have the gateway speak https"
            }
            Self::Handshake => "a TLS handshake came to nothing; the gateway may not trust server.tls.certificate_file",
            Self::Http2 => "HTTP/2 is spoken to this port, which takes HTTP/1.1; have the gateway speak that",
            Self::HeaderTimeout => "a request's head was not complete within server.header_timeout_seconds",
            Self::Silent => "a connection said nothing within server.header_timeout_seconds",
            Self::TooManyConnections => {
                "a peer has server.max_connections_per_peer connections; if it is the gateway, name it in server.trusted_proxies"
            }
        }
    }
}
