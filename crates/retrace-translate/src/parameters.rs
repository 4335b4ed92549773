//! How a model was asked to choose its words: each parameter under a key of its own, or all of them in one object.

use std::collections::BTreeMap;

use retrace_protocol::Json;
use retrace_protocol::json::is_strict;
use retrace_protocol::message::decode;
use retrace_protocol::metadata::Sampling;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::slot::{Slot, Slots};
use crate::view::Value;

/// What the parameters of a request say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters {
    pub sampling: Sampling,
    pub model: Option<String>,
    pub streaming: Option<bool>,
    /// On whose behalf the request was made, as the provider was told.
    pub user: Option<String>,
    /// The conversation that the provider keeps.
    pub conversation: Option<String>,
}

impl Parameters {
    /// What stands under keys of its own comes first, then the object, then, of a call of a model, the request if that was
    /// recorded whole. The object is told when nothing is in it but what is read here.
    pub(crate) fn of(slots: &Slots<'_>, is_call: bool) -> Self {
        let mut own = Self { sampling: sampling(slots), ..Self::default() };
        if own.hear(slots, Slot::Parameters) {
            slots.mark_told(Slot::Parameters);
        }
        if is_call {
            own.hear(slots, Slot::Input);
        }
        own
    }

    /// Takes in what an object says; whether nothing else is in it.
    fn hear(&mut self, slots: &Slots<'_>, slot: Slot) -> bool {
        let text = slots.value(slot).and_then(Value::as_json_text);
        text.is_some_and(|text| text.trim_start().starts_with('{') && is_strict(text) && self.read(text, true))
    }

    /// Reads an object, and where Gemini has them the parameters in it; whether nothing else is in it.
    fn read(&mut self, json: &str, deeper: bool) -> bool {
        let Ok(parameters) = serde_json::from_str::<BTreeMap<String, &RawValue>>(json) else { return false };
        let mut rest = Rest(parameters);
        let own = self;
        let sampling = &mut own.sampling;
        rest.take(&["temperature"], &mut sampling.temperature);
        rest.take(&["top_p", "topP"], &mut sampling.top_p);
        rest.take(&["top_k", "topK"], &mut sampling.top_k);
        rest.take(&["seed"], &mut sampling.seed);
        rest.take(
            &["max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens"],
            &mut sampling.max_tokens,
        );
        rest.take(&["frequency_penalty", "frequencyPenalty"], &mut sampling.frequency_penalty);
        rest.take(&["presence_penalty", "presencePenalty"], &mut sampling.presence_penalty);
        rest.take(&["stop", "stop_sequences", "stopSequences"], &mut sampling.stop);
        rest.take(&["n", "candidate_count", "candidateCount"], &mut sampling.n);
        rest.take(&["model", "model_name"], &mut own.model);
        rest.take(&["stream"], &mut own.streaming);
        rest.take(&["user"], &mut own.user);
        rest.take(&["conversation"], &mut own.conversation);
        for name in ["config", "generationConfig", "generation_config"].into_iter().filter(|_| deeper) {
            if rest.0.get(name).is_some_and(|raw| own.read(raw.get(), false)) {
                rest.0.remove(name);
            }
        }
        rest.0.is_empty()
    }
}

/// Parameters that were not read yet.
struct Rest<'a>(BTreeMap<String, &'a RawValue>);

impl Rest<'_> {
    /// Reads a parameter under the first of its names that is there, unless it is known; one that says the same, or
    /// nothing, is done with too.
    fn take<T: DeserializeOwned + PartialEq>(&mut self, names: &[&str], place: &mut Option<T>) {
        for name in names {
            let Some(raw) = self.0.get(*name) else { continue };
            // Some libraries write numbers as texts.
            let found = serde_json::from_str::<Option<T>>(raw.get());
            let Ok(found) = found.or_else(|_| serde_json::from_str(&decode(raw))) else { continue };
            if place.is_none() || found.is_none() || *place == found {
                *place = found.or(place.take());
                self.0.remove(*name);
            }
        }
    }
}

fn sampling(slots: &Slots<'_>) -> Sampling {
    Sampling {
        temperature: slots.tell_number(Slot::Temperature),
        top_p: slots.tell_number(Slot::TopP),
        top_k: slots.tell_number(Slot::TopK),
        seed: slots.tell(Slot::Seed, |value| match value {
            Value::Int(seed) => Some(*seed),
            other => other.to_count().and_then(|seed| i64::try_from(seed).ok()),
        }),
        max_tokens: slots.tell_count(Slot::MaxTokens),
        frequency_penalty: slots.tell_number(Slot::FrequencyPenalty),
        presence_penalty: slots.tell_number(Slot::PresencePenalty),
        stop: slots.tell(Slot::StopSequences, |stop| Some(Json::from_serialize(stop))),
        n: slots.tell_count(Slot::ChoiceCount),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::Held;

    fn read(json: &'static str, temperature: Option<f64>) -> (Parameters, bool) {
        let mut slots = Slots::new();
        slots.put(Slot::Parameters, Held { rank: 1, attribute: Some(0), value: Value::from(json) });
        if let Some(temperature) = temperature {
            slots.put(Slot::Temperature, Held { rank: 1, attribute: Some(1), value: Value::Float(temperature) });
        }
        (Parameters::of(&slots, false), slots.is_told(Slot::Parameters))
    }

    #[test]
    fn an_object_fills_what_is_not_known() {
        let json = r#"{"model":"m","temperature":0.5,"max_completion_tokens":9,"seed":-1,"stop":["a"],"stream":true,"n":null}"#;
        let (read, told) = read(json, None);
        assert_eq!(
            (read.sampling.temperature, read.sampling.max_tokens, read.sampling.seed),
            (Some(0.5), Some(9), Some(-1))
        );
        assert_eq!((read.model.as_deref(), read.streaming, read.sampling.n), (Some("m"), Some(true), None));
        assert_eq!(read.sampling.stop.unwrap().as_str(), r#"["a"]"#);
        assert!(told);
    }

    #[test]
    fn what_is_left_in_it_keeps_it_an_attribute() {
        for (json, temperature) in [
            (r#"{"temperature":0.5}"#, Some(0.7)),
            (r#"{"temperature":0.5,"tools":[]}"#, None),
            (r#"{"temperature":"warm"}"#, None),
            ("[]", None),
            ("not JSON", None),
            (r#"{"seed":1e999}"#, None),
        ] {
            assert!(!read(json, temperature).1, "{json}");
        }
        assert_eq!(read(r#"{"temperature":0.5}"#, Some(0.7)).0.sampling.temperature, Some(0.7));
    }
}
