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
/// Most bytes of one control entry's content; more changes make more entries. The largest record of the log may set
/// a lower limit.
pub const CONTENT_BYTES_MAX: usize = 256 * 1024;

/// Queue ids that a client may name: far above any real topic, far below what would cost memory.
pub const QUEUE_ID_MAX: u32 = 65_535;

/// Bytes of a queue id with its offset.
const PAIR_BYTES: usize = size_of::<u32>() + size_of::<i64>();
/// Most pairs under one pair of names.
const PAIRS_MAX: usize = u16::MAX as usize;

type Queues = Vec<Slot>;

#[derive(Clone, Copy)]
struct Slot {
    queue_id: u32,
    dirty: bool,
    offset: i64,
    /// What the log says.
    logged: Option<i64>,
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

    /// Whether something was committed that [`GroupOffsets::take_change`] has not returned yet.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Changes that were not returned yet, as the content of one control entry of about `bytes_max` at most (a single
    /// change may be larger). Call until `None`.
    pub fn take_change(&mut self, bytes_max: usize) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        while content.len() < bytes_max {
            let Some((group, topic)) = self.dirty.pop() else { break };
            let queues = self.groups.get_mut(&group).and_then(|topics| topics.get_mut(&topic));
            let Some(queues) = queues else { continue };
            if !queues.iter().any(|slot| slot.dirty) {
                continue;
            }
            let names = 3 * size_of::<u16>() + group.len() + topic.len();
            let room = bytes_max.saturating_sub(content.len() + names) / PAIR_BYTES;
            if room == 0 && !content.is_empty() {
                self.dirty.push((group, topic));
                break;
            }
            write_changes(&mut content, &group, &topic, queues, room.clamp(1, PAIRS_MAX));
            if queues.iter().any(|slot| slot.dirty) {
                self.dirty.push((group, topic));
                break;
            }
        }
        (!content.is_empty()).then_some(content)
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
                let slot = self.slot(group, topic, queue_id);
                slot.offset = offset;
                slot.logged = Some(offset);
            }
        }
        Ok(())
    }

    /// The largest offset that any group has committed on a queue.
    pub fn furthest(&self, topic: &str, queue_id: u32) -> Option<i64> {
        let queues = self.groups.values().filter_map(|topics| topics.get(topic)).flatten();
        queues.filter(|slot| slot.queue_id == queue_id).map(|slot| slot.offset).max()
    }

    /// Names of the groups that ever committed here, sorted.
    pub fn groups(&self) -> Vec<Box<str>> {
        let mut groups: Vec<Box<str>> = self.groups.keys().cloned().collect();
        groups.sort_unstable();
        groups
    }

    /// Offsets of a group as the log has them, as contents of control entries behind `out`. For a snapshot that is taken
    /// group by group.
    pub fn snapshot(&self, group: &str, out: &mut Vec<Vec<u8>>) {
        let mut content = Vec::new();
        let mut topics: Vec<_> = self.groups.get(group).into_iter().flatten().collect();
        topics.sort_unstable_by_key(|(topic, _)| *topic);
        for (topic, queues) in topics {
            let logged = |slot: &Slot| slot.logged.map(|offset| (slot.queue_id, offset));
            let pairs: Vec<(u32, i64)> = queues.iter().filter_map(logged).collect();
            for pairs in pairs.chunks(PAIRS_MAX) {
                if content.len() > CONTENT_BYTES_MAX {
                    out.push(std::mem::take(&mut content));
                }
                write_names(&mut content, group, topic);
                content.extend_from_slice(&(pairs.len() as u16).to_be_bytes());
                for (queue_id, offset) in pairs {
                    content.extend_from_slice(&queue_id.to_be_bytes());
                    content.extend_from_slice(&offset.to_be_bytes());
                }
            }
        }
        if !content.is_empty() {
            out.push(content);
        }
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
            queues.push(Slot { queue_id, dirty: false, offset: -1, logged: None });
            queues.len() - 1
        });
        &mut queues[index]
    }
}

fn write_names(out: &mut Vec<u8>, group: &str, topic: &str) {
    for text in [group, topic] {
        out.extend_from_slice(&(text.len() as u16).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }
}

fn write_changes(
    out: &mut Vec<u8>,
    group: &str,
    topic: &str,
    queues: &mut Queues,
    pairs_max: usize,
) {
    write_names(out, group, topic);
    let count_at = out.len();
    out.extend_from_slice(&[0; 2]);
    let mut count = 0u16;
    for slot in queues.iter_mut().filter(|slot| slot.dirty).take(pairs_max) {
        out.extend_from_slice(&slot.queue_id.to_be_bytes());
        out.extend_from_slice(&slot.offset.to_be_bytes());
        slot.dirty = false;
        slot.logged = Some(slot.offset);
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
        let content = offsets.take_change(CONTENT_BYTES_MAX).expect("changes");
        assert!(content.len() < 100);
        assert_eq!(offsets.take_change(CONTENT_BYTES_MAX), None);

        let mut replayed = GroupOffsets::default();
        replayed.replay(&content).expect("our own content");
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
        let content = offsets.take_change(CONTENT_BYTES_MAX).expect("a change");
        assert_eq!(offsets.get("g", "t", 0), Some(3));
        for cut in 1..content.len() {
            assert!(GroupOffsets::default().replay(&content[..cut]).is_err());
        }
    }

    #[test]
    fn many_changes_are_spread_over_entries_that_fit() {
        let mut offsets = GroupOffsets::default();
        for queue_id in 0..5_000 {
            offsets.set("group", "topic", queue_id, i64::from(queue_id));
            offsets.set("other", "topic", queue_id % 7, i64::from(queue_id));
        }
        let mut replayed = GroupOffsets::default();
        let mut contents = 0;
        while let Some(content) = offsets.take_change(1_000) {
            assert!(content.len() <= 1_000);
            replayed.replay(&content).expect("our own content");
            contents += 1;
        }
        assert!(contents > 60 && !offsets.is_dirty());
        assert_eq!(replayed.iter().count(), 5_007);
        assert!(replayed.iter().all(|(group, topic, queue_id, offset)| {
            offsets.get(group, topic, queue_id) == Some(offset)
        }));
    }
}
