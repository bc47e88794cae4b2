//! How the members of a group get messages of a topic, and which queues: `QUERY_ASSIGNMENT` (400),
//! `SET_MESSAGE_REQUEST_MODE` (401), `GET_ALL_MESSAGE_REQUEST_MODE` (402) and `config/messageRequestMode.json`.
//!
//! Java refuses a request by an exception where a name is missing, so members that must be there are optional here: who
//! serves the request says which of them is missing.

use std::collections::BTreeMap;

use super::fields::{CLIENT_BODY_BYTES_MAX, TABLE_BODY_BYTES_MAX};
use super::member::{Member, body};
use super::streamed::parse_table;
use super::writer::Dialect;
use super::{BodyError, MessageModel, MessageQueue, java_enum};

java_enum! {
    /// How a consumer gets messages.
    MessageRequestMode {
        /// It pulls from queues of its own, and keeps offsets.
        #[default]
        Pull = "PULL",
        /// It pops from queues that it may share with others, and acknowledges each message.
        Pop = "POP",
    }
}

body! {
    /// Which queues of a topic does a client get? Source: Apache RocketMQ 5.3.3, `QueryAssignmentRequestBody`.
    #[derive(Eq)]
    QueryAssignmentRequest("body", CLIENT_BODY_BYTES_MAX) {
        /// The client.
        client_id: Option<String> = "clientId",
        /// Its group.
        consumer_group: Option<String> = "consumerGroup",
        /// Whether each member of the group gets all queues; `None` also for a name that is none.
        message_model: Option<MessageModel> = "messageModel",
        /// How queues are divided: `AVG`, `AVG_BY_CIRCLE` or what else a client knows.
        strategy_name: Option<String> = "strategyName",
        /// The topic.
        topic: Option<String> = "topic",
    }
}

body! {
    /// A queue that a client gets. Source: Apache RocketMQ 5.3.3, `MessageQueueAssignment`.
    #[derive(Eq)]
    QueueAssignment("messageQueueAssignments") {
        /// Nothing that Java's broker says anything in.
        attachments: BTreeMap<String, String> = "attachments" omit_default,
        /// The queue; number -1: all queues of its broker.
        message_queue: MessageQueue = "messageQueue",
        /// How the client gets messages from it.
        mode: MessageRequestMode = "mode",
    }
}

body! {
    /// The answer: `None` leaves the client with what it has, an empty list takes everything from it.
    /// Source: Apache RocketMQ 5.3.3, `QueryAssignmentResponseBody`.
    #[derive(Eq)]
    QueryAssignmentResponse("body", TABLE_BODY_BYTES_MAX) {
        /// The queues.
        message_queue_assignments: Option<Vec<QueueAssignment>> = "messageQueueAssignments",
    }
}

body! {
    /// How a group shall get messages of a topic. Source: Apache RocketMQ 5.3.3, `SetMessageRequestModeRequestBody`.
    #[derive(Eq)]
    SetRequestModeRequest("body", CLIENT_BODY_BYTES_MAX) {
        /// The group.
        consumer_group: Option<String> = "consumerGroup",
        /// Name or ordinal of a [`MessageRequestMode`], or something that is none: to be refused.
        mode: String = "mode" default(MessageRequestMode::Pull.name().to_owned()),
        /// See [`GroupRequestMode::pop_share_queue_num`].
        pop_share_queue_num: i32 = "popShareQueueNum",
        /// The topic.
        topic: Option<String> = "topic",
    }
}

body! {
    /// How a group gets messages of a topic: an entry of the table, and of the journal of metadata.
    #[derive(Eq)]
    GroupRequestMode("messageRequestModeMap", CLIENT_BODY_BYTES_MAX) {
        /// The group.
        consumer_group: String = "consumerGroup",
        /// How.
        mode: MessageRequestMode = "mode",
        /// So many members behind a member share their queues with it; all do if it is not above 0.
        pop_share_queue_num: i32 = "popShareQueueNum",
        /// The topic.
        topic: String = "topic",
    }
}

body! {
    /// All modes of a broker: `GET_ALL_MESSAGE_REQUEST_MODE` (402), `config/messageRequestMode.json`.
    /// Source: Apache RocketMQ 5.3.3, `MessageRequestModeManager`, `MessageRequestModeSerializeWrapper`.
    #[derive(Eq)]
    RequestModeTable("body") {
        /// In our file only: changes that it contains. Java passes over it.
        counter: i64 = "counter" omit_default,
        /// Topic to group to mode.
        message_request_mode_map: BTreeMap<String, BTreeMap<String, GroupRequestMode>> = "messageRequestModeMap",
    }
}

/// Read by hand: the table can be large, so its entries are read topic by topic.
impl RequestModeTable {
    /// Reads the body or file.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let mut topics = BTreeMap::new();
        let path = "messageRequestModeMap";
        let rest = parse_table(bytes, TABLE_BODY_BYTES_MAX, &[path], |topic, value| {
            let groups = BTreeMap::<String, GroupRequestMode>::from_value(value, path)?;
            topics.insert(topic, groups.unwrap_or_default());
            Ok(())
        })?;
        let table = Self::from_value(&rest, "body")?.unwrap_or_default();
        Ok(RequestModeTable { message_request_mode_map: topics, ..table })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_value(out, Dialect::Fastjson);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_question_is_read_as_java_writes_it_and_what_is_missing_is_seen() {
        let java = br#"{"clientId":"10.0.0.9@123","consumerGroup":"cg","messageModel":"CLUSTERING","strategyName":"AVG","topic":"orders"}"#;
        let asked = QueryAssignmentRequest::read(java).expect("Java's own");
        assert_eq!(asked.message_model, Some(MessageModel::Clustering));
        assert_eq!(asked.strategy_name.as_deref(), Some("AVG"));
        assert_eq!(text(|out| asked.write(out)).as_bytes(), java);
        let lenient = QueryAssignmentRequest::read(b"{messageModel:0,topic:'t',clientId:null}");
        let lenient = lenient.expect("fastjson reads it");
        assert_eq!(lenient.message_model, Some(MessageModel::Broadcasting));
        assert_eq!((lenient.topic.as_deref(), lenient.client_id), (Some("t"), None));
        let unknown = QueryAssignmentRequest::read(br#"{"messageModel":"SOMETIMES"}"#);
        assert_eq!(unknown.expect("no error yet").message_model, None);
    }

    #[test]
    fn an_answer_without_queues_is_not_one_with_none() {
        let keep = QueryAssignmentResponse::default();
        assert_eq!(text(|out| keep.write(out)), "{}");
        let nothing = QueryAssignmentResponse { message_queue_assignments: Some(Vec::new()) };
        assert_eq!(text(|out| nothing.write(out)), r#"{"messageQueueAssignments":[]}"#);
        let queue = MessageQueue {
            broker_name: "b-a".to_owned(),
            queue_id: -1,
            topic: "orders".to_owned(),
        };
        let assignment = QueueAssignment {
            message_queue: queue,
            mode: MessageRequestMode::Pop,
            ..QueueAssignment::default()
        };
        let one = QueryAssignmentResponse { message_queue_assignments: Some(vec![assignment]) };
        let written = r#"{"messageQueueAssignments":[{"messageQueue":{"brokerName":"b-a","queueId":-1,"topic":"orders"},"mode":"POP"}]}"#;
        assert_eq!(text(|out| one.write(out)), written);
        let of_java = written.replace(r#"{"messageQueue""#, r#"{"attachments":{},"messageQueue""#);
        assert_eq!(QueryAssignmentResponse::read(of_java.as_bytes()).expect("Java's own"), one);
    }

    #[test]
    fn a_mode_that_is_none_is_kept_for_who_refuses_it() {
        let read = |body: &str| SetRequestModeRequest::read(body.as_bytes()).expect(body);
        let java = r#"{"consumerGroup":"cg","mode":"POP","popShareQueueNum":0,"topic":"orders"}"#;
        assert_eq!(text(|out| read(java).write(out)), java);
        assert_eq!(read("{}"), SetRequestModeRequest::default());
        assert_eq!(read("{}").mode, "PULL");
        assert_eq!(read("{mode:'PUSH'}").mode, "PUSH");
        let ordinal = read("{mode:1}").mode;
        assert_eq!(MessageRequestMode::from_name(&ordinal), Some(MessageRequestMode::Pop));
        assert_eq!(MessageRequestMode::from_name("PUSH"), None);
    }

    #[test]
    fn the_table_has_javas_shape_and_our_counter_stands_in_our_file_alone() {
        let entry = r#"{"consumerGroup":"cg","mode":"POP","popShareQueueNum":-1,"topic":"orders"}"#;
        let java = format!(r#"{{"messageRequestModeMap":{{"orders":{{"cg":{entry}}},"x":{{}}}}}}"#);
        let mut table = RequestModeTable::read(java.as_bytes()).expect("Java's own");
        assert_eq!(table.message_request_mode_map["orders"]["cg"].mode, MessageRequestMode::Pop);
        assert_eq!(table.message_request_mode_map["x"].len(), 0);
        assert_eq!(text(|out| table.write(out)), java);
        table.counter = 7;
        let ours = text(|out| table.write(out));
        assert!(ours.starts_with(r#"{"counter":7,"messageRequestModeMap":{"#), "{ours}");
        assert_eq!(RequestModeTable::read(ours.as_bytes()).expect("our own"), table);
        let printed = b"{\n\t\"messageRequestModeMap\":{\n\t\t\"t\":{\n\t\t\t\"g\":{\n\t\t\t\t\"mode\":\"PULL\"\n\t\t\t}\n\t\t}\n\t}\n}";
        let printed = RequestModeTable::read(printed).expect("as Java's broker prints it");
        assert_eq!(printed.message_request_mode_map["t"]["g"], GroupRequestMode::default());
        let refused = RequestModeTable::read(br#"{"messageRequestModeMap":{"t":3}}"#);
        let says = refused.expect_err("no table").to_string();
        assert_eq!(says, "messageRequestModeMap in the body is not an object");
    }
}
