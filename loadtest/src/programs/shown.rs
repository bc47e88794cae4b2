//! Results and messages as Java's classes show themselves: scripts and people read these lines.

use client::Received;
use proto::properties;

use super::producer::SendResult;

impl std::fmt::Display for SendResult {
    /// `SendResult.toString` of 4.9.8.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let SendResult { status, unique_key, queue, sent } = self;
        write!(
            f,
            "SendResult [sendStatus={status}, msgId={unique_key}, offsetMsgId={}, messageQueue=MessageQueue [topic={}, \
             brokerName={}, queueId={}], queueOffset={}]",
            sent.message_id, queue.topic, queue.broker, sent.queue_id, sent.queue_offset
        )
    }
}

/// `MessageExt.toString` of 4.9.8.
pub fn message(broker: &str, message: &Received) -> String {
    let offset_id = message.message_id();
    let id = message.property("UNIQ_KEY").unwrap_or(&offset_id);
    let properties: Vec<String> = properties::iter(&message.properties)
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    // Java shows bytes with a sign.
    let body: Vec<String> =
        message.body.iter().map(|byte| byte.cast_signed().to_string()).collect();
    format!(
        "MessageExt [brokerName={broker}, queueId={}, storeSize={}, queueOffset={}, sysFlag={}, bornTimestamp={}, bornHost=/{}, \
         storeTimestamp={}, storeHost=/{}, msgId={id}, commitLogOffset={}, bodyCRC={}, reconsumeTimes={}, \
         preparedTransactionOffset={}, toString()=Message{{topic='{}', flag={}, properties={{{}}}, body=[{}], \
         transactionId='null'}}]",
        message.queue_id,
        message.store_size,
        message.queue_offset,
        message.sys_flag,
        message.born_timestamp,
        message.born_host,
        message.store_timestamp,
        message.store_host,
        message.physical_offset,
        message.body_crc,
        message.reconsume_times,
        message.prepared_transaction_offset,
        message.topic,
        message.flag,
        properties.join(", "),
        body.join(", "),
    )
}

/// A moment as Java's tools print it, in the machine's time zone: `2026-11-30 22:15:32,123`.
pub fn now() -> String {
    jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S,%3f").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::cluster::Queue;
    use client::Sent;

    #[test]
    fn results_and_messages_look_like_javas() {
        let queue = Queue {
            topic: "TopicTest".into(),
            broker: "broker-a".into(),
            id: 3,
            addr: "127.0.0.1:10911".into(),
        };
        let sent = Sent {
            message_id: "7F00000100002A9F0000000000000000".into(),
            queue_id: 3,
            queue_offset: 249,
            transaction_id: None,
            recall_handle: None,
        };
        let result = SendResult { status: "SEND_OK", unique_key: "7F".into(), queue, sent };
        assert_eq!(
            result.to_string(),
            "SendResult [sendStatus=SEND_OK, msgId=7F, offsetMsgId=7F00000100002A9F0000000000000000, \
             messageQueue=MessageQueue [topic=TopicTest, brokerName=broker-a, queueId=3], queueOffset=249]"
        );
        let received = Received {
            topic: "TopicTest".into(),
            queue_id: 1,
            queue_offset: 5,
            physical_offset: 4_096,
            sys_flag: 0,
            flag: 0,
            born_timestamp: 7,
            born_host: "127.0.0.1:5000".parse().unwrap(),
            store_timestamp: 8,
            store_host: "127.0.0.1:10911".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            store_size: 190,
            body_crc: 613_185_359,
            body: vec![72, 105, 0xe4],
            properties: "UNIQ_KEY\u{1}K1\u{2}TAGS\u{1}TagA".into(),
        };
        assert_eq!(
            message("broker-a", &received),
            "MessageExt [brokerName=broker-a, queueId=1, storeSize=190, queueOffset=5, sysFlag=0, bornTimestamp=7, \
             bornHost=/127.0.0.1:5000, storeTimestamp=8, storeHost=/127.0.0.1:10911, msgId=K1, commitLogOffset=4096, \
             bodyCRC=613185359, reconsumeTimes=0, preparedTransactionOffset=0, toString()=Message{topic='TopicTest', flag=0, \
             properties={UNIQ_KEY=K1, TAGS=TagA}, body=[72, 105, -28], transactionId='null'}]"
        );
        let now = now();
        assert_eq!((now.len(), &now[19..20]), (23, ","), "{now}");
    }
}
