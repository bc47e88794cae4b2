//! `dlq`: the dead letters of a consumer group: how many there are, what they say, and back to where they came from. A command
//! of ours.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use client::admin_ext::{OutgoingMessage, body_of};
use client::{DefaultMqAdminExt, Received};
use proto::body::MessageQueue;
use proto::properties;
use serde_json::{Value, json};

use crate::moment::{now_ms, since};
use crate::text;
use crate::{Command, Failure, Output};

/// Before the name of a group: the topic of its dead letters.
const DLQ_PREFIX: &str = "%DLQ%";
/// Before the name of a group: its retry topic.
const RETRY_PREFIX: &str = "%RETRY%";
/// The group that tools pull with; brokers know it.
const TOOLS_GROUP: &str = "TOOLS_CONSUMER";
/// The group that sends dead letters again.
const RESEND_GROUP: &str = "ReSendDeadLetters";
/// On a message that was sent again: the id of the dead letter.
const RESENT_FROM: &str = "DLQ_RESENT_FROM";
/// Messages of a pull.
const PULL_MAX: i32 = 32;
/// Characters of a body that are shown.
const BODY_CHARS: usize = 120;
/// Properties that the user set and that go along. What brokers and client libraries have added stays behind, so that the
/// message begins anew.
const KEPT: [&str; 7] = [
    properties::KEYS,
    properties::TAGS,
    properties::SHARDING_KEY,
    properties::INSTANCE_ID,
    properties::BUYER_ID,
    properties::CORRELATION_ID,
    properties::TTL,
];

/// Counts the dead letters of a group, shows them, or sends them again to the topics they came from. They stay where they are
/// until retention takes them: sending again twice delivers twice.
#[derive(clap::Args)]
pub(crate) struct DeadLetters {
    /// list: how many there are; look: what they say; resend: back to their topics
    #[arg(value_name = "WHAT", value_enum)]
    what: What,
    /// The group; list without it: all groups
    #[arg(short = 'g', long = "groupName", value_name = "GROUP", required_if_eq_any([("what", "look"), ("what", "resend")]))]
    group_name: Option<String>,
    /// Only those with this key
    #[arg(short = 'k', long = "key", value_name = "KEY")]
    key: Option<String>,
    /// Only those with these message ids, with commas between
    #[arg(short = 'i', long = "msgId", value_name = "IDS", value_delimiter = ',')]
    msg_id: Vec<String>,
    /// Only those that died since: 2h, a time, ms since the epoch
    #[arg(short = 'b', long = "begin", value_name = "TIME", value_parser = since)]
    begin: Option<i64>,
    /// Only those that died until then
    #[arg(short = 'e', long = "end", value_name = "TIME", value_parser = since)]
    end: Option<i64>,
    /// At most so many
    #[arg(short = 'm', long = "max", value_name = "NUMBER", default_value_t = 100)]
    max: usize,
    /// resend: at most so many each second
    #[arg(short = 'r', long = "rate", value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// resend: say what would be sent, and send nothing
    #[arg(long = "dry-run")]
    dry_run: bool,
    /// resend: do not ask first
    #[arg(long = "yes")]
    yes: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    List,
    Look,
    Resend,
}

impl Command for DeadLetters {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let group = self.group_name.as_deref().unwrap_or_default();
        match self.what {
            What::List => self.list(admin, out).await,
            What::Look => self.look(admin, out, group).await,
            What::Resend => self.resend(admin, out, group).await,
        }
    }
}

/// A queue with dead letters, and whom to ask.
struct Place {
    queue: MessageQueue,
    addr: String,
    min: i64,
    max: i64,
}

impl DeadLetters {
    async fn list(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let groups = match &self.group_name {
            Some(group) => vec![group.clone()],
            None => {
                let topics = admin.fetch_all_topic_list().await?.topic_list;
                topics
                    .iter()
                    .filter_map(|t| t.strip_prefix(DLQ_PREFIX))
                    .map(str::to_owned)
                    .collect()
            }
        };
        let (mut table, mut rows, mut total) = (String::new(), Vec::new(), 0);
        let mut row = |cells: [&str; 6]| {
            let [group, broker, queue, count, first, last] = cells;
            let _ = writeln!(
                table,
                "{group:<40}  {broker:<24}  {queue:>4}  {count:>10}  {first:>12}  {last}"
            );
        };
        row(["#Group", "#Broker", "#QID", "#Count", "#Min Offset", "#Last Died"]);
        for group in groups {
            let topic = format!("{DLQ_PREFIX}{group}");
            let bounds = match admin.examine_topic_stats(&topic).await {
                Ok(bounds) => bounds.offset_table,
                Err(error) if error.code().is_some() && self.group_name.is_none() => continue,
                Err(error) => return Err(error.into()),
            };
            for (queue, bounds) in bounds {
                let count = bounds.max_offset - bounds.min_offset;
                let last = match bounds.last_update_timestamp {
                    0 => String::new(),
                    ms => text::seconds(ms),
                };
                let (id, least) = (queue.queue_id.to_string(), bounds.min_offset.to_string());
                row([&group, &queue.broker_name, &id, &count.to_string(), &least, &last]);
                total += count;
                rows.push(json!({
                    "group": group, "brokerName": queue.broker_name, "queueId": queue.queue_id,
                    "count": count, "minOffset": bounds.min_offset, "maxOffset": bounds.max_offset,
                    "lastDied": bounds.last_update_timestamp,
                }));
            }
        }
        let _ = writeln!(table, "Total: {total}");
        out.say(table, json!({"total": total, "queues": rows}))
    }

    async fn look(
        &self,
        admin: &DefaultMqAdminExt,
        out: &mut Output,
        group: &str,
    ) -> Result<(), Failure> {
        let found = self.find(admin, group).await?;
        for letter in &found.letters {
            let (text, json) = shown(letter);
            out.say(text, json)?;
        }
        self.note_of_more(out, &found);
        Ok(())
    }

    fn note_of_more(&self, out: &Output, found: &Found) {
        if found.more {
            out.note(&format!("there are more than {}: -m NUMBER takes more", self.max));
        }
    }

    async fn resend(
        &self,
        admin: &DefaultMqAdminExt,
        out: &mut Output,
        group: &str,
    ) -> Result<(), Failure> {
        let found = self.find(admin, group).await?;
        self.note_of_more(out, &found);
        if found.letters.is_empty() {
            out.note("no dead letter matches");
            return Ok(());
        }
        if !self.dry_run {
            self.confirm(group, &found.letters)?;
        }
        let pause = Duration::from_secs(1) / self.rate;
        let mut next = tokio::time::Instant::now();
        let mut sent = 0;
        for letter in &found.letters {
            let message = match again(letter) {
                Ok(message) => message,
                Err(failure) => {
                    out.problem(failure);
                    continue;
                }
            };
            let (id, topic) = (letter.message_id(), message.topic.clone());
            if self.dry_run {
                let text = format!("{id} would go to {topic}");
                out.say(text, json!({"msgId": id, "topic": topic, "dryRun": true}))?;
                continue;
            }
            tokio::time::sleep_until(next).await;
            next = tokio::time::Instant::now().max(next) + pause;
            match admin.send(&message, None).await {
                Ok(result) => {
                    sent += 1;
                    let (broker, queue) = (&result.queue.broker_name, result.queue.queue_id);
                    let (status, new) = (result.status.name(), &result.id);
                    let text = format!("{id} -> {topic} {broker} {queue} {status} {new}");
                    out.say(
                        text,
                        json!({
                            "msgId": id, "topic": topic, "brokerName": broker, "queueId": queue,
                            "sendStatus": status, "newMsgId": new, "queueOffset": result.queue_offset,
                        }),
                    )?;
                }
                // It may have been stored all the same: sending it once more here could deliver it twice.
                Err(error) => out.problem(error),
            }
        }
        if !self.dry_run {
            out.note(&format!("{sent} of {} sent", found.letters.len()));
        }
        Ok(())
    }

    /// Sending again writes into topics that others consume: somebody has to want it.
    fn confirm(&self, group: &str, letters: &[Received]) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        let count = letters.len();
        if !io::stdin().is_terminal() {
            return Err(Failure::Usage(format!(
                "this would send {count} dead letters of {group} to their topics; --yes does it, --dry-run shows it"
            )));
        }
        eprint!("Send {count} dead letters of {group} to their topics? [y/N] ");
        io::stderr().flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::Usage("nothing was sent".to_owned())),
        }
    }

    /// The dead letters that are meant, at most `max`, queue by queue, the oldest first.
    async fn find(&self, admin: &DefaultMqAdminExt, group: &str) -> Result<Found, Failure> {
        let mut found = Found::default();
        for place in places(admin, group).await? {
            let mut offset = place.min;
            if let Some(begin) = self.begin {
                offset = admin.offset_at_time(&place.addr, &place.queue, begin).await?;
            }
            // What dies meanwhile is for the next time.
            while offset < place.max {
                let at = (offset.max(place.min), PULL_MAX);
                let pulled = admin.pull_from(&place.addr, TOOLS_GROUP, &place.queue, at).await?;
                for letter in pulled.messages.into_iter().filter(|letter| self.is_meant(letter)) {
                    if found.letters.len() >= self.max {
                        found.more = true;
                        return Ok(found);
                    }
                    found.letters.push(letter);
                }
                if pulled.next_offset <= offset {
                    break;
                }
                offset = pulled.next_offset;
            }
        }
        Ok(found)
    }

    fn is_meant(&self, letter: &Received) -> bool {
        let has_key = |key: &String| {
            let keys = letter.property(properties::KEYS).unwrap_or_default();
            keys.split(' ').any(|other| other == key)
        };
        let ids = || {
            let unique = letter.property(properties::UNIQ_KEY).map(str::to_owned);
            [Some(letter.message_id()), unique].into_iter().flatten()
        };
        self.key.as_ref().is_none_or(has_key)
            && (self.msg_id.is_empty() || ids().any(|id| self.msg_id.contains(&id)))
            && self.begin.is_none_or(|begin| letter.store_timestamp >= begin)
            && self.end.is_none_or(|end| letter.store_timestamp <= end)
    }
}

#[derive(Default)]
struct Found {
    letters: Vec<Received>,
    /// There are more than were wanted.
    more: bool,
}

async fn places(admin: &DefaultMqAdminExt, group: &str) -> Result<Vec<Place>, Failure> {
    let topic = format!("{DLQ_PREFIX}{group}");
    let route = admin.examine_topic_route_info(&topic).await?;
    let bounds = admin.examine_topic_stats(&topic).await?.offset_table;
    let place = |(queue, bounds): (MessageQueue, proto::body::QueueBounds)| {
        let mut brokers = route.broker_datas.iter();
        let broker = brokers.find(|broker| broker.broker_name == queue.broker_name)?;
        let addr = broker.broker_addrs.values().next()?.clone();
        Some(Place { queue, addr, min: bounds.min_offset, max: bounds.max_offset })
    };
    Ok(bounds.into_iter().filter_map(place).collect())
}

/// Where a dead letter was sent to first.
fn origin(letter: &Received) -> Option<&str> {
    let named = [properties::RETRY_TOPIC, properties::DLQ_ORIGIN_TOPIC];
    let mut topics = named.iter().filter_map(|name| letter.property(name));
    topics.find(|topic| !topic.starts_with(RETRY_PREFIX) && !topic.starts_with(DLQ_PREFIX))
}

/// A dead letter as a message of its own, to where it came from.
fn again(letter: &Received) -> Result<OutgoingMessage, Failure> {
    let id = letter.message_id();
    let topic = origin(letter).ok_or_else(|| {
        Failure::Usage(format!("{id} does not say which topic it came from, and is left out"))
    })?;
    let is_kept = |name: &str| KEPT.contains(&name) || !properties::ALL.contains(&name);
    let kept = properties::iter(&letter.properties).filter(|(name, _)| is_kept(name));
    let mut kept: Vec<(String, String)> =
        kept.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    kept.retain(|(name, _)| name != RESENT_FROM);
    kept.push((RESENT_FROM.to_owned(), id));
    Ok(OutgoingMessage {
        topic: topic.to_owned(),
        body: body_of(letter)?.into_owned(),
        properties: kept,
        flag: letter.flag,
        group: RESEND_GROUP.to_owned(),
    })
}

/// A dead letter for people and for programs.
fn shown(letter: &Received) -> (String, Value) {
    let id = letter.message_id();
    let unique = letter.property(properties::UNIQ_KEY).unwrap_or_default();
    let keys = letter.property(properties::KEYS).unwrap_or_default();
    let tags = letter.property(properties::TAGS).unwrap_or_default();
    let topic = origin(letter).unwrap_or("?");
    let body = body_of(letter).map(|body| String::from_utf8_lossy(&body).into_owned());
    let body = body.unwrap_or_else(|error| error.to_string());
    let escaped = |c: char| if c.is_control() { ' ' } else { c };
    let head: String = body.chars().take(BODY_CHARS).map(escaped).collect();
    let more = if body.chars().nth(BODY_CHARS).is_some() { "..." } else { "" };
    let age = (now_ms() - letter.store_timestamp).max(0) / 1000;
    let text = format!(
        "{id}  queue {} offset {}  died {} ({age} s ago)\n    from {topic}  msgId {unique}  keys [{keys}]  tags [{tags}]  \
         retried {}\n    {head}{more}\n",
        letter.queue_id,
        letter.queue_offset,
        text::seconds(letter.store_timestamp),
        letter.reconsume_times
    );
    let json = json!({
        "offsetMsgId": id, "msgId": unique, "queueId": letter.queue_id,
        "queueOffset": letter.queue_offset, "died": letter.store_timestamp, "topic": origin(letter),
        "keys": keys, "tags": tags, "reconsumeTimes": letter.reconsume_times, "body": body,
    });
    (text, json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(of: &[(&str, &str)]) -> Received {
        let host = "127.0.0.1:10911".parse().expect("an address");
        let mut text = String::new();
        of.iter().for_each(|(name, value)| properties::append(&mut text, name, value));
        Received {
            topic: "%DLQ%g".to_owned(),
            queue_id: 0,
            queue_offset: 7,
            physical_offset: 1,
            sys_flag: 0,
            flag: 3,
            born_timestamp: 0,
            born_host: host,
            store_timestamp: 0,
            store_host: host,
            reconsume_times: 16,
            prepared_transaction_offset: 0,
            store_size: 0,
            body_crc: 0,
            body: b"hello".to_vec(),
            properties: text,
        }
    }

    #[test]
    fn a_dead_letter_begins_anew() {
        let dead = letter(&[
            ("RETRY_TOPIC", "orders"),
            ("DLQ_ORIGIN_TOPIC", "%RETRY%g"),
            ("KEYS", "order-1"),
            ("TAGS", "created"),
            ("colour", "red"),
            ("UNIQ_KEY", "0A"),
            ("DELAY", "18"),
            ("MAX_OFFSET", "12"),
        ]);
        let message = again(&dead).expect("it says where it came from");
        assert_eq!((message.topic.as_str(), message.flag), ("orders", 3));
        assert_eq!(message.body, b"hello");
        let names: Vec<&str> = message.properties.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["KEYS", "TAGS", "colour", RESENT_FROM]);
    }

    #[test]
    fn what_does_not_say_where_it_came_from_stays() {
        assert!(again(&letter(&[("DLQ_ORIGIN_TOPIC", "%RETRY%g")])).is_err());
        assert!(again(&letter(&[])).is_err());
        assert_eq!(origin(&letter(&[("DLQ_ORIGIN_TOPIC", "orders")])), Some("orders"));
    }
}
