//! What the store serves, asked through its public face alone, and compared with what must be there.
//!
//! Everything here that knows how a store is read stands in this file.

use super::recorder::Recorder;
use crate::crashsim::book::{Item, OffsetName, QueueState, State, What};
use runtime::Disk;
use std::{collections::BTreeMap, rc::Rc};
use store::{read::PullLimits, settings::FlushPolicy, store::Store};

/// A store on a recorded disk.
pub(super) type Recorded<D> = Rc<Store<Recorder<D>>>;

/// Everything before this position survives a power cut, if the store keeps its word.
pub(super) fn promised<D: Disk>(store: &Recorded<D>) -> u64 {
    let state = store.state();
    match store.settings().flush {
        FlushPolicy::Sync => state.log.committed(),
        FlushPolicy::Async { .. } => state.log.flushed(),
    }
}

/// Finds which of `items` the store came back with, the first `items_promised` of which it must have: exactly those up
/// to some place. Returns the state that they amount to, and how many they are.
pub(super) async fn recovered<D: Disk>(
    store: Recorded<D>,
    items: Vec<Rc<Item>>,
    items_promised: usize,
) -> Result<(State, usize), String> {
    store.state().check();
    let (least, most) = bounds(&store, &items, items_promised).await?;
    let offsets = group_offsets(&store);
    let mut state = State::default();
    items[..least].iter().for_each(|item| state.apply(item));
    let mut first_mismatch = None;
    // Entries that are no messages cannot be asked for: those at the end are there if the tables say so.
    for count in least..=most {
        if count > least {
            state.apply(&items[count - 1]);
        }
        let compared = if offsets == state.offsets {
            compare(&store, &state).await
        } else {
            Err(format!("group offsets are {offsets:?}, not {:?}", state.offsets))
        };
        match compared {
            Ok(()) => return Ok((state, count)),
            Err(what) => first_mismatch = first_mismatch.or(Some(what)),
        }
    }
    Err(first_mismatch.unwrap_or_default())
}

/// Between how many and how many of the items are there, by the messages among them.
async fn bounds<D: Disk>(
    store: &Recorded<D>,
    items: &[Rc<Item>],
    items_promised: usize,
) -> Result<(usize, usize), String> {
    let (mut least, mut missing) = (items_promised, None);
    for (index, item) in items.iter().enumerate() {
        let What::Message { record, .. } = &item.what else { continue };
        let read = store.read_record(item.start).await;
        let read = read.map_err(|error| format!("reading at {}: {error}", item.start))?;
        let there = read.is_some_and(|read| read == **record);
        match missing {
            _ if !there && index < items_promised => {
                return Err(format!("what was promised at {} is gone", item.start));
            }
            None if there => least = least.max(index + 1),
            None => missing = Some(index),
            Some(gone) if there => {
                let gone: &Rc<Item> = &items[gone];
                return Err(format!("{} survived, {} before it did not", item.start, gone.start));
            }
            Some(_) => {}
        }
    }
    Ok((least, missing.unwrap_or(items.len())))
}

fn group_offsets<D: Disk>(store: &Recorded<D>) -> BTreeMap<OffsetName, i64> {
    let state = store.state();
    let offsets = state.derived.group_offsets.iter();
    offsets.map(|(group, topic, queue, at)| ((group.into(), topic.into(), queue), at)).collect()
}

/// Whether the store serves exactly `state`: every queue, from its first offset to its last, with its bytes.
async fn compare<D: Disk>(store: &Recorded<D>, state: &State) -> Result<(), String> {
    let topics: Vec<String> = store.state().topics().map(String::from).collect();
    for topic in topics {
        let mut known = Ok(());
        store.state().queues_of(&topic, |queue, entries, _| {
            let expected = state.queues.contains_key(&(topic.clone(), queue));
            if !expected && entries.max() > 0 {
                known = Err(format!("{topic}/{queue} has messages of nobody"));
            }
        });
        known?;
    }
    for ((topic, queue), expected) in &state.queues {
        let compared = compare_queue(store, topic, *queue, expected).await;
        compared.map_err(|what| format!("{topic}/{queue}: {what}"))?;
    }
    Ok(())
}

async fn compare_queue<D: Disk>(
    store: &Recorded<D>,
    topic: &str,
    queue: u32,
    expected: &QueueState,
) -> Result<(), String> {
    let (min, max) = (0, expected.next());
    let mut offset = min;
    loop {
        let limits = PullLimits { offset, count_max: 256, bytes_max: 1 << 18, scan_max: 256 };
        let plan = store.plan_pull_on_disk(topic, queue, limits, |_| true).await;
        let plan = plan.map_err(|error| format!("planning from {offset}: {error}"))?;
        let found = (plan.min_offset, plan.max_offset);
        if found != (min, max) {
            return Err(format!("offsets are {found:?}, not {:?}", (min, max)));
        }
        if offset == max {
            return Ok(());
        }
        if plan.next_offset <= offset || plan.next_offset > max {
            return Err(format!("a pull from {offset} goes on at {}", plan.next_offset));
        }
        let mut bytes = Vec::new();
        let read = store.read_cold(&plan.pieces, &mut bytes).await;
        read.map_err(|error| format!("reading from {offset}: {error}"))?;
        if bytes != expected.bytes(offset, plan.next_offset) {
            return Err(format!("messages from {offset} to {} differ", plan.next_offset));
        }
        offset = plan.next_offset;
    }
}
