//! Writing JSON in fastjson's shape: compact, integer and object keys without quotes, its set of escaped characters.
//!
//! The caller names members in alphabetical order; nothing here sorts. Source of the escapes: fastjson 1.2.83 as
//! Apache RocketMQ uses it, once with default features and once browser-compatible (standard JSON of route answers).

/// Which characters are escaped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    /// fastjson's default: quotes, backslash, control characters.
    Default,
    /// Also `/` and everything beyond ASCII.
    Browser,
}

/// The members of an object being written.
pub(super) struct Members<'o> {
    out: &'o mut Vec<u8>,
    escapes: Escapes,
    first: bool,
}

/// Writes an object with default escapes.
pub(super) fn object(out: &mut Vec<u8>, inside: impl FnOnce(&mut Members<'_>)) {
    object_with(out, Escapes::Default, inside);
}

/// Writes an object.
pub(super) fn object_with(
    out: &mut Vec<u8>,
    escapes: Escapes,
    inside: impl FnOnce(&mut Members<'_>),
) {
    out.push(b'{');
    inside(&mut Members { out, escapes, first: true });
    out.push(b'}');
}

/// Writes a list.
pub(super) fn list<T>(
    out: &mut Vec<u8>,
    elements: impl IntoIterator<Item = T>,
    mut element: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (index, value) in elements.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        element(out, value);
    }
    out.push(b']');
}

impl Members<'_> {
    /// A member whose key and value the caller writes, the key with whatever quotes it needs.
    pub(super) fn member(
        &mut self,
        key: impl FnOnce(&mut Vec<u8>),
        value: impl FnOnce(&mut Vec<u8>),
    ) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        key(self.out);
        self.out.push(b':');
        value(self.out);
    }

    /// A member whose value the caller writes.
    pub(super) fn value(&mut self, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
        let escapes = self.escapes;
        self.member(|out| text(out, name, escapes), value);
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str, value: &str) {
        let escapes = self.escapes;
        self.value(name, |out| text(out, value, escapes));
    }

    /// A text, left out when there is none.
    pub(super) fn optional_text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A whole number.
    pub(super) fn int(&mut self, name: &str, value: impl itoa::Integer) {
        self.value(name, |out| int(out, value));
    }

    /// A truth value.
    pub(super) fn flag(&mut self, name: &str, value: bool) {
        let value: &[u8] = if value { b"true" } else { b"false" };
        self.value(name, |out| out.extend_from_slice(value));
    }

    /// A number with fraction; `null` when it is none, as fastjson has it.
    pub(super) fn float(&mut self, name: &str, value: f64) {
        let text = if value.is_finite() { format!("{value:?}") } else { "null".to_owned() };
        self.value(name, |out| out.extend_from_slice(text.as_bytes()));
    }

    /// An object with the same escapes.
    pub(super) fn object(&mut self, name: &str, inside: impl FnOnce(&mut Members<'_>)) {
        let escapes = self.escapes;
        self.value(name, |out| object_with(out, escapes, inside));
    }

    /// A list of texts.
    pub(super) fn texts<'t>(&mut self, name: &str, texts: impl IntoIterator<Item = &'t String>) {
        let escapes = self.escapes;
        self.value(name, |out| list(out, texts, |out, value| text(out, value, escapes)));
    }

    /// A list of objects.
    pub(super) fn objects<T>(
        &mut self,
        name: &str,
        elements: impl IntoIterator<Item = T>,
        inside: impl Fn(&mut Members<'_>, T),
    ) {
        let escapes = self.escapes;
        self.value(name, |out| {
            list(out, elements, |out, element| {
                object_with(out, escapes, |members| inside(members, element));
            });
        });
    }
}

/// Writes a whole number.
pub(super) fn int(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Writes a text with its quotes.
pub(super) fn text(out: &mut Vec<u8>, value: &str, escapes: Escapes) {
    out.push(b'"');
    for character in value.chars() {
        match character {
            '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
            '/' if escapes == Escapes::Browser => out.extend_from_slice(b"\\/"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\u{C}' => out.extend_from_slice(b"\\f"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\0'..='\u{1F}' | '\u{7F}'..='\u{9F}' | '\u{2028}' | '\u{2029}' => {
                utf16(out, character);
            }
            _ if escapes == Escapes::Browser && !character.is_ascii() => utf16(out, character),
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

fn utf16(out: &mut Vec<u8>, character: char) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        out.extend_from_slice(format!("\\u{unit:04X}").as_bytes());
    }
}
