//! Requests that this process sends to its peers, and what goes on when the response comes: by opaque and deadline.
//!
//! Pure: the caller writes the request, hands in responses, looks at the clock and says when a connection is gone. Each
//! continuation leaves exactly once: with its response, at its deadline, or with its connection. The table is bounded: a
//! peer that never answers holds a place until the deadline, and a full table refuses.

use runtime::Uptime;
use std::collections::{BTreeMap, BTreeSet};

/// A call that waits for its response.
struct Call<K, T> {
    connection: K,
    deadline: Uptime,
    continuation: T,
}

/// Calls in flight. `K` names a connection, `T` is what the caller keeps until the response comes.
pub struct Calls<K, T> {
    calls: BTreeMap<i32, Call<K, T>>,
    by_deadline: BTreeSet<(Uptime, i32)>,
    next_opaque: i32,
    in_flight_max: usize,
}

impl<K: Copy + Eq, T> Calls<K, T> {
    /// An empty table for at most `in_flight_max` calls at once.
    pub fn new(in_flight_max: usize) -> Calls<K, T> {
        Calls {
            calls: BTreeMap::new(),
            by_deadline: BTreeSet::new(),
            next_opaque: 0,
            in_flight_max,
        }
    }

    /// Takes a call in and returns the opaque that its request has to carry. `Err`: the table is full, and the
    /// continuation is given back.
    pub fn insert(&mut self, connection: K, deadline: Uptime, continuation: T) -> Result<i32, T> {
        if self.calls.len() >= self.in_flight_max {
            return Err(continuation);
        }
        // Opaques come round after 2^32 calls; one that is still in flight is passed over.
        while self.calls.contains_key(&self.next_opaque) {
            self.next_opaque = self.next_opaque.wrapping_add(1);
        }
        let opaque = self.next_opaque;
        self.next_opaque = opaque.wrapping_add(1);
        self.calls.insert(opaque, Call { connection, deadline, continuation });
        self.by_deadline.insert((deadline, opaque));
        Ok(opaque)
    }

    /// A response with this opaque came over `connection`. `None`: nobody waits for it there (any more).
    pub fn complete(&mut self, connection: K, opaque: i32) -> Option<T> {
        if self.calls.get(&opaque)?.connection != connection {
            return None;
        }
        self.remove(opaque)
    }

    /// Ends the calls whose deadline is `now` or earlier, in the order of their deadlines.
    pub fn expire(&mut self, now: Uptime) -> Vec<T> {
        let mut expired = Vec::new();
        while let Some((deadline, opaque)) = self.by_deadline.first().copied()
            && deadline <= now
        {
            expired.extend(self.remove(opaque));
        }
        expired
    }

    /// Ends the calls of a connection that is gone, in the order of their opaques.
    pub fn drop_connection(&mut self, connection: K) -> Vec<T> {
        let of_connection = |(opaque, call): (&i32, &Call<K, T>)| {
            (call.connection == connection).then_some(*opaque)
        };
        let gone: Vec<i32> = self.calls.iter().filter_map(of_connection).collect();
        gone.into_iter().filter_map(|opaque| self.remove(opaque)).collect()
    }

    /// Calls that wait for their response.
    pub fn in_flight(&self) -> usize {
        self.calls.len()
    }

    fn remove(&mut self, opaque: i32) -> Option<T> {
        let call = self.calls.remove(&opaque)?;
        let listed = self.by_deadline.remove(&(call.deadline, opaque));
        assert!(listed, "a call in flight has its deadline listed");
        assert_eq!(self.calls.len(), self.by_deadline.len());
        Some(call.continuation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Uptime {
        Uptime::from_ms(ms)
    }

    #[test]
    fn a_continuation_leaves_once_with_its_response() {
        let mut calls = Calls::new(10);
        let first = calls.insert(1, at(100), "first").unwrap();
        let second = calls.insert(1, at(100), "second").unwrap();
        assert_ne!(first, second);
        assert_eq!(calls.complete(1, second), Some("second"));
        assert_eq!(calls.complete(1, second), None, "a response that comes twice");
        assert_eq!(calls.complete(2, first), None, "another connection cannot answer");
        assert_eq!(calls.complete(1, first), Some("first"));
        assert!(calls.expire(at(1_000)).is_empty());
        assert_eq!(calls.in_flight(), 0);
    }

    #[test]
    fn deadlines_end_calls_in_their_order() {
        let mut calls = Calls::new(10);
        for (deadline, name) in [(30, "c"), (10, "a"), (20, "b"), (40, "d")] {
            calls.insert(7, at(deadline), name).unwrap();
        }
        assert!(calls.expire(at(9)).is_empty());
        assert_eq!(calls.expire(at(30)), ["a", "b", "c"]);
        assert_eq!(calls.in_flight(), 1);
    }

    #[test]
    fn a_lost_connection_ends_its_calls_only() {
        let mut calls = Calls::new(10);
        calls.insert(1, at(10), "one").unwrap();
        let other = calls.insert(2, at(10), "two").unwrap();
        calls.insert(1, at(5), "three").unwrap();
        assert_eq!(calls.drop_connection(1), ["one", "three"]);
        assert!(calls.drop_connection(1).is_empty());
        assert_eq!(calls.complete(2, other), Some("two"));
        assert!(calls.expire(Uptime::MAX).is_empty());
    }

    #[test]
    fn a_full_table_gives_the_continuation_back() {
        let mut calls = Calls::new(2);
        calls.insert(1, at(10), "a").unwrap();
        calls.insert(1, at(10), "b").unwrap();
        assert_eq!(calls.insert(1, at(10), "c"), Err("c"));
        assert_eq!(calls.expire(at(10)).len(), 2);
        assert!(calls.insert(1, at(20), "c").is_ok());
    }

    #[test]
    fn opaques_come_round_without_meeting_one_in_flight() {
        let mut calls = Calls::new(10);
        calls.next_opaque = i32::MAX;
        assert_eq!(calls.insert(1, at(10), "last"), Ok(i32::MAX));
        assert_eq!(calls.insert(1, at(10), "first"), Ok(i32::MIN));
        calls.next_opaque = i32::MAX;
        assert_eq!(calls.insert(1, at(10), "passes over two"), Ok(i32::MIN + 1));
    }
}
