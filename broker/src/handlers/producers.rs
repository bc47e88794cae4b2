//! GET_ALL_PRODUCER_INFO: the clients of all producer groups, for tools and exporters. Looked at in pieces, one answer at a
//! time, which all get who asked before it was begun ([`crate::control::producer_answers`]).

use super::large_body;
use crate::{
    control::{ProducerPlace, producer_answers::BODY_BYTES_MAX},
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    worker::Worker,
};
use proto::{
    body::{ProducerInfo, ProducerTable},
    code::response,
};
use runtime::Moment;
use std::rc::Rc;

/// Producers looked at in one piece of work.
const PIECE_PRODUCERS: usize = 512;
/// Of a producer in JSON, its texts aside, at least: the names of its members.
const PRODUCER_BYTES: usize = 80;

/// Serves the request.
pub fn all(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let (asked, now) = (worker.control_plane().producers.begun(), request.moment());
    Box::pin(async move {
        let answers = &worker.control_plane().producers;
        let _turn = answers.turns.acquire().await.map_err(|limit| {
            let remark = format!("[OVERLOAD] reason=all-producers waiting={limit} limit={limit}");
            Refusal::new(response::SYSTEM_BUSY, remark)
        })?;
        if let Some(body) = answers.made_since(asked) {
            return Ok(Response::Shared(body));
        }
        let (_, bytes_max) = worker.control_plane().control.borrow().members().memory();
        answers.begin(bytes_max)?;
        let (table, count) = gather(&worker, now).await?;
        let write = move || {
            let mut body = Vec::new();
            table.write(&mut body);
            body
        };
        let body = large_body::made(&worker, count, write).await;
        check_size(count, body.len())?;
        Ok(Response::Shared(answers.done(body)))
    })
}

/// All producers, and how many, unless they are more than an answer holds.
async fn gather(worker: &Worker, now: Moment) -> Result<(ProducerTable, usize), Refusal> {
    let (mut table, mut count, mut bytes) = (ProducerTable::default(), 0, 0);
    let mut place: Option<ProducerPlace> = None;
    loop {
        let piece = {
            let control = worker.control_plane().control.borrow();
            control.members().producers_after(place.as_ref(), PIECE_PRODUCERS, now)
        };
        let Some((last, _)) = piece.last() else { return Ok((table, count)) };
        place = Some(last.clone());
        count += piece.len();
        bytes += add(&mut table, piece);
        check_size(count, bytes)?;
        worker.executor.yield_now().await;
    }
}

/// Adds producers; returns the least that they take in JSON.
fn add(table: &mut ProducerTable, piece: Vec<(ProducerPlace, ProducerInfo)>) -> usize {
    let mut bytes = 0;
    for ((group, _), producer) in piece {
        bytes += PRODUCER_BYTES + producer.client_id.len() + producer.remote_ip.len();
        match table.data.get_mut(&*group) {
            Some(known) => known.push(producer),
            None => drop(table.data.insert(group.to_string(), vec![producer])),
        }
    }
    bytes
}

fn check_size(count: usize, bytes: usize) -> Result<(), Refusal> {
    if bytes <= BODY_BYTES_MAX {
        return Ok(());
    }
    Err(Refusal::system_error(format!(
        "{count} producers take {bytes} bytes or more, an answer holds {BODY_BYTES_MAX}; ask for one group (GET_PRODUCER_CONNECTION_LIST)"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        control::{ClientConnection, Control},
        handlers::fixtures::{NOW, UPTIME, control},
    };
    use proto::{
        body::{HeartbeatData, ProducerData},
        command::Language,
    };
    use remoting::ConnectionId;

    /// A client with this number, in these groups.
    fn beat(control: &mut Control, number: u32, groups: &[&str], now: Moment) {
        let client = ClientConnection {
            connection: ConnectionId::new(0, number, 1),
            address: format!("10.0.0.9:{}", 5_000 + number).parse().expect("an address"),
            language: Language::Java,
            version: 409,
        };
        let of = |group: &&str| ProducerData { group_name: (*group).to_owned() };
        let data = HeartbeatData {
            client_id: format!("c{number}"),
            producer_data_set: groups.iter().map(of).collect(),
            ..HeartbeatData::default()
        };
        assert_eq!(control.heartbeat(now, &client, &data), 0);
    }

    fn moment() -> Moment {
        Moment { wall: NOW, uptime: UPTIME }
    }

    fn walked(control: &Control, piece: usize, now: Moment) -> (ProducerTable, Vec<usize>) {
        let (mut table, mut place, mut pieces) = (ProducerTable::default(), None, Vec::new());
        loop {
            let found = control.members().producers_after(place.as_ref(), piece, now);
            let Some((last, _)) = found.last() else { return (table, pieces) };
            place = Some(last.clone());
            pieces.push(found.len());
            add(&mut table, found);
        }
    }

    #[test]
    fn every_producer_is_named_once_however_small_the_pieces_are() {
        let mut control = control();
        for number in 0..5 {
            beat(&mut control, number, &["p", "q"], moment());
        }
        beat(&mut control, 9, &["a"], moment());
        for piece in [1, 2, 3, 11, 100] {
            let (table, pieces) = walked(&control, piece, moment());
            let counts: Vec<_> = table.data.iter().map(|(name, of)| (&**name, of.len())).collect();
            assert_eq!(counts, [("a", 1), ("p", 5), ("q", 5)], "{piece}");
            assert!(pieces.iter().all(|count| *count <= piece));
        }
        assert!(walked(&crate::handlers::fixtures::control(), 1, moment()).0.data.is_empty());
    }

    #[test]
    fn a_producer_is_told_as_java_does() {
        let mut control = control();
        beat(&mut control, 7, &["p"], moment());
        let later = Moment { wall: NOW + 90_000, uptime: UPTIME + 3_000 };
        let (table, _) = walked(&control, 10, later);
        let expected = ProducerInfo {
            client_id: "c7".to_owned(),
            language: "JAVA".to_owned(),
            // By the wall clock as it is now.
            last_update_timestamp: NOW + 87_000,
            remote_ip: "/10.0.0.9:5007".to_owned(),
            version: 409,
        };
        assert_eq!(table.data["p"], [expected]);
    }

    #[test]
    fn what_no_frame_holds_is_refused_with_numbers() {
        assert!(check_size(1, BODY_BYTES_MAX).is_ok());
        let remark = check_size(200_000, BODY_BYTES_MAX + 1).expect_err("too large").remark;
        assert!(remark.contains("200000 producers") && remark.contains("16711681"), "{remark}");
    }
}
