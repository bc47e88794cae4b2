//! What Java's own classes encoded is decoded to what was put in, and encoded again to the same bytes.

#[path = "golden/vectors.rs"]
mod vectors;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use proto::body::*;
use proto::command::{self, ExtValue, HeaderArena, Language, RequestHead, ResponseHead};
use proto::frame::{HeaderKind, next_frame};
use proto::{batch, message_id, properties, record};
use serde_json::Value;
use vectors::{Vector, load};

const VERSIONS: [&str; 2] = ["4.9.7", "5.3.3"];

#[test]
fn there_are_enough() {
    for version in VERSIONS {
        let count: usize =
            ["frames", "records", "bodies"].map(|what| load(what, version).len()).iter().sum();
        assert!(count >= 100, "{version}: {count}");
    }
}

#[test]
fn frames() {
    for vector in VERSIONS.iter().flat_map(|version| load("frames", version)) {
        check_frame(&vector);
    }
}

fn check_frame(vector: &Vector) {
    let name = &vector.name;
    let frame = next_frame(&vector.bytes).expect("frame").expect("whole");
    assert_eq!(frame.wire_bytes, vector.bytes.len(), "{name}");
    let mut arena = HeaderArena::default();
    let header = command::decode(frame.kind, frame.header, &mut arena).expect(name);
    assert_eq!(i64::from(header.code), vector.number("code"), "{name}");
    assert_eq!(i64::from(header.opaque), vector.number("opaque"), "{name}");
    assert_eq!(i64::from(header.version), vector.number("version"), "{name}");
    assert_eq!(i64::from(header.flag), vector.number("flag"), "{name}");
    assert_eq!(header.language.name(), "JAVA", "{name}");
    let body = vector.input.get("body").map_or("", String::as_str);
    assert_eq!(frame.body, body.as_bytes(), "{name}");
    let remark = vector.input.get("remark").map_or("", String::as_str);
    assert_eq!(header.remark.unwrap_or_default(), remark, "{name}");
    let read: BTreeMap<String, String> =
        header.ext.iter().map(|(k, v)| (format!("ext.{k}"), v.to_owned())).collect();
    let put: BTreeMap<String, String> = vector
        .input
        .iter()
        .filter(|(k, _)| k.starts_with("ext."))
        // Java's binary decoder takes an empty value for none, and so do we.
        .filter(|(_, v)| frame.kind == HeaderKind::Json || !v.is_empty())
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    assert_eq!(read, put, "{name}");

    let ext: Vec<_> = header.ext.iter().map(|(k, v)| (k, ExtValue::Str(v))).collect();
    let mut ours = Vec::new();
    let mut theirs = vector.bytes.clone();
    if header.is_response() {
        let head = ResponseHead {
            code: header.code,
            opaque: header.opaque,
            remark: header.remark,
            ext: &ext,
        };
        command::write_response(&mut ours, frame.kind, &head, frame.body);
    } else {
        let head = RequestHead {
            code: header.code,
            language: Language::Java,
            version: header.version,
            opaque: header.opaque,
            oneway: header.is_oneway(),
            remark: header.remark,
            ext: &ext,
        };
        command::write_request(&mut ours, frame.kind, &head, frame.body);
    }
    match frame.kind {
        HeaderKind::Rocketmq => {
            if header.is_response() {
                // We answer with our own version: two bytes behind code (2) and language (1).
                let version = (command::OUR_VERSION as i16).to_be_bytes();
                theirs[8 + 3..8 + 5].copy_from_slice(&version);
            }
            // An empty value that was read as none is not written again.
            if !vector.input.iter().any(|(k, v)| k.starts_with("ext.") && v.is_empty()) {
                assert_eq!(ours, theirs, "{name}");
            }
        }
        HeaderKind::Json => {
            let mut expected = meaning(frame.header);
            if header.is_response() {
                expected["version"] = command::OUR_VERSION.into();
            }
            let ours = next_frame(&ours).expect("frame").expect("whole");
            assert_eq!(meaning(ours.header), expected, "{name}");
            assert_eq!(ours.body, frame.body, "{name}");
        }
    }
}

/// A JSON header, without the difference between absent, null and empty.
fn meaning(header: &[u8]) -> Value {
    let mut value: Value = serde_json::from_slice(header).expect("JSON");
    let members = value.as_object_mut().expect("object");
    members.retain(|_, value| !value.is_null() && value.as_object().is_none_or(|o| !o.is_empty()));
    value
}

#[test]
fn records() {
    let mut count = 0;
    for vector in VERSIONS.iter().flat_map(|version| load("records", version)) {
        match vector.name.as_str() {
            name if name.starts_with("stored_") || name.starts_with("decoder_") => {
                check_record(&vector);
            }
            "batch_three" => check_batch(&vector),
            "message_id" => check_message_id(&vector),
            "hash" => {
                let text = std::str::from_utf8(&vector.bytes).expect("UTF-8");
                assert_eq!(i64::from(record::string_hash(text)), vector.number("hash"));
                assert_eq!(i64::from(record::body_crc(&vector.bytes)), vector.number("crc"));
            }
            "properties" => {
                let text = std::str::from_utf8(&vector.bytes).expect("UTF-8");
                let read: BTreeMap<String, String> = properties::iter(text)
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect();
                assert_eq!(read, vector.input, "{text:?}");
                for (name, value) in &vector.input {
                    assert_eq!(properties::get(text, name), Some(value.as_str()));
                }
            }
            other => panic!("{other}"),
        }
        count += 1;
    }
    assert!(count > 100);
}

fn check_record(vector: &Vector) {
    let name = &vector.name;
    let ip = |field| vector.get(field).parse::<IpAddr>().expect("address");
    let view = record::RecordView::parse(&vector.bytes).expect(name);
    assert_eq!(view.total_size(), vector.bytes.len(), "{name}");
    assert_eq!(view.check_body(), Ok(()), "{name}");
    assert_eq!(view.topic(), vector.get("topic"), "{name}");
    assert_eq!(view.properties_text(), vector.get("properties"), "{name}");
    assert_eq!(view.born_host(), SocketAddr::new(ip("bornHost"), 45678), "{name}");
    assert_eq!(view.store_host(), SocketAddr::new(ip("storeHost"), 10911), "{name}");
    assert_eq!(i64::from(view.sys_flag()), vector.number("sysFlag"), "{name}");
    assert_eq!(view.prepared_transaction_offset(), vector.number("prepared"), "{name}");
    assert_eq!(i64::from(view.body_crc()), vector.number("bodyCrc"), "{name}");
    assert_eq!(view.body().len() as i64, vector.number("bodyLength"), "{name}");
    assert_eq!((view.queue_id(), view.flag(), view.reconsume_times()), (3, -7, 2), "{name}");
    assert_eq!(view.born_timestamp(), 1_700_000_000_000, "{name}");
    let place = |field| vector.input.get(field).map_or(0, |_| vector.number(field));
    assert_eq!(view.queue_offset(), place("queueOffset"), "{name}");
    assert_eq!(view.physical_offset(), place("physicalOffset"), "{name}");
    assert_eq!(view.store_timestamp(), place("storeTimestamp"), "{name}");

    let fields = record::RecordFields {
        queue_id: 3,
        flag: -7,
        sys_flag: view.sys_flag(),
        born_timestamp: view.born_timestamp(),
        born_host: view.born_host(),
        store_host: view.store_host(),
        reconsume_times: 2,
        prepared_transaction_offset: view.prepared_transaction_offset(),
        body: view.body(),
        topic: view.topic(),
        properties: [view.properties(), b"", b""],
    };
    assert_eq!(fields.check(4 << 20), Ok(()), "{name}");
    let mut ours = vec![0xEE; fields.encoded_len()];
    fields.encode_into(&mut ours);
    record::patch(
        &mut ours,
        place("queueOffset"),
        place("physicalOffset"),
        place("storeTimestamp"),
    );
    assert_eq!(ours, vector.bytes, "{name}");
}

fn check_batch(vector: &Vector) {
    let mut ours = Vec::new();
    let messages: Vec<_> = batch::messages(&vector.bytes).map(|m| m.expect("whole")).collect();
    assert_eq!(messages.len(), 3);
    for (index, message) in messages.iter().enumerate() {
        assert_eq!(i64::from(message.flag), vector.number(&format!("flag{index}")));
        assert_eq!(message.body, vector.get(&format!("body{index}")).as_bytes());
        assert_eq!(message.properties, vector.get(&format!("properties{index}")).as_bytes());
        batch::write(&mut ours, message).expect("small");
    }
    assert_eq!(ours, vector.bytes);
}

fn check_message_id(vector: &Vector) {
    let text = std::str::from_utf8(&vector.bytes).expect("UTF-8");
    let ip: IpAddr = vector.get("ip").parse().expect("address");
    let host = SocketAddr::new(ip, u16::try_from(vector.number("port")).expect("port"));
    let offset = vector.number("offset");
    assert_eq!(message_id::encode(host, offset).as_str(), text);
    assert_eq!(message_id::decode(text), Ok((host, offset)));
}

/// Reads a body and writes it again, which gives the shape of 4.9.
fn rewrite(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match name {
        "data_version" => DataVersion::read(bytes).expect(name).write(&mut out),
        "topic_config_table" => TopicConfigTable::read(bytes).expect(name).write(&mut out),
        "topic_list" => TopicList::read(bytes).expect(name).write(&mut out),
        "group_table" => SubscriptionGroupTable::read(bytes).expect(name).write(&mut out),
        "group_config" => SubscriptionGroupConfig::read(bytes).expect(name).write(&mut out),
        "group_list" => GroupList::read(bytes).expect(name).write(&mut out),
        "consumer_ids" => ConsumerIdList::read(bytes).expect(name).write(&mut out),
        "consumer_connection" => ConsumerConnection::read(bytes).expect(name).write(&mut out),
        "producer_connection" => ProducerConnection::read(bytes).expect(name).write(&mut out),
        "consume_stats" => ConsumeStats::read(bytes).expect(name).write(&mut out),
        "topic_stats" => TopicStatsTable::read(bytes).expect(name).write(&mut out),
        "kv_table" => KvTable::read(bytes).expect(name).write(&mut out),
        "offset_table" => ConsumerOffsetTable::read(bytes).expect(name).write(&mut out),
        "lock_request" | "unlock_request" => {
            LockBatchRequest::read(bytes).expect(name).write(&mut out);
        }
        "lock_response" => LockBatchResponse::read(bytes).expect(name).write(&mut out),
        "check_client" => CheckClientRequest::read(bytes).expect(name).write(&mut out),
        "heartbeat" | "heartbeat_producer" => {
            HeartbeatData::read(bytes).expect(name).write(&mut out);
        }
        "cluster_info" => ClusterInfo::read(bytes).expect(name).write(&mut out),
        "route" | "route_order" | "route_odd_names" => {
            RouteData::read(bytes).expect(name).write_default(&mut out);
        }
        "register_0" | "register_1" | "register_2" => {
            RegisterBrokerBody::read(bytes, false).expect(name).write(&mut out);
        }
        other => panic!("{other}"),
    }
    out
}

#[test]
fn bodies() {
    for (four, five) in load("bodies", "4.9.7").iter().zip(&load("bodies", "5.3.3")) {
        let name = four.name.as_str();
        assert_eq!(name, five.name);
        if name.ends_with("_compressed") {
            check_compressed(four);
            check_compressed(five);
        } else if name.ends_with("_standard") {
            let route = RouteData::read(&four.bytes).expect(name);
            let mut ours = Vec::new();
            route.write_standard(&mut ours);
            assert_eq!(text(&ours), text(&five.bytes), "{name}");
        } else if name == "register_2" {
            // Two topics: Java's order is that of its hash table.
            let read = |bytes| RegisterBrokerBody::read(bytes, false).expect(name);
            let ours = rewrite(name, &four.bytes);
            assert_eq!(read(&four.bytes), read(&ours));
            assert_eq!(read(&five.bytes), read(&ours));
        } else {
            assert_eq!(text(&rewrite(name, &four.bytes)), text(&four.bytes), "{name}");
            let ours = rewrite(name, &five.bytes);
            match name {
                // What 5.x adds of a group is given back, but for what says nothing.
                "group_table" | "group_config" => {
                    assert_eq!(without_empty(&ours), without_empty(&five.bytes), "{name}");
                }
                "consume_stats" | "topic_stats" => {
                    assert_eq!(text(&ours), text(&five.bytes), "{name}");
                }
                // All else that it adds is skipped, so the same body of 4.9 is left.
                _ => assert_eq!(text(&ours), text(&four.bytes), "{name}"),
            }
        }
    }
}

/// A body without members that are what an absent one means.
fn without_empty(bytes: &[u8]) -> serde_json::Value {
    fn strip(value: &mut serde_json::Value) {
        let Some(members) = value.as_object_mut() else { return };
        let empty = serde_json::json!({
            "attributes": {}, "consumeMessageOrderly": false, "groupSysFlag": 0, "stateVersion": 0,
            "forbiddenTable": {},
        });
        members.retain(|name, value| empty.get(name) != Some(value));
        members.values_mut().for_each(strip);
    }
    let mut value = serde_json::from_slice(bytes).expect("JSON");
    strip(&mut value);
    value
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn check_compressed(vector: &Vector) {
    let name = &vector.name;
    assert_eq!(i64::from(RegisterBrokerBody::crc(&vector.bytes)), vector.number("crc"), "{name}");
    let read = RegisterBrokerBody::read(&vector.bytes, true).expect(name);
    let topics = &read.topic_config.topic_config_table;
    assert_eq!(topics.len() as i64, vector.number("topics"), "{name}");
    assert_eq!(read.topic_config.data_version.counter, 3, "{name}");
    assert!(topics.values().all(|topic| topic.write_queue_nums == 8), "{name}");
    let mut ours = Vec::new();
    read.write_compressed(&mut ours);
    assert_eq!(RegisterBrokerBody::read(&ours, true).expect(name), read, "{name}");
}
