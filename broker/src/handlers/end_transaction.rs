//! END_TRANSACTION: a producer decides on its half message.
//!
//! The half message is read where it lies, and ended there by one append: the note that it ended, and in the same batch what it
//! became, so that both are there or neither. The first decision counts: a later one, of whatever kind, is answered with
//! success and changes nothing. Producers do not wait for an answer, so what the log does not take now waits for it, and
//! what it does not take for seconds leaves the half message open: its producer is asked again.

use super::{
    patience::{PATIENCE_MS, PAUSE, append_control_patiently, append_patiently},
    send::{
        append_ended, append_waiting_again,
        timer::{self, Timer},
    },
    view_message::place_at,
    waiting::{committed_fields, encode_timer, encode_waiting, real_queue, without_waiting},
};
use crate::{
    delay_levels::WaitingPlace,
    drops::gone_topics,
    error::Refusal,
    properties::Scanned,
    request::Request,
    response::{Responder, Response},
    shard::Shard,
    worker::Worker,
};
use proto::{
    code::response,
    properties::{self, PGROUP},
    record::{
        RecordError, RecordFields, RecordView, SYS_FLAG_TRANSACTION_COMMIT,
        SYS_FLAG_TRANSACTION_ROLLBACK,
    },
    request::EndTransactionHeader,
};
use std::rc::Rc;
use store::{
    PhysicalOffset,
    state::{
        ControlEntry, WaitsFor,
        half_messages::{Ending, HalfOutcome, OpenHalf},
    },
};

/// What a producer has decided.
struct Decision {
    group: String,
    place: PhysicalOffset,
    queue_offset: i64,
    outcome: HalfOutcome,
}

/// How long what was decided and not taken waits until its producer is asked again, ms.
const REFUSED_PAUSE_MS: i64 = 1_000;

/// Serves the request, in a task of its own.
pub fn serve(worker: &Rc<Worker>, request: &Request<'_>, mut responder: Responder) {
    let decision = match admit(worker, request) {
        Ok(Some(decision)) => decision,
        Ok(None) => {
            responder.oneway = true;
            return worker.respond(responder, Response::Done);
        }
        Err(refusal) => return worker.respond(responder, refusal.into()),
    };
    let worker = Rc::clone(worker);
    worker.executor.clone().spawn(async move {
        let host = worker.host_of(decision.place.shard());
        let ended = worker.on_task(host, move |there| async move { end(&there, &decision).await });
        let response = ended.await.map_or_else(Response::from, |()| Response::Done);
        worker.respond(responder, response);
    });
}

/// `None`: the producer does not know yet, and waits for no answer.
fn admit(worker: &Worker, request: &Request<'_>) -> Result<Option<Decision>, Refusal> {
    let header = EndTransactionHeader::from_ext(&request.header.ext)?;
    let outcome = match header.commit_or_rollback {
        0 => return Ok(None),
        SYS_FLAG_TRANSACTION_COMMIT => HalfOutcome::Committed,
        SYS_FLAG_TRANSACTION_ROLLBACK => HalfOutcome::RolledBack,
        other => {
            return Err(Refusal::system_error(format!(
                "commitOrRollback={other} is no decision: {SYS_FLAG_TRANSACTION_COMMIT} commits, \
                 {SYS_FLAG_TRANSACTION_ROLLBACK} rolls back, 0 says that it is not known yet"
            )));
        }
    };
    Ok(Some(Decision {
        group: header.producer_group.to_owned(),
        place: place_at(worker.shard_count, header.commit_log_offset)?,
        queue_offset: header.tran_state_table_offset,
        outcome,
    }))
}

async fn end(worker: &Rc<Worker>, decision: &Decision) -> Result<(), Refusal> {
    let shard = Rc::clone(worker.hosted_shard(decision.place.shard()));
    let position = decision.place.position();
    let until = worker.executor.uptime() + PATIENCE_MS;
    let half = loop {
        let begun = shard.store.state_mut().derived.half_messages.begin_end(position);
        match begun {
            Ending::Begun(half) => break half,
            Ending::Unknown => return check_ended(&shard, decision).await,
            Ending::UnderWay if worker.executor.uptime() < until => {
                worker.executor.sleep(PAUSE).await;
            }
            Ending::UnderWay => {
                let remark = format!("the half message at {position} is being ended already");
                return Err(Refusal::new(response::SYSTEM_BUSY, remark));
            }
        }
    };
    let ended = match read_decided(&shard, &half, decision).await {
        Ok(record) => {
            append_end(worker, &shard, &record, decision).await.map_err(|why| (why, true))
        }
        Err(why) => Err((why, false)),
    };
    match ended {
        // Nothing is awaited between the append and this: positions in the commit queue never go back.
        Ok(Ended { until, gone }) => {
            let committed = shard.committed(until).await;
            match gone {
                Some(topic) => Err(Refusal::topic_not_exist(&topic)),
                None if committed => Ok(()),
                None => Err(Refusal::new(
                    response::SERVICE_NOT_AVAILABLE,
                    format!("shard={}: the log has failed; the decision may be lost", shard.number),
                )),
            }
        }
        Err((why, refused)) => {
            let again = shard.due_time(worker.executor.moment()).saturating_add(REFUSED_PAUSE_MS);
            let halves = &mut shard.store.state_mut().derived.half_messages;
            if refused {
                halves.keep_refused(position, again);
            } else {
                halves.keep(position);
            }
            shard.half_due_changed.raise();
            Err(why)
        }
    }
}

/// The end of a half message is in the log.
struct Ended {
    /// Position behind it.
    until: u64,
    /// It became nothing, because this topic was deleted.
    gone: Option<String>,
}

/// The half message that a decision is for.
async fn read_decided(
    shard: &Shard,
    half: &OpenHalf,
    decision: &Decision,
) -> Result<Vec<u8>, Refusal> {
    let record = shard.store.read_one_waiting(half.position, half.bytes).await?;
    let record = record.ok_or_else(|| not_found(decision))?;
    let view = RecordView::parse(&record).map_err(|_| not_found(decision))?;
    check_decision(&view, decision)?;
    Ok(record)
}

async fn append_end(
    worker: &Rc<Worker>,
    shard: &Shard,
    record: &[u8],
    decision: &Decision,
) -> Result<Ended, Refusal> {
    let (position, outcome) = (decision.place.position(), decision.outcome);
    let entry = ControlEntry::HalfEnded { position, outcome };
    if outcome == HalfOutcome::Committed {
        let half = RecordView::parse(record).map_err(|_| not_found(decision))?;
        return commit(worker, shard, &half, &entry).await;
    }
    let until = append_control_patiently(worker, shard, &entry).await?;
    shard.tally.rolled_back();
    Ok(Ended { until, gone: None })
}

/// The decision is for the message that lies there.
fn check_decision(half: &RecordView<'_>, decision: &Decision) -> Result<(), Refusal> {
    let group = properties::get(half.properties_text(), PGROUP).unwrap_or_default();
    if group != decision.group {
        let remark = format!("The producer group wrong: {}, expected {group}", decision.group);
        return Err(Refusal::system_error(remark));
    }
    if half.queue_offset() != decision.queue_offset {
        return Err(Refusal::system_error(format!(
            "The transaction state table offset wrong: {}, expected {}",
            decision.queue_offset,
            half.queue_offset()
        )));
    }
    Ok(())
}

fn not_found(decision: &Decision) -> Refusal {
    let remark =
        format!("Find prepared transaction message failed at {}", decision.place.to_wire());
    Refusal::system_error(remark)
}

/// Nothing is open there: fine if it was a half message of this group, which has ended.
async fn check_ended(shard: &Shard, decision: &Decision) -> Result<(), Refusal> {
    let record = shard.store.read_record(decision.place.position()).await?;
    let view = record.as_deref().and_then(|record| RecordView::parse(record).ok());
    let half = view.filter(|view| WaitsFor::of(view.topic()) == Some(WaitsFor::Decision));
    check_decision(&half.ok_or_else(|| not_found(decision))?, decision)
}

/// Appends the message that a half message becomes.
async fn commit(
    worker: &Rc<Worker>,
    shard: &Shard,
    half: &RecordView<'_>,
    entry: &ControlEntry<'_>,
) -> Result<Ended, Refusal> {
    let (topic, queue_id) = real_queue(half).unwrap_or_default();
    let scanned = Scanned::of(half.properties_text());
    let fields = committed_fields(half, topic, queue_id);
    let waiting = encode_later(worker, shard, &scanned, &fields)?;
    let append = || {
        let moment = worker.executor.moment();
        let (index_keys, now) = (shard.store.index_keys(), moment.wall);
        let state = &mut shard.store.state_mut();
        match &waiting {
            Some((record, place)) => {
                let time = shard.due_time(moment);
                append_waiting_again(state, index_keys, entry, (*place, record), now, time)
            }
            None => append_ended(state, index_keys, entry, &scanned, &fields, now),
        }
    };
    loop {
        if !gone_topics(worker, [topic].into_iter()).await.is_empty() {
            let until = append_control_patiently(worker, shard, entry).await?;
            shard.tally.half_lost();
            tracing::warn!(
                shard = shard.number,
                topic,
                "a half message was committed whose topic was deleted"
            );
            return Ok(Ended { until, gone: Some(topic.to_owned()) });
        }
        // It may be deleted while the log makes this wait: then its queue must not come back.
        let appended = append_patiently(worker, shard, || {
            let known = worker.metadata.borrow().topic(topic).is_some();
            if known { append().map(Some) } else { Ok(None) }
        });
        if let Some(until) = appended.await? {
            shard.tally.committed_half();
            return Ok(Ended { until, gone: None });
        }
        worker.executor.sleep(PAUSE).await;
    }
}

/// A message with a delay level or a timer waits from its commit on; `None`: it is for consumers now.
fn encode_later(
    worker: &Worker,
    shard: &Shard,
    scanned: &Scanned<'_>,
    fields: &RecordFields<'_>,
) -> Result<Option<(Vec<u8>, WaitingPlace)>, Refusal> {
    let level = scanned.delay.and_then(|text| text.parse().ok()).filter(|level| *level > 0);
    if level.is_none() && scanned.timer.is_none() {
        return Ok(None);
    }
    let text = without_waiting(&String::from_utf8_lossy(fields.properties[0]));
    let fields = RecordFields { properties: [text.as_bytes(), b"", b""], ..*fields };
    let bytes_max = fields.body.len();
    let encoded = match level {
        Some(level) => {
            encode_waiting(&worker.delay_levels.borrow(), &fields, level, shard.number, bytes_max)
        }
        None => {
            let now = worker.executor.now();
            // It was taken: what the configuration allows now does not matter.
            let named = timer::named(scanned, &text, now)?;
            let Some(Timer { deliver_ms, until }) = named else { return Ok(None) };
            let place = WaitingPlace::of_timer(shard.number, worker.shard_count, until);
            encode_timer(place, &fields, deliver_ms, bytes_max).map(|record| (record, place))
        }
    };
    let illegal = |error: RecordError| Refusal::new(response::MESSAGE_ILLEGAL, error.to_string());
    encoded.map(Some).map_err(illegal)
}
