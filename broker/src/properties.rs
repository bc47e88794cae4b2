//! The few properties of a message that the broker looks at, found in one pass over their text, and those that it adds.

use crate::config::BrokerConfig;
use proto::properties::{
    self, CLUSTER, DELAY, KEYS, MSG_REGION, POP_CK, TAGS, TIMER_DELAY_MS, TIMER_DELAY_SEC,
    TIMER_DELIVER_MS, TIMER_OUT_MS, TRACE_ON, TRAN_MSG, UNIQ_KEY, WAIT,
};

use store::{index::key_hash, lookup::split_keys};

const ENTRY_END: u8 = 2;

/// Keys of a message, its own among them: far above what people use. Each costs 12 bytes of memory and 8 on the disk, and
/// 32 KiB of properties hold 16,000.
pub const KEYS_MAX: usize = 128;

/// What one pass finds.
pub struct Scanned<'a> {
    text: &'a str,
    /// `UNIQ_KEY` and `KEYS`.
    keys: [Option<&'a str>; 2],
    /// `TAGS`.
    pub tags: Option<&'a str>,
    /// `TRAN_MSG` is true: a half message.
    pub transaction: bool,
    /// `DELAY`: the level of a later delivery.
    pub delay: Option<&'a str>,
    /// The name of a property that asks for delivery at a time.
    pub timer: Option<&'a str>,
    /// `TIMER_OUT_MS`: it was delivered so already.
    pub timer_delivered: bool,
    /// Where the entry of `WAIT` lies, its separator included.
    wait: Option<(usize, usize)>,
    /// `CLUSTER`: the message was stored before, here or elsewhere.
    cluster: Option<&'a str>,
    /// `POP_CK`: its sender has popped it.
    popped: bool,
}

impl<'a> Scanned<'a> {
    /// Looks at all entries.
    pub fn of(text: &'a str) -> Scanned<'a> {
        let mut scanned = Scanned {
            text,
            keys: [None; 2],
            tags: None,
            transaction: false,
            delay: None,
            timer: None,
            timer_delivered: false,
            wait: None,
            cluster: None,
            popped: false,
        };
        for (name, value) in properties::iter(text) {
            match name {
                TAGS => scanned.tags = Some(value),
                UNIQ_KEY => scanned.keys[0] = Some(value),
                KEYS => scanned.keys[1] = Some(value),
                WAIT => scanned.wait = scanned.entry_span(name, value),
                TRAN_MSG => scanned.transaction = value.eq_ignore_ascii_case("true"),
                DELAY => scanned.delay = Some(value),
                TIMER_DELAY_SEC | TIMER_DELAY_MS | TIMER_DELIVER_MS => scanned.timer = Some(name),
                TIMER_OUT_MS => scanned.timer_delivered = true,
                CLUSTER => scanned.cluster = Some(value),
                POP_CK => scanned.popped = true,
                _ => {}
            }
        }
        scanned
    }

    /// Number of keys, if there are more than [`KEYS_MAX`].
    pub fn excess_keys(&self) -> Option<usize> {
        let [unique, keys] = self.keys;
        // Each but the last is a character and a blank at least.
        if keys.is_none_or(|keys| keys.len() < 2 * KEYS_MAX - 1) {
            return None;
        }
        Some(split_keys(unique, keys).count()).filter(|count| *count > KEYS_MAX)
    }

    /// Appends the hashes by which the message is found.
    pub fn key_hashes(&self, topic: &str, out: &mut Vec<u32>) {
        let [unique, keys] = self.keys;
        out.extend(split_keys(unique, keys).map(|key| key_hash(topic, key)));
    }

    /// The stored text in three pieces: without `WAIT`, which has done its work, and with our cluster's name, whatever the
    /// message says. Of two entries with one name the later counts (see [`properties`]), so what another cluster wrote need
    /// not be cut out.
    pub fn stored<'b>(&self, added: &'b AddedProperties) -> [&'b [u8]; 3]
    where
        'a: 'b,
    {
        let bytes = self.text.as_bytes();
        let (before, after) = match self.wait {
            Some((start, end)) => (bytes.get(..start), bytes.get(end..)),
            None => (Some(bytes), Some(&b""[..])),
        };
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        if self.cluster == Some(added.cluster.as_str()) {
            return [before, after, b""];
        }
        let last = if after.is_empty() { before.last() } else { after.last() };
        let separated = last.is_none_or(|byte| *byte == ENTRY_END);
        let text = added.text.as_bytes();
        [before, after, if separated { text.get(1..).unwrap_or_default() } else { text }]
    }

    /// The text without the receipt of an earlier pop, if there is one: clients would take that for the one of their pop.
    pub fn without_receipt(&self) -> Option<String> {
        self.popped.then(|| {
            let mut others = String::with_capacity(self.text.len());
            properties::without(self.text, POP_CK, &mut others);
            others
        })
    }

    /// Both are slices of our text, so their addresses tell where the entry lies.
    fn entry_span(&self, name: &str, value: &str) -> Option<(usize, usize)> {
        let base = self.text.as_ptr().addr();
        let start = name.as_ptr().addr().checked_sub(base)?;
        let end = value.as_ptr().addr().checked_sub(base)? + value.len();
        let separated = self.text.as_bytes().get(end) == Some(&ENTRY_END);
        Some((start, end + usize::from(separated)))
    }
}

/// What a broker adds to each message.
#[derive(Clone, Debug)]
pub struct AddedProperties {
    cluster: String,
    /// The entries, with a separator in front.
    text: String,
}

impl AddedProperties {
    /// The cluster's name alone.
    pub fn of_cluster(cluster: &str) -> AddedProperties {
        AddedProperties {
            cluster: cluster.to_owned(),
            text: format!("\u{2}{CLUSTER}\u{1}{cluster}"),
        }
    }

    /// What a configuration asks for. Consumers read off a message whether they may trace it, and those of 5.x trace none that
    /// does not name its region. Both would make each message larger, so each is there only where message trace is expected,
    /// or is off.
    pub fn of(config: &BrokerConfig) -> AddedProperties {
        let mut added = AddedProperties::of_cluster(&config.broker_cluster_name);
        if !config.trace_on {
            added.text.push_str(&format!("\u{2}{TRACE_ON}\u{1}false"));
        } else if config.trace_topic_enable {
            added.text.push_str(&format!("\u{2}{MSG_REGION}\u{1}{}", config.region_id));
        }
        added
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(text: &str) -> String {
        let added = AddedProperties::of_cluster("c1");
        let pieces = Scanned::of(text).stored(&added).concat();
        String::from_utf8(pieces).expect("text").replace('\u{1}', "=").replace('\u{2}', ";")
    }

    #[test]
    fn wait_goes_and_the_cluster_comes() {
        assert_eq!(stored(""), "CLUSTER=c1");
        assert_eq!(stored("A\u{1}b"), "A=b;CLUSTER=c1");
        assert_eq!(stored("A\u{1}b\u{2}"), "A=b;CLUSTER=c1");
        assert_eq!(stored("WAIT\u{1}true"), "CLUSTER=c1");
        assert_eq!(stored("WAIT\u{1}true\u{2}A\u{1}b"), "A=b;CLUSTER=c1");
        assert_eq!(stored("A\u{1}b\u{2}WAIT\u{1}false\u{2}C\u{1}d\u{2}"), "A=b;C=d;CLUSTER=c1");
        assert_eq!(stored("A\u{1}b\u{2}WAIT\u{1}true"), "A=b;CLUSTER=c1");
    }

    #[test]
    fn our_cluster_counts_whatever_the_message_says() {
        assert_eq!(stored("CLUSTER\u{1}c1\u{2}"), "CLUSTER=c1;");
        assert_eq!(stored("A\u{1}b\u{2}CLUSTER\u{1}c1"), "A=b;CLUSTER=c1");
        assert_eq!(stored("CLUSTER\u{1}c9\u{2}CLUSTER\u{1}c1"), "CLUSTER=c9;CLUSTER=c1");
        let added = AddedProperties::of_cluster("c1");
        for elsewhere in [
            "CLUSTER\u{1}c9",
            "CLUSTER\u{1}c9\u{2}A\u{1}b\u{2}",
            "CLUSTER\u{1}c9\u{2}WAIT\u{1}true\u{2}A\u{1}b",
            "CLUSTER\u{1}c1\u{2}CLUSTER\u{1}c9",
            "CLUSTER\u{1}c",
            "CLUSTER\u{1}c11",
        ] {
            let text = Scanned::of(elsewhere).stored(&added).concat();
            let text = String::from_utf8(text).expect("text");
            assert_eq!(properties::get(&text, CLUSTER), Some("c1"), "{elsewhere}");
        }
    }

    #[test]
    fn messages_say_whether_and_where_they_are_traced_when_that_is_asked_for() {
        let stored = |text: &str, (trace_on, trace_topic_enable): (bool, bool)| {
            let config = BrokerConfig {
                broker_cluster_name: "c1".to_owned(),
                region_id: "here".to_owned(),
                trace_on,
                trace_topic_enable,
                ..BrokerConfig::default()
            };
            let pieces = Scanned::of(text).stored(&AddedProperties::of(&config)).concat();
            let text = String::from_utf8(pieces).expect("text");
            text.replace('\u{1}', "=").replace('\u{2}', ";")
        };
        assert_eq!(stored("A\u{1}b", (true, false)), "A=b;CLUSTER=c1");
        assert_eq!(stored("A\u{1}b", (true, true)), "A=b;CLUSTER=c1;MSG_REGION=here");
        for topic in [false, true] {
            assert_eq!(stored("A\u{1}b\u{2}", (false, topic)), "A=b;CLUSTER=c1;TRACE_ON=false");
        }
        let again = "CLUSTER\u{1}c1\u{2}MSG_REGION\u{1}here";
        assert_eq!(stored(again, (true, true)), "CLUSTER=c1;MSG_REGION=here");
    }

    #[test]
    fn the_receipt_of_an_earlier_pop_goes() {
        assert_eq!(Scanned::of("A\u{1}b\u{2}").without_receipt(), None);
        let others = Scanned::of("A\u{1}b\u{2}POP_CK\u{1}0 1 2\u{2}C\u{1}d").without_receipt();
        assert_eq!(others.as_deref(), Some("A\u{1}b\u{2}C\u{1}d\u{2}"));
    }

    #[test]
    fn keys_beyond_the_limit_are_counted() {
        let keys = |count: usize| format!("UNIQ_KEY\u{1}u\u{2}KEYS\u{1}{}", "k ".repeat(count));
        for count in [0, 1, KEYS_MAX - 2, KEYS_MAX - 1] {
            assert_eq!(Scanned::of(&keys(count)).excess_keys(), None, "{count}");
        }
        for count in [KEYS_MAX, 5_000] {
            assert_eq!(Scanned::of(&keys(count)).excess_keys(), Some(count + 1));
        }
        let blanks = format!("KEYS\u{1}{}a{0}b", " ".repeat(1_000));
        assert_eq!(Scanned::of(&blanks).excess_keys(), None, "blanks are no keys");
    }

    #[test]
    fn kinds_are_recognised() {
        let scanned = Scanned::of("TRAN_MSG\u{1}TRUE\u{2}DELAY\u{1}3\u{2}TAGS\u{1}a b\u{2}");
        assert!(scanned.transaction);
        assert_eq!(scanned.delay, Some("3"));
        assert_eq!(scanned.tags, Some("a b"));
        let timed = Scanned::of("TIMER_DELAY_MS\u{1}9\u{2}TIMER_OUT_MS\u{1}1\u{2}");
        assert_eq!((timed.timer, timed.timer_delivered), (Some("TIMER_DELAY_MS"), true));
    }
}
