//! Incremental reader of server-sent events: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.
//!
//! It reads only what instrumentation needs: the data of each event, passed on piece by piece, and the end of each event. Names
//! and ids of events are dropped, since every provider repeats them in the data. Only the name of a field is buffered.

/// Length of the longest field name with a meaning, plus one.
const MAX_NAME: usize = 6;

/// Output of the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A piece of the data of the current event.
    Data(&'a [u8]),
    /// End of the event.
    End,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// At the start of the stream: this many bytes of a byte order mark were read.
    Start(u8),
    #[default]
    LineStart,
    Name,
    /// After the colon: one blank is not part of the value.
    ValueStart,
    Data,
    /// A comment, or a field other than `data`.
    Skip,
}

/// The reader.
#[derive(Debug)]
pub(crate) struct Reader {
    state: State,
    name: [u8; MAX_NAME],
    length: usize,
    /// True if the last byte was a carriage return, to which a line feed may belong.
    after_return: bool,
    /// Number of lines of data in this event.
    lines: u64,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self { state: State::Start(0), name: [0; MAX_NAME], length: 0, after_return: false, lines: 0 }
    }

    /// Reads the next bytes; calls `emit` with each piece.
    pub(crate) fn push(&mut self, mut bytes: &[u8], emit: &mut dyn FnMut(Piece<'_>)) {
        const MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];
        while let Some((&byte, rest)) = bytes.split_first() {
            if std::mem::take(&mut self.after_return) && byte == b'\n' {
                bytes = rest;
                continue;
            }
            match self.state {
                State::Start(seen) if MARK.get(usize::from(seen)) == Some(&byte) => {
                    self.state = if seen == 2 { State::LineStart } else { State::Start(seen + 1) };
                }
                State::Start(_) => {
                    // The bytes were no byte order mark: an unknown field.
                    self.state = if self.state == State::Start(0) { State::LineStart } else { State::Skip };
                    continue;
                }
                State::Skip | State::Data => {
                    let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(bytes.len());
                    let (value, after) = bytes.split_at(end);
                    if self.state == State::Data && !value.is_empty() {
                        emit(Piece::Data(value));
                    }
                    if let Some((&byte, after)) = after.split_first() {
                        self.end_line(byte, emit);
                        bytes = after;
                    } else {
                        bytes = after;
                    }
                    continue;
                }
                _ if matches!(byte, b'\n' | b'\r') => self.end_line(byte, emit),
                State::LineStart | State::Name if byte == b':' => self.begin_value(emit),
                State::LineStart => {
                    self.name[0] = byte;
                    self.length = 1;
                    self.state = State::Name;
                }
                State::Name => match self.name.get_mut(self.length) {
                    Some(place) => {
                        *place = byte;
                        self.length += 1;
                    }
                    None => self.state = State::Skip,
                },
                State::ValueStart => {
                    self.state = State::Data;
                    if byte != b' ' {
                        continue;
                    }
                }
            }
            bytes = rest;
        }
    }

    /// Ends the stream. An event without a final blank line counts, because some servers omit it.
    pub(crate) fn finish(&mut self, emit: &mut dyn FnMut(Piece<'_>)) {
        if self.lines > 0 || self.state == State::Data {
            emit(Piece::End);
        }
        *self = Self::new();
    }

    fn is_data(&self) -> bool {
        self.name.get(..self.length) == Some(b"data")
    }

    fn begin_value(&mut self, emit: &mut dyn FnMut(Piece<'_>)) {
        let data = self.state == State::Name && self.is_data();
        self.state = if data { State::ValueStart } else { State::Skip };
        if data {
            self.begin_data(emit);
        }
    }

    fn begin_data(&mut self, emit: &mut dyn FnMut(Piece<'_>)) {
        if self.lines > 0 {
            emit(Piece::Data(b"\n"));
        }
        self.lines += 1;
    }

    fn end_line(&mut self, byte: u8, emit: &mut dyn FnMut(Piece<'_>)) {
        self.after_return = byte == b'\r';
        match self.state {
            State::LineStart if self.lines > 0 => {
                self.lines = 0;
                emit(Piece::End);
            }
            State::Name if self.is_data() => self.begin_data(emit), // a field without a colon has an empty value
            _ => {}
        }
        self.state = State::LineStart;
        self.length = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the events of a stream in these chunks.
    fn events<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, finish: bool) -> Vec<String> {
        let mut reader = Reader::new();
        let (mut events, mut open) = (Vec::new(), Vec::new());
        let mut emit = |piece: Piece<'_>| match piece {
            Piece::Data(data) => open.extend_from_slice(data),
            Piece::End => events.push(String::from_utf8_lossy(&std::mem::take(&mut open)).into_owned()),
        };
        for chunk in chunks {
            reader.push(chunk, &mut emit);
        }
        if finish {
            reader.finish(&mut emit);
        }
        events
    }

    /// Reads line by line according to the specification.
    fn by_the_book(stream: &str) -> Vec<String> {
        let stream = stream.strip_prefix('\u{feff}').unwrap_or(stream);
        let text = stream.replace("\r\n", "\n").replace('\r', "\n");
        let mut lines: Vec<&str> = text.split('\n').collect();
        lines.pop(); // what no line end ended is not a line
        let (mut events, mut data, mut any) = (Vec::new(), String::new(), false);
        for line in lines {
            if line.is_empty() {
                if std::mem::take(&mut any) {
                    data.pop();
                    events.push(std::mem::take(&mut data));
                }
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            if name == "data" {
                any = true;
                data.push_str(value.strip_prefix(' ').unwrap_or(value));
                data.push('\n');
            }
        }
        events
    }

    #[test]
    fn fields_comments_and_line_ends() {
        for (stream, expected) in [
            ("data: a\n\n", vec!["a"]),
            ("data:a\r\n\r\ndata:  b\r\rdata\n\n", vec!["a", " b", ""]),
            (": ping\n\nevent: x\nid: 7\nretry: 1\ndata: {\ndata: }\n\n", vec!["{\n}"]),
            ("\u{feff}data: a\n\n\n\ndatum: b\n\ndata : c\n\n", vec!["a"]),
            ("event: only\n\n", vec![]),
            ("data: cut", vec![]),
        ] {
            assert_eq!(events([stream.as_bytes()], false), expected, "{stream:?}");
        }
        assert_eq!(events([&b"data: a\n\ndata: last\n"[..]], true), ["a", "last"]);
        assert_eq!(events([&b"data: a\n\ndata: last"[..]], true), ["a", "last"]);
        assert_eq!(events([&b"\xEF\xBBdata: a\n\ndata: b\n\n"[..]], true), ["b"], "half a mark is a name of a field");
    }

    fn streams() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "(data|event|id|da|dataa|)",
            "[:\r\n]",
            "(\r\n|\n\n|\r\r|\r\n\r\n)",
            "(: |:  |data: |data:)",
            "[a-zé\u{feff}{}\" ]{0,8}",
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]

        #[test]
        fn any_split_gives_what_the_specification_says(stream in streams(), cuts in proptest::collection::vec(any::<usize>(), 0..12)) {
            let bytes = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let expected = by_the_book(&stream);
            prop_assert_eq!(&events(cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]), false), &expected);
            prop_assert_eq!(&events(bytes.chunks(1), false), &expected);
        }

        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(events([&bytes[..]], true), events(bytes.chunks(1), true));
        }
    }
}
