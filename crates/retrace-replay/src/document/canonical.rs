//! Canonical form of a JSON document: members sorted by name, integral numbers as integers, ids renamed by first appearance.

use std::collections::HashMap;
use std::io::Write as _;

use memchr::memchr;
use serde_json::{Number, Value};
use sha2::{Digest as _, Sha256};

/// Members whose value is the id of a tool call.
const CALL_IDS: [&str; 5] = ["tool_call_id", "tool_use_id", "call_id", "toolUseId", "toolCallId"];

/// Types of the objects whose `id` a provider makes anew for each response.
const IDENTIFIED: [&str; 12] = [
    "function",
    "tool_use",
    "tool_call",
    "tool-call",
    "function_call",
    "custom",
    "custom_tool_call",
    "function_call_output",
    "server_tool_use",
    "mcp_tool_use",
    "reasoning",
    "message",
];

/// Begins the place of an id; its number follows in four bytes. No text holds this byte.
const ID: u8 = 0xff;

/// Returns true if an object of this type has an `id` that is renamed.
pub(crate) fn is_identified(kind: &str) -> bool {
    IDENTIFIED.contains(&kind)
}

/// Returns true if the member of this name is an id that is renamed. `is_identified` states that of its object.
pub(crate) fn is_id(name: &str, is_identified: bool) -> bool {
    is_call_id(name) || (name == "id" && is_identified)
}

/// Returns true if the value of this member is the id of a tool call.
pub(crate) fn is_call_id(name: &str) -> bool {
    CALL_IDS.contains(&name)
}

/// Writes the canonical form of a document whose values are passed in the order of the document.
#[derive(Default)]
pub(crate) struct Canonical {
    bytes: Vec<u8>,
    /// Members of the objects that are open, and of these only.
    members: Vec<Member>,
    sorted: Vec<u8>,
    /// Ids in the order of the document.
    ids: Vec<String>,
    /// Objects and lists that are open.
    open: usize,
    states_model: bool,
}

/// Positions of a member in the bytes.
#[derive(Clone, Copy)]
struct Member {
    begin: usize,
    name: usize,
    value: usize,
    end: usize,
    is_text: bool,
}

impl Member {
    fn name<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        bytes.get(self.name..self.value).unwrap_or_default()
    }

    /// The value, if it is a text.
    fn text<'b>(&self, bytes: &'b [u8]) -> Option<&'b str> {
        let text = bytes.get(self.value..self.end).filter(|_| self.is_text)?;
        let begin = memchr(b'"', text)? + 1;
        std::str::from_utf8(text.get(begin..)?).ok()
    }
}

/// Begin of the members of an object among those that are open.
pub(crate) struct ObjectMark(usize);

impl Canonical {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// Writes a tree.
    pub(crate) fn tree(&mut self, value: &Value, is_call_id: bool) {
        match value {
            Value::Null => self.null(),
            Value::Bool(value) => self.bool(*value),
            Value::Number(number) => self.number(number),
            Value::String(id) if is_call_id => self.id(id),
            Value::String(text) => self.text(text),
            Value::Array(items) => {
                self.begin_list();
                items.iter().for_each(|item| self.tree(item, false));
                self.end_list();
            }
            Value::Object(members) => {
                let mark = self.begin_object();
                for (name, value) in members {
                    self.name(name);
                    self.tree(value, self::is_call_id(name));
                    self.end_member(value.is_string());
                }
                self.end_object(&mark);
            }
        }
    }

    pub(crate) fn null(&mut self) {
        self.bytes.push(b'n');
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.bytes.push(if value { b't' } else { b'f' });
    }

    pub(crate) fn number(&mut self, number: &Number) {
        let integral = number.as_f64().filter(|_| number.is_f64()).filter(|n| n.fract() == 0.0 && n.abs() < 1e15);
        // Writing to memory does not fail.
        let _ = match integral {
            Some(number) => write!(self.bytes, "{number:.0},"),
            None => write!(self.bytes, "{number},"),
        };
    }

    pub(crate) fn text(&mut self, text: &str) {
        // The length in front makes a closing quote unnecessary, and escapes with it.
        let _ = write!(self.bytes, "{}\"", text.len());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Takes the id of a tool call.
    pub(crate) fn id(&mut self, id: &str) {
        let place = self.place(id.to_owned());
        self.bytes.extend_from_slice(&place);
    }

    fn place(&mut self, id: String) -> [u8; 5] {
        let [a, b, c, d] = u32::try_from(self.ids.len()).unwrap_or(u32::MAX).to_le_bytes();
        self.ids.push(id);
        [ID, a, b, c, d]
    }

    pub(crate) fn begin_list(&mut self) {
        self.open += 1;
        self.bytes.push(b'[');
    }

    pub(crate) fn end_list(&mut self) {
        self.open -= 1;
        self.bytes.push(b']');
    }

    pub(crate) fn begin_object(&mut self) -> ObjectMark {
        self.open += 1;
        self.bytes.push(b'{');
        ObjectMark(self.members.len())
    }

    /// Takes the name of a member; its value is next.
    pub(crate) fn name(&mut self, name: &str) {
        let begin = self.bytes.len();
        self.text(name);
        let value = self.bytes.len();
        self.members.push(Member { begin, name: value - name.len(), value, end: value, is_text: false });
    }

    /// Ends the value of a member.
    pub(crate) fn end_member(&mut self, is_text: bool) {
        let end = self.bytes.len();
        if let Some(member) = self.members.last_mut() {
            (member.end, member.is_text) = (end, is_text);
        }
    }

    pub(crate) fn end_object(&mut self, mark: &ObjectMark) {
        let bytes = &self.bytes;
        let members = self.members.get_mut(mark.0..).unwrap_or_default();
        let last = |name: &str| members.iter().rev().find(|member| member.name(bytes) == name.as_bytes());
        let is_identified = last("type").and_then(|member| member.text(bytes)).is_some_and(is_identified);
        let id = last("id")
            .filter(|_| is_identified)
            .and_then(|member| Some((member.begin, member.text(bytes)?.to_owned())));
        self.open -= 1;
        if self.open == 0 {
            self.states_model = last("model").is_some();
        }
        let in_order = members.is_sorted_by(|one, next| one.name(bytes) < next.name(bytes));
        if !in_order || id.is_some() {
            self.sort(mark, id);
        }
        self.members.truncate(mark.0);
        self.bytes.push(b'}');
    }

    /// Writes the members of an object anew: sorted, of equal names only the last, and with a place for the id that begins here.
    fn sort(&mut self, mark: &ObjectMark, id: Option<(usize, String)>) {
        let (id_begin, id_place) = match id {
            Some((begin, id)) => (begin, self.place(id)),
            None => (usize::MAX, [0; 5]),
        };
        let bytes = &mut self.bytes;
        let members = self.members.get_mut(mark.0..).unwrap_or_default();
        let Some(begin) = members.first().map(|member| member.begin) else { return };
        members.sort_by(|one, other| one.name(bytes).cmp(other.name(bytes)));
        self.sorted.clear();
        let mut members = members.iter().peekable();
        while let Some(member) = members.next() {
            if members.peek().is_some_and(|next| next.name(bytes) == member.name(bytes)) {
                continue;
            }
            let is_id = member.begin == id_begin;
            let end = if is_id { member.value } else { member.end };
            self.sorted.extend_from_slice(bytes.get(member.begin..end).unwrap_or_default());
            self.sorted.extend_from_slice(if is_id { &id_place } else { &[] });
        }
        bytes.truncate(begin);
        bytes.extend_from_slice(&self.sorted);
    }

    /// Hashes the form after the name of a request, and after the model where the request states none.
    pub(crate) fn digest(&self, name: &str, model: Option<&str>) -> [u8; 16] {
        let mut head = Self::default();
        head.text(name);
        match model.filter(|_| !self.states_model) {
            Some(model) => head.text(model),
            None => head.bytes.push(b'0'),
        }
        let mut hash = Sha256::new();
        hash.update(&head.bytes);
        let mut ordinals = HashMap::new();
        let mut rest = self.bytes.as_slice();
        while let Some(at) = if self.ids.is_empty() { None } else { memchr(ID, rest) } {
            let (before, from) = rest.split_at(at);
            hash.update(before);
            let Some(([_, place @ ..], after)) = from.split_first_chunk::<5>() else { break };
            let id = usize::try_from(u32::from_le_bytes(*place)).ok().and_then(|at| self.ids.get(at));
            let next = ordinals.len();
            let ordinal = *ordinals.entry(id).or_insert(next);
            hash.update(format!("#{ordinal},"));
            rest = after;
        }
        hash.update(rest);
        let mut digest = [0; 16];
        digest.iter_mut().zip(hash.finalize()).for_each(|(byte, hashed)| *byte = hashed);
        digest
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// Hash of the canonical form of a tree, written in the simplest way.
    pub(crate) fn digest_of_tree(name: &str, model: Option<&str>, request: &Value) -> [u8; 16] {
        let mut canonical = TreeForm { text: String::new(), ids: HashMap::new() };
        canonical.string(name);
        match model {
            Some(model) if request.get("model").is_none() => canonical.string(model),
            _ => canonical.text.push('0'),
        }
        canonical.value(request, false);
        *Sha256::digest(canonical.text.as_bytes()).first_chunk().unwrap()
    }

    /// Canonical form of a tree, in one text.
    struct TreeForm<'a> {
        text: String,
        ids: HashMap<&'a str, usize>,
    }

    impl<'a> TreeForm<'a> {
        fn string(&mut self, text: &str) {
            // The length in front makes a closing quote unnecessary, and escapes with it.
            let _ = write!(self.text, "{}\"", text.len());
            self.text.push_str(text);
        }

        fn value(&mut self, value: &'a Value, is_call_id: bool) {
            match value {
                Value::Null => self.text.push('n'),
                Value::Bool(value) => self.text.push(if *value { 't' } else { 'f' }),
                Value::Number(number) => {
                    let integral =
                        number.as_f64().filter(|_| number.is_f64()).filter(|n| n.fract() == 0.0 && n.abs() < 1e15);
                    let _ = match integral {
                        Some(number) => write!(self.text, "{number:.0},"),
                        None => write!(self.text, "{number},"),
                    };
                }
                Value::String(id) if is_call_id => {
                    let next = self.ids.len();
                    let ordinal = *self.ids.entry(id).or_insert(next);
                    let _ = write!(self.text, "#{ordinal},");
                }
                Value::String(text) => self.string(text),
                Value::Array(items) => {
                    self.text.push('[');
                    items.iter().for_each(|item| self.value(item, false));
                    self.text.push(']');
                }
                Value::Object(members) => {
                    self.text.push('{');
                    let is_identified = members.get("type").and_then(Value::as_str).is_some_and(is_identified);
                    let mut sorted: Vec<_> = members.iter().collect();
                    sorted.sort_unstable_by_key(|(name, _)| *name);
                    for (name, value) in sorted {
                        self.string(name);
                        self.value(value, is_id(name, is_identified));
                    }
                    self.text.push('}');
                }
            }
        }
    }
}
