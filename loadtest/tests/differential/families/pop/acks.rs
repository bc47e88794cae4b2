//! What becomes of messages in hand: ACK_MESSAGE (200051), BATCH_ACK_MESSAGE (200151), CHANGE_MESSAGE_INVISIBLETIME (200053), and
//! what comes again when nothing is said of it.

use super::{
    AGAIN_WAIT_MAX, FIELDS, FLOOR, LONG_MS, MOMENT, Popped, Receipt, SAME_QUEUE, SHORT_MS, ack,
    ack_all, ask_change, ask_pop, change, filled, in_hand, note_code, note_pop, pop, pop_at_once,
    pop_until_it_comes, send_more, short, topic_and_group,
};
use crate::{
    ask::{Ask, committed, send_with},
    case::{Case, Known, case},
    play::{Play, now_ms},
};
use proto::code::request;
use serde_json::{Value, json};
use std::{thread, time::Duration};

/// Differences that stay.
pub(crate) const KNOWN: &[Known] = &[
    ("ack_without_consumerGroup", "ack/code: ours 1, Java's 0", FIELDS),
    ("change_without_consumerGroup", "change/code: ours 1, Java's 0", FIELDS),
    (
        "changed_to_the_past",
        "past/code: ours 29, Java's 0",
        "a negative time is refused by its name",
    ),
    ("changed_to_no_time", "state/group g/offsets of queue 0/t: ours", FLOOR),
    ("stale_change", "state/group g/offsets of queue 0/t: ours", FLOOR),
    ("again", r#"again/startOffsetInfo/0: ours "0 0 0", Java's "1 0 0""#, SAME_QUEUE),
    ("again", r#"again/msgOffsetInfo/0: ours "0 0 0", Java's "1 0 0""#, SAME_QUEUE),
    ("again", "again/messages/0/bornHost: ours", COPY),
    ("again", "again/messages/0/properties/1ST_POP_TIME: ours nothing", COPY),
    ("again", "again/messages/0/properties/POP_CK: ours nothing", COPY),
    ("again", "state/topic %RETRY%g_t/", SAME_QUEUE),
    ("again", "state/group g/offsets of queue 0/%RETRY%g_t: ours", SAME_QUEUE),
    ("acknowledged_late", "afterwards/", LATE),
    ("acknowledged_with_an_old_receipt", r#"offset/ext/offset: ours "0", Java's "1""#, FLOOR),
];

const COPY: &str = "the stored message itself comes again; Java's is a copy that its broker sends";
const LATE: &str = "an acknowledgement after the time counts as long as nobody else got the message, which then does not come again";

/// Within this time Java's broker has put what was due into its retry topic.
const REVIVED: Duration = Duration::from_secs(20);
/// What is not expected to come gets this long.
const BRIEFLY: Duration = Duration::from_secs(3);

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    let cases = [acknowledged(), refused(), malformed(), batches(), changed(), again(), late()];
    cases.into_iter().flatten().map(Case::java5).collect()
}

/// What is asked with a receipt.
type AskFor = fn(&Receipt) -> Ask;

fn acknowledged() -> Vec<Case> {
    vec![
        case("one_by_one", |p| {
            let popped = in_hand(p, 3, |ask| ask);
            for (index, receipt) in popped.receipts.iter().enumerate() {
                p.ask(&format!("ack {index}"), &ack(receipt));
            }
            thread::sleep(MOMENT);
            p.ask("offset", &committed("<t>"));
            ask_pop(p, "nothing more", &pop_at_once("<t>"));
        }),
        case("backwards", |p| {
            let popped = in_hand(p, 3, |ask| ask);
            for (index, receipt) in popped.receipts.iter().enumerate().rev() {
                p.ask(&format!("ack {index}"), &ack(receipt));
            }
            thread::sleep(MOMENT);
            p.ask("offset", &committed("<t>"));
        }),
        case("twice", |p| {
            let popped = in_hand(p, 1, |ask| ask);
            p.ask("first", &ack(popped.receipt(0)));
            p.ask("second", &ack(popped.receipt(0)));
            thread::sleep(MOMENT);
            p.ask("offset", &committed("<t>"));
        }),
        case("with_the_place_in_the_log", |p| {
            // Receipts of gRPC clients have it as a ninth word.
            let popped = in_hand(p, 1, |ask| ask);
            let words = format!("{} 4711", popped.receipt(0).words());
            p.ask("ack", &ack(popped.receipt(0)).set("extraInfo", words));
            thread::sleep(MOMENT);
            p.ask("offset", &committed("<t>"));
        }),
        case("what_nobody_has_in_hand", |p| {
            filled(p, 2);
            p.ask("ack", &ack(&made_up(0)));
            let popped = ask_pop(p, "pop", &pop("<t>"));
            ack_all(p, &popped);
        }),
        case("what_another_group_has_in_hand", |p| {
            let popped = in_hand(p, 1, |ask| ask);
            p.group("<h>");
            p.ask("ack", &ack(popped.receipt(0)).set("consumerGroup", "<h>"));
            let other = ask_pop(p, "other", &pop("<t>").set("consumerGroup", "<h>"));
            for receipt in &other.receipts {
                p.try_to(&ack(receipt).set("consumerGroup", "<h>"));
            }
            ack_all(p, &popped);
        }),
    ]
}

/// A receipt of a message of queue 0 that no pop gave.
fn made_up(offset: i64) -> Receipt {
    Receipt {
        start: offset,
        pop_time: now_ms() - 100,
        invisible_ms: LONG_MS,
        revive_queue: 0,
        retry: "0".to_owned(),
        queue: 0,
        offset,
    }
}

/// The same refusals for acknowledging and for changing the time.
fn refused() -> Vec<Case> {
    let asks: [(&str, AskFor); 2] = [("ack", ack), ("change", |receipt| change(receipt, LONG_MS))];
    let mut cases = Vec::new();
    for (verb, ask) in asks {
        cases.push(case(format!("{verb}_of_an_unknown_topic"), move |p| {
            let popped = in_hand(p, 1, |ask| ask);
            note_code(p, verb, &ask(popped.receipt(0)).set("topic", "<other>"));
            ack_all(p, &popped);
        }));
        cases.push(case(format!("{verb}_of_a_wrong_queue"), move |p| {
            let popped = in_hand(p, 1, |ask| ask);
            note_code(p, "beyond the last", &ask(popped.receipt(0)).set("queueId", 1));
            note_code(p, "negative", &ask(popped.receipt(0)).set("queueId", -1));
            ack_all(p, &popped);
        }));
        cases.push(case(format!("{verb}_of_a_wrong_offset"), move |p| {
            let popped = in_hand(p, 1, |ask| ask);
            note_code(p, "end", &ask(popped.receipt(0)).set("offset", 1));
            note_code(p, "beyond the end", &ask(popped.receipt(0)).set("offset", 2));
            note_code(p, "negative", &ask(popped.receipt(0)).set("offset", -1));
            ack_all(p, &popped);
        }));
        cases.push(case(format!("{verb}_with_a_malformed_receipt"), move |p| {
            let popped = in_hand(p, 1, |ask| ask);
            let with = |words: &str| ask(popped.receipt(0)).set("extraInfo", words);
            note_code(p, "garbage", &with("garbage"));
            note_code(p, "empty", &with(""));
            note_code(p, "no numbers", &with("a b c d 0 broker-a 0 0"));
            note_code(p, "three words", &with("0 1700000000000 60000"));
            note_code(p, "absent", &with("").without("extraInfo"));
            ack_all(p, &popped);
        }));
    }
    cases
}

fn malformed() -> Vec<Case> {
    let mut cases = Vec::new();
    for field in ["consumerGroup", "queueId", "offset"] {
        cases.push(case(format!("ack_without_{field}"), move |p| {
            let popped = in_hand(p, 1, |ask| ask);
            note_code(p, "ack", &ack(popped.receipt(0)).without(field));
            ack_all(p, &popped);
        }));
    }
    for field in ["consumerGroup", "queueId", "offset", "invisibleTime", "topic"] {
        cases.push(case(format!("change_without_{field}"), move |p| {
            let popped = in_hand(p, 1, |ask| ask);
            note_code(p, "change", &change(popped.receipt(0), LONG_MS).without(field));
            ack_all(p, &popped);
        }));
    }
    cases
}

/// BATCH_ACK_MESSAGE of messages of one pop, of which a bit in `bits` says which: 1 is the first one.
fn batch_ack(popped: &Popped, bits: u8) -> Ask {
    let Receipt { start, pop_time, invisible_ms, revive_queue, retry, queue, .. } =
        popped.receipt(0);
    let retry = format!(r#""r":"{retry}""#);
    let times = format!(r#""pt":{pop_time},"it":{invisible_ms}"#);
    let queues = format!(r#""q":{queue},"rq":{revive_queue},"so":{start}"#);
    let bits = base64_of(bits);
    Ask::new(request::BATCH_ACK_MESSAGE).text(format!(
        r#"{{"acks":[{{"b":"{bits}","c":"<g>","t":"<t>",{retry},{times},{queues}}}],"brokerName":"broker-a"}}"#
    ))
}

/// One byte, as Java writes bytes into JSON.
fn base64_of(byte: u8) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |index: u8| char::from(DIGITS[usize::from(index)]);
    format!("{}{}==", digit(byte >> 2), digit((byte & 3) << 4))
}

fn batches() -> Vec<Case> {
    let raw = |text: &str| Ask::new(request::BATCH_ACK_MESSAGE).text(text);
    vec![
        case("batch", |p| {
            let popped = in_hand(p, 3, |ask| ask);
            p.ask("ack", &batch_ack(&popped, 0b111));
            thread::sleep(MOMENT);
            p.ask("offset", &committed("<t>"));
            ask_pop(p, "nothing more", &pop_at_once("<t>"));
        }),
        case("batch_twice", |p| {
            let popped = in_hand(p, 2, |ask| ask);
            p.ask("first", &batch_ack(&popped, 0b01));
            p.ask("second", &batch_ack(&popped, 0b11));
            thread::sleep(MOMENT);
            p.ask("offset", &committed("<t>"));
        }),
        case("batch_with_bits_beyond_the_end", |p| {
            let popped = in_hand(p, 2, |ask| ask);
            p.ask("ack", &batch_ack(&popped, 0b1111_0011));
            thread::sleep(MOMENT);
            p.ask("offset", &committed("<t>"));
        }),
        case("batch_of_an_unknown_topic", |p| {
            let popped = in_hand(p, 1, |ask| ask);
            let crate::ask::Body::Text(text) = batch_ack(&popped, 1).body else {
                unreachable!("it is text")
            };
            let other = text.replace("<t>", "<other>");
            p.ask("ack", &Ask::new(request::BATCH_ACK_MESSAGE).text(other));
            ack_all(p, &popped);
        }),
        case("batch_that_is_missing", move |p| {
            p.ask("no body", &Ask::new(request::BATCH_ACK_MESSAGE));
            p.ask("no list", &raw(r#"{"brokerName":"broker-a"}"#));
            p.ask("empty list", &raw(r#"{"acks":[],"brokerName":"broker-a"}"#));
            p.ask("garbage", &raw("garbage"));
        }),
    ]
}

fn changed() -> Vec<Case> {
    vec![
        case("changed", |p| {
            let popped = in_hand(p, 2, |ask| ask);
            let longer = ask_change(p, "longer", popped.receipt(0), 2 * LONG_MS);
            let shorter = ask_change(p, "shorter", popped.receipt(1), LONG_MS / 2);
            p.ask("ack", &ack(&longer));
            p.ask("other ack", &ack(&shorter));
            thread::sleep(MOMENT);
            p.ask("offset", &committed("<t>"));
            ask_pop(p, "nothing more", &pop_at_once("<t>"));
        }),
        case("changed_again_and_again", |p| {
            let popped = in_hand(p, 1, |ask| ask);
            let mut receipt = popped.receipt(0).clone();
            for round in 0..3 {
                thread::sleep(Duration::from_millis(20));
                receipt = ask_change(p, &format!("change {round}"), &receipt, LONG_MS);
            }
            p.ask("ack", &ack(&receipt));
            thread::sleep(MOMENT);
            p.ask("offset", &committed("<t>"));
        }),
        case("stale_change", |p| {
            let popped = in_hand(p, 1, |ask| ask);
            thread::sleep(Duration::from_millis(20));
            ask_change(p, "change", popped.receipt(0), LONG_MS);
            note_code(p, "stale", &change(popped.receipt(0), LONG_MS));
            ask_pop(p, "nothing comes", &pop_at_once("<t>"));
            thread::sleep(MOMENT);
        }),
        case("changed_after_it_was_acknowledged", |p| {
            let popped = in_hand(p, 1, |ask| ask);
            p.ask("ack", &ack(popped.receipt(0)));
            note_code(p, "change", &change(popped.receipt(0), LONG_MS));
            ask_pop(p, "nothing comes", &pop_at_once("<t>"));
            thread::sleep(MOMENT);
            p.ask("offset", &committed("<t>"));
        }),
        case("changed_to_no_time", |p| {
            let popped = in_hand(p, 1, |ask| ask);
            note_code(p, "no time", &change(popped.receipt(0), 0));
            thread::sleep(MOMENT);
        }),
        case("changed_to_the_past", |p| {
            let popped = in_hand(p, 1, |ask| ask);
            note_code(p, "past", &change(popped.receipt(0), -5_000));
            let again = ask_tries(p, "again", |ask| ask, AGAIN_WAIT_MAX);
            ack_all(p, &again);
        }),
    ]
}

/// Pops topic `t` until something comes, and writes down the bodies of what came, and how often each was tried before.
fn ask_tries(p: &mut Play, step: &str, own: impl Fn(Ask) -> Ask, limit: Duration) -> Popped {
    let answer = pop_until_it_comes(p, own, limit).0;
    let tries = |message: &Value| json!([message["body"], message["reconsumeTimes"]]);
    let messages = p.messages(&answer);
    let messages: Vec<Value> = messages.as_array().into_iter().flatten().map(tries).collect();
    p.note(step, json!({ "code": answer.code, "messages": messages }));
    Popped::of(&answer)
}

fn again() -> Vec<Case> {
    vec![
        case("again", |p| {
            topic_and_group(p, 1);
            p.watch_topic("%RETRY%<g>_<t>");
            p.prepare_send(&send_with("<t>", "TAGS=a;KEYS=k;UNIQ_KEY=u1;own=1"));
            ask_pop(p, "pop", &short(pop("<t>")));
            let (answer, sent_ms) = pop_until_it_comes(p, |ask| ask, AGAIN_WAIT_MAX);
            let again = note_pop(p, "again", &answer, sent_ms);
            ack_all(p, &again);
            ask_pop(p, "nothing more", &pop_at_once("<t>"));
        }),
        case("again_and_again", |p| {
            filled(p, 1);
            for step in ["first", "second"] {
                ask_tries(p, step, short, AGAIN_WAIT_MAX);
            }
            let third = ask_tries(p, "third", |ask| ask, AGAIN_WAIT_MAX);
            ack_all(p, &third);
        }),
        case("again_of_some", |p| {
            let popped = in_hand(p, 3, short);
            p.ask("ack", &batch_ack(&popped, 0b101));
            let again = ask_tries(p, "again", |ask| ask, AGAIN_WAIT_MAX);
            ack_all(p, &again);
            ask_pop(p, "nothing more", &pop_at_once("<t>"));
        }),
        case("again_beside_what_is_new", |p| {
            let popped = in_hand(p, 1, short);
            thread::sleep(REVIVED);
            send_more(p, 1..2);
            let mut bodies = Vec::new();
            let mut held = vec![popped];
            for _ in 0..6 {
                let answer = p.try_to(&pop("<t>").set("pollTime", 1_000));
                let messages = p.messages(&answer);
                let found = messages.as_array().into_iter().flatten();
                bodies.extend(found.map(|message| message["body"].clone()));
                held.push(Popped::of(&answer));
                if bodies.len() >= 2 {
                    break;
                }
            }
            bodies.sort_by_key(Value::to_string);
            p.note("bodies", json!(bodies));
            for popped in &held {
                ack_all(p, popped);
            }
        }),
        case("again_after_a_shorter_time", |p| {
            let popped = in_hand(p, 1, |ask| ask);
            ask_change(p, "change", popped.receipt(0), SHORT_MS);
            let again = ask_tries(p, "again", |ask| ask, AGAIN_WAIT_MAX);
            ack_all(p, &again);
        }),
        case("not_again_after_a_longer_time", |p| {
            let popped = in_hand(p, 1, short);
            let receipt = ask_change(p, "change", popped.receipt(0), LONG_MS);
            thread::sleep(REVIVED);
            ask_pop(p, "nothing comes", &pop_at_once("<t>"));
            p.ask("ack", &ack(&receipt));
            thread::sleep(MOMENT);
        }),
        case("again_with_its_tag", |p| {
            topic_and_group(p, 1);
            for own in ["TAGS=a", "TAGS=b"] {
                p.prepare_send(&send_with("<t>", own));
            }
            let of_tag = |ask: Ask| ask.set("exp", "b");
            ask_tries(p, "first", |ask| of_tag(short(ask)), BRIEFLY);
            let again = ask_tries(p, "again", of_tag, AGAIN_WAIT_MAX);
            ack_all(p, &again);
        }),
    ]
}

fn late() -> Vec<Case> {
    vec![
        case("acknowledged_late", |p| {
            let popped = in_hand(p, 1, short);
            thread::sleep(REVIVED);
            p.ask("ack", &ack(popped.receipt(0)));
            let afterwards = ask_tries(p, "afterwards", |ask| ask, BRIEFLY);
            ack_all(p, &afterwards);
        }),
        case("acknowledged_with_an_old_receipt", |p| {
            let first = in_hand(p, 1, short);
            let second = ask_tries(p, "second", |ask| ask, AGAIN_WAIT_MAX);
            p.ask("old", &ack(first.receipt(0)));
            thread::sleep(MOMENT);
            p.ask("offset", &committed("<t>"));
            ask_pop(p, "nothing comes", &pop_at_once("<t>"));
            ack_all(p, &second);
        }),
    ]
}
