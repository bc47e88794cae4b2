//! A consumer on one broker: heartbeats, its share of the queues, a waiting pull on each of them, commits.
//!
//! One thread with one connection does all of it. Every 20 s, and when the broker says that members have changed, the queues
//! of all brokers are divided as Java's `AllocateMessageQueueAveragely` does, so that Java's consumers and ours may share a group.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use client::{
    Answer, ClientError, Connection, PullRequest, PullStatus, Received, ServerRequest, Ticket,
    pull::pulled,
};
use proto::{code::request, record};
use serde_json::{Value, json};

use super::{
    PAUSE_AFTER_FAILURE, ProgramError,
    cluster::Queue,
    consumer::{Consumer, From, Listener},
};

/// How often queues are divided anew without a reason.
const DIVIDE_EVERY: Duration = Duration::from_secs(20);
/// How often offsets are committed.
const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// How long a pull waits at the broker.
const PARK: Duration = Duration::from_secs(15);
/// How long we wait for any answer before we look at the clock.
const LOOK_AFTER: Duration = Duration::from_millis(100);
/// How long any other call may take.
const CALL: Duration = Duration::from_secs(10);
/// `QUERY_NOT_FOUND`: the group has no offset here.
const NO_OFFSET: i32 = 22;
/// `REQUEST_CODE_NOT_SUPPORTED`.
const NOT_SUPPORTED: i32 = 3;
/// A try more than these, and a message is dead; Java's default.
const TRIES_MAX: i32 = 16;

/// Where the group is on a queue.
#[derive(Debug)]
struct Progress {
    next: i64,
    committed: i64,
    pulling: bool,
    /// After a refused pull.
    not_before: Option<Instant>,
}

struct Member<'a> {
    consumer: &'a Consumer,
    broker: &'a str,
    connection: Connection,
    listener: &'a Listener,
    /// Version of the subscriptions: they never change.
    version: i64,
    queues: HashMap<(String, i32), Progress>,
    pulls: HashMap<Ticket, (String, i32)>,
}

/// Consumes until `stop`, or until the connection fails.
pub(super) fn run(
    consumer: &Consumer,
    broker: &str,
    connection: Connection,
    stop: &AtomicBool,
    listener: &Listener,
) -> Result<(), ProgramError> {
    let mut member = Member {
        consumer,
        broker,
        connection,
        listener,
        version: client::send::now_ms(),
        queues: HashMap::new(),
        pulls: HashMap::new(),
    };
    let (mut divided_at, mut committed_at): (Option<Instant>, _) = (None, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        if member.hear()? || divided_at.is_none_or(|at| at.elapsed() >= DIVIDE_EVERY) {
            member.divide()?;
            divided_at = Some(Instant::now());
        }
        if committed_at.elapsed() >= COMMIT_EVERY {
            member.commit()?;
            committed_at = Instant::now();
        }
        member.start_pulls()?;
        member.take_answer()?;
    }
    member.commit()?;
    Ok(member.connection.unregister(&consumer.client_id, None, Some(&consumer.group))?)
}

impl Member<'_> {
    /// Answers what the broker asks. True: members of the group have come or gone.
    fn hear(&mut self) -> Result<bool, ProgramError> {
        let mut changed = false;
        for asked in self.connection.take_server_requests() {
            match &asked {
                ServerRequest { code: request::NOTIFY_CONSUMER_IDS_CHANGED, .. } => changed = true,
                ServerRequest { oneway: true, .. } => {}
                asked => self.connection.answer(asked, NOT_SUPPORTED, &[], &[])?,
            }
        }
        Ok(changed)
    }

    /// Says that we are here, and takes and lets go of queues.
    fn divide(&mut self) -> Result<(), ProgramError> {
        let consumer = self.consumer;
        let body = self.heartbeat().to_string();
        self.connection.call(request::HEART_BEAT, &[], body.as_bytes())?.success()?;
        let mut members = match self.connection.consumer_ids(&consumer.group) {
            Ok(members) => members,
            Err(ClientError::Refused { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        members.sort_unstable();
        let mut ours = Vec::new();
        for topic in [consumer.topic.clone(), consumer.retry_topic()] {
            let Some(route) = consumer.servers.route(&topic)? else { continue };
            let share = share_of(&route.readable, &members, &consumer.client_id);
            let here = share.iter().filter(|queue| queue.broker == self.broker);
            ours.extend(here.map(|queue| (queue.topic.clone(), queue.id)));
        }
        let lost: Vec<_> = self.queues.keys().filter(|key| !ours.contains(key)).cloned().collect();
        for key in lost {
            self.commit_one(&key)?;
            self.queues.remove(&key);
        }
        for key in ours {
            if !self.queues.contains_key(&key) {
                let next = self.first_offset(&key)?;
                // Its commit stays away until something is consumed.
                let progress = Progress { next, committed: next, pulling: false, not_before: None };
                self.queues.insert(key, progress);
            }
        }
        Ok(())
    }

    fn heartbeat(&self) -> Value {
        let consumer = self.consumer;
        let retries = consumer.retry_topic();
        let wanted = [
            (consumer.topic.as_str(), consumer.expression_type, consumer.expression.as_str()),
            (retries.as_str(), "TAG", "*"),
        ];
        let subscriptions: Vec<Value> = wanted
            .iter()
            .map(|(topic, kind, expression)| {
                let tags = tags_of(kind, expression);
                let codes: Vec<i32> = tags.iter().map(|tag| record::string_hash(tag)).collect();
                json!({
                    "classFilterMode": false,
                    "codeSet": codes,
                    "expressionType": kind,
                    "subString": expression,
                    "subVersion": self.version,
                    "tagsSet": tags,
                    "topic": topic,
                })
            })
            .collect();
        let from = match consumer.from {
            From::First => "CONSUME_FROM_FIRST_OFFSET",
            From::Last => "CONSUME_FROM_LAST_OFFSET",
        };
        json!({
            "clientID": consumer.client_id,
            "consumerDataSet": [{
                "consumeFromWhere": from,
                "consumeType": "CONSUME_PASSIVELY",
                "groupName": consumer.group,
                "messageModel": "CLUSTERING",
                "subscriptionDataSet": subscriptions,
                "unitMode": false,
            }],
            "producerDataSet": [],
        })
    }

    fn first_offset(&mut self, (topic, id): &(String, i32)) -> Result<i64, ProgramError> {
        match self.connection.consumer_offset(&self.consumer.group, topic, *id) {
            Ok(offset) if offset >= 0 => return Ok(offset),
            Ok(_) | Err(ClientError::Refused { code: NO_OFFSET, .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let is_retries = *topic != self.consumer.topic;
        Ok(match self.consumer.from {
            From::Last if !is_retries => self.connection.max_offset(topic, *id)?,
            _ => self.connection.min_offset(topic, *id)?,
        })
    }

    fn commit(&mut self) -> Result<(), ProgramError> {
        let keys: Vec<_> = self.queues.keys().cloned().collect();
        keys.iter().try_for_each(|key| self.commit_one(key))
    }

    fn commit_one(&mut self, key: &(String, i32)) -> Result<(), ProgramError> {
        let Some(progress) = self.queues.get_mut(key) else { return Ok(()) };
        if progress.next != progress.committed {
            let (topic, id) = key;
            let group = &self.consumer.group;
            self.connection.commit_offset_oneway(group, topic, *id, progress.next)?;
            progress.committed = progress.next;
        }
        Ok(())
    }

    fn start_pulls(&mut self) -> Result<(), ProgramError> {
        let now = Instant::now();
        let consumer = self.consumer;
        for (key, progress) in &mut self.queues {
            if progress.pulling || progress.not_before.is_some_and(|at| now < at) {
                continue;
            }
            let (topic, id) = key;
            let mut pull =
                PullRequest::new(&consumer.group, topic, *id, progress.next).parked(PARK);
            if *topic == consumer.topic {
                pull.subscription = Some(&consumer.expression);
                pull.expression_type = consumer.expression_type;
            }
            pull.sub_version = self.version;
            let ticket = self.connection.start_pull(&pull)?;
            progress.pulling = true;
            self.pulls.insert(ticket, key.clone());
        }
        Ok(())
    }

    /// Takes one answer to a pull, or none when there is none for a while.
    fn take_answer(&mut self) -> Result<(), ProgramError> {
        self.connection.set_timeout(LOOK_AFTER);
        let answered = self.connection.finish_any();
        self.connection.set_timeout(CALL);
        match answered {
            Err(ClientError::Timeout(_)) => Ok(()),
            Err(error) => Err(error.into()),
            Ok((ticket, answer)) => match self.pulls.remove(&ticket) {
                Some(key) => self.take_pulled(&key, answer),
                None => Ok(()),
            },
        }
    }

    fn take_pulled(&mut self, key: &(String, i32), answer: Answer) -> Result<(), ProgramError> {
        // Somebody else's by now, and what came for it is theirs.
        let Some(progress) = self.queues.get_mut(key) else { return Ok(()) };
        progress.pulling = false;
        let found = match pulled(answer) {
            Ok(found) => found,
            Err(ClientError::Refused { code, remark }) => {
                eprintln!("mqbench: {}, queue {}: code {code}: {remark}", key.0, key.1);
                progress.not_before = Some(Instant::now() + PAUSE_AFTER_FAILURE);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        progress.next = found.next_offset;
        if found.status == PullStatus::Found {
            for message in &found.messages {
                if !(self.listener)(self.broker, message) {
                    self.send_back(message)?;
                }
            }
        }
        Ok(())
    }

    /// CONSUMER_SEND_MSG_BACK (36): the message comes again after a while.
    fn send_back(&mut self, message: &Received) -> Result<(), ProgramError> {
        let id = message.message_id();
        let origin = message.property("RETRY_TOPIC").unwrap_or(&message.topic);
        let ext = [
            ("offset", message.physical_offset.into()),
            ("group", self.consumer.group.as_str().into()),
            ("delayLevel", 0.into()),
            ("originMsgId", id.as_str().into()),
            ("originTopic", origin.into()),
            ("unitMode", false.into()),
            ("maxReconsumeTimes", TRIES_MAX.into()),
        ];
        self.connection.call(request::CONSUMER_SEND_MSG_BACK, &ext, &[])?.success()?;
        Ok(())
    }
}

fn tags_of<'a>(kind: &str, expression: &'a str) -> Vec<&'a str> {
    if kind != "TAG" || expression == "*" {
        return Vec::new();
    }
    expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()).collect()
}

/// Queues that a member gets: as many as the others, or one more for the first ones; they lie side by side. Both lists are
/// sorted, as every member sorts them.
fn share_of<'a>(queues: &'a [Queue], members: &[String], own: &str) -> &'a [Queue] {
    let Some(index) = members.iter().position(|id| id == own) else { return &[] };
    let (least, larger) = (queues.len() / members.len(), queues.len() % members.len());
    let start = index * least + index.min(larger);
    let count = least + usize::from(index < larger);
    &queues[start..start + count]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(count: i32) -> Vec<Queue> {
        let queue = |id| Queue {
            topic: "t".into(),
            broker: "broker-a".into(),
            id,
            addr: "127.0.0.1:1".into(),
        };
        (0..count).map(queue).collect()
    }

    /// As `AllocateMessageQueueAveragely` divides them.
    #[test]
    fn queues_are_divided_as_javas_members_divide_them() {
        let members: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let ids = |count: i32, own: &str| -> Vec<i32> {
            share_of(&queues(count), &members, own).iter().map(|queue| queue.id).collect()
        };
        assert_eq!(
            (ids(8, "a"), ids(8, "b"), ids(8, "c")),
            (vec![0, 1, 2], vec![3, 4, 5], vec![6, 7])
        );
        assert_eq!((ids(2, "a"), ids(2, "b"), ids(2, "c")), (vec![0], vec![1], vec![]));
        assert_eq!((ids(0, "a"), ids(4, "nobody")), (vec![], vec![]));
    }

    #[test]
    fn tags_are_those_of_an_expression_of_tags() {
        assert_eq!(tags_of("TAG", "TagA || TagB|| "), ["TagA", "TagB"]);
        assert!(tags_of("TAG", "*").is_empty() && tags_of("SQL92", "a > 1").is_empty());
    }
}
