//! Every reader of foreign bytes survives damaged ones, and what it accepts it can write and read again.
//! Starts from the golden vectors and a few of our own; `RINGMQ_FUZZ_SECONDS` makes it run longer.

#[path = "golden/vectors.rs"]
mod vectors;

use std::time::{Duration, Instant};

use proto::body::*;
use proto::{batch, fastjson, message_id, properties, record};

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = ["records", "bodies"]
        .iter()
        .flat_map(|what| vectors::load(what, "5.3.3"))
        .map(|vector| vector.bytes)
        .filter(|bytes| bytes.len() < 4096)
        .collect();
    seeds.push(br#"{consumeType:1,'clientID':"c",consumerDataSet:[{consumeType:0,subscriptionDataSet:[{subVersion:"7",topic:'t',}]}]}"#.to_vec());
    seeds.push(
        br#"{"offsetTable":{"t@g":{0:5,"1":6},"r":{"$ref":"$.offsetTable"}}} // end"#.to_vec(),
    );
    seeds.push(
        br#"{"counter":3,"messageRequestModeMap":{"t":{"g":{"consumerGroup":"g","mode":"POP","popShareQueueNum":-1,"topic":"t"}}}}"#.to_vec(),
    );
    seeds.push(
        br#"{"messageQueueAssignments":[{"messageQueue":{"queueId":-1,"topic":"t"},"mode":1}],"messageModel":"X"}"#.to_vec(),
    );
    seeds.push(
        br#"{"table":{"a":"\u00e9\ud83d\ude00\x41\v\0","b":1.5e3,"c":null,"d":true}}"#.to_vec(),
    );
    seeds
}

fn mutate(random: &mut fastrand::Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..random.usize(1..6) {
        let at = random.usize(0..=bytes.len());
        match random.u8(0..7) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
            2 if at < bytes.len() => bytes[at] = random.choice([0, 0xFF, 0x7F, 0x80]).unwrap_or(0),
            3 => bytes.insert(at, random.choice(*b"{}[],:\"'\\/-0e\x01\x02").unwrap_or(0)),
            4 if at < bytes.len() => drop(bytes.remove(at)),
            5 if !other.is_empty() => {
                let from = random.usize(0..other.len());
                let to = random.usize(from..other.len().min(from + 64));
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ if at < bytes.len() => bytes[at] = random.u8(..),
            _ => {}
        }
    }
}

/// Reads, and when that works, writes and reads again: the second reading must be as the first.
macro_rules! again {
    ($bytes:expr, $($body:ident),*) => {
        $(if let Ok(body) = $body::read($bytes) {
            let mut out = Vec::new();
            body.write(&mut out);
            let read = $body::read(&out).expect("what we wrote");
            assert_eq!(read, body, "{}", String::from_utf8_lossy(&out));
        })*
    };
}

fn read_everything(bytes: &[u8]) {
    for view in record::records(bytes).flatten() {
        let _ = view.check_body();
        let mut ours = vec![0; view.total_size()];
        let fields = record::RecordFields {
            queue_id: view.queue_id(),
            flag: view.flag(),
            sys_flag: view.sys_flag(),
            born_timestamp: view.born_timestamp(),
            born_host: view.born_host(),
            store_host: view.store_host(),
            reconsume_times: view.reconsume_times(),
            prepared_transaction_offset: view.prepared_transaction_offset(),
            body: view.body(),
            topic: view.topic(),
            properties: [view.properties(), b"", b""],
        };
        assert!(fields.check(usize::MAX).is_ok());
        if fields.encoded_len() == ours.len() {
            fields.encode_into(&mut ours);
        }
    }
    for message in batch::messages(bytes).flatten() {
        assert!(message.body.len() + message.properties.len() <= bytes.len());
    }
    let text = String::from_utf8_lossy(bytes);
    if let Ok((host, offset)) = message_id::decode(&text) {
        let id = message_id::encode(host, offset);
        // An IPv4 address mapped into IPv6 comes out as IPv4.
        assert!(id.as_str().len() < text.len() || id.as_str() == text.to_uppercase());
    }
    let mut rest = String::new();
    properties::without(&text, "TAGS", &mut rest);
    assert_eq!(properties::get(&rest, "TAGS"), None);
    assert_eq!(
        properties::iter(&rest).count(),
        properties::iter(&text).filter(|e| e.0 != "TAGS").count()
    );
    if let Ok(strict) = fastjson::to_strict(bytes) {
        assert!(strict.len() <= 16 + 16 * bytes.len());
        assert_eq!(fastjson::to_strict(&strict).as_deref(), Ok(strict.as_slice()));
    }
    again!(
        bytes,
        DataVersion,
        TopicConfig,
        TopicConfigTable,
        TopicList,
        TopicConfigList,
        SubscriptionGroupConfig,
        SubscriptionGroupTable,
        GroupList,
        GroupConfigList,
        ConsumerIdList,
        ConsumerConnection,
        ProducerConnection,
        ProducerTable,
        ConsumeQueueAnswer,
        CorrectionOffsets,
        ConsumeStats,
        TopicStatsTable,
        KvTable,
        ConsumerOffsetTable,
        DelayOffsetTable,
        LockBatchRequest,
        LockBatchResponse,
        CheckClientRequest,
        HeartbeatData,
        QueryAssignmentRequest,
        QueryAssignmentResponse,
        SetRequestModeRequest,
        GroupRequestMode,
        RequestModeTable,
        ClusterInfo
    );
    if let Ok(route) = RouteData::read(bytes) {
        for write in [RouteData::write_default, RouteData::write_standard] {
            let mut out = Vec::new();
            write(&route, &mut out);
            assert_eq!(RouteData::read(&out).expect("what we wrote"), route);
        }
    }
    if let Ok(body) = RegisterBrokerBody::read(bytes, false) {
        let mut out = Vec::new();
        body.write(&mut out);
        assert_eq!(RegisterBrokerBody::read(&out, false).expect("what we wrote"), body);
    }
    if let Ok(body) = RegisterBrokerBody::read(bytes, true) {
        let mut out = Vec::new();
        body.write_compressed(&mut out);
        assert_eq!(RegisterBrokerBody::read(&out, true).expect("what we wrote"), body);
    }
}

#[test]
fn damaged_bytes_never_panic() {
    let seconds = std::env::var("RINGMQ_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok());
    let limit = Duration::from_secs_f64(seconds.unwrap_or(1.5));
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let seeds = seeds();
    seeds.iter().for_each(|bytes| read_everything(bytes));
    let start = Instant::now();
    let mut runs = 0_u64;
    while start.elapsed() < limit {
        let mut bytes = seeds[random.usize(0..seeds.len())].clone();
        let other = &seeds[random.usize(0..seeds.len())];
        mutate(&mut random, &mut bytes, other);
        read_everything(&bytes);
        runs += 1;
    }
    println!("{runs} runs");
}
