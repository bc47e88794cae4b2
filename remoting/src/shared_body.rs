//! A response body that is encoded once and held by everybody who asked for it.
//!
//! It lies in pieces, so that two bodies that differ a little share most of their memory. A [`crate::WriteBuffer`] copies it
//! into what it sends bit by bit, and holds the pieces until then.

use std::sync::Arc;

/// A part of a body: memory that other bodies may hold, too, from a byte on.
#[derive(Clone, Debug)]
pub struct BodyPiece {
    memory: Arc<[u8]>,
    from: usize,
}

impl BodyPiece {
    /// `memory` without its first `from` bytes.
    pub fn new(memory: Arc<[u8]>, from: usize) -> BodyPiece {
        assert!(from <= memory.len());
        BodyPiece { memory, from }
    }

    fn bytes(&self) -> &[u8] {
        self.memory.get(self.from..).unwrap_or_default()
    }
}

/// A body; cloning costs a reference count.
#[derive(Clone, Debug)]
pub struct SharedBody {
    pieces: Arc<[BodyPiece]>,
    len: usize,
}

/// How far a body was copied.
#[derive(Clone, Copy, Debug, Default)]
pub struct BodyCursor {
    piece: usize,
    byte: usize,
}

impl SharedBody {
    /// The pieces in their order.
    pub fn new(pieces: Vec<BodyPiece>) -> SharedBody {
        let len = pieces.iter().map(|piece| piece.bytes().len()).sum();
        SharedBody { pieces: pieces.into(), len }
    }

    /// Bytes of all pieces.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends what is behind `cursor`, at most `bytes_max`, and moves it. Returns the number of bytes; 0 at the end.
    pub fn copy(&self, cursor: &mut BodyCursor, out: &mut Vec<u8>, bytes_max: usize) -> usize {
        let mut left = bytes_max;
        while left > 0
            && let Some(piece) = self.pieces.get(cursor.piece)
        {
            let rest = piece.bytes().get(cursor.byte..).unwrap_or_default();
            let part = rest.get(..left.min(rest.len())).unwrap_or_default();
            out.extend_from_slice(part);
            left -= part.len();
            cursor.byte += part.len();
            if part.len() == rest.len() {
                *cursor = BodyCursor { piece: cursor.piece + 1, byte: 0 };
            }
        }
        bytes_max - left
    }

    /// How many hold it.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.pieces)
    }

    /// All bytes in a row.
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(|piece| piece.bytes()).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(pieces: &[(&[u8], usize)]) -> SharedBody {
        let piece = |(bytes, from): &(&[u8], usize)| BodyPiece::new((*bytes).into(), *from);
        SharedBody::new(pieces.iter().map(piece).collect())
    }

    #[test]
    fn bytes_come_in_order_however_they_are_asked_for() {
        let body = body(&[(b"{", 0), (b",one", 1), (b"", 0), (b",two", 0), (b"}", 0)]);
        assert_eq!(body.to_vec(), b"{one,two}");
        assert_eq!(body.len(), 9);
        for bytes_max in 1..=10 {
            let (mut cursor, mut out) = (BodyCursor::default(), Vec::new());
            loop {
                let before = out.len();
                let copied = body.copy(&mut cursor, &mut out, bytes_max);
                assert_eq!(copied, out.len() - before);
                if copied == 0 {
                    break;
                }
                assert!(copied == bytes_max || out.len() == body.len());
            }
            assert_eq!(out, body.to_vec());
        }
    }

    #[test]
    fn holders_are_counted() {
        let body = body(&[(b"abc", 0)]);
        let other = body.clone();
        assert_eq!(body.holders(), 2);
        drop(other);
        assert_eq!(body.holders(), 1);
    }
}
