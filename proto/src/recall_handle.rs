//! The handle with which a producer recalls a message that waits: `recallHandle` of a send's answer, and of
//! `RECALL_MESSAGE` (370). Source: Apache RocketMQ 5.3.3, common `RecallMessageHandle`.
//!
//! Base64 for URLs, padded, of words with blanks between them: `v1`, topic, broker name, time of delivery in ms plus one,
//! unique key. Readers of 5.3.3 take five words or more; the sixth is ours.

use base64::{Engine, engine::general_purpose::URL_SAFE};

/// First word of the only version.
const VERSION: &str = "v1";
/// Longest handle, bytes: clients make keys of 32 characters, and names are at most 255 long.
const BYTES_MAX: usize = 8_192;

/// What a handle says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecallHandle {
    /// Topic of the message.
    pub topic: String,
    /// Name of the broker where it waits.
    pub broker_name: String,
    /// When it is delivered, ms.
    pub deliver_ms: i64,
    /// Its unique key.
    pub unique_key: String,
    /// Physical offset of its waiting copy; only our broker says it.
    pub place: Option<i64>,
}

impl RecallHandle {
    /// As a client gets it. `None`: a blank within a word would make another handle of it, or it would be too long.
    pub fn encode(&self) -> Option<String> {
        let RecallHandle { topic, broker_name, deliver_ms, unique_key, place } = self;
        let words = [topic.as_str(), broker_name, unique_key];
        if words.iter().any(|word| word.is_empty() || word.contains(' ')) {
            return None;
        }
        let place = place.map(|place| format!(" {place:x}")).unwrap_or_default();
        // One more, as by 5.3.3, where this is the first ms that is behind the time.
        let time = deliver_ms.saturating_add(1);
        let text = format!("{VERSION} {topic} {broker_name} {time} {unique_key}{place}");
        Some(URL_SAFE.encode(text)).filter(|handle| handle.len() <= BYTES_MAX)
    }

    /// Reads one. `None`: it is none.
    pub fn decode(text: &str) -> Option<RecallHandle> {
        if text.len() > BYTES_MAX {
            return None;
        }
        let words = String::from_utf8(URL_SAFE.decode(text).ok()?).ok()?;
        let mut words = words.split(' ');
        if words.next() != Some(VERSION) {
            return None;
        }
        let mut next = || words.next().filter(|word| !word.is_empty()).map(str::to_owned);
        let (topic, broker_name, time, unique_key) = (next()?, next()?, next()?, next()?);
        let place = next();
        let deliver_ms = time.parse::<i64>().ok()?.checked_sub(1)?;
        let place = place.and_then(|place| i64::from_str_radix(&place, 16).ok());
        Some(RecallHandle { topic, broker_name, deliver_ms, unique_key, place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle() -> RecallHandle {
        RecallHandle {
            topic: "orders".to_owned(),
            broker_name: "broker-a".to_owned(),
            deliver_ms: 1_699_999_999_999,
            unique_key: "7F000001".to_owned(),
            place: Some(0x20_0000_0000_002a),
        }
    }

    #[test]
    fn a_handle_is_read_back() {
        let text = handle().encode().expect("no blanks");
        assert_eq!(RecallHandle::decode(&text), Some(handle()));
        // `v1 orders broker-a 1700000000000 7F000001`, which is all that Java's broker says.
        let java = "djEgb3JkZXJzIGJyb2tlci1hIDE3MDAwMDAwMDAwMDAgN0YwMDAwMDE=";
        let without = RecallHandle { place: None, ..handle() };
        assert_eq!(without.encode().as_deref(), Some(java));
        assert_eq!(RecallHandle::decode(java), Some(without));
    }

    #[test]
    fn what_is_no_handle_is_refused() {
        for text in ["", "v1", "djEgYQ==", "\u{e9}", "djIgYSBiIDUgYw==", "djEgYSBiIHggYw=="] {
            assert_eq!(RecallHandle::decode(text), None, "{text}");
        }
        assert_eq!(RecallHandle::decode(&"A".repeat(100_000)), None);
        let blank = RecallHandle { unique_key: "a b".to_owned(), ..handle() };
        assert_eq!(blank.encode(), None);
        let long = RecallHandle { unique_key: "k".repeat(7_000), ..handle() };
        assert_eq!(long.encode(), None);
    }
}
