//! `tail`: follows what is written to a topic, as `tail -f` follows a file. Ours; Java's tool has no such command.
//!
//! One task per queue pulls and waits at the broker; what it finds goes through a bounded channel, so that a slow reader
//! slows pulls down. Nothing is committed, and no member of a group is seen: groups do not notice.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use client::admin_ext::QueueAt;
use client::{AdminError, DefaultMqAdminExt, PullRequest, PullStatus, Received};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep};

use super::message_text::{add_body, facts, one_line, shown_body};
use super::print::TOOLS_GROUP;
use crate::moment::since;
use crate::text;
use crate::{Command, Failure, Output};

/// How long a pull waits at the broker for the next message.
const PARK: Duration = Duration::from_secs(10);
/// Pause before a broker is asked again that did not answer, or that answered at once that there is nothing.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// A broker that waited less for the next message does not wait at all.
const PARKED_MIN: Duration = Duration::from_millis(50);
/// How often the route is read again: brokers come, topics get more queues.
const ROUTE_PERIOD: Duration = Duration::from_secs(30);
/// Most messages of a pull.
const BATCH: i32 = 32;
/// Pulls that wait until they are shown.
const CHANNEL_PULLS: usize = 4;

/// Follows a topic: shows new messages of all its queues as they come.
#[derive(clap::Args)]
pub(crate) struct Tail {
    /// The topic
    #[arg(value_name = "TOPIC", required_unless_present = "named_topic")]
    topic: Option<String>,
    /// The topic, as other commands name it
    #[arg(short = 't', long = "topic", value_name = "TOPIC", conflicts_with = "topic")]
    named_topic: Option<String>,
    /// Begin at the first message of each queue instead of now
    #[arg(short = 'f', long = "from-beginning", conflicts_with = "since")]
    from_beginning: bool,
    /// Begin where messages of this time are: 15m, 2h, 2026-01-05T09:30:11Z, ms since the epoch
    #[arg(short = 's', long = "since", value_name = "TIME", value_parser = since)]
    since: Option<i64>,
    /// End at what is the end now, instead of waiting for more
    #[arg(short = 'e', long = "no-follow")]
    no_follow: bool,
    /// Only messages with these tags, TagA || TagB
    #[arg(long = "tags", value_name = "TAGS", conflicts_with = "sql")]
    tags: Option<String>,
    /// Only messages whose properties match this SQL92 expression
    #[arg(long = "sql", value_name = "EXPRESSION")]
    sql: Option<String>,
    /// Only queues of this broker
    #[arg(short = 'b', long = "brokerName", value_name = "BROKER")]
    broker_name: Option<String>,
    /// Only these queues, with commas between
    #[arg(short = 'q', long = "queueId", value_name = "NUMBERS", value_delimiter = ',')]
    queue_id: Vec<i32>,
    /// End after so many messages
    #[arg(short = 'c', long = "count", value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Show at most so many messages a second; the others wait at the brokers
    #[arg(short = 'r', long = "rate", value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
}

impl Command for Tail {
    /// SIGINT and SIGTERM end it between two messages, with exit code 0.
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            outcome = self.follow(admin, out) => outcome,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    }
}

/// Where the first message of a queue is looked for.
#[derive(Clone, Copy)]
enum Begin {
    End,
    First,
    Time(i64),
}

/// What the task of a queue has to say.
enum Event {
    Found(QueueAt, Vec<Received>),
    /// A pull failed, after one that did not.
    Failed(QueueAt, AdminError),
    /// The broker has answered again.
    Recovered(QueueAt),
    /// Messages between these offsets were gone before they were pulled.
    Gone(QueueAt, i64, i64),
    /// All that was there is shown.
    AtEnd,
}

impl Tail {
    fn topic(&self) -> &str {
        self.topic.as_deref().or(self.named_topic.as_deref()).unwrap_or_default()
    }

    fn begin(&self) -> Begin {
        match self.since {
            Some(ms) => Begin::Time(ms),
            None if self.from_beginning => Begin::First,
            None => Begin::End,
        }
    }

    fn wants(&self, at: &QueueAt) -> bool {
        self.broker_name.as_ref().is_none_or(|name| *name == at.queue.broker_name)
            && (self.queue_id.is_empty() || self.queue_id.contains(&at.queue.queue_id))
    }

    async fn follow(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let mut queues = admin.fetch_subscribe_message_queues(self.topic()).await?;
        queues.retain(|at| self.wants(at));
        if queues.is_empty() {
            let topic = self.topic();
            return Err(Failure::Usage(format!("topic {topic} has no such queue")));
        }
        let (sender, mut events) = mpsc::channel(CHANNEL_PULLS);
        let mut tasks = JoinSet::new();
        let mut known = BTreeSet::new();
        for at in queues {
            known.insert(at.queue.clone());
            tasks.spawn(self.puller(admin, at, self.begin()).await?.run(sender.clone()));
        }
        let mut left = self.count;
        let mut open = tasks.len();
        let mut route = interval_at(Instant::now() + ROUTE_PERIOD, ROUTE_PERIOD);
        loop {
            tokio::select! {
                // The sender above keeps the channel open.
                Some(event) = events.recv() => match event {
                    Event::AtEnd => {
                        open -= 1;
                        if open == 0 {
                            return Ok(());
                        }
                    }
                    event => self.tell(out, event, &mut left).await?,
                },
                _ = route.tick(), if !self.no_follow => {
                    for at in self.new_queues(admin, out, &mut known).await {
                        // Whatever a queue holds that was not there before is new.
                        match self.puller(admin, at, Begin::First).await {
                            Ok(puller) => {
                                tasks.spawn(puller.run(sender.clone()));
                            }
                            Err(error) => out.problem(error),
                        }
                    }
                }
            }
            if left == Some(0) {
                return Ok(());
            }
        }
    }

    async fn puller(
        &self,
        admin: &DefaultMqAdminExt,
        at: QueueAt,
        begin: Begin,
    ) -> Result<Puller, AdminError> {
        let offset = match begin {
            Begin::End => admin.max_offset(&at).await?,
            Begin::First => admin.min_offset(&at).await?,
            Begin::Time(ms) => admin.search_offset(&at, ms).await?,
        };
        let end = if self.no_follow { Some(admin.max_offset(&at).await?) } else { None };
        let (expression_type, expression) = match (&self.sql, &self.tags) {
            (Some(sql), _) => ("SQL92", sql.clone()),
            (None, Some(tags)) => ("TAG", tags.clone()),
            (None, None) => ("TAG", "*".to_owned()),
        };
        Ok(Puller { admin: admin.clone(), at, offset, end, expression_type, expression })
    }

    /// Queues that have come since. A name server that does not answer is asked again later.
    async fn new_queues(
        &self,
        admin: &DefaultMqAdminExt,
        out: &Output,
        known: &mut BTreeSet<proto::body::MessageQueue>,
    ) -> Vec<QueueAt> {
        match admin.fetch_subscribe_message_queues(self.topic()).await {
            Ok(mut queues) => {
                queues.retain(|at| self.wants(at) && known.insert(at.queue.clone()));
                queues
            }
            Err(error) => {
                out.note(&format!("{error}; queues that are new are looked for again later"));
                Vec::new()
            }
        }
    }

    async fn tell(
        &self,
        out: &mut Output,
        event: Event,
        left: &mut Option<u64>,
    ) -> Result<(), Failure> {
        match event {
            Event::Found(at, messages) => {
                for message in messages {
                    if *left == Some(0) {
                        break;
                    }
                    let body = shown_body(&message, out).into_owned();
                    let broker = at.queue.broker_name.as_str();
                    out.show(&Line { broker, message: &message, body: &body })?;
                    *left = left.map(|left| left - 1);
                    if let Some(rate) = self.rate {
                        sleep(Duration::from_secs(1) / rate).await;
                    }
                }
            }
            Event::Failed(at, error) => {
                out.note(&format!("{}: {error}; it is asked again", name_of(&at)));
            }
            Event::Recovered(at) => out.note(&format!("{} answers again", name_of(&at))),
            Event::Gone(at, from, to) => {
                let queue = name_of(&at);
                out.note(&format!("{queue}: offset {from} is not there, goes on at {to}"));
            }
            Event::AtEnd => {}
        }
        Ok(())
    }
}

fn name_of(at: &QueueAt) -> String {
    format!("queue {} of {}", at.queue.queue_id, at.queue.broker_name)
}

/// Pulls one queue.
struct Puller {
    admin: DefaultMqAdminExt,
    at: QueueAt,
    /// The next one.
    offset: i64,
    /// Where to end.
    end: Option<i64>,
    expression_type: &'static str,
    expression: String,
}

impl Puller {
    /// Runs until nobody listens, or the end is reached.
    async fn run(mut self, events: mpsc::Sender<Event>) {
        let mut failing = false;
        while self.end.is_none_or(|end| self.offset < end) {
            let begin = Instant::now();
            let mut said = Vec::new();
            let mut pause = None;
            match self.admin.pull(&self.at.addr, &self.request()).await {
                Ok(mut pulled) => {
                    if failing {
                        said.push(Event::Recovered(self.at.clone()));
                    }
                    failing = false;
                    if pulled.status == PullStatus::OffsetMoved && pulled.next_offset != self.offset
                    {
                        said.push(Event::Gone(self.at.clone(), self.offset, pulled.next_offset));
                    } else if pulled.messages.is_empty()
                        && pulled.status != PullStatus::RetryImmediately
                        && begin.elapsed() < PARKED_MIN
                    {
                        pause = Some(RETRY_PAUSE);
                    }
                    self.offset = pulled.next_offset;
                    let end = self.end.unwrap_or(i64::MAX);
                    pulled.messages.retain(|message| message.queue_offset < end);
                    if !pulled.messages.is_empty() {
                        said.push(Event::Found(self.at.clone(), pulled.messages));
                    }
                }
                Err(error) => {
                    if !failing {
                        said.push(Event::Failed(self.at.clone(), error));
                    }
                    failing = true;
                    pause = Some(RETRY_PAUSE);
                }
            }
            for event in said {
                if events.send(event).await.is_err() {
                    return;
                }
            }
            if let Some(pause) = pause {
                sleep(pause).await;
            }
        }
        // Nobody listens any more when all ends at once.
        let _ = events.send(Event::AtEnd).await;
    }

    fn request(&self) -> PullRequest<'_> {
        let queue = &self.at.queue;
        let mut pull = PullRequest::new(TOOLS_GROUP, &queue.topic, queue.queue_id, self.offset);
        pull.messages_max = BATCH;
        pull.park = if self.end.is_none() { PARK } else { Duration::ZERO };
        pull.expression_type = self.expression_type;
        pull.subscription = Some(&self.expression);
        pull
    }
}

/// A message in a line.
struct Line<'a> {
    broker: &'a str,
    message: &'a Received,
    body: &'a [u8],
}

impl Serialize for Line<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut facts = facts(self.message);
        facts.insert("brokerName".to_owned(), self.broker.into());
        add_body(&mut facts, self.body);
        facts.serialize(serializer)
    }
}

impl Display for Line<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let m = self.message;
        let time = text::millis(m.store_timestamp);
        write!(f, "{time} {}:{}:{}", self.broker, m.queue_id, m.queue_offset)?;
        let shown = |name: &str| m.property(name).map(|text| one_line(text.as_bytes()));
        if let Some(tags) = shown("TAGS") {
            write!(f, " tags=[{tags}]")?;
        }
        if let Some(keys) = shown("KEYS") {
            write!(f, " keys=[{keys}]")?;
        }
        writeln!(f, " {}", one_line(self.body))
    }
}
