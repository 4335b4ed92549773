//! `retrace-local diff`

use clap::Args;
use serde_json::Value;

use super::receiver::{Source, plain};
use super::{Ending, print_json};
use crate::say;

/// Largest number of printed characters of a value.
const MAX_CHARS: usize = 300;

#[derive(Args)]
pub(crate) struct DiffCommand {
    /// The id of a run.
    #[arg(value_name = "A")]
    a: String,

    /// The id of the run to compare with it.
    #[arg(value_name = "B")]
    b: String,

    #[command(flatten)]
    source: Source,

    /// Print the comparison as the receiver answers it.
    #[arg(long)]
    json: bool,
}

impl DiffCommand {
    pub(crate) fn run(self) -> Result<Ending, String> {
        let receiver = self.source.open()?;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("a", &self.a).append_pair("b", &self.b);
        let compared: Value =
            receiver.get(&format!("/api/v1/diff?{}", query.finish())).map_err(|refused| match refused.status {
                404 => format!("{}; take ids from `retrace-local runs`", refused.message),
                _ => refused.message,
            })?;
        let ending = Ending::of(&compared);
        if self.json {
            print_json(&compared)?;
        } else {
            print(&compared);
        }
        Ok(ending)
    }
}

/// Prints a comparison as text.
pub(super) fn print(compared: &Value) {
    for (side, sign) in [("a", '-'), ("b", '+')] {
        let run = &compared[side];
        let text = |name: &str| plain(run[name].as_str().unwrap_or_default());
        say(&format!(
            "{sign} {}  {}  {}  {} tokens, {} USD, {} ms, {} steps",
            text("id"),
            text("status"),
            text("name"),
            number(&run["tokens"]),
            number(&run["cost"]),
            number(&run["duration_ms"]),
            number(&run["steps"]),
        ));
    }
    let divergence = &compared["first_divergence"];
    for (at, step) in compared["steps"].as_array().into_iter().flatten().enumerate() {
        let sign = match step["status"].as_str() {
            Some("same") => '=',
            Some("changed") => '~',
            Some("added") => '+',
            Some("removed") => '-',
            _ => ' ',
        };
        let side = if step["a"].is_null() { &step["b"] } else { &step["a"] };
        let text = |name: &str| plain(side[name].as_str().unwrap_or_default());
        let first = if divergence["step"].as_u64() == Some(at as u64) { "   <- first divergence" } else { "" };
        let replayed = if step["status"] == "replayed" { "   from the recording" } else { "" };
        say(&format!("{sign} {at:>4}  {} {}{replayed}{first}", text("span_type"), text("name")));
        changes(&step["changes"], "          ");
    }
    changes(compared, "  ");
    match (compared["same"].as_bool(), divergence["reason"].as_str()) {
        (Some(true), _) => say("the runs are the same"),
        (_, reason) => say(&format!("the runs differ: {}", reason.unwrap_or("unknown"))),
    }
}

fn number(value: &Value) -> String {
    match value {
        Value::Null => "no".to_owned(),
        // JSON writes a small cost as 4.8e-6.
        Value::Number(number) if number.is_f64() => number.as_f64().unwrap_or_default().to_string(),
        value => value.to_string(),
    }
}

fn changes(of: &Value, indent: &str) {
    for name in ["input", "output", "error", "model"] {
        let content = &of[name];
        let differences = content["differences"].as_array().map_or(&[][..], Vec::as_slice);
        for difference in differences {
            let pointer = plain(difference["pointer"].as_str().unwrap_or_default());
            say(&format!("{indent}{name}{pointer}"));
            if let Some(parts) = difference["text"].as_array() {
                say(&format!("{indent}  {}", shortened(&words(parts))));
                continue;
            }
            for (side, sign) in [("a", '-'), ("b", '+')] {
                let bytes = &difference[format!("{side}_bytes")];
                match &difference[side] {
                    Value::Null if !bytes.is_null() => say(&format!("{indent}  {sign} {bytes} bytes")),
                    Value::Null => {}
                    value => say(&format!("{indent}  {sign} {}", shortened(&value.to_string()))),
                }
            }
        }
        let more = content["total"].as_u64().unwrap_or(0).saturating_sub(differences.len() as u64);
        if more > 0 {
            say(&format!("{indent}{name}: {more} more differences"));
        }
    }
}

/// Formats the parts of a text in one line: removed parts in `[-…-]`, added parts in `{+…+}`.
fn words(parts: &[Value]) -> String {
    parts
        .iter()
        .map(|part| {
            let text = plain(part[1].as_str().unwrap_or_default());
            match part[0].as_str() {
                Some("-") => format!("[-{text}-]"),
                Some("+") => format!("{{+{text}+}}"),
                _ => text,
            }
        })
        .collect()
}

fn shortened(text: &str) -> String {
    let mut shown: String = plain(text).chars().take(MAX_CHARS).collect();
    if shown.chars().count() == MAX_CHARS {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::number;

    #[test]
    fn a_small_cost_has_no_exponent() {
        let written = [json!(0.000_004_8), json!(0.0), json!(17), json!(null)].map(|value| number(&value));
        assert_eq!(written, ["0.0000048", "0", "17", "no"]);
    }
}
