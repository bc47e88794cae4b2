//! Writing JSON in Java's shape: compact, in one of two dialects.
//!
//! Members are written in the order of the calls, which is alphabetical; nothing here sorts. Source of the escapes:
//! fastjson 1.2.83 as Apache RocketMQ uses it, once with default features and once browser-compatible.

use super::member::{Key, Member};

/// How keys and texts are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// fastjson's default: integer and object keys without quotes; quotes, backslash and control characters are escaped.
    Fastjson,
    /// Standard JSON in ASCII, for route answers: integer keys in quotes; `/` is escaped, too.
    Standard,
}

/// The members of an object being written.
pub(super) struct Members<'o> {
    out: &'o mut Vec<u8>,
    dialect: Dialect,
    first: bool,
}

/// Writes an object.
pub(super) fn object(out: &mut Vec<u8>, dialect: Dialect, inside: impl FnOnce(&mut Members<'_>)) {
    out.push(b'{');
    inside(&mut Members { out, dialect, first: true });
    out.push(b'}');
}

impl Members<'_> {
    /// Writes a member of this name, unless it is absent.
    pub(super) fn put(&mut self, name: &str, value: &impl Member) {
        if !value.is_absent() {
            self.separate();
            text(self.out, name, self.dialect);
            self.out.push(b':');
            value.write_value(self.out, self.dialect);
        }
    }

    /// Writes a member of this name, unless it has the default of its type.
    pub(super) fn put_unless_default<T: Member + Default + PartialEq>(
        &mut self,
        name: &str,
        value: &T,
    ) {
        if *value != T::default() {
            self.put(name, value);
        }
    }

    /// Writes an entry of a table.
    pub(super) fn entry(&mut self, key: &impl Key, value: &impl Member) {
        self.separate();
        key.write_key(self.out, self.dialect);
        self.out.push(b':');
        value.write_value(self.out, self.dialect);
    }

    fn separate(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
    }
}

/// Writes a whole number.
pub(super) fn int(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Writes a text with its quotes.
pub(super) fn text(out: &mut Vec<u8>, value: &str, dialect: Dialect) {
    out.push(b'"');
    let plain = value.bytes().position(|byte| !is_plain(byte)).unwrap_or(value.len());
    let (plain, rest) = value.split_at(plain);
    out.extend_from_slice(plain.as_bytes());
    for character in rest.chars() {
        match character {
            '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
            '/' if dialect == Dialect::Standard => out.extend_from_slice(b"\\/"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\u{C}' => out.extend_from_slice(b"\\f"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\0'..='\u{1F}' | '\u{7F}'..='\u{9F}' | '\u{2028}' | '\u{2029}' => {
                utf16(out, character);
            }
            _ if dialect == Dialect::Standard && !character.is_ascii() => utf16(out, character),
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

/// Whether a byte stands for itself in every dialect. What comes before the first other one ends between two characters.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b'/')
}

fn utf16(out: &mut Vec<u8>, character: char) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        out.extend_from_slice(format!("\\u{unit:04X}").as_bytes());
    }
}
