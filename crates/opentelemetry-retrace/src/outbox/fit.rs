//! Shortens a run to the size that its receiver accepts.

use retrace_protocol::metadata::SpanMetadata;
use retrace_protocol::{Json, Span, Trace, write};
use retrace_translate::shorten;

use crate::outbox::chunk::Chunk;

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
pub(crate) fn fit(trace: &mut Trace, chunks: &mut Vec<Chunk>, max_bytes: usize) -> Fitted {
    let mut fitted = Fitted::default();
    let lengths: Vec<usize> = chunks.iter().map(Chunk::length).chain([trace_length(trace)]).collect();
    if let Some(height) = height(lengths, max_bytes) {
        for chunk in chunks.iter_mut().filter(|chunk| chunk.length() > height) {
            if let Some(shorter) = shorter(chunk, height) {
                *chunk = shorter;
                fitted.shortened += 1;
            }
        }
        shorten_trace(trace, height);
    }
    let spans: usize = chunks.iter().map(Chunk::length).sum();
    if spans + trace_length(trace) > max_bytes && !chunks.is_empty() {
        trace.lossy = Some(true);
        fitted.lost = drop_longest(chunks, max_bytes.saturating_sub(trace_length(trace)));
    }
    // Releases the memory of dropped or cut spans, which the other spans share.
    if fitted != Fitted::default() {
        chunks.iter_mut().for_each(Chunk::unshare);
    }
    fitted
}

/// Drops spans until the others take no more than `max_bytes`; returns the number of accepted spans lost.
fn drop_longest(chunks: &mut Vec<Chunk>, max_bytes: usize) -> u64 {
    let mut length: usize = chunks.iter().map(Chunk::length).sum();
    let mut by_length: Vec<usize> = (0..chunks.len()).collect();
    by_length.sort_by_key(|at| std::cmp::Reverse(chunks.get(*at).map(Chunk::length)));
    let mut keep = vec![true; chunks.len()];
    for at in by_length {
        if length <= max_bytes {
            break;
        }
        if let (Some(keep), Some(chunk)) = (keep.get_mut(at), chunks.get(at)) {
            *keep = false;
            length -= chunk.length();
        }
    }
    let mut lost = 0;
    let mut keep = keep.into_iter();
    chunks.retain(|chunk| {
        let keep = keep.next().unwrap_or(true);
        lost += if keep { 0 } else { u64::from(chunk.sources) };
        keep
    });
    lost
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
/// note.
pub(crate) fn shorter(chunk: &Chunk, height: usize) -> Option<Chunk> {
    let mut span = chunk.read()?;
    let mut removed = 0;
    {
        let Span { input, output, metadata, token_ids, logprobs, .. } = &mut span;
        let mut metadata: SpanMetadata =
            metadata.as_ref().and_then(|json| serde_json::from_str(json.as_str()).ok()).unwrap_or_default();
        let contents = [
            &mut *input,
            &mut *output,
            &mut metadata.reasoning,
            &mut metadata.tool_calls,
            &mut metadata.tool_schemas,
            &mut metadata.tool_descriptions,
            &mut metadata.provider_tools,
            &mut metadata.attributes,
        ];
        let lengths: Vec<usize> =
            contents.iter().map(|json| json.as_ref().map_or(0, |json| json.as_str().len())).collect();
        let fixed = chunk.length().saturating_sub(lengths.iter().sum()) + NOTE;
        if let Some(height) = self::height(lengths, height.saturating_sub(fixed)) {
            for json in contents.into_iter().flatten() {
                removed += cut(json, height.max(SHORTEST));
            }
            if fixed > height {
                metadata.events.clear();
                (*token_ids, *logprobs) = (None, None);
            }
        }
        metadata.truncated = Some(true);
        metadata.truncated_bytes = Some(metadata.truncated_bytes.unwrap_or(0) + removed);
        span.metadata = Some(Json::from_serialize(&metadata));
    }
    Chunk::new(&span, chunk.sources).filter(|shorter| shorter.length() < chunk.length())
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
    use crate::outbox::Chunks;
    use proptest::prelude::*;
    use retrace_protocol::{Id, SpanType, Timestamp};

    fn trace() -> Trace {
        Trace::started("t".into(), Timestamp::from_unix_micros(1))
    }

    fn chunk(n: usize, content: usize) -> Chunk {
        let mut span =
            Span::new(Id::from(n.to_string()), "t".into(), SpanType::LlmCall, "s", Timestamp::from_unix_micros(1));
        span.input = Some(Json::from_serialize(
            &serde_json::json!({"messages": [{"role": "user", "content": "x".repeat(content)}]}),
        ));
        span.output = Some(Json::text(&"y".repeat(content / 2)));
        Chunk::new(&span, 1).unwrap()
    }

    fn length(trace: &Trace, chunks: &[Chunk]) -> usize {
        trace_length(trace) + chunks.iter().map(Chunk::length).sum::<usize>()
    }

    /// P12: one very large span among 99 small ones.
    #[test]
    fn pain_12_the_giant_is_cut_and_the_small_stay_whole() {
        let mut trace = trace();
        let mut chunks: Vec<_> = (0..100).map(|n| chunk(n, if n == 40 { 1 << 20 } else { 100 })).collect();
        let before: Vec<_> = chunks.iter().map(|chunk| chunk.read().unwrap()).collect();
        let fitted = fit(&mut trace, &mut chunks, 200_000);
        assert_eq!(fitted, Fitted { shortened: 1, lost: 0 });
        assert!((190_000..=200_000).contains(&length(&trace, &chunks)), "{}", length(&trace, &chunks));
        for (at, (before, after)) in before.iter().zip(&chunks).enumerate() {
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
        assert_eq!(trace.lossy, None);
    }

    #[test]
    fn what_cannot_be_cut_is_dropped_and_counted() {
        let mut trace = trace();
        let mut written = Chunks::with_room_for([], |_| ());
        assert!((0..10).all(|n| written.push(chunk(n, 10).read().unwrap(), 1)));
        let mut chunks = written.finish();
        let fitted = fit(&mut trace, &mut chunks, 1_500);
        assert!(fitted.lost > 0 && chunks.len() + usize::try_from(fitted.lost).unwrap() == 10);
        assert_eq!(trace.lossy, Some(true));
        assert!(length(&trace, &chunks) <= 1_500);
        assert!(chunks.iter().all(|chunk| chunk.held() == chunk.length()), "what was dropped is free");
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
            let mut trace = trace();
            trace.input = Some(Json::text(&"z".repeat(sizes.len() * 100)));
            let mut chunks: Vec<_> = sizes.iter().enumerate().map(|(n, size)| chunk(n, *size)).collect();
            let fitted = fit(&mut trace, &mut chunks, max_bytes);
            prop_assert!(length(&trace, &chunks) <= max_bytes.max(400), "{} of {max_bytes}", length(&trace, &chunks));
            prop_assert_eq!(chunks.len() as u64 + fitted.lost, sizes.len() as u64);
            prop_assert_eq!(trace.lossy.is_some(), fitted.lost > 0);
        }
    }
}
