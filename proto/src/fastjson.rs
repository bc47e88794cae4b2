//! From the JSON that Java's fastjson writes and reads to the JSON of RFC 8259, so that `serde_json` can take over.
//!
//! fastjson writes integer map keys unquoted (`{0:"host"}`) and object map keys as objects (`{{"topic":"t"}:5}`); it
//! also reads single quotes, unquoted names, comments and trailing commas. Here integer keys become `"0"`, and object
//! keys become strings that hold their own JSON. `{"$ref":".."}` passes as the plain object that it is.
//! Always holds: output grows linearly with input, recursion is bounded, foreign bytes never panic.
//! Called by every reader in `body`; other bodies may call it and then `serde_json`.

use thiserror::Error;

/// Deepest nesting of objects and arrays that is read.
pub const DEPTH_MAX: usize = 64;

/// Why text is not even fastjson's JSON.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JsonError {
    /// The text ends where something must follow.
    #[error("JSON ends too early")]
    End,
    /// Something else must stand at this byte.
    #[error("JSON has an unexpected byte at {at}, expected {expected}")]
    Unexpected {
        /// Offset from the start of the text, in bytes.
        at: usize,
        /// What could have been read.
        expected: &'static str,
    },
    /// Nested deeper than [`DEPTH_MAX`], or an object key within an object key.
    #[error("JSON is nested too deeply at {at}")]
    Depth {
        /// Offset from the start of the text, in bytes.
        at: usize,
    },
}

/// Rewrites `text` as strict, compact JSON. Bytes that are not UTF-8 become U+FFFD, as in Java.
pub fn to_strict(text: &[u8]) -> Result<Vec<u8>, JsonError> {
    let text = String::from_utf8_lossy(text);
    let mut reader = Reader {
        text: text.as_bytes(),
        at: 0,
        depth: 0,
        within_key: false,
        out: Vec::with_capacity(text.len() + text.len() / 8),
    };
    reader.value()?;
    reader.blanks()?;
    if reader.at < reader.text.len() {
        return Err(reader.unexpected("the end"));
    }
    Ok(reader.out)
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    /// Inside an object that serves as a key. Such keys do not nest: each level would double the escapes.
    within_key: bool,
    out: Vec<u8>,
}

impl Reader<'_> {
    fn unexpected(&self, expected: &'static str) -> JsonError {
        if self.at >= self.text.len() {
            JsonError::End
        } else {
            JsonError::Unexpected { at: self.at, expected }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Skips blanks and comments and returns what follows, without consuming it.
    fn next_token(&mut self) -> Result<u8, JsonError> {
        self.blanks()?;
        self.peek().ok_or(JsonError::End)
    }

    fn blanks(&mut self) -> Result<(), JsonError> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | b'\r' | 0x08 | 0x0C) => self.at += 1,
                Some(b'/') => self.comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn comment(&mut self) -> Result<(), JsonError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end: &[u8] = match rest.get(1) {
            Some(b'/') => b"\n",
            Some(b'*') => b"*/",
            _ => return Err(self.unexpected("a comment")),
        };
        let body = rest.get(2..).unwrap_or_default();
        let length = memchr::memmem::find(body, end).ok_or(JsonError::End)?;
        self.at += 2 + length + end.len();
        Ok(())
    }

    fn value(&mut self) -> Result<(), JsonError> {
        match self.next_token()? {
            b'{' => self.nested(Self::members),
            b'[' => self.nested(Self::elements),
            quote @ (b'"' | b'\'') => self.string(quote),
            b'-' | b'0'..=b'9' => {
                let number = self.number()?;
                self.out.extend_from_slice(number);
                Ok(())
            }
            _ => self.word(),
        }
    }

    fn nested(
        &mut self,
        inside: impl FnOnce(&mut Self) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        if self.depth == DEPTH_MAX {
            return Err(JsonError::Depth { at: self.at });
        }
        self.depth += 1;
        self.at += 1;
        inside(self)?;
        self.depth -= 1;
        Ok(())
    }

    /// Everything behind `[`, the `]` included.
    fn elements(&mut self) -> Result<(), JsonError> {
        self.out.push(b'[');
        let mut first = true;
        while self.next_token()? != b']' {
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            self.value()?;
            if !self.comma(b']')? {
                break;
            }
        }
        self.at += 1;
        self.out.push(b']');
        Ok(())
    }

    /// Everything behind `{`, the `}` included.
    fn members(&mut self) -> Result<(), JsonError> {
        self.out.push(b'{');
        let mut first = true;
        while self.next_token()? != b'}' {
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            self.key()?;
            if self.next_token()? != b':' {
                return Err(self.unexpected("':'"));
            }
            self.at += 1;
            self.out.push(b':');
            self.value()?;
            if !self.comma(b'}')? {
                break;
            }
        }
        self.at += 1;
        self.out.push(b'}');
        Ok(())
    }

    /// Consumes a comma; false when `close` stands here instead, which is left in place.
    fn comma(&mut self, close: u8) -> Result<bool, JsonError> {
        match self.next_token()? {
            b',' => {
                self.at += 1;
                Ok(true)
            }
            found if found == close => Ok(false),
            _ => Err(self.unexpected("',' or the closing bracket")),
        }
    }

    fn key(&mut self) -> Result<(), JsonError> {
        match self.next_token()? {
            quote @ (b'"' | b'\'') => self.string(quote),
            b'{' | b'[' => self.object_key(),
            b'-' | b'0'..=b'9' => {
                let number = self.number()?;
                self.quoted(number);
                Ok(())
            }
            _ => {
                let name = self.name()?;
                self.quoted(name);
                Ok(())
            }
        }
    }

    /// An object as key: its strict text, as a string.
    fn object_key(&mut self) -> Result<(), JsonError> {
        if self.within_key {
            return Err(JsonError::Depth { at: self.at });
        }
        let start = self.out.len();
        self.within_key = true;
        self.value()?;
        self.within_key = false;
        let key = self.out.split_off(start);
        self.out.push(b'"');
        for byte in key {
            // Strict text has no raw control characters, so these two are all there is to escape.
            if matches!(byte, b'"' | b'\\') {
                self.out.push(b'\\');
            }
            self.out.push(byte);
        }
        self.out.push(b'"');
        Ok(())
    }

    fn quoted(&mut self, plain: &[u8]) {
        self.out.push(b'"');
        self.out.extend_from_slice(plain);
        self.out.push(b'"');
    }
}

impl<'a> Reader<'a> {
    /// A number in strict form; fastjson's suffixes for Java types (`1L`) are not read.
    fn number(&mut self) -> Result<&'a [u8], JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let leading_zero = self.peek() == Some(b'0');
        let whole = self.digits()?;
        if leading_zero && whole > 1 {
            self.at = start;
            return Err(self.unexpected("a number without leading zeros"));
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    fn digits(&mut self) -> Result<usize, JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.unexpected("a digit"));
        }
        Ok(self.at - start)
    }

    /// A bare name: letters, digits, `_` and `$`.
    fn name(&mut self) -> Result<&'a [u8], JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'$')) {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.unexpected("a value"));
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    fn word(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        let strict: &[u8] = match self.name()? {
            b"true" => b"true",
            b"false" => b"false",
            b"null" | b"undefined" | b"NaN" => b"null",
            _ => {
                self.at = start;
                return Err(self.unexpected("a value"));
            }
        };
        self.out.extend_from_slice(strict);
        Ok(())
    }

    fn string(&mut self, quote: u8) -> Result<(), JsonError> {
        self.at += 1;
        self.out.push(b'"');
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let plain = rest
                .iter()
                .position(|&byte| byte == quote || byte == b'\\' || byte == b'"' || byte < 0x20)
                .ok_or(JsonError::End)?;
            self.out.extend_from_slice(rest.get(..plain).unwrap_or_default());
            self.at += plain;
            match self.peek() {
                Some(byte) if byte == quote => break,
                Some(b'\\') => self.escape()?,
                Some(byte) => {
                    self.at += 1;
                    self.character(u32::from(byte));
                }
                None => return Err(JsonError::End),
            }
        }
        self.at += 1;
        self.out.push(b'"');
        Ok(())
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        let letter = self.peek().ok_or(JsonError::End)?;
        let code = match letter {
            b'"' | b'\'' | b'\\' | b'/' => u32::from(letter),
            b'b' => 0x08,
            b'f' | b'F' => 0x0C,
            b'n' => 0x0A,
            b'r' => 0x0D,
            b't' => 0x09,
            b'v' => 0x0B,
            b'0'..=b'7' => u32::from(letter - b'0'),
            b'x' => self.hex(2)?,
            b'u' => self.utf16()?,
            _ => return Err(self.unexpected("an escape")),
        };
        self.at += 1;
        self.character(code);
        Ok(())
    }

    /// The value of `count` hex digits behind the current byte, which ends up on the last of them.
    fn hex(&mut self, count: usize) -> Result<u32, JsonError> {
        let mut value = 0;
        for _ in 0..count {
            self.at += 1;
            let digit = self.peek().ok_or(JsonError::End)?;
            let digit = char::from(digit).to_digit(16);
            value = value * 16 + digit.ok_or_else(|| self.unexpected("a hex digit"))?;
        }
        Ok(value)
    }

    /// One `\u` escape, or two that make one character. Half a pair becomes U+FFFD.
    fn utf16(&mut self) -> Result<u32, JsonError> {
        const REPLACEMENT: u32 = 0xFFFD;
        let first = self.hex(4)?;
        match first {
            0xD800..=0xDBFF => {
                let follows = self.text.get(self.at + 1..).unwrap_or_default();
                if !follows.starts_with(b"\\u") {
                    return Ok(REPLACEMENT);
                }
                let before = self.at;
                self.at += 2;
                match self.hex(4)? {
                    low @ 0xDC00..=0xDFFF => {
                        Ok(0x1_0000 + ((first - 0xD800) << 10) + (low - 0xDC00))
                    }
                    _ => {
                        // The second escape stands for itself; it is read again.
                        self.at = before;
                        Ok(REPLACEMENT)
                    }
                }
            }
            0xDC00..=0xDFFF => Ok(REPLACEMENT),
            other => Ok(other),
        }
    }

    /// Writes one character into a string, escaped where strict JSON wants it.
    fn character(&mut self, code: u32) {
        match char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER) {
            '"' => self.out.extend_from_slice(b"\\\""),
            '\\' => self.out.extend_from_slice(b"\\\\"),
            control @ '\0'..='\u{1F}' => {
                let low = char::from_digit(control as u32 & 0xF, 16).unwrap_or('0');
                self.out.extend_from_slice(if control < '\u{10}' { b"\\u000" } else { b"\\u001" });
                self.out.push(low as u8);
            }
            other => self.out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests;
