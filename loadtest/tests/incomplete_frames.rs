//! Goal: frames that never arrive whole hold a bounded amount of the broker's memory, and cost others no more than a wait.
//! Method: 12 connections send 15 of 16 MiB and keep silent, on a broker with a budget of 256 MiB; meanwhile a client
//! sends small messages and then a large one, and the broker's resident memory is watched.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use client::{Connection, Message, NewTopic};
use loadtest::harness::{our_broker::OurBroker, raw};
use loadtest::load::process;

const TOPIC: &str = "halves";
const ATTACKERS: usize = 12;
const MIB: usize = 1 << 20;
const SENT_BYTES: usize = 15 * MIB;
/// An eighth of the memory budget for incomplete frames, one frame more for each of two workers, and for the rest: the
/// large message in the tail cache, read buffers, what the allocator keeps.
const GROWTH_BYTES_MAX: u64 = ((256 / 8 + 2 * 16 + 48) * MIB) as u64;
/// How long a small message may take on a loaded machine.
const SMALL_SEND_MAX: Duration = Duration::from_secs(2);
/// A large frame waits for the one before it, which is closed when it has been silent for 5 s.
const LARGE_SEND_MAX: Duration = Duration::from_secs(150);

#[test]
fn frames_that_never_end_hold_a_bounded_amount_of_memory() {
    let broker = OurBroker::standalone(&[("shards", "2"), ("memoryBudgetMiB", "256")]);
    let addr = broker.broker_addr();
    let mut client = Connection::connect_patiently(addr, Duration::from_secs(10)).unwrap();
    client.create_topic(&NewTopic::new(TOPIC, 4)).unwrap();
    let small = Message::new(TOPIC, 0, b"small");
    client.send(&small).unwrap();
    let before = process::memory(broker.pid()).unwrap().resident_bytes;
    let frame = large_frame();
    let over = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        for _ in 0..ATTACKERS {
            scope.spawn(|| send_most_of(&frame, addr, &over));
        }
        let most = scope.spawn(|| watch_memory(broker.pid(), &over));
        std::thread::sleep(Duration::from_secs(3));
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            let asked = Instant::now();
            client.send(&small).unwrap();
            assert!(asked.elapsed() < SMALL_SEND_MAX, "a small message took {:?}", asked.elapsed());
        }
        client.set_timeout(LARGE_SEND_MAX);
        let (asked, body) = (Instant::now(), vec![b'x'; 2 * MIB]);
        client.send(&Message::new(TOPIC, 1, &body)).unwrap();
        println!("a message of 2 MiB took {:?}", asked.elapsed());
        over.store(true, Ordering::Relaxed);
        most.join().unwrap()
    });
    println!("resident memory grew from {} to at most {} MiB", before >> 20, most >> 20);
    assert!(most.saturating_sub(before) < GROWTH_BYTES_MAX, "{before} to {most}");
    let log = broker.log();
    assert!(log.contains("closing a connection that stopped in the middle of a frame"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

/// A request of nearly 16 MiB.
fn large_frame() -> Vec<u8> {
    raw::frame(310, &[], &vec![b'x'; 16 * MIB - 1024])
}

/// Sends as much as the broker takes, up to [`SENT_BYTES`], and holds the connection.
fn send_most_of(frame: &[u8], addr: SocketAddr, over: &AtomicBool) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut rest = &frame[..SENT_BYTES];
    while !over.load(Ordering::Relaxed) {
        if rest.is_empty() {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        }
        match stream.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // Closed for its silence.
            Err(_) => return,
        }
    }
}

/// The most resident bytes that were seen.
fn watch_memory(pid: u32, over: &AtomicBool) -> u64 {
    let mut most = 0;
    while !over.load(Ordering::Relaxed) {
        most = process::memory(pid).unwrap().resident_bytes.max(most);
        std::thread::sleep(Duration::from_millis(20));
    }
    most
}
