//! The answer to a pop: what clients make receipts of. Shapes: Apache RocketMQ 5.3.3, remoting `ExtraInfoUtil`.

use super::{admit::Pop, take::Taken};
use crate::response::{PopAnswer, Response};
use proto::{code::response, receipt::REVIVE_QUEUE_IN_ORDER};
use std::fmt::Write;

/// A queue of the topic itself, not of a retry topic.
pub(super) const OF_TOPIC: &str = "0";

/// The fields that each answer has.
pub(super) fn fields(pop: &Pop, popped_at: i64, rest: i64) -> Vec<(&'static str, String)> {
    let revive_queue = if pop.in_order { REVIVE_QUEUE_IN_ORDER } else { 0 };
    vec![
        ("popTime", popped_at.to_string()),
        ("invisibleTime", pop.invisible_ms.to_string()),
        ("reviveQid", revive_queue.to_string()),
        ("restNum", rest.to_string()),
    ]
}

/// The answer with messages.
pub(super) fn found(pop: &Pop, taken: Taken) -> Response {
    let mut fields = fields(pop, taken.popped_at, taken.rest);
    let (mut starts, mut offsets, mut counts) = (String::new(), String::new(), String::new());
    for queue in &taken.queues {
        let Some((first, _)) = queue.messages.first() else { continue };
        let id = queue.queue_id;
        add(&mut starts, format_args!("{OF_TOPIC} {id} {}", queue.start));
        add(&mut offsets, format_args!("{OF_TOPIC} {id} {first}"));
        for (offset, _) in queue.messages.iter().skip(1) {
            let _ = write!(offsets, ",{offset}");
        }
        for (offset, again) in queue.messages.iter().filter(|(_, again)| *again > 0) {
            add(&mut counts, format_args!("{OF_TOPIC} qo{id}%{offset} {again}"));
        }
        if let Some(least) = queue.messages.iter().map(|(_, again)| *again).min() {
            add(&mut counts, format_args!("{OF_TOPIC} {id} {least}"));
        }
    }
    fields.push(("startOffsetInfo", starts));
    fields.push(("msgOffsetInfo", offsets));
    if pop.in_order {
        fields.push(("orderCountInfo", counts));
    }
    Response::Popped(Box::new(PopAnswer {
        code: response::SUCCESS,
        remark: "FOUND".into(),
        fields,
        body: taken.records,
    }))
}

fn add(list: &mut String, item: std::fmt::Arguments<'_>) {
    if !list.is_empty() {
        list.push(';');
    }
    // Writing into a text does not fail.
    let _ = list.write_fmt(item);
}
