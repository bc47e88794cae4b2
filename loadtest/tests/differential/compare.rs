//! Differences of two transcripts, each a line with its place and both values.

use super::play::Transcript;
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
