//! Pulling (11, 361), with and without waiting at the broker.

use std::time::Duration;

use proto::code::request;
use proto::command::ExtValue;
use proto::record;

use crate::{Answer, ClientError, Connection, Received, Ticket};

/// `sysFlag` bits of a pull.
const COMMIT_OFFSET: i32 = 1;
const SUSPEND: i32 = 2;
const SUBSCRIPTION: i32 = 4;
const LITE_PULL: i32 = 16;

/// What to pull.
#[derive(Clone, Debug)]
pub struct PullRequest<'a> {
    /// Consumer group.
    pub group: &'a str,
    /// Topic.
    pub topic: &'a str,
    /// Queue.
    pub queue_id: i32,
    /// From here on.
    pub offset: i64,
    /// At most this many messages.
    pub messages_max: i32,
    /// Wait at the broker this long when there is nothing new; zero answers at once.
    pub park: Duration,
    /// Offset to commit on the way, if any.
    pub commit_offset: Option<i64>,
    /// Subscription carried along (`*`, `TagA || TagB`); None relies on the last heartbeat.
    pub subscription: Option<&'a str>,
    /// What kind of subscription it is: `TAG`, `SQL92`.
    pub expression_type: &'a str,
    /// Version of the subscription, compared with the heartbeat's when none is carried.
    pub sub_version: i64,
    /// Ask with LITE_PULL_MESSAGE (361) instead of PULL_MESSAGE (11).
    pub lite: bool,
}

impl<'a> PullRequest<'a> {
    /// Up to 32 messages, any tag, not waiting, nothing committed.
    pub fn new(group: &'a str, topic: &'a str, queue_id: i32, offset: i64) -> PullRequest<'a> {
        PullRequest {
            group,
            topic,
            queue_id,
            offset,
            messages_max: 32,
            park: Duration::ZERO,
            commit_offset: None,
            subscription: Some("*"),
            expression_type: "TAG",
            sub_version: 0,
            lite: false,
        }
    }

    /// The same, waiting at the broker.
    pub fn parked(mut self, park: Duration) -> PullRequest<'a> {
        self.park = park;
        self
    }

    pub(crate) fn code(&self) -> i32 {
        if self.lite { request::LITE_PULL_MESSAGE } else { request::PULL_MESSAGE }
    }

    pub(crate) fn fields(&self) -> Vec<(&'a str, ExtValue<'a>)> {
        let flag = |set: bool, bit: i32| if set { bit } else { 0 };
        let sys_flag = flag(self.commit_offset.is_some(), COMMIT_OFFSET)
            | flag(!self.park.is_zero(), SUSPEND)
            | flag(self.subscription.is_some(), SUBSCRIPTION)
            | flag(self.lite, LITE_PULL);
        let park_ms = i64::try_from(self.park.as_millis()).unwrap_or(i64::MAX);
        let mut ext: Vec<(&str, ExtValue<'_>)> = vec![
            ("queueId", self.queue_id.into()),
            ("maxMsgNums", self.messages_max.into()),
            ("sysFlag", sys_flag.into()),
            ("suspendTimeoutMillis", park_ms.into()),
            ("commitOffset", self.commit_offset.unwrap_or(0).into()),
            ("topic", self.topic.into()),
            ("queueOffset", self.offset.into()),
            ("expressionType", self.expression_type.into()),
            ("subVersion", self.sub_version.into()),
            ("consumerGroup", self.group.into()),
        ];
        ext.extend(self.subscription.map(|subscription| ("subscription", subscription.into())));
        ext
    }
}

/// How a pull ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullStatus {
    /// 0: there are messages.
    Found,
    /// 19: nothing there yet.
    NotFound,
    /// 20: nothing here matched; go on at the next offset.
    RetryImmediately,
    /// 21: the offset is outside of the queue.
    OffsetMoved,
}

/// The answer to a pull.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// How it ended.
    pub status: PullStatus,
    /// Where to go on.
    pub next_offset: i64,
    /// First offset of the queue.
    pub min_offset: i64,
    /// Offset of the queue's next message.
    pub max_offset: i64,
    /// `suggestWhichBrokerId`.
    pub suggested_broker: i64,
    /// Messages in order.
    pub messages: Vec<Received>,
}

impl Connection {
    /// Pulls; waits for the connection's timeout beyond the time to park.
    pub fn pull(&mut self, pull: &PullRequest<'_>) -> Result<Pulled, ClientError> {
        let ticket = self.start_pull(pull)?;
        let patient = self.with_patience(pull.park, |connection| connection.finish(ticket))?;
        pulled(patient)
    }

    /// Asks without waiting; [`finish_pull`](Self::finish_pull) takes the answer.
    pub fn start_pull(&mut self, pull: &PullRequest<'_>) -> Result<Ticket, ClientError> {
        self.start(pull.code(), &pull.fields(), &[])
    }

    /// Waits for the answer to one pull.
    pub fn finish_pull(&mut self, ticket: Ticket) -> Result<Pulled, ClientError> {
        pulled(self.finish(ticket)?)
    }
}

/// What an answer to 11 or 361 says. Every message's lengths and body CRC are checked.
pub fn pulled(answer: Answer) -> Result<Pulled, ClientError> {
    let answer = answer.one_of(&[0, 19, 20, 21])?;
    let status = match answer.code {
        0 => PullStatus::Found,
        19 => PullStatus::NotFound,
        20 => PullStatus::RetryImmediately,
        _ => PullStatus::OffsetMoved,
    };
    Ok(Pulled {
        status,
        next_offset: answer.number("nextBeginOffset")?,
        min_offset: answer.number("minOffset")?,
        max_offset: answer.number("maxOffset")?,
        suggested_broker: answer.number("suggestWhichBrokerId")?,
        messages: messages(&answer.body)?,
    })
}

/// The messages of a body, one behind the other, each checked.
pub fn messages(body: &[u8]) -> Result<Vec<Received>, ClientError> {
    let mut all = Vec::new();
    for record in record::records(body) {
        let record = record?;
        record.check_body()?;
        all.push(Received::new(&record));
    }
    Ok(all)
}
