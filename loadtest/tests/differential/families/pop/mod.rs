//! POP of 5.x, compared with 5.3.3: requests as its clients write them, and answers without what differs from run to run.
//!
//! A client makes the receipt of each message, with which it acknowledges it, from fields of the answer that brought it; so do
//! the scripts. Java's broker moves a group's offset when messages are handed out, ours when they are acknowledged: scripts
//! about something else acknowledge what they got ([`ack_all`]).

pub(super) mod acks;
pub(super) mod orders;
pub(super) mod taken;

use crate::{
    ask::Ask,
    play::{Play, now_ms},
};
use client::{Answer, Connection, Ticket};
use proto::code::{request, response};
use serde_json::{Map, Value, json};
use std::{
    thread,
    time::{Duration, Instant},
};

/// For how long messages are handed out when they shall not come again, ms.
const LONG_MS: i64 = 60_000;
/// For how long when they shall: what a script does meanwhile is done on any machine.
const SHORT_MS: i64 = 4_000;
/// How long a pop waits, as clients have it wait. What is there comes at once, except that Java's broker passes over a queue
/// whose offset it is just moving, and looks again.
const POLL_MS: i64 = 15_000;
/// What Java's broker does behind its answers is done by then.
const MOMENT: Duration = Duration::from_millis(500);
/// How far the time in an answer may be from ours: both sides run on this machine, and may have looked at their clocks before.
const CLOCKS_APART_MS: i64 = 1_000;
/// Java's broker looks once in several seconds for what was not acknowledged in time.
const AGAIN_WAIT_MAX: Duration = Duration::from_secs(60);
/// The revive queue that says that a message was popped in order.
const ORDERED: i64 = 999;

const FLOOR: &str = "the group's offset is the first message that is not acknowledged; Java's is behind what was handed out";
const SAME_QUEUE: &str = "what is not acknowledged in time comes again from its queue; Java puts a copy into a retry topic";
const FIELDS: &str = "a field that every client sends is missing, which is refused by its name; Java goes on with what it has";

/// POP_MESSAGE of group `g`, from all queues, all tags, as many as one pop may have.
fn pop(topic: &str) -> Ask {
    Ask::new(request::POP_MESSAGE)
        .set("consumerGroup", "<g>")
        .set("topic", topic)
        .set("queueId", -1)
        .set("maxMsgNums", 32)
        .set("invisibleTime", LONG_MS)
        .set("pollTime", POLL_MS)
        .set("bornTime", now_ms())
        .set("initMode", 0)
        .set("expType", "TAG")
        .set("exp", "*")
        .set("order", false)
}

/// The same, answered at once when there is nothing.
fn pop_at_once(topic: &str) -> Ask {
    pop(topic).set("pollTime", 0)
}

/// A pop whose messages may come again soon.
fn short(ask: Ask) -> Ask {
    ask.set("invisibleTime", SHORT_MS)
}

/// Sends a pop and writes down its answer.
fn ask_pop(p: &mut Play, step: &str, ask: &Ask) -> Popped {
    let sent_ms = now_ms();
    let answer = p.try_to(ask);
    note_pop(p, step, &answer, sent_ms)
}

/// Pops topic `t` again and again until something comes or the time is over. Java's broker does not wake who waits for what
/// comes from its retry topic. Returns the last answer, and when it was asked for.
fn pop_until_it_comes(p: &mut Play, own: impl Fn(Ask) -> Ask, limit: Duration) -> (Answer, i64) {
    let end = Instant::now() + limit;
    loop {
        let sent_ms = now_ms();
        let answer = p.try_to(&own(pop("<t>").set("pollTime", 500)));
        if answer.code != response::POLLING_TIMEOUT || Instant::now() >= end {
            return (answer, sent_ms);
        }
    }
}

/// Writes down the answer of a pop that was sent then.
fn note_pop(p: &mut Play, step: &str, answer: &Answer, sent_ms: i64) -> Popped {
    let popped = Popped::of(answer);
    let mut note = Map::new();
    note.insert("code".to_owned(), answer.code.into());
    // Of a refusal clients read the code alone; Java's fills its fields with zeros.
    if answer.code == response::SUCCESS {
        note.insert("popTime".to_owned(), when(answer, sent_ms));
        note.insert("revive queue".to_owned(), revive_queue(answer));
        for name in ["invisibleTime", "restNum"] {
            note.insert(name.to_owned(), json!(answer.ext(name)));
        }
        for name in ["startOffsetInfo", "msgOffsetInfo", "orderCountInfo"] {
            note.insert(name.to_owned(), json!(answer.ext(name).map(parts)));
        }
        note.insert("messages".to_owned(), by_place(p.messages(answer), popped.is_ordered()));
    }
    p.note(step, Value::Object(note));
    popped
}

/// The pop time of an answer to a request that was sent then.
fn when(answer: &Answer, sent_ms: i64) -> Value {
    let now = (sent_ms - CLOCKS_APART_MS)..=(now_ms() + CLOCKS_APART_MS);
    match answer.number("popTime") {
        Ok(time) if now.contains(&time) => json!("NOW"),
        _ => json!(answer.ext("popTime")),
    }
}

/// Java's broker keeps what was popped in eight queues, which it takes in turn; ours needs none.
fn revive_queue(answer: &Answer) -> Value {
    match answer.number("reviveQid") {
        Ok(ORDERED) => json!("ORDERED"),
        Ok(0..8) => json!("ANY"),
        _ => json!(answer.ext("reviveQid")),
    }
}

/// Parts of a field, whose order says nothing.
fn parts(text: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = text.split(';').filter(|part| !part.is_empty()).collect();
    parts.sort_unstable();
    parts
}

/// Messages in the order of their places: brokers begin with any queue. Of those in order clients read elsewhere how often
/// they were tried.
fn by_place(messages: Value, ordered: bool) -> Value {
    let Value::Array(mut messages) = messages else { return messages };
    messages.sort_by_key(|it| (it["queueId"].as_i64(), it["queueOffset"].as_i64()));
    for message in messages.iter_mut().filter(|_| ordered) {
        if let Some(members) = message.as_object_mut() {
            members.remove("reconsumeTimes");
        }
    }
    Value::Array(messages)
}

/// What a pop brought.
struct Popped {
    /// Code of the answer.
    code: i32,
    /// One for each message, in the order of their places.
    receipts: Vec<Receipt>,
}

/// What a message in hand is acknowledged with.
#[derive(Clone, Debug)]
struct Receipt {
    /// Offset at which its pop began.
    start: i64,
    pop_time: i64,
    invisible_ms: i64,
    revive_queue: i64,
    /// `0`: it came from its topic; `1`: from the retry topic of Java's broker.
    retry: String,
    queue: i64,
    offset: i64,
}

impl Popped {
    fn of(answer: &Answer) -> Popped {
        let number = |name| answer.number(name).unwrap_or(-1);
        let field = |name| parts(answer.ext(name).unwrap_or_default());
        let starts: Vec<(&str, i64)> =
            field("startOffsetInfo").into_iter().filter_map(place_and_rest).collect();
        let mut receipts = Vec::new();
        for part in field("msgOffsetInfo") {
            let Some((place, offsets)) = part.rsplit_once(' ') else { continue };
            let Some((retry, queue)) = place.split_once(' ') else { continue };
            let start = starts.iter().find(|(other, _)| *other == place).map(|(_, start)| *start);
            let receipt = |offset: &str| Receipt {
                start: start.unwrap_or(-1),
                pop_time: number("popTime"),
                invisible_ms: number("invisibleTime"),
                revive_queue: number("reviveQid"),
                retry: retry.to_owned(),
                queue: queue.parse().unwrap_or(-1),
                offset: offset.parse().unwrap_or(-1),
            };
            receipts.extend(offsets.split(',').map(receipt));
        }
        receipts.sort_by_key(|receipt| (receipt.queue, receipt.offset));
        Popped { code: answer.code, receipts }
    }

    fn is_ordered(&self) -> bool {
        self.receipts.first().is_some_and(|receipt| receipt.revive_queue == ORDERED)
    }

    /// The receipt of a message that the script needs.
    fn receipt(&self, index: usize) -> &Receipt {
        let receipt = self.receipts.get(index);
        receipt.unwrap_or_else(|| panic!("no message {index} came with code {}", self.code))
    }
}

/// `0 3 17` is place `0 3` and number 17.
fn place_and_rest(part: &str) -> Option<(&str, i64)> {
    let (place, number) = part.rsplit_once(' ')?;
    Some((place, number.parse().ok()?))
}

impl Receipt {
    /// As clients carry it.
    fn words(&self) -> String {
        let Receipt { start, pop_time, invisible_ms, revive_queue, retry, queue, offset } = self;
        format!(
            "{start} {pop_time} {invisible_ms} {revive_queue} {retry} broker-a {queue} {offset}"
        )
    }

    /// Where the message lies, of those of topic `t`.
    fn topic(&self) -> &'static str {
        if self.retry == "1" { "%RETRY%<g>_<t>" } else { "<t>" }
    }
}

/// ACK_MESSAGE of group `g`.
fn ack(receipt: &Receipt) -> Ask {
    about(request::ACK_MESSAGE, receipt)
}

/// CHANGE_MESSAGE_INVISIBLETIME of group `g`.
fn change(receipt: &Receipt, invisible_ms: i64) -> Ask {
    about(request::CHANGE_MESSAGE_INVISIBLETIME, receipt).set("invisibleTime", invisible_ms)
}

fn about(code: i32, receipt: &Receipt) -> Ask {
    Ask::new(code)
        .set("consumerGroup", "<g>")
        .set("topic", receipt.topic())
        .set("queueId", receipt.queue)
        .set("extraInfo", receipt.words())
        .set("offset", receipt.offset)
}

/// Acknowledges all that came, writes nothing down, and waits until offsets say so.
fn ack_all(p: &mut Play, popped: &Popped) {
    for receipt in &popped.receipts {
        p.try_to(&ack(receipt));
    }
    thread::sleep(MOMENT);
}

/// Changes until when a message is invisible, and writes down the answer. Returns the receipt that counts from now on.
fn ask_change(p: &mut Play, step: &str, receipt: &Receipt, invisible_ms: i64) -> Receipt {
    let sent_ms = now_ms();
    let answer = p.try_to(&change(receipt, invisible_ms));
    let mut note = Map::new();
    note.insert("code".to_owned(), answer.code.into());
    let number = |name| answer.number(name).unwrap_or(-1);
    let (pop_time, shown_ms) = (number("popTime"), number("invisibleTime"));
    if answer.code == response::SUCCESS {
        let ordered = receipt.revive_queue == ORDERED;
        let kept = ordered && pop_time == receipt.pop_time;
        let time = if kept { json!("KEPT") } else { when(&answer, sent_ms) };
        note.insert("popTime".to_owned(), time);
        let due = (sent_ms - CLOCKS_APART_MS)..=(now_ms() + CLOCKS_APART_MS);
        let as_asked = due.contains(&(pop_time + shown_ms - invisible_ms));
        note.insert("visible as asked".to_owned(), as_asked.into());
        note.insert("revive queue".to_owned(), revive_queue(&answer));
    }
    p.note(step, Value::Object(note));
    Receipt { start: receipt.offset, pop_time, invisible_ms: shown_ms, ..receipt.clone() }
}

/// Writes down the code of an answer alone.
fn note_code(p: &mut Play, step: &str, ask: &Ask) {
    let code = p.try_to(ask).code;
    p.note(step, json!({ "code": code }));
}

/// Waits for the answer of a pop over a connection, and writes it down. It was sent then.
fn finish_pop(
    p: &mut Play,
    step: &str,
    connection: &mut Connection,
    (ticket, sent_ms): (Ticket, i64),
) -> Popped {
    let answer = connection.finish(ticket).expect("an answer");
    note_pop(p, step, &answer, sent_ms)
}

/// Sends a pop over a connection and does not wait.
fn start_pop(p: &Play, connection: &mut Connection, ask: &Ask) -> (Ticket, i64) {
    let sent_ms = now_ms();
    (p.start_over(connection, ask), sent_ms)
}

/// Topic `t` of so many queues, and group `g`.
fn topic_and_group(p: &mut Play, queues: i32) {
    p.topic("<t>", queues);
    p.group("<g>");
}

/// The same with one queue and so many messages, of which the n-th has the body `n`.
fn filled(p: &mut Play, count: usize) {
    topic_and_group(p, 1);
    send_more(p, 0..count);
}

/// Sends messages with these bodies to queue 0 of topic `t`.
fn send_more(p: &mut Play, bodies: std::ops::Range<usize>) {
    for number in bodies {
        p.prepare_send(&crate::ask::send("<t>").text(number.to_string()));
    }
}

/// A topic with so many messages, which group `g` has just popped.
fn in_hand(p: &mut Play, count: usize, ask: impl Fn(Ask) -> Ask) -> Popped {
    filled(p, count);
    Popped::of(&p.prepare(&ask(pop("<t>"))))
}
