//! Bodies that Java does not write: files under `config/`, C++ clients, hostile bytes. Java's are golden vectors.

use super::*;

#[test]
fn config_files_are_read_as_java_prints_them() {
    let text = b"{\n\t\"dataVersion\":{\n\t\t\"counter\":2,\n\t\t\"timestamp\":1700000000000\n\t},\n\t\"offsetTable\":{\n\t\t\"orders@cg\":{0:5,1:6\n\t\t}\n\t}\n}";
    let table = ConsumerOffsetTable::read(text).expect("file");
    assert_eq!(table.offset_table["orders@cg"], [(0, 5), (1, 6)].into());
    let levels = DelayOffsetTable::read(b"{\n\t\"offsetTable\":{1:7,18:9\n\t}\n}").expect("file");
    assert_eq!(levels.offset_table, [(1, 7), (18, 9)].into());
}

#[test]
fn a_cpp_heartbeat_is_read() {
    let text = br#"{"clientID":"c","consumerDataSet":[{"consumeFromWhere":4,"consumeType":1,"groupName":"cg","messageModel":1,"subscriptionDataSet":[{"subString":"*","subVersion":"1700000000001","topic":"orders"}]}]}"#;
    let heartbeat = HeartbeatData::read(text).expect("heartbeat");
    let consumer = &heartbeat.consumer_data_set[0];
    assert_eq!(consumer.consume_from_where, ConsumeFromWhere::FirstOffset);
    assert_eq!(consumer.consume_type, ConsumeType::ConsumePassively);
    assert_eq!(consumer.message_model, MessageModel::Clustering);
    assert_eq!(consumer.subscription_data_set[0].sub_version, 1_700_000_000_001);
    assert_eq!(consumer.subscription_data_set[0].expression_type, "TAG");
    assert!(heartbeat.producer_data_set.is_empty());
}

#[test]
fn unknown_values_and_references_do_not_fail() {
    let text = br#"{"clientID":"c","consumerDataSet":[{"consumeType":"CONSUME_BY_MAGIC","messageModel":77,"groupName":"g"}],"news":{"$ref":"$"}}"#;
    let heartbeat = HeartbeatData::read(text).expect("heartbeat");
    assert_eq!(heartbeat.consumer_data_set[0].consume_type, ConsumeType::ConsumePassively);
    let text = br#"{"topicConfigSerializeWrapper":{"dataVersion":{"counter":3,"timestamp":1,"stateVersion":0},"mappingDataVersion":{"$ref":"$.dataVersion"},"topicConfigTable":{"t":{"attributes":{"a":"b"},"perm":"6"}}}}"#;
    let body = RegisterBrokerBody::read(text, false).expect("body");
    assert_eq!(body.topic_config.topic_config_table["t"].topic_name, "t");
}

#[test]
fn queue_keys_may_be_strings() {
    let text = br#"{"offsetTable":{"{\"brokerName\":\"b\",\"queueId\":1,\"topic\":\"t\"}":{"maxOffset":9}}}"#;
    let table = TopicStatsTable::read(text).expect("body").offset_table;
    let queue = MessageQueue { topic: "t".into(), broker_name: "b".into(), queue_id: 1 };
    assert_eq!(table[&queue].max_offset, 9);
}

#[test]
fn inflating_is_bounded() {
    use std::io::Write;
    let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..=INFLATED_BYTES_MAX >> 16 {
        deflate.write_all(&[0; 1 << 16]).expect("memory");
    }
    let bomb = deflate.finish().expect("memory");
    let error = RegisterBrokerBody::read(&bomb, true).expect_err("too large");
    assert!(matches!(error, BodyError::TooLarge { .. }), "{error}");
}

#[test]
fn bodies_that_grow_much_in_memory_are_refused_before_that() {
    for value in [r#"{"":0}"#, "[0]", "0"] {
        let values = vec![value; (4 << 20) / (value.len() + 1) - 100].join(",");
        let text = format!(r#"{{"clientID":"c","news":[{values}]}}"#);
        let refused = HeartbeatData::read(text.as_bytes()).expect_err("too many");
        assert!(matches!(refused, BodyError::TooManyValues { .. }), "{refused}");
    }
    // The largest heartbeat that means something: all topics that a group may have, with tags.
    let subscription = SubscriptionData {
        code_set: vec![1_234_567_890; 20],
        tags_set: vec!["a-tag-of-20-letters-".to_owned(); 20],
        topic: "a-topic".to_owned(),
        ..SubscriptionData::default()
    };
    let subscription_data_set = vec![subscription; 4_096];
    let consumer = ConsumerData { subscription_data_set, ..ConsumerData::default() };
    let heartbeat = HeartbeatData { consumer_data_set: vec![consumer], ..Default::default() };
    let mut text = Vec::new();
    heartbeat.write(&mut text);
    assert_eq!(HeartbeatData::read(&text).expect("it is no more than allowed"), heartbeat);
}

#[test]
fn wrong_kinds_are_named() {
    for (text, says) in [
        ("[]", "body in the body is not an object"),
        ("{\"groupList\":{}}", "groupList in the body is not a list"),
        ("{\"groupList\":[[]]}", "groupList in the body is not a text"),
        ("{", "body is not JSON: JSON ends too early"),
    ] {
        assert_eq!(GroupList::read(text.as_bytes()).expect_err("wrong").to_string(), says);
    }
}

/// As Java writes them; see the files that declare them.
#[test]
fn bodies_of_tools_have_the_shape_of_javas() {
    macro_rules! unchanged {
        ($body:ident, $text:expr) => {{
            let body = $body::read($text.as_bytes()).expect(stringify!($body));
            let mut out = Vec::new();
            body.write(&mut out);
            assert_eq!(String::from_utf8(out).expect("text"), $text);
            body
        }};
    }
    let producers = unchanged!(
        ProducerTable,
        r#"{"data":{"pg":[{"clientId":"id","language":"JAVA","lastUpdateTimestamp":1700000000000,"remoteIP":"/10.0.0.9:5555","version":409}]}}"#
    );
    assert_eq!(producers.data["pg"].len(), 1);
    let queue = unchanged!(
        ConsumeQueueAnswer,
        r#"{"filterData":"null","maxQueueIndex":9,"minQueueIndex":0,"queueData":[{"eval":false,"physicOffset":1,"physicSize":200,"tagsCode":97}]}"#
    );
    assert_eq!(queue.queue_data[0].physic_size, 200);
    unchanged!(CorrectionOffsets, r#"{"correctionOffsets":{0:9,1:9223372036854775807}}"#);
    let topics = TopicConfigList::read(
        br#"{"topicConfigList":[{"topicName":"t","attributes":{"+message.type":"FIFO"}},null]}"#,
    );
    let topics = topics.expect("a list").topic_config_list;
    assert_eq!((topics.len(), topics[0].write_queue_nums), (1, 16));
    let groups = GroupConfigList::read(br#"{"groupConfigList":[{"groupName":"g"}]}"#);
    assert_eq!(groups.expect("a list").group_config_list[0].retry_max_times, 16);
    let long = vec![b' '; (1 << 20) + 1];
    assert!(matches!(TopicConfigList::read(&long), Err(BodyError::TooLarge { .. })));
    assert!(matches!(GroupConfigList::read(&long), Err(BodyError::TooLarge { .. })));
}
