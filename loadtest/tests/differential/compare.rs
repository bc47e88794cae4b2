//! Differences of two transcripts, each a line with its place and both values, and whether they are those that a case lists.

use super::{case::Listed, play::Transcript};
use serde_json::Value;

/// Every difference.
pub(crate) fn differences(ours: &Transcript, java: &Transcript) -> Vec<String> {
    let mut lines = Vec::new();
    let steps = |transcript: &Transcript| transcript.iter().map(|(step, _)| step.clone()).collect();
    let (our_steps, java_steps): (Vec<String>, Vec<String>) = (steps(ours), steps(java));
    if our_steps != java_steps {
        lines.push(format!("steps: ours {our_steps:?}, Java's {java_steps:?}"));
        return lines;
    }
    for ((step, ours), (_, java)) in ours.iter().zip(java) {
        compare(step, Some(ours), Some(java), &mut lines);
    }
    lines
}

fn compare(place: &str, ours: Option<&Value>, java: Option<&Value>, lines: &mut Vec<String>) {
    match (ours, java) {
        (Some(Value::Object(ours)), Some(Value::Object(java))) => {
            let mut names: Vec<&String> = ours.keys().chain(java.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                compare(&format!("{place}/{name}"), ours.get(name), java.get(name), lines);
            }
        }
        (Some(Value::Array(ours)), Some(Value::Array(java))) => {
            for index in 0..ours.len().max(java.len()) {
                compare(&format!("{place}/{index}"), ours.get(index), java.get(index), lines);
            }
        }
        (ours, java) if ours == java => {}
        (ours, java) => {
            let text = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
            lines.push(format!("{place}: ours {}, Java's {}", text(ours), text(java)));
        }
    }
}

/// Whether the differences are those that are listed: each line begins as a listed one, and each listed one is there.
pub(crate) fn judge(lines: &[String], listed: &[Listed]) -> Result<(), String> {
    let is_listed = |line: &&String| listed.iter().any(|known| begins_as(line, &known.line));
    let mut wrong: Vec<String> = lines
        .iter()
        .filter(|line| !is_listed(line))
        .map(|line| format!("not listed: {line}"))
        .collect();
    let gone = listed.iter().filter(|known| !lines.iter().any(|line| begins_as(line, &known.line)));
    wrong.extend(gone.map(|known| format!("listed and gone: {} ({})", known.line, known.why)));
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Whether a line begins as a listed one, in which `*` stands for anything.
pub(crate) fn begins_as(line: &str, listed: &str) -> bool {
    let mut pieces = listed.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    true
}
