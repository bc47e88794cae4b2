//! The two copies of a message that waits: the one that waits, and the one that is delivered. Plain functions.
//!
//! The waiting copy stands in another topic and says in its properties for which queue it is. The delivered one has that
//! topic and queue again; its properties stay as they are, as Java leaves them.

use crate::delay_levels::{DelayLevels, WaitingPlace};
use proto::{
    properties::{
        self, DELAY, REAL_QID, REAL_TOPIC, TIMER_DELAY_MS, TIMER_DELAY_SEC, TIMER_DELIVER_MS,
        TIMER_DEQUEUE_MS, TIMER_ENQUEUE_MS, TIMER_OUT_MS, TRANSACTION_CHECK_TIMES,
    },
    record::{
        PROPERTIES_BYTES_MAX, RecordError, RecordFields, RecordView, SYS_FLAG_TRANSACTION_COMMIT,
        SYS_FLAG_TRANSACTION_MASK,
    },
};

/// How often a half message was checked, as its properties say it: the name, ten digits, separators.
const CHECK_TIMES_BYTES: usize = TRANSACTION_CHECK_TIMES.len() + 13;

/// What [`timer_entries`] adds at most: two names, thirteen digits and more, separators.
const DELIVERED_BYTES: usize = TIMER_ENQUEUE_MS.len() + TIMER_DEQUEUE_MS.len() + 2 * 22 + 1;

/// What a half message that names its time gets at its commit and at its delivery.
const TIMER_BYTES: usize = TIMER_OUT_MS.len() + 22 + DELIVERED_BYTES;
const _: () = assert!(TIMER_BYTES > CHECK_TIMES_BYTES);

/// The properties by which a message names the time of its delivery.
const TIMER_NAMES: [&str; 3] = [TIMER_DELAY_SEC, TIMER_DELAY_MS, TIMER_DELIVER_MS];

fn names_a_time(text: &str) -> bool {
    TIMER_NAMES.iter().any(|name| properties::get(text, name).is_some())
}

/// What is added to the properties of a message that named its time when it is delivered: since when it waited, and until
/// when.
pub fn timer_entries(waiting: &RecordView<'_>, now: i64) -> String {
    let mut text = properties::joint(waiting.properties_text()).to_owned();
    properties::append(&mut text, TIMER_ENQUEUE_MS, &waiting.store_timestamp().to_string());
    properties::append(&mut text, TIMER_DEQUEUE_MS, &now.to_string());
    text
}

/// The copy that waits, and where. `fields` are those of the message, which is for a queue of `shard` and asks for a level
/// above 0.
pub fn encode_waiting(
    levels: &DelayLevels,
    fields: &RecordFields<'_>,
    wanted_level: i32,
    shard: u16,
    body_bytes_max: usize,
) -> Result<(Vec<u8>, WaitingPlace), RecordError> {
    let level = levels.clamp(wanted_level).unwrap_or(1);
    let place = levels.place(level, shard);
    let mut text = text_of(fields);
    with(&mut text, DELAY, &level.to_string());
    // As in Java the level goes before a time, and leaves nothing of it.
    if names_a_time(&text) {
        text = without_all(&text, TIMER_NAMES);
    }
    Ok((encode_at(place, fields, text, 0, body_bytes_max)?, place))
}

/// The half message that waits until its producer decides. Its flags say no phase: it is an ordinary record, as in Java.
pub fn encode_half(
    place: WaitingPlace,
    fields: &RecordFields<'_>,
    body_bytes_max: usize,
) -> Result<Vec<u8>, RecordError> {
    let sys_flag = fields.sys_flag & !SYS_FLAG_TRANSACTION_MASK;
    let fields = RecordFields { sys_flag, ..*fields };
    let text = text_of(&fields);
    let room = if names_a_time(&text) { TIMER_BYTES } else { CHECK_TIMES_BYTES };
    encode_at(place, &fields, text, room, body_bytes_max)
}

/// The message that waits for the time that it names: `deliver_ms` of the wall clock.
pub fn encode_timer(
    place: WaitingPlace,
    fields: &RecordFields<'_>,
    deliver_ms: i64,
    body_bytes_max: usize,
) -> Result<Vec<u8>, RecordError> {
    let mut text = text_of(fields);
    with(&mut text, TIMER_OUT_MS, &deliver_ms.to_string());
    encode_at(place, fields, text, DELIVERED_BYTES, body_bytes_max)
}

/// Says for which queue it is. Our entries stand last: a message that is sent again may bring old ones along, and the last
/// one counts.
/// `room_bytes`: properties that come later have to fit, too.
fn encode_at(
    place: WaitingPlace,
    fields: &RecordFields<'_>,
    mut text: String,
    room_bytes: usize,
    body_bytes_max: usize,
) -> Result<Vec<u8>, RecordError> {
    text.push_str(properties::joint(&text));
    properties::append(&mut text, REAL_TOPIC, fields.topic);
    properties::append(&mut text, REAL_QID, &fields.queue_id.to_string());
    let waiting = RecordFields {
        queue_id: place.queue_id as i32,
        topic: place.waits_for.topic(),
        properties: [text.as_bytes(), b"", b""],
        ..*fields
    };
    waiting.check(body_bytes_max)?;
    if text.len() + room_bytes > PROPERTIES_BYTES_MAX {
        return Err(RecordError::PropertiesTooLong { bytes: text.len() + room_bytes });
    }
    Ok(waiting.encode())
}

fn text_of(fields: &RecordFields<'_>) -> String {
    String::from_utf8_lossy(&fields.properties.concat()).into_owned()
}

/// Gives a property this value, if it does not have it.
pub fn with(text: &mut String, name: &str, value: &str) {
    if properties::get(text, name) != Some(value) {
        let before = std::mem::take(text);
        properties::without(&before, name, text);
        properties::append(text, name, value);
    }
}

/// The properties of a message without those that say that it waited.
pub fn without_waiting(text: &str) -> String {
    without_all(text, [REAL_TOPIC, REAL_QID, TRANSACTION_CHECK_TIMES])
}

fn without_all(text: &str, names: [&str; 3]) -> String {
    let mut kept = String::with_capacity(text.len());
    let others = properties::iter(text).filter(|(name, _)| !names.contains(name));
    others.for_each(|(name, value)| properties::append(&mut kept, name, value));
    kept
}

/// The fields of the message that a half message becomes.
pub fn committed_fields<'a>(
    half: &RecordView<'a>,
    topic: &'a str,
    queue_id: u32,
) -> RecordFields<'a> {
    RecordFields {
        sys_flag: half.sys_flag() & !SYS_FLAG_TRANSACTION_MASK | SYS_FLAG_TRANSACTION_COMMIT,
        prepared_transaction_offset: half.physical_offset(),
        ..copied_fields(half, topic, queue_id)
    }
}

/// The queue that a waiting record is for, if it says so.
pub fn real_queue<'a>(waiting: &RecordView<'a>) -> Option<(&'a str, u32)> {
    let text = waiting.properties_text();
    let topic = properties::get(text, REAL_TOPIC)?;
    let queue_id = properties::get(text, REAL_QID)?.parse().ok()?;
    Some((topic, queue_id))
}

/// The fields of a copy of a message for a queue of `topic`: of the one that is delivered, all of them.
pub fn copied_fields<'a>(
    message: &RecordView<'a>,
    topic: &'a str,
    queue_id: u32,
) -> RecordFields<'a> {
    RecordFields {
        queue_id: queue_id as i32,
        flag: message.flag(),
        sys_flag: message.sys_flag(),
        born_timestamp: message.born_timestamp(),
        born_host: message.born_host(),
        store_host: message.store_host(),
        reconsume_times: message.reconsume_times(),
        prepared_transaction_offset: 0,
        body: message.body(),
        topic,
        properties: [message.properties(), b"", b""],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delay_levels::Until;

    fn fields<'a>(topic: &'a str, properties: &'a str) -> RecordFields<'a> {
        RecordFields {
            queue_id: 5,
            flag: 7,
            sys_flag: 1,
            born_timestamp: 11,
            born_host: ([10, 0, 0, 1], 99).into(),
            store_host: ([10, 0, 0, 2], 98).into(),
            reconsume_times: 3,
            prepared_transaction_offset: 0,
            body: b"body",
            topic,
            properties: [properties.as_bytes(), b"", b"\x02CLUSTER\x01c"],
        }
    }

    fn shown(text: &str) -> String {
        text.replace('\u{1}', "=").replace('\u{2}', ";")
    }

    #[test]
    fn a_message_waits_in_another_topic_and_becomes_itself_again() {
        let levels = DelayLevels::parse("1s 5s 10s", 4).unwrap();
        let real = fields("orders", "TAGS\u{1}a\u{2}DELAY\u{1}2\u{2}UNIQ_KEY\u{1}u");
        let (record, place) = encode_waiting(&levels, &real, 2, 3, 100).unwrap();
        assert_eq!(place, levels.place(2, 3));
        let waiting = RecordView::parse(&record).unwrap();
        let found = (waiting.topic(), waiting.queue_id());
        assert_eq!(found, ("SCHEDULE_TOPIC_XXXX", place.queue_id as i32));
        assert_eq!(
            shown(waiting.properties_text()),
            "TAGS=a;DELAY=2;UNIQ_KEY=u;CLUSTER=c;REAL_TOPIC=orders;REAL_QID=5;"
        );
        assert_eq!(real_queue(&waiting), Some(("orders", 5)));
        let delivered = copied_fields(&waiting, "orders", 5);
        let again = delivered.encode();
        let again = RecordView::parse(&again).unwrap();
        assert_eq!((again.topic(), again.queue_id(), again.body()), ("orders", 5, &b"body"[..]));
        assert_eq!((again.flag(), again.reconsume_times(), again.sys_flag()), (7, 3, 1));
        assert_eq!(again.properties(), waiting.properties());
        assert!(again.check_body().is_ok());
    }

    #[test]
    fn a_message_that_is_sent_again_goes_where_it_is_sent_to_now() {
        let levels = DelayLevels::parse("1s 5s 10s", 1).unwrap();
        let old = "REAL_TOPIC\u{1}old\u{2}REAL_QID\u{1}9\u{2}DELAY\u{1}40\u{2}";
        let (record, place) = encode_waiting(&levels, &fields("new", old), 40, 0, 100).unwrap();
        assert_eq!(place.until, Until::After(10_000), "the last level");
        let waiting = RecordView::parse(&record).unwrap();
        assert_eq!(real_queue(&waiting), Some(("new", 5)));
        assert_eq!(properties::get(waiting.properties_text(), DELAY), Some("3"));
    }

    #[test]
    fn a_level_goes_before_a_time_and_leaves_nothing_of_it() {
        let levels = DelayLevels::parse("1s 5s", 1).unwrap();
        let text = "TIMER_DELAY_SEC\u{1}9\u{2}DELAY\u{1}1\u{2}TIMER_DELIVER_MS\u{1}7\u{2}A\u{1}b";
        let (record, _) = encode_waiting(&levels, &fields("orders", text), 1, 0, 100).unwrap();
        let waiting = RecordView::parse(&record).unwrap();
        let expected = "DELAY=1;A=b;CLUSTER=c;REAL_TOPIC=orders;REAL_QID=5;";
        assert_eq!(shown(waiting.properties_text()), expected);
    }

    #[test]
    fn a_half_message_is_no_message_and_becomes_one() {
        let place = WaitingPlace::of_half(3, 4, 6_000);
        let real = RecordFields { sys_flag: 0x5, ..fields("orders", "TRAN_MSG\u{1}true") };
        let mut record = encode_half(place, &real, 100).unwrap();
        proto::record::patch(&mut record, 8, 9_000, 77);
        let half = RecordView::parse(&record).unwrap();
        let found = (half.topic(), half.queue_id(), half.sys_flag());
        assert_eq!(found, ("RMQ_SYS_TRANS_HALF_TOPIC", place.queue_id as i32, 1));
        assert_eq!(real_queue(&half), Some(("orders", 5)));
        let committed = committed_fields(&half, "orders", 5);
        assert_eq!((committed.sys_flag, committed.prepared_transaction_offset), (0x9, 9_000));
        assert_eq!(
            shown(half.properties_text()),
            "TRAN_MSG=true;CLUSTER=c;REAL_TOPIC=orders;REAL_QID=5;"
        );
        assert_eq!(committed.properties.concat(), half.properties());
    }

    #[test]
    fn a_record_that_does_not_say_for_whom_it_is_is_for_nobody() {
        for text in
            ["", "REAL_TOPIC\u{1}t", "REAL_QID\u{1}1", "REAL_TOPIC\u{1}t\u{2}REAL_QID\u{1}-1"]
        {
            let record =
                RecordFields { properties: [text.as_bytes(), b"", b""], ..fields("x", "") };
            let bytes = record.encode();
            assert_eq!(real_queue(&RecordView::parse(&bytes).unwrap()), None, "{text}");
        }
    }

    #[test]
    fn what_is_added_to_a_half_message_later_has_room() {
        let place = WaitingPlace::of_half(0, 1, 6_000);
        let of_length = |bytes: usize| {
            let text = format!("A\u{1}{}\u{2}DELAY\u{1}9", "x".repeat(bytes));
            encode_half(place, &fields("orders", &text), 100)
        };
        let mut lengths = (0..PROPERTIES_BYTES_MAX).rev().map(of_length);
        assert!(lengths.next().is_some_and(|longest| longest.is_err()));
        let longest = lengths.find_map(Result::ok).unwrap();
        let half = RecordView::parse(&longest).unwrap();
        let mut checked = half.properties_text().to_owned();
        with(&mut checked, TRANSACTION_CHECK_TIMES, &u32::MAX.to_string());
        assert!(checked.len() <= PROPERTIES_BYTES_MAX && checked.len() > PROPERTIES_BYTES_MAX - 9);
        let levels = DelayLevels::parse(&"1s ".repeat(18), 1).unwrap();
        let text = without_waiting(half.properties_text());
        let committed = RecordFields {
            properties: [text.as_bytes(), b"", b""],
            ..committed_fields(&half, "orders", 5)
        };
        encode_waiting(&levels, &committed, 9, 0, 100).unwrap();

        let of_length = |bytes: usize| {
            let text = format!("A\u{1}{}\u{2}TIMER_DELAY_MS\u{1}9", "x".repeat(bytes));
            encode_half(place, &fields("orders", &text), 100)
        };
        let longest = (0..PROPERTIES_BYTES_MAX).rev().find_map(|bytes| of_length(bytes).ok());
        let longest = longest.unwrap();
        let half = RecordView::parse(&longest).unwrap();
        let text = without_waiting(half.properties_text());
        let committed = RecordFields {
            properties: [text.as_bytes(), b"", b""],
            ..committed_fields(&half, "orders", 5)
        };
        let place = WaitingPlace::of_timer(0, 1, Until::After(9));
        let mut waiting = encode_timer(place, &committed, i64::MAX, 100).unwrap();
        proto::record::patch(&mut waiting, 1, 2, i64::MAX);
        let waiting = RecordView::parse(&waiting).unwrap();
        let entries = timer_entries(&waiting, i64::MIN);
        assert!(waiting.properties().len() + entries.len() <= PROPERTIES_BYTES_MAX);
    }

    #[test]
    fn properties_that_do_not_fit_with_ours_are_refused() {
        let levels = DelayLevels::parse("1s", 1).unwrap();
        let most = proto::record::PROPERTIES_BYTES_MAX;
        let long = format!("A\u{1}{}", "x".repeat(most - 30));
        let refused = encode_waiting(&levels, &fields("orders", &long), 1, 0, 100);
        assert!(matches!(refused, Err(RecordError::PropertiesTooLong { .. })), "{refused:?}");
    }
}
