//! QUERY_CORRECTION_OFFSET: the smallest offset that groups have committed on each queue of a topic, and where another group is
//! behind that. Java's broker forgets the offsets of groups that were not to count when it is asked; ours does not.

use super::{large_body, shard_report::PIECE_QUEUES};
use crate::{
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    shard::Shard,
    worker::Worker,
};
use proto::{body::CorrectionOffsets, request::QueryCorrectionOffsetHeader};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};
use store::{StoreState, state::group_offsets::Place};

/// The group that is compared is behind the others: nothing is to be corrected.
const BEHIND: i64 = i64::MAX;

/// What is asked for.
struct Asked {
    topic: String,
    compared: String,
    /// Groups that do not count.
    without: BTreeSet<String>,
}

impl Asked {
    fn of(request: &Request<'_>) -> Result<Asked, Refusal> {
        let header = QueryCorrectionOffsetHeader::from_ext(&request.header.ext)?;
        let without = header.filter_groups.unwrap_or_default().split(',');
        Ok(Asked {
            topic: header.topic.to_owned(),
            compared: header.compare_group.to_owned(),
            without: without.filter(|group| !group.is_empty()).map(str::to_owned).collect(),
        })
    }

    /// Takes in some of what groups have committed. Whether there is more.
    fn look(&self, state: &StoreState, place: &mut Place, least: &mut BTreeMap<u32, i64>) -> bool {
        state.derived.group_offsets.group_offsets_on(
            &self.topic,
            place,
            |group, queue_id, offset| {
                // What is gone already is nobody's place any more.
                let min = || state.queue(&self.topic, queue_id).map_or(0, |queue| queue.min());
                if !self.without.contains(group) && offset >= min() {
                    let least = least.entry(queue_id).or_insert(offset);
                    *least = offset.min(*least);
                }
            },
        )
    }

    /// The offset that a queue is told with.
    fn told(&self, state: &StoreState, queue_id: u32, least: i64) -> i64 {
        let own = state.derived.group_offsets.get(&self.compared, &self.topic, queue_id);
        if own.is_some_and(|own| own < least) { BEHIND } else { least }
    }
}

/// Serves the request.
pub fn query(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let asked = Asked::of(request).map(Arc::new);
    Box::pin(async move {
        let asked = asked?;
        let look = move |there: Rc<Worker>| async move {
            let mut found = Vec::new();
            for shard in &there.hosted {
                found.extend(of_shard(&there, shard, &asked).await);
            }
            found
        };
        let found = worker.gather_from_workers(look).await;
        let entries = found.iter().map(Vec::len).sum();
        let make = move || {
            let correction_offsets = found.into_iter().flatten().collect();
            let mut body = Vec::new();
            CorrectionOffsets { correction_offsets }.write(&mut body);
            body
        };
        Ok(Response::body(large_body::made(&worker, entries, make).await))
    })
}

async fn of_shard(there: &Worker, shard: &Shard, asked: &Asked) -> Vec<(i32, i64)> {
    let (mut place, mut least) = (Place::default(), BTreeMap::new());
    while asked.look(&shard.store.state(), &mut place, &mut least) {
        there.executor.yield_now().await;
    }
    let mut told = Vec::with_capacity(least.len());
    let mut left = least.into_iter().peekable();
    while left.peek().is_some() {
        {
            let state = shard.store.state();
            told.extend(left.by_ref().take(PIECE_QUEUES).filter_map(|(queue_id, least)| {
                Some((i32::try_from(queue_id).ok()?, asked.told(&state, queue_id, least)))
            }));
        }
        there.executor.yield_now().await;
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::fixtures::{state_with_messages, with_request};
    use proto::code::request;

    /// What each queue of topic `t` is told with.
    fn corrections(state: &StoreState, without: &str, compared: &str) -> BTreeMap<u32, i64> {
        let fields = [("topic", "t"), ("filterGroups", without), ("compareGroup", compared)];
        let code = request::QUERY_CORRECTION_OFFSET;
        let asked = with_request(code, &fields, b"", Asked::of).expect("asked");
        let (mut place, mut least) = (Place::default(), BTreeMap::new());
        while asked.look(state, &mut place, &mut least) {}
        least.into_iter().map(|(id, least)| (id, asked.told(state, id, least))).collect()
    }

    #[test]
    fn the_smallest_offset_of_all_groups_counts() {
        let mut state = state_with_messages(&[("t", 0, 9), ("t", 1, 9), ("u", 0, 9)]);
        for (group, topic, queue_id, offset) in [
            ("g", "t", 0, 5),
            ("g", "t", 1, 8),
            ("h", "t", 0, 3),
            ("h", "t", 1, 2),
            ("i", "t", 1, -1),
            ("h", "u", 0, 1),
        ] {
            state.commit_group_offset(group, topic, queue_id, offset).expect("room");
        }
        assert_eq!(corrections(&state, "", "x"), [(0, 3), (1, 2)].into());
        assert_eq!(corrections(&state, "h", "g"), [(0, 5), (1, 8)].into());
        assert_eq!(corrections(&state, "g,,h", "x"), [].into());
        assert_eq!(corrections(&state, "h", "h"), [(0, BEHIND), (1, BEHIND)].into());
        assert_eq!(corrections(&state, "", "h"), [(0, 3), (1, 2)].into(), "h is still known");
    }

    #[test]
    fn without_a_group_to_compare_with_it_is_refused() {
        let fields = [("topic", "t")];
        let code = request::QUERY_CORRECTION_OFFSET;
        let refused = with_request(code, &fields, b"", Asked::of).map(drop).expect_err("refused");
        assert!(refused.remark.contains("compareGroup"), "{}", refused.remark);
    }
}
