//! Queues of topics in the whole cluster, as consumers see them: what name servers say, asked for when somebody wants to
//! know, and believed for a while. On the control worker, which divides them among the members of groups
//! (`handlers::assignment`).
//!
//! What always holds: one question about a topic is under way at a time, and who wants to know meanwhile hears the same
//! answer. While no name server answers, what was said last goes on to count. What is remembered is bounded: who ends up
//! outside is asked for each time. Source: Apache RocketMQ 5.3.3, `TopicRouteInfoManager`.

use crate::{
    control::{QUEUES_MAX, is_readable},
    one_shot::OneShot,
    registration::{Registrar, RouteAnswer},
};
use proto::body::RouteData;
use runtime::{Millis, Uptime};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How long name servers may take. Clients wait three seconds for the answer that needs theirs.
const PATIENCE_MS: Millis = 2_000;
/// How long they are not asked again about a topic that they do not know: it may just have been created.
const UNKNOWN_MS: Millis = 1_000;
/// The same when none of them has answered.
const SILENCE_MS: Millis = 5_000;
/// What all that is remembered may take up: some 1,500 topics on two brokers.
const BYTES_MAX: usize = 512 * 1024;
/// What a topic may take up of that: it is on a thousand brokers. One on more is asked for each time.
const TOPIC_BYTES_MAX: usize = BYTES_MAX / 8;
/// Of a topic, its name aside, which stands there twice.
const TOPIC_BYTES: usize = 192;
/// Of a broker that has queues of it, its name aside.
const BROKER_BYTES: usize = 40;

/// The queues of a topic that consumers see: by broker, in the order of their names, from number 0 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicQueues {
    brokers: Arc<[(Box<str>, i32)]>,
}

impl TopicQueues {
    /// Those in a route. A broker that may not be read has none.
    pub fn in_route(route: &RouteData) -> TopicQueues {
        let mut brokers: BTreeMap<&str, i32> = BTreeMap::new();
        for queues in route.queue_datas.iter().filter(|queues| is_readable(queues.perm)) {
            let count = brokers.entry(&queues.broker_name).or_default();
            *count = queues.read_queue_nums.max(*count);
        }
        TopicQueues::of(brokers)
    }

    /// So many on one broker.
    pub fn on_broker(name: &str, count: i32) -> TopicQueues {
        TopicQueues::of([(name, count)])
    }

    fn of<'a>(brokers: impl IntoIterator<Item = (&'a str, i32)>) -> TopicQueues {
        let brokers = brokers.into_iter().filter(|(_, count)| *count > 0);
        let brokers = brokers.map(|(name, count)| (Box::<str>::from(name), count.min(QUEUES_MAX)));
        TopicQueues { brokers: brokers.collect() }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.brokers.iter().map(|(_, count)| usize::try_from(*count).unwrap_or(0)).sum()
    }

    /// Names of the brokers that have some.
    pub fn brokers(&self) -> impl Iterator<Item = &str> {
        self.brokers.iter().map(|(name, _)| &**name)
    }

    /// All: broker and number.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i32)> {
        self.brokers.iter().flat_map(|(name, count)| (0..*count).map(move |id| (&**name, id)))
    }

    fn bytes(&self) -> usize {
        self.brokers().map(|name| BROKER_BYTES + name.len()).sum()
    }
}

/// What is known of a topic's queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// These they are.
    Queues(TopicQueues),
    /// No name server knows the topic.
    Unknown,
    /// No name server has answered, and none has before.
    Silence,
}

/// What name servers say of topics' queues.
#[derive(Default)]
pub struct ClusterQueues {
    remembered: RefCell<Remembered>,
    /// Topics that are being asked for, with those who wait for the answer besides.
    asked: RefCell<BTreeMap<Box<str>, Vec<OneShot<Found>>>>,
}

impl ClusterQueues {
    /// What is known of a topic's queues, or what name servers say now. It is believed for `belief_ms`.
    pub async fn find(&self, registrar: &Registrar, topic: &str, belief_ms: Millis) -> Found {
        let known = self.remembered.borrow().get(topic, Uptime::now());
        if let Some(found) = known {
            return found;
        }
        if let Some(others) = self.join(topic) {
            return others.wait().await;
        }
        let answer = registrar.route(topic, PATIENCE_MS).await;
        let found = self.remembered.borrow_mut().note(topic, answer, Uptime::now(), belief_ms);
        let waiting = self.asked.borrow_mut().remove(topic).unwrap_or_default();
        waiting.into_iter().for_each(|waiting| waiting.set(found.clone()));
        found
    }

    /// What others hear who ask for this topic already. `None`: now it is being asked for by the caller.
    fn join(&self, topic: &str) -> Option<OneShot<Found>> {
        let mut asked = self.asked.borrow_mut();
        match asked.get_mut(topic) {
            Some(waiting) => {
                let answer = OneShot::default();
                waiting.push(answer.clone());
                Some(answer)
            }
            None => {
                asked.insert(topic.into(), Vec::new());
                None
            }
        }
    }
}

/// What name servers have said, as long as there is room.
#[derive(Default)]
struct Remembered {
    topics: BTreeMap<Arc<str>, Known>,
    by_end: BTreeSet<(Uptime, Arc<str>)>,
    bytes: usize,
}

struct Known {
    found: Found,
    /// Then name servers are asked again.
    until: Uptime,
}

impl Remembered {
    /// What need not be asked for.
    fn get(&self, topic: &str, now: Uptime) -> Option<Found> {
        let known = self.topics.get(topic)?;
        (known.until > now).then(|| known.found.clone())
    }

    /// Name servers have answered, or have not. Returns what counts now.
    fn note(&mut self, topic: &str, answer: RouteAnswer, now: Uptime, belief_ms: Millis) -> Found {
        let before = self.remove(topic);
        let (found, ms) = match (answer, before) {
            (RouteAnswer::Known(route), _) => {
                (Found::Queues(TopicQueues::in_route(&route)), belief_ms)
            }
            (RouteAnswer::Unknown, _) => (Found::Unknown, UNKNOWN_MS),
            (RouteAnswer::Silence, Some(Found::Queues(queues))) => {
                (Found::Queues(queues), SILENCE_MS)
            }
            (RouteAnswer::Silence, _) => (Found::Silence, SILENCE_MS),
        };
        let bytes = bytes_of(topic, &found);
        if bytes > TOPIC_BYTES_MAX {
            return found;
        }
        self.bytes += bytes;
        let (topic, until) = (Arc::<str>::from(topic), now + ms);
        self.by_end.insert((until, Arc::clone(&topic)));
        self.topics.insert(topic, Known { found: found.clone(), until });
        while self.bytes > BYTES_MAX
            && let Some((_, first)) = self.by_end.first()
        {
            let first = Arc::clone(first);
            self.remove(&first);
        }
        found
    }

    fn remove(&mut self, topic: &str) -> Option<Found> {
        let (topic, Known { found, until }) = self.topics.remove_entry(topic)?;
        self.bytes -= bytes_of(&topic, &found);
        let listed = self.by_end.remove(&(until, topic));
        assert!(listed, "what is remembered has an end");
        Some(found)
    }
}

fn bytes_of(topic: &str, found: &Found) -> usize {
    let queues = match found {
        Found::Queues(queues) => queues.bytes(),
        Found::Unknown | Found::Silence => 0,
    };
    TOPIC_BYTES + 2 * topic.len() + queues
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::body::QueueData;

    const BELIEF_MS: Millis = 30_000;

    fn at(ms: Millis) -> Uptime {
        Uptime::from_ms(ms)
    }

    /// A route with queues that consumers see, by broker, and permissions.
    fn route(brokers: &[(&str, i32, i32)]) -> RouteData {
        let queues = brokers.iter().map(|(broker_name, read_queue_nums, perm)| QueueData {
            broker_name: (*broker_name).to_owned(),
            read_queue_nums: *read_queue_nums,
            perm: *perm,
            ..QueueData::default()
        });
        RouteData { queue_datas: queues.collect(), ..RouteData::default() }
    }

    fn known(count: i32) -> RouteAnswer {
        RouteAnswer::Known(route(&[("b", count, 6)]))
    }

    fn found(count: i32) -> Found {
        Found::Queues(TopicQueues::on_broker("b", count))
    }

    #[test]
    fn queues_are_in_the_order_of_their_brokers_and_only_where_one_may_read() {
        let queues = TopicQueues::in_route(&route(&[
            ("b-b", 2, 6),
            ("b-c", 9, 2),
            ("b-a", 1, 4),
            ("b-d", 0, 6),
            ("b-a", 3, 6),
        ]));
        let all: Vec<(&str, i32)> = queues.iter().collect();
        assert_eq!(all, [("b-a", 0), ("b-a", 1), ("b-a", 2), ("b-b", 0), ("b-b", 1)]);
        assert_eq!(queues.count(), 5);
        assert_eq!(queues.brokers().collect::<Vec<_>>(), ["b-a", "b-b"]);
        let none = TopicQueues::in_route(&route(&[]));
        assert_eq!((none.count(), none.brokers().count()), (0, 0));
        let many = TopicQueues::on_broker("b", i32::MAX);
        assert_eq!(many.count(), usize::try_from(QUEUES_MAX).expect("positive"));
        assert_eq!(TopicQueues::on_broker("b", -1).count(), 0);
    }

    #[test]
    fn what_was_said_is_believed_for_a_while() {
        let mut remembered = Remembered::default();
        assert_eq!(remembered.get("t", at(0)), None);
        assert_eq!(remembered.note("t", known(4), at(0), BELIEF_MS), found(4));
        assert_eq!(remembered.get("t", at(29_999)), Some(found(4)));
        assert_eq!(remembered.get("t", at(30_000)), None);
        assert_eq!(remembered.note("t", known(8), at(30_000), BELIEF_MS), found(8));
        assert_eq!(
            remembered.note("u", RouteAnswer::Unknown, at(30_000), BELIEF_MS),
            Found::Unknown
        );
        assert_eq!(remembered.get("u", at(30_999)), Some(Found::Unknown));
        assert_eq!(remembered.get("u", at(31_000)), None);
        assert_eq!(remembered.get("t", at(59_999)), Some(found(8)));
    }

    #[test]
    fn while_nobody_answers_the_last_answer_counts() {
        let mut remembered = Remembered::default();
        let mut silence = |topic: &str, ms| {
            let said = remembered.note(topic, RouteAnswer::Silence, at(ms), BELIEF_MS);
            assert_eq!(remembered.get(topic, at(ms + 4_999)), Some(said.clone()));
            assert_eq!(remembered.get(topic, at(ms + 5_000)), None);
            said
        };
        assert_eq!(silence("t", 0), Found::Silence);
        remembered.note("t", known(4), at(5_000), BELIEF_MS);
        let mut silence =
            |topic: &str, ms| remembered.note(topic, RouteAnswer::Silence, at(ms), BELIEF_MS);
        assert_eq!(silence("t", 35_000), found(4));
        assert_eq!(silence("t", 100_000), found(4));
        remembered.note("t", RouteAnswer::Unknown, at(200_000), BELIEF_MS);
        assert_eq!(
            remembered.note("t", RouteAnswer::Silence, at(201_000), BELIEF_MS),
            Found::Silence,
            "what nobody knew says nothing"
        );
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
        let mut remembered = Remembered::default();
        for number in 0..10_000 {
            remembered.note(&format!("t{number}"), known(4), at(number), BELIEF_MS);
            assert!(remembered.bytes <= BYTES_MAX);
        }
        assert!(remembered.topics.len() > 1_000 && remembered.topics.len() < 10_000);
        assert_eq!(remembered.get("t0", at(10_000)), None);
        assert_eq!(remembered.get("t9999", at(10_000)), Some(found(4)));
        let bytes = remembered.topics.iter().map(|(topic, known)| bytes_of(topic, &known.found));
        assert_eq!(remembered.bytes, bytes.sum::<usize>());
        assert_eq!(remembered.by_end.len(), remembered.topics.len());
        let names: Vec<String> = (0..20_000).map(|number| format!("broker-{number}")).collect();
        let brokers: Vec<_> = names.iter().map(|name| (name.as_str(), 1, 6)).collect();
        let before = remembered.topics.len();
        let answer = RouteAnswer::Known(route(&brokers));
        let wide = remembered.note("wide", answer, at(10_000), BELIEF_MS);
        assert!(matches!(wide, Found::Queues(queues) if queues.count() == 20_000));
        assert_eq!(remembered.get("wide", at(10_000)), None, "it would take the others' room");
        assert_eq!(remembered.topics.len(), before);
    }
}
