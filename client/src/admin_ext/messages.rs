//! Messages that are stored: by id, by key, and one handed to a consumer again.

use std::borrow::Cow;
use std::io::Read as _;
use std::net::SocketAddr;

use proto::body::{BodyError, ConsumeMessageDirectlyResult};
use proto::code::{request, response};
use proto::record::SYS_FLAG_COMPRESSED;

use super::name_servers::select_broker_addr;
use super::{AdminError, DefaultMqAdminExt};
use crate::{Received, pull};

/// Where the bits of `sysFlag` that say how a body is compressed lie.
const COMPRESSION_BITS: i32 = 0x700;
/// Of those: zlib, which senders before 5.0 do not name.
const COMPRESSION_ZLIB: [i32; 2] = [0, 0x300];
/// Largest body that a compressed one may become: what a broker can be told to take, and more than any takes by default.
const BODY_BYTES_MAX: u64 = 128 << 20;

/// The answer of a consumer that was handed a message: `CONSUME_MESSAGE_DIRECTLY` (309).
pub type DirectConsumption = ConsumeMessageDirectlyResult;

/// Which messages to look up.
#[derive(Clone, Copy, Debug)]
pub struct KeyQuery<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Key, or the id that the producer gave the message.
    pub key: &'a str,
    /// Most messages of each broker.
    pub max_num: i32,
    /// When they were stored at the earliest, ms since the epoch.
    pub begin_ms: i64,
    /// When they were stored at the latest, ms since the epoch.
    pub end_ms: i64,
    /// The key is the producer's id of one message.
    pub unique: bool,
}

impl DefaultMqAdminExt {
    /// VIEW_MESSAGE_BY_ID (33): the message that a broker gave this id, asked at the address inside of it.
    pub async fn view_message(&self, id: &str) -> Result<Received, AdminError> {
        let (store_host, offset) = place_of(id)?;
        let ext = [("offset", offset.into())];
        let request = self.request(request::VIEW_MESSAGE_BY_ID, &ext);
        let told = self.ask_broker(&store_host.to_string(), &request).await?;
        let mut found = told.read(|answer| pull::messages(&answer.body))?;
        let one = found.pop().filter(|_| found.is_empty());
        let missing = || AdminError::NotFound {
            what: format!("{store_host} has no message {id}"),
            code: response::QUERY_NOT_FOUND,
        };
        one.ok_or_else(missing)
    }

    /// QUERY_MESSAGE (12) at each broker of the topic's route: messages by key. Brokers find them by a hash of the key, so
    /// those whose key is another one are left out here.
    pub async fn query_message(&self, query: &KeyQuery<'_>) -> Result<Vec<Received>, AdminError> {
        let route = self.examine_topic_route_info(query.topic).await?;
        let ext = [
            ("topic", query.topic.into()),
            ("key", query.key.into()),
            ("maxNum", query.max_num.into()),
            ("beginTimestamp", query.begin_ms.into()),
            ("endTimestamp", query.end_ms.into()),
            ("_UNIQUE_KEY_QUERY", query.unique.into()),
        ];
        let request = self.slow_request(request::QUERY_MESSAGE, &ext);
        let mut all = Vec::new();
        for addr in route.broker_datas.iter().filter_map(select_broker_addr) {
            let told = self.ask_broker(addr, &request).await?;
            if told.answer.code != response::QUERY_NOT_FOUND {
                all.extend(told.read(|answer| pull::messages(&answer.body))?);
            }
        }
        all.retain(|message| message.topic == query.topic && has_key(message, query));
        Ok(all)
    }

    /// CONSUME_MESSAGE_DIRECTLY (309): hands a message to one member of a group, through the broker that stores it.
    pub async fn consume_message_directly(
        &self,
        group: &str,
        client_id: &str,
        id: &str,
    ) -> Result<DirectConsumption, AdminError> {
        let store_host = self.view_message(id).await?.store_host.to_string();
        let ext =
            [("consumerGroup", group.into()), ("clientId", client_id.into()), ("msgId", id.into())];
        let request = self.slow_request(request::CONSUME_MESSAGE_DIRECTLY, &ext);
        let read: fn(&[u8]) -> Result<DirectConsumption, BodyError> = DirectConsumption::read;
        self.ask_broker(&store_host, &request).await?.body(read)
    }
}

fn place_of(id: &str) -> Result<(SocketAddr, i64), AdminError> {
    let decoded = proto::message_id::decode(id);
    decoded.map_err(|source| AdminError::MessageId { id: id.to_owned(), source })
}

fn has_key(message: &Received, query: &KeyQuery<'_>) -> bool {
    if query.unique {
        return message.property("UNIQ_KEY") == Some(query.key);
    }
    message.property("KEYS").is_some_and(|keys| keys.split(' ').any(|key| key == query.key))
}

/// The body as its producer gave it: what clients compress with zlib is inflated.
pub fn body_of(message: &Received) -> Result<Cow<'_, [u8]>, AdminError> {
    if message.sys_flag & SYS_FLAG_COMPRESSED == 0 {
        return Ok(Cow::Borrowed(&message.body));
    }
    let bad = |reason: String| AdminError::Compressed { id: message.message_id(), reason };
    let kind = message.sys_flag & COMPRESSION_BITS;
    if !COMPRESSION_ZLIB.contains(&kind) {
        return Err(bad(format!(
            "its sysFlag {:#x} names another way than zlib",
            message.sys_flag
        )));
    }
    let mut body = Vec::new();
    let mut inflating = flate2::read::ZlibDecoder::new(message.body.as_slice());
    let read = inflating.by_ref().take(BODY_BYTES_MAX).read_to_end(&mut body);
    read.map_err(|error| bad(error.to_string()))?;
    if inflating.read(&mut [0]).is_ok_and(|more| more > 0) {
        return Err(bad(format!("it is larger than {BODY_BYTES_MAX} bytes")));
    }
    Ok(Cow::Owned(body))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn message(sys_flag: i32, body: Vec<u8>) -> Received {
        let host: SocketAddr = "127.0.0.1:10911".parse().expect("an address");
        Received {
            topic: "t".to_owned(),
            queue_id: 0,
            queue_offset: 0,
            physical_offset: 0,
            sys_flag,
            flag: 0,
            born_timestamp: 0,
            born_host: host,
            store_timestamp: 0,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            store_size: 0,
            body_crc: 0,
            body,
            properties: String::new(),
        }
    }

    #[test]
    fn bodies_are_inflated() {
        let mut deflating = flate2::write::ZlibEncoder::new(Vec::new(), Default::default());
        deflating.write_all(&[7; 10_000]).expect("memory");
        let deflated = deflating.finish().expect("memory");
        assert_eq!(body_of(&message(0, vec![1])).expect("as it is").as_ref(), [1]);
        for flag in [0x1, 0x301] {
            let found = message(flag, deflated.clone());
            assert_eq!(body_of(&found).expect("zlib").as_ref(), [7; 10_000]);
        }
        assert!(body_of(&message(0x101, deflated)).is_err());
        assert!(body_of(&message(1, vec![1, 2, 3])).is_err());
    }
}
