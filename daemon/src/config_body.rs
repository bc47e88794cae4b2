//! Bodies of `UPDATE_BROKER_CONFIG` and `UPDATE_NAMESRV_CONFIG`: read within limits, and what is told of what is wrong with
//! them. Whoever may connect may send them, so all of it is bounded. Pure.

use crate::{
    config::nearest_key,
    properties_file::{self, Entry},
};
use std::collections::HashMap;

/// Longest body: some ten times the whole configuration.
pub const BODY_BYTES_MAX: usize = 128 * 1024;
/// Most entries of a body: several times the keys that there are.
pub const ENTRIES_MAX: usize = 2_000;
/// Reasons that are told; of more only how many they are.
pub const REASONS_MAX: usize = 64;
/// Unknown keys of a body for which the key is looked for that was meant.
const HINTS_MAX: usize = 16;
/// Longest name for which it is, in bytes.
const HINT_NAME_BYTES_MAX: usize = 64;
/// What of a key or value is told.
const TOLD_CHARS_MAX: usize = 128;

/// The entries of a body, of each key the last one, as Java takes them; or what is wrong with it.
pub fn entries_of(body: &[u8]) -> Result<Vec<Entry>, Vec<String>> {
    if body.len() > BODY_BYTES_MAX {
        let bytes = body.len();
        return Err(vec![format!(
            "the body has {bytes} bytes, and at most {BODY_BYTES_MAX} are taken"
        )]);
    }
    let text =
        str::from_utf8(body).map_err(|error| vec![format!("the body is no text: {error}")])?;
    let entries = properties_file::entries(text)
        .map_err(|bad| bad.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    if entries.len() > ENTRIES_MAX {
        let count = entries.len();
        return Err(vec![format!(
            "the body has {count} entries, and at most {ENTRIES_MAX} are taken"
        )]);
    }
    let last: HashMap<String, usize> =
        entries.iter().enumerate().map(|(index, entry)| (entry.key.clone(), index)).collect();
    let count = entries.into_iter().enumerate();
    Ok(count.filter(|(index, entry)| last[&entry.key] == *index).map(|(_, entry)| entry).collect())
}

/// All reasons in one line.
pub fn reasons_text(reasons: &[String]) -> String {
    let told = reasons.len().min(REASONS_MAX);
    let mut text = reasons[..told].join("; ");
    if told < reasons.len() {
        text.push_str(&format!("; and {} more", reasons.len() - told));
    }
    text
}

/// A text of somebody's, as much of it as a person reads.
pub fn told(text: &str) -> String {
    match text.char_indices().nth(TOLD_CHARS_MAX) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// What is told of the unknown keys of one body.
#[derive(Debug, Default)]
pub struct UnknownKeys {
    count: usize,
}

impl UnknownKeys {
    /// The sentence about one more, with the known key that was probably meant, if one is near.
    pub fn tell(&mut self, name: &str, known: impl Iterator<Item = &'static str>) -> String {
        self.count += 1;
        let may_hint = self.count <= HINTS_MAX && name.len() <= HINT_NAME_BYTES_MAX;
        let nearest = may_hint.then(|| nearest_key(name, known)).flatten();
        let hint = nearest.map_or(String::new(), |known| format!(" (did you mean {known}?)"));
        format!("{} is not a known key{hint}", told(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entry_of_a_key_counts() {
        let entries = entries_of(b"a=1\nb=2\na=3").unwrap();
        let read: Vec<_> =
            entries.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
        assert_eq!(read, [("b", "2"), ("a", "3")]);
        assert!(entries_of(b"").unwrap().is_empty());
    }

    #[test]
    fn hostile_bodies_are_refused_with_the_limit() {
        let reason = |body: &[u8]| entries_of(body).unwrap_err().join("\n");
        assert!(reason(&vec![b'x'; BODY_BYTES_MAX + 1]).contains("at most 131072 are taken"));
        let many: String = (0..=ENTRIES_MAX).map(|number| format!("k{number}=1\n")).collect();
        assert_eq!(
            reason(many.as_bytes()),
            "the body has 2001 entries, and at most 2000 are taken"
        );
        assert!(reason(b"a=\xff\xfe").starts_with("the body is no text"));
        let bad = "line 1: \\u must be followed by four hexadecimal digits";
        assert_eq!(reason(b"a=\\u00zz"), bad);
    }

    #[test]
    fn of_much_that_is_wrong_some_is_told() {
        let mut unknown = UnknownKeys::default();
        let known = || ["fileReservedTime"].into_iter();
        let sentence = unknown.tell("fileReservdTime", known());
        assert_eq!(sentence, "fileReservdTime is not a known key (did you mean fileReservedTime?)");
        assert!(unknown.tell(&"k".repeat(100_000), known()).len() < 200);
        let reasons: Vec<String> =
            (0..500).map(|_| unknown.tell("fileReservdTime", known())).collect();
        assert_eq!(reasons.iter().filter(|reason| reason.contains("did you mean")).count(), 14);
        assert!(reasons_text(&reasons).ends_with("; and 436 more"));
        assert_eq!(reasons_text(&reasons[..2]).matches("; ").count(), 1);
    }
}
