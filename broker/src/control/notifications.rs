//! Which groups' members are yet to hear that members or topics of their group came or went.
//!
//! A hint goes to every member, and a group may have 20,000: told one by one of each that joins, they would be sent the
//! square of that. Here a group is told once for all changes that came until its turn, in pieces, and no more than
//! [`HINTS_PER_TICK`] members in each tick; groups take turns, so that a large one does not keep a small one waiting.
//! Who joins while its group is being told causes another round. Clients look at their queues by themselves every 20 s.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use remoting::ConnectionId;

use super::Members;

/// Members that are told within one tick. Each makes a write of its own: some 5 ms of one core.
const HINTS_PER_TICK: usize = 512;
/// Members of one group that are told before it is another group's turn.
const PIECE: usize = 128;

/// The groups, in the order in which their turn comes.
#[derive(Debug)]
pub(super) struct Notifications {
    /// With the member that was told last.
    turns: VecDeque<(Arc<str>, Option<ConnectionId>)>,
    /// The groups in `turns`.
    known: HashMap<Arc<str>, Round>,
    /// Members that may still be told in this tick.
    left: usize,
}

#[derive(Debug, Default)]
struct Round {
    begun: bool,
    /// The group has changed since.
    again: bool,
}

impl Default for Notifications {
    fn default() -> Self {
        Notifications { turns: VecDeque::new(), known: HashMap::new(), left: HINTS_PER_TICK }
    }
}

impl Notifications {
    /// A group has changed.
    pub(super) fn add(&mut self, group: Arc<str>) {
        if let Some(round) = self.known.get_mut(&group) {
            round.again = round.begun;
            return;
        }
        self.known.insert(Arc::clone(&group), Round::default());
        self.turns.push_back((group, None));
    }

    /// A tick has passed.
    pub(super) fn refill(&mut self) {
        self.left = HINTS_PER_TICK;
    }

    /// The next members to tell, at most [`PIECE`], and their group. `None`: all have been told, or it is enough for now.
    pub(super) fn next(&mut self, members: &Members) -> Option<(Arc<str>, Vec<ConnectionId>)> {
        while self.left > 0 {
            let (group, after) = self.turns.pop_front()?;
            let wanted = PIECE.min(self.left);
            let piece = members.consumers_after(&group, after, wanted);
            self.left -= piece.len();
            let round = self.known.entry(Arc::clone(&group)).or_default();
            round.begun = true;
            if piece.len() == wanted {
                self.turns.push_back((Arc::clone(&group), piece.last().copied()));
            } else if std::mem::take(&mut round.again) {
                round.begun = false;
                self.turns.push_back((Arc::clone(&group), None));
            } else {
                self.known.remove(&group);
            }
            if !piece.is_empty() {
                return Some((group, piece));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ClientConnection;
    use proto::body::{ConsumerData, HeartbeatData};
    use proto::command::Language;

    fn join(members: &mut Members, group: &str, number: usize) {
        let client = ClientConnection {
            connection: ConnectionId::new(0, 0, number),
            address: ([10, 0, 0, 1], 1).into(),
            language: Language::Java,
            version: 409,
        };
        let consumer = ConsumerData { group_name: group.to_owned(), ..ConsumerData::default() };
        let data = HeartbeatData {
            client_id: format!("c{number}"),
            consumer_data_set: vec![consumer],
            ..HeartbeatData::default()
        };
        members.heartbeat(runtime::Uptime::default(), &client, &data);
    }

    /// Tells everybody and returns how many were told in each tick, and how often each member.
    fn tell_all(
        notifications: &mut Notifications,
        members: &Members,
    ) -> (Vec<usize>, HashMap<u64, usize>) {
        let (mut ticks, mut told) = (Vec::new(), HashMap::new());
        loop {
            notifications.refill();
            let mut count = 0;
            while let Some((_, piece)) = notifications.next(members) {
                count += piece.len();
                piece.iter().for_each(|id| *told.entry(id.to_u64()).or_default() += 1);
            }
            if count == 0 {
                return (ticks, told);
            }
            ticks.push(count);
        }
    }

    #[test]
    fn a_large_group_that_fills_up_is_told_in_pieces_and_not_once_for_each() {
        let (mut members, mut notifications) = (Members::default(), Notifications::default());
        for number in 0..2_000 {
            join(&mut members, "large", number);
            notifications.add("large".into());
        }
        let (ticks, told) = tell_all(&mut notifications, &members);
        assert_eq!(ticks, [512, 512, 512, 464]);
        assert!(told.len() == 2_000 && told.values().all(|times| *times == 1));
    }

    #[test]
    fn a_change_in_the_middle_makes_another_round_and_small_groups_have_their_turn() {
        let (mut members, mut notifications) = (Members::default(), Notifications::default());
        (0..1_000).for_each(|number| join(&mut members, "large", number));
        join(&mut members, "small", 5_000);
        notifications.add("large".into());
        notifications.add("small".into());
        assert_eq!(notifications.next(&members).map(|(_, piece)| piece.len()), Some(128));
        assert_eq!(notifications.next(&members).map(|(_, piece)| piece.len()), Some(1));
        notifications.add("large".into());
        let (_, told) = tell_all(&mut notifications, &members);
        assert_eq!(told.values().sum::<usize>(), 1_000 - 128 + 1_000);
        assert!(notifications.known.is_empty() && notifications.turns.is_empty());
    }
}
