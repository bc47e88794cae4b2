//! Committed offsets of consumer groups on the queues of one shard.
//!
//! Changes are coalesced here and appended to the log as control entries at least once a second; recovery replays
//! them. So after a crash a group is at most a second back.
//!
//! Content of a control entry (kind [`CONTROL_KIND`]), big-endian, repeated: u16 + group, u16 + topic, u16 number of
//! pairs, pairs of u32 queue id and i64 offset.

use ahash::AHashMap;

/// Kind of the control entry that carries offsets.
pub const CONTROL_KIND: u16 = 1;
/// Most bytes of one control entry's content; more changes make more entries.
pub const CONTENT_BYTES_MAX: usize = 256 * 1024;

/// Queue ids that a client may name: far above any real topic, far below what would cost memory.
pub const QUEUE_ID_MAX: u32 = 65_535;

type Queues = Vec<Slot>;

#[derive(Clone, Copy)]
struct Slot {
    queue_id: u32,
    dirty: bool,
    offset: i64,
}

/// Group, then topic, then queue.
#[derive(Default)]
pub struct GroupOffsets {
    groups: AHashMap<Box<str>, AHashMap<Box<str>, Queues>>,
    dirty: Vec<(Box<str>, Box<str>)>,
}

impl GroupOffsets {
    /// The committed offset, if the group ever committed one on this queue.
    pub fn get(&self, group: &str, topic: &str, queue_id: u32) -> Option<i64> {
        let queues = self.groups.get(group)?.get(topic)?;
        queues.iter().find(|slot| slot.queue_id == queue_id).map(|slot| slot.offset)
    }

    /// Commits an offset. Going backwards is allowed: tools reset offsets this way.
    pub fn set(&mut self, group: &str, topic: &str, queue_id: u32, offset: i64) {
        let slot = self.slot(group, topic, queue_id);
        if slot.offset == offset {
            return;
        }
        slot.offset = offset;
        if !std::mem::replace(&mut slot.dirty, true) {
            self.dirty.push((group.into(), topic.into()));
        }
    }

    /// Forgets all offsets of a group.
    pub fn remove_group(&mut self, group: &str) {
        self.groups.remove(group);
    }

    /// Forgets all offsets on a topic.
    pub fn remove_topic(&mut self, topic: &str) {
        for topics in self.groups.values_mut() {
            topics.remove(topic);
        }
    }

    /// Whether something was committed since the last [`GroupOffsets::take_changes`].
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The changes since the last call as contents of control entries.
    pub fn take_changes(&mut self) -> Vec<Vec<u8>> {
        let mut contents = Vec::new();
        let mut content = Vec::new();
        for (group, topic) in std::mem::take(&mut self.dirty) {
            let Some(queues) =
                self.groups.get_mut(&group).and_then(|topics| topics.get_mut(&topic))
            else {
                continue;
            };
            if !queues.iter().any(|slot| slot.dirty) {
                continue;
            }
            write_changes(&mut content, &group, &topic, queues);
            if content.len() >= CONTENT_BYTES_MAX {
                contents.push(std::mem::take(&mut content));
            }
        }
        if !content.is_empty() {
            contents.push(content);
        }
        contents
    }

    /// Replays the content of a control entry. An impossible one, which only a bug of ours can have written, is
    /// reported and ignored from there on.
    pub fn replay(&mut self, content: &[u8]) -> Result<(), &'static str> {
        let mut reader = Reader(content);
        while !reader.0.is_empty() {
            let group = reader.text()?;
            let topic = reader.text()?;
            for _ in 0..reader.u16()? {
                let queue_id = u32::from_be_bytes(reader.take()?);
                let offset = i64::from_be_bytes(reader.take()?);
                self.slot(group, topic, queue_id).offset = offset;
            }
        }
        Ok(())
    }

    /// All offsets: group, topic, queue id, offset.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, u32, i64)> {
        self.groups.iter().flat_map(|(group, topics)| {
            topics.iter().flat_map(move |(topic, queues)| {
                queues.iter().map(move |slot| (&**group, &**topic, slot.queue_id, slot.offset))
            })
        })
    }

    fn slot(&mut self, group: &str, topic: &str, queue_id: u32) -> &mut Slot {
        if !self.groups.contains_key(group) {
            self.groups.insert(group.into(), AHashMap::new());
        }
        let topics = self.groups.get_mut(group).expect("inserted above");
        if !topics.contains_key(topic) {
            topics.insert(topic.into(), Queues::new());
        }
        let queues = topics.get_mut(topic).expect("inserted above");
        let index = queues.iter().position(|slot| slot.queue_id == queue_id);
        let index = index.unwrap_or_else(|| {
            queues.push(Slot { queue_id, dirty: false, offset: -1 });
            queues.len() - 1
        });
        &mut queues[index]
    }
}

fn write_changes(out: &mut Vec<u8>, group: &str, topic: &str, queues: &mut Queues) {
    for text in [group, topic] {
        out.extend_from_slice(&(text.len() as u16).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    let count_at = out.len();
    out.extend_from_slice(&[0; 2]);
    let mut count = 0u16;
    for slot in queues.iter_mut().filter(|slot| slot.dirty) {
        out.extend_from_slice(&slot.queue_id.to_be_bytes());
        out.extend_from_slice(&slot.offset.to_be_bytes());
        slot.dirty = false;
        count += 1;
    }
    out[count_at..count_at + 2].copy_from_slice(&count.to_be_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or("group offsets are cut")?;
        self.0 = rest;
        Ok(*head)
    }

    fn u16(&mut self) -> Result<u16, &'static str> {
        self.take().map(u16::from_be_bytes)
    }

    fn text(&mut self) -> Result<&'a str, &'static str> {
        let bytes = usize::from(self.u16()?);
        let (text, rest) = self.0.split_at_checked(bytes).ok_or("group offsets are cut")?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| "group offsets are not text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_coalesced_and_replayed() {
        let mut offsets = GroupOffsets::default();
        for offset in 0..100 {
            offsets.set("group", "topic", 0, offset);
            offsets.set("group", "topic", 3, offset * 2);
        }
        offsets.set("other", "topic", 0, 5);
        let contents = offsets.take_changes();
        assert_eq!(contents.len(), 1);
        assert!(contents[0].len() < 100);
        assert!(offsets.take_changes().is_empty());

        let mut replayed = GroupOffsets::default();
        replayed.replay(&contents[0]).expect("our own content");
        assert_eq!(replayed.get("group", "topic", 0), Some(99));
        assert_eq!(replayed.get("group", "topic", 3), Some(198));
        assert_eq!(replayed.get("other", "topic", 0), Some(5));
        assert_eq!(replayed.get("other", "topic", 1), None);
        assert!(!replayed.is_dirty());
    }

    #[test]
    fn an_offset_may_go_back_and_a_cut_content_is_refused() {
        let mut offsets = GroupOffsets::default();
        offsets.set("g", "t", 0, 10);
        offsets.set("g", "t", 0, 3);
        let contents = offsets.take_changes();
        assert_eq!(offsets.get("g", "t", 0), Some(3));
        for cut in 1..contents[0].len() {
            assert!(GroupOffsets::default().replay(&contents[0][..cut]).is_err());
        }
    }
}
