//! Goal: the figures of a run can be believed. Method: it pops from a stand-in broker of a few lines, which decodes every request
//! with the general decoders and lets nothing be acknowledged twice; both sides must agree.

use super::*;
use crate::load::compare;
use proto::body::BatchAckBody;
use proto::code::request;
use proto::command::{self, ExtValue, HeaderArena, ResponseHead};
use proto::frame::{self, HeaderKind};
use proto::request::{AckHeader, PopHeader};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Queue and offset of messages.
type Places = BTreeSet<(i32, i64)>;

/// A broker of a few lines that hands out offsets, each once, and takes each back once.
#[derive(Default)]
struct StandIn {
    /// What is left of each queue.
    queues: Vec<Range<i64>>,
    in_flight: Places,
    acked: Places,
    /// So many pops are put off first.
    puts_off: u32,
    /// Code of the answer to an acknowledgement.
    ack_code: i32,
}

impl StandIn {
    fn of(queues: &[Range<i64>]) -> StandIn {
        StandIn { queues: queues.to_vec(), ..StandIn::default() }
    }

    fn start(self) -> (SocketAddr, Arc<Mutex<StandIn>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(self));
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let served = Arc::clone(&served);
                std::thread::spawn(move || serve(stream.unwrap(), &served));
            }
        });
        (addr, shared)
    }

    fn pop(&mut self, pop: &PopHeader<'_>, opaque: i32, out: &mut Vec<u8>) {
        assert_eq!((pop.topic, pop.consumer_group), ("bench", "workers"));
        let (mut starts, mut offsets, mut body) = (Vec::new(), Vec::new(), Vec::new());
        let mut room = pop.max_msg_nums as usize;
        let is_put_off = self.puts_off > 0;
        self.puts_off = self.puts_off.saturating_sub(1);
        for (id, queue) in self.queues.iter_mut().enumerate().filter(|_| !is_put_off) {
            let taken: Vec<i64> = queue.take(room).collect();
            let Some(first) = taken.first() else { continue };
            room -= taken.len();
            starts.push(format!("0 {id} {first}"));
            let list: Vec<String> = taken.iter().map(i64::to_string).collect();
            offsets.push(format!("0 {id} {}", list.join(",")));
            taken.iter().for_each(|_| body.extend_from_slice(&[0, 0, 0, 8, 0, 0, 0, 0]));
            self.in_flight.extend(taken.iter().map(|offset| (id as i32, *offset)));
        }
        let rest = self.queues.iter().map(|queue| queue.end - queue.start).sum::<i64>();
        let (starts, offsets) = (starts.join(";"), offsets.join(";"));
        let ext: [(&str, ExtValue<'_>); 5] = [
            ("popTime", 17.into()),
            ("reviveQid", 0.into()),
            ("restNum", rest.into()),
            ("startOffsetInfo", (&*starts).into()),
            ("msgOffsetInfo", (&*offsets).into()),
        ];
        let (code, remark, ext) = match (is_put_off, starts.is_empty()) {
            (true, _) => (response::POLLING_TIMEOUT, "CONNECTION_CLOGGED 9", &ext[..3]),
            (_, true) => (response::POLLING_TIMEOUT, "NO_MESSAGE_IN_QUEUE", &ext[..3]),
            _ => (response::SUCCESS, "FOUND", &ext[..]),
        };
        let head = ResponseHead { code, opaque, remark: Some(remark), ext };
        command::write_response(out, HeaderKind::Json, &head, &body);
    }

    fn ack(&mut self, place: (i32, i64)) {
        assert!(self.in_flight.remove(&place) && self.acked.insert(place), "{place:?}");
    }
}

fn serve(mut stream: TcpStream, shared: &Mutex<StandIn>) {
    let (mut inbox, mut arena) = (Vec::new(), HeaderArena::default());
    let mut chunk = vec![0; 64 << 10];
    while let Ok(bytes @ 1..) = stream.read(&mut chunk) {
        inbox.extend_from_slice(&chunk[..bytes]);
        let (mut taken, mut out) = (0, Vec::new());
        while let Some(asked) = frame::next_frame(&inbox[taken..]).unwrap() {
            answer(&asked, &mut arena, &mut shared.lock().unwrap(), &mut out);
            taken += asked.wire_bytes;
        }
        inbox.drain(..taken);
        if stream.write_all(&out).is_err() {
            return;
        }
    }
}

fn answer(
    asked: &frame::Frame<'_>,
    arena: &mut HeaderArena,
    broker: &mut StandIn,
    out: &mut Vec<u8>,
) {
    let header = command::decode(asked.kind, asked.header, arena).unwrap();
    match header.code {
        request::POP_MESSAGE => {
            let pop = PopHeader::from_ext(&header.ext).unwrap();
            return broker.pop(&pop, header.opaque, out);
        }
        request::ACK_MESSAGE => {
            let ack = AckHeader::from_ext(&header.ext).unwrap();
            assert!(ack.extra_info.ends_with(&format!(" {} {}", ack.queue_id, ack.offset)));
            broker.ack((ack.queue_id, ack.offset));
        }
        request::BATCH_ACK_MESSAGE => {
            for acks in BatchAckBody::read(asked.body).unwrap().acks {
                let places = acks.bits().iter().collect::<Vec<_>>().into_iter();
                places.for_each(|offset| broker.ack((acks.queue_id, offset)));
            }
        }
        code => panic!("code {code}"),
    }
    let (code, opaque) = (broker.ack_code, header.opaque);
    let head = ResponseHead { code, opaque, remark: None, ext: &[] };
    command::write_response(out, HeaderKind::Json, &head, &[]);
}

fn pop(addr: SocketAddr, ack: Ack) -> Pop {
    Pop {
        addr,
        broker_name: "broker-a".into(),
        topic: "bench".into(),
        group: "workers".into(),
        connections: 2,
        window: 4,
        batch: 32,
        ack,
        time_max: None,
        broker_pid: Some(std::process::id()),
    }
}

/// Takes its places, whatever became of the threads that serve.
fn places(shared: &Mutex<StandIn>) -> (Places, Places) {
    let broker = shared.lock().unwrap_or_else(PoisonError::into_inner);
    (broker.in_flight.clone(), broker.acked.clone())
}

const QUEUES: [Range<i64>; 3] = [7..12, 0..700, 300..595];

#[test]
fn each_message_is_acknowledged_once() {
    let (addr, shared) = StandIn::of(&QUEUES).start();
    let report = run(&pop(addr, Ack::Each)).unwrap();
    let (in_flight, acked) = places(&shared);
    assert_eq!((report.messages, report.acks, report.body_bytes), (1000, 1000, 8000));
    assert_eq!((in_flight.len(), acked.len(), report.left), (0, 1000, Some(0)));
    assert!(report.empty_pops >= 8 && report.pops >= report.empty_pops + 1000 / 32);
    assert_eq!((report.pop_latency.count(), report.ack_latency.count()), (report.pops, 1000));
}

#[test]
fn one_request_acknowledges_a_pop() {
    let (addr, shared) = StandIn::of(&QUEUES).start();
    let report = run(&pop(addr, Ack::Batch)).unwrap();
    let (in_flight, acked) = places(&shared);
    assert_eq!((report.messages, in_flight.len(), acked.len()), (1000, 0, 1000));
    assert_eq!(report.acks, report.pops - report.empty_pops);
}

#[test]
fn without_acknowledgements_all_stays_in_flight() {
    let (addr, shared) = StandIn::of(&QUEUES).start();
    let report = run(&pop(addr, Ack::None)).unwrap();
    let (in_flight, acked) = places(&shared);
    assert_eq!((report.messages, report.acks), (1000, 0));
    assert_eq!((in_flight.len(), acked.len()), (1000, 0));
}

#[test]
fn who_is_put_off_pops_again() {
    let broker = StandIn { puts_off: 100, ..StandIn::of(&QUEUES) };
    let (addr, shared) = broker.start();
    let report = run(&pop(addr, Ack::Each)).unwrap();
    assert_eq!((report.messages, report.put_off), (1000, 100));
    assert_eq!(places(&shared).1.len(), 1000);
}

#[test]
fn at_the_end_of_its_time_a_run_acknowledges_what_it_has() {
    let (addr, shared) = StandIn::of(std::slice::from_ref(&(0..i64::MAX))).start();
    let time_max = Some(Duration::from_millis(100));
    let report = run(&Pop { time_max, ..pop(addr, Ack::Each) }).unwrap();
    let (in_flight, acked) = places(&shared);
    assert!(report.seconds >= 0.1 && report.messages > 0, "{report}");
    assert_eq!((report.acks, acked.len() as u64), (report.messages, report.messages));
    assert!(in_flight.is_empty());
    assert_eq!(report.empty_pops, 0);
}

#[test]
fn an_acknowledgement_that_fails_ends_the_run() {
    let broker = StandIn { ack_code: response::NO_MESSAGE, ..StandIn::of(&QUEUES) };
    let (addr, _shared) = broker.start();
    let refused = run(&pop(addr, Ack::Each)).err().unwrap();
    assert!(matches!(refused, LoadError::Refused { code: response::NO_MESSAGE, .. }), "{refused}");
}

#[test]
fn compare_reads_a_report() {
    let (addr, _shared) = StandIn::of(&QUEUES).start();
    let mut report = run(&pop(addr, Ack::Batch)).unwrap();
    report.seconds = 2.0;
    report.broker_cpu_seconds = Some(0.5);
    let table = compare::table("f", &report.to_json("ours/pop").to_string()).unwrap();
    let line: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(line[..5], ["pop", "ours", "1", "500", "2000"], "{table}");
    assert_eq!(line[9], "25.0", "{table}");
}
