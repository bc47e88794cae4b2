//! Writes responses into the write buffer of their connection, which [`crate::worker::Worker::respond`] finds.

use crate::{
    error::Refusal,
    response::{PopAnswer, Pulled, Responder, Response, Sent},
};
use proto::{
    code::response,
    command::{ExtValue, ResponseHead, begin_response, write_response},
    frame::FRAME_BYTES_MAX,
    message_id,
};
use remoting::{BodyCursor, SharedBody, WriteBuffer};
use std::net::SocketAddr;

/// Largest body of an answer: what a frame holds besides the header, for which this is more than enough, bytes.
pub const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - 64 * 1024;
/// Shared bodies up to this size are copied at once: cheaper than to remember that they wait.
const COPIED_BODY_BYTES_MAX: usize = 16 * 1024;

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
pub fn encode(
    write_buffer: &WriteBuffer,
    stamp: &SendStamp,
    mut responder: Responder,
    response: &Response,
) {
    if let Response::Pulled(pulled) = response {
        return encode_late(write_buffer, responder, pulled);
    }
    responder.spend();
    write_buffer.release(responder.charge as usize);
    if responder.oneway {
        return;
    }
    match response {
        Response::Done => write_plain(write_buffer, &responder, response::SUCCESS, None),
        Response::Sent(sent) => write_sent(write_buffer, stamp, &responder, sent),
        Response::SendRefused(refusal) => {
            write_send_refused(write_buffer, stamp, &responder, refusal)
        }
        Response::Refused(refusal) => {
            write_plain(write_buffer, &responder, refusal.code, Some(&refusal.remark));
        }
        Response::Number(name, number) => {
            let ext = [(*name, ExtValue::I64(*number))];
            write_head(write_buffer, &responder, response::SUCCESS, None, &ext, b"");
        }
        Response::Pulled(_) => unreachable!("served above"),
        Response::Body(body, ext) => {
            let ext: Vec<_> =
                ext.iter().map(|(name, value)| (*name, ExtValue::Str(value))).collect();
            write_body(write_buffer, &responder, &ext, body);
        }
        Response::Popped(answer) => write_popped(write_buffer, &responder, answer),
        Response::Shared(body) => write_shared(write_buffer, &responder, body),
    }
}

/// Writes a body, or that it is too large for a frame, which nobody could read.
fn write_body(
    write_buffer: &WriteBuffer,
    responder: &Responder,
    ext: &[(&str, ExtValue<'_>)],
    body: &[u8],
) {
    if body.len() > BODY_BYTES_MAX {
        let remark =
            format!("the answer takes {} bytes, a frame holds {BODY_BYTES_MAX}", body.len());
        return write_plain(write_buffer, responder, response::SYSTEM_ERROR, Some(&remark));
    }
    write_head(write_buffer, responder, response::SUCCESS, None, ext, body);
}

fn write_popped(write_buffer: &WriteBuffer, responder: &Responder, answer: &PopAnswer) {
    let ext: Vec<_> =
        answer.fields.iter().map(|(name, value)| (*name, ExtValue::Str(value))).collect();
    write_head(write_buffer, responder, answer.code, Some(&answer.remark), &ext, &answer.body);
}

fn write_shared(write_buffer: &WriteBuffer, responder: &Responder, body: &SharedBody) {
    let head =
        ResponseHead { code: response::SUCCESS, opaque: responder.opaque, remark: None, ext: &[] };
    if body.len() > COPIED_BODY_BYTES_MAX {
        let write_head = |out: &mut Vec<u8>| {
            begin_response(out, responder.kind, &head).finish_with_body(out, body.len());
        };
        return write_buffer.write_shared(write_head, body.clone());
    }
    write_buffer.write(|out| {
        let frame = begin_response(out, responder.kind, &head);
        body.copy(&mut BodyCursor::default(), out, body.len());
        frame.finish(out);
    });
}

fn write_plain(write_buffer: &WriteBuffer, responder: &Responder, code: i32, remark: Option<&str>) {
    write_head(write_buffer, responder, code, remark, &[], b"");
}

fn write_head(
    write_buffer: &WriteBuffer,
    responder: &Responder,
    code: i32,
    remark: Option<&str>,
    ext: &[(&str, ExtValue<'_>)],
    body: &[u8],
) {
    let head = ResponseHead { code, opaque: responder.opaque, remark, ext };
    write_buffer.write(|out| write_response(out, responder.kind, &head, body));
}

fn write_sent(write_buffer: &WriteBuffer, stamp: &SendStamp, responder: &Responder, sent: &Sent) {
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
        ("recallHandle", ExtValue::Str(sent.recall_handle.as_deref().unwrap_or_default())),
    ];
    let ext = if sent.recall_handle.is_some() { &ext[..] } else { &ext[..ext.len() - 1] };
    write_head(write_buffer, responder, response::SUCCESS, None, ext, b"");
}

fn write_send_refused(
    write_buffer: &WriteBuffer,
    stamp: &SendStamp,
    responder: &Responder,
    refusal: &Refusal,
) {
    let ext = [
        ("MSG_REGION", ExtValue::Str(&stamp.region)),
        ("TRACE_ON", ExtValue::Bool(stamp.trace_on)),
    ];
    write_head(write_buffer, responder, refusal.code, Some(&refusal.remark), &ext, b"");
}

/// Answers a pull with messages, which `fill` appends. There is room for them.
pub fn encode_pulled(
    write_buffer: &WriteBuffer,
    mut responder: Responder,
    pulled: &Pulled,
    fill: impl FnOnce(&mut Vec<u8>),
) {
    responder.spend();
    write_buffer.release(responder.charge as usize);
    if !responder.oneway {
        write_pulled(write_buffer, &responder, pulled, fill);
    }
}

/// The same for messages that were made while the connection took them, here or on another worker. It may hold too much by
/// now that its peer has not read: then they are left out, and nothing is lost, for it asks for the same offset again.
fn encode_late(write_buffer: &WriteBuffer, responder: Responder, pulled: &Pulled) {
    let body = &pulled.body;
    match write_buffer.takes(body.len()) {
        Err(clogged) if !body.is_empty() && !responder.oneway => {
            write_buffer.note_clogged();
            let empty = pulled.without_messages(pulled.next_offset - pulled.span, clogged);
            encode_pulled(write_buffer, responder, &empty, |_| ());
        }
        _ => encode_pulled(write_buffer, responder, pulled, |out| out.extend_from_slice(body)),
    }
}

fn write_pulled(
    write_buffer: &WriteBuffer,
    responder: &Responder,
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
        opaque: responder.opaque,
        remark: Some(&pulled.status),
        ext: &ext,
    };
    write_buffer.write(|out| {
        let frame = begin_response(out, responder.kind, &head);
        fill(out);
        frame.finish(out);
    });
}
