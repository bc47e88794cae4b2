//! POP_MESSAGE with `order`, as gRPC clients pop a FIFO topic: of each queue one batch is in hand at a time, an attempt is given
//! its batch again, and what comes again says how often it was tried.

use super::{
    LONG_MS, MOMENT, Popped, SHORT_MS, ack, ack_all, ask_change, ask_pop, change, filled,
    finish_pop, note_code, pop, pop_at_once, send_more, short, start_pop, topic_and_group,
};
use crate::{
    ask::{Ask, committed, send, send_with},
    case::{Case, Known, case},
    play::Play,
};
use proto::code::request;
use std::{thread, time::Duration};

/// Differences that stay.
pub(crate) const KNOWN: &[Known] = &[
    ("ordered_again_beside_what_was_acknowledged", "again/", ONCE),
    ("ordered_ack_of_what_nobody_has", r#"offset/ext/offset: ours "0", Java's "1""#, NOTHING),
    ("ordered_ack_of_what_nobody_has", "ack/code: ours 13, Java's 0", NOTHING),
    ("ordered_ack_of_what_nobody_has", "pop/", NOTHING),
];

const ONCE: &str = "what was acknowledged does not come again; Java hands out the whole batch from its first gap on";
const NOTHING: &str = "an acknowledgement of what nobody has in hand is refused; Java moves the group's offset behind it";

/// What is in hand for a short time may be popped again after this one.
const OVER: Duration = Duration::from_millis(4_500);
const _: () = assert!(OVER.as_millis() as i64 > SHORT_MS);
/// Pops in the same millisecond have the same receipts.
const APART: Duration = Duration::from_millis(50);

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    [batches(), attempts(), parts(), queues(), refused(), changed()]
        .into_iter()
        .flatten()
        .map(Case::java5)
        .collect()
}

/// A pop of queue 0 in order.
fn ordered() -> Ask {
    in_order(pop("<t>")).set("queueId", 0)
}

/// The same, answered at once when there is nothing.
fn ordered_at_once() -> Ask {
    in_order(pop_at_once("<t>")).set("queueId", 0)
}

fn in_order(ask: Ask) -> Ask {
    ask.set("order", true)
}

/// Acknowledges one message and writes the answer down.
fn ask_ack(p: &mut Play, step: &str, popped: &Popped, index: usize) {
    p.ask(step, &ack(popped.receipt(index)));
}

fn batches() -> Vec<Case> {
    vec![
        case("ordered", |p| {
            filled(p, 5);
            let first = ask_pop(p, "first", &ordered().set("maxMsgNums", 3));
            ask_pop(p, "blocked", &ordered_at_once());
            p.ask("offset", &committed("<t>"));
            for index in 0..3 {
                ask_ack(p, &format!("ack {index}"), &first, index);
            }
            p.ask("offset behind it", &committed("<t>"));
            let second = ask_pop(p, "second", &ordered());
            ack_all(p, &second);
            ask_pop(p, "nothing more", &ordered_at_once());
        }),
        case("ordered_of_nothing", |p| {
            topic_and_group(p, 1);
            ask_pop(p, "pop", &ordered_at_once());
        }),
        case("ordered_with_tags", |p| {
            topic_and_group(p, 1);
            for own in ["TAGS=a", "TAGS=b", "TAGS=a"] {
                p.prepare_send(&send_with("<t>", own));
            }
            let popped = ask_pop(p, "pop", &ordered().set("exp", "b"));
            ack_all(p, &popped);
            ask_pop(p, "nothing more", &ordered_at_once().set("exp", "b"));
        }),
        case("ordered_beside_a_plain_pop", |p| {
            filled(p, 2);
            let plain = ask_pop(p, "plain", &pop("<t>").set("maxMsgNums", 1));
            ack_all(p, &plain);
            let popped = ask_pop(p, "ordered", &ordered());
            ack_all(p, &popped);
        }),
        case("ordered_by_another_group", |p| {
            filled(p, 2);
            p.group("<h>");
            let own = ask_pop(p, "g", &ordered());
            let other = ask_pop(p, "h", &ordered().set("consumerGroup", "<h>"));
            for receipt in &other.receipts {
                p.try_to(&ack(receipt).set("consumerGroup", "<h>"));
            }
            ack_all(p, &own);
        }),
    ]
}

fn attempts() -> Vec<Case> {
    vec![
        case("attempt_repeated", |p| {
            filled(p, 3);
            let attempt = |ask: Ask| ask.set("attemptId", "one").set("maxMsgNums", 2);
            let first = ask_pop(p, "first", &attempt(ordered()));
            thread::sleep(APART);
            let second = ask_pop(p, "repeated", &attempt(ordered()));
            ask_pop(p, "another", &ordered_at_once().set("attemptId", "two"));
            ask_pop(p, "without one", &ordered_at_once());
            ask_ack(p, "old receipt", &first, 0);
            p.ask("offset", &committed("<t>"));
            ask_ack(p, "new receipt", &second, 0);
            p.ask("offset then", &committed("<t>"));
            ack_all(p, &second);
            let rest = ask_pop(p, "rest", &ordered().set("attemptId", "two"));
            ack_all(p, &rest);
        }),
        case("attempt_repeated_for_more", |p| {
            filled(p, 3);
            let attempt = || ordered().set("attemptId", "one");
            ask_pop(p, "first", &attempt().set("maxMsgNums", 1));
            thread::sleep(APART);
            let second = ask_pop(p, "repeated", &attempt());
            ack_all(p, &second);
        }),
        case("attempt_after_its_time", |p| {
            filled(p, 1);
            ask_pop(p, "first", &short(ordered().set("attemptId", "one")));
            thread::sleep(OVER);
            let second = ask_pop(p, "second", &ordered().set("attemptId", "two"));
            ack_all(p, &second);
        }),
    ]
}

fn parts() -> Vec<Case> {
    vec![
        case("ordered_again", |p| {
            filled(p, 2);
            ask_pop(p, "first", &short(ordered()));
            thread::sleep(OVER);
            ask_pop(p, "second", &short(ordered()));
            thread::sleep(OVER);
            let third = ask_pop(p, "third", &ordered());
            ack_all(p, &third);
        }),
        case("ordered_again_from_the_first_gap", |p| {
            filled(p, 3);
            let first = ask_pop(p, "first", &short(ordered()));
            ask_ack(p, "ack", &first, 0);
            ask_pop(p, "blocked", &ordered_at_once());
            p.ask("offset", &committed("<t>"));
            thread::sleep(OVER);
            let again = ask_pop(p, "again", &ordered());
            ack_all(p, &again);
        }),
        case("ordered_again_beside_what_was_acknowledged", |p| {
            filled(p, 3);
            let first = ask_pop(p, "first", &short(ordered()));
            ask_ack(p, "ack", &first, 1);
            p.ask("offset", &committed("<t>"));
            thread::sleep(OVER);
            let again = ask_pop(p, "again", &ordered());
            ack_all(p, &again);
        }),
        case("ordered_again_with_what_is_new", |p| {
            filled(p, 1);
            ask_pop(p, "first", &short(ordered()));
            send_more(p, 1..2);
            thread::sleep(OVER);
            let again = ask_pop(p, "again", &ordered());
            ack_all(p, &again);
        }),
    ]
}

fn queues() -> Vec<Case> {
    let any = || in_order(pop("<t>"));
    let any_at_once = || in_order(pop_at_once("<t>"));
    vec![
        case("ordered_of_all_queues", move |p| {
            topic_and_group(p, 2);
            for queue in [0, 1, 1] {
                p.prepare_send(&send("<t>").set("e", queue));
            }
            let popped = ask_pop(p, "pop", &any());
            ask_pop(p, "blocked", &any_at_once());
            ack_all(p, &popped);
        }),
        case("ordered_of_the_queue_that_is_free", move |p| {
            topic_and_group(p, 2);
            p.prepare_send(&send("<t>").set("e", 0));
            let first = ask_pop(p, "first", &any());
            for queue in [0, 1] {
                p.prepare_send(&send("<t>").set("e", queue));
            }
            let second = ask_pop(p, "second", &any());
            ack_all(p, &first);
            let third = ask_pop(p, "third", &any());
            ack_all(p, &second);
            ack_all(p, &third);
        }),
        case("ordered_waits_for_an_ack", |p| {
            filled(p, 2);
            let first = ask_pop(p, "first", &ordered().set("maxMsgNums", 1));
            let mut second = p.second();
            let started = start_pop(p, &mut second, &ordered());
            thread::sleep(MOMENT);
            ask_ack(p, "ack", &first, 0);
            let popped = finish_pop(p, "second", &mut second, started);
            ack_all(p, &popped);
        }),
        case("ordered_waits_for_a_message", |p| {
            topic_and_group(p, 1);
            let mut second = p.second();
            let started = start_pop(p, &mut second, &ordered());
            thread::sleep(MOMENT);
            send_more(p, 0..1);
            let popped = finish_pop(p, "pop", &mut second, started);
            ack_all(p, &popped);
        }),
    ]
}

fn refused() -> Vec<Case> {
    vec![
        case("ordered_ack_of_another_message", |p| {
            filled(p, 3);
            let popped = ask_pop(p, "pop", &ordered().set("maxMsgNums", 2));
            note_code(p, "behind the batch", &ack(popped.receipt(0)).set("offset", 2));
            note_code(p, "end", &ack(popped.receipt(0)).set("offset", 3));
            note_code(p, "beyond the end", &ack(popped.receipt(0)).set("offset", 4));
            p.ask("offset", &committed("<t>"));
            ack_all(p, &popped);
            note_code(p, "again", &ack(popped.receipt(0)));
        }),
        case("ordered_ack_of_another_time", |p| {
            filled(p, 1);
            let popped = ask_pop(p, "pop", &ordered());
            let mut other = popped.receipt(0).clone();
            other.pop_time -= 1;
            note_code(p, "ack", &ack(&other));
            p.ask("offset", &committed("<t>"));
            ack_all(p, &popped);
        }),
        case("ordered_ack_of_what_nobody_has", |p| {
            filled(p, 2);
            // Makes a receipt; the group that pops is another one.
            p.group("<h>");
            let other = ask_pop(p, "h", &ordered().set("consumerGroup", "<h>"));
            note_code(p, "ack", &ack(other.receipt(0)));
            p.ask("offset", &committed("<t>"));
            let popped = ask_pop(p, "pop", &ordered());
            ack_all(p, &popped);
            for receipt in &other.receipts {
                p.try_to(&ack(receipt).set("consumerGroup", "<h>"));
            }
        }),
        case("ordered_batch", |p| {
            filled(p, 2);
            let popped = ask_pop(p, "pop", &ordered());
            let receipt = popped.receipt(0).clone();
            let times = format!(r#""pt":{},"it":{}"#, receipt.pop_time, receipt.invisible_ms);
            let text = format!(
                r#"{{"acks":[{{"b":"Aw==","c":"<g>","q":0,"r":"0","rq":999,"so":0,"t":"<t>",{times}}}],"brokerName":"broker-a"}}"#
            );
            p.ask("ack", &Ask::new(request::BATCH_ACK_MESSAGE).text(text));
            p.ask("offset", &committed("<t>"));
            ask_pop(p, "nothing more", &ordered_at_once());
        }),
    ]
}

fn changed() -> Vec<Case> {
    vec![
        case("ordered_changed_to_a_shorter_time", |p| {
            filled(p, 2);
            let popped = ask_pop(p, "pop", &ordered());
            ask_change(p, "first", popped.receipt(0), 500);
            ask_pop(p, "blocked by the second", &ordered_at_once());
            ask_change(p, "second", popped.receipt(1), 500);
            thread::sleep(2 * MOMENT);
            let again = ask_pop(p, "again", &ordered());
            ack_all(p, &again);
        }),
        case("ordered_changed_to_a_longer_time", |p| {
            filled(p, 1);
            let popped = ask_pop(p, "pop", &short(ordered()));
            let longer = ask_change(p, "change", popped.receipt(0), LONG_MS);
            thread::sleep(OVER);
            ask_pop(p, "blocked", &ordered_at_once());
            p.ask("ack", &ack(&longer));
            p.ask("offset", &committed("<t>"));
        }),
        case("ordered_changed_after_its_ack", |p| {
            filled(p, 2);
            let popped = ask_pop(p, "pop", &ordered());
            ask_ack(p, "ack", &popped, 0);
            note_code(p, "change", &change(popped.receipt(0), LONG_MS));
            ack_all(p, &popped);
        }),
        case("ordered_changed_in_vain", |p| {
            filled(p, 1);
            let popped = ask_pop(p, "pop", &ordered());
            let receipt = popped.receipt(0);
            note_code(p, "unknown topic", &change(receipt, LONG_MS).set("topic", "<other>"));
            note_code(p, "queue", &change(receipt, LONG_MS).set("queueId", 1));
            note_code(p, "end", &change(receipt, LONG_MS).set("offset", 1));
            ack_all(p, &popped);
        }),
    ]
}
