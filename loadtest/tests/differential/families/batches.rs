//! Several messages in one request: SEND_BATCH_MESSAGE (320), and SEND_MESSAGE_V2 with the batch flag, whole and broken.

use crate::{
    ask::{Ask, batch_body, properties, send, send_batch, send_v1},
    case::{Case, Known, case},
};
use proto::code::request;

const TWO: &[(&str, &str)] = &[("one", "TAGS=a;UNIQ_KEY=u1"), ("two", "TAGS=b;KEYS=k")];

/// Differences that stay.
pub(crate) const KNOWN: &[Known] = &[
    ("with_properties_of_its_own", "state/*/WAIT: ours nothing", WAITS),
    ("with_a_negative_body_size", "send/code: ours 13, Java's 1", BROKEN),
    ("with_a_negative_body_size", "send/ext: ours", EXT),
    ("with_a_byte_behind", "send/code: ours 13, Java's 1", BROKEN),
    ("with_a_byte_behind", "send/ext: ours", EXT),
    ("cut_in_*", "send/code: ours 13, Java's 1", BROKEN),
    ("cut_in_*", "send/ext: ours", EXT),
    ("without_bytes", "send/code: ours 13, Java's 1", BROKEN),
    ("without_bytes", "send/ext: ours", EXT),
    ("to_a_retry_topic", "send/", RETRIES),
    ("to_a_retry_topic", "state/topic %RETRY%g/queues/0: ours nothing", RETRIES),
    ("without_a_body_that_is_one", "send/", NO_BATCH),
    ("without_a_body_that_is_one", "what follows/ext/queueOffset: ours", NO_BATCH),
    ("without_a_body_that_is_one", "state/topic t/queues/0/", NO_BATCH),
    ("without_the_batch_flag", "send/ext/msgId: ours \"ID,ID\", Java's \"ID\"", BY_CODE),
    ("without_the_batch_flag", "state/topic t/queues/0/", BY_CODE),
    ("with_a_delay_in_a_message", "send/", DELAYED),
    ("with_a_delay_in_a_message", "state/", DELAYED),
];

const WAITS: &str =
    "WAIT has done its work when a message is stored; Java takes it from single messages alone";
const BROKEN: &str = "a batch that cannot be read is refused as an illegal message, which producers do not send again; Java says \
    that something went wrong, and they try the next broker";
const EXT: &str = "every refusal of a send has the fields that Java's clients read without looking; Java leaves them away after \
    an exception";
const RETRIES: &str = "no client sends batches to retry topics, whose messages may have to go to the dead letters one by one";
const NO_BATCH: &str = "the request says that it is a batch; Java goes by the flag alone, and stores the bytes as one message";
const BY_CODE: &str = "the request says that it is a batch, whatever its flag says; Java stores the bytes as one message, that no \
    consumer can read";
const DELAYED: &str = "no client puts delayed messages into a batch; Java does something with them that nobody has promised";

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    [whole(), broken(), refused()].into_iter().flatten().collect()
}

fn whole() -> Vec<Case> {
    vec![
        case("of_two", |p| {
            p.topic("<t>", 2);
            p.send("send", &send_batch("<t>", TWO).set("e", 1));
            p.await_max("<t>", 1, 2);
        }),
        case("of_one", |p| {
            p.topic("<t>", 1);
            p.send("send", &send_batch("<t>", &[("alone", "TAGS=a")]));
        }),
        case("of_forty", |p| {
            p.topic("<t>", 1);
            p.send("send", &send_batch("<t>", &[("body", "TAGS=a"); 40]));
            p.await_max("<t>", 0, 40);
        }),
        case("with_properties_of_its_own", |p| {
            p.topic("<t>", 1);
            let own = properties("WAIT=true;own=x;TAGS=c");
            p.send("send", &send_batch("<t>", TWO).set("i", own));
            p.await_max("<t>", 0, 2);
        }),
        case("without_the_batch_flag", |p| {
            p.topic("<t>", 1);
            p.send("send", &send_batch("<t>", TWO).set("m", false));
            p.await_max("<t>", 0, 2);
        }),
        case("by_the_flag_alone", |p| {
            p.topic("<t>", 1);
            p.send("send", &send("<t>").set("m", true).bytes(batch_body(TWO)));
            p.await_max("<t>", 0, 2);
        }),
        case("by_the_flag_alone_with_long_names", |p| {
            p.topic("<t>", 1);
            p.send("send", &send_v1("<t>").set("batch", true).bytes(batch_body(TWO)));
            p.await_max("<t>", 0, 2);
        }),
        case("with_a_message_without_body", |p| {
            p.topic("<t>", 1);
            p.send("send", &send_batch("<t>", &[("", "TAGS=a"), ("two", "")]));
            p.await_max("<t>", 0, 2);
        }),
        case("to_an_unknown_topic", |p| {
            p.watch_topic("<t>");
            p.send("send", &send_batch("<t>", TWO));
            p.await_max("<t>", 0, 2);
        }),
        case("to_a_queue_that_the_broker_chooses", |p| {
            p.topic("<t>", 1);
            p.send("send", &send_batch("<t>", TWO).set("e", -1));
            p.await_max("<t>", 0, 2);
        }),
        case("one_way", |p| {
            p.topic("<t>", 1);
            p.ask_oneway(&send_batch("<t>", TWO));
            p.await_max("<t>", 0, 2);
        }),
    ]
}

/// A batch whose bytes are changed.
fn changed(change: fn(&mut Vec<u8>)) -> Ask {
    let mut body = batch_body(TWO);
    change(&mut body);
    send_batch("<t>", TWO).bytes(body)
}

fn broken() -> Vec<Case> {
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change); 6] = [
        ("without_bytes", |body| body.clear()),
        ("cut_in_its_last_message", |body| body.truncate(body.len() - 3)),
        ("cut_in_its_first_size", |body| body.truncate(3)),
        ("with_a_byte_behind", |body| body.push(0)),
        // Total size 4, magic 4, crc 4, flag 4, then the size of the first body.
        ("with_a_negative_body_size", |body| body[16..20].copy_from_slice(&(-1i32).to_be_bytes())),
        ("with_a_total_size_of_zero", |body| body[..4].copy_from_slice(&0i32.to_be_bytes())),
    ];
    let case_of = |(name, change): (&str, Change)| {
        case(name, move |p| {
            p.topic("<t>", 1);
            p.ask("send", &changed(change));
            p.send("what follows", &send("<t>"));
        })
    };
    changes.into_iter().map(case_of).collect()
}

fn refused() -> Vec<Case> {
    vec![
        case("larger_than_4_mib_in_all", |p| {
            p.topic("<t>", 1);
            let half = "x".repeat((2 << 20) + 100);
            p.ask("send", &send_batch("<t>", &[(&half, ""), (&half, "")]));
        }),
        case("to_a_retry_topic", |p| {
            p.group("<g>");
            p.ask("send", &send_batch("%RETRY%<g>", TWO));
            std::thread::sleep(std::time::Duration::from_millis(500));
        }),
        case("to_an_illegal_topic", |p| {
            p.ask("send", &send_batch("a b", TWO));
        }),
        case("to_a_queue_beyond_the_last", |p| {
            p.topic("<t>", 1);
            p.ask("send", &send_batch("<t>", TWO).set("e", 1));
        }),
        case("with_a_delay_in_a_message", |p| {
            p.topic("<t>", 1);
            p.ask(
                "send",
                &send_batch("<t>", &[("one", "DELAY=1"), ("two", "")]).hide("queueOffset"),
            );
            p.await_max("<t>", 0, 2);
        }),
        case("with_a_delay_of_its_own", |p| {
            p.topic("<t>", 1);
            let ask = send_batch("<t>", TWO).set("i", properties("DELAY=1"));
            p.ask("send", &ask.hide("queueOffset"));
            p.await_max("<t>", 0, 2);
        }),
        // Not here: properties of a message and of its batch that are too long together. Java's broker takes them, and builds no
        // queue any more.
        case("without_a_body_that_is_one", |p| {
            p.topic("<t>", 1);
            p.ask("send", &Ask { code: request::SEND_BATCH_MESSAGE, ..send("<t>") });
            p.send("what follows", &send("<t>"));
        }),
    ]
}
