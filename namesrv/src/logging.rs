//! Logs that never make a shard wait: lines go through a bounded channel to a thread of their own.
//!
//! When standard error is slower than we talk, lines are dropped and counted, and the count is written as a line of its
//! own as soon as there is room again, at most every [`REPORT_EVERY`]. [`start`] is called once, by `main`; what it
//! returns is kept until the end, so that the last lines get out.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait for the writing thread. The answer to one more is to drop it.
pub const WAITING_LINES_MAX: usize = 8_192;
/// Longest line in bytes; the rest of a longer one is cut off. Bounds the memory of waiting lines.
pub const LINE_BYTES_MAX: usize = 16 * 1024;
/// How often dropped lines are reported at most.
pub const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The way to the writing thread. Cloned by whoever writes a line.
#[derive(Clone, Debug)]
struct Lane {
    lines: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

impl Lane {
    fn send(&self, line: Vec<u8>) {
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One line on its way: collected, and sent when it is complete.
pub struct Line {
    bytes: Vec<u8>,
    lane: Lane,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = LINE_BYTES_MAX.saturating_sub(self.bytes.len());
        self.bytes.extend(bytes.iter().take(room));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.is_empty() {
            return;
        }
        if bytes.last() != Some(&b'\n') {
            bytes.push(b'\n');
        }
        self.lane.send(bytes);
    }
}

/// What the subscriber asks for a place to write each line to.
struct Lines(Lane);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { bytes: Vec::with_capacity(256), lane: self.0.clone() }
    }
}

/// Keeps the logs flowing. [`Logging::stop`] writes out what waits.
#[derive(Debug)]
pub struct Logging {
    lane: Lane,
    writer: Option<JoinHandle<()>>,
}

/// Why logs cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `logFilter` or `RUST_LOG` is no filter.
    #[error("{filter:?} is not a log filter (such as info, or warn,broker=debug): {cause}")]
    Filter {
        /// The text.
        filter: String,
        /// What is wrong with it.
        cause: tracing_subscriber::filter::ParseError,
    },
    /// The thread cannot be started.
    #[error("cannot start the thread that writes logs: {0}")]
    Thread(#[from] io::Error),
    /// Somebody else has set up logs in this process.
    #[error("logs were started twice")]
    Twice,
}

/// Starts logs to standard error for the whole process. `RUST_LOG` goes before `filter`.
pub fn start(filter: &str) -> Result<Logging, LoggingError> {
    let from_environment = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let filter = from_environment.unwrap_or_else(|| filter.to_owned());
    let filter =
        EnvFilter::try_new(&filter).map_err(|cause| LoggingError::Filter { filter, cause })?;
    let logging = write_to(io::stderr())?;
    let ansi = io::IsTerminal::is_terminal(&io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(ansi)
        .with_target(false)
        .with_writer(Lines(logging.lane.clone()))
        .try_init()
        .map_err(|_| LoggingError::Twice)?;
    Ok(logging)
}

/// Starts the thread that writes lines to `out`.
fn write_to(out: impl Write + Send + 'static) -> io::Result<Logging> {
    let (sender, lines) = sync_channel(WAITING_LINES_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    let lane = Lane { lines: sender, dropped: Arc::clone(&dropped) };
    let thread = std::thread::Builder::new().name("log".to_owned());
    let writer = thread.spawn(move || write_lines(out, &lines, &dropped))?;
    Ok(Logging { lane, writer: Some(writer) })
}

/// An empty line is the sign to stop.
const STOP: Vec<u8> = Vec::new();

fn write_lines(mut out: impl Write, lines: &Receiver<Vec<u8>>, dropped: &AtomicU64) {
    let mut reported = Instant::now();
    loop {
        let line = match lines.recv_timeout(REPORT_EVERY) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                report(&mut out, dropped);
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => STOP,
        };
        let stop = line.is_empty();
        // Nobody can be told when standard error fails; the process goes on without logs.
        let _ = out.write_all(&line);
        if stop || reported.elapsed() >= REPORT_EVERY {
            report(&mut out, dropped);
            reported = Instant::now();
        }
        if stop {
            let _ = out.flush();
            return;
        }
    }
}

fn report(out: &mut impl Write, dropped: &AtomicU64) {
    let count = dropped.swap(0, Ordering::Relaxed);
    if count > 0 {
        let _ = writeln!(
            out,
            "log: {count} lines dropped because the output is slower than this process talks"
        );
    }
}

impl Logging {
    /// Lines dropped since the last report.
    pub fn dropped(&self) -> u64 {
        self.lane.dropped.load(Ordering::Relaxed)
    }

    /// Writes out what waits, at most for `patience`, and ends the thread. Later lines are dropped.
    pub fn stop(mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let pause = Duration::from_millis(1);
        while self.lane.lines.try_send(STOP).is_err() && Instant::now() < deadline {
            std::thread::sleep(pause);
        }
        let Some(writer) = self.writer.take() else { return };
        while !writer.is_finished() && Instant::now() < deadline {
            std::thread::sleep(pause);
        }
        if writer.is_finished() {
            // The thread's panic, if any, has been printed by its hook.
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A terminal that somebody has stopped: it takes nothing until the gate opens.
    #[derive(Clone, Default)]
    struct Slow {
        gate: Arc<Mutex<()>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            drop(self.gate.lock());
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn text(out: &Slow) -> String {
        String::from_utf8(out.written.lock().unwrap().clone()).unwrap()
    }

    /// Goal: a stopped terminal stops nobody (this test would hang), and what was lost is told afterwards.
    #[test]
    fn a_slow_output_costs_lines_but_never_time() {
        let out = Slow::default();
        let logging = write_to(out.clone()).unwrap();
        let lines = Lines(logging.lane.clone());
        let closed = out.gate.lock().unwrap();
        for number in 0..WAITING_LINES_MAX + 1_000 {
            writeln!(lines.make_writer(), "line {number}").unwrap();
        }
        let dropped = logging.dropped();
        // The thread may hold one line in its hands.
        assert!((999..=1_000).contains(&dropped), "{dropped}");
        drop(closed);
        logging.stop(Duration::from_secs(20));
        let text = text(&out);
        assert!(text.starts_with("line 0\nline 1\n"));
        assert!(
            text.contains(&format!("log: {dropped} lines dropped because the output is slower"))
        );
    }

    #[test]
    fn lines_are_whole_and_bounded() {
        let out = Slow::default();
        let logging = write_to(out.clone()).unwrap();
        let lines = Lines(logging.lane.clone());
        let mut line = lines.make_writer();
        line.write_all(b"a").unwrap();
        line.write_all(b"b").unwrap();
        drop(line);
        drop(lines.make_writer());
        lines.make_writer().write_all(&vec![b'x'; LINE_BYTES_MAX * 2]).unwrap();
        logging.stop(Duration::from_secs(20));
        let text = text(&out);
        assert!(text.starts_with("ab\nx"));
        assert_eq!(text.len(), 3 + LINE_BYTES_MAX + 1);
    }

    #[test]
    fn a_bad_filter_is_explained() {
        if std::env::var_os("RUST_LOG").is_some() {
            return;
        }
        let refused = start("broker=loud").unwrap_err().to_string();
        assert!(refused.starts_with("\"broker=loud\" is not a log filter"), "{refused}");
    }
}
