//! Goal: typed headers read what each client really sends. Method: the field lists observed from Java, Go, C++ and Node
//! clients, and the leniency rules one by one.

use proto::command::{Ext, HeaderArena, HeaderKind, decode};
use proto::request::*;

fn with<T>(pairs: &[(&str, &str)], read: impl FnOnce(&Ext<'_>) -> T) -> T {
    let mut arena = HeaderArena::default();
    read(&arena.ext_from(pairs).expect("few fields"))
}

#[test]
fn both_spellings_of_a_send_become_one() {
    let names = [
        ("producerGroup", "a"),
        ("topic", "b"),
        ("defaultTopic", "c"),
        ("defaultTopicQueueNums", "d"),
        ("queueId", "e"),
        ("sysFlag", "f"),
        ("bornTimestamp", "g"),
        ("flag", "h"),
        ("properties", "i"),
        ("reconsumeTimes", "j"),
        ("unitMode", "k"),
        ("maxReconsumeTimes", "l"),
        ("batch", "m"),
    ];
    let values = [
        "pg",
        "t",
        "TBW102",
        "4",
        "-1",
        "8",
        "1767225600123",
        "9",
        "K\u{1}v",
        "2",
        "TRUE",
        "16",
        "1",
    ];
    let v1: Vec<_> = names.iter().zip(values).map(|((long, _), value)| (*long, value)).collect();
    let v2: Vec<_> = names.iter().zip(values).map(|((_, short), value)| (*short, value)).collect();
    let expected = SendHeader {
        producer_group: "pg",
        topic: "t",
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id: -1,
        sys_flag: 8,
        born_timestamp: 1_767_225_600_123,
        flag: 9,
        properties: "K\u{1}v",
        reconsume_times: 2,
        unit_mode: true,
        batch: true,
        max_reconsume_times: Some(16),
    };
    with(&v1, |ext| assert_eq!(SendHeader::from_ext_v1(ext), Ok(expected)));
    with(&v2, |ext| assert_eq!(SendHeader::from_ext_v2(ext), Ok(expected)));
    // A header of the other spelling has none of the fields.
    with(&v1, |ext| {
        assert_eq!(SendHeader::from_ext_v2(ext).map_err(|error| error.field), Err("producerGroup"))
    });
}

#[test]
fn node_send_with_bare_numbers_is_read() {
    let text = concat!(
        r#"{"code":310,"version":121,"language":"JAVA","opaque":1,"flag":0,"extFields":{"a":"g","b":"t","c":"TBW102","#,
        r#""d":4,"e":2,"f":0,"g":1767225600123,"h":0,"i":"UNIQ_KEY\u00011\u0002","j":0,"k":false,"AccessKey":"","#,
        r#""OnsChannel":"ALIYUN","Signature":""}}"#
    );
    let mut arena = HeaderArena::default();
    let header = decode(HeaderKind::Json, text.as_bytes(), &mut arena).expect("a real header");
    let send = SendHeader::from_ext_v2(&header.ext).expect("a real send");
    assert_eq!((send.queue_id, send.born_timestamp, send.unit_mode), (2, 1_767_225_600_123, false));
    assert_eq!((send.properties, send.max_reconsume_times), ("UNIQ_KEY\u{1}1\u{2}", None));
}

#[test]
fn cpp_pull_lacks_the_expression_type() {
    let pairs = [
        ("consumerGroup", "g"),
        ("topic", "t"),
        ("queueId", "1"),
        ("queueOffset", "5"),
        ("maxMsgNums", "32"),
        ("sysFlag", "6"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "15000"),
        ("subscription", "*"),
        ("subVersion", "0"),
    ];
    with(&pairs, |ext| {
        let pull = PullHeader::from_ext(ext).expect("a real pull");
        assert_eq!(
            (pull.expression_type, pull.max_msg_bytes, pull.subscription),
            (None, 0, Some("*"))
        );
        assert_eq!(pull.sys_flag, PULL_SUSPEND | PULL_SUBSCRIPTION);
    });
}

#[test]
fn a_query_by_key_tells_unique_keys_from_others() {
    let mut pairs = vec![
        ("beginTimestamp", "0"),
        ("endTimestamp", "9223372036854775807"),
        ("key", "order-1"),
        ("maxNum", "32"),
        ("topic", "orders"),
    ];
    with(&pairs, |ext| {
        let query = QueryMessageHeader::from_ext(ext).expect("what Java sends");
        assert_eq!((query.topic, query.key, query.max_num), ("orders", "order-1", 32));
        assert_eq!((query.begin_timestamp, query.end_timestamp), (0, i64::MAX));
        assert!(!query.unique_key_query);
    });
    for (text, unique) in [("true", true), ("false", false)] {
        pairs.push(("_UNIQUE_KEY_QUERY", text));
        let read = |ext: &Ext<'_>| QueryMessageHeader::from_ext(ext).map(|h| h.unique_key_query);
        assert_eq!(with(&pairs, read), Ok(unique));
        pairs.pop();
    }
    pairs.remove(2);
    let missing = with(&pairs, |ext| QueryMessageHeader::from_ext(ext).expect_err("no key"));
    assert_eq!(missing.to_string(), "field key is missing, expected text");
}

#[test]
fn errors_are_good_remarks() {
    let read = |pairs: &[(&str, &str)]| {
        with(pairs, |ext| QueueHeader::from_ext(ext).expect_err("bad").to_string())
    };
    assert_eq!(read(&[]), "field topic is missing, expected text");
    assert_eq!(read(&[("topic", "t")]), "field queueId is missing, expected a 32 bit number");
    let long = "x".repeat(1000);
    let error = read(&[("topic", "t"), ("queueId", &long)]);
    assert_eq!(error, format!("field queueId is \"{}\", expected a 32 bit number", &long[..64]));
}

#[test]
fn unreadable_optional_fields_take_their_default() {
    let pairs = [
        ("offset", "7"),
        ("group", "g"),
        ("delayLevel", "0"),
        ("unitMode", "yes"),
        ("maxReconsumeTimes", "x"),
    ];
    with(&pairs, |ext| {
        let back = SendBackHeader::from_ext(ext).expect("mandatory fields are there");
        assert_eq!((back.unit_mode, back.max_reconsume_times), (false, None));
    });
}

/// Absent, they make a reset one of all queues, or one to a time.
#[test]
fn unreadable_numbers_of_a_reset_are_errors() {
    let common = [("topic", "t"), ("group", "g"), ("timestamp", "-1")];
    let read = |pairs: &[(&str, &str)]| {
        let pairs = [&common[..], pairs].concat();
        with(&pairs, |ext| {
            let reset = ResetOffsetHeader::from_ext(ext).map_err(|error| error.to_string())?;
            Ok((reset.queue_id, reset.offset))
        })
    };
    assert_eq!(read(&[]), Ok((-1, None)));
    assert_eq!(read(&[("queueId", "3"), ("offset", "9")]), Ok((3, Some(9))));
    let expected = "field queueId is \"x\", expected a 32 bit number".to_owned();
    assert_eq!(read(&[("queueId", "x"), ("offset", "9")]), Err(expected));
    let expected = "field offset is \"\", expected a 64 bit number".to_owned();
    assert_eq!(read(&[("queueId", "3"), ("offset", "")]), Err(expected));
}

#[test]
fn both_spellings_of_offset_removal_count() {
    for key in ["removeOffset", "cleanOffset"] {
        with(&[("groupName", "g"), (key, "true")], |ext| {
            assert!(DeleteGroupHeader::from_ext(ext).expect("complete").offsets_too());
        });
    }
}
