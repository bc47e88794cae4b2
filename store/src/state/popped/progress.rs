//! How far groups are with popping, as bytes: the content of a control entry, and of a piece of their section in index
//! files. Source of the layout: [`crate::state::control`].

use crate::state::{
    control::{ControlError, KIND_POP_PROGRESS},
    fields::{Fields, write_texts},
    rows::part,
};

/// Bytes of a message in flight: offset, time of its pop, when it is visible again, times it was popped before.
const ROW_BYTES: usize = 8 + 8 + 8 + 4;
/// Bytes of a queue besides its names and rows: two lengths, queue id, flags, place, number of rows.
const HEAD_BYTES: usize = 2 + 2 + 4 + 1 + 8 + 2;
/// Most rows under one head.
const ROWS_MAX: usize = u16::MAX as usize;

/// Flag: what the log has said of the queue before does not count any more.
const ANEW: u8 = 1;
/// Flag: a place follows that is the next offset that was never popped.
const CURSOR: u8 = 2;

/// Instead of the time of a pop: the message is in flight no more.
const DONE: i64 = i64::MIN;

/// A message that was popped and is neither acknowledged nor given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// When it was popped last, ms: its receipt says so. No other pop of it has the same time.
    pub popped_at: i64,
    /// When it is given out again, ms.
    pub visible_at: i64,
    /// How often it was popped before that.
    pub again: u32,
}

/// What is said of an offset. `None`: it is in flight no more.
pub type Said = (i64, Option<InFlight>);

/// What the log says of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueProgress<'a> {
    /// The group.
    pub group: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The queue's id within the topic.
    pub queue_id: u32,
    /// What was said of the queue before does not count.
    pub anew: bool,
    /// The next offset that was never popped, if it changed.
    pub cursor: Option<i64>,
    rows: &'a [[u8; ROW_BYTES]],
}

impl QueueProgress<'_> {
    /// Offsets that are in flight, or are no more.
    pub fn rows(&self) -> impl Iterator<Item = Said> {
        self.rows.iter().map(|row| {
            let popped_at = i64::from_be_bytes(part(row, 8));
            let in_flight = InFlight {
                popped_at,
                visible_at: i64::from_be_bytes(part(row, 16)),
                again: u32::from_be_bytes(part(row, 24)),
            };
            (i64::from_be_bytes(part(row, 0)), (popped_at != DONE).then_some(in_flight))
        })
    }
}

/// Content of an entry, and of a piece of the section: whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PopProgress<'a>(&'a [u8]);

impl<'a> PopProgress<'a> {
    /// Reads a content; all of it is checked.
    pub fn decode(content: &'a [u8]) -> Result<PopProgress<'a>, ControlError> {
        for queue in Walk::new(content) {
            queue.map_err(|what| ControlError::Malformed { kind: KIND_POP_PROGRESS, what })?;
        }
        Ok(PopProgress(content))
    }

    /// What it says, queue by queue.
    pub fn iter(&self) -> impl Iterator<Item = QueueProgress<'a>> + use<'a> {
        Walk::new(self.0).map(|queue| queue.expect("checked when it was decoded"))
    }

    /// The bytes.
    pub fn content(&self) -> &'a [u8] {
        self.0
    }
}

/// Walks a content queue by queue; ends with the first error.
struct Walk<'a>(Fields<'a>);

impl<'a> Walk<'a> {
    fn new(content: &'a [u8]) -> Walk<'a> {
        Walk(Fields(content))
    }

    fn queue(&mut self) -> Result<QueueProgress<'a>, &'static str> {
        let fields = &mut self.0;
        let (group, topic) = (fields.text()?, fields.text()?);
        let queue_id = u32::from_be_bytes(fields.take()?);
        let [flags] = fields.take()?;
        if flags & !(ANEW | CURSOR) != 0 {
            return Err("has a flag that is not known");
        }
        let cursor = i64::from_be_bytes(fields.take()?);
        let count = usize::from(u16::from_be_bytes(fields.take()?));
        let (rows, _) = fields.bytes(count * ROW_BYTES)?.as_chunks();
        let cursor = (flags & CURSOR != 0).then_some(cursor);
        Ok(QueueProgress { group, topic, queue_id, anew: flags & ANEW != 0, cursor, rows })
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<QueueProgress<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let queue = self.queue();
        if queue.is_err() {
            self.0 = Fields(&[]);
        }
        Some(queue)
    }
}

/// Rows of a queue that fit into so many bytes, names and head included. 0: not even one.
pub(super) fn rows_within(bytes: usize, group: &str, topic: &str) -> usize {
    let names = HEAD_BYTES + group.len() + topic.len();
    (bytes.saturating_sub(names) / ROW_BYTES).min(ROWS_MAX)
}

/// Adds what is said of a queue.
pub(super) fn write(
    out: &mut Vec<u8>,
    (group, topic, queue_id): (&str, &str, u32),
    anew: bool,
    cursor: Option<i64>,
    rows: &[Said],
) {
    write_texts(out, [group, topic]);
    out.extend_from_slice(&queue_id.to_be_bytes());
    let has_cursor = if cursor.is_some() { CURSOR } else { 0 };
    out.push(has_cursor | if anew { ANEW } else { 0 });
    out.extend_from_slice(&cursor.unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&(rows.len() as u16).to_be_bytes());
    for (offset, said) in rows {
        let gone = InFlight { popped_at: DONE, visible_at: 0, again: 0 };
        let InFlight { popped_at, visible_at, again } = said.unwrap_or(gone);
        out.extend_from_slice(&offset.to_be_bytes());
        out.extend_from_slice(&popped_at.to_be_bytes());
        out.extend_from_slice(&visible_at.to_be_bytes());
        out.extend_from_slice(&again.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let row = InFlight { popped_at: 5, visible_at: 65, again: 2 };
        let mut content = Vec::new();
        write(&mut content, ("g", "t", 3), true, Some(9), &[(7, Some(row)), (8, None)]);
        write(&mut content, ("", "u", 0), false, None, &[]);
        let read = PopProgress::decode(&content).expect("whole");
        let queues: Vec<_> = read.iter().collect();
        assert_eq!(queues.len(), 2);
        assert_eq!((queues[0].group, queues[0].topic, queues[0].queue_id), ("g", "t", 3));
        assert_eq!((queues[0].anew, queues[0].cursor), (true, Some(9)));
        assert_eq!(queues[0].rows().collect::<Vec<_>>(), [(7, Some(row)), (8, None)]);
        assert_eq!((queues[1].anew, queues[1].cursor, queues[1].rows().count()), (false, None, 0));
    }

    #[test]
    fn what_is_cut_or_not_known_is_refused() {
        let mut content = Vec::new();
        let row = InFlight { popped_at: 5, visible_at: 65, again: 0 };
        write(&mut content, ("g", "t", 3), false, Some(9), &[(7, Some(row))]);
        for end in 1..content.len() {
            assert!(PopProgress::decode(&content[..end]).is_err(), "{end}");
        }
        let flags_at = 2 + 1 + 2 + 1 + 4;
        content[flags_at] = 4;
        assert!(PopProgress::decode(&content).is_err());
    }

    #[test]
    fn rows_are_counted_with_their_head() {
        let mut content = Vec::new();
        let rows = [(7, None), (8, None), (9, None)];
        write(&mut content, ("group", "topic", 3), false, None, &rows);
        assert_eq!(rows_within(content.len(), "group", "topic"), 3);
        assert_eq!(rows_within(content.len() - 1, "group", "topic"), 2);
        assert_eq!(rows_within(10, "group", "topic"), 0);
    }
}
