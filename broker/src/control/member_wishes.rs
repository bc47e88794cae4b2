//! What each member of a group wants by its own last heartbeat, and how many members want the same: a hash of each topic with
//! its expression, whatever its version.
//!
//! Owned by each group in [`super::members`], which asks here whether a published subscription stays before one with an older
//! version. Versions are clocks of clients. One that was ahead and is right again, or goes back, would keep its group at what
//! it wanted before until all members are offline at once, as with Java's broker. So a subscription gives way to an older
//! version as soon as no member wants it any more. While one does, the newest version wins, also over a member that has
//! changed its mind: were it otherwise, members that disagree (a rolling upgrade) would take turns with every heartbeat, and
//! each turn would pass over what the others want.
//!
//! What always holds: a wish is counted as often as there are members that have it. A member that is gone without a word
//! counts until its connection has ended or was silent for too long.

use super::subscription::{ALL, Subscription, TAG, is_tag_type};
use proto::body::SubscriptionData;
use remoting::ConnectionId;
use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

/// Of a wish of a member: its hash, and its place among those of the group.
pub(super) const WISH_BYTES: usize = 40;

/// The hash of what a heartbeat wants from a topic. Spellings of the same are the same.
pub(super) fn wish_of(data: &SubscriptionData) -> u64 {
    wish_hash(&data.topic, &data.expression_type, &data.sub_string)
}

fn wish_hash(topic: &str, expression_type: &str, text: &str) -> u64 {
    let expression_type = if is_tag_type(expression_type) { TAG } else { expression_type };
    let text = if text.is_empty() { ALL } else { text };
    // Without a random key: one history gives one outcome. Who finds equal hashes deceives its own group.
    let mut hasher = DefaultHasher::new();
    (topic, expression_type, text).hash(&mut hasher);
    hasher.finish()
}

/// The wishes of the members of one group.
#[derive(Debug, Default)]
pub(super) struct MemberWishes {
    by_member: BTreeMap<ConnectionId, Box<[u64]>>,
    /// How many members have each.
    counts: BTreeMap<u64, u32>,
}

impl MemberWishes {
    /// Bytes that those of a member take up.
    pub(super) fn bytes_of(&self, member: ConnectionId) -> usize {
        WISH_BYTES * self.by_member.get(&member).map_or(0, |wishes| wishes.len())
    }

    /// Bytes that they take up.
    pub(super) fn bytes(&self) -> usize {
        WISH_BYTES * self.by_member.values().map(|wishes| wishes.len()).sum::<usize>()
    }

    /// A member wants nothing any more, or something else, which is said next. Gives the bytes that are free.
    pub(super) fn remove(&mut self, member: ConnectionId) -> usize {
        let Some(wishes) = self.by_member.remove(&member) else { return 0 };
        for wish in &wishes {
            let count = self.counts.get_mut(wish).expect("what a member wants is counted");
            *count -= 1;
            if *count == 0 {
                self.counts.remove(wish);
            }
        }
        WISH_BYTES * wishes.len()
    }

    /// A member that has no wishes has these.
    pub(super) fn put(&mut self, member: ConnectionId, mut wishes: Vec<u64>) {
        // The same topic may be named more than once.
        wishes.sort_unstable();
        wishes.dedup();
        wishes.iter().for_each(|wish| *self.counts.entry(*wish).or_default() += 1);
        let before = match wishes.is_empty() {
            true => None,
            false => self.by_member.insert(member, wishes.into()),
        };
        assert!(before.is_none(), "its former wishes were taken out");
    }

    /// Whether what is published stays, although a member, whose own wishes are not here now, has this wish in this version.
    pub(super) fn keep(&self, published: &Subscription, sub_version: i64, wish: u64) -> bool {
        if sub_version > published.sub_version {
            return false;
        }
        let Subscription { topic, expression_type, sub_string, .. } = published;
        let known = wish_hash(topic, expression_type, sub_string);
        wish == known || self.counts.contains_key(&known)
    }

    /// Panics when a wish is not counted as often as it is there, or one is there of nobody.
    pub(super) fn check(&self, is_member: impl Fn(ConnectionId) -> bool) {
        let mut counts: BTreeMap<u64, u32> = BTreeMap::new();
        for (member, wishes) in &self.by_member {
            assert!(is_member(*member), "{member:?} has left");
            wishes.iter().for_each(|wish| *counts.entry(*wish).or_default() += 1);
        }
        assert_eq!(counts, self.counts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(expression_type: &str, text: &str) -> SubscriptionData {
        SubscriptionData {
            topic: "orders".to_owned(),
            expression_type: expression_type.to_owned(),
            sub_string: text.to_owned(),
            sub_version: 5,
            ..SubscriptionData::default()
        }
    }

    #[test]
    fn spellings_of_one_wish_are_one() {
        let wish = |expression_type, text| wish_of(&data(expression_type, text));
        assert_eq!(wish("", ""), wish("TAG", "*"));
        let others = [wish("TAG", "a"), wish("SQL92", "a"), wish("TAG", "*")];
        assert!(others[0] != others[1] && others[0] != others[2]);
        let elsewhere = SubscriptionData { topic: "u".to_owned(), ..data("TAG", "a") };
        assert_ne!(wish_of(&elsewhere), others[0]);
    }

    #[test]
    fn what_is_published_stays_before_an_older_version_while_somebody_wants_it() {
        let connection = |number| ConnectionId::new(0, 0, number);
        let (known, other) = (data("", "a"), wish_of(&data("", "b")));
        let published = Subscription::from_heartbeat(&known);
        let mut wishes = MemberWishes::default();
        wishes.put(connection(1), vec![wish_of(&known), wish_of(&known), 7]);
        wishes.put(connection(2), vec![wish_of(&known)]);
        wishes.put(connection(3), Vec::new());
        assert_eq!((wishes.bytes(), wishes.bytes_of(connection(1))), (3 * WISH_BYTES, 80));
        for (gone, kept) in [(3, true), (1, true), (2, false)] {
            wishes.remove(connection(gone));
            wishes.check(|member| member != connection(gone));
            assert_eq!(wishes.keep(&published, 5, other), kept, "{gone} has left");
            assert_eq!(wishes.keep(&published, 4, other), kept);
            assert!(!wishes.keep(&published, 6, other), "a newer version");
            assert!(wishes.keep(&published, 4, wish_of(&known)), "the same expression");
        }
        assert_eq!((wishes.bytes(), wishes.remove(connection(1))), (0, 0));
    }
}
