//! Cutting a stream of bytes into frames. What is read lies in memory shared by all connections of a worker; only
//! the beginning of a frame that is not complete yet is kept per connection, and grows only with bytes that came.
//!
//! Whoever takes the frames may stop after any of them: one read can hold thousands of small requests with large
//! answers. What is behind it is kept, and goes on with [`FrameReader::resume`].

use proto::frame::{Frame, FrameError, next_frame, wire_bytes};
use std::ops::ControlFlow::{self, Break, Continue};

/// Memory that a quiet connection may keep for its next partial frame, bytes.
const KEPT_BYTES: usize = 4096;

/// What was read and not handed out: the incomplete frame at the end, or all that is behind a stop.
#[derive(Default)]
pub struct FrameReader {
    partial: Vec<u8>,
}

impl FrameReader {
    /// Takes what was read and hands out the frames that it completes, each with all its bytes, until `on_frame` breaks
    /// off. `Break`: there may be more frames; [`FrameReader::resume`] comes before the next bytes.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        mut on_frame: impl FnMut(&Frame<'_>, &[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, FrameError> {
        while !self.partial.is_empty() {
            // Until the length is known a word at a time, then to the frame's end.
            let wanted = wire_bytes(&self.partial)?.unwrap_or(PREFIX_BYTES.max(self.partial.len()));
            let wanted = wanted.max(PREFIX_BYTES);
            let missing = wanted - self.partial.len().min(wanted);
            let (head, rest) = bytes.split_at(missing.min(bytes.len()));
            self.partial.extend_from_slice(head);
            bytes = rest;
            let flow = match next_frame(&self.partial)? {
                Some(frame) => on_frame(&frame, &self.partial),
                None if bytes.is_empty() => return Ok(Continue(())),
                None => continue,
            };
            self.partial.clear();
            self.partial.shrink_to(KEPT_BYTES);
            if flow.is_break() {
                self.partial.extend_from_slice(bytes);
                return Ok(Break(()));
            }
        }
        let mut flow = Continue(());
        while flow.is_continue()
            && let Some(frame) = next_frame(bytes)?
        {
            let (whole, rest) = bytes.split_at(frame.wire_bytes.min(bytes.len()));
            flow = on_frame(&frame, whole);
            bytes = rest;
        }
        // Limits are checked as soon as the length is known, before anything is kept.
        wire_bytes(bytes)?;
        self.partial.extend_from_slice(bytes);
        Ok(flow)
    }

    /// Goes on behind a stop.
    pub fn resume(
        &mut self,
        on_frame: impl FnMut(&Frame<'_>, &[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, FrameError> {
        let kept = std::mem::take(&mut self.partial);
        self.feed(&kept, on_frame)
    }

    /// Bytes that the incomplete frame at the front of what is kept still misses.
    pub fn missing_bytes(&self) -> usize {
        let wanted = wire_bytes(&self.partial).ok().flatten().unwrap_or(PREFIX_BYTES);
        wanted.saturating_sub(self.partial.len())
    }

    /// Bytes kept for the next read.
    pub fn partial_bytes(&self) -> usize {
        self.partial.len()
    }
}

/// Length word and header word: with them a frame's size and shape are known.
const PREFIX_BYTES: usize = proto::frame::PREFIX_BYTES;

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{
        command::{RequestHead, write_request},
        frame::HeaderKind,
    };

    fn frames(count: i32) -> Vec<u8> {
        let mut out = Vec::new();
        for number in 0..count {
            let head = RequestHead {
                code: 10,
                language: proto::command::Language::Java,
                version: 409,
                opaque: number,
                oneway: false,
                remark: None,
                ext: &[("key", "value".into())],
            };
            let body = vec![number as u8; 50 * number as usize];
            write_request(&mut out, HeaderKind::Json, &head, &body);
        }
        out
    }

    #[test]
    fn frames_come_out_whole_however_the_stream_is_cut() {
        let stream = frames(20);
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let mut frames = FrameReader::default();
            let mut bodies = Vec::new();
            let mut rest = stream.as_slice();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rng.usize(1..=rest.len().min(400)));
                let mut on_frame = |frame: &Frame<'_>, _: &[u8]| {
                    bodies.push(frame.body.to_vec());
                    if rng.bool() { Break(()) } else { Continue(()) }
                };
                let mut flow = frames.feed(now, &mut on_frame).expect("our own frames");
                while flow.is_break() {
                    flow = frames.resume(&mut on_frame).expect("our own frames");
                }
                rest = later;
            }
            assert_eq!(bodies.len(), 20);
            assert!(bodies.iter().enumerate().all(|(number, body)| {
                body.len() == 50 * number && body.iter().all(|byte| *byte == number as u8)
            }));
            assert_eq!(frames.partial_bytes(), 0);
        }
    }

    #[test]
    fn an_impossible_length_is_refused_before_anything_is_kept() {
        let mut frames = FrameReader::default();
        let bytes = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 1, 2, 3];
        assert!(frames.feed(&bytes, |_, _| Continue(())).is_err());
        assert_eq!(frames.partial_bytes(), 0);
    }
}
