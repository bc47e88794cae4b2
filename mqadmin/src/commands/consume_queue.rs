//! `queryCq`: entries of a consume queue.

use std::fmt::{self, Display, Formatter};

use client::admin_ext::QueueAt;
use client::{AdminError, DefaultMqAdminExt};
use proto::body::ConsumeQueueAnswer;
use proto::code::response;
use serde::Serialize;

use super::json_of;
use crate::text::or_null;
use crate::{Command, Failure, Output, fastjson_pretty};

/// Between the parts.
const LINE: &str = "======================================";

/// Shows entries of a consume queue, and which of them a group would get.
#[derive(clap::Args)]
pub(crate) struct QueryCq {
    /// The topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
    /// The queue
    #[arg(short = 'q', long = "queue", value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    queue: i32,
    /// First entry
    #[arg(short = 'i', long = "index", value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(0..))]
    index: i64,
    /// How many
    #[arg(short = 'c', long = "count", value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(i32).range(1..))]
    count: i32,
    /// Address of the broker; without it the first of the topic's route
    #[arg(short = 'b', long = "broker", value_name = "ADDR")]
    broker: Option<String>,
    /// What this group would get
    #[arg(short = 'g', long = "consumer", value_name = "GROUP")]
    consumer: Option<String>,
}

impl Command for QueryCq {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let addr = match &self.broker {
            Some(addr) => addr.clone(),
            None => self.first_broker(admin).await?,
        };
        let (queue, entries) = ((self.topic.as_str(), self.queue), (self.index, self.count));
        let group = self.consumer.as_deref();
        let answer = admin.query_consume_queue(&addr, queue, entries, group).await?;
        out.show(&Entries { index: self.index, answer })
    }
}

impl QueryCq {
    async fn first_broker(&self, admin: &DefaultMqAdminExt) -> Result<String, Failure> {
        let queues = admin.fetch_subscribe_message_queues(&self.topic).await?;
        let with_it = |at: &&QueueAt| at.queue.queue_id == self.queue;
        let found = queues.iter().find(with_it).map(|at| at.addr.clone());
        let missing = || AdminError::NotFound {
            what: format!("no broker has queue {} of topic {}", self.queue, self.topic),
            code: response::QUERY_NOT_FOUND,
        };
        Ok(found.ok_or_else(missing)?)
    }
}

struct Entries {
    /// The place of the first one.
    index: i64,
    answer: ConsumeQueueAnswer,
}

impl Serialize for Entries {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json_of(|out| self.answer.write(out)).serialize(serializer)
    }
}

impl Display for Entries {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let json = json_of(|out| self.answer.write(out));
        if let Some(subscription) = json.get("subscriptionData").filter(|data| !data.is_null()) {
            let pretty = fastjson_pretty::text(subscription);
            writeln!(f, "Subscription data: \n{pretty}\n{LINE}")?;
        }
        if let Some(filter) = &self.answer.filter_data {
            writeln!(f, "Filter data: \n{filter}\n{LINE}")?;
        }
        let (max, min) = (self.answer.max_queue_index, self.answer.min_queue_index);
        writeln!(f, "Queue data: \nmax: {max}, min: {min}\n{LINE}")?;
        for (index, entry) in (self.index..).zip(&self.answer.queue_data) {
            writeln!(
                f,
                "idx: {index}\nConsumeQueueData{{physicOffset={}, physicSize={}, tagsCode={}, \
                 extendDataJson='{}', bitMap='{}', eval={}, msg='{}'}}\n{LINE}",
                entry.physic_offset,
                entry.physic_size,
                entry.tags_code,
                or_null(entry.extend_data_json.as_deref()),
                or_null(entry.bit_map.as_deref()),
                entry.eval,
                or_null(entry.msg.as_deref())
            )?;
        }
        Ok(())
    }
}
