//! A request's place in a distributed trace, by W3C Trace Context, level 1: the ids, and the header `traceparent` that
//! carries them; `span` is what is made of them. It must not know HTTP, nor who records the trace.

mod span;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};

use crate::hex;

pub use self::span::{Attribute, Kind, Parent, Recorder, Span, Stage, Trace};

/// Names all that one action of a client's leads to, in whatever service. Never all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(pub [u8; 16]);

/// Names one piece of work within a trace. Never all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanId(pub [u8; 8]);

/// One span of a trace: what is logged with it, and what is sent on as the parent of the next service's span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    /// Whether somebody records this trace.
    pub sampled: bool,
}

impl TraceContext {
    /// The first span of a new trace.
    pub fn root(sampled: bool) -> Self {
        let [high, low] = [random(), random()].map(u64::to_be_bytes);
        let mut trace_id = [0; 16];
        trace_id[..8].copy_from_slice(&high);
        trace_id[8..].copy_from_slice(&low);
        Self { trace_id: TraceId(trace_id), span_id: SpanId::random(), sampled }
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span_id: SpanId::random(), ..self }
    }

    /// Reads a `traceparent`. `None` is for whatever the recommendation calls invalid: then a new trace begins. Of a
    /// version to come, what version 00 knows is read.
    pub fn parse(header: &str) -> Option<Self> {
        let bytes = header.as_bytes();
        let (known, rest) = bytes.split_at_checked("00-".len() + 32 + "-".len() + 16 + "-00".len())?;
        if [known[2], known[35], known[52]] != [b'-'; 3] {
            return None;
        }
        let [version] = hex::decode(&known[..2])?;
        match (version, rest) {
            (0xff, _) => return None,
            (_, []) | (1.., [b'-', ..]) => {}
            _ => return None,
        }
        let trace_id: [u8; 16] = hex::decode(&known[3..35])?;
        let span_id: [u8; 8] = hex::decode(&known[36..52])?;
        let [flags] = hex::decode(&known[53..])?;
        let valid = trace_id != [0; 16] && span_id != [0; 8];
        valid.then_some(Self { trace_id: TraceId(trace_id), span_id: SpanId(span_id), sampled: flags & 1 == 1 })
    }
}

/// The value of a `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl SpanId {
    fn random() -> Self {
        Self(random().to_be_bytes())
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

/// Ids must not collide, but nobody gains by guessing one. So it need not be the operating system's random source, which
/// costs a microsecond a call: the standard library keys its hashers from there, each one differently.
fn random() -> u64 {
    RandomState::new().build_hasher().finish().max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_recommendations_example_is_read_and_written() {
        let context = TraceContext::parse(EXAMPLE).unwrap();
        assert_eq!(context.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.span_id.to_string(), "b7ad6b7169203331");
        assert!(context.sampled);
        assert_eq!(context.to_string(), EXAMPLE);
    }

    #[test]
    fn of_the_flags_only_the_sampled_one_counts_and_is_sent_on() {
        for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("03", true), ("fe", false), ("ff", true)]
        {
            let context = TraceContext::parse(&EXAMPLE.replace("-01", &format!("-{flags}"))).unwrap();
            assert_eq!(context.sampled, sampled, "{flags}");
            assert!(context.to_string().ends_with(if sampled { "-01" } else { "-00" }));
        }
    }

    #[test]
    fn of_a_version_to_come_the_known_part_is_read() {
        let expected = TraceContext::parse(EXAMPLE);
        let newer = |version: &str, rest: &str| TraceContext::parse(&format!("{version}{}{rest}", &EXAMPLE[2..]));
        for rest in ["", "-", "-what-the-future-will-bring", "-\u{e9}"] {
            assert_eq!(newer("cc", rest), expected, "{rest}");
            assert_eq!(newer("01", rest), expected, "{rest}");
            assert_eq!(newer("ff", rest), None, "{rest}");
        }
        assert_eq!(newer("01", ".0"), None);
        assert_eq!(newer("00", "-"), None, "version 00 ends with its flags");
    }

    #[test]
    fn whatever_is_invalid_is_not_read() {
        let zero_trace = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let zero_span = "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01";
        for bad in [
            "",
            "00",
            zero_trace,
            zero_span,
            &EXAMPLE.to_uppercase(),
            &EXAMPLE.replace('-', "_"),
            &EXAMPLE.replace("0af7", "0aF7"),
            &EXAMPLE.replace("0af7", "0ag7"),
            &EXAMPLE.replace("00-0", "0 -0"),
            &EXAMPLE.replace("00-0", "+0-0"),
            &EXAMPLE.replace("-01", "-0x"),
            &EXAMPLE[..54],
            &format!("{EXAMPLE}0"),
            &format!(" {EXAMPLE}"),
            &format!("{EXAMPLE},{EXAMPLE}"),
            &EXAMPLE.replace("0af76", "0\u{e9}f6"),
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad:?}");
        }
        for end in 0..EXAMPLE.len() {
            assert_eq!(TraceContext::parse(&EXAMPLE[..end]), None);
        }
    }

    #[test]
    fn a_child_stays_in_its_trace_and_no_id_comes_twice() {
        let root = TraceContext::root(true);
        let child = root.child();
        assert_eq!((child.trace_id, child.sampled), (root.trace_id, true));
        assert_ne!(child.span_id, root.span_id);
        assert_eq!(TraceContext::parse(&root.to_string()), Some(root));
        let threads = [(); 4].map(|()| std::thread::spawn(|| (0..10_000).map(|_| random()).collect::<Vec<_>>()));
        let ids: Vec<u64> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 40_000);
    }
}
