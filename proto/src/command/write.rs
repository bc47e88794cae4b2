//! Writing frames: length word, header word, header in the kind of the peer, body. Appends to the caller's buffer and
//! allocates nothing itself. JSON is written as Java's writer does: keys in alphabetical order, absent ones left out, ext
//! values always strings (Go's client cannot read anything else).

use super::{FLAG_ONEWAY, FLAG_RESPONSE, Language, OUR_VERSION, binary, scan};
use crate::frame::{HEADER_BYTES_MAX, HeaderKind, LENGTH_BYTES, PREFIX_BYTES};

/// Longest remark of a response. Remarks may quote what a peer sent, and nobody reads more.
const REMARK_BYTES_MAX: usize = 4096;

/// A value of an ext field; always text on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtValue<'a> {
    /// Text, escaped as the header kind needs.
    Str(&'a str),
    /// A decimal number.
    I64(i64),
    /// `true` or `false`.
    Bool(bool),
}

impl<'a> From<&'a str> for ExtValue<'a> {
    fn from(text: &'a str) -> Self {
        Self::Str(text)
    }
}

impl From<i64> for ExtValue<'_> {
    fn from(number: i64) -> Self {
        Self::I64(number)
    }
}

impl From<i32> for ExtValue<'_> {
    fn from(number: i32) -> Self {
        Self::I64(i64::from(number))
    }
}

impl From<bool> for ExtValue<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// What a response says, without its body. Language `JAVA` and [`OUR_VERSION`] are implied.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseHead<'a> {
    /// From [`crate::code::response`].
    pub code: i32,
    /// The request's opaque.
    pub opaque: i32,
    /// For people; cut at 4096 bytes.
    pub remark: Option<&'a str>,
    /// In the order they shall be written.
    pub ext: &'a [(&'a str, ExtValue<'a>)],
}

/// What a request says, without its body.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// From [`crate::code::request`]. Codes above 32767 need a JSON header to survive a Java peer.
    pub code: i32,
    /// Who we say we are.
    pub language: Language,
    /// Our version as ordinal of Java's `MQVersion`.
    pub version: i32,
    /// Unique among the requests in flight of this side of the connection.
    pub opaque: i32,
    /// Whether no answer is wanted.
    pub oneway: bool,
    /// Rarely used in requests.
    pub remark: Option<&'a str>,
    /// In the order they shall be written.
    pub ext: &'a [(&'a str, ExtValue<'a>)],
}

/// A frame whose body is still being appended. Dropping it without [`OpenFrame::finish`] leaves a frame of length 0.
#[derive(Debug)]
#[must_use = "the length word is only written by `finish`"]
pub struct OpenFrame {
    /// Where the frame starts in the buffer.
    start: usize,
}

impl OpenFrame {
    /// Everything appended since the header is the body: writes the length word. `out` must be the buffer the frame was
    /// begun in, with nothing removed. Keeping the whole below [`crate::frame::FRAME_BYTES_MAX`] is the caller's
    /// affair; a longer frame is written as it is and refused by the peer.
    pub fn finish(self, out: &mut [u8]) {
        self.finish_with_body(out, 0);
    }

    /// The same when (the rest of) the body, so many bytes, is not in `out` and is sent behind it.
    pub fn finish_with_body(self, out: &mut [u8], body_bytes: usize) {
        let length = out.len() - self.start - LENGTH_BYTES + body_bytes;
        assert!(length <= u32::MAX as usize);
        write_word(out, self.start, length as u32);
    }
}

/// Appends a complete response frame.
pub fn write_response(out: &mut Vec<u8>, kind: HeaderKind, head: &ResponseHead<'_>, body: &[u8]) {
    let frame = begin_response(out, kind, head);
    out.extend_from_slice(body);
    frame.finish(out);
}

/// Appends a response frame up to its body.
pub fn begin_response(out: &mut Vec<u8>, kind: HeaderKind, head: &ResponseHead<'_>) -> OpenFrame {
    let remark = head
        .remark
        .map(|text| text.get(..text.floor_char_boundary(REMARK_BYTES_MAX)).unwrap_or(text));
    let mut head = Head {
        code: head.code,
        language: Language::Java,
        version: OUR_VERSION,
        opaque: head.opaque,
        flag: FLAG_RESPONSE,
        remark,
        ext: head.ext,
    };
    let start = out.len();
    begin(out, kind, &head).unwrap_or_else(|| {
        // Ext fields beyond 16 MiB cannot be said; the peer still learns the code.
        out.truncate(start);
        head.ext = &[];
        begin(out, kind, &head).unwrap_or(OpenFrame { start })
    })
}

/// Appends a complete request frame.
pub fn write_request(out: &mut Vec<u8>, kind: HeaderKind, head: &RequestHead<'_>, body: &[u8]) {
    let head = Head {
        code: head.code,
        language: head.language,
        version: head.version,
        opaque: head.opaque,
        flag: if head.oneway { FLAG_ONEWAY } else { 0 },
        remark: head.remark,
        ext: head.ext,
    };
    let frame = begin(out, kind, &head);
    out.extend_from_slice(body);
    assert!(frame.is_some(), "a request header of ours exceeds 16 MiB");
    if let Some(frame) = frame {
        frame.finish(out);
    }
}

/// Requests and responses are one shape.
pub(super) struct Head<'a> {
    pub(super) code: i32,
    pub(super) language: Language,
    pub(super) version: i32,
    pub(super) opaque: i32,
    pub(super) flag: i32,
    pub(super) remark: Option<&'a str>,
    pub(super) ext: &'a [(&'a str, ExtValue<'a>)],
}

/// Both words and the header; `None` when the header exceeds 24 bits.
fn begin(out: &mut Vec<u8>, kind: HeaderKind, head: &Head<'_>) -> Option<OpenFrame> {
    let start = out.len();
    // One growth for a usual header instead of several.
    out.reserve(512);
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    match kind {
        HeaderKind::Json => write_json(out, head),
        HeaderKind::Rocketmq => binary::write(out, head),
    }
    let header_bytes = out.len() - start - PREFIX_BYTES;
    if header_bytes > HEADER_BYTES_MAX {
        return None;
    }
    write_word(out, start + LENGTH_BYTES, u32::from(kind.byte()) << 24 | header_bytes as u32);
    Some(OpenFrame { start })
}

fn write_word(out: &mut [u8], at: usize, word: u32) {
    let place = out.get_mut(at..).and_then(<[u8]>::first_chunk_mut);
    assert!(place.is_some());
    if let Some(place) = place {
        *place = word.to_be_bytes();
    }
}

fn write_json(out: &mut Vec<u8>, head: &Head<'_>) {
    out.extend_from_slice(b"{\"code\":");
    write_number(out, i64::from(head.code));
    let mut before: &[u8] = b",\"extFields\":{\"";
    for (key, value) in head.ext {
        out.extend_from_slice(before);
        before = b"\",\"";
        write_text(out, key);
        out.extend_from_slice(b"\":\"");
        match *value {
            ExtValue::Str(text) => write_text(out, text),
            ExtValue::I64(number) => write_number(out, number),
            ExtValue::Bool(true) => out.extend_from_slice(b"true"),
            ExtValue::Bool(false) => out.extend_from_slice(b"false"),
        }
    }
    out.extend_from_slice(if head.ext.is_empty() { b",\"flag\":" } else { b"\"},\"flag\":" });
    write_number(out, i64::from(head.flag));
    out.extend_from_slice(b",\"language\":\"");
    out.extend_from_slice(head.language.name().as_bytes());
    out.extend_from_slice(b"\",\"opaque\":");
    write_number(out, i64::from(head.opaque));
    if let Some(remark) = head.remark {
        out.extend_from_slice(b",\"remark\":\"");
        write_text(out, remark);
        out.push(b'"');
    }
    out.extend_from_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    write_number(out, i64::from(head.version));
    out.push(b'}');
}

fn write_number(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// The inside of a JSON string.
fn write_text(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut from = 0;
    loop {
        let at = scan::special(bytes, from);
        out.extend_from_slice(bytes.get(from..at).unwrap_or_default());
        let Some(&byte) = bytes.get(at) else { return };
        write_escape(out, byte);
        from = at + 1;
    }
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    let letter = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0C => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let low = byte & 0x0F;
            let digit = if low < 10 { b'0' + low } else { b'A' + low - 10 };
            return out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), digit]);
        }
    };
    out.extend_from_slice(&[b'\\', letter]);
}
