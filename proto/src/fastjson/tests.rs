//! Texts in every dialect that the clients write, and texts that nobody may write.

use super::*;

fn check(text: &str, strict: &str) {
    let ours = to_strict(text.as_bytes()).map(|out| String::from_utf8(out).expect("UTF-8"));
    assert_eq!(ours.as_deref(), Ok(strict), "{text}");
    serde_json::from_str::<serde_json::Value>(strict).expect("strict");
}

#[test]
fn keys_that_are_no_strings() {
    check(r#"{0:"h",-1:2,18:{}}"#, r#"{"0":"h","-1":2,"18":{}}"#);
    check(r#"{{"brokerName":"b","queueId":0}:5}"#, r#"{"{\"brokerName\":\"b\",\"queueId\":0}":5}"#);
    check(r#"{[1,"x"]:1}"#, r#"{"[1,\"x\"]":1}"#);
    check(r#"{{1:2}:{{a:'\''}:3}}"#, r#"{"{\"1\":2}":{"{\"a\":\"'\"}":3}}"#);
    check(r#"{$ref:'$.dataVersion'}"#, r#"{"$ref":"$.dataVersion"}"#);
    check(r#"{true:1,a_b:2}"#, r#"{"true":1,"a_b":2}"#);
}

#[test]
fn blanks_commas_comments() {
    check(" { \"a\" : [ 1 , 2 , ] , } \r\n\t", r#"{"a":[1,2]}"#);
    check("/* c */ [ // x\n 1 /* ,2 */ ]", "[1]");
    check("[]", "[]");
    check("{ }", "{}");
    check("undefined", "null");
    check("[NaN,null,true,false]", "[null,null,true,false]");
}

#[test]
fn numbers_stay_as_they_are() {
    check(
        "[0,-0,9223372036854775807,1.5,0.0,1E5,1e-7,-2.5E+3]",
        "[0,-0,9223372036854775807,1.5,0.0,1E5,1e-7,-2.5E+3]",
    );
    for bad in ["01", "-", "1.", ".5", "1e", "+1", "--1", "0x10"] {
        assert!(to_strict(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn strings() {
    check(r#"'it\'s "so"'"#, r#""it's \"so\"""#);
    check("\"a\tb\nc\"", r#""a\u0009b\u000ac""#);
    check(r#""\v\0\7\x41\u00e9\uD83D\uDE00\/""#, "\"\\u000b\\u0000\\u0007Aé😀/\"");
    check(r#""\ud800x\udc00\ud800\u0041""#, "\"\u{FFFD}x\u{FFFD}\u{FFFD}A\"");
    check(r#""\\\"""#, r#""\\\"""#);
    assert_eq!(to_strict(b"\"\xFF\""), Ok("\"\u{FFFD}\"".as_bytes().to_vec()));
}

#[test]
fn what_is_refused() {
    for bad in [
        "",
        " ",
        "{",
        "[",
        "[1",
        "{1",
        "{1:",
        "{a}",
        "[1 2]",
        "{\"a\":}",
        "\"",
        "'a\"",
        "x",
        "[1]]",
        "{,}",
        "[,]",
        "/",
        "/*",
        "{:1}",
        "\"\\q\"",
        "\"\\u12\"",
        "]",
    ] {
        assert!(to_strict(bad.as_bytes()).is_err(), "{bad}");
    }
    assert_eq!(
        to_strict(b"[1 2]"),
        Err(JsonError::Unexpected { at: 3, expected: "',' or the closing bracket" })
    );
    assert_eq!(to_strict(b"{{{1:2}:3}:4}"), Err(JsonError::Depth { at: 2 }));
}

#[test]
fn depth_is_bounded() {
    let deep = |levels: usize| to_strict(("[".repeat(levels) + &"]".repeat(levels)).as_bytes());
    assert!(deep(DEPTH_MAX).is_ok());
    assert_eq!(deep(DEPTH_MAX + 1), Err(JsonError::Depth { at: DEPTH_MAX }));
    assert!(to_strict("[".repeat(1_000_000).as_bytes()).is_err());
    assert!(to_strict("{{".repeat(500_000).as_bytes()).is_err());
}
