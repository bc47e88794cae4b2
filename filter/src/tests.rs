//! What expressions mean, case by case; the comparison with Java's own evaluator is `loadtest/tests/sql.rs`.

use super::*;
use proptest::prelude::*;

fn properties(pairs: &[(&str, &str)]) -> Vec<u8> {
    let pair = |(name, value): &(&str, &str)| format!("{name}\u{1}{value}\u{2}");
    pairs.iter().map(pair).collect::<String>().into_bytes()
}

fn matches(text: &str, pairs: &[(&str, &str)]) -> bool {
    let filter = Filter::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    filter.matches(&properties(pairs))
}

const MESSAGE: &[(&str, &str)] = &[
    ("a", "5"),
    ("b", "hello"),
    ("c", "2.5"),
    ("t", "TRUE"),
    ("TAGS", "x"),
    ("big", "3000000000"),
];

#[test]
fn expressions_mean_what_java_makes_of_them() {
    let hold = [
        "a = 5",
        "a = '5'",
        "5 = a",
        "a <> 6",
        "a > 4 AND a < 6",
        "a >= 5 and a <= 5",
        "a BETWEEN 1 AND 5",
        "a NOT BETWEEN 6 AND 9",
        "a NOT BETWEEN 9 AND 6",
        "b = 'hello'",
        "b IN ('x', 'hello')",
        "b NOT IN ('x')",
        "b IN ('a','b','c','d','e','hello')",
        "b IS NOT NULL",
        "z IS NULL",
        "z = y",
        "b CONTAINS 'ell'",
        "b startswith 'he' AND b EndsWith 'lo'",
        "b NOT CONTAINS 'x'",
        "b NOT STARTSWITH 'e' AND b NOT ENDSWITH 'e'",
        "t = TRUE",
        "t = true AND NOT (t = FALSE)",
        "TRUE",
        "NOT FALSE",
        "NOT a",
        "NOT a = TRUE",
        "c > 2.0 OR c > 2",
        "c > 2.0",
        "c < a",
        "a > -5",
        "- - 5 = a",
        "+5 = a",
        "5 = 5.0",
        "big > 2147483648",
        "z = 1 OR a = 5",
        "(z > 1) IS NULL",
        "TAGS = 'x'",
        "b = 'hello' -- everything\n AND a = 5",
        "/* first */ a /* second **/ = 5",
        "a = 5 ) anything but % a bad word",
        "a > 4 'x'",
        "a > 012",
        "a = 5 = TRUE",
    ];
    for text in hold {
        assert!(matches(text, MESSAGE), "{text}");
    }
    let fail = [
        "a = 6",
        "a = 'hello'",
        "a",
        "z",
        "NOT z",
        "FALSE",
        "NULL",
        "z > 1",
        "NOT (z > 1)",
        "z = 1",
        "z <> 1",
        "z IN ('x')",
        "z NOT IN ('x')",
        "z CONTAINS 'x'",
        "z NOT CONTAINS 'x'",
        "b CONTAINS ''",
        "b NOT CONTAINS ''",
        "5 CONTAINS '5'",
        "a NOT BETWEEN 1 AND 5",
        // A text of letters is no number, whatever the comparison.
        "b > 5",
        "b < 5",
        "b <> 5",
        "NOT (b = 5)",
        "b > a",
        // Nor is a fraction, or what is too large, a whole number of 32 bits.
        "c > 2",
        "big > 5",
        "big > 5L OR big > 2147483648",
        "TRUE = t",
        "5 = TRUE",
        "-a < 0",
        "-a IS NOT NULL",
        "NOT a = FALSE",
        "NOT a = 6",
        "a = 5 = 5",
    ];
    for text in fail {
        assert!(!matches(text, MESSAGE), "{text}");
    }
}

#[test]
fn what_decides_first_spares_what_cannot_be_compared() {
    assert!(matches("a = 5 OR b > 5", MESSAGE));
    assert!(!matches("b > 5 OR a = 5", MESSAGE));
    assert!(!matches("NOT (a = 6 AND b > 5) AND b > 5", MESSAGE));
    assert!(matches("NOT (a = 6 AND b > 5)", MESSAGE));
    assert!(!matches("NOT (z = 6 AND b > 5)", MESSAGE));
}

#[test]
fn texts_have_doubled_quotes_and_end_as_late_as_they_can() {
    let message = [("a", "it's"), ("e", "''"), ("u", "größer")];
    assert!(matches("a = 'it''s'", &message));
    assert!(matches("e = ''''''", &message));
    assert!(matches("u = 'größer' AND u CONTAINS 'ß'", &message));
    assert!(Filter::compile("a = 'it''").is_err(), "a quote stands behind");
    assert!(Filter::compile("a = 'it").is_err());
}

#[test]
fn numbers_are_read_as_java_reads_them() {
    for (value, expression) in [
        (" 7.5 ", "a = 7.5"),
        ("7.5f", "a = 7.5"),
        ("75e-1D", "a = 7.5"),
        ("+7.5", "a = 7.5"),
        (".5", "a = 0.5"),
        ("1.", "a = 1.0"),
        ("Infinity", "a > 1.0"),
        ("NaN", "a > 1.0"),
        ("-Infinity", "a < 1.0"),
        ("+5", "a = 5"),
        ("-9223372036854775808", "a < 3000000000"),
    ] {
        assert!(matches(expression, &[("a", value)]), "{value}: {expression}");
    }
    for value in
        ["", ".", "1e", "e5", "infinity", "nan", "1 2", "0x1p3", "1_0", "--1", "+-1", "NaNf"]
    {
        for expression in ["a >= 0.1", "a < 0.1", "a = 0.1"] {
            assert!(!matches(expression, &[("a", value)]), "{value}: {expression}");
        }
    }
    let long = format!("{}5", "0".repeat(1_024));
    assert!(
        !matches("a = 5 OR a > 0.5", &[("a", &long)]) && matches("a = 5", &[("a", &long[1..])])
    );
    for value in [" 5", "5 ", "5.0", "5L", "2147483648", "-", ""] {
        assert!(!matches("a > 0 OR a <= 0", &[("a", value)]), "{value}");
    }
}

#[test]
fn the_last_of_two_properties_counts_and_an_empty_one_is_none() {
    assert!(matches("a = '2'", &[("a", "1"), ("a", "2")]));
    assert!(matches("a IS NULL AND b = 'x'", &[("a", ""), ("b", "x")]));
    let filter = Filter::compile("a = '1'").unwrap();
    for properties in [&b"a\x011"[..], b"\x02\x02a\x011\x02", b"a\x011\x02b", b"\x01x\x02a\x011"] {
        assert!(filter.matches(properties), "{properties:?}");
    }
    for properties in [&b""[..], b"a", b"a\x01", b"aa\x011", b"A\x011", b"a=1"] {
        assert!(!filter.matches(properties), "{properties:?}");
    }
    let many: Vec<String> = (0..40).map(|n| format!("p{n} = '{n}'")).collect();
    let values: Vec<(String, String)> = (0..40).map(|n| (format!("p{n}"), n.to_string())).collect();
    let pairs: Vec<(&str, &str)> = values.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert!(matches(&many.join(" AND "), &pairs));
    assert!(!matches(&many.join(" AND "), &pairs[1..]));
}

#[test]
fn what_is_no_filter_is_refused_with_its_place() {
    for (text, place) in [
        ("", "the end at byte 0"),
        ("   ", "the end at byte 3"),
        ("a =", "the end at byte 3, expected a property"),
        ("a = 5 AND", "the end at byte 9"),
        ("a ! 5", "'!' at byte 2"),
        ("a NOT 5", "5 at byte 6, expected BETWEEN"),
        ("a IS 5", "5 at byte 5, expected NULL"),
        ("a IN (5)", "5 at byte 6, expected a text"),
        ("a IN ('5'", "the end at byte 9"),
        ("a IN ()", ") at byte 6"),
        ("(a = 5", "the end at byte 6"),
        ("a BETWEEN 5", "the end at byte 11, expected AND"),
        ("a CONTAINS b", "b at byte 11, expected a text"),
        ("5", "a number or a text"),
        ("a AND 'x'", "a number or a text"),
        ("-a", "a number or a text"),
        ("NOT 5", "a number or a text"),
        ("a > 'x'", "a text is neither"),
        ("a > TRUE", "a truth value is neither"),
        ("a > 5 > 3", "a truth value is neither"),
        ("a BETWEEN 'a' AND 'b'", "a text is neither"),
        ("a BETWEEN 5 AND 3", "BETWEEN 5 AND 3 holds for nothing"),
        ("a BETWEEN 5.5 AND 5", "BETWEEN 5.5 AND 5 holds"),
        ("a = NULL", "IS NULL is meant"),
        ("NULL <> a", "IS NULL is meant"),
        ("TRUE = 5", "a truth value cannot be compared"),
        ("5 IN ('5')", "IN wants a property"),
        ("a IN ('x') IN ('y')", "IN wants a property"),
        ("a = 9223372036854775808", "is larger than 9223372036854775807"),
        ("a = 0.0", "outside the range"),
        ("a = 1e999", "outside the range"),
        ("a = \u{e9}", "'é' at byte 4"),
    ] {
        let error = Filter::compile(text).expect_err(text).to_string();
        assert!(error.contains(place), "{text}: {error}");
    }
}

#[test]
fn size_and_depth_are_bounded() {
    let long = format!("a = '{}'", "x".repeat(EXPRESSION_BYTES_MAX));
    assert!(matches!(Filter::compile(&long), Err(FilterError::TooLong { .. })));
    for open in ["(", "NOT ", "- ", "+", "NOT ("] {
        let deep = open.repeat(EXPRESSION_BYTES_MAX / open.len());
        assert!(matches!(Filter::compile(&deep), Err(FilterError::TooDeep { .. })), "{open}");
    }
    let chain = format!("a {}", "IS NULL ".repeat(DEPTH_MAX + 1));
    assert!(matches!(Filter::compile(&chain), Err(FilterError::TooDeep { .. })));
    let terms: Vec<String> = (0..2_000).map(|n| format!("a = {n}")).collect();
    let filter = Filter::compile(&terms.join(" OR ")).expect("a list is one level");
    assert!(filter.matches(&properties(&[("a", "1999")])));
    assert!((100_000..1_000_000).contains(&filter.memory_bytes()), "{}", filter.memory_bytes());
    let names = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("p{number} IS NULL")).collect();
        Filter::compile(&names.join(" AND "))
    };
    assert!(names(NAMES_MAX).is_ok_and(|filter| filter.matches(b"")));
    assert!(matches!(names(NAMES_MAX + 1), Err(FilterError::TooManyNames { .. })));
    assert_eq!(Filter::compile("a = 1").unwrap().weight(), 1);
    assert!(filter.weight() > 100, "{}", filter.weight());
    for text in
        ["9".repeat(30_000), format!("a = {}", "b".repeat(30_000) + " c"), "x".repeat(3_000)]
    {
        if let Err(error) = Filter::compile(&text) {
            assert!(error.to_string().len() < 200, "{error}");
        }
    }
    let nested = format!("{}a = 5{}", "(".repeat(DEPTH_MAX - 1), ")".repeat(DEPTH_MAX - 1));
    assert!(Filter::compile(&nested).is_ok());
}

/// Parts of expressions, in any order.
fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        proptest::sample::select(vec![
            "a", "b", "NOT", "AND", "OR", "BETWEEN", "IN", "TRUE", "NULL", "IS", "CONTAINS", "(",
            ")", ",", "=", "<>", "<", "<=", ">", ">=", "-", "+", "'x'", "'", "5", "5L", "2.5",
            "--", "/*", "*/", ".", "e5", "\n",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,3}",
    ];
    proptest::collection::vec(word, 0..24).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn no_text_and_no_property_makes_it_panic(
        text in words(),
        properties in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        if let Ok(filter) = Filter::compile(&text) {
            filter.matches(&properties);
            filter.matches(b"a\x015\x02b\x01x\x02");
        }
    }
}
