//! Frames: the outermost layer of the wire, one length word and one header word before header and body.
//!
//! | offset | bytes | name | meaning |
//! |---|---|---|---|
//! | 0 | 4 | length | bytes that follow this word: 4 + header + body |
//! | 4 | 1 | kind | 0 JSON, 1 ROCKETMQ (binary) |
//! | 5 | 3 | header bytes | unsigned |
//! | 8 | h | header | |
//! | 8 + h | length - 4 - h | body | may be empty |
//!
//! All integers are big-endian. Nothing here allocates: a frame is a view into the caller's read buffer, and every limit
//! is checked from the first 8 bytes, before the caller grows that buffer. Any error ends the connection: after a bad
//! length there is no way to find the next frame. Source: Apache RocketMQ 4.9.8, remoting `NettyDecoder`.

use thiserror::Error;

/// Largest value of the length word, which does not count itself. Source: `NettyDecoder.FRAME_MAX_LENGTH`.
pub const FRAME_BYTES_MAX: usize = 16_777_216;

/// Largest header: what 24 bits can say.
pub const HEADER_BYTES_MAX: usize = 0xFF_FFFF;

/// The length word.
pub const LENGTH_BYTES: usize = size_of::<u32>();

/// Length word and header word: what stands before the header.
pub const PREFIX_BYTES: usize = LENGTH_BYTES + size_of::<u32>();

const _: () = assert!(PREFIX_BYTES == 8);
const _: () = assert!(HEADER_BYTES_MAX < FRAME_BYTES_MAX);

/// How a header is written. An answer uses the kind of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeaderKind {
    /// A JSON object, the default of every client.
    Json,
    /// Java's `RocketMQSerializable`, chosen by `rocketmq.serialize.type=ROCKETMQ`.
    Rocketmq,
}

impl HeaderKind {
    /// The kind for a wire byte, if there is one.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Json),
            1 => Some(Self::Rocketmq),
            _ => None,
        }
    }

    /// The wire byte.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Json => 0,
            Self::Rocketmq => 1,
        }
    }
}

/// One complete frame inside a read buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// How `header` is written.
    pub kind: HeaderKind,
    /// The header, not yet parsed.
    pub header: &'a [u8],
    /// Whatever follows the header.
    pub body: &'a [u8],
    /// What to advance the read buffer by, length word included.
    pub wire_bytes: usize,
}

/// Why the bytes at the start of a buffer can never become a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The length word is too small to hold the header word it must cover.
    #[error("frame length {length} is below the 4 bytes of its header word")]
    TooShort {
        /// Value of the length word.
        length: usize,
    },
    /// The length word exceeds [`FRAME_BYTES_MAX`].
    #[error("frame length {length} exceeds the limit of {limit} bytes")]
    TooLong {
        /// Value of the length word.
        length: usize,
        /// [`FRAME_BYTES_MAX`].
        limit: usize,
    },
    /// The byte that says how the header is written is neither 0 nor 1.
    #[error("header kind {kind} is neither 0 (JSON) nor 1 (ROCKETMQ)")]
    UnknownKind {
        /// The byte found.
        kind: u8,
    },
    /// The header claims more bytes than the frame has.
    #[error("header of {header_bytes} bytes does not fit a frame with room for {limit}")]
    HeaderTooLong {
        /// Claimed header bytes.
        header_bytes: usize,
        /// Bytes of the frame behind the header word.
        limit: usize,
    },
}

/// The first frame of `buf`, or `None` while it is incomplete. Limits are checked as soon as their bytes are there.
pub fn next_frame(buf: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let Some(prefix) = Prefix::read(buf)? else { return Ok(None) };
    let Some((header, rest)) =
        buf.get(PREFIX_BYTES..).and_then(|rest| rest.split_at_checked(prefix.header_bytes))
    else {
        return Ok(None);
    };
    let Some(body) = rest.get(..prefix.body_bytes) else { return Ok(None) };
    let wire_bytes = PREFIX_BYTES + header.len() + body.len();
    assert!(wire_bytes <= buf.len());
    Ok(Some(Frame { kind: prefix.kind, header, body, wire_bytes }))
}

/// Bytes of the frame at the start of `buf`, length word included; `None` while its length word is incomplete. For
/// sizing a read buffer: the answer never exceeds [`FRAME_BYTES_MAX`] + 4, and with 8 bytes present the header word has
/// been checked too.
pub fn wire_bytes(buf: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(length) = read_length(buf)? else { return Ok(None) };
    Prefix::read(buf)?;
    Ok(Some(LENGTH_BYTES + length))
}

/// The first 8 bytes, checked.
struct Prefix {
    kind: HeaderKind,
    header_bytes: usize,
    body_bytes: usize,
}

impl Prefix {
    fn read(buf: &[u8]) -> Result<Option<Self>, FrameError> {
        let Some(length) = read_length(buf)? else { return Ok(None) };
        let Some(&[kind, high, middle, low]) =
            buf.get(LENGTH_BYTES..PREFIX_BYTES).and_then(<[u8]>::first_chunk)
        else {
            return Ok(None);
        };
        let kind = HeaderKind::from_byte(kind).ok_or(FrameError::UnknownKind { kind })?;
        let header_bytes = widen(u32::from_be_bytes([0, high, middle, low]));
        let limit = length - size_of::<u32>();
        let body_bytes = limit
            .checked_sub(header_bytes)
            .ok_or(FrameError::HeaderTooLong { header_bytes, limit })?;
        Ok(Some(Self { kind, header_bytes, body_bytes }))
    }
}

fn read_length(buf: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(word) = buf.first_chunk() else { return Ok(None) };
    let length = widen(u32::from_be_bytes(*word));
    if length < size_of::<u32>() {
        return Err(FrameError::TooShort { length });
    }
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong { length, limit: FRAME_BYTES_MAX });
    }
    Ok(Some(length))
}

/// Lossless on every machine we run on (io_uring needs 64 bits anyway).
const fn widen(word: u32) -> usize {
    const _: () = assert!(size_of::<usize>() >= size_of::<u32>());
    word as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: u32, word: u32, rest: &[u8]) -> Vec<u8> {
        [&length.to_be_bytes()[..], &word.to_be_bytes(), rest].concat()
    }

    #[test]
    fn frame_is_seen_only_when_complete() {
        let wire = bytes(4 + 2 + 3, 2, b"{}abcNEXT");
        for end in 0..13 {
            assert_eq!(next_frame(&wire[..end]), Ok(None), "{end} bytes");
        }
        let frame = next_frame(&wire).unwrap().unwrap();
        let whole = Frame { kind: HeaderKind::Json, header: b"{}", body: b"abc", wire_bytes: 13 };
        // 8 + 2 + 3 bytes, although 17 were offered.
        assert_eq!(next_frame(&wire[..13]), Ok(Some(whole)));
        assert_eq!(frame, whole);
    }

    #[test]
    fn empty_header_and_body_are_legal() {
        let wire = bytes(4, 0x0100_0000, b"");
        let frame = next_frame(&wire).unwrap().unwrap();
        assert_eq!(frame.kind, HeaderKind::Rocketmq);
        assert!(frame.header.is_empty());
        assert!(frame.body.is_empty());
        assert_eq!(frame.wire_bytes, 8);
    }

    #[test]
    fn limits_are_checked_before_the_rest_arrives() {
        let limit = FRAME_BYTES_MAX;
        assert_eq!(next_frame(&[0, 0, 0, 3]), Err(FrameError::TooShort { length: 3 }));
        assert_eq!(wire_bytes(&[0xFF; 4]), Err(FrameError::TooLong { length: 0xFFFF_FFFF, limit }));
        assert_eq!(
            wire_bytes(&[1, 0, 0, 1]),
            Err(FrameError::TooLong { length: limit + 1, limit })
        );
        assert_eq!(wire_bytes(&[1, 0, 0, 0]), Ok(Some(limit + 4)));
        assert_eq!(wire_bytes(&[1, 0, 0]), Ok(None));
        assert_eq!(
            next_frame(&bytes(9, 0x0200_0001, b"")),
            Err(FrameError::UnknownKind { kind: 2 })
        );
        let too_long = FrameError::HeaderTooLong { header_bytes: 6, limit: 5 };
        assert_eq!(wire_bytes(&bytes(9, 6, b"")), Err(too_long));
        assert_eq!(too_long.to_string(), "header of 6 bytes does not fit a frame with room for 5");
    }
}
