//! A push consumer as Java's: a member of its group on every broker of the topic, which shares the queues with the others.
//!
//! Here is what a consumer is and how its members are started; what a member does on one broker is in `member`.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use client::{Connection, Received};

use super::{PAUSE_AFTER_FAILURE, ProgramError, cluster::NameServers, cluster::resolve, member};

/// How often the brokers of the topic are looked up.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// The same while there is none: somebody may create the topic.
const LOOK_SOON: Duration = Duration::from_secs(1);
/// How soon a signal is noticed.
const NOTICE: Duration = Duration::from_millis(50);

/// Where a group begins on a queue of which it has no offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With the first message (`CONSUME_FROM_FIRST_OFFSET`).
    First,
    /// With the next one (`CONSUME_FROM_LAST_OFFSET`).
    Last,
}

/// What a consumer reads.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Who knows the brokers.
    pub servers: NameServers,
    /// Its group.
    pub group: String,
    /// Its topic.
    pub topic: String,
    /// `TAG` or `SQL92`.
    pub expression_type: &'static str,
    /// What it wants of the topic; `*` is all.
    pub expression: String,
    /// Where the group begins.
    pub from: From,
    /// Who it is, unlike all other members of the group.
    pub client_id: String,
}

/// Gets each message with the name of its broker; false: it shall come again later.
pub type Listener = dyn Fn(&str, &Received) -> bool + Send + Sync;

impl Consumer {
    /// A consumer of all messages of a topic, with a client id of its own.
    pub fn new(servers: NameServers, group: &str, topic: &str, from: From) -> Consumer {
        Consumer {
            servers,
            group: group.to_owned(),
            topic: topic.to_owned(),
            expression_type: "TAG",
            expression: "*".to_owned(),
            from,
            client_id: format!("{}@{:08x}", std::process::id(), fastrand::u32(..)),
        }
    }

    /// The topic of what its group failed.
    pub fn retry_topic(&self) -> String {
        format!("%RETRY%{}", self.group)
    }

    /// Consumes until `stop`. What goes wrong is told on standard error, and tried again.
    pub fn run(self, stop: &Arc<AtomicBool>, listener: Arc<Listener>) -> Result<(), ProgramError> {
        let consumer = Arc::new(self);
        let mut members = Vec::new();
        let mut known = HashSet::new();
        let mut looked_at: Option<Instant> = None;
        while !stop.load(Ordering::Relaxed) {
            let pause = if known.is_empty() { LOOK_SOON } else { LOOK_EVERY };
            if looked_at.is_none_or(|at| at.elapsed() > pause) {
                // At the first look an address that nobody answers at is the user's mistake.
                let found = consumer.brokers();
                let found = if looked_at.is_none() { found? } else { found.unwrap_or_default() };
                looked_at = Some(Instant::now());
                for (broker, addr) in found {
                    if known.insert((broker.clone(), addr.clone())) {
                        let (consumer, stop) = (Arc::clone(&consumer), Arc::clone(stop));
                        let listener = Arc::clone(&listener);
                        members.push(thread::spawn(move || {
                            consumer.stay(&broker, &addr, &stop, &*listener);
                        }));
                    }
                }
            }
            thread::sleep(NOTICE);
        }
        for member in members {
            // A panic was told when it happened.
            let _ = member.join();
        }
        Ok(())
    }

    /// Brokers of the topic, by name and address. None: nobody has it yet.
    fn brokers(&self) -> Result<HashSet<(String, String)>, ProgramError> {
        let route = self.servers.route(&self.topic)?.unwrap_or_default();
        Ok(route.readable.into_iter().map(|queue| (queue.broker, queue.addr)).collect())
    }

    /// A member on one broker, again and again until `stop`.
    fn stay(&self, broker: &str, addr: &str, stop: &AtomicBool, listener: &Listener) {
        while !stop.load(Ordering::Relaxed) {
            let outcome = resolve(addr).and_then(|addr| {
                let connection = Connection::connect(addr)?;
                member::run(self, broker, connection, stop, listener)
            });
            let Err(error) = outcome else { return };
            eprintln!("mqbench: {broker} ({addr}): {error}");
            let until = Instant::now() + PAUSE_AFTER_FAILURE;
            while !stop.load(Ordering::Relaxed) && Instant::now() < until {
                thread::sleep(NOTICE);
            }
        }
    }
}
