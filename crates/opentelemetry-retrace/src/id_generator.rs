//! Generator of OpenTelemetry ids that are valid ids of Retrace.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::IdGenerator;
use rand::rngs::SmallRng;
use rand::{RngCore as _, SeedableRng as _};

use crate::config::BuildError;
use crate::fork::Process;

/// Makes trace ids and span ids whose Retrace forms are valid UUIDs.
///
/// Retrace writes ids as UUIDs: a trace id with the same 128 bits, a span id that begins with the 64 bits of
/// OpenTelemetry's. With this generator both have the version and the variant that RFC 9562 (formerly 4122)
/// requires; ids of another generator are sent all the same.
///
/// ```
/// use opentelemetry_retrace::RetraceIdGenerator;
/// use opentelemetry_sdk::trace::SdkTracerProvider;
///
/// let provider = SdkTracerProvider::builder().with_id_generator(RetraceIdGenerator::default()).build();
/// ```
///
/// Trace ids are UUIDs of version 4 with 122 random bits, or of version 7
/// ([`with_time_ordered_ids`](RetraceIdGeneratorBuilder::with_time_ordered_ids)); span ids have 60 random bits. The last
/// seven bytes of a trace id are random in either version, so the random flag of W3C Trace Context level 2
/// may be set for them: the SDK has no setting for that, [`RetracePropagatorBuilder::with_random_ids`] sets
/// it. No id is zero.
///
/// Each thread has a generator of its own, seeded once by the operating system, so an id costs a few
/// nanoseconds, no lock and no system call; version 7 reads the clock as well. The child of a fork seeds
/// anew, so that it makes other ids than its parent. The ids are not secrets: the next ones can be computed
/// from enough of them.
///
/// [`RetracePropagatorBuilder::with_random_ids`]: crate::RetracePropagatorBuilder::with_random_ids
#[derive(Clone, Debug, Default)]
pub struct RetraceIdGenerator {
    settings: RetraceIdGeneratorBuilder,
}

/// Configures a [`RetraceIdGenerator`].
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until build() is called"]
pub struct RetraceIdGeneratorBuilder {
    time_ordered: bool,
    seeded: Option<Arc<Seeded>>,
}

impl RetraceIdGeneratorBuilder {
    /// Sets whether trace ids are UUIDs of version 7, which sort by the time at which they were made, to a
    /// quarter of a microsecond. The id reveals that time. Default: no, version 4.
    pub fn with_time_ordered_ids(mut self, time_ordered: bool) -> Self {
        self.time_ordered = time_ordered;
        self
    }

    /// Sets a seed: the same seed makes the same ids in the same order. For tests and replays only, because
    /// two processes with one seed make the same ids. Threads share one sequence, without a lock. The time in
    /// version 7 still comes from the clock. Default: no seed.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seeded = Some(Arc::new(Seeded { seed, drawn: AtomicU64::new(0) }));
        self
    }

    /// Builds the generator.
    ///
    /// # Errors
    /// None at present.
    pub fn build(self) -> Result<RetraceIdGenerator, BuildError> {
        Ok(RetraceIdGenerator { settings: self })
    }
}

impl RetraceIdGenerator {
    /// Returns a builder for a generator.
    pub fn builder() -> RetraceIdGeneratorBuilder {
        RetraceIdGeneratorBuilder::default()
    }

    fn random<const N: usize>(&self) -> [u64; N] {
        match &self.settings.seeded {
            Some(seeded) => [(); N].map(|()| seeded.next()),
            None => random_of_thread(),
        }
    }

    fn trace_id(&self, high: u64, low: u64) -> TraceId {
        TraceId::from(if self.settings.time_ordered {
            let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            version_7(since_epoch, low)
        } else {
            uuid(4, high, low)
        })
    }

    /// Makes the ids of a root in one draw.
    pub(crate) fn new_root_ids(&self) -> (TraceId, SpanId) {
        let [high, low, span] = self.random();
        (self.trace_id(high, low), span_id(span))
    }
}

impl IdGenerator for RetraceIdGenerator {
    fn new_trace_id(&self) -> TraceId {
        if let Some(trace_id) = PRESET.try_with(Cell::take).ok().flatten() {
            return trace_id;
        }
        let [high, low] = self.random();
        self.trace_id(high, low)
    }

    fn new_span_id(&self) -> SpanId {
        let [random] = self.random();
        span_id(random)
    }
}

/// Creates a span id. The second half of the UUID, with the variant, is derived from the trace id when the
/// span is sent.
fn span_id(random: u64) -> SpanId {
    SpanId::from(with_version(4, random))
}

/// Creates a UUID: the version is in the first 64 bits, the variant in the last.
fn uuid(version: u64, high: u64, low: u64) -> u128 {
    const VARIANT: u64 = 0b10 << 62;
    u128::from(with_version(version, high)) << 64 | u128::from(VARIANT | low >> 2)
}

fn with_version(version: u64, high: u64) -> u64 {
    high & !0xf000 | version << 12
}

/// Creates a UUID of version 7: milliseconds in 48 bits, then the fraction of the millisecond in 12 (RFC
/// 9562, section 6.2, method 3), then random bits.
fn version_7(since_epoch: Duration, random: u64) -> u128 {
    const NANOS: u64 = 1_000_000;
    let millis = since_epoch.as_secs().wrapping_mul(1_000).wrapping_add(u64::from(since_epoch.subsec_millis()));
    let fraction = u64::from(since_epoch.subsec_nanos()) % NANOS * 4_096 / NANOS;
    uuid(7, millis << 16 | fraction, random)
}

thread_local! {
    /// Trace id of the next root of this thread, drawn before its span.
    static PRESET: Cell<Option<TraceId>> = const { Cell::new(None) };
}

/// Runs `start`; the first trace id that a generator makes on this thread meanwhile is `trace_id`.
pub(crate) fn preset_trace_id<R>(trace_id: TraceId, start: impl FnOnce() -> R) -> R {
    /// Clears the preset, also when `start` panics.
    struct Clear;
    impl Drop for Clear {
        fn drop(&mut self) {
            let _ = PRESET.try_with(Cell::take);
        }
    }
    let _ = PRESET.try_with(|preset| preset.set(Some(trace_id)));
    let _clear = Clear;
    start()
}

thread_local! {
    static RANDOM: RefCell<(Process, SmallRng)> = RefCell::new((Process::current(), seeded_by_system()));
}

fn random_of_thread<const N: usize>() -> [u64; N] {
    let draw = |random: &mut SmallRng| [(); N].map(|()| random.next_u64());
    let drawn = RANDOM.try_with(|random| {
        let (process, random) = &mut *random.borrow_mut();
        if process.is_left() {
            (*process, *random) = (Process::current(), seeded_by_system());
        }
        draw(random)
    });
    // A span may begin while its thread is torn down, when thread-local storage is gone.
    drawn.unwrap_or_else(|_| draw(&mut seeded_by_system()))
}

fn seeded_by_system() -> SmallRng {
    SmallRng::try_from_os_rng().unwrap_or_else(|_| {
        // The standard library's source of seeds for its maps has fallbacks if the system has no randomness.
        let mut seed = <SmallRng as rand::SeedableRng>::Seed::default();
        for chunk in seed.chunks_mut(8) {
            let word = RandomState::new().build_hasher().finish();
            chunk.iter_mut().zip(word.to_le_bytes()).for_each(|(byte, random)| *byte = random);
        }
        SmallRng::from_seed(seed)
    })
}

/// Sequence of `SplitMix64`; each draw takes the next position.
#[derive(Debug)]
struct Seeded {
    seed: u64,
    drawn: AtomicU64,
}

impl Seeded {
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let place = self.drawn.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let z = self.seed.wrapping_add(place.wrapping_mul(STEP));
        let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

#[cfg(test)]
#[allow(clippy::string_slice)]
mod tests {
    use std::thread;

    use proptest::prelude::*;
    use retrace_protocol::Id;

    use super::*;

    fn time_ordered() -> RetraceIdGenerator {
        RetraceIdGenerator::builder().with_time_ordered_ids(true).build().unwrap()
    }

    fn seeded(seed: u64) -> RetraceIdGenerator {
        RetraceIdGenerator::builder().with_seed(seed).build().unwrap()
    }

    #[test]
    fn every_id_is_a_valid_uuid_in_retrace() {
        for generator in [RetraceIdGenerator::default(), time_ordered(), seeded(1)] {
            for _ in 0..10_000 {
                let (trace, span) = (generator.new_trace_id(), generator.new_span_id());
                let trace_uuid = Id::from_otel_trace(trace.to_bytes());
                let version = if generator.settings.time_ordered { "7" } else { "4" };
                assert!(trace_uuid.is_rfc4122() && &trace_uuid.to_string()[14..15] == version, "{trace_uuid}");
                let span_uuid = Id::from_otel_span(trace.to_bytes(), span.to_bytes());
                assert!(span_uuid.is_rfc4122() && &span_uuid.to_string()[14..15] == "4", "{span_uuid}");
            }
        }
    }

    /// Draws `each` ids on each of eight threads; returns how many trace ids and span ids differ.
    fn different(generator: &RetraceIdGenerator, each: usize) -> (usize, usize) {
        let draw = || (0..each).map(|_| (generator.new_trace_id(), generator.new_span_id())).collect::<Vec<_>>();
        let drawn: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(draw)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let count = |mut ids: Vec<u128>| {
            ids.sort_unstable();
            ids.dedup();
            ids.len()
        };
        let traces = drawn.iter().map(|(trace, _)| u128::from_be_bytes(trace.to_bytes()));
        let spans = drawn.iter().map(|(_, span)| u64::from_be_bytes(span.to_bytes()).into());
        (count(traces.collect()), count(spans.collect()))
    }

    #[test]
    fn no_two_of_two_million_are_the_same() {
        assert_eq!(different(&RetraceIdGenerator::default(), 250_000), (2_000_000, 2_000_000));
        assert_eq!(different(&time_ordered(), 50_000), (400_000, 400_000));
        assert_eq!(different(&seeded(7), 125_000), (1_000_000, 1_000_000));
    }

    /// Chi-square of each byte position over the samples, against a uniform distribution.
    fn chi_squares<const N: usize>(samples: &[[u8; N]]) -> Vec<f64> {
        let expected = f64::from(u32::try_from(samples.len()).unwrap()) / 256.0;
        (0..N)
            .map(|at| {
                let mut counts = [0_u32; 256];
                samples.iter().for_each(|sample| counts[usize::from(sample[at])] += 1);
                counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum()
            })
            .collect()
    }

    #[test]
    fn the_last_seven_bytes_are_random() {
        // 255 degrees of freedom: above 347.7 with a probability of 1 in 10,000, below 180.6 as well.
        let plausible = 180.0..348.0;
        let of_system = |seed| RetraceIdGenerator::of_test(SmallRng::seed_from_u64(seed));
        for ids in [of_system(42), seeded(42).draws(200_000)] {
            for (name, last_seven) in [("v4", last_seven(&ids, false)), ("v7", last_seven(&ids, true))] {
                for (at, chi_square) in chi_squares(&last_seven).into_iter().enumerate() {
                    assert!(plausible.contains(&chi_square), "{name}, byte {}: {chi_square}", 9 + at);
                }
            }
        }
    }

    impl RetraceIdGenerator {
        fn draws(&self, count: usize) -> Vec<[u64; 2]> {
            (0..count).map(|_| self.random()).collect()
        }

        fn of_test(mut random: SmallRng) -> Vec<[u64; 2]> {
            (0..200_000).map(|_| [random.next_u64(), random.next_u64()]).collect()
        }
    }

    fn last_seven(draws: &[[u64; 2]], time_ordered: bool) -> Vec<[u8; 7]> {
        let id = |[high, low]: &[u64; 2]| match time_ordered {
            true => version_7(Duration::from_nanos(1_700_000_000_000_000_000), *low),
            false => uuid(4, *high, *low),
        };
        draws.iter().map(|draw| *id(draw).to_be_bytes().last_chunk().unwrap()).collect()
    }

    #[test]
    fn the_first_half_and_span_ids_are_random_but_for_the_version() {
        let generator = seeded(3);
        let bytes: Vec<[u8; 8]> = (0..200_000).map(|_| generator.new_span_id().to_bytes()).collect();
        for (at, chi_square) in chi_squares(&bytes).into_iter().enumerate() {
            assert!(at == 6 || (180.0..348.0).contains(&chi_square), "byte {at}: {chi_square}");
        }
        assert!(bytes.iter().all(|bytes| bytes[6] >> 4 == 4));
    }

    #[test]
    fn one_seed_makes_the_same_ids_again_and_another_does_not() {
        let ids = |seed| {
            let generator = seeded(seed);
            (0..100).map(|_| (generator.new_trace_id(), generator.new_span_id())).collect::<Vec<_>>()
        };
        assert_eq!(ids(5), ids(5));
        assert_ne!(ids(5), ids(6));
    }

    #[test]
    fn later_ids_of_version_7_are_greater() {
        let generator = time_ordered();
        let first = generator.new_trace_id();
        thread::sleep(Duration::from_micros(50));
        assert!(generator.new_trace_id().to_bytes() > first.to_bytes());
        let millis = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        let before = millis();
        let shown = u128::from_be_bytes(generator.new_trace_id().to_bytes()) >> 80;
        let after = millis();
        assert!((before..=after).contains(&shown), "{before} {shown} {after}");
    }

    proptest! {
        #[test]
        fn version_7_sorts_by_time(earlier in 0..1_u64 << 60, later in 1..1_000_000_u64, random: [u64; 2]) {
            let (from, to) = (Duration::from_nanos(earlier), Duration::from_nanos(earlier + later));
            let (from, to) = (version_7(from, random[0]), version_7(to, random[1]));
            // A tick of the fraction is 244 ns.
            prop_assert!(to >> 64 >= from >> 64 && (later < 245 || to >> 64 > from >> 64), "{from:x} {to:x}");
            prop_assert!(Id::from_otel_trace(from.to_be_bytes()).is_rfc4122());
        }

        #[test]
        fn whatever_is_drawn_the_ids_are_valid(high: u64, low: u64, seconds: u64, nanos in 0..1_000_000_000_u32) {
            for id in [uuid(4, high, low), version_7(Duration::new(seconds, nanos), low)] {
                prop_assert!(Id::from_otel_trace(id.to_be_bytes()).is_rfc4122());
            }
            let span = with_version(4, high);
            prop_assert!(Id::from_otel_span(uuid(4, high, low).to_be_bytes(), span.to_be_bytes()).is_rfc4122());
        }
    }

    #[test]
    fn a_thread_that_ends_still_gets_ids() {
        struct Late;
        impl Drop for Late {
            fn drop(&mut self) {
                assert_ne!(RetraceIdGenerator::default().new_span_id(), SpanId::INVALID);
            }
        }
        thread_local!(static LATE: Late = const { Late });
        thread::spawn(|| {
            LATE.with(|_| ());
            RetraceIdGenerator::default().new_span_id()
        })
        .join()
        .unwrap();
    }
}
