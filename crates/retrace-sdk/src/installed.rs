//! The pipeline that this crate records with: the installed one, else the global tracer provider.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::Duration;

use opentelemetry::global::BoxedSpan;
use opentelemetry::trace::{Span as _, SpanBuilder, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, InstrumentationScope, KeyValue, global};
use opentelemetry_retrace::__private::HeadSampler;
use opentelemetry_retrace::{Record, RetraceSpanProcessor};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span, SpanProcessor as _};

use crate::enforcement::ServerCheck;

/// Instrumentation scope of the spans that this crate makes.
pub const SCOPE: &str = "retrace-sdk";

/// How this crate records.
#[derive(Debug)]
pub(crate) struct Installed {
    /// Makes the spans; without it the global tracer provider does.
    tracer: Option<SdkTracer>,
    pipeline: Option<Pipeline>,
    /// Decides on roots before their spans are made, where the sampler of the provider is known.
    pub(crate) head: Option<HeadSampler>,
    /// Inputs and outputs are recorded.
    pub(crate) captures_content: bool,
    /// Anything is recorded.
    pub(crate) is_enabled: bool,
    /// Hook that sees each record before it leaves.
    pub(crate) before_send: Hook,
    /// Checks of spans by the receiver, where they are switched on.
    pub(crate) server_check: Option<ServerCheck>,
}

/// Sees a record, and returns it, changed or not, or `None` to keep it back.
pub(crate) type BeforeSend = Arc<dyn Fn(Record) -> Option<Record> + Send + Sync>;

/// A hook that may be set.
#[derive(Clone, Default)]
pub(crate) struct Hook(pub(crate) Option<BeforeSend>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hook").field(&self.0.is_some()).finish()
    }
}

/// Pipeline to be flushed at the end.
#[derive(Debug)]
struct Pipeline {
    provider: Option<SdkTracerProvider>,
    processor: RetraceSpanProcessor,
}

static CURRENT: LazyLock<RwLock<Arc<Installed>>> =
    LazyLock::new(|| RwLock::new(Arc::new(Installed::from_environment())));
static GENERATION: AtomicU64 = AtomicU64::new(1);
/// Recording is switched off. The first look of every call, so that it costs no more than this.
static IS_OFF: AtomicBool = AtomicBool::new(false);
/// The receiver checks the runs that begin.
static IS_CHECKED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Copy of `CURRENT` of a generation, so that a call takes no lock.
    static CACHED: RefCell<(u64, Option<Arc<Installed>>)> = const { RefCell::new((0, None)) };
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(SCOPE).with_version(env!("CARGO_PKG_VERSION")).build()
}

/// A span that was started and is in no context yet.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it goes into a context at once; a box would be one more allocation")]
pub(crate) enum Started {
    Own(Span),
    Global(BoxedSpan),
}

impl Started {
    pub(crate) fn is_recording(&self) -> bool {
        match self {
            Self::Own(span) => span.is_recording(),
            Self::Global(span) => span.is_recording(),
        }
    }

    pub(crate) fn set_attributes(&mut self, attributes: Vec<KeyValue>) {
        match self {
            Self::Own(span) => span.set_attributes(attributes),
            Self::Global(span) => span.set_attributes(attributes),
        }
    }

    /// The context of the span below `parent`, without the values of this crate.
    pub(crate) fn into_context(self, parent: &Context) -> Context {
        match self {
            Self::Own(span) => parent.with_span(span),
            Self::Global(span) => parent.with_span(span),
        }
    }
}

impl Installed {
    /// Returns true if recording is switched off.
    #[inline]
    pub(crate) fn is_off() -> bool {
        IS_OFF.load(Ordering::Relaxed)
    }

    /// Returns true if the receiver checks the runs that begin.
    pub(crate) fn is_checked() -> bool {
        IS_CHECKED.load(Ordering::Relaxed)
    }

    pub(crate) fn new(
        provider: Option<&SdkTracerProvider>,
        processor: &RetraceSpanProcessor,
        head: Option<HeadSampler>,
        captures_content: bool,
        before_send: Option<BeforeSend>,
        server_check: Option<ServerCheck>,
    ) -> Self {
        let tracer = provider.map(|provider| provider.tracer_with_scope(scope()));
        let pipeline = Pipeline { provider: provider.cloned(), processor: processor.clone() };
        let before_send = Hook(before_send);
        Self { tracer, pipeline: Some(pipeline), head, captures_content, is_enabled: true, before_send, server_check }
    }

    /// The processor that sends to Retrace.
    pub(crate) fn processor(&self) -> Option<&RetraceSpanProcessor> {
        self.pipeline.as_ref().map(|pipeline| &pipeline.processor)
    }

    /// Returns true if there is something to be flushed at the end.
    pub(crate) fn has_pipeline(&self) -> bool {
        self.pipeline.is_some()
    }

    /// How long a flush may take.
    pub(crate) fn flush_timeout(&self) -> Duration {
        self.pipeline.as_ref().and_then(|pipeline| pipeline.processor.flush_timeout()).unwrap_or_default()
    }

    /// Flushes and stops, within the flush timeout.
    pub(crate) fn shut_down(&self) {
        let Some(pipeline) = &self.pipeline else { return };
        // Losses are in the log.
        let _ = match &pipeline.provider {
            Some(provider) => provider.shutdown_with_timeout(self.flush_timeout()),
            None => pipeline.processor.shutdown_with_timeout(self.flush_timeout()),
        };
    }

    pub(crate) fn disabled() -> Self {
        let before_send = Hook::default();
        Self {
            tracer: None,
            pipeline: None,
            head: None,
            captures_content: false,
            is_enabled: false,
            before_send,
            server_check: None,
        }
    }

    /// Without an installed pipeline: the application may have set a provider of its own.
    fn from_environment() -> Self {
        let (captures_content, before_send) = (captures_content(), Hook::default());
        Self {
            tracer: None,
            pipeline: None,
            head: None,
            captures_content,
            is_enabled: true,
            before_send,
            server_check: None,
        }
    }

    /// Starts a span below `parent`.
    pub(crate) fn start(&self, builder: SpanBuilder, parent: &Context) -> Started {
        match &self.tracer {
            Some(tracer) => Started::Own(tracer.build_with_context(builder, parent)),
            None => {
                let tracer = global::tracer_provider().tracer_with_scope(scope());
                Started::Global(tracer.build_with_context(builder, parent))
            }
        }
    }

    /// Makes this the one to record with, until it is replaced; gives its generation.
    pub(crate) fn install(self) -> u64 {
        Self::replace(&mut CURRENT.write().unwrap_or_else(PoisonError::into_inner), self)
    }

    /// Stops recording, if nothing else was installed meanwhile.
    pub(crate) fn remove(generation: u64) {
        let mut current = CURRENT.write().unwrap_or_else(PoisonError::into_inner);
        if GENERATION.load(Ordering::Acquire) == generation {
            Self::replace(&mut current, Self::from_environment());
        }
    }

    fn replace(current: &mut Arc<Self>, next: Self) -> u64 {
        IS_OFF.store(!next.is_enabled, Ordering::Relaxed);
        IS_CHECKED.store(next.server_check.is_some(), Ordering::Relaxed);
        *current = Arc::new(next);
        GENERATION.fetch_add(1, Ordering::Release) + 1
    }

    /// Calls `with` with the one to record with, in most cases without a lock and without a count that threads share.
    pub(crate) fn with<R: Default>(with: impl FnOnce(&Arc<Self>) -> R) -> R {
        let mut with = Some(with);
        let mut call = |current: &Arc<Self>| with.take().map(|with| with(current));
        let done = CACHED.try_with(|cached| {
            let generation = GENERATION.load(Ordering::Acquire);
            if let (of, Some(current)) = &*cached.borrow()
                && *of == generation
            {
                return call(current);
            }
            *cached.try_borrow_mut().ok()? = (generation, Some(Self::locked()));
            call(cached.borrow().1.as_ref()?)
        });
        // A thread that ends has no such place any more.
        done.ok().flatten().or_else(|| call(&Self::locked())).unwrap_or_default()
    }

    /// The one to record with.
    pub(crate) fn current() -> Arc<Self> {
        Self::with(|installed| Some(Arc::clone(installed))).unwrap_or_else(Self::locked)
    }

    /// The one to record with, without thread-local storage.
    pub(crate) fn locked() -> Arc<Self> {
        Arc::clone(&CURRENT.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Reads `RETRACE_CAPTURE_CONTENT` as the exporter does: on where it is unset, and off for a value that is not understood.
pub(crate) fn captures_content() -> bool {
    const ON: [&str; 6] = ["true", "1", "yes", "on", "y", "enabled"];
    let Some(value) = std::env::var_os("RETRACE_CAPTURE_CONTENT") else { return true };
    let Some(text) = value.to_str().map(str::trim) else { return false };
    text.is_empty() || ON.iter().any(|on| text.eq_ignore_ascii_case(on))
}
