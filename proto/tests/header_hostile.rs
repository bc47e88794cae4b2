//! Goal: no bytes of a peer make the decoders panic, disagree with themselves or invent a frame. Method: valid frames of
//! both kinds, damaged at random, read by every decoder of this file's subject for a second; longer with
//! `RINGMQ_FUZZ_SECONDS=n`. The seed is printed by a failing assertion and can be given as `RINGMQ_FUZZ_SEED`.

use std::time::{Duration, Instant};

use proto::code::request;
use proto::command::{
    Ext, ExtValue, Header, HeaderArena, HeaderKind, Language, RequestHead, ResponseHead, decode,
    write_request, write_response,
};
use proto::frame::{FRAME_BYTES_MAX, next_frame, wire_bytes};
use proto::request::*;

const KEYS: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "h",
    "i",
    "j",
    "k",
    "l",
    "m",
    "n",
    "topic",
    "queueId",
    "consumerGroup",
    "producerGroup",
    "queueOffset",
    "maxMsgNums",
    "sysFlag",
    "commitOffset",
    "suspendTimeoutMillis",
    "subVersion",
    "brokerName",
    "brokerAddr",
    "clusterName",
    "brokerId",
    "offset",
    "group",
    "delayLevel",
    "timestamp",
    "namespace",
];

const VALUES: &[&str] = &[
    "",
    "0",
    "-1",
    "7",
    "true",
    "1",
    "TopicTest",
    "9223372036854775807",
    "9999999999999999999",
    "é\u{1}\u{2}",
    "\"\\",
];

fn random_frame(random: &mut fastrand::Rng) -> Vec<u8> {
    let kind = if random.bool() { HeaderKind::Json } else { HeaderKind::Rocketmq };
    let ext: Vec<(&str, ExtValue<'_>)> = (0..random.usize(..16))
        .map(|_| {
            let key = KEYS[random.usize(..KEYS.len())];
            let value = match random.u8(..4) {
                0 => ExtValue::I64(random.i64(..)),
                1 => ExtValue::Bool(random.bool()),
                _ => ExtValue::Str(VALUES[random.usize(..VALUES.len())]),
            };
            (key, value)
        })
        .collect();
    let remark = random.bool().then_some("remark \u{1} \"quoted\"");
    let body = vec![7; random.usize(..20)];
    let mut out = Vec::new();
    if random.bool() {
        let head =
            ResponseHead { code: random.i32(..1000), opaque: random.i32(..), remark, ext: &ext };
        write_response(&mut out, kind, &head, &body);
    } else {
        let (code, language) = (request::PULL_MESSAGE, Language::Cpp);
        let (version, oneway) = (random.i32(..700), random.bool());
        let head = RequestHead {
            code,
            language,
            version,
            opaque: random.i32(..),
            oneway,
            remark,
            ext: &ext,
        };
        write_request(&mut out, kind, &head, &body);
    }
    out
}

fn damage(random: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    for _ in 0..random.usize(..6) {
        if bytes.is_empty() {
            return;
        }
        let at = random.usize(..bytes.len());
        match random.u8(..6) {
            0 => bytes[at] = random.u8(..),
            1 => bytes[at] ^= 1 << random.u8(..8),
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, random.u8(..)),
            4 => bytes.truncate(at),
            // Words are where lengths live.
            _ => bytes.splice(at..at, random.u32(..).to_be_bytes()).for_each(drop),
        }
    }
}

/// Everything a peer's bytes pass through here, with what must hold whatever they say.
fn read_all(bytes: &[u8], arena: &mut HeaderArena) {
    let sized = wire_bytes(bytes);
    let Ok(frame) = next_frame(bytes) else {
        return assert!(sized.is_err() || bytes.len() < 8);
    };
    if let Some(frame) = frame {
        assert_eq!(sized, Ok(Some(frame.wire_bytes)));
        assert!(frame.wire_bytes <= bytes.len() && frame.wire_bytes <= FRAME_BYTES_MAX + 4);
        assert_eq!(8 + frame.header.len() + frame.body.len(), frame.wire_bytes);
        read_header(frame.kind, frame.header, arena);
    }
    let header = bytes.get(8..).unwrap_or_default();
    read_header(HeaderKind::Json, header, arena);
    read_header(HeaderKind::Rocketmq, header, arena);
}

fn read_header(kind: HeaderKind, bytes: &[u8], arena: &mut HeaderArena) {
    let Ok(header) = decode(kind, bytes, arena) else { return };
    read_typed(&header.ext);
    for (key, value) in header.ext.iter() {
        assert_eq!(header.ext.get(key), Some(value), "keys are unique");
    }
    survives(&header);
}

/// What was understood can be written and understood again, in either kind.
fn survives(header: &Header<'_>) {
    let ext: Vec<_> = header.ext.iter().map(|(key, value)| (key, ExtValue::Str(value))).collect();
    let oneway = header.is_oneway();
    let Header { code, language, version, opaque, remark, .. } = *header;
    let head = RequestHead { code, language, version, opaque, oneway, remark, ext: &ext };
    let mut out = Vec::new();
    write_request(&mut out, HeaderKind::Json, &head, b"");
    let mut arena = HeaderArena::default();
    let again = decode(HeaderKind::Json, &out[8..], &mut arena).expect("we read what we write");
    assert_eq!(
        (again.code, again.language, again.version, again.opaque),
        (code, language, version, opaque)
    );
    assert_eq!((again.remark, again.is_oneway()), (remark, oneway));
    assert!(again.ext.iter().eq(header.ext.iter()));

    out.clear();
    write_request(&mut out, HeaderKind::Rocketmq, &head, b"");
    let again = decode(HeaderKind::Rocketmq, &out[8..], &mut arena).expect("we read what we write");
    let some = |(key, value): &(&str, &str)| !key.is_empty() && !value.is_empty();
    assert!(again.ext.iter().eq(header.ext.iter().filter(some)), "binary drops what is empty");
}

fn read_typed(ext: &Ext<'_>) {
    let shown = [
        SendHeader::from_ext_v1(ext).err(),
        SendHeader::from_ext_v2(ext).err(),
        PullHeader::from_ext(ext).err(),
        SendBackHeader::from_ext(ext).err(),
        EndTransactionHeader::from_ext(ext).err(),
        QueueHeader::from_ext(ext).err(),
        QueryConsumerOffsetHeader::from_ext(ext).err(),
        UpdateConsumerOffsetHeader::from_ext(ext).err(),
        SearchOffsetHeader::from_ext(ext).err(),
        MaxOffsetHeader::from_ext(ext).err(),
        CreateTopicHeader::from_ext(ext).err(),
        TopicHeader::from_ext(ext).err(),
        RegisterBrokerHeader::from_ext(ext).err(),
        QueryMessageHeader::from_ext(ext).err(),
        ViewMessageHeader::from_ext(ext).err(),
        UnregisterClientHeader::from_ext(ext).err(),
        PutKvHeader::from_ext(ext).err(),
        ConsumeStatsHeader::from_ext(ext).err(),
        ResetOffsetHeader::from_ext(ext).err(),
        RouteInfoHeader::from_ext(ext).err(),
    ];
    for error in shown.into_iter().flatten() {
        let text = error.to_string();
        assert!(text.contains(error.field) && text.len() < 600, "{text}");
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn damaged_frames_are_harmless() {
    let seed = number("RINGMQ_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("RINGMQ_FUZZ_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let end = Instant::now() + Duration::from_secs(number("RINGMQ_FUZZ_SECONDS").unwrap_or(1));
    let mut arena = HeaderArena::default();
    while Instant::now() < end {
        for _ in 0..500 {
            let mut bytes = random_frame(&mut random);
            let whole = next_frame(&bytes).expect("our own frame").expect("complete");
            assert_eq!(whole.wire_bytes, bytes.len());
            damage(&mut random, &mut bytes);
            read_all(&bytes, &mut arena);
        }
    }
}
