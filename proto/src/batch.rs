//! The body of a client batch (`SEND_BATCH_MESSAGE`, 320): small messages of one topic, one behind the other.
//!
//! The broker turns each into a record of its own. Every length is checked here; the size, magic and checksum words
//! are skipped unread, as Java's decoder does, because clients fill them carelessly.
//! Source: Apache RocketMQ 4.9.8 and 5.3.3, `MessageDecoder.encodeMessage` and `decodeMessage`.

use thiserror::Error;

// offset  bytes  name                unit
//      0      4  size                bytes, this word included; written, not trusted
//      4      4  magic               0
//      8      4  body checksum       0
//     12      4  flag                the user's
//     16      4  body length         bytes
//     20      n  body
//     ..      2  properties length   bytes
//     ..      n  properties          see `properties`
const SKIPPED_BYTES: usize = 4 + 4 + 4;
/// Bytes of a message with empty body and properties.
pub const OVERHEAD_BYTES: usize = SKIPPED_BYTES + 4 + 4 + 2;
const _: () = assert!(OVERHEAD_BYTES == 22);

/// One message of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchMessage<'a> {
    /// The user's flag; opaque to us.
    pub flag: i32,
    /// The body, never compressed one by one.
    pub body: &'a [u8],
    /// Its own properties; those of the whole batch come from the request header.
    pub properties: &'a [u8],
}

/// Why bytes are not a batch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The body ends within a message.
    #[error("batch ends within message {index}")]
    Incomplete {
        /// Which message, from 0.
        index: usize,
    },
    /// A length is negative.
    #[error("length {length} in message {index} of the batch is negative")]
    Length {
        /// Which message, from 0.
        index: usize,
        /// As found.
        length: i32,
    },
    /// A message to write does not fit its length words.
    #[error("message of {body_bytes} + {properties_bytes} bytes does not fit a batch")]
    TooLarge {
        /// Length of the body.
        body_bytes: usize,
        /// Length of the properties.
        properties_bytes: usize,
    },
}

/// The messages of a batch body, in order. Ends after the first error; an empty body has no messages.
pub fn messages(body: &[u8]) -> BatchReader<'_> {
    BatchReader { rest: body, index: 0 }
}

/// See [`messages`].
#[derive(Debug, Clone)]
pub struct BatchReader<'a> {
    rest: &'a [u8],
    index: usize,
}

impl<'a> Iterator for BatchReader<'a> {
    type Item = Result<BatchMessage<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let message = self.message();
        if message.is_err() {
            self.rest = &[];
        }
        self.index += 1;
        Some(message)
    }
}

impl<'a> BatchReader<'a> {
    fn message(&mut self) -> Result<BatchMessage<'a>, BatchError> {
        self.take(SKIPPED_BYTES)?;
        let flag = i32::from_be_bytes(self.array()?);
        let body_length = i32::from_be_bytes(self.array()?);
        let body = self.take(self.length(body_length)?)?;
        let properties_length = i32::from(i16::from_be_bytes(self.array()?));
        let properties = self.take(self.length(properties_length)?)?;
        Ok(BatchMessage { flag, body, properties })
    }

    fn length(&self, length: i32) -> Result<usize, BatchError> {
        usize::try_from(length).map_err(|_| BatchError::Length { index: self.index, length })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BatchError> {
        let index = self.index;
        let (here, rest) =
            self.rest.split_first_chunk::<N>().ok_or(BatchError::Incomplete { index })?;
        self.rest = rest;
        Ok(*here)
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], BatchError> {
        let index = self.index;
        let (here, rest) =
            self.rest.split_at_checked(bytes).ok_or(BatchError::Incomplete { index })?;
        self.rest = rest;
        Ok(here)
    }
}

/// Appends one message; the body of a batch is what several calls wrote. Nothing is written on error.
pub fn write(out: &mut Vec<u8>, message: &BatchMessage<'_>) -> Result<(), BatchError> {
    let too_large = |_| BatchError::TooLarge {
        body_bytes: message.body.len(),
        properties_bytes: message.properties.len(),
    };
    let size = OVERHEAD_BYTES + message.body.len() + message.properties.len();
    let size = i32::try_from(size).map_err(too_large)?;
    let body_length = i32::try_from(message.body.len()).map_err(too_large)?;
    let properties_length = i16::try_from(message.properties.len()).map_err(too_large)?;
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&message.flag.to_be_bytes());
    out.extend_from_slice(&body_length.to_be_bytes());
    out.extend_from_slice(message.body);
    out.extend_from_slice(&properties_length.to_be_bytes());
    out.extend_from_slice(message.properties);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: [BatchMessage<'_>; 2] = [
        BatchMessage { flag: 7, body: b"first", properties: b"KEYS\x01k\x02" },
        BatchMessage { flag: -1, body: b"", properties: b"" },
    ];

    fn two() -> Vec<u8> {
        let mut body = Vec::new();
        for message in &TWO {
            write(&mut body, message).expect("small");
        }
        body
    }

    #[test]
    fn what_is_written_is_read() {
        let read: Result<Vec<_>, _> = messages(&two()).map(|m| m.map(|m| m.flag)).collect();
        assert_eq!(read, Ok(vec![7, -1]));
        let body = two();
        let read: Vec<_> = messages(&body).map(|m| m.expect("whole")).collect();
        assert_eq!(read, TWO);
        assert_eq!(messages(&[]).count(), 0);
    }

    #[test]
    fn a_cut_batch_names_the_message() {
        let body = two();
        for end in 1..body.len() {
            let last = messages(&body[..end]).last().expect("not empty");
            let first_len = body.len() - OVERHEAD_BYTES;
            match end {
                _ if end == first_len => assert!(last.is_ok()),
                _ if end < first_len => assert_eq!(last, Err(BatchError::Incomplete { index: 0 })),
                _ => assert_eq!(last, Err(BatchError::Incomplete { index: 1 })),
            }
        }
    }

    #[test]
    fn negative_lengths_are_refused() {
        let mut body = two();
        body[16..20].copy_from_slice(&(-5_i32).to_be_bytes());
        let error = BatchError::Length { index: 0, length: -5 };
        assert_eq!(messages(&body).collect::<Vec<_>>(), vec![Err(error)]);
    }
}
