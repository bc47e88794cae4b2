//! Goal: the loader's figures can be believed. Method: it loads a stand-in broker of a few lines, which decodes every
//! request with the general decoders and counts; both sides must agree, and what was sent must be what a Java client sends.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use loadtest::load::drive::{self, Plan, Until};
use loadtest::load::frames::{SendFrames, SendShape};
use loadtest::load::report::SendReport;
use proto::command::{self, HeaderArena, ResponseHead};
use proto::frame::{self, HeaderKind};
use proto::request::SendHeader;

/// What the stand-in saw of one request.
struct Seen {
    code: i32,
    queue_id: i32,
    unique: Vec<String>,
    body_bytes: usize,
}

/// Answers every request with success, except that each `refuse_every`th is refused with code 2 (0: none).
fn stand_in(refuse_every: u64) -> (SocketAddr, Receiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (seen, saw) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let seen = seen.clone();
            std::thread::spawn(move || serve(stream.unwrap(), &seen, refuse_every));
        }
    });
    (addr, saw)
}

fn serve(mut stream: TcpStream, seen: &Sender<Seen>, refuse_every: u64) {
    let (mut inbox, mut out, mut arena) = (Vec::new(), Vec::new(), HeaderArena::default());
    let mut count = 0;
    let mut chunk = vec![0; 64 << 10];
    while let Ok(bytes @ 1..) = stream.read(&mut chunk) {
        inbox.extend_from_slice(&chunk[..bytes]);
        let mut taken = 0;
        while let Some(request) = frame::next_frame(&inbox[taken..]).unwrap() {
            let header = command::decode(request.kind, request.header, &mut arena).unwrap();
            assert_eq!(request.kind, HeaderKind::Json);
            let opaque = header.opaque;
            let _ = seen.send(look(&header, request.body));
            count += 1;
            let refused = refuse_every > 0 && count % refuse_every == 0;
            let head = ResponseHead {
                code: if refused { 2 } else { 0 },
                opaque,
                remark: refused.then_some("busy for this test"),
                ext: &[("msgId", "7F".into()), ("queueId", 0.into()), ("queueOffset", 1.into())],
            };
            command::write_response(&mut out, HeaderKind::Json, &head, &[]);
            taken += request.wire_bytes;
        }
        inbox.drain(..taken);
        if stream.write_all(&out).is_err() {
            return;
        }
        out.clear();
    }
}

fn look(header: &command::Header<'_>, body: &[u8]) -> Seen {
    let send = SendHeader::from_ext_v2(&header.ext).unwrap();
    assert_eq!(send.topic, "bench");
    assert_eq!(header.version, 409);
    let now = client::send::now_ms();
    assert!((now - 60_000..=now + 1000).contains(&send.born_timestamp), "{}", send.born_timestamp);
    let unique = if send.batch {
        let messages = proto::batch::messages(body).map(|message| message.unwrap());
        messages.map(|m| unique_of(std::str::from_utf8(m.properties).unwrap())).collect()
    } else {
        assert_eq!(proto::properties::get(send.properties, "WAIT"), Some("true"));
        assert_eq!(proto::properties::get(send.properties, "TAGS"), Some("TagA"));
        vec![unique_of(send.properties)]
    };
    Seen { code: header.code, queue_id: send.queue_id, unique, body_bytes: body.len() }
}

fn unique_of(properties: &str) -> String {
    let unique = proto::properties::get(properties, "UNIQ_KEY").expect("every message has one");
    assert_eq!(unique.len(), 32);
    unique.to_string()
}

fn run(addr: SocketAddr, batch: u32, rate: Option<f64>, until: Until) -> SendReport {
    let shape = SendShape {
        topic: "bench".into(),
        topics: 1,
        random: false,
        queues: 8,
        body_bytes: 128,
        batch,
    };
    let mut frames = SendFrames::new(&shape).unwrap();
    let plan = Plan {
        addr,
        connections: 2,
        window: 16,
        rate,
        until,
        spin: false,
        broker_pid: Some(std::process::id()),
    };
    drive::run(&plan, &mut frames).unwrap()
}

#[test]
fn a_fill_sends_exactly_what_it_counts() {
    let (addr, saw) = stand_in(0);
    let report = run(addr, 1, None, Until::Acked(1000));
    let seen: Vec<Seen> = saw.try_iter().collect();
    assert_eq!((report.acked, seen.len()), (1000, 1000));
    assert_eq!((report.strays, report.latency.count()), (0, 1000));
    assert!(report.refused.is_empty());
    let ids: HashSet<&String> = seen.iter().flat_map(|s| &s.unique).collect();
    assert_eq!(ids.len(), 1000, "unique ids");
    let queues: HashSet<i32> = seen.iter().map(|s| s.queue_id).collect();
    assert_eq!(queues.len(), 8);
    assert!(seen.iter().all(|s| s.code == 310 && s.body_bytes == 128));
}

#[test]
fn a_batch_counts_its_messages() {
    let (addr, saw) = stand_in(0);
    let report = run(addr, 32, None, Until::Acked(3200));
    let seen: Vec<Seen> = saw.try_iter().collect();
    assert_eq!((report.acked, seen.len()), (3200, 100));
    let ids: HashSet<&String> = seen.iter().flat_map(|s| &s.unique).collect();
    assert_eq!(ids.len(), 3200, "unique ids");
    assert!(seen.iter().all(|s| s.code == 320));
}

#[test]
fn refused_messages_are_counted_by_code_and_sent_again() {
    let (addr, saw) = stand_in(10);
    let report = run(addr, 1, None, Until::Acked(900));
    let refused = report.refused.get(&2).copied().unwrap_or(0);
    assert_eq!(report.acked, 900);
    assert!(refused >= 90, "{refused}");
    assert_eq!(saw.try_iter().count() as u64, 900 + refused);
    assert_eq!(report.remark.as_deref(), Some("busy for this test"));
}

#[test]
fn an_open_loop_sends_what_is_due_and_no_more() {
    let (addr, saw) = stand_in(0);
    let until = Until::Time { warmup: Duration::from_millis(200), measure: Duration::from_secs(1) };
    let report = run(addr, 1, Some(500.0), until);
    println!("{} of 500 per second", report.acked_per_second());
    // A loader that nobody lets run is late and makes up for it; ahead of time it never is.
    let due = 500.0 * (0.2 + report.seconds) + 1.0;
    let sent = saw.try_iter().count() as f64;
    assert!(report.acked > 0 && report.acked as f64 <= sent, "{report}");
    assert!(sent <= due, "{sent} sent, {due} due");
}
