//! TCP as the broker uses it: many peers, half-closed peers, peers that go, peers that are thrown out.

use std::{
    cell::Cell,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    rc::Rc,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use runtime::{Connection, Executor, Mesh, Settings, Stop, run};

use crate::harness;

/// Starts one executor that treats every connection with `serve`, runs `peers` against it, and stops it.
fn with_server<F, Fut>(serve: F, peers: impl FnOnce(SocketAddr) + Send + 'static)
where
    F: Fn(Executor, Connection) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let _alone = harness::alone();
    let stop = Stop::new();
    let (at, address) = mpsc::channel();
    let server = thread::spawn({
        let stop = stop.clone();
        move || {
            run(Settings::unpinned("tcp", 1), stop, move |here: Executor, _: Mesh<()>| {
                let (at, serve) = (at.clone(), serve.clone());
                async move {
                    let listener = here.listen("127.0.0.1:0".parse().unwrap()).unwrap();
                    at.send(listener.local_addr()).unwrap();
                    let accepting = here.clone();
                    here.spawn(async move {
                        while let Ok(connection) = listener.accept().await {
                            accepting.spawn(serve(accepting.clone(), connection));
                        }
                    });
                    here.stop_requested().await;
                    Ok(())
                }
            })
            .unwrap();
        }
    });
    let address = address.recv_timeout(harness::HANG).expect("the server listens");
    harness::ends(move || peers(address));
    stop.request();
    harness::ends(move || server.join()).unwrap();
}

async fn echo(_: Executor, connection: Connection) {
    let (mut reader, mut writer, _) = connection.split();
    let mut buf = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = reader.read(&mut buf).await {
        if writer.write_all(&buf[..read]).await.is_err() {
            break;
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(harness::HANG)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn many_connections_are_echoed_and_leave_no_descriptor() {
    with_server(echo, |address| {
        let before = open_descriptors();
        let peers: Vec<_> = (0..8_u8)
            .map(|seed| {
                thread::spawn(move || {
                    for round in 0..25_usize {
                        let mut stream = connect(address);
                        let sent = vec![seed.wrapping_add(round as u8); 1 + round * 7_001];
                        let mut back = vec![0; sent.len()];
                        let mut writing = stream.try_clone().unwrap();
                        let bytes = sent.clone();
                        let writer = thread::spawn(move || writing.write_all(&bytes).unwrap());
                        stream.read_exact(&mut back).unwrap();
                        writer.join().unwrap();
                        assert_eq!(sent, back);
                    }
                })
            })
            .collect();
        peers.into_iter().for_each(|peer| peer.join().unwrap());
        // The server closes its ends a moment later; should it not, this is a hang.
        while open_descriptors() > before {
            thread::sleep(Duration::from_millis(5));
        }
    });
}

#[test]
fn a_peer_that_closed_its_sending_half_still_gets_its_answer() {
    async fn answer_at_end(_: Executor, connection: Connection) {
        let (mut reader, mut writer, _) = connection.split();
        let (mut buf, mut total) = (vec![0; 1024], 0_u64);
        while let Ok(read @ 1..) = reader.read(&mut buf).await {
            total += read as u64;
        }
        writer.write_all(&total.to_be_bytes()).await.unwrap();
    }
    with_server(answer_at_end, |address| {
        let mut stream = connect(address);
        stream.write_all(&[7; 100_000]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, 100_000_u64.to_be_bytes());
    });
}

#[test]
fn a_closer_wakes_a_reader_and_a_writer_that_wait() {
    static BOTH_WOKEN: AtomicBool = AtomicBool::new(false);
    async fn throw_out(here: Executor, connection: Connection) {
        let (mut reader, mut writer, closer) = connection.split();
        let closed = Rc::new(Cell::new(false));
        let reading = here.spawn({
            let closed = Rc::clone(&closed);
            async move {
                let read = reader.read(&mut [0; 64]).await;
                assert!(!matches!(read, Ok(1..)), "{read:?}");
                assert!(closed.get(), "woken by something else: {read:?}");
            }
        });
        // The peer does not read before both were woken, so this fills all buffers and waits.
        let writing = here.spawn({
            let closed = Rc::clone(&closed);
            async move {
                let chunk = vec![1; 1 << 20];
                while writer.write_all(&chunk).await.is_ok() {}
                assert!(closed.get(), "woken by something else");
            }
        });
        here.sleep(Duration::from_millis(100)).await;
        closed.set(true);
        closer.close();
        closer.close();
        reading.await;
        writing.await;
        closer.close();
        BOTH_WOKEN.store(true, Ordering::Release);
    }
    with_server(throw_out, |address| {
        let mut stream = connect(address);
        while !BOTH_WOKEN.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(5));
        }
        let mut taken = Vec::new();
        let _ = stream.read_to_end(&mut taken);
        assert!(taken.iter().all(|byte| *byte == 1));
    });
}

#[test]
fn dropping_both_halves_tells_the_peer() {
    async fn leave(_: Executor, connection: Connection) {
        let (mut reader, writer, _closer) = connection.split();
        let _ = reader.read(&mut [0; 1]).await;
        drop(reader);
        drop(writer);
    }
    with_server(leave, |address| {
        let mut stream = connect(address);
        stream.write_all(b"x").unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    });
}

#[test]
fn executors_connect_too_and_report_a_closed_port() {
    async fn call_back(here: Executor, connection: Connection) {
        let (mut reader, mut writer, _) = connection.split();
        let mut port = [0; 2];
        let mut filled = 0;
        while filled < port.len() {
            filled += reader.read(&mut port[filled..]).await.unwrap();
        }
        let target = SocketAddr::from(([127, 0, 0, 1], u16::from_be_bytes(port)));
        let answer = match here.connect(target).await {
            Ok(connection) => {
                assert_eq!(connection.peer_addr(), target);
                let (_, mut writer, _) = connection.split();
                writer.write_all(b"hello").await.unwrap();
                b'y'
            }
            Err(_) => b'n',
        };
        writer.write_all(&[answer]).await.unwrap();
    }
    with_server(call_back, |address| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ask = || {
            let mut stream = connect(address);
            stream.write_all(&port.to_be_bytes()).unwrap();
            let mut answer = [0];
            stream.read_exact(&mut answer).unwrap();
            answer[0]
        };
        assert_eq!(ask(), b'y');
        let mut greeting = String::new();
        listener.accept().unwrap().0.read_to_string(&mut greeting).unwrap();
        assert_eq!(greeting, "hello");
        drop(listener);
        assert_eq!(ask(), b'n');
    });
}

/// What the hot connection was served.
static HOT_BYTES: AtomicU64 = AtomicU64::new(0);
/// What it had been served when the last request of the calm one was read.
static HOT_BYTES_WHEN_READ: AtomicU64 = AtomicU64::new(0);
const CALM_REQUEST_BYTES: usize = 100;

/// Echoes, and counts which of the two connections got how much of the executor.
async fn echo_and_count(_: Executor, connection: Connection) {
    let (mut reader, mut writer, _) = connection.split();
    let mut buf = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = reader.read(&mut buf).await {
        if read == CALM_REQUEST_BYTES {
            HOT_BYTES_WHEN_READ.store(HOT_BYTES.load(Ordering::Relaxed), Ordering::Release);
        } else {
            HOT_BYTES.fetch_add(read as u64, Ordering::Release);
        }
        if writer.write_all(&buf[..read]).await.is_err() {
            break;
        }
    }
}

/// A connection that always has bytes ready must not keep another one waiting: the reader takes a turn by time. How long
/// the other one waited is counted in bytes that the hot one was served meanwhile, whatever else the machine does.
#[test]
fn a_hot_connection_does_not_starve_another_one() {
    const HOT_BYTES_MAX: u64 = 8 << 20;
    with_server(echo_and_count, |address| {
        let (end, ended) = mpsc::channel::<()>();
        let hot = connect(address);
        let mut sending = hot.try_clone().unwrap();
        let mut taking = hot.try_clone().unwrap();
        let sender = thread::spawn(move || {
            let chunk = vec![3; 256 * 1024];
            while ended.try_recv() == Err(mpsc::TryRecvError::Empty) {
                if sending.write_all(&chunk).is_err() {
                    break;
                }
            }
            let _ = sending.shutdown(Shutdown::Both);
        });
        let taker = thread::spawn(move || {
            let mut buf = vec![0; 256 * 1024];
            let mut total = 0_u64;
            while let Ok(read @ 1..) = taking.read(&mut buf) {
                total += read as u64;
            }
            total
        });
        while HOT_BYTES.load(Ordering::Acquire) < 10 << 20 {
            thread::sleep(Duration::from_millis(1));
        }
        let mut calm = connect(address);
        let mut waits: Vec<u64> = (0..200)
            .map(|_| {
                calm.write_all(&[9; CALM_REQUEST_BYTES]).unwrap();
                let before = HOT_BYTES.load(Ordering::Acquire);
                calm.read_exact(&mut [0; CALM_REQUEST_BYTES]).unwrap();
                thread::sleep(Duration::from_millis(1));
                HOT_BYTES_WHEN_READ.load(Ordering::Acquire).saturating_sub(before)
            })
            .collect();
        let _ = end.send(());
        sender.join().unwrap();
        let total = taker.join().unwrap();
        waits.sort_unstable();
        let (median, worst) = (waits[100], waits[199]);
        println!(
            "{} MiB hot; a calm request waits for {median} bytes, {worst} at worst",
            total >> 20
        );
        assert!(worst < HOT_BYTES_MAX, "{worst}");
    });
}
