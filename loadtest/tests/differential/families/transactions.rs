//! Half messages and END_TRANSACTION (37): decisions, first and late ones, by the right and the wrong producer.

use crate::{
    ask::{Ask, log_offset, properties, send, send_v1, send_with},
    case::{Case, Known, case},
    play::Play,
};
use proto::code::request;

const COMMIT: i32 = 8;
const ROLLBACK: i32 = 12;
const ONCE: &str =
    "a half message is committed once, whatever is asked afterwards; Java's stores it again";
const FIRST_COUNTS: &str = "the first decision counts; Java's stores what was given up";

/// Differences that stay.
pub(crate) const KNOWN: &[Known] = &[("half_without_a_group", "half/", GROUP)];

const GROUP: &str = "nobody could decide on a half message without its group, or be asked; Java keeps it and fails later";

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    [decided(), late(), wrong(), halves()].into_iter().flatten().collect()
}

/// Half message for queue 1 of topic `t`.
fn half(text: &str) -> Ask {
    let own = format!("TRAN_MSG=true;PGROUP=<producers>;UNIQ_KEY=u1;{text}");
    // Its place in the topic of half messages is the broker's.
    send_with("<t>", &own).set("e", 1).hide("queueOffset")
}

/// Sends a half message; its decision, with every field as the producer fills it.
fn begun(p: &mut Play, text: &str) -> Ask {
    p.topic("<t>", 2);
    let sent = p.ask("half", &half(text));
    let place = sent.ext("queueOffset").unwrap_or("-1").to_owned();
    Ask::new(request::END_TRANSACTION)
        .set("producerGroup", "<producers>")
        .set("tranStateTableOffset", place)
        .set("commitLogOffset", log_offset(&sent))
        .set("commitOrRollback", COMMIT)
        .set("fromTransactionCheck", false)
        .set("msgId", "u1")
        .set("transactionId", "u1")
}

fn decided() -> Vec<Case> {
    vec![
        case("committed", |p| {
            let end = begun(p, "TAGS=a;KEYS=k;own=x");
            p.ask("end", &end);
            p.await_max("<t>", 1, 1);
        }),
        case("committed_one_way", |p| {
            let end = begun(p, "TAGS=a");
            p.ask_oneway(&end);
            p.await_max("<t>", 1, 1);
        }),
        case("committed_after_a_check", |p| {
            let end = begun(p, "").set("fromTransactionCheck", true);
            p.ask("end", &end);
            p.await_max("<t>", 1, 1);
        }),
        case("rolled_back", |p| {
            let end = begun(p, "").set("commitOrRollback", ROLLBACK);
            p.ask("end", &end);
        }),
        case("rolled_back_after_a_check", |p| {
            let end =
                begun(p, "").set("commitOrRollback", ROLLBACK).set("fromTransactionCheck", true);
            p.ask("end", &end);
        }),
        case("not_decided", |p| {
            let end = begun(p, "").set("commitOrRollback", 0);
            p.ask_briefly("end", &end);
        }),
        case("not_decided_after_a_check", |p| {
            let end = begun(p, "").set("commitOrRollback", 0).set("fromTransactionCheck", true);
            p.ask_briefly("end", &end);
        }),
        case("committed_with_flags", |p| {
            p.topic("<t>", 2);
            let sent = p.ask("half", &half("TAGS=a").set("f", 1).set("h", 7).set("j", 2));
            let place = sent.ext("queueOffset").unwrap_or("-1").to_owned();
            let end = Ask::new(request::END_TRANSACTION)
                .set("producerGroup", "<producers>")
                .set("tranStateTableOffset", place)
                .set("commitLogOffset", log_offset(&sent))
                .set("commitOrRollback", COMMIT)
                .set("msgId", "u1");
            p.ask("end", &end);
            p.await_max("<t>", 1, 1);
        }),
    ]
}

fn late() -> Vec<Case> {
    vec![
        case("committed_twice", |p| {
            let end = begun(p, "");
            p.ask("first", &end);
            p.ask("second", &end);
            p.await_max("<t>", 1, 1);
            // Java's second copy follows the first within a moment.
            std::thread::sleep(std::time::Duration::from_millis(500));
        })
        .differs("state/topic t/queues/1", ONCE),
        case("committed_after_rolled_back", |p| {
            let end = begun(p, "");
            p.ask("first", &end.clone().set("commitOrRollback", ROLLBACK));
            p.ask("second", &end);
            std::thread::sleep(std::time::Duration::from_millis(500));
        })
        .differs("state/topic t/queues/1", FIRST_COUNTS),
        case("rolled_back_after_committed", |p| {
            let end = begun(p, "");
            p.ask("first", &end);
            p.ask("second", &end.set("commitOrRollback", ROLLBACK));
            p.await_max("<t>", 1, 1);
        }),
    ]
}

fn wrong() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, field, value) in [
        ("another_group", "producerGroup", "<others>"),
        ("another_place", "tranStateTableOffset", "123456789"),
        ("an_offset_without_message", "commitLogOffset", "1099511627776"),
        ("a_negative_offset", "commitLogOffset", "-1"),
        ("no_decision_there_is", "commitOrRollback", "5"),
        ("another_message_id", "msgId", "someone"),
    ] {
        cases.push(case(format!("end_of_{name}"), move |p| {
            let end = begun(p, "").set(field, value);
            p.ask_briefly("end", &end);
            std::thread::sleep(std::time::Duration::from_millis(500));
        }));
    }
    for field in ["producerGroup", "tranStateTableOffset", "commitLogOffset", "commitOrRollback"] {
        cases.push(case(format!("end_without_{field}"), move |p| {
            let end = begun(p, "").without(field);
            p.ask_briefly("end", &end);
        }));
    }
    cases.push(case("end_of_a_plain_message", |p| {
        p.topic("<t>", 1);
        let sent = p.send("plain", &send_with("<t>", "PGROUP=<producers>"));
        let end = Ask::new(request::END_TRANSACTION)
            .set("producerGroup", "<producers>")
            .set("tranStateTableOffset", 0)
            .set("commitLogOffset", log_offset(&sent))
            .set("commitOrRollback", COMMIT)
            .set("msgId", "u1");
        p.ask("end", &end);
    }));
    cases
}

fn halves() -> Vec<Case> {
    vec![
        case("half_to_an_unknown_topic", |p| {
            p.watch_topic("<t>");
            p.ask("half", &half(""));
        }),
        case("half_without_a_group", |p| {
            p.topic("<t>", 1);
            p.ask("half", &send_with("<t>", "TRAN_MSG=true").hide("queueOffset"));
        }),
        case("half_in_capitals", |p| {
            p.topic("<t>", 2);
            p.ask("half", &half("").set("i", properties("TRAN_MSG=TRUE;PGROUP=<producers>")));
        }),
        case("half_that_says_no", |p| {
            p.topic("<t>", 1);
            p.send("plain", &send_with("<t>", "TRAN_MSG=false;PGROUP=<producers>"));
        }),
        case("half_with_its_flag", |p| {
            p.topic("<t>", 2);
            p.ask("half", &half("").set("f", 4));
        }),
        case("half_with_long_names", |p| {
            p.topic("<t>", 1);
            let own = properties("TRAN_MSG=true;PGROUP=<producers>");
            p.ask("half", &send_v1("<t>").set("properties", own).hide("queueOffset"));
        }),
        case("half_one_beside_plain_ones", |p| {
            p.topic("<t>", 2);
            p.ask("half", &half(""));
            p.send("plain", &send("<t>").set("e", 1));
        }),
    ]
}
