//! A request's trace as those meet it who work on the request: they begin stages and end them, and whoever records the
//! trace is told. Without a recorder a stage is two readings of the clock. It must not know where spans go.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{SpanId, TraceContext, TraceId};

/// Takes finished spans, and sees to it by itself that nobody waits for it.
pub trait Recorder: Send + Sync {
    /// Whether to record the trace, which `caller` began if there is one.
    fn samples(&self, trace_id: TraceId, caller: Option<TraceContext>) -> bool;

    /// Takes a span that has ended just now.
    fn record(&self, span: Span);

    /// Passes on what it still has, waiting for that, but not for long.
    fn finish(&self);
}

/// A piece of work that has ended. Nothing in it says who a request was about.
#[derive(Debug, Clone)]
pub struct Span {
    pub name: Cow<'static, str>,
    pub kind: Kind,
    pub context: TraceContext,
    pub parent: Option<Parent>,
    pub duration: Duration,
    /// One of few words for what went wrong.
    pub error: Option<&'static str>,
    pub attributes: Vec<(&'static str, Attribute)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    pub span_id: SpanId,
    /// In another service.
    pub is_remote: bool,
}

/// On which side of a call the work was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Server,
    Client,
    Internal,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    Text(String),
    Number(i64),
}

/// A request's span while the request is worked on.
#[derive(Clone)]
pub struct Trace {
    context: TraceContext,
    caller: Option<TraceContext>,
    began: Instant,
    /// `None` also where this trace is not sampled.
    recorder: Option<Arc<dyn Recorder>>,
}

/// A piece of work within a request.
#[must_use]
pub struct Stage {
    name: &'static str,
    kind: Kind,
    context: TraceContext,
    parent: SpanId,
    began: Instant,
    recorder: Option<Arc<dyn Recorder>>,
}

impl Trace {
    /// Goes on in the caller's trace or begins one. Where nobody records here, the caller's word is passed on.
    pub fn begin(caller: Option<TraceContext>, recorder: Option<&Arc<dyn Recorder>>) -> Self {
        let mut context = caller.map_or_else(|| TraceContext::root(false), TraceContext::child);
        if let Some(recorder) = recorder {
            context.sampled = recorder.samples(context.trace_id, caller);
        }
        let recorder = recorder.filter(|_| context.sampled).cloned();
        Self { context, caller, began: Instant::now(), recorder }
    }

    pub const fn id(&self) -> TraceId {
        self.context.trace_id
    }

    pub fn stage(&self, name: &'static str, kind: Kind) -> Stage {
        Stage {
            name,
            kind,
            context: self.context.child(),
            parent: self.context.span_id,
            began: Instant::now(),
            recorder: self.recorder.clone(),
        }
    }

    /// Whether it is worth while to say how the request ended.
    pub const fn is_recorded(&self) -> bool {
        self.recorder.is_some()
    }

    /// Ends the request's own span.
    pub fn end(&self, name: String, attributes: Vec<(&'static str, Attribute)>, error: Option<&'static str>) {
        if let Some(recorder) = &self.recorder {
            recorder.record(Span {
                name: name.into(),
                kind: Kind::Server,
                context: self.context,
                parent: self.caller.map(|caller| Parent { span_id: caller.span_id, is_remote: true }),
                duration: self.began.elapsed(),
                error,
                attributes,
            });
        }
    }
}

impl Stage {
    /// What goes with a call to another service.
    pub const fn context(&self) -> TraceContext {
        self.context
    }

    /// How long it took.
    pub fn end(self, error: Option<&'static str>) -> Duration {
        let duration = self.began.elapsed();
        if let Some(recorder) = self.recorder {
            recorder.record(Span {
                name: self.name.into(),
                kind: self.kind,
                context: self.context,
                parent: Some(Parent { span_id: self.parent, is_remote: false }),
                duration,
                error,
                attributes: Vec::new(),
            });
        }
        duration
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trace").field(&self.context).finish()
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("name", &self.name).field("context", &self.context).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Samples what it is told to, and keeps it.
    struct Kept(bool, Mutex<Vec<Span>>);

    impl Recorder for Kept {
        fn samples(&self, _: TraceId, _: Option<TraceContext>) -> bool {
            self.0
        }

        fn record(&self, span: Span) {
            self.1.lock().unwrap().push(span);
        }

        fn finish(&self) {}
    }

    fn recorder(samples: bool) -> (Arc<Kept>, Arc<dyn Recorder>) {
        let kept = Arc::new(Kept(samples, Mutex::default()));
        (Arc::clone(&kept), kept)
    }

    fn work(caller: Option<TraceContext>, recorder: &Arc<dyn Recorder>) -> Trace {
        let trace = Trace::begin(caller, Some(recorder));
        trace.stage("verify", Kind::Client).end(Some("busy"));
        trace.end("POST /".to_owned(), vec![("http.response.status_code", Attribute::Number(500))], Some("500"));
        trace
    }

    #[test]
    fn a_sampled_request_and_its_stages_are_recorded_below_the_callers_span() {
        let (kept, recorder) = recorder(true);
        let caller = TraceContext::root(false);
        let trace = work(Some(caller), &recorder);
        let spans = kept.1.lock().unwrap();
        let [stage, request] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!(request.parent, Some(Parent { span_id: caller.span_id, is_remote: true }));
        assert_eq!(stage.parent, Some(Parent { span_id: request.context.span_id, is_remote: false }));
        assert_eq!((request.context, request.kind), (trace.context, Kind::Server));
        assert!(trace.is_recorded());
        assert_eq!((&*stage.name, stage.kind, stage.error), ("verify", Kind::Client, Some("busy")));
        for span in &*spans {
            assert_eq!((span.context.trace_id, span.context.sampled), (caller.trace_id, true));
        }
        assert!(stage.duration <= request.duration);
    }

    #[test]
    fn a_request_that_is_not_sampled_is_not_recorded_and_says_so_to_the_next_service() {
        let (kept, recorder) = recorder(false);
        let trace = work(Some(TraceContext::root(true)), &recorder);
        assert!(!trace.stage("verify", Kind::Client).context().sampled);
        assert!(!trace.is_recorded() && kept.1.lock().unwrap().is_empty());
    }

    #[test]
    fn where_nobody_records_the_callers_word_is_passed_on() {
        for sampled in [true, false] {
            let trace = Trace::begin(Some(TraceContext::root(sampled)), None);
            assert_eq!(trace.stage("verify", Kind::Client).context().sampled, sampled);
        }
        assert!(!Trace::begin(None, None).stage("verify", Kind::Client).context().sampled);
    }
}
