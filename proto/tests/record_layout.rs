//! The stored record: what is encoded comes back, at every family of addresses and every bound, and damage is named.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use proto::record::*;

fn host(text: &str) -> SocketAddr {
    text.parse().expect("address")
}

fn sample() -> RecordFields<'static> {
    RecordFields {
        queue_id: 3,
        flag: -7,
        sys_flag: SYS_FLAG_COMPRESSED | SYS_FLAG_BORN_HOST_V6,
        born_timestamp: 1_700_000_000_000,
        born_host: host("10.1.2.3:45678"),
        store_host: host("192.168.0.1:10911"),
        reconsume_times: 2,
        prepared_transaction_offset: 99,
        body: b"hello",
        topic: "orders",
        properties: [b"KEYS\x01k", b"\x02", b"CLUSTER\x01c\x02"],
    }
}

fn encoded(fields: &RecordFields<'_>) -> Vec<u8> {
    let mut out = vec![0xEE; fields.encoded_len()];
    fields.encode_into(&mut out);
    out
}

#[test]
fn fields_return_and_patch_stamps_three_of_them() {
    for (born, store, extra) in [
        ("10.1.2.3:45678", "192.168.0.1:10911", 0),
        ("[2001:db8::1]:45678", "192.168.0.1:10911", 12),
        ("10.1.2.3:45678", "[::1]:1", 12),
        ("[2001:db8::1]:65535", "[fe80::1]:0", 24),
    ] {
        let fields = RecordFields { born_host: host(born), store_host: host(store), ..sample() };
        let mut bytes = encoded(&fields);
        assert_eq!(bytes.len(), OVERHEAD_BYTES + extra + 5 + 6 + 6 + 1 + 10);
        let before = RecordView::parse(&bytes).expect("parses");
        assert_eq!(before.queue_offset(), 0);
        assert_eq!(before.store_timestamp(), 0);
        patch(&mut bytes, 11, 1 << 60, 1_700_000_000_001);
        let view = RecordView::parse(&bytes).expect("parses");
        assert_eq!(view.queue_offset(), 11);
        assert_eq!(view.physical_offset(), 1 << 60);
        assert_eq!(view.store_timestamp(), 1_700_000_000_001);
        assert_eq!(view.born_host(), fields.born_host);
        assert_eq!(view.store_host(), fields.store_host);
        assert_eq!(view.sys_flag() & SYS_FLAG_BORN_HOST_V6 != 0, born.starts_with('['));
        assert_eq!(view.sys_flag() & SYS_FLAG_STORE_HOST_V6 != 0, store.starts_with('['));
        assert_eq!(view.topic(), "orders");
        assert_eq!(view.properties_text(), "KEYS\u{1}k\u{2}CLUSTER\u{1}c\u{2}");
        assert_eq!(view.body(), b"hello");
        assert_eq!(view.total_size(), bytes.len());
        assert_eq!(view.check_body(), Ok(()));
        let (reconsumed, bytes_before) = (view.reconsume_times(), bytes.clone());
        patch_prepared_transaction_offset(&mut bytes, -7);
        let view = RecordView::parse(&bytes).expect("parses");
        assert_eq!((view.prepared_transaction_offset(), view.reconsume_times()), (-7, reconsumed));
        patch_prepared_transaction_offset(&mut bytes, fields.prepared_transaction_offset);
        assert_eq!(bytes, bytes_before);
    }
}

#[test]
fn a_mapped_ipv4_address_is_stored_as_ipv4() {
    let fields = RecordFields { born_host: host("[::ffff:10.1.2.3]:5"), ..sample() };
    let bytes = encoded(&fields);
    let view = RecordView::parse(&bytes).expect("parses");
    assert_eq!(view.born_host(), host("10.1.2.3:5"));
    assert_eq!(view.sys_flag(), SYS_FLAG_COMPRESSED);
}

#[test]
fn limits_are_checked_at_their_edge() {
    let topic = "t".repeat(128);
    let properties = vec![b'p'; 32768];
    let at = |topic, properties| {
        let fields = RecordFields { topic, properties: [properties, b"", b""], ..sample() };
        (fields.check(5), fields.encoded_len())
    };
    let record_bytes = OVERHEAD_BYTES + 5 + 127 + 32767;
    assert_eq!(at(&topic[..127], &properties[..32767]), (Ok(()), record_bytes));
    assert_eq!(at(&topic, b"").0, Err(RecordError::TopicTooLong { bytes: 128 }));
    let too_long = RecordError::PropertiesTooLong { bytes: 32768 };
    assert_eq!(at("t", &properties).0, Err(too_long));
    let too_large = RecordError::BodyTooLarge { bytes: 11, bytes_max: 10 };
    assert_eq!(RecordFields { body: &[0; 11], ..sample() }.check(10), Err(too_large));
    let parts: [&[u8]; 3] = [&properties[..32000], b"", &properties[..767]];
    let largest = encoded(&RecordFields { topic: &topic[..127], properties: parts, ..sample() });
    let view = RecordView::parse(&largest).expect("parses");
    assert_eq!((view.topic().len(), view.properties().len()), (127, 32767));
}

#[test]
fn damage_is_named() {
    let good = encoded(&sample());
    let with = |at: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        bad
    };
    let error = |bytes: &[u8]| RecordView::parse(bytes).expect_err("damaged");
    let magic = |magic: i32| with(4, &magic.to_be_bytes());
    assert_eq!(error(&magic(MAGIC_V2)), RecordError::Version2);
    assert_eq!(error(&magic(-875_286_124)), RecordError::Magic(-875_286_124));
    assert_eq!(error(&[0; 200]), RecordError::Magic(0));
    let total = good.len() as i32;
    assert_eq!(error(&with(0, &(-1_i32).to_be_bytes())), RecordError::Length { total: -1 });
    let less = total - 1;
    assert_eq!(error(&with(0, &less.to_be_bytes())), RecordError::Length { total: less });
    assert_eq!(error(&with(84, &i32::MAX.to_be_bytes())), RecordError::Length { total });
    assert_eq!(error(&with(52, &(-1_i32).to_be_bytes())), RecordError::Port(-1));
    assert_eq!(error(&with(88 + 5 + 1, &[0xFF])), RecordError::Topic);
    assert_eq!(error(&with(88 + 5, &[0x80])), RecordError::Length { total });
    for end in 0..good.len() {
        let cut = error(&good[..end]);
        assert!(matches!(cut, RecordError::Incomplete { bytes, .. } if bytes == end), "{cut}");
    }
    let flipped = with(88, b"j");
    let view = RecordView::parse(&flipped).expect("lengths are right");
    assert!(matches!(view.check_body(), Err(RecordError::BodyCrc { .. })));
}

#[test]
fn a_pull_body_is_walked_record_by_record() {
    let mut body = encoded(&sample()).repeat(3);
    assert_eq!(records(&body).filter_map(Result::ok).count(), 3);
    body.pop();
    let seen: Vec<_> = records(&body).map(|r| r.is_ok()).collect();
    assert_eq!(seen, [true, true, false]);
}

#[test]
fn hashes_are_javas() {
    assert_eq!(string_hash(""), 0);
    assert_eq!(string_hash("TagA"), 2_598_919);
    assert_eq!(string_hash("a"), 97);
    assert_eq!(string_hash("polygenelubricants"), i32::MIN);
    // A character beyond the first plane counts as its two UTF-16 units.
    assert_eq!(string_hash("\u{1F600}"), 0xD83D * 31 + 0xDE00);
    assert_eq!(tags_code(None), 0);
    assert_eq!(tags_code(Some("polygenelubricants")), i64::from(i32::MIN));
    assert_eq!(body_crc(b""), 0);
    assert_eq!(body_crc(b"123456789"), 0xCBF4_3926 & 0x7FFF_FFFF);
}

proptest! {
    #[test]
    fn any_record_returns(
        numbers in any::<[i32; 3]>(), sys_flag in 0..0x7FF_i32, times in any::<(i64, i64)>(),
        ips in any::<(IpAddr, IpAddr)>(), ports in any::<(u16, u16)>(),
        body in proptest::collection::vec(any::<u8>(), 0..300), topic in "[a-zé✓]{0,30}",
        parts in proptest::array::uniform3(proptest::collection::vec(any::<u8>(), 0..50)),
    ) {
        let fields = RecordFields {
            queue_id: numbers[0], flag: numbers[1], sys_flag, born_timestamp: times.0,
            born_host: SocketAddr::new(ips.0, ports.0), store_host: SocketAddr::new(ips.1, ports.1),
            reconsume_times: numbers[2], prepared_transaction_offset: times.1, body: &body,
            topic: &topic, properties: [&parts[0], &parts[1], &parts[2]],
        };
        prop_assert!(fields.check(300).is_ok());
        let bytes = encoded(&fields);
        let view = RecordView::parse(&bytes).expect("parses");
        prop_assert_eq!(view.topic(), &topic);
        prop_assert_eq!(view.body(), &body);
        prop_assert_eq!(view.properties(), parts.concat());
        prop_assert_eq!(view.born_host().ip(), ips.0.to_canonical());
        let again = RecordFields {
            queue_id: view.queue_id(), flag: view.flag(), sys_flag: view.sys_flag(),
            born_timestamp: view.born_timestamp(), born_host: view.born_host(),
            store_host: view.store_host(), reconsume_times: view.reconsume_times(),
            prepared_transaction_offset: view.prepared_transaction_offset(), body: view.body(),
            topic: view.topic(), properties: [view.properties(), b"", b""],
        };
        prop_assert_eq!(encoded(&again), bytes);
    }
}
