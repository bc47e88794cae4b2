//! What a server does that stores nothing: finds whole frames of RocketMQ's remoting protocol, and answers each.
//!
//! A frame is its length (4 bytes, without themselves), a word whose low 24 bits are the length of the header, the
//! header in JSON, and a body. Every request, also one that wants no answer, gets the same success with its own
//! `opaque`, in the shape of an answer to a send. `null_broker` and `null_epoll` include this file, so that they differ
//! in nothing but how they wait. What is kept of a connection has a limit: a frame of [`FRAME_BYTES_MAX`] and one read.

/// The protocol's own limit for the length that a frame begins with.
const FRAME_BYTES_MAX: usize = 16 << 20;

/// What one read takes at most, and with it how many whole frames wait for an answer at a time.
const READ_BYTES_MAX: usize = 128 << 10;

const LENGTH_BYTES: usize = size_of::<u32>();

/// Where the header begins: behind the length and the word of the header's length.
const HEADER_AT: usize = 2 * LENGTH_BYTES;

/// A Java `int` with its sign.
const OPAQUE_BYTES_MAX: usize = "-2147483648".len();

const OPAQUE_KEY: &[u8] = b"\"opaque\":";

const BEFORE_OPAQUE: &[u8] =
    b"{\"code\":0,\"extFields\":{\"msgId\":\"7F00000100002A9F0000000000000000\",\
    \"queueId\":\"3\",\"queueOffset\":\"123456\"},\"flag\":1,\"language\":\"JAVA\",\"opaque\":";
const BEHIND_OPAQUE: &[u8] = b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":401}";

/// Why a connection has to be closed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadFrame {
    /// The frame is longer than [`FRAME_BYTES_MAX`].
    TooLong { bytes: usize },
    /// The header does not fit the frame.
    Header { header_bytes: usize, frame_bytes: usize },
    /// The header has no number under `opaque`.
    NoOpaque,
}

/// The bytes of a connection that are not answered yet.
#[derive(Default)]
pub(crate) struct Received {
    /// Grows to the largest frame that came, and one read.
    bytes: Vec<u8>,
    filled: usize,
}

impl Received {
    /// Where the next read goes.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let end = self.filled + READ_BYTES_MAX;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        &mut self.bytes[self.filled..end]
    }

    /// Answers all frames that are whole now that `read` bytes came into [`Received::room`].
    pub(crate) fn answer(&mut self, read: usize, answers: &mut Vec<u8>) -> Result<(), BadFrame> {
        assert!(read <= READ_BYTES_MAX);
        self.filled += read;
        let answered = answer_frames(&self.bytes[..self.filled], answers)?;
        self.bytes.copy_within(answered..self.filled, 0);
        self.filled -= answered;
        assert!(self.filled < LENGTH_BYTES + FRAME_BYTES_MAX);
        Ok(())
    }
}

/// Appends an answer to `answers` for each whole frame at the beginning of `bytes`, and says how long they are.
pub(crate) fn answer_frames(bytes: &[u8], answers: &mut Vec<u8>) -> Result<usize, BadFrame> {
    let mut answered = 0;
    loop {
        let rest = &bytes[answered..];
        let Some(frame_bytes) = word(rest, 0) else { return Ok(answered) };
        if frame_bytes > FRAME_BYTES_MAX {
            return Err(BadFrame::TooLong { bytes: frame_bytes });
        }
        let end = LENGTH_BYTES + frame_bytes;
        let Some(frame) = rest.get(..end) else { return Ok(answered) };
        let header_bytes = word(frame, LENGTH_BYTES).unwrap_or(0) & 0xff_ffff;
        let header = frame.get(HEADER_AT..HEADER_AT + header_bytes);
        let header = header.ok_or(BadFrame::Header { header_bytes, frame_bytes })?;
        push_answer(opaque(header).ok_or(BadFrame::NoOpaque)?, answers);
        answered += end;
    }
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..)?.first_chunk::<LENGTH_BYTES>()?;
    Some(u32::from_be_bytes(*word) as usize)
}

/// The digits under `opaque`, as they stand. Java's client writes the fields by name, so the end is near to them.
fn opaque(header: &[u8]) -> Option<&[u8]> {
    let at = header.windows(OPAQUE_KEY.len()).rposition(|window| window == OPAQUE_KEY)?;
    let value = &header[at + OPAQUE_KEY.len()..];
    let sign = usize::from(value.starts_with(b"-"));
    let digits = value[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_number = digits > 0 && sign + digits <= OPAQUE_BYTES_MAX;
    is_number.then_some(&value[..sign + digits])
}

fn push_answer(opaque: &[u8], answers: &mut Vec<u8>) {
    let header_bytes = (BEFORE_OPAQUE.len() + opaque.len() + BEHIND_OPAQUE.len()) as u32;
    let frame_bytes = header_bytes + LENGTH_BYTES as u32;
    answers.extend_from_slice(&frame_bytes.to_be_bytes());
    // The high byte is the kind of the header: 0, JSON.
    answers.extend_from_slice(&header_bytes.to_be_bytes());
    answers.extend_from_slice(BEFORE_OPAQUE);
    answers.extend_from_slice(opaque);
    answers.extend_from_slice(BEHIND_OPAQUE);
}

// `cargo test -p runtime --example null_epoll` runs these.
#[cfg(test)]
mod tests {
    use super::*;

    fn frame(header: &str, body: &[u8]) -> Vec<u8> {
        let header_bytes = header.len() as u32;
        let frame_bytes = LENGTH_BYTES as u32 + header_bytes + body.len() as u32;
        let words = [frame_bytes.to_be_bytes(), header_bytes.to_be_bytes()].concat();
        [&words, header.as_bytes(), body].concat()
    }

    #[test]
    fn each_whole_frame_is_answered_under_its_own_number() {
        let mut bytes = frame(r#"{"code":310,"opaque":100000007,"version":407}"#, b"\"opaque\":1");
        bytes.extend(frame(r#"{"opaque":-5,"extFields":{"p":"\"opaque\":9"}}"#, b""));
        let whole = bytes.len();
        bytes.extend(&frame(r#"{"opaque":8}"#, b"body")[..20]);
        let mut answers = Vec::new();
        assert_eq!(answer_frames(&bytes, &mut answers), Ok(whole));
        let text = String::from_utf8_lossy(&answers).into_owned();
        let numbers: Vec<&str> = text.split("\"opaque\":").skip(1).collect();
        assert!(numbers[0].starts_with("100000007,"), "{text}");
        assert!(numbers[1].starts_with("-5,"), "{text}");
        assert_eq!(numbers.len(), 2, "{text}");
        // An answer is a frame of the same kind.
        assert_eq!(answer_frames(&answers, &mut Vec::new()), Ok(answers.len()));
        let header = &answers[HEADER_AT..LENGTH_BYTES + word(&answers, 0).unwrap()];
        assert!(header.ends_with(b"}") && header.len().abs_diff(200) < 50);
    }

    #[test]
    fn bytes_may_come_one_by_one() {
        let bytes = frame(r#"{"code":10,"opaque":3}"#, b"a body").repeat(2);
        let (mut received, mut answers, mut expected) =
            (Received::default(), Vec::new(), Vec::new());
        for byte in &bytes {
            received.room()[0] = *byte;
            received.answer(1, &mut answers).unwrap();
        }
        answer_frames(&bytes, &mut expected).unwrap();
        assert_eq!(answers, expected);
        assert_eq!(received.filled, 0);
    }

    #[test]
    fn hostile_bytes_are_refused_before_they_are_kept() {
        let refused = |bytes: &[u8]| answer_frames(bytes, &mut Vec::new()).unwrap_err();
        let bytes = FRAME_BYTES_MAX + 1;
        assert_eq!(refused(&(bytes as u32).to_be_bytes()), BadFrame::TooLong { bytes });
        assert!(matches!(refused(&[0xff; 4]), BadFrame::TooLong { .. }));
        assert_eq!(
            refused(&[0, 0, 0, 6, 0, 0, 0, 3, b'{', b'}']),
            BadFrame::Header { header_bytes: 3, frame_bytes: 6 }
        );
        // Too short for the word of the header's length: what is there counts as no header.
        assert_eq!(refused(&[0, 0, 0, 0]), BadFrame::Header { header_bytes: 0, frame_bytes: 0 });
        for header in ["{}", r#"{"opaque":}"#, r#"{"opaque":"7"}"#, r#"{"opaque":123456789012}"#] {
            assert_eq!(refused(&frame(header, b"")), BadFrame::NoOpaque, "{header}");
        }
    }
}
