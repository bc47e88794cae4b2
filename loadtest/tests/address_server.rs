//! Goal: a broker that is given no name server asks an address server, as Java's broker does, and goes on asking until it
//! gets a list. Method: an address server of a few lines that first has nothing, then a list; the route at the name server
//! that it names.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use client::{Connection, NewTopic};
use loadtest::harness::{our_broker::OurBroker, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "found-by-address";

/// Answers the first question with 500, later ones with `list`. Returns its port and the number of questions so far.
fn serve(list: String) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = String::new();
            BufReader::new(&stream).read_line(&mut request).unwrap();
            assert!(request.starts_with("GET /rocketmq/mylist HTTP/1.1"), "{request}");
            let (status, body) = match count.fetch_add(1, Ordering::SeqCst) {
                0 => ("500 Not Yet", "nothing"),
                _ => ("200 OK", list.as_str()),
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n");
            write!(stream, "{head}Connection: close\r\n\r\n{body}").unwrap();
        }
    });
    (port, asked)
}

#[test]
fn a_broker_registers_with_whom_the_address_server_names() {
    let first = OurBroker::standalone(&[]);
    let (port, asked) = serve(format!("{}\nmore that is not read\n", first.namesrv_addr()));
    let domain = format!("127.0.0.1:{port}");
    let second = OurBroker::registered_with(
        "",
        &[
            ("fetchNamesrvAddrByAddressServer", "true"),
            ("rmqAddressServerDomain", &domain),
            ("rmqAddressServerSubGroup", "mylist"),
            ("brokerName", "broker-b"),
        ],
    );
    let mut connection = Connection::connect_patiently(second.broker_addr(), PATIENCE).unwrap();
    connection.create_topic(&NewTopic::new(TOPIC, 4)).unwrap();
    let namesrv = first.namesrv_addr().parse().unwrap();
    let mut routes = Connection::connect_patiently(namesrv, PATIENCE).unwrap();
    let known = wait_until(PATIENCE, || routes.route(TOPIC, true).is_ok());
    assert!(known, "{}", second.log_tail());
    assert!(asked.load(Ordering::SeqCst) >= 2);
    assert!(second.log().contains("names no name servers"), "{}", second.log());
    assert!(second.log().contains("name server address changed"), "{}", second.log());
}
