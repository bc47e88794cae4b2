//! The offset message id: where a message lies, as the text in send answers and view requests.
//!
//! Upper-case hex of the broker's IP address (4 or 16 bytes), its port (4 bytes) and the physical offset (8 bytes):
//! 32 characters for IPv4, 56 for IPv6. Source: Apache RocketMQ, `MessageDecoder.createMessageId`, `decodeMessageId`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

/// Characters of an id with an IPv4 address.
pub const TEXT_V4_LEN: usize = 2 * (4 + 4 + 8);
/// Characters of an id with an IPv6 address.
pub const TEXT_V6_LEN: usize = 2 * (16 + 4 + 8);
const _: () = assert!(TEXT_V4_LEN == 32);
const _: () = assert!(TEXT_V6_LEN == 56);

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// An id as text, kept inline: making one allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MessageId {
    text: [u8; TEXT_V6_LEN],
    len: usize,
}

impl MessageId {
    /// The text: 32 or 56 upper-case hex digits.
    pub fn as_str(&self) -> &str {
        let text = self.text.get(..self.len).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) {
        assert!(self.len + 2 * bytes.len() <= self.text.len());
        let free = self.text.get_mut(self.len..).unwrap_or_default();
        for (pair, byte) in free.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xF)]);
        }
        self.len += 2 * bytes.len();
    }
}

fn digit(nibble: u8) -> u8 {
    DIGITS.get(usize::from(nibble & 0xF)).copied().unwrap_or_default()
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({})", self.as_str())
    }
}

/// Why a text is not a message id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MessageIdError {
    /// Neither 32 nor 56 characters.
    #[error("message id has {0} bytes, not {TEXT_V4_LEN} or {TEXT_V6_LEN}")]
    Length(usize),
    /// Not a hex digit.
    #[error("message id has no hex digit at {0}")]
    Digit(usize),
    /// The port is none.
    #[error("port {0} in a message id is out of range")]
    Port(i32),
}

/// The id of the record at `physical_offset` (bytes) of the broker at `store_host`.
/// An IPv4 address mapped into IPv6 counts as IPv4, as in the record itself.
pub fn encode(store_host: SocketAddr, physical_offset: i64) -> MessageId {
    let mut id = MessageId { text: [b'0'; TEXT_V6_LEN], len: 0 };
    match store_host.ip().to_canonical() {
        IpAddr::V4(ip) => id.push(&ip.octets()),
        IpAddr::V6(ip) => id.push(&ip.octets()),
    }
    id.push(&i32::from(store_host.port()).to_be_bytes());
    id.push(&physical_offset.to_be_bytes());
    id
}

/// Store host and physical offset of an id. Lower-case digits are accepted, as Java does.
pub fn decode(text: &str) -> Result<(SocketAddr, i64), MessageIdError> {
    match text.len() {
        TEXT_V4_LEN => {
            let (ip, rest) = split::<4>(text, 0)?;
            decode_after_ip(IpAddr::from(ip), rest)
        }
        TEXT_V6_LEN => {
            let (ip, rest) = split::<16>(text, 0)?;
            decode_after_ip(IpAddr::from(ip), rest)
        }
        other => Err(MessageIdError::Length(other)),
    }
}

type Rest<'a> = (&'a str, usize);

fn decode_after_ip(ip: IpAddr, (text, at): Rest<'_>) -> Result<(SocketAddr, i64), MessageIdError> {
    let (port, (text, at)) = split::<4>(text, at)?;
    let (offset, _) = split::<8>(text, at)?;
    let port = i32::from_be_bytes(port);
    let port = u16::try_from(port).map_err(|_| MessageIdError::Port(port))?;
    Ok((SocketAddr::new(ip, port), i64::from_be_bytes(offset)))
}

/// The next `N` bytes of hex text that starts at `at` of the id, and what follows.
fn split<const N: usize>(text: &str, at: usize) -> Result<([u8; N], Rest<'_>), MessageIdError> {
    let mut bytes = [0; N];
    let mut digits = text.bytes();
    for (index, byte) in bytes.iter_mut().enumerate() {
        for half in 0..2 {
            let bad = MessageIdError::Digit(at + 2 * index + half);
            let digit = digits.next().and_then(|c| char::from(c).to_digit(16)).ok_or(bad)?;
            *byte = (*byte << 4) | digit as u8;
        }
    }
    // All digits are ASCII by now, so this cut is on a character boundary.
    let rest = text.get(2 * N..).unwrap_or_default();
    Ok((bytes, (rest, at + 2 * N)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_return() {
        for (host, text) in [
            ("127.0.0.1:10911", "7F00000100002A9F00000000000004D2"),
            ("[::1]:10911", "0000000000000000000000000000000100002A9F00000000000004D2"),
        ] {
            let host: SocketAddr = host.parse().expect("address");
            let id = encode(host, 1234);
            assert_eq!(id.as_str(), text);
            assert_eq!(decode(text), Ok((host, 1234)));
            assert_eq!(decode(&text.to_lowercase()), Ok((host, 1234)));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        assert_eq!(decode(""), Err(MessageIdError::Length(0)));
        assert_eq!(decode("7F0000010000Z A9F0000000000004D2"), Err(MessageIdError::Digit(12)));
        let port = "7F00000100010000000000000000 4D2";
        assert_eq!(decode(port), Err(MessageIdError::Digit(28)));
        assert_eq!(decode("7F000001FFFFFFFF00000000000004D2"), Err(MessageIdError::Port(-1)));
        // 32 bytes, but two characters of several bytes.
        assert!(decode("éé0000010000ZA9F0000000000000004").is_err());
    }
}
