//! Writing answers into the outbox of their connection.

use super::outbox::Outbox;
use crate::{
    error::Refusal,
    letter::{Answer, Pulled, Reply, Sent},
};
use proto::{
    code::response,
    command::{ExtValue, ResponseHead, begin_response, write_response},
    message_id,
};
use std::net::SocketAddr;

/// What send responses always carry.
#[derive(Clone, Debug)]
pub struct SendStamp {
    /// `MSG_REGION`.
    pub region: String,
    /// `TRACE_ON`.
    pub trace_on: bool,
    /// Address inside message ids.
    pub store_host: SocketAddr,
}

/// Writes an answer and releases what its request held. A one-way request gets nothing.
pub fn write_answer(outbox: &Outbox, stamp: &SendStamp, mut reply: Reply, answer: &Answer) {
    reply.spend();
    outbox.discharge(reply.charge as usize);
    if reply.oneway {
        return;
    }
    match answer {
        Answer::Done => write_plain(outbox, &reply, response::SUCCESS, None),
        Answer::Sent(sent) => write_sent(outbox, stamp, &reply, sent),
        Answer::SendRefused(refusal) => write_send_refused(outbox, stamp, &reply, refusal),
        Answer::Refused(refusal) => {
            write_plain(outbox, &reply, refusal.code, Some(&refusal.remark));
        }
        Answer::Number(name, number) => {
            let ext = [(*name, ExtValue::I64(*number))];
            write_head(outbox, &reply, response::SUCCESS, None, &ext, b"");
        }
        Answer::Pulled(pulled) => write_pulled(outbox, &reply, pulled),
        Answer::Body(body, ext) => {
            let ext: Vec<_> =
                ext.iter().map(|(name, value)| (*name, ExtValue::Str(value))).collect();
            write_head(outbox, &reply, response::SUCCESS, None, &ext, body);
        }
    }
}

fn write_plain(outbox: &Outbox, reply: &Reply, code: i32, remark: Option<&str>) {
    write_head(outbox, reply, code, remark, &[], b"");
}

fn write_head(
    outbox: &Outbox,
    reply: &Reply,
    code: i32,
    remark: Option<&str>,
    ext: &[(&str, ExtValue<'_>)],
    body: &[u8],
) {
    let head = ResponseHead { code, opaque: reply.opaque, remark, ext };
    outbox.write(|out| write_response(out, reply.kind, &head, body));
}

fn write_sent(outbox: &Outbox, stamp: &SendStamp, reply: &Reply, sent: &Sent) {
    let first = message_id::encode(stamp.store_host, sent.physical.to_wire());
    let all;
    let ids = match &sent.more {
        None => first.as_str(),
        Some(more) => {
            let mut text = String::from(first.as_str());
            for physical in more {
                text.push(',');
                text.push_str(message_id::encode(stamp.store_host, physical.to_wire()).as_str());
            }
            all = text;
            &all
        }
    };
    let ext = [
        ("MSG_REGION", ExtValue::Str(&stamp.region)),
        ("TRACE_ON", ExtValue::Bool(stamp.trace_on)),
        ("msgId", ExtValue::Str(ids)),
        ("queueId", ExtValue::I64(i64::from(sent.queue_id))),
        ("queueOffset", ExtValue::I64(sent.queue_offset)),
    ];
    write_head(outbox, reply, response::SUCCESS, None, &ext, b"");
}

fn write_send_refused(outbox: &Outbox, stamp: &SendStamp, reply: &Reply, refusal: &Refusal) {
    let ext = [
        ("MSG_REGION", ExtValue::Str(&stamp.region)),
        ("TRACE_ON", ExtValue::Bool(stamp.trace_on)),
    ];
    write_head(outbox, reply, refusal.code, Some(&refusal.remark), &ext, b"");
}

/// Writes a pull's answer, its body by `fill`, which appends exactly the records.
pub fn write_pulled_with(
    outbox: &Outbox,
    reply: &Reply,
    pulled: &Pulled,
    fill: impl FnOnce(&mut Vec<u8>),
) {
    let ext = [
        ("maxOffset", ExtValue::I64(pulled.max_offset)),
        ("minOffset", ExtValue::I64(pulled.min_offset)),
        ("nextBeginOffset", ExtValue::I64(pulled.next_offset)),
        ("suggestWhichBrokerId", ExtValue::I64(0)),
    ];
    let head = ResponseHead {
        code: pulled.code,
        opaque: reply.opaque,
        remark: Some(pulled.status),
        ext: &ext,
    };
    outbox.write(|out| {
        let frame = begin_response(out, reply.kind, &head);
        fill(out);
        frame.finish(out);
    });
}

fn write_pulled(outbox: &Outbox, reply: &Reply, pulled: &Pulled) {
    if !pulled.body.is_empty() && outbox.is_clogged() {
        let empty = pulled.clogged(pulled.next_offset - pulled.span);
        return write_pulled_with(outbox, reply, &empty, |_| ());
    }
    write_pulled_with(outbox, reply, pulled, |out| out.extend_from_slice(&pulled.body));
}
