//! Shortens a run to the size that its receiver accepts.

use retrace_protocol::metadata::SpanMetadata;
use retrace_protocol::{Json, Span, Trace, write};
use retrace_translate::shorten;

use crate::delivery::encoded_span::EncodedSpan;
use crate::delivery::run_buffer::RunBuffer;

/// Shortest part of a content that is still sent, in bytes of JSON.
const SHORTEST: usize = 64;
/// Bytes of the truncation note in a span that had no metadata.
const NOTE: usize = 80;

/// Result of [`fit()`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fitted {
    /// Number of shortened spans.
    pub shortened: usize,
    /// Number of accepted spans that are lost.
    pub lost: u64,
}

/// Shortens the run to `max_bytes`: the longest contents are cut first, to one height, so that short ones
/// stay whole. If that is not enough, spans are dropped, longest first, and the run is marked lossy.
pub(crate) fn fit(run: &mut RunBuffer, max_bytes: usize) -> Fitted {
    let mut fitted = Fitted::default();
    let lengths: Vec<usize> = run.spans().map(EncodedSpan::length).chain([trace_length(&run.trace)]).collect();
    if let Some(height) = height(lengths, max_bytes) {
        run.replace_spans(|span| {
            let shorter = Some(span).filter(|span| span.length() > height).and_then(|span| shorter(span, height))?;
            fitted.shortened += 1;
            Some(shorter)
        });
        shorten_trace(&mut run.trace, height);
    }
    let spans: usize = run.spans().map(EncodedSpan::length).sum();
    if spans + trace_length(&run.trace) > max_bytes && run.has_spans() {
        run.trace.lossy = Some(true);
        fitted.lost = drop_longest(run, max_bytes.saturating_sub(trace_length(&run.trace)));
    }
    fitted
}

/// Drops spans until the others take no more than `max_bytes`; returns the number of accepted spans lost.
fn drop_longest(run: &mut RunBuffer, max_bytes: usize) -> u64 {
    let mut lengths: Vec<usize> = run.spans().map(EncodedSpan::length).collect();
    let mut total: usize = lengths.iter().sum();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    // Spans longer than this go, and of those of this length as many as have to.
    let (mut longest, mut of_this_length) = (usize::MAX, 0);
    for length in lengths {
        if total <= max_bytes {
            break;
        }
        total -= length;
        of_this_length = if length == longest { of_this_length + 1 } else { 1 };
        longest = length;
    }
    let before = run.sources();
    run.retain(|step| {
        let length = step.span.as_ref().map_or(0, EncodedSpan::length);
        if length == longest && of_this_length > 0 {
            of_this_length -= 1;
            return false;
        }
        length <= longest
    });
    before - run.sources()
}

/// Returns the largest height to which all lengths can be cut so that they fit together; `None` when they fit
/// as they are.
fn height(mut lengths: Vec<usize>, max_bytes: usize) -> Option<usize> {
    if lengths.iter().sum::<usize>() <= max_bytes {
        return None;
    }
    lengths.sort_unstable();
    let mut left = max_bytes;
    let mut higher = lengths.len();
    for length in lengths {
        if length.saturating_mul(higher) > left {
            break;
        }
        left -= length;
        higher -= 1;
    }
    Some(left.checked_div(higher).unwrap_or(0))
}

fn trace_length(trace: &Trace) -> usize {
    write::to_string(trace).map_or(0, |json| json.len())
}

/// Returns the span with its contents cut to `height` bytes, or as near as possible, and with a truncation
/// note; `None` if that makes it no shorter. The receiver does not accept the encoded span, so it is decoded.
fn shorter(encoded: &EncodedSpan, height: usize) -> Option<EncodedSpan> {
    let mut span = encoded.read()?;
    shorten_span(&mut span, encoded.length(), height);
    let shorter = EncodedSpan::new(span, encoded.sources, usize::MAX).ok()?;
    (shorter.length() < encoded.length()).then_some(shorter)
}

/// Cuts the contents of a span that takes `length` bytes to `height` bytes, or as near as possible, and adds a
/// truncation note.
pub(super) fn shorten_span(span: &mut Span, length: usize, height: usize) {
    let mut removed = 0;
    let Span { input, output, metadata: of_span, token_ids, logprobs, .. } = span;
    let mut metadata: SpanMetadata =
        of_span.as_ref().and_then(|json| serde_json::from_str(json.as_str()).ok()).unwrap_or_default();
    let contents = [
        input,
        output,
        &mut metadata.reasoning,
        &mut metadata.tool_calls,
        &mut metadata.tool_schemas,
        &mut metadata.tool_descriptions,
        &mut metadata.provider_tools,
        &mut metadata.attributes,
    ];
    let lengths: Vec<usize> = contents.iter().map(|json| json.as_ref().map_or(0, |json| json.as_str().len())).collect();
    let fixed = length.saturating_sub(lengths.iter().sum()) + NOTE;
    if let Some(to) = self::height(lengths, height.saturating_sub(fixed)) {
        for json in contents.into_iter().flatten() {
            removed += cut(json, to.max(SHORTEST));
        }
        if fixed > to {
            metadata.events.clear();
            (*token_ids, *logprobs) = (None, None);
        }
    }
    metadata.truncated = Some(true);
    metadata.truncated_bytes = Some(metadata.truncated_bytes.unwrap_or(0) + removed);
    *of_span = Some(Json::from_serialize(&metadata));
}

fn shorten_trace(trace: &mut Trace, height: usize) {
    let fixed = trace_length(trace)
        .saturating_sub([&trace.input, &trace.output].into_iter().flatten().map(|json| json.as_str().len()).sum());
    let room = (height.saturating_sub(fixed) / 2).max(SHORTEST);
    for json in [&mut trace.input, &mut trace.output].into_iter().flatten() {
        cut(json, room);
    }
}

/// Cuts a value; returns the number of bytes removed.
fn cut(json: &mut Json, max_bytes: usize) -> u64 {
    shorten(json, max_bytes).map_or(0, |short| {
        *json = short.json;
        short.removed_bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::encoded_span::RunEncoder;
    use proptest::prelude::*;
    use retrace_protocol::{Id, SpanType, Timestamp};

    fn trace() -> Trace {
        Trace::started("t".into(), Timestamp::from_unix_micros(1))
    }

    fn span(n: usize, content: usize) -> Span {
        let mut span =
            Span::new(Id::from(n.to_string()), "t".into(), SpanType::LlmCall, "s", Timestamp::from_unix_micros(1));
        span.input = Some(Json::from_serialize(
            &serde_json::json!({"messages": [{"role": "user", "content": "x".repeat(content)}]}),
        ));
        span.output = Some(Json::text(&"y".repeat(content / 2)));
        span
    }

    fn run(spans: impl Iterator<Item = Span>) -> RunBuffer {
        let mut encoder = RunEncoder::with_room_for([], |_| ());
        spans.for_each(|span| assert!(encoder.push(span, 1)));
        RunBuffer::whole(trace(), encoder.finish(), false)
    }

    fn length(run: &RunBuffer) -> usize {
        trace_length(&run.trace) + run.spans().map(EncodedSpan::length).sum::<usize>()
    }

    /// P12: one very large span among 99 small ones.
    #[test]
    fn pain_12_the_giant_is_cut_and_the_small_stay_whole() {
        let mut run = run((0..100).map(|n| span(n, if n == 40 { 1 << 20 } else { 100 })));
        let before: Vec<_> = run.spans().map(|span| span.read().unwrap()).collect();
        let fitted = fit(&mut run, 200_000);
        assert_eq!(fitted, Fitted { shortened: 1, lost: 0 });
        assert!((190_000..=200_000).contains(&length(&run)), "{}", length(&run));
        for (at, (before, after)) in before.iter().zip(run.spans()).enumerate() {
            let after = after.read().unwrap();
            if at == 40 {
                let metadata = after.metadata.unwrap().to_value().unwrap();
                assert_eq!(metadata["truncated"], true);
                assert!(metadata["truncated_bytes"].as_u64().unwrap() > 1 << 20);
                let input = after.input.unwrap().to_value().unwrap();
                assert!(input["messages"][0]["content"].as_str().unwrap().starts_with("xxx"));
            } else {
                assert_eq!(*before, after);
            }
        }
        assert_eq!(run.trace.lossy, None);
    }

    #[test]
    fn what_cannot_be_cut_is_dropped_and_counted() {
        let mut run = run((0..10).map(|n| span(n, 10)));
        let fitted = fit(&mut run, 1_500);
        assert!(fitted.lost > 0 && run.sources() + fitted.lost == 10);
        assert_eq!(run.trace.lossy, Some(true));
        assert!(length(&run) <= 1_500);
        assert!(run.spans().all(|span| span.held() == span.length()), "what was dropped is free");
    }

    #[test]
    fn heights_are_as_high_as_they_fit() {
        assert_eq!(height(vec![5, 5], 10), None);
        assert_eq!(height(vec![5, 6], 10), Some(5));
        assert_eq!(height(vec![1, 100, 100], 41), Some(20));
        assert_eq!(height(vec![7], 3), Some(3));
    }

    proptest! {
        #[test]
        fn any_run_is_made_to_fit(sizes in prop::collection::vec(0_usize..5_000, 0..20), max_bytes in 300_usize..20_000) {
            let mut run = run(sizes.iter().enumerate().map(|(n, size)| span(n, *size)));
            run.trace.input = Some(Json::text(&"z".repeat(sizes.len() * 100)));
            let fitted = fit(&mut run, max_bytes);
            prop_assert!(length(&run) <= max_bytes.max(400), "{} of {max_bytes}", length(&run));
            prop_assert_eq!(run.sources() + fitted.lost, sizes.len() as u64);
            prop_assert_eq!(run.trace.lossy.is_some(), fitted.lost > 0);
        }
    }
}
