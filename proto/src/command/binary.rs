//! The ROCKETMQ (binary) header, in both directions.
//!
//! | bytes | field | | bytes | field |
//! |---|---|---|---|---|
//! | 2 | code, truncated to 16 bits | | 4 + n | remark, empty means none |
//! | 1 | language ordinal | | 4 + n | ext fields, n bytes of entries |
//! | 2 | version | | | |
//! | 4 | opaque | | 2 + n | entry: key |
//! | 4 | flag | | 4 + n | entry: value |
//!
//! Big-endian, lengths signed, text UTF-8. An empty key or value reads back as null in Java and is dropped here too.
//! Lengths must fit exactly: a negative one, one beyond the end, or bytes left over end the connection.
//! Source: Apache RocketMQ 4.9.8, remoting `RocketMQSerializable`.

use super::ext::HeaderArena;
use super::write::{ExtValue, Head};
use super::{EXT_FIELDS_MAX, FLAG_RESPONSE, FixedFields, HeaderError, Language};
use crate::code::request::widen;

/// Reads `header`, leaving all text in the (cleared) `arena`.
pub(super) fn read(header: &[u8], arena: &mut HeaderArena) -> Result<FixedFields, HeaderError> {
    let mut reader = Reader { rest: header, bytes: header.len() };
    let code = i32::from(i16::from_be_bytes(reader.array("code")?));
    let [ordinal] = reader.array("language")?;
    let version = i32::from(i16::from_be_bytes(reader.array("version")?));
    let opaque = i32::from_be_bytes(reader.array("opaque")?);
    let flag = i32::from_be_bytes(reader.array("flag")?);
    let remark = reader.long_text("remark")?;
    let remark = (!remark.is_empty()).then(|| arena.keep(remark));
    let ext = reader.long_bytes("ext fields")?;
    reader.end("bytes after the ext fields")?;

    let mut entries = Reader { rest: ext, bytes: header.len() };
    let mut fields = 0;
    while !entries.rest.is_empty() {
        let key = entries.short_text("ext key")?;
        let value = entries.long_text("ext value")?;
        fields += 1;
        if fields > EXT_FIELDS_MAX {
            return Err(HeaderError::TooManyFields);
        }
        if key.is_empty() {
            continue;
        }
        match value.is_empty() {
            false => arena.put(key, value)?,
            true => arena.remove(key),
        }
    }
    Ok(FixedFields {
        code: if flag & FLAG_RESPONSE == 0 { widen(code) } else { code },
        language: Language::from_ordinal(ordinal).unwrap_or(Language::Other),
        version,
        opaque,
        flag,
        remark,
    })
}

struct Reader<'a> {
    rest: &'a [u8],
    /// Bytes of the whole header: its end is also the end of every part.
    bytes: usize,
}

impl<'a> Reader<'a> {
    fn wrong(&self, problem: &'static str) -> HeaderError {
        HeaderError::Binary { position: self.bytes - self.rest.len(), problem }
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], HeaderError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or_else(|| self.wrong(field))?;
        self.rest = rest;
        Ok(*array)
    }

    fn take(&mut self, bytes: i32, field: &'static str) -> Result<&'a [u8], HeaderError> {
        let taken = usize::try_from(bytes).ok().and_then(|bytes| self.rest.split_at_checked(bytes));
        let (taken, rest) = taken.ok_or_else(|| self.wrong(field))?;
        self.rest = rest;
        Ok(taken)
    }

    fn long_bytes(&mut self, field: &'static str) -> Result<&'a [u8], HeaderError> {
        let bytes = i32::from_be_bytes(self.array(field)?);
        self.take(bytes, field)
    }

    fn long_text(&mut self, field: &'static str) -> Result<&'a str, HeaderError> {
        text(self.long_bytes(field)?)
    }

    fn short_text(&mut self, field: &'static str) -> Result<&'a str, HeaderError> {
        let bytes = i32::from(i16::from_be_bytes(self.array(field)?));
        text(self.take(bytes, field)?)
    }

    fn end(&self, problem: &'static str) -> Result<(), HeaderError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.wrong(problem)) }
    }
}

fn text(bytes: &[u8]) -> Result<&str, HeaderError> {
    str::from_utf8(bytes).map_err(|error| HeaderError::NotUtf8 { position: error.valid_up_to() })
}

/// Appends the header. The code and the version are cut to 16 bits, as in Java.
pub(super) fn write(out: &mut Vec<u8>, head: &Head<'_>) {
    out.extend_from_slice(&(head.code as i16).to_be_bytes());
    out.push(head.language.ordinal());
    out.extend_from_slice(&(head.version as i16).to_be_bytes());
    out.extend_from_slice(&head.opaque.to_be_bytes());
    out.extend_from_slice(&head.flag.to_be_bytes());
    write_text(out, head.remark.unwrap_or_default());
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    for (key, value) in head.ext {
        // A key is a name from this crate's tables; one beyond 32 KiB would be our bug.
        assert!(key.len() <= i16::MAX as usize);
        out.extend_from_slice(&(key.len() as u16).to_be_bytes());
        out.extend_from_slice(key.as_bytes());
        match *value {
            ExtValue::Str(text) => write_text(out, text),
            ExtValue::I64(number) => write_text(out, itoa::Buffer::new().format(number)),
            ExtValue::Bool(value) => write_text(out, if value { "true" } else { "false" }),
        }
    }
    let bytes = (out.len() - length_at - size_of::<u32>()) as u32;
    if let Some(word) = out.get_mut(length_at..length_at + size_of::<u32>()) {
        word.copy_from_slice(&bytes.to_be_bytes());
    }
}

/// Text longer than a header may be is caught when the header word is written.
fn write_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}
