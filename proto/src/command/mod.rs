//! Command headers: what a frame asks or answers, in both ways of writing it.
//!
//! [`decode`] turns header bytes into a [`Header`] of borrowed text; its memory, a [`HeaderArena`], belongs to the
//! connection and is warm after the first header, so decoding allocates nothing. JSON goes through a single-pass reader
//! of exactly the shape clients write (`json_fast`) and, when anything looks unusual, through serde_json
//! (`json_serde`), which decides what the header means or that it means nothing. The [`write_response`] family appends
//! complete frames to a buffer. What the fields mean for one request code is the business of [`crate::request`].

mod binary;
mod ext;
mod json_fast;
mod json_serde;
mod language;
mod scan;
mod write;

pub use crate::frame::HeaderKind;
pub use ext::{Ext, HeaderArena};
pub use language::Language;
pub use write::{
    ExtValue, OpenFrame, RequestHead, ResponseHead, begin_response, write_request, write_response,
};

use crate::frame::HEADER_BYTES_MAX;
use ext::Span;
use thiserror::Error;

/// Bit 0 of the flag: this header is a response.
pub const FLAG_RESPONSE: i32 = 1;
/// Bit 1 of the flag: nobody waits for an answer, so none may be written.
pub const FLAG_ONEWAY: i32 = 2;
/// The version in everything we write: the ordinal of `V4_9_8`. Clients gate features on it (SQL filters need 232).
pub const OUR_VERSION: i32 = 409;
/// Most ext fields of one header. The largest known header has 17; the limit bounds the search for repeated keys.
pub const EXT_FIELDS_MAX: usize = 512;

/// A decoded command header. Source: Apache RocketMQ 4.9.8, remoting `RemotingCommand`.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// Request code, or response code when [`Header::is_response`]. Truncated POP codes of binary requests are widened.
    pub code: i32,
    /// Who wrote it; absent means Java, unknown means [`Language::Other`].
    pub language: Language,
    /// The writer's version as ordinal of Java's `MQVersion`; 0 when absent.
    pub version: i32,
    /// Correlates a response with its request; any value is legal, negative ones too.
    pub opaque: i32,
    /// [`FLAG_RESPONSE`] and [`FLAG_ONEWAY`]; other bits are kept and ignored.
    pub flag: i32,
    /// Free text, mostly of error answers.
    pub remark: Option<&'a str>,
    /// The named fields.
    pub ext: Ext<'a>,
}

impl Header<'_> {
    /// Whether this answers a request.
    pub const fn is_response(&self) -> bool {
        self.flag & FLAG_RESPONSE != 0
    }

    /// Whether this request must not be answered.
    pub const fn is_oneway(&self) -> bool {
        self.flag & FLAG_ONEWAY != 0
    }
}

/// Why header bytes mean nothing. Ends the connection: without an opaque there is nobody to answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// More bytes than a frame can carry in its header.
    #[error("header of {bytes} bytes exceeds the limit of {HEADER_BYTES_MAX}")]
    TooLong {
        /// Bytes given.
        bytes: usize,
    },
    /// More than [`EXT_FIELDS_MAX`] ext fields, repeated and null ones included.
    #[error("header has more than {EXT_FIELDS_MAX} ext fields")]
    TooManyFields,
    /// Text is not UTF-8.
    #[error("header is not UTF-8 from byte {position} on")]
    NotUtf8 {
        /// First bad byte, counted from the start of the header (JSON) or of the text (binary).
        position: usize,
    },
    /// The JSON is malformed, or a field has a type or number that no client writes there.
    #[error("JSON header is not readable at column {column}")]
    Json {
        /// Column serde_json reports, counted from 1; 0 when it is the whole.
        column: usize,
    },
    /// A binary header ends inside a field, or goes on after its last one.
    #[error("binary header is wrong at byte {position}: {problem}")]
    Binary {
        /// Where the field starts.
        position: usize,
        /// What is wrong there.
        problem: &'static str,
    },
}

/// Reads a header. `arena` is overwritten; it and `header` must outlive the result.
pub fn decode<'a>(
    kind: HeaderKind,
    header: &'a [u8],
    arena: &'a mut HeaderArena,
) -> Result<Header<'a>, HeaderError> {
    if header.len() > HEADER_BYTES_MAX {
        return Err(HeaderError::TooLong { bytes: header.len() });
    }
    arena.clear();
    match kind {
        HeaderKind::Json => {
            let text = str::from_utf8(header)
                .map_err(|error| HeaderError::NotUtf8 { position: error.valid_up_to() })?;
            let fixed = match json_fast::read(text, arena) {
                Some(fixed) => fixed,
                None => {
                    arena.clear();
                    json_serde::read(text, arena)?
                }
            };
            Ok(fixed.resolve(text, arena))
        }
        HeaderKind::Rocketmq => Ok(binary::read(header, arena)?.resolve("", arena)),
    }
}

/// Everything but the ext fields, before the arena stops moving.
#[derive(Default)]
struct FixedFields {
    code: i32,
    language: Language,
    version: i32,
    opaque: i32,
    flag: i32,
    remark: Option<Span>,
}

impl FixedFields {
    fn resolve<'a>(self, input: &'a str, arena: &'a HeaderArena) -> Header<'a> {
        Header {
            code: self.code,
            language: self.language,
            version: self.version,
            opaque: self.opaque,
            flag: self.flag,
            remark: self.remark.map(|span| span.of(input, &arena.text)),
            ext: arena.view(input),
        }
    }
}

#[cfg(test)]
mod tests;
