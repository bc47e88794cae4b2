//! Two sessions over pipes in memory: whole, cut into bytes, damaged, and at their ends.

use super::*;
use tls::{Source, Tls};

/// A server with a throw-away certificate, and a client that asks for nothing.
fn pair() -> (Session, Session) {
    let source = Source::new([("tls.enable".to_owned(), "true".to_owned())], "");
    let tls = Tls::open(source).unwrap();
    let server = Session::accept(tls.server().unwrap()).unwrap();
    let client = Session::connect(tls.client().unwrap(), [127, 0, 0, 1].into()).unwrap();
    (server, client)
}

/// Takes all that a session has to send to the other, so many bytes at a time, and returns what that opened.
fn carry(from: &Session, to: &Session, step: usize, room: usize) -> io::Result<Vec<u8>> {
    let (mut wire, mut got) = (Vec::new(), Vec::new());
    assert!(from.send(&mut wire)?, "memory takes everything");
    let mut out = vec![0; room];
    for part in wire.chunks(step) {
        let opened = to.open(part, &mut out)?;
        got.extend_from_slice(&out[..opened]);
        while let Some(taken) = to.take(&mut out)?
            && taken > 0
        {
            got.extend_from_slice(&out[..taken]);
        }
    }
    Ok(got)
}

fn shake_hands(server: &Session, client: &Session, step: usize) {
    let mut turns = 0;
    while server.is_handshaking() || client.is_handshaking() {
        carry(client, server, step, 100).unwrap();
        carry(server, client, step, 100).unwrap();
        turns += 1;
        assert!(turns < 10, "a handshake has few flights");
    }
}

fn send(from: &Session, to: &Session, bytes: &[u8], step: usize, room: usize) -> Vec<u8> {
    let (mut rest, mut got) = (bytes, Vec::new());
    while !rest.is_empty() {
        let put = from.put(rest).unwrap();
        rest = &rest[put..];
        got.extend(carry(from, to, step, room).unwrap());
    }
    got
}

#[test]
fn bytes_arrive_however_they_are_cut_and_however_little_room_there_is() {
    let bytes: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    for (step, room) in [(1, 7), (5, 100_000), (4_096, 1), (70_000, 33), (1 << 20, 1 << 20)] {
        let (server, client) = pair();
        shake_hands(&server, &client, step);
        let some = &bytes[..if step == 1 { 40_000 } else { bytes.len() }];
        assert!(
            send(&client, &server, some, step, room) == some,
            "to the server by {step}, {room}"
        );
        assert!(
            send(&server, &client, some, step, room) == some,
            "to the client by {step}, {room}"
        );
    }
}

#[test]
fn what_waits_for_the_socket_is_bounded() {
    let (server, client) = pair();
    shake_hands(&server, &client, 1_000);
    let bytes = vec![7; 1 << 20];
    let mut put = 0;
    while let taken @ 1.. = server.put(&bytes[put..]).unwrap() {
        put += taken;
    }
    assert!(put <= UNSENT_BYTES_MAX, "{put}");
}

#[test]
fn nonsense_is_an_error_with_a_last_word_and_never_a_panic() {
    let mut rng = fastrand::Rng::with_seed(3);
    for round in 0..300 {
        let (server, client) = pair();
        if round % 2 == 0 {
            shake_hands(&server, &client, 4_096);
            client.put(&[1; 3_000]).unwrap();
        }
        let mut wire = Vec::new();
        client.send(&mut wire).unwrap();
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(..wire.len());
            wire[at] = rng.u8(..);
        }
        let mut out = [0; 5_000];
        if server.open(&wire, &mut out).is_err() {
            let mut last = Vec::new();
            server.send(&mut last).unwrap();
        }
        let garbage: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(40_000).collect();
        let _ = server.open(&garbage, &mut out);
    }
}

#[test]
fn a_hello_that_never_ends_is_refused() {
    let (server, _) = pair();
    // Handshake records of 16 KiB, together one message of 16 MiB.
    let mut record = vec![0x16, 3, 1, 0x40, 0, 1, 0xFF, 0xFF, 0xFF];
    record.resize(5 + 0x4000, 0);
    let refused = (0..10).any(|_| server.open(&record, &mut []).is_err());
    assert!(refused);
}

#[test]
fn the_end_is_said_and_heard() {
    let (server, client) = pair();
    shake_hands(&server, &client, 4_096);
    client.put(b"last").unwrap();
    client.say_end();
    assert_eq!(carry(&client, &server, 4_096, 100).unwrap(), b"last");
    assert_eq!(server.take(&mut [0; 10]).unwrap(), Some(0));
    // A peer that sends no more may still read.
    assert_eq!(send(&server, &client, b"answer", 4_096, 100), b"answer");
}
