//! Probes: messages that are sent to see whether and how fast brokers take them. `sendMsgStatus`, `checkMsgSendRT`,
//! `clusterRT`. A route is asked for once; what is measured is the broker's answer alone.

use std::fmt::{self, Display, Formatter};
use std::time::{Duration, Instant};

use clap::ArgAction::Set;
use client::DefaultMqAdminExt;
use client::admin_ext::{OutgoingMessage, SendResult};
use jiff::{Timestamp, tz::Offset};
use proto::body::ClusterInfo;
use serde::Serialize;
use serde_json::{Value, json};

use super::message::send_result;
use crate::moment::now_ms;
use crate::target::brokers_of;
use crate::text::boolean;
use crate::{Command, Failure, Output};

/// The group of `sendMsgStatus`.
const STATUS_GROUP: &str = "PID_SMSC";
/// What its bodies are made of.
const STATUS_WORDS: &str = "hello jodie";
/// Bytes of the message that goes before them.
const WARM_UP_BYTES: usize = 16;
/// Most bytes of a probe; brokers take 4 MiB by default.
const PROBE_BYTES_MAX: u64 = 128 << 20;

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The mean of all but the first, which pays for the connection.
fn mean_ms(times: &[Duration]) -> f64 {
    let counted = times.get(1..).unwrap_or_default();
    if counted.is_empty() {
        return 0.0;
    }
    counted.iter().copied().map(ms).sum::<f64>() / counted.len() as f64
}

/// Sends messages to the topic that has a broker's name.
#[derive(clap::Args)]
pub(crate) struct SendMsgStatus {
    /// Name of the broker, which is the name of a topic, too
    #[arg(short = 'b', long = "brokerName", value_name = "BROKER")]
    broker_name: String,
    /// Bytes of a message
    #[arg(short = 's', long = "messageSize", value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..=PROBE_BYTES_MAX))]
    message_size: u64,
    /// How many
    #[arg(short = 'c', long = "count", value_name = "NUMBER", default_value_t = 50)]
    count: u64,
}

impl Command for SendMsgStatus {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let message = |bytes: usize| OutgoingMessage {
            topic: self.broker_name.clone(),
            // Whole words, as in Java.
            body: STATUS_WORDS.repeat(bytes.div_ceil(STATUS_WORDS.len())).into_bytes(),
            group: STATUS_GROUP.to_owned(),
            ..OutgoingMessage::default()
        };
        let places = admin.topic_publish_info(&self.broker_name).await?;
        admin.send_in(&places, &message(WARM_UP_BYTES), None).await?;
        let message = message(self.message_size as usize);
        for _ in 0..self.count {
            let begin = Instant::now();
            let sent = admin.send_in(&places, &message, None).await?;
            out.show(&Probe { time: begin.elapsed(), sent })?;
        }
        Ok(())
    }
}

struct Probe {
    time: Duration,
    sent: SendResult,
}

impl Serialize for Probe {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json!({ "rtMs": ms(self.time), "sent": super::message::Sent(&self.sent) })
            .serialize(serializer)
    }
}

impl Display for Probe {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "rt={}ms, SendResult={}", self.time.as_millis(), send_result(&self.sent))
    }
}

/// Sends messages to the queues of a topic in turn.
#[derive(clap::Args)]
pub(crate) struct CheckMsgSendRt {
    /// The topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
    /// How many; the first does not count for the mean
    #[arg(short = 'a', long = "amount", value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u64).range(2..))]
    amount: u64,
    /// Bytes of a message
    #[arg(short = 's', long = "size", value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..=PROBE_BYTES_MAX))]
    size: u64,
}

impl Command for CheckMsgSendRt {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let places = admin.topic_publish_info(&self.topic).await?;
        if places.queues().is_empty() {
            let topic = &self.topic;
            let what = format!("no broker has a queue of topic {topic} that takes messages");
            let code = proto::code::response::TOPIC_NOT_EXIST;
            return Err(client::AdminError::NotFound { what, code }.into());
        }
        let message = probe(&self.topic, self.size);
        out.text(&row("#Broker Name", "#QID", "#Send Result", "#RT"))?;
        let mut times = Vec::new();
        for (_, queue) in (0..self.amount).zip(places.queues().iter().cycle()) {
            let begin = Instant::now();
            let outcome = admin.send_in(&places, &message, Some(queue)).await;
            let time = begin.elapsed();
            times.push(time);
            let sent = outcome.is_ok();
            let (broker, id) = (&queue.broker_name, queue.queue_id);
            let text = row(broker, id, sent, time.as_millis());
            out.say(
                text,
                json!({ "brokerName": broker, "queueId": id, "sent": sent, "rtMs": ms(time) }),
            )?;
            if let Err(error) = outcome {
                out.problem(error);
            }
        }
        let mean = mean_ms(&times);
        out.say(format!("Avg RT: {mean:.2}"), json!({ "avgRtMs": mean }))
    }
}

fn row(
    broker: impl Display,
    queue: impl Display,
    sent: impl Display,
    time: impl Display,
) -> String {
    let (queue, sent) = (queue.to_string(), sent.to_string());
    format!("{broker:<32}  {queue:<4}  {sent:<20}    {time}")
}

/// A message of so many letters.
fn probe(topic: &str, bytes: u64) -> OutgoingMessage {
    OutgoingMessage {
        topic: topic.to_owned(),
        body: vec![b'a'; bytes as usize],
        group: now_ms().to_string(),
        ..OutgoingMessage::default()
    }
}

/// Sends messages to the topics that have the names of brokers, again and again.
#[derive(clap::Args)]
pub(crate) struct ClusterRt {
    /// Messages to each broker; the first does not count for the mean
    #[arg(short = 'a', long = "amount", value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u64).range(2..))]
    amount: u64,
    /// Bytes of a message
    #[arg(short = 's', long = "size", value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..=PROBE_BYTES_MAX))]
    size: u64,
    /// One cluster only
    #[arg(short = 'c', long = "cluster", value_name = "CLUSTER")]
    cluster: Option<String>,
    /// Lines for a log instead of a table: time in GMT+8, room, cluster, broker, ms
    #[arg(short = 'p', long = "printLog", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "false")]
    print_log: bool,
    /// The room of those lines
    #[arg(short = 'm', long = "machineRoom", value_name = "NAME", default_value = "noname")]
    machine_room: String,
    /// Pause between two rounds
    #[arg(short = 'i', long = "interval", value_name = "SECONDS", default_value_t = 10)]
    interval: u64,
    /// End after so many rounds; without it never
    #[arg(long = "rounds", value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,
}

impl Command for ClusterRt {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        if !self.print_log {
            let head = ["#Cluster Name", "#Broker Name", "#RT", "#successCount", "#failCount"];
            let [a, b, c, d, e] = head;
            out.text(&format!("{a:<24}  {b:<24}  {c:<4}  {d:<8}  {e:<8}"))?;
        }
        let mut round = 0;
        loop {
            let known = admin.examine_broker_cluster_info().await?;
            for (cluster, broker) in self.brokers(&known)? {
                let probed = self.probe(admin, out, (&cluster, &broker)).await;
                out.show(&probed)?;
            }
            round += 1;
            if self.rounds.is_some_and(|rounds| round >= rounds) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(self.interval)).await;
        }
    }
}

impl ClusterRt {
    fn brokers(&self, known: &ClusterInfo) -> Result<Vec<(String, String)>, Failure> {
        let clusters: Vec<&String> = match &self.cluster {
            Some(cluster) => vec![cluster],
            None => known.cluster_addr_table.keys().collect(),
        };
        let mut all = Vec::new();
        for cluster in clusters {
            let brokers = brokers_of(known, cluster)?.into_iter();
            all.extend(brokers.map(|broker| (cluster.clone(), broker.broker_name)));
        }
        Ok(all)
    }

    async fn probe(
        &self,
        admin: &DefaultMqAdminExt,
        out: &mut Output,
        (cluster, broker): (&str, &str),
    ) -> BrokerRt {
        let message = probe(broker, self.size);
        let mut found = BrokerRt {
            log_room: self.print_log.then(|| self.machine_room.clone()),
            cluster: cluster.to_owned(),
            broker: broker.to_owned(),
            mean_ms: 0.0,
            sent: 0,
            failed: 0,
        };
        let places = match admin.topic_publish_info(broker).await {
            Ok(places) => places,
            Err(error) => {
                out.problem(error);
                found.failed = self.amount;
                return found;
            }
        };
        let mut times = Vec::new();
        let mut first = None;
        for _ in 0..self.amount {
            let begin = Instant::now();
            let outcome = admin.send_in(&places, &message, None).await;
            times.push(begin.elapsed());
            match outcome {
                Ok(_) => found.sent += 1,
                Err(error) => {
                    found.failed += 1;
                    first.get_or_insert(error);
                }
            }
        }
        // The first reason stands for all of a round.
        if let Some(error) = first {
            out.problem(error);
        }
        found.mean_ms = mean_ms(&times);
        found
    }
}

/// What became of the probes of one broker.
struct BrokerRt {
    /// As a line for a log, of this room.
    log_room: Option<String>,
    cluster: String,
    broker: String,
    mean_ms: f64,
    sent: u64,
    failed: u64,
}

impl Serialize for BrokerRt {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: Value = json!({
            "clusterName": self.cluster,
            "brokerName": self.broker,
            "rtMs": self.mean_ms,
            "successCount": self.sent,
            "failCount": self.failed,
        });
        value.serialize(serializer)
    }
}

impl Display for BrokerRt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let BrokerRt { cluster, broker, sent, failed, .. } = self;
        match &self.log_room {
            Some(room) => {
                let now = Timestamp::now().to_zoned(Offset::constant(8).to_time_zone());
                let now = now.strftime("%Y-%m-%d %H:%M:%S");
                writeln!(f, "{now}|{room}|{cluster}|{broker}|{:.0}", self.mean_ms.round())
            }
            None => {
                let mean = format!("{:.2}", self.mean_ms);
                writeln!(f, "{cluster:<24}  {broker:<24}  {mean:<8}  {sent:<16}  {failed:<16}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_does_not_count() {
        let times = [900, 2, 4].map(Duration::from_millis);
        assert_eq!(mean_ms(&times), 3.0);
        assert_eq!(mean_ms(&times[..1]), 0.0);
    }
}
