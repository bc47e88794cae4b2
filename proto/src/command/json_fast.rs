//! The JSON header as every client writes it, read in one pass without allocating: an object with the eight known keys in
//! any order, `extFields` an object of strings, integers, `true` or `false`. Anything else makes the reader give up
//! (`None`): repeated or unknown keys, nested values, floats, nulls, numbers as text, surrogates, malformed text. It
//! never decides that a header is wrong; `json_serde` does. Property tests hold the two against each other.

use super::ext::{HeaderArena, Span};
use super::{FixedFields, Language, scan};

/// Reads `text`, leaving the ext fields in the (cleared) `arena`; `None` when something unusual turned up.
pub(super) fn read(text: &str, arena: &mut HeaderArena) -> Option<FixedFields> {
    let mut reader = Reader { text, bytes: text.as_bytes(), at: 0 };
    let mut fixed = FixedFields::default();
    let mut keys = Keys(0);
    reader.blank();
    reader.take(b'{')?;
    let mut more = reader.opens(b'}')?;
    while more {
        let start = reader.at + 1;
        let end = reader.plain_text()?;
        reader.colon()?;
        match reader.bytes.get(start..end)? {
            b"code" => fixed.code = reader.i32(keys.first(0)?)?,
            b"flag" => fixed.flag = reader.i32(keys.first(1)?)?,
            b"opaque" => fixed.opaque = reader.i32(keys.first(2)?)?,
            b"version" => fixed.version = reader.i32(keys.first(3)?)?,
            b"language" => fixed.language = reader.language(keys.first(4)?)?,
            b"remark" => fixed.remark = Some(reader.string(keys.first(5)?, &mut arena.text)?),
            b"extFields" => reader.ext(keys.first(6)?, arena)?,
            b"serializeTypeCurrentRPC" => {
                keys.first(7)?;
                reader.plain_text()?;
            }
            _ => return None,
        }
        more = reader.goes_on(b'}')?;
    }
    reader.blank();
    (reader.at == reader.bytes.len()).then_some(fixed)
}

/// Which of the known keys were read.
struct Keys(u8);

/// Proof that a known key came for the first time.
struct First;

impl Keys {
    fn first(&mut self, key: u8) -> Option<First> {
        let bit = 1 << key;
        let first = self.0 & bit == 0;
        self.0 |= bit;
        first.then_some(First)
    }
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    /// The next byte to read; never beyond the end.
    at: usize,
}

impl Reader<'_> {
    /// The next byte; 0, which is legal nowhere, at the end.
    #[inline]
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or_default()
    }

    #[inline]
    fn blank(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    #[inline]
    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek() == byte).then(|| self.at += 1)
    }

    fn colon(&mut self) -> Option<()> {
        self.blank();
        self.take(b':')?;
        self.blank();
        Some(())
    }

    /// After an opening bracket: whether a first element follows.
    fn opens(&mut self, close: u8) -> Option<bool> {
        self.blank();
        if self.peek() == close {
            self.at += 1;
            return Some(false);
        }
        Some(true)
    }

    /// After an element: whether a comma announces another one, or `close` ends the object.
    #[inline]
    fn goes_on(&mut self, close: u8) -> Option<bool> {
        self.blank();
        let next = self.peek();
        if next == b',' {
            self.at += 1;
            self.blank();
            return Some(true);
        }
        self.take(close)?;
        Some(false)
    }

    /// Steps over a string without escapes and gives the position of its closing quote.
    #[inline]
    fn plain_text(&mut self) -> Option<usize> {
        self.take(b'"')?;
        let end = scan::special(self.bytes, self.at);
        self.at = end;
        self.take(b'"')?;
        Some(end)
    }

    fn i32(&mut self, _: First) -> Option<i32> {
        let (start, end) = self.integer()?;
        self.text.get(start..end)?.parse().ok()
    }

    fn language(&mut self, _: First) -> Option<Language> {
        let start = self.at + 1;
        let end = self.plain_text()?;
        let name = self.text.get(start..end)?;
        Some(if name == "JAVA" { Language::Java } else { Language::from_name(name)? })
    }

    /// Steps over an integer of at most 18 digits (so it fits 64 bits) as serde_json would print it again.
    #[inline]
    fn integer(&mut self) -> Option<(usize, usize)> {
        let start = self.at;
        if self.peek() == b'-' {
            self.at += 1;
        }
        let digits = self.at;
        let leading = self.peek();
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        let count = self.at - digits;
        let canonical = leading != b'0' || (count == 1 && digits == start);
        let whole = !matches!(self.peek(), b'.' | b'e' | b'E');
        ((1..=18).contains(&count) && canonical && whole).then_some((start, self.at))
    }

    fn ext(&mut self, _: First, arena: &mut HeaderArena) -> Option<()> {
        self.take(b'{')?;
        let mut more = self.opens(b'}')?;
        while more {
            let start = self.at + 1;
            let end = self.plain_text()?;
            self.colon()?;
            let value = match self.peek() {
                b'"' => self.string(First, &mut arena.text)?,
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                _ => self.integer().map(|(start, end)| Span::input(start, end))?,
            };
            if !arena.push_new(self.text, Span::input(start, end), value) {
                return None;
            }
            more = self.goes_on(b'}')?;
        }
        Some(())
    }

    fn word(&mut self, word: &str) -> Option<Span> {
        let start = self.at;
        let end = start + word.len();
        if self.bytes.get(start..end)? != word.as_bytes() {
            return None;
        }
        self.at = end;
        Some(Span::input(start, end))
    }

    /// A string; its text is in the input, or in `text` when it had escapes.
    #[inline]
    fn string(&mut self, _: First, text: &mut String) -> Option<Span> {
        self.take(b'"')?;
        let start = self.at;
        let end = scan::special(self.bytes, start);
        self.at = end;
        match self.peek() {
            b'"' => {
                self.at += 1;
                Some(Span::input(start, end))
            }
            b'\\' => self.escaped(start, text),
            _ => None,
        }
    }

    /// The rest of a string that began at `start` and has its first escape at the current position.
    fn escaped(&mut self, start: usize, text: &mut String) -> Option<Span> {
        let first = text.len();
        text.push_str(self.text.get(start..self.at)?);
        loop {
            match self.peek() {
                b'\\' => text.push(self.escape()?),
                b'"' => {
                    self.at += 1;
                    return Some(Span::arena(first, text.len()));
                }
                _ => {}
            }
            // Separators of properties come in pairs of escape and text: the run may be empty.
            let run = self.at;
            self.at = scan::special(self.bytes, run);
            if matches!(self.peek(), 0..0x20) {
                return None;
            }
            text.push_str(self.text.get(run..self.at)?);
        }
    }

    #[inline]
    fn escape(&mut self) -> Option<char> {
        let letter = *self.bytes.get(self.at + 1)?;
        self.at += 2;
        Some(match letter {
            b'u' => {
                let digits = *self.bytes.get(self.at..)?.first_chunk()?;
                self.at += 4;
                // A surrogate is no char: pairs of them are left to serde_json.
                return char::from_u32(four_hex(digits)?);
            }
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\x08',
            b'f' => '\x0C',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            _ => return None,
        })
    }
}

#[inline]
fn four_hex(digits: [u8; 4]) -> Option<u32> {
    if let [b'0', b'0', b'0', low @ b'0'..=b'9'] = digits {
        return Some(u32::from(low - b'0'));
    }
    let mut value = 0;
    for digit in digits {
        value = value << 4 | char::from(digit).to_digit(16)?;
    }
    Some(value)
}
