//! Accepted and made connections of both kinds over real sockets, with peers that behave and peers that do not.

use super::*;
use crate::{Listener, test_executor::on_executor};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
};
use tls::{Source, Tls};

fn tls(mode: &str) -> Arc<Tls> {
    let settings = [("tls.server.mode", mode), ("tls.enable", "true")];
    let owned = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Tls::open(Source::new(owned, "")).unwrap()
}

fn listener(executor: &Executor, tls: &Arc<Tls>) -> Listener {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let acceptor = TlsAcceptor::new(executor, Arc::clone(tls));
    Listener::bind(executor, addr).unwrap().with_tls(&acceptor)
}

/// Sends back what comes, until the end.
async fn echo(transport: Transport) -> io::Result<usize> {
    let (mut read, mut write, _closer) = transport.split();
    let scratch = RefCell::new(vec![0; 100_000]);
    let mut total = 0;
    loop {
        let count = read.read_shared(&scratch, || 70_000).await?;
        if count == 0 {
            write.say_end();
            return Ok(total);
        }
        total += count;
        let bytes = scratch.borrow().get(..count).unwrap_or_default().to_vec();
        write.write_all(&bytes).await?;
    }
}

fn config(tls: &Tls) -> Arc<ClientConfig> {
    tls.client().expect("it is outgoing")
}

#[test]
fn many_bytes_go_both_ways_between_our_own_halves() {
    const BYTES: usize = 8 << 20;
    let echoed = on_executor(|executor| async move {
        let tls = tls("enforcing");
        let listener = listener(&executor, &tls);
        let addr = listener.local_addr().to_string();
        let serving = executor.spawn(async move { echo(listener.accept(|| Ok(())).await?).await });
        let made = Transport::connect(&executor, &addr, Some(config(&tls))).await.unwrap();
        let (mut read, mut write, closer) = made.split();
        let writing = executor.spawn(async move {
            let bytes: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
            write.write_all(&bytes).await.unwrap();
            write
        });
        let scratch = RefCell::new(vec![0; 50_000]);
        let mut got = 0;
        while got < BYTES {
            let count = read.read_shared(&scratch, || usize::MAX).await.unwrap();
            assert!(count > 0);
            let part = scratch.borrow();
            let right = part[..count]
                .iter()
                .enumerate()
                .all(|(at, byte)| *byte == ((got + at) % 251) as u8);
            assert!(right, "after {got}");
            got += count;
        }
        let write = writing.await;
        write.say_end();
        let served = serving.await.unwrap();
        drop(closer);
        served
    });
    assert_eq!(echoed, BYTES);
}

/// What a listener of this mode does with a peer that sends these bytes and then reads to the end.
fn answer_to(mode: &'static str, bytes: &'static [u8]) -> (Vec<u8>, Result<usize, String>) {
    on_executor(move |executor| async move {
        let listener = listener(&executor, &tls(mode));
        let addr = listener.local_addr();
        let serving = executor.spawn(async move { echo(listener.accept(|| Ok(())).await?).await });
        let answered = executor.blocking(move || {
            let mut peer = TcpStream::connect(addr).unwrap();
            peer.write_all(bytes).unwrap();
            peer.shutdown(std::net::Shutdown::Write).unwrap();
            let mut got = Vec::new();
            // A reset is an end, too.
            let _ = peer.read_to_end(&mut got);
            got
        });
        let got = answered.await;
        (got, serving.await.map_err(|error| error.to_string()))
    })
}

#[test]
fn the_first_byte_decides() {
    let plain = b"\0\0\0\x01x";
    assert_eq!(answer_to("permissive", plain), (plain.to_vec(), Ok(plain.len())));
    assert_eq!(answer_to("disabled", plain), (plain.to_vec(), Ok(plain.len())));
    let (got, served) = answer_to("enforcing", plain);
    assert!(got.is_empty());
    assert!(served.unwrap_err().contains("tls.server.mode is enforcing"));
    let (got, served) = answer_to("disabled", b"\x16\x03\x01\0\x05hello");
    assert!(got.is_empty());
    assert!(served.unwrap_err().contains("tls.server.mode is disabled"));
}

#[test]
fn garbage_behind_the_first_byte_ends_the_connection() {
    // Something else altogether, and a whole message of a kind that nobody knows.
    let garbage = b"\x16garbage garbage garbage garbage".as_slice();
    for bytes in [garbage, b"\x16\x03\x01\0\x04\x63\0\0\0"] {
        let (got, served) = answer_to("permissive", bytes);
        assert_eq!(got.first(), Some(&0x15), "an alert: {got:?}");
        assert!(served.unwrap_err().starts_with("TLS handshake: "));
    }
    assert_eq!(answer_to("permissive", b"\x16"), (Vec::new(), Ok(0)));
}

#[test]
fn a_handshake_that_is_too_long_is_refused() {
    static LONG: [u8; 60_000] = [0x16; 60_000];
    let (_, served) = answer_to("permissive", &LONG);
    let why = served.unwrap_err();
    assert!(why.contains("more than 32768 bytes"), "{why}");
}

#[test]
fn a_server_without_tls_is_an_error_with_a_hint() {
    let why = on_executor(|executor| async move {
        let listener = listener(&executor, &tls("disabled"));
        let addr = listener.local_addr().to_string();
        let serving = executor.spawn(async move { echo(listener.accept(|| Ok(())).await?).await });
        let made = Transport::connect(&executor, &addr, Some(config(&tls("permissive")))).await;
        let why = made.err().expect("TLS is not served").to_string();
        let _ = serving.await;
        why
    });
    assert!(why.contains("TLS") || why.contains("reset"), "{why}");
}
