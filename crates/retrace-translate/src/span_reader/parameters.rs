//! Request parameters, each under a key of its own or all in one object.

use std::collections::BTreeMap;

use retrace_protocol::Json;
use retrace_protocol::json::is_strict;
use retrace_protocol::message::decode;
use retrace_protocol::metadata::Sampling;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::fields::{Field, Fields};
use crate::view::Value;

/// Parameters of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters {
    pub sampling: Sampling,
    pub model: Option<String>,
    pub streaming: Option<bool>,
    /// User id that was sent to the provider.
    pub user: Option<String>,
    /// Conversation that the provider stores.
    pub conversation: Option<String>,
}

impl Parameters {
    /// Reads the parameters: keys of their own take precedence over the object, which takes precedence over the request of a
    /// model call if that was recorded whole. The object is consumed if all of its members are read.
    pub(crate) fn of(fields: &Fields<'_>, is_call: bool) -> Self {
        let mut own = Self { sampling: sampling(fields), ..Self::default() };
        if own.read_field(fields, Field::Parameters) {
            fields.mark_consumed(Field::Parameters);
        }
        if is_call {
            own.read_field(fields, Field::Input);
        }
        own
    }

    /// Reads the parameters of an object in a field; returns true if all of its members are read.
    fn read_field(&mut self, fields: &Fields<'_>, field: Field) -> bool {
        let text = fields.value(field).and_then(Value::as_json_text);
        text.is_some_and(|text| text.trim_start().starts_with('{') && is_strict(text) && self.read(text, true))
    }

    /// Reads an object, and the objects in which Gemini nests parameters; returns true if all of its members are read.
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

/// Members that are not read yet.
struct Rest<'a>(BTreeMap<String, &'a RawValue>);

impl Rest<'_> {
    /// Reads a parameter under the first of these names that is present. Removes the member if it sets the parameter, equals
    /// the parameter, or is `null`.
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

fn sampling(fields: &Fields<'_>) -> Sampling {
    Sampling {
        temperature: fields.consume_number(Field::Temperature),
        top_p: fields.consume_number(Field::TopP),
        top_k: fields.consume_number(Field::TopK),
        seed: fields.consume(Field::Seed, |value| match value {
            Value::Int(seed) => Some(*seed),
            other => other.to_count().and_then(|seed| i64::try_from(seed).ok()),
        }),
        max_tokens: fields.consume_count(Field::MaxTokens),
        frequency_penalty: fields.consume_number(Field::FrequencyPenalty),
        presence_penalty: fields.consume_number(Field::PresencePenalty),
        stop: fields.consume(Field::StopSequences, |stop| Some(Json::from_serialize(stop))),
        n: fields.consume_count(Field::ChoiceCount),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::FieldValue;

    fn read(json: &'static str, temperature: Option<f64>) -> (Parameters, bool) {
        let mut fields = Fields::new();
        fields.put(Field::Parameters, FieldValue { rank: 1, attribute: Some(0), value: Value::from(json) });
        if let Some(temperature) = temperature {
            fields
                .put(Field::Temperature, FieldValue { rank: 1, attribute: Some(1), value: Value::Float(temperature) });
        }
        (Parameters::of(&fields, false), fields.is_consumed(Field::Parameters))
    }

    #[test]
    fn an_object_fills_what_is_not_known() {
        let json = r#"{"model":"m","temperature":0.5,"max_completion_tokens":9,"seed":-1,"stop":["a"],"stream":true,"n":null}"#;
        let (read, consumed) = read(json, None);
        assert_eq!(
            (read.sampling.temperature, read.sampling.max_tokens, read.sampling.seed),
            (Some(0.5), Some(9), Some(-1))
        );
        assert_eq!((read.model.as_deref(), read.streaming, read.sampling.n), (Some("m"), Some(true), None));
        assert_eq!(read.sampling.stop.unwrap().as_str(), r#"["a"]"#);
        assert!(consumed);
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
