//! One side of a case: sends what its script says to one broker and writes down what came back.

use super::{
    ask::{Ask, Names},
    normal::Normal,
    state,
};
use client::{Answer, ClientError, Connection, NewTopic, PullRequest, Ticket};
use loadtest::harness::{self, Peer, Side, wait_until};
use proto::{
    code::{request, response},
    command::Language,
    frame::HeaderKind,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Steps with what came of them, in order.
pub(crate) type Transcript = Vec<(String, Value)>;

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// What may not come at all gets this long.
const BRIEFLY: Duration = Duration::from_secs(3);
/// How long something that is promised may take.
const COMING_MAX: Duration = Duration::from_secs(12);
/// Between two looks at a queue: what is awaited mostly comes within a millisecond.
const PAUSE: Duration = Duration::from_millis(2);
/// What Java's broker does behind an answer is done by then.
const MOMENT: Duration = Duration::from_millis(200);
/// Code of an answer that did not come.
pub(crate) const NO_ANSWER: i32 = i32::MIN;

/// One side of a case.
pub(crate) struct Play {
    /// Whose broker ours is compared with.
    against: Side,
    addr: SocketAddr,
    namesrv_addr: SocketAddr,
    broker: Connection,
    names: Names,
    topics: BTreeSet<String>,
    groups: BTreeSet<String>,
    normal: Normal,
    transcript: Transcript,
}

impl Play {
    /// A side that has done nothing yet. Names end with the suffix.
    pub(crate) fn new(peer: &'static Peer, against: Side, suffix: &str) -> Play {
        let broker = harness::connect(peer.broker_addr, PATIENCE);
        let mut normal = Normal::new(suffix, against);
        normal.rename(peer.broker_addr.to_string(), "BROKER");
        normal.rename(peer.namesrv_addr.clone(), "NAMESRV");
        normal.rename(broker.local_addr().expect("it is connected").to_string(), "CLIENT");
        Play {
            against,
            addr: peer.broker_addr,
            namesrv_addr: peer.namesrv_addr.parse().expect("addresses of peers are literal"),
            broker,
            names: Names(suffix.to_owned()),
            topics: BTreeSet::new(),
            groups: BTreeSet::new(),
            normal,
            transcript: Vec::new(),
        }
    }

    /// What was written down, with the state of all topics and groups that were named to be watched.
    pub(crate) fn finish(mut self) -> Transcript {
        let fill = |texts: &BTreeSet<String>| -> BTreeSet<String> {
            texts.iter().map(|text| self.names.fill(text)).collect()
        };
        let (mut topics, groups) = (fill(&self.topics), fill(&self.groups));
        for group in &groups {
            topics.extend([format!("%RETRY%{group}"), format!("%DLQ%{group}")]);
        }
        if !topics.is_empty() {
            let mut watch = state::Watch {
                broker: &mut self.broker,
                normal: &self.normal,
                against: self.against,
            };
            let state = watch.state(&topics, &groups);
            self.transcript.push(("state".to_owned(), state));
        }
        self.transcript
    }

    /// The state of this topic, such as `<t>`, is compared at the end.
    pub(crate) fn watch_topic(&mut self, topic: &str) {
        self.topics.insert(topic.to_owned());
    }

    /// The state of this group, with its retry and dead-letter topics, is compared at the end.
    pub(crate) fn watch_group(&mut self, group: &str) {
        self.groups.insert(group.to_owned());
    }

    /// Creates a topic that is there before the script begins, and watches it.
    pub(crate) fn topic(&mut self, topic: &str, queues: i32) {
        let name = self.names.fill(topic);
        self.broker.create_topic(&NewTopic::new(&name, queues)).expect("a topic");
        self.watch_topic(topic);
    }

    /// The same for a group.
    pub(crate) fn group(&mut self, group: &str) {
        let name = self.names.fill(group);
        self.broker.create_group(&name).expect("a group");
        self.watch_group(group);
    }

    /// Sends a request and writes down its answer. One that never comes has code [`NO_ANSWER`].
    pub(crate) fn ask(&mut self, step: &str, ask: &Ask) -> Answer {
        let answer = call(&mut self.broker, &self.names, ask);
        self.note_answer(step, ask, answer)
    }

    /// The same with a request that may get no answer.
    pub(crate) fn ask_briefly(&mut self, step: &str, ask: &Ask) -> Answer {
        self.broker.set_timeout(BRIEFLY);
        let answer = self.ask(step, ask);
        self.broker.set_timeout(PATIENCE);
        answer
    }

    /// The same over another connection, such as that of a second client.
    pub(crate) fn ask_over(
        &mut self,
        connection: &mut Connection,
        step: &str,
        ask: &Ask,
    ) -> Answer {
        let answer = call(connection, &self.names, ask);
        self.note_answer(step, ask, answer)
    }

    /// Sends a request and writes nothing down: for what the script needs. Panics when it is refused.
    pub(crate) fn prepare(&mut self, ask: &Ask) -> Answer {
        let answer = call(&mut self.broker, &self.names, ask);
        answer.and_then(Answer::success).expect("what the script needs is there")
    }

    /// Sends a request that may be refused, and writes nothing down.
    pub(crate) fn try_to(&mut self, ask: &Ask) -> Answer {
        call(&mut self.broker, &self.names, ask).expect("an answer")
    }

    /// Sends a request over another connection and does not wait for its answer.
    pub(crate) fn start_over(&self, connection: &mut Connection, ask: &Ask) -> Ticket {
        ask.start(&self.names, connection).expect("it is written")
    }

    /// Sends what the script needs over another connection.
    pub(crate) fn prepare_over(&mut self, connection: &mut Connection, ask: &Ask) -> Answer {
        let answer = call(connection, &self.names, ask);
        answer.and_then(Answer::success).expect("what the script needs is there")
    }

    /// Sends a request that wants no answer.
    pub(crate) fn ask_oneway(&mut self, ask: &Ask) {
        ask.start_oneway(&self.names, &mut self.broker).expect("it is written");
    }

    /// Sends a message, writes down the answer and, when it was taken, waits until it can be pulled: Java's broker builds
    /// its queues a moment after it has answered.
    pub(crate) fn send(&mut self, step: &str, ask: &Ask) -> Answer {
        let answer = self.ask(step, ask);
        self.await_sent(ask, &answer);
        answer
    }

    /// The same without writing anything down. Panics when it is refused.
    pub(crate) fn prepare_send(&mut self, ask: &Ask) -> Answer {
        let answer = self.prepare(ask);
        self.await_sent(ask, &answer);
        answer
    }

    fn await_sent(&mut self, ask: &Ask, answer: &Answer) {
        let place = (answer.number("queueId"), answer.number("queueOffset"));
        let topic = ask.field("b").or(ask.field("topic")).unwrap_or_default();
        if let (0, (Ok(queue), Ok(offset))) = (answer.code, place) {
            self.await_max(topic, i32::try_from(queue).expect("a queue"), offset + 1);
        }
    }

    /// Waits until a queue has so many messages. When they do not come, the comparison of the state will say so.
    pub(crate) fn await_max(&mut self, topic: &str, queue: i32, count: i64) {
        let topic = self.names.fill(topic);
        let broker = &mut self.broker;
        let end = Instant::now() + COMING_MAX;
        while broker.max_offset(&topic, queue).expect("an offset") < count && Instant::now() < end {
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits until a request is answered with success, then sends it again and writes that down.
    pub(crate) fn ask_when_done(&mut self, step: &str, ask: &Ask) -> Answer {
        wait_until(BRIEFLY, || {
            let answer = call(&mut self.broker, &self.names, ask);
            answer.is_ok_and(|answer| answer.code == response::SUCCESS)
        });
        // The last one of several may follow the first one after a moment.
        std::thread::sleep(MOMENT);
        self.ask(step, ask)
    }

    /// Another connection to the broker.
    pub(crate) fn second(&mut self) -> Connection {
        self.connect(self.addr, "SECOND")
    }

    /// A connection to the port that is two below.
    pub(crate) fn vip(&mut self) -> Connection {
        let port = self.addr.port() - 2;
        self.connect(SocketAddr::new(self.addr.ip(), port), "VIP")
    }

    /// A connection to the name server, which may leave some requests without an answer.
    pub(crate) fn namesrv(&mut self) -> Connection {
        let mut connection = self.connect(self.namesrv_addr, "ASKER");
        connection.set_timeout(BRIEFLY);
        connection
    }

    fn connect(&mut self, addr: SocketAddr, name: &'static str) -> Connection {
        let connection = harness::connect(addr, PATIENCE);
        let local = connection.local_addr().expect("it is connected");
        self.normal.rename(local.to_string(), name);
        connection
    }

    /// Headers of later requests are binary.
    pub(crate) fn binary_headers(&mut self) {
        self.broker.set_header_kind(HeaderKind::Rocketmq);
    }

    /// Whether the broker asks this client with such a request, and its fields.
    pub(crate) fn note_asked(&mut self, step: &str, code: i32) {
        let asked = self.broker.server_request(code, BRIEFLY);
        let value = match asked {
            Ok(request) => json!({ "asked": code, "ext": self.normal.ext(&request.ext, &[]) }),
            Err(_) => json!({ "asked": null }),
        };
        self.note(step, value);
    }

    /// Writes something down.
    pub(crate) fn note(&mut self, step: &str, value: Value) {
        let known = self.transcript.iter().any(|(other, _)| other == step);
        assert!(!known, "two steps are called {step}");
        self.transcript.push((step.to_owned(), value));
    }

    fn note_answer(
        &mut self,
        step: &str,
        ask: &Ask,
        answer: Result<Answer, ClientError>,
    ) -> Answer {
        let value = match &answer {
            Ok(answer) => self.normal.answer(ask, answer),
            Err(ClientError::Timeout(_)) => json!({ "code": "no answer" }),
            Err(ClientError::Closed) => json!({ "code": "connection closed" }),
            Err(error) => json!({ "code": error.to_string() }),
        };
        self.note(step, value);
        answer.unwrap_or_else(|_| Answer {
            code: NO_ANSWER,
            opaque: 0,
            kind: HeaderKind::Json,
            language: Language::Java,
            version: 0,
            remark: None,
            ext: Vec::new(),
            body: Vec::new(),
        })
    }

    /// An answer's JSON, made comparable.
    pub(crate) fn json(&self, answer: &Answer) -> Value {
        self.normal.json(&answer.body).unwrap_or_default()
    }

    /// Messages that an answer brings, made comparable.
    pub(crate) fn messages(&self, answer: &Answer) -> Value {
        self.normal.messages(&answer.body)
    }

    /// What is called so in this run.
    pub(crate) fn name(&self, text: &str) -> String {
        self.names.fill(text)
    }

    /// Place in the log of the first message of a topic's queue 0.
    pub(crate) fn first_log_offset(&mut self, topic: &str) -> i64 {
        let topic = self.names.fill(topic);
        let pulled = self.broker.pull(&PullRequest::new("readers", &topic, 0, 0));
        let messages = pulled.expect("an answer").messages;
        messages.first().map_or(-1, |message| message.physical_offset)
    }

    /// Store times of a queue's messages, in order.
    pub(crate) fn store_times(&mut self, topic: &str, queue: i32) -> Vec<i64> {
        let topic = self.names.fill(topic);
        let pulled = self.broker.pull(&PullRequest::new("readers", &topic, queue, 0));
        pulled.expect("an answer").messages.iter().map(|m| m.store_timestamp).collect()
    }

    /// Deletes a topic.
    pub(crate) fn delete_topic(&mut self, topic: &str) {
        self.prepare(&super::ask::with(request::DELETE_TOPIC_IN_BROKER, "topic", topic));
    }
}

fn call(connection: &mut Connection, names: &Names, ask: &Ask) -> Result<Answer, ClientError> {
    let ticket = ask.start(names, connection)?;
    connection.finish(ticket)
}

/// Now, ms since the epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the year 292 million")
}
