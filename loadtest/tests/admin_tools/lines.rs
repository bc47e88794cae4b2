//! Lines that a tool printed, in a form that can be compared: what differs from broker to broker and from run to run gets a
//! word that says its kind. Widths of columns are the tool's own; runs of blanks become one.

use std::collections::BTreeMap;

/// Whole numbers from here on are times, sizes or places in a log; smaller ones are offsets and counts, which are compared.
const NUMBER_DIGITS_MIN: usize = 5;
/// Ids of messages are this long and longer.
const ID_DIGITS_MIN: usize = 32;

/// Begins of lines below that of an exception.
const OF_STACK: &[&str] = &["\tat ", "\t... ", "For more information, please visit", "See http"];
/// What brokers write into messages for message trace, each in its own cases.
const OF_TRACE: &[&str] =
    &["MSG_REGION=DefaultRegion, ", ", MSG_REGION=DefaultRegion", ", TRACE_ON=true"];
/// Behind these stands where a message lies, how large it is there, or how long something took.
const OWN: &[&str] = &[
    "CommitLog Offset: ",
    "commitLogOffset=",
    "physicOffset=",
    "storeSize=",
    "physicSize=",
    "spentTimeMills=",
    " timeout, ",
    "rt=",
    "\"counter\":",
];

/// Lines that are in one of both and not in the other, as often as they are: `ours: LINE` and `Java's: LINE`. Their order is
/// the tool's, or that of its hash tables, and no part of the comparison.
pub(crate) fn differences(ours: &[String], java: &[String]) -> Vec<String> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    ours.iter().for_each(|line| *counts.entry(line).or_default() += 1);
    java.iter().for_each(|line| *counts.entry(line).or_default() -= 1);
    let mut found = Vec::new();
    for (line, count) in counts {
        let side = if count > 0 { "ours" } else { "Java's" };
        found.extend((0..count.unsigned_abs()).map(|_| format!("{side}: {line}")));
    }
    found
}

/// How much of an output is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exactness {
    /// Each line.
    Lines,
    /// Each line, its numbers left away: they are times, or counts of what goes on beside.
    Shapes,
    /// What stands before `:` or `=`: values are each broker's own.
    Keys,
}

impl Exactness {
    /// A line with what is compared of it.
    pub(crate) fn of(self, line: &str) -> String {
        match self {
            Exactness::Lines => line.to_owned(),
            Exactness::Shapes => {
                let mut made = String::new();
                for c in line.chars() {
                    match c {
                        '0'..='9' if made.ends_with('N') => {}
                        '0'..='9' => made.push('N'),
                        _ => made.push(c),
                    }
                }
                made.replace("FRACTION", "N").replace("NUMBER", "N")
            }
            Exactness::Keys => {
                let end = line.find(" = ").or_else(|| line.rfind(": ")).unwrap_or(line.len());
                line[..end].trim_end_matches([' ', ':', '=']).to_owned()
            }
        }
    }
}

/// The lines of an output, with these words in place of these texts. Of an exception its kind and the code count: remarks are for
/// people, and the stack is the tool's own.
pub(crate) fn comparable(output: &str, words: &[(String, &str)]) -> Vec<String> {
    let mut text = output.to_owned();
    for (from, to) in words {
        text = text.replace(from, to);
    }
    for added in OF_TRACE {
        text = text.replace(added, "");
    }
    // Which follows an exception without an end of line.
    text = text.replace("]MessageTrack [", "]\nMessageTrack [");
    let of_stack = |line: &&str| OF_STACK.iter().any(|begin| line.starts_with(begin));
    let lines = text.lines().filter(|line| !of_stack(line));
    let lines = lines.map(|line| line.split_once("DESC: ").map_or(line, |(code, _remark)| code));
    lines.map(line).filter(|line| !line.is_empty()).collect()
}

/// One line.
fn line(text: &str) -> String {
    let dense = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut made = String::new();
    let mut rest = dense.as_str();
    while let Some(first) = rest.chars().next() {
        let word_end = |c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_');
        let length = rest.find(word_end).unwrap_or(rest.len());
        let (token, behind) = rest.split_at(length.max(first.len_utf8()));
        let is_own = OWN.iter().any(|begin| made.ends_with(begin));
        let is_hash = made.ends_with('@') && token.chars().all(|c| c.is_ascii_hexdigit());
        let (kind, behind) = if is_hash || token.starts_with("0x") {
            ("HASH", behind)
        } else if is_own {
            ("NUMBER", behind)
        } else {
            kind(token, behind)
        };
        made.push_str(kind);
        rest = behind;
    }
    made
}

/// What stands for a token, and what is left of the line.
fn kind<'a>(token: &'a str, behind: &'a str) -> (&'a str, &'a str) {
    if let Some(behind) = time(token, behind) {
        return ("TIME", behind);
    }
    let is_digit = |c: char| c.is_ascii_digit();
    let (whole, fraction) = token.split_once('.').unwrap_or((token, ""));
    let is_whole = !token.is_empty() && token.chars().all(is_digit);
    if is_whole && token.len() >= NUMBER_DIGITS_MIN {
        ("NUMBER", behind)
    } else if token.len() >= ID_DIGITS_MIN && token.chars().all(|c| c.is_ascii_hexdigit()) {
        ("ID", behind)
    } else if token.split('.').count() == 4 && token.chars().all(|c| is_digit(c) || c == '.') {
        ("IP", port(behind))
    } else if !fraction.is_empty()
        && !whole.is_empty()
        && (whole.to_owned() + fraction).chars().all(is_digit)
    {
        ("FRACTION", behind)
    } else {
        (token, behind)
    }
}

/// Behind `2026-01-31 10:20:30` and its milliseconds, if that is what begins here.
fn time<'a>(token: &str, behind: &'a str) -> Option<&'a str> {
    const SHAPE: &str = "-dd-dd dd:dd:dd";
    if token.len() != 4 || !token.chars().all(|c| c.is_ascii_digit()) || !behind.is_ascii() {
        return None;
    }
    let shape = behind.get(..SHAPE.len())?;
    let fits = |(c, wanted): (char, char)| {
        if wanted == 'd' { c.is_ascii_digit() } else { c == wanted }
    };
    if !shape.chars().zip(SHAPE.chars()).all(fits) {
        return None;
    }
    let behind = &behind[SHAPE.len()..];
    let millis = behind.strip_prefix(',').filter(|rest| {
        rest.get(..3).is_some_and(|three| three.chars().all(|c| c.is_ascii_digit()))
    });
    Some(millis.map_or(behind, |rest| &rest[3..]))
}

/// Behind the port of an address.
fn port(behind: &str) -> &str {
    let digits =
        behind.strip_prefix(':').map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    digits.unwrap_or(behind)
}

/// What is left of lines, and what is not.
pub(crate) fn examples() {
    let words = [("127.0.0.1:10911".to_owned(), "<b>")];
    let output = "broker-a    0   2026-01-31 10:20:30,123  127.0.0.1:10911 10.0.0.9:5000\n\n\
        java.lang.Exception: CODE: 17  DESC: nothing\n\tat a.B.c(B.java:7)\n\
        offset=3, 1.25, 123456, 0A000001000122222222000000000001, store@58d22916\n";
    let lines = comparable(output, &words);
    let expected = [
        "broker-a 0 TIME <b> IP",
        "java.lang.Exception: CODE: 17",
        "offset=3, FRACTION, NUMBER, ID, store@HASH",
    ];
    assert_eq!(lines, expected);
    assert_eq!(Exactness::Keys.of("putTps : FRACTION"), "putTps");
    assert_eq!(Exactness::Keys.of("brokerName = broker-a"), "brokerName");
    assert_eq!(Exactness::Shapes.of("OK, 17 FRACTION"), "OK, N N");
    let other = ["a".to_owned(), "a".to_owned(), "b".to_owned()];
    assert_eq!(differences(&other[1..], &other), ["Java's: a"]);
}
