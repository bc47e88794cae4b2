//! Loads for an echoing executor: open loop (a fixed rate, whatever the answers do) and closed loop (so many in flight).
//!
//! A request is [`REQUEST_BYTES`] long and begins with the time of its sending, so the answer tells its own latency.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use runtime::{Connection, Executor, Mesh, Settings, Stop, run};

/// Length of a request and of its answer.
pub(crate) const REQUEST_BYTES: usize = 64;

/// Without an answer for this long, a load counts as stuck. A lost wake is for ever; a busy machine is only slow.
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(20);

/// Connections of a load.
const CONNECTIONS: u32 = 4;

/// What one load saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Answers that came.
    pub(crate) answers: u64,
    /// Longest time from a request to its answer.
    pub(crate) latency_max: Duration,
    /// Whether some answer did not come within [`STUCK_AFTER`].
    pub(crate) stuck: bool,
}

impl Seen {
    fn add(&mut self, other: Seen) {
        self.answers += other.answers;
        self.latency_max = self.latency_max.max(other.latency_max);
        self.stuck |= other.stuck;
    }
}

/// An echoing executor on a thread of its own, for as long as this lives.
pub(crate) struct EchoServer {
    address: SocketAddr,
    stop: Stop,
    thread: Option<thread::JoinHandle<()>>,
}

impl EchoServer {
    /// Starts it; `settings` should name one executor.
    pub(crate) fn start(settings: Settings) -> EchoServer {
        let stop = Stop::new();
        let (at, address) = mpsc::channel();
        let thread = thread::spawn({
            let stop = stop.clone();
            move || {
                let main = move |here: Executor, _: Mesh<()>| serve(here, at.clone());
                run(settings, stop, main).expect("an executor");
            }
        });
        let address = address.recv().expect("a listener");
        EchoServer { address, stop, thread: Some(thread) }
    }
}

impl EchoServer {
    /// Leaves the server to its fate: it hangs and will not hear a stop.
    pub(crate) fn abandon(mut self) {
        drop(self.thread.take());
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.stop.request();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(here: Executor, at: mpsc::Sender<SocketAddr>) -> Result<(), String> {
    let listening = here.listen(SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener = listening.map_err(|error| error.to_string())?;
    at.send(listener.local_addr()).map_err(|error| error.to_string())?;
    let accepting = here.clone();
    here.spawn(async move {
        while let Ok(connection) = listener.accept().await {
            accepting.spawn(echo(connection));
        }
    });
    here.stop_requested().await;
    Ok(())
}

async fn echo(connection: Connection) {
    let (mut reader, mut writer, _) = connection.split();
    let mut buf = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = reader.read(&mut buf).await {
        if writer.write_all(&buf[..read]).await.is_err() {
            break;
        }
    }
}

/// Sends `per_second` requests for `duration`, over all connections, and waits for all answers.
pub(crate) fn open_loop(server: &EchoServer, per_second: u32, duration: Duration) -> Seen {
    on_all_connections(server, move |stream, epoch| {
        let mut sending = stream.try_clone().expect("a second handle");
        let sender = thread::spawn(move || send_at_rate(&mut sending, epoch, per_second, duration));
        let seen = take_answers(stream, epoch);
        let _ = sender.join();
        seen
    })
}

fn on_all_connections(
    server: &EchoServer,
    load: impl Fn(TcpStream, Instant) -> Seen + Clone + Send + 'static,
) -> Seen {
    let epoch = Instant::now();
    let loads: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let stream = TcpStream::connect(server.address).expect("a connection");
            stream.set_nodelay(true).expect("no delay");
            stream.set_read_timeout(Some(STUCK_AFTER)).expect("a timeout");
            let load = load.clone();
            thread::spawn(move || load(stream, epoch))
        })
        .collect();
    let mut seen = Seen::default();
    for load in loads {
        seen.add(load.join().expect("a load"));
    }
    seen
}

/// Each millisecond, what is due by then; late batches are made up for.
fn send_at_rate(stream: &mut TcpStream, epoch: Instant, per_second: u32, duration: Duration) {
    let per_connection = f64::from(per_second / CONNECTIONS);
    let began = Instant::now();
    let mut sent = 0_u64;
    let mut batch = Vec::new();
    while began.elapsed() < duration {
        let due = (began.elapsed().as_secs_f64() * per_connection) as u64;
        batch.clear();
        for _ in sent..due {
            push_request(&mut batch, epoch);
        }
        sent = due;
        if stream.write_all(&batch).is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    let _ = stream.shutdown(Shutdown::Write);
}

fn push_request(batch: &mut Vec<u8>, epoch: Instant) {
    let mut request = [0; REQUEST_BYTES];
    request[..8].copy_from_slice(&(epoch.elapsed().as_nanos() as u64).to_le_bytes());
    batch.extend_from_slice(&request);
}

/// Reads until the server closes, which it does when all was echoed, or nothing comes for too long.
fn take_answers(mut stream: TcpStream, epoch: Instant) -> Seen {
    let mut seen = Seen::default();
    let mut buf = vec![0; 256 * 1024];
    let mut filled = 0;
    loop {
        match stream.read(&mut buf[filled..]) {
            Ok(0) => return seen,
            Ok(read) => {
                filled += read;
                let whole = filled - filled % REQUEST_BYTES;
                note_answers(&buf[..whole], epoch, &mut seen);
                buf.copy_within(whole..filled, 0);
                filled -= whole;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                seen.stuck = true;
                let _ = stream.shutdown(Shutdown::Both);
                return seen;
            }
            Err(_) => return seen,
        }
    }
}

fn note_answers(answers: &[u8], epoch: Instant, seen: &mut Seen) {
    let now = epoch.elapsed();
    for answer in answers.chunks_exact(REQUEST_BYTES) {
        let mut sent = [0; 8];
        sent.copy_from_slice(&answer[..8]);
        let sent = Duration::from_nanos(u64::from_le_bytes(sent));
        seen.latency_max = seen.latency_max.max(now.saturating_sub(sent));
        seen.answers += 1;
    }
}

/// Keeps `in_flight` requests per connection under way for `duration`.
#[allow(dead_code, reason = "the test uses the open loop only")]
pub(crate) fn closed_loop(server: &EchoServer, in_flight: usize, duration: Duration) -> Seen {
    on_all_connections(server, move |mut stream, epoch| {
        let mut seen = Seen::default();
        let mut batch = Vec::new();
        let mut answers = vec![0; in_flight * REQUEST_BYTES];
        let began = Instant::now();
        while began.elapsed() < duration {
            batch.clear();
            (0..in_flight).for_each(|_| push_request(&mut batch, epoch));
            if stream.write_all(&batch).is_err() || stream.read_exact(&mut answers).is_err() {
                seen.stuck = true;
                break;
            }
            note_answers(&answers, epoch, &mut seen);
        }
        seen
    })
}
