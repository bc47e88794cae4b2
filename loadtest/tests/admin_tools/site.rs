//! One side of the comparison: a broker with what the commands are about, and where their output goes.
//!
//! `tools-topic` has three messages in queue 0 and one in queue 1. `tools-group` has consumed them all and is online, with a
//! producer of the same name. `tools-offline` was online, and has consumed one message of queue 0. `tools-copy` has nothing.

use super::lines;
use client::{Connection, Heartbeat, Message, Subscription};
use loadtest::harness::{Peer, Side, mqadmin::Mqadmin, wait_until};
use std::{fs, time::Duration};
use tempfile::TempDir;

const TOPIC: &str = "tools-topic";
const GROUP: &str = "tools-group";
const OFFLINE: &str = "tools-offline";
const COPY: &str = "tools-copy";
/// Messages in each queue.
const MESSAGES: [i64; 2] = [3, 1];
/// How long anything may take on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Unique id of the first message, as a client makes it: address, process and class, then the time in the month, then a number.
const UNIQUE: &str = "0A000001000122222222000000000001";
/// Those of the messages that are traced.
const TRACED: [&str; 2] = ["0A000001000133333333000000000001", "0A000001000133333333000000000002"];

/// One side.
pub(crate) struct Site {
    peer: Peer,
    dir: TempDir,
    /// Id of the first message, with its place in the log.
    offset_id: String,
}

impl Site {
    pub(crate) fn new(peer: Peer) -> Site {
        let dir = tempfile::tempdir().expect("a directory");
        Site { peer, dir, offset_id: String::new() }
    }

    /// For messages of failed tests.
    pub(crate) fn name(&self) -> &'static str {
        if self.peer.side == Side::Ours { "ours" } else { "Java's" }
    }

    /// Makes what the commands are about.
    pub(crate) fn prepare(&mut self, mqadmin: &mut Mqadmin) {
        self.peer.create_topic(TOPIC, 2);
        let mut broker = self.peer.connect_broker();
        for group in [GROUP, OFFLINE, COPY] {
            broker.create_group(group).expect("a group");
        }
        for (queue, count) in MESSAGES.into_iter().enumerate() {
            for number in 0..count {
                let unique = format!("{}{:X}", &UNIQUE[..31], queue as i64 * 3 + number + 1);
                let properties = [("UNIQ_KEY", &*unique), ("KEYS", "tools-key"), ("TAGS", "red")];
                let queue = i32::try_from(queue).expect("two of them");
                let message = Message::new(TOPIC, queue, b"hello").with_properties(&properties);
                let sent = broker.send(&message).expect("it is sent");
                if unique == UNIQUE {
                    self.offset_id = sent.message_id;
                }
            }
        }
        for group in [GROUP, OFFLINE] {
            be_online_once(&mut broker, group);
        }
        broker.commit_offset(OFFLINE, TOPIC, 0, 1).expect("it is kept");
        broker.commit_offset(OFFLINE, TOPIC, 1, 0).expect("it is kept");
        // Where a group begins that has committed nothing is another place in each release.
        broker.commit_offset(GROUP, &format!("%RETRY%{GROUP}"), 0, 0).expect("it is kept");
        let stay = ["verb", "stay", "<ns>", TOPIC, GROUP, "<name>"].map(str::to_owned);
        self.play(mqadmin, &stay);
        let consumed = wait_until(WAIT_MAX, || {
            (0..2).all(|queue| {
                let committed = broker.consumer_offset(GROUP, TOPIC, queue as i32);
                committed.is_ok_and(|offset| offset == MESSAGES[queue])
            })
        });
        assert!(consumed, "{}: the messages were not consumed", self.name());
    }

    /// What is printed for a command line, made comparable. `show FILE` and `write FILE TEXT` are of this program.
    pub(crate) fn play(&self, mqadmin: &mut Mqadmin, words: &[String]) -> Vec<String> {
        let filled: Vec<String> = words.iter().map(|word| self.fill(word)).collect();
        let words: Vec<&str> = filled.iter().map(String::as_str).collect();
        let output = match words[..] {
            ["write", file, text] => {
                fs::write(file, text).unwrap_or_else(|error| panic!("{file}: {error}"));
                String::new()
            }
            ["show", file] => fs::read_to_string(file).unwrap_or_else(|error| error.to_string()),
            ["verb", ..] => mqadmin.run(&words),
            ["endless", command, ..] => mqadmin
                .run(&[&["endless", command, "-n", &self.peer.namesrv_addr], &words[2..]].concat()),
            [command, ..] => {
                mqadmin.run(&[&[command, "-n", &self.peer.namesrv_addr], &words[1..]].concat())
            }
            [] => panic!("a step without words"),
        };
        lines::comparable(&output, &self.names())
    }

    /// A word of the table with what stands there on this side.
    fn fill(&self, word: &str) -> String {
        let names = self.names().into_iter().filter(|(_, name)| word.contains(name));
        names.fold(word.to_owned(), |word, (text, name)| word.replace(name, &text))
    }

    /// What has another value on each side, and its name in the table.
    fn names(&self) -> Vec<(String, &'static str)> {
        let mut vip = self.peer.broker_addr;
        vip.set_port(vip.port() - 2);
        vec![
            (self.peer.broker_addr.to_string(), "<b>"),
            (vip.to_string(), "<vip>"),
            (self.peer.namesrv_addr.clone(), "<ns>"),
            (self.dir.path().display().to_string(), "<dir>"),
            (format!("client-{}", self.peer.broker_addr.port()), "<name>"),
            (self.offset_id.clone(), "<id>"),
            (UNIQUE.to_owned(), "<unique>"),
            (TRACED[0].to_owned(), "<traced>"),
            (TRACED[1].to_owned(), "<traced-own>"),
        ]
    }
}

/// A member that comes and goes leaves the topic of the group's retries.
fn be_online_once(broker: &mut Connection, group: &str) {
    let subscriptions = [Subscription { topic: TOPIC, expression: "*", version: 1 }];
    let member = Heartbeat {
        client_id: "127.0.0.1@offline",
        consumer_group: Some(group),
        subscriptions: &subscriptions,
        producer_group: None,
    };
    broker.heartbeat(&member).expect("it is taken");
    broker.unregister(member.client_id, None, Some(group)).expect("it leaves");
}
