//! Lists of `tracestate`.

use proptest::prelude::*;

use super::*;
use crate::trace_context::tracestate::{MAX_LENGTH, MAX_MEMBERS};

/// Returns the list that is passed on for these fields.
fn handed_on(fields: &[&str]) -> Option<String> {
    let traceparent = parent(0);
    let mut all = vec![("traceparent", traceparent.as_str())];
    all.extend(fields.iter().map(|field| ("tracestate", *field)));
    through(&all).expect("the trace goes on whatever its state").1
}

fn kept(field: &str) {
    assert_eq!(handed_on(&[field]).as_deref(), Some(field));
}

fn dropped(field: &str) {
    assert_eq!(handed_on(&[field]), None, "{field:?}");
    assert_eq!(handed_on(&["bar=2", field]), None, "the whole list for {field:?}");
}

#[test]
fn a_valid_list_is_handed_on_as_it_came() {
    kept("foo=1");
    kept("foo=1,bar=2,congo=t61rcWkgMzE");
    kept("foo=1,foo=2");
    kept("foo= 1");
    kept("0a_-*/@z= !\"#$%&'()*+-./09:;<>?@AZ[\\]^_`az{|}~");
}

#[test]
fn fields_are_joined_in_order_and_blanks_around_entries_go() {
    assert_eq!(handed_on(&["foo=1", "bar=2"]).as_deref(), Some("foo=1,bar=2"));
    assert_eq!(handed_on(&["foo=1,", "", "\t", " , bar=2 \t"]).as_deref(), Some("foo=1,bar=2"));
    assert_eq!(
        handed_on(&["foo=  1 \t, \t bar=2"]).as_deref(),
        Some("foo=  1,bar=2"),
        "leading blanks of a value stay"
    );
}

#[test]
fn an_empty_list_is_not_sent() {
    assert_eq!((handed_on(&[]), handed_on(&[""]), handed_on(&[" , ,\t"])), (None, None, None));
}

#[test]
fn keys_have_the_grammar_of_level_2() {
    for key in ["a", "0", "foo@", "foo@@bar", "foo@bar@baz", "tenant@very-long-system-name"] {
        kept(&format!("{key}=1,bar=2"));
    }
    kept(&format!("{}=1", "z".repeat(256)));
    kept(&format!("{}@{}=1", "t".repeat(241), "v".repeat(14)));
    for key in ["", "@foo", "_a", "-a", "*a", "/a", "Foo", "fOo", "foo bar", "foo.bar", "foo ", "foo\t", "fo;o"] {
        dropped(&format!("{key}=1"));
    }
    dropped(&format!("{}=1", "z".repeat(257)));
    dropped("foo");
}

#[test]
fn values_are_printable_and_neither_empty_nor_too_long() {
    kept(&format!("foo={}", "v".repeat(256)));
    dropped(&format!("foo={}", "v".repeat(257)));
    for value in ["", " ", "1=2", "=1", "a\tb"] {
        dropped(&format!("foo={value}"));
    }
}

#[test]
fn characters_that_headers_do_not_take_are_refused_in_other_carriers() {
    let propagator = RetracePropagator::default();
    for value in ["é", "\u{7f}", "a\u{0}b", "a\nb", "\u{1f}", "٣"] {
        let carrier = HashMap::from([
            ("traceparent".to_owned(), parent(0)),
            ("tracestate".to_owned(), format!("bar=1,foo={value}")),
        ]);
        let cx = propagator.extract_with_context(&Context::new(), &carrier);
        assert_eq!(inject(&propagator, &cx), (Some(parent(0)), None), "{value:?}");
    }
}

#[test]
fn there_are_32_entries_at_most_and_empty_ones_do_not_count() {
    let list = |count: usize| (0..count).map(|i| format!("k{i}=1")).collect::<Vec<_>>().join(",");
    kept(&list(32));
    dropped(&list(33));
    assert_eq!(handed_on(&[&list(16), &list(17)]), None);
    assert_eq!(handed_on(&[&format!("{}foo=1", ",".repeat(40))]).as_deref(), Some("foo=1"));
}

#[test]
fn a_long_list_is_cut_by_whole_entries_long_ones_first_then_from_the_right() {
    // 28 long entries and 4 short ones: 7,800 characters, which is below the limit; then 10,600, which is
    // above it.
    let long = |i: usize| format!("{}{i:02}=1", "k".repeat(254));
    let short = |i: usize| format!("s{i:02}={}", "v".repeat(120));
    let received: Vec<_> = (0..32).map(|i| if i % 8 == 7 { short(i) } else { long(i) }).collect();
    let state = received.join(",");
    assert!(state.len() < MAX_LENGTH);
    kept(&state);

    let longer = |i: usize| format!("{}{i:02}={}", "k".repeat(254), "v".repeat(100));
    let received: Vec<_> = (0..32).map(|i| if i % 8 == 7 { short(i) } else { longer(i) }).collect();
    let sent = handed_on(&[&received.join(",")]).unwrap();
    assert!(sent.len() <= MAX_LENGTH && sent.len() > MAX_LENGTH - 360, "{}", sent.len());
    let kept: Vec<_> = sent.split(',').collect();
    assert!((0..32).filter(|i| i % 8 == 7).all(|i| kept.contains(&short(i).as_str())), "short ones stay");
    let expected: Vec<_> = received.iter().filter(|entry| kept.contains(&entry.as_str())).collect();
    assert_eq!(kept, expected, "the order stays");
    let first_long: Vec<_> = received.iter().filter(|entry| entry.len() > 128).take(kept.len() - 4).collect();
    assert!(first_long.iter().all(|entry| kept.contains(&entry.as_str())), "long ones go from the right");
}

/// Returns the list that is sent below a sampler that changes it.
fn changed(received: &str, change: fn(&TraceState) -> TraceState) -> String {
    let propagator = RetracePropagator::default();
    let cx = extract(&propagator, &[("traceparent", &parent(1)), ("tracestate", received)]);
    inject(&propagator, &below(&cx, Changes(change))).1.unwrap_or_default()
}

#[test]
fn what_a_sampler_changes_comes_first_and_the_rest_stays() {
    let received = "a=1,x@@y=2,b=3,b=4,c=5";
    assert_eq!(changed(received, Clone::clone), received);
    assert_eq!(changed(received, |state| state.insert("ot", "th:c").unwrap()), format!("ot=th:c,{received}"));
    assert_eq!(changed(received, |state| state.insert("c", "6").unwrap()), "c=6,a=1,x@@y=2,b=3,b=4");
    assert_eq!(changed(received, |state| state.delete("a").unwrap()), "x@@y=2,b=3,b=4,c=5");
    let both = |state: &TraceState| state.delete("a").unwrap().insert("n", "7").unwrap().insert("c", "6").unwrap();
    assert_eq!(changed(received, both), "c=6,n=7,x@@y=2,b=3,b=4");
    assert_eq!(changed(received, |_| TraceState::NONE), "x@@y=2");
}

#[test]
fn what_a_sampler_adds_wrongly_is_not_sent() {
    for (key, value) in [("n", ""), ("n", "a\tb"), ("n", "é"), ("", "1"), ("n", "a ")] {
        let add = |state: &TraceState| {
            let pairs = state.into_iter().chain([("m", "2"), ("n", "")]).collect::<Vec<_>>();
            TraceState::from_key_value(pairs).unwrap()
        };
        assert_eq!(changed("a=1", add), "m=2,a=1");
        let state = TraceState::from_key_value([("a", "1"), (key, value), ("b", "2")]).unwrap();
        let span = SpanContext::new(TraceId::from(1), SpanId::from(1), TraceFlags::SAMPLED, false, state);
        let cx = Context::new().with_remote_span_context(span);
        assert_eq!(inject(&RetracePropagator::default(), &cx).1.as_deref(), Some("a=1,b=2"), "{key:?} {value:?}");
    }
}

#[test]
fn a_full_list_loses_its_last_entry_to_a_new_one() {
    let received: Vec<_> = (0..MAX_MEMBERS).map(|i| format!("k{i}@@=1")).collect();
    let sent = changed(&received.join(","), |state| state.insert("new", "1").unwrap());
    assert_eq!(sent, format!("new=1,{}", received[..31].join(",")));
}

fn entries() -> impl Strategy<Value = Vec<String>> {
    let key = "[a-z0-9][a-z0-9_*/@-]{0,20}";
    let value = "[ -+\\--<>-~]{0,20}[!-+\\--<>-~]";
    let entry = (key, value).prop_map(|(key, value)| format!("{key}={value}"));
    prop::collection::vec(entry.prop_filter("ours", |entry| !entry.starts_with("retrace=")), 0..=MAX_MEMBERS)
}

proptest! {
    #[test]
    fn entries_of_others_survive_byte_for_byte_and_in_order(entries in entries(), cut in 0..40_usize, flags in 0..4_u8) {
        let propagator = RetracePropagator::builder().with_runs(|_| Some(RemoteRunContext::new())).build().unwrap();
        let (first, second) = entries.split_at(cut.min(entries.len()));
        let (first, second, traceparent) = (first.join(" ,\t"), second.join(",,"), parent(flags));
        let fields = [("traceparent", traceparent.as_str()), ("tracestate", &first), ("tracestate", &second)];
        let cx = below(&extract(&propagator, &fields), parent_based());
        let (_, state) = inject(&propagator, &cx);
        let state = state.unwrap_or_default();
        let mut sent: Vec<_> = state.split(',').filter(|entry| !entry.is_empty()).collect();
        let sampled = flags & 1 != 0;
        prop_assert_eq!(sampled, sent.first() == Some(&"retrace=1"));
        if sampled {
            sent.remove(0);
        }
        let kept = if sampled { entries.len().min(MAX_MEMBERS - 1) } else { entries.len() };
        prop_assert_eq!(sent, &entries[..kept]);
    }

    #[test]
    fn nothing_that_comes_in_panics_and_what_goes_out_is_valid(
        parents in prop::collection::vec(prop_oneof![Just(parent(1)), Just(parent(2)), ".*", "[0-9a-f-]{50,60}"], 0..3),
        states in prop::collection::vec(prop_oneof![".*", "[a-z@,= \t;:%]{0,80}", "retrace=1;[ -~]{0,40}"], 0..4),
        sampled: bool,
    ) {
        struct Carrier(Vec<String>, Vec<String>);
        impl Extractor for Carrier {
            fn get(&self, key: &str) -> Option<&str> {
                self.get_all(key)?.first().copied()
            }
            fn keys(&self) -> Vec<&str> {
                vec![TRACEPARENT, TRACESTATE]
            }
            fn get_all(&self, key: &str) -> Option<Vec<&str>> {
                let values = if key == TRACEPARENT { &self.0 } else { &self.1 };
                Some(values.iter().map(String::as_str).collect())
            }
        }
        let propagator = RetracePropagator::builder().with_runs(|_| Some(RemoteRunContext::new())).build().unwrap();
        let cx = propagator.extract_with_context(&Context::new(), &Carrier(parents, states));
        let cx = below(&cx, if sampled { Sampler::AlwaysOn } else { Sampler::AlwaysOff });
        let (traceparent, state) = inject(&propagator, &cx);
        prop_assert!(traceparent.unwrap().parse::<Traceparent>().is_ok());
        let state = state.unwrap_or_default();
        prop_assert!(state.len() <= MAX_LENGTH);
        let read = Members::parse(&[&state]);
        prop_assert_eq!(read.unwrap().to_header().unwrap_or_default(), state);
    }
}
