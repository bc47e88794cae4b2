//! Goal: the client pairs answers with requests, keeps the server's own requests apart, and names what goes wrong.
//! Method: a server of one thread that follows a script.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use client::{ClientError, Connection};
use proto::command::{self, HeaderArena, Language, RequestHead, ResponseHead};
use proto::frame::{self, HeaderKind};

/// Accepts one connection and plays `script` on it.
fn server(script: impl FnOnce(TcpStream) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (addr, std::thread::spawn(move || script(listener.accept().unwrap().0)))
}

/// Opaques of the next `count` requests.
fn take(stream: &mut TcpStream, count: usize) -> Vec<i32> {
    let (mut inbox, mut arena, mut opaques) = (Vec::new(), HeaderArena::default(), Vec::new());
    let mut taken = 0;
    while opaques.len() < count {
        let mut chunk = [0; 1000];
        let bytes = stream.read(&mut chunk).unwrap();
        assert!(bytes > 0);
        inbox.extend_from_slice(&chunk[..bytes]);
        while let Some(request) = frame::next_frame(&inbox[taken..]).unwrap() {
            opaques.push(command::decode(request.kind, request.header, &mut arena).unwrap().opaque);
            taken += request.wire_bytes;
        }
    }
    opaques
}

fn reply(out: &mut Vec<u8>, opaque: i32, code: i32, body: &[u8]) {
    let ext = [("offset", 5.into()), ("text", "five".into())];
    let remark = (code != 0).then_some("no");
    command::write_response(
        out,
        HeaderKind::Json,
        &ResponseHead { code, opaque, remark, ext: &ext },
        body,
    );
}

#[test]
fn answers_in_any_order_and_server_requests_between() {
    let (addr, played) = server(|mut stream| {
        let opaques = take(&mut stream, 3);
        let mut out = Vec::new();
        reply(&mut out, opaques[2], 0, b"third");
        let head = RequestHead {
            code: 40,
            language: Language::Java,
            version: 409,
            opaque: opaques[0],
            oneway: true,
            remark: None,
            ext: &[("consumerGroup", "g".into())],
        };
        command::write_request(&mut out, HeaderKind::Json, &head, &[]);
        reply(&mut out, opaques[0], 0, b"first");
        reply(&mut out, opaques[0], 0, b"first again");
        reply(&mut out, opaques[1], 17, &[]);
        // In pieces, so that frames arrive torn.
        for piece in out.chunks(7) {
            stream.write_all(piece).unwrap();
        }
    });
    let mut connection = Connection::connect(addr).unwrap();
    let first = connection.start(30, &[], &[]).unwrap();
    let second = connection.start(30, &[("topic", "t".into())], b"body").unwrap();
    let third = connection.start(30, &[], &[]).unwrap();
    assert_eq!(connection.finish(first).unwrap().body, b"first");
    assert_eq!(connection.finish(second).unwrap().success().unwrap_err().code(), Some(17));
    let (ticket, answer) = connection.finish_any().unwrap();
    assert_eq!((ticket, answer.body.as_slice()), (third, b"third".as_slice()));
    assert_eq!(answer.number("offset").unwrap(), 5);
    assert!(matches!(answer.number("text"), Err(ClientError::Field { field: "text", .. })));
    assert!(matches!(connection.finish(third), Err(ClientError::UnknownTicket(_))));
    let request = connection.server_request(40, Duration::from_secs(60)).unwrap();
    assert!(request.oneway);
    assert_eq!(request.ext("consumerGroup"), Some("g"));
    assert_eq!(connection.strays(), 1, "an answer came twice");
    assert_eq!(connection.in_flight(), 0);
    played.join().unwrap();
}

#[test]
fn silence_is_a_timeout_and_the_end_is_closed() {
    let (was_silent, silent) = mpsc::channel();
    let (addr, played) = server(move |mut stream| {
        take(&mut stream, 1);
        silent.recv().unwrap();
    });
    let mut connection = Connection::connect(addr).unwrap();
    connection.set_timeout(Duration::from_millis(100));
    let ticket = connection.start(30, &[], &[]).unwrap();
    assert!(matches!(connection.finish(ticket), Err(ClientError::Timeout(_))));
    was_silent.send(()).unwrap();
    connection.set_timeout(Duration::from_secs(60));
    assert!(matches!(connection.finish(ticket), Err(ClientError::Closed)));
    played.join().unwrap();
}

#[test]
fn nobody_there_is_named() {
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(matches!(Connection::connect(addr), Err(ClientError::Connect { .. })));
}
