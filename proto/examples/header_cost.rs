//! Question: what does one message cost in headers? Nanoseconds to decode a usual `SEND_MESSAGE_V2` header of a Java
//! 4.9.8 client and read its fields, in JSON and in binary, and to encode the answer. Aim: decode and typed read of the
//! JSON header below 300 ns.
//!
//! `cargo run --release -p proto --example header_cost [rounds]`

use std::hint::black_box;
use std::time::Instant;

use proto::code::{request, response};
use proto::command::{
    ExtValue, HeaderArena, HeaderKind, Language, RequestHead, ResponseHead, decode, write_request,
    write_response,
};
use proto::request::{PullHeader, SendHeader};

const PROPERTIES: &str = "KEYS\u{1}order-20260101-000123\u{2}UNIQ_KEY\u{1}0A0A01653E5C18B4AAC247A6C8C40123\u{2}\
    CLUSTER\u{1}DefaultCluster\u{2}WAIT\u{1}true\u{2}TAGS\u{1}created\u{2}region\u{1}eu-central-1\u{2}tenant\u{1}acme";

fn main() {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let send = [
        ("a", ExtValue::Str("please_rename_unique_group_name")),
        ("b", "TopicTest".into()),
        ("c", "TBW102".into()),
        ("d", 4.into()),
        ("e", 3.into()),
        ("f", 0.into()),
        ("g", 1_767_225_600_123_i64.into()),
        ("h", 0.into()),
        ("i", PROPERTIES.into()),
        ("j", 0.into()),
        ("k", false.into()),
        ("m", false.into()),
        ("n", "broker-a".into()),
    ];
    for kind in [HeaderKind::Json, HeaderKind::Rocketmq] {
        let header = request_header(kind, request::SEND_MESSAGE_V2, &send);
        let mut arena = HeaderArena::default();
        let name = format!("decode {kind:?} send, {} bytes", header.len());
        measure(&name, rounds, || {
            let header = decode(kind, black_box(&header), &mut arena);
            let Ok(header) = header else { return 0 };
            header.ext.len()
        });
        measure(&format!("{name}, fields read"), rounds, || {
            let header = decode(kind, black_box(&header), &mut arena);
            let Ok(header) = header else { return 0 };
            SendHeader::from_ext_v2(&header.ext).map_or(0, |send| black_box(send).properties.len())
        });
    }
    let pull = [
        ("consumerGroup", ExtValue::Str("please_rename_unique_group_name")),
        ("topic", "TopicTest".into()),
        ("queueId", 3.into()),
        ("queueOffset", 123_456.into()),
        ("maxMsgNums", 32.into()),
        ("sysFlag", 3.into()),
        ("commitOffset", 123_424.into()),
        ("suspendTimeoutMillis", 15_000.into()),
        ("subVersion", 1_767_225_600_123_i64.into()),
        ("expressionType", "TAG".into()),
    ];
    let header = request_header(HeaderKind::Json, request::PULL_MESSAGE, &pull);
    let mut arena = HeaderArena::default();
    measure(&format!("decode Json pull, {} bytes, fields read", header.len()), rounds, || {
        let header = decode(HeaderKind::Json, black_box(&header), &mut arena);
        let Ok(header) = header else { return 0 };
        PullHeader::from_ext(&header.ext).map_or(0, |pull| black_box(pull).topic.len())
    });
    let answer = [
        ("msgId", ExtValue::Str("0A0A016500002A9F0000000000012345")),
        ("queueId", 3.into()),
        ("queueOffset", 123_456.into()),
        ("MSG_REGION", "DefaultRegion".into()),
        ("TRACE_ON", true.into()),
    ];
    let head = ResponseHead { code: response::SUCCESS, opaque: 77, remark: None, ext: &answer };
    let mut out = Vec::new();
    for kind in [HeaderKind::Json, HeaderKind::Rocketmq] {
        measure(&format!("encode {kind:?} send answer"), rounds, || {
            out.clear();
            write_response(&mut out, kind, black_box(&head), &[]);
            black_box(&out).len()
        });
    }
}

fn request_header(kind: HeaderKind, code: i32, ext: &[(&str, ExtValue<'_>)]) -> Vec<u8> {
    let head = RequestHead {
        code,
        language: Language::Java,
        version: 409,
        opaque: 4_711,
        oneway: false,
        remark: None,
        ext,
    };
    let mut frame = Vec::new();
    write_request(&mut frame, kind, &head, &[]);
    frame.split_off(8)
}

/// Prints the best of ten runs: the least disturbed one.
fn measure(name: &str, rounds: u32, mut body: impl FnMut() -> usize) {
    let mut best = f64::INFINITY;
    for _ in 0..10 {
        let start = Instant::now();
        for _ in 0..rounds {
            assert_ne!(black_box(body()), 0);
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(rounds));
    }
    println!("{best:7.0} ns  {name}");
}
