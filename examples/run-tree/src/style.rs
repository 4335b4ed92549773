//! Colours, or none.

/// Whether to write colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Text alone.
    Plain,
    /// With the escape sequences of a terminal.
    Coloured,
}

/// What a piece of text is, and so how it looks.
#[derive(Clone, Copy)]
pub(crate) enum Tone {
    Name,
    Kind,
    Dim,
    Error,
}

impl Style {
    /// `text` in that tone.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Name => "1",
            Tone::Kind => "36",
            Tone::Dim => "2",
            Tone::Error => "31",
        };
        match self {
            Self::Coloured if !text.is_empty() => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            _ => text.to_owned(),
        }
    }
}
