//! Headers as a whole: what each side reads of what the other wrote, and what is refused.

use super::*;

fn json<'a>(text: &'a str, arena: &'a mut HeaderArena) -> Result<Header<'a>, HeaderError> {
    decode(HeaderKind::Json, text.as_bytes(), arena)
}

/// Both readers on their own, for cases where the fast one must not give up.
fn fast(text: &str) -> bool {
    json_fast::read(text, &mut HeaderArena::default()).is_some()
}

const USUAL: &str = concat!(
    r#"{"code":310,"extFields":{"a":"g","b":"t","c":"TBW102","d":"4","e":"0","f":"0","g":"1767225600123","h":"0","#,
    r#""i":"KEYS\u0001k\u0002WAIT\u0001true","j":"0","k":"false","m":"false","n":"b"},"flag":0,"language":"JAVA","#,
    r#""opaque":7,"serializeTypeCurrentRPC":"JSON","version":409}"#
);

#[test]
fn usual_header_takes_the_fast_path() {
    assert!(fast(USUAL));
    let mut arena = HeaderArena::default();
    let header = json(USUAL, &mut arena).unwrap();
    assert_eq!((header.code, header.flag, header.opaque, header.version), (310, 0, 7, 409));
    assert_eq!((header.language, header.remark), (Language::Java, None));
    assert_eq!(header.ext.len(), 13);
    assert_eq!(header.ext.get("i"), Some("KEYS\u{1}k\u{2}WAIT\u{1}true"));
    assert_eq!(header.ext.get("g"), Some("1767225600123"));
    assert_eq!(header.ext.get("l"), None);
    assert!(!header.is_response());
    assert!(!header.is_oneway());
}

#[test]
fn numbers_and_booleans_of_other_clients_take_the_fast_path() {
    let text = "{\"code\":11,\"extFields\":{\"queueId\":3,\"x\":-1,\"k\":false,\"m\":true},\"language\":\"CPP\",\n \
                \"flag\":2,\"opaque\":-5,\"version\":63}\n";
    assert!(fast(text));
    let mut arena = HeaderArena::default();
    let header = json(text, &mut arena).unwrap();
    let fields: Vec<_> = header.ext.iter().collect();
    assert_eq!(fields, [("queueId", "3"), ("x", "-1"), ("k", "false"), ("m", "true")]);
    assert_eq!((header.language, header.opaque, header.is_oneway()), (Language::Cpp, -5, true));
}

#[test]
fn unusual_headers_mean_what_java_takes_them_for() {
    let mut arena = HeaderArena::default();
    let header =
        json(r#"{"code":"12","opaque":"-1","flag":"1","language":3,"remark":null}"#, &mut arena)
            .unwrap();
    assert_eq!((header.code, header.opaque, header.flag), (12, -1, 1));
    assert_eq!((header.language, header.remark, header.version), (Language::Python, None, 0));

    let text = r#"{"new":[{}],"extFields":{"a":null,"b":1.5,"c":"1","c":"2","d":"\ud83d\ude00"},"language":"KOTLIN"}"#;
    let header = json(text, &mut arena).unwrap();
    let fields: Vec<_> = header.ext.iter().collect();
    assert_eq!(fields, [("b", "1.5"), ("c", "2"), ("d", "\u{1F600}")]);
    assert_eq!((header.code, header.language), (0, Language::Other));

    assert!(json(r#"{"extFields":null}"#, &mut arena).unwrap().ext.is_empty());
    assert_eq!(json(r#"{"remark":""}"#, &mut arena).unwrap().remark, Some(""));
}

#[test]
fn malformed_headers_are_refused() {
    let bad = [
        "",
        "{",
        "[]",
        "null",
        "7",
        "{}x",
        "{\"code\":1.5}",
        "{\"code\":2147483648}",
        "{\"code\":true}",
        "{\"code\":\"x\"}",
        "{\"extFields\":[]}",
        "{\"extFields\":{\"a\":{}}}",
        "{\"extFields\":{\"a\":[1]}}",
        "{\"remark\":\"\\ud800\"}",
        "{\"remark\":\"\\x\"}",
        "{\"remark\":\"a\nb\"}",
        "{\"code\":1,}",
        "{\"code\":01}",
        "{code:1}",
        "{\"remark\":'a'}",
        "{\"extFields\":{\"a\":-}}",
    ];
    let mut arena = HeaderArena::default();
    for text in bad {
        assert!(matches!(json(text, &mut arena), Err(HeaderError::Json { .. })), "{text}");
    }
    let position = decode(HeaderKind::Json, b"{\"\xFF\"}", &mut arena).unwrap_err();
    assert_eq!(position, HeaderError::NotUtf8 { position: 2 });
    let long = vec![b' '; HEADER_BYTES_MAX + 1];
    let bytes = long.len();
    assert_eq!(
        decode(HeaderKind::Json, &long, &mut arena).unwrap_err(),
        HeaderError::TooLong { bytes }
    );
}

#[test]
fn number_of_fields_is_limited_on_both_paths() {
    let fields = |count: usize| -> String {
        let all: Vec<_> = (0..count).map(|index| format!("\"k{index}\":\"\"")).collect();
        format!("{{\"extFields\":{{{}}}}}", all.join(","))
    };
    let mut arena = HeaderArena::default();
    assert!(fast(&fields(EXT_FIELDS_MAX)));
    assert_eq!(json(&fields(EXT_FIELDS_MAX), &mut arena).unwrap().ext.len(), EXT_FIELDS_MAX);
    assert_eq!(
        json(&fields(EXT_FIELDS_MAX + 1), &mut arena).unwrap_err(),
        HeaderError::TooManyFields
    );
    let nulls = format!("{{\"extFields\":{{{}\"z\":null}}}}", "\"z\":null,".repeat(EXT_FIELDS_MAX));
    assert_eq!(json(&nulls, &mut arena).unwrap_err(), HeaderError::TooManyFields);
}

#[test]
fn memory_of_a_huge_header_is_given_back() {
    let mut arena = HeaderArena::default();
    let text = format!("{{\"remark\":\"{}\"}}", "\\u0001".repeat(1 << 20));
    assert_eq!(json(&text, &mut arena).unwrap().remark.map(str::len), Some(1 << 20));
    json(USUAL, &mut arena).unwrap();
    assert!(arena.text.capacity() <= 1 << 17);
}

#[test]
fn response_is_written_as_java_writes_it() {
    let ext = [
        ("msgId", ExtValue::Str("0A\"\u{1}\u{1F}\n")),
        ("queueId", 2.into()),
        ("TRACE_ON", true.into()),
    ];
    let head = ResponseHead { code: 0, opaque: -7, remark: Some("a\\b"), ext: &ext };
    let mut out = b"before".to_vec();
    write_response(&mut out, HeaderKind::Json, &head, b"body");
    let header = concat!(
        r#"{"code":0,"extFields":{"msgId":"0A\"\u0001\u001F\n","queueId":"2","TRACE_ON":"true"},"flag":1,"#,
        r#""language":"JAVA","opaque":-7,"remark":"a\\b","serializeTypeCurrentRPC":"JSON","version":409}"#
    );
    let frame = crate::frame::next_frame(&out[6..]).unwrap().unwrap();
    assert_eq!(str::from_utf8(frame.header).unwrap(), header);
    assert_eq!((frame.kind, frame.body), (HeaderKind::Json, &b"body"[..]));
    assert_eq!(frame.wire_bytes, out.len() - 6);

    out.clear();
    write_response(
        &mut out,
        HeaderKind::Json,
        &ResponseHead { code: 17, ..Default::default() },
        b"",
    );
    let plain = r#"{"code":17,"flag":1,"language":"JAVA","opaque":0,"serializeTypeCurrentRPC":"JSON","version":409}"#;
    assert_eq!(str::from_utf8(&out[8..]).unwrap(), plain);
}

#[test]
fn binary_header_lies_where_the_table_says() {
    let head = ResponseHead {
        code: 11,
        opaque: 258,
        remark: Some("no"),
        ext: &[("k", ExtValue::I64(-1))],
    };
    let mut out = Vec::new();
    write_response(&mut out, HeaderKind::Rocketmq, &head, b"B");
    let wire: &[&[u8]] = &[
        &[0, 0, 0, 4 + 32 + 1, 1, 0, 0, 32],
        &[0, 11, 0, 409_u16.to_be_bytes()[0], 409_u16.to_be_bytes()[1], 0, 0, 1, 2, 0, 0, 0, 1],
        &[0, 0, 0, 2, b'n', b'o', 0, 0, 0, 9, 0, 1, b'k', 0, 0, 0, 2, b'-', b'1', b'B'],
    ];
    assert_eq!(out, wire.concat());
}

#[test]
fn binary_lengths_are_strict_and_empty_is_null() {
    let fixed = [0, 10, 1, 0, 63, 0, 0, 0, 1, 0, 0, 0, 2];
    let header = |rest: &[u8]| [&fixed[..], rest].concat();
    let mut arena = HeaderArena::default();
    let mut read = |rest: &[u8]| {
        decode(HeaderKind::Rocketmq, &header(rest), &mut arena)
            .map(|header| (header.remark.is_some(), header.ext.len()))
    };
    assert_eq!(read(&[0; 8]), Ok((false, 0)));
    // One entry with an empty value, one with an empty key.
    assert_eq!(read(&[0, 0, 0, 0, 0, 0, 0, 7, 0, 1, b'k', 0, 0, 0, 0]), Ok((false, 0)));
    assert_eq!(read(&[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 1, b'v']), Ok((false, 0)));
    let wrong: [&[u8]; 6] = [
        &[0; 7],
        &[0; 9],
        &[0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0],
        &[0, 0, 0, 0, 0, 0, 0, 1],
        &[0, 0, 0, 0, 0, 0, 0, 3, 0, 1, b'k'],
        &[0, 0, 0, 0, 0, 0, 0, 7, 0, 1, b'k', 0, 0, 0, 1],
    ];
    for rest in wrong {
        assert!(matches!(read(rest), Err(HeaderError::Binary { .. })), "{rest:?}");
    }
    for cut in 0..fixed.len() {
        assert!(decode(HeaderKind::Rocketmq, &fixed[..cut], &mut HeaderArena::default()).is_err());
    }
}

#[test]
fn truncated_pop_codes_come_back_in_requests_only() {
    let mut out = Vec::new();
    let head = RequestHead {
        code: crate::code::request::POP_MESSAGE,
        language: Language::Go,
        version: 317,
        opaque: 1,
        oneway: true,
        remark: None,
        ext: &[],
    };
    write_request(&mut out, HeaderKind::Rocketmq, &head, b"");
    let mut arena = HeaderArena::default();
    let header = decode(HeaderKind::Rocketmq, &out[8..], &mut arena).unwrap();
    assert_eq!((header.code, header.language, header.is_oneway()), (200_050, Language::Go, true));

    out.clear();
    write_response(
        &mut out,
        HeaderKind::Rocketmq,
        &ResponseHead { code: 3442, ..Default::default() },
        b"",
    );
    assert_eq!(decode(HeaderKind::Rocketmq, &out[8..], &mut arena).unwrap().code, 3442);
}

#[test]
fn what_cannot_be_said_is_left_out() {
    let mut out = Vec::new();
    let long = "\u{1}".repeat(HEADER_BYTES_MAX / 4);
    let head = ResponseHead {
        code: 1,
        opaque: 9,
        remark: Some(&long),
        ext: &[("k", ExtValue::Str(&long))],
    };
    write_response(&mut out, HeaderKind::Json, &head, b"");
    let frame = crate::frame::next_frame(&out).unwrap().unwrap();
    let mut arena = HeaderArena::default();
    let header = decode(frame.kind, frame.header, &mut arena).unwrap();
    assert_eq!((header.code, header.opaque, header.ext.len()), (1, 9, 0));
    assert_eq!(header.remark.map(str::len), Some(4096));
}
