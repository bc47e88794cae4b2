//! Producers that are online, and answer each question about a half message with "unknown".

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use client::Heartbeat;
use proto::code::request;
use proto::command::{self, Language, RequestHead};
use proto::frame::HeaderKind;

use crate::load::LoadError;
use crate::load::answers::{self, AnswerScanner};
use crate::load::frames::{OPAQUE_MIN, append_frame};
use crate::load::socket::{LoaderSocket, Ready, Watch};

/// Between two heartbeats of a producer, as with Java's.
const HEARTBEAT_PERIOD: Duration = Duration::from_secs(30);
/// Longest sleep, ns: an end is noticed by then.
const WAIT_NANOS_MAX: u64 = 20_000_000;

/// The producers of one group.
pub struct Producers {
    group: &'static str,
    sockets: Vec<LoaderSocket>,
    watch: Watch,
    ready: Vec<Ready>,
    scanner: AnswerScanner,
    heartbeat_at: Instant,
    /// When the second began that is counted in `this_second`.
    second_at: Instant,
    this_second: u64,
    /// What they were asked.
    pub asked: Asked,
}

/// Questions that came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// All.
    pub checks: u64,
    /// Most in one second.
    pub per_second_max: u64,
}

impl Producers {
    /// Connects and announces so many.
    pub fn connect(
        addr: SocketAddr,
        group: &'static str,
        count: usize,
    ) -> Result<Producers, LoadError> {
        let mut sockets = Vec::with_capacity(count);
        for index in 0..count {
            sockets.push(LoaderSocket::connect(addr, index)?);
        }
        let now = Instant::now();
        let mut producers = Producers {
            group,
            watch: Watch::new(sockets.iter())?,
            sockets,
            ready: Vec::new(),
            scanner: AnswerScanner::default(),
            heartbeat_at: now,
            second_at: now,
            this_second: 0,
            asked: Asked::default(),
        };
        producers.send_heartbeats(now)?;
        Ok(producers)
    }

    /// Answers until `done` says so, which is asked at least each 20 ms.
    pub fn answer_until(&mut self, mut done: impl FnMut(&Asked) -> bool) -> Result<(), LoadError> {
        self.asked = Asked::default();
        (self.second_at, self.this_second) = (Instant::now(), 0);
        while !done(&self.asked) {
            let mut ready = std::mem::take(&mut self.ready);
            self.watch.wait(WAIT_NANOS_MAX, &mut ready)?;
            for entry in &ready {
                if entry.readable {
                    self.take_questions(entry.index)?;
                }
                self.flush(entry.index)?;
            }
            self.ready = ready;
            let now = Instant::now();
            if now - self.second_at >= Duration::from_secs(1) {
                (self.second_at, self.this_second) = (now, 0);
            }
            if now - self.heartbeat_at >= HEARTBEAT_PERIOD {
                self.send_heartbeats(now)?;
            }
        }
        Ok(())
    }

    fn send_heartbeats(&mut self, now: Instant) -> Result<(), LoadError> {
        self.heartbeat_at = now;
        for index in 0..self.sockets.len() {
            append_heartbeat(self.sockets[index].unsent(), self.group, index);
            self.flush(index)?;
        }
        Ok(())
    }

    fn take_questions(&mut self, index: usize) -> Result<(), LoadError> {
        let unreadable = |reason| LoadError::Unreadable { index, reason };
        let Producers { sockets, scanner, asked, this_second, group, .. } = self;
        let socket = &mut sockets[index];
        socket.receive().map_err(|_| LoadError::Closed { index, acked: asked.checks })?;
        while let Some(place) = socket.next_frame().map_err(unreadable)? {
            let frame = socket.bytes(place);
            let (header, _) = answers::parts(frame).ok_or(unreadable("no JSON header"))?;
            let mark = scanner.scan(header).ok_or(unreadable("no code or opaque"))?;
            match mark.code {
                request::CHECK_TRANSACTION_STATE => {
                    let number = |field| answers::ext_number(header, field);
                    let place = number("tranStateTableOffset").zip(number("commitLogOffset"));
                    let place = place.ok_or(unreadable("a check of nothing"))?;
                    asked.checks += 1;
                    *this_second += 1;
                    asked.per_second_max = asked.per_second_max.max(*this_second);
                    append_unknown(socket.unsent(), group, place);
                }
                0 => {}
                code => return Err(LoadError::Refused { request: "HEART_BEAT", code }),
            }
        }
        Ok(())
    }

    fn flush(&mut self, index: usize) -> Result<(), LoadError> {
        self.watch.flush(index, &mut self.sockets[index], self.asked.checks)
    }
}

fn append_heartbeat(out: &mut Vec<u8>, group: &str, number: usize) {
    let client_id = format!("10.0.0.1@{number}");
    let heartbeat = Heartbeat {
        client_id: &client_id,
        consumer_group: None,
        subscriptions: &[],
        producer_group: Some(group),
    };
    let head = RequestHead {
        code: request::HEART_BEAT,
        language: Language::Java,
        version: command::OUR_VERSION,
        opaque: OPAQUE_MIN as i32,
        oneway: false,
        remark: None,
        ext: &[],
    };
    let body = heartbeat.to_json().to_string();
    command::write_request(out, HeaderKind::Json, &head, body.as_bytes());
}

/// END_TRANSACTION, one-way: whose transaction goes on still says so with 0, neither commit nor rollback.
fn append_unknown(out: &mut Vec<u8>, group: &str, (queue_offset, offset): (i64, i64)) {
    append_frame(
        out,
        format_args!(
            "{{\"code\":37,\"extFields\":{{\"producerGroup\":\"{group}\",\"tranStateTableOffset\":\"{queue_offset}\",\
             \"commitLogOffset\":\"{offset}\",\"commitOrRollback\":\"0\",\"fromTransactionCheck\":\"true\",\
             \"msgId\":\"u\",\"transactionId\":\"u\"}},\"flag\":2,\"language\":\"JAVA\",\"opaque\":{OPAQUE_MIN},\
             \"serializeTypeCurrentRPC\":\"JSON\",\"version\":409}}"
        ),
        &[],
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::command::HeaderArena;
    use proto::frame;

    #[test]
    fn an_unknown_outcome_is_a_one_way_end_without_decision() {
        let (mut out, mut arena) = (Vec::new(), HeaderArena::default());
        append_unknown(&mut out, "g", (7, 1_024));
        let frame = frame::next_frame(&out).unwrap().unwrap();
        let header = command::decode(frame.kind, frame.header, &mut arena).unwrap();
        assert_eq!(header.code, request::END_TRANSACTION);
        assert!(header.is_oneway() && !header.is_response());
        let ext = |name| header.ext.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
        for (name, value) in
            [("tranStateTableOffset", "7"), ("commitLogOffset", "1024"), ("commitOrRollback", "0")]
        {
            assert_eq!(ext(name).map(|found| found.to_string()), Some(value.to_owned()));
        }
    }
}
