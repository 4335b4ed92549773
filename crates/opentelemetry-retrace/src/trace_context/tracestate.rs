//! The `tracestate` field: a list of entries, most of them of other vendors.
//!
//! OpenTelemetry's `TraceState` has the key grammar of level 1 and accepts values that no level allows, so this module
//! holds the received list unchanged.

use opentelemetry::trace::TraceState;

/// Maximum number of entries of a list.
pub(crate) const MAX_MEMBERS: usize = 32;
/// Maximum number of characters that are written. The standard requires 512 at least; common servers refuse a
/// header beyond this.
pub(crate) const MAX_LENGTH: usize = 8 * 1024;
/// Entries longer than this are cut first when the list is too long (level 2, "tracestate Limits").
pub(crate) const LONG_MEMBER: usize = 128;
/// Maximum number of characters of a key, and of a value.
const MAX_TEXT: usize = 256;

/// Valid list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members(Vec<Member>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    key: Box<str>,
    value: Box<str>,
}

impl Member {
    fn new(key: &str, value: &str) -> Option<Self> {
        (is_key(key) && is_value(value)).then(|| Self { key: key.into(), value: value.into() })
    }

    fn len(&self) -> usize {
        self.key.len() + 1 + self.value.len()
    }
}

impl Members {
    /// Parses the fields as one list. `None` when any part is invalid: then it is not passed on.
    pub(crate) fn parse(fields: &[&str]) -> Option<Self> {
        let mut members = Vec::new();
        for text in fields.iter().flat_map(|field| field.split(',')) {
            let text = text.trim_matches([' ', '\t']);
            if text.is_empty() {
                continue;
            }
            if members.len() == MAX_MEMBERS {
                return None;
            }
            let (key, value) = text.split_once('=')?;
            members.push(Member::new(key, value)?);
        }
        Some(Self(members))
    }

    /// Converts the SDK's type; entries that are not valid are left out.
    pub(crate) fn of(state: &TraceState) -> Self {
        let valid = state.into_iter().filter_map(|(key, value)| Member::new(key, value));
        Self(valid.take(MAX_MEMBERS).collect())
    }

    /// Converts it to the SDK's type, without entries that the type cannot hold.
    pub(crate) fn to_state(&self) -> TraceState {
        let pairs = |member: &Member| (member.key.to_string(), member.value.to_string());
        TraceState::from_key_value(self.0.iter().map(pairs)).unwrap_or_else(|_| {
            let fits = |pair: &(String, String)| TraceState::from_key_value([pair.clone()]).is_ok();
            TraceState::from_key_value(self.0.iter().map(pairs).filter(fits)).unwrap_or_default()
        })
    }

    /// Applies the changes that a sampler, for instance, made between the `given` form of the list and `now`:
    /// new and changed entries come first, removed ones are removed, and entries that the form could not hold
    /// stay.
    pub(crate) fn changed(&self, given: &TraceState, now: &TraceState) -> Self {
        let mut members: Vec<Member> = Vec::new();
        for (key, value) in now {
            let is_new = given.get(key) != Some(value) && now.get(key) == Some(value);
            if is_new && members.iter().all(|member| *member.key != *key) {
                members.extend(Member::new(key, value));
            }
        }
        let changed = members.len();
        for member in &self.0 {
            let removed = given.get(&member.key).is_some() && now.get(&member.key).is_none();
            let replaced = members.iter().take(changed).any(|new| new.key == member.key);
            if !removed && !replaced {
                members.push(member.clone());
            }
        }
        members.truncate(MAX_MEMBERS);
        Self(members)
    }

    /// Puts an entry first, in place of the one with the same key. An entry that is not valid changes
    /// nothing.
    pub(crate) fn put_first(&mut self, key: &str, value: &str) {
        let Some(member) = Member::new(key, value) else { return };
        self.0.retain(|other| other.key != member.key);
        self.0.insert(0, member);
        self.0.truncate(MAX_MEMBERS);
    }

    /// Formats the list; `None` when it is empty.
    pub(crate) fn to_header(&self) -> Option<String> {
        let mut length = self.0.iter().map(|member| member.len() + 1).sum::<usize>().saturating_sub(1);
        let mut left_out = vec![false; self.0.len()];
        for only_long in [true, false] {
            for (member, left_out) in self.0.iter().zip(&mut left_out).rev() {
                if length > MAX_LENGTH && !*left_out && (!only_long || member.len() > LONG_MEMBER) {
                    *left_out = true;
                    length = length.saturating_sub(member.len() + 1);
                }
            }
        }
        let mut header = String::with_capacity(length);
        for (member, _) in self.0.iter().zip(left_out).filter(|(_, left_out)| !left_out) {
            if !header.is_empty() {
                header.push(',');
            }
            header.push_str(&member.key);
            header.push('=');
            header.push_str(&member.value);
        }
        (!header.is_empty()).then_some(header)
    }

    /// Returns the value of the first entry with this key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|member| *member.key == *key).map(|member| &*member.value)
    }
}

fn is_key(key: &str) -> bool {
    let first = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let rest = |b: u8| first(b) || matches!(b, b'_' | b'-' | b'*' | b'/' | b'@');
    key.len() <= MAX_TEXT && key.bytes().next().is_some_and(first) && key.bytes().all(rest)
}

fn is_value(value: &str) -> bool {
    let in_range = |b: u8| matches!(b, 0x20..=0x7e) && b != b',' && b != b'=';
    !value.is_empty() && value.len() <= MAX_TEXT && !value.ends_with(' ') && value.bytes().all(in_range)
}
