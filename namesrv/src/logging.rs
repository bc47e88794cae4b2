//! Log lines to standard error through a bounded channel, so that a slow terminal or disk never holds up an executor.
//!
//! When the channel is full, lines are dropped and counted; the next line that fits is preceded by the count. The level
//! comes from `RINGMQ_LOG` (syntax of `tracing_subscriber::EnvFilter`), `info` by default.

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// Lines that may wait to be written.
const LINES_MAX: usize = 8_192;
/// Environment variable with the filter.
const FILTER_VARIABLE: &str = "RINGMQ_LOG";

enum Item {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Lets the program wait at its end until everything logged so far is written.
pub struct LogGuard {
    lines: SyncSender<Item>,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let (done, wait) = sync_channel(1);
        if self.lines.send(Item::Flush(done)).is_ok() {
            // An error means that the writer is gone; then there is nothing to wait for.
            let _ = wait.recv();
        }
    }
}

/// Starts logging for this process. Call once, before anything is logged; keep the guard until the end of `main`.
pub fn start() -> LogGuard {
    let (lines, receiver) = sync_channel(LINES_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    let writer = Lines { lines: lines.clone(), dropped: Arc::clone(&dropped) };
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_lines(&receiver, &dropped))
        .expect("a thread can be started at boot");
    let filter =
        EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_writer(writer);
    // An error means that the embedding program has chosen another subscriber already; that one stays.
    let _ = subscriber.try_init();
    LogGuard { lines }
}

fn write_lines(receiver: &Receiver<Item>, dropped: &AtomicU64) {
    while let Ok(item) = receiver.recv() {
        let mut out = io::stderr().lock();
        // Nobody is left to tell when standard error itself fails.
        match item {
            Item::Line(line) => {
                let lost = dropped.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    let _ = writeln!(
                        out,
                        "{lost} log lines were dropped because the log could not be written fast enough"
                    );
                }
                let _ = out.write_all(&line);
            }
            Item::Flush(done) => {
                let _ = out.flush();
                let _ = done.send(());
            }
        }
    }
}

#[derive(Clone)]
struct Lines {
    lines: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { to: self.clone(), bytes: Vec::with_capacity(160) }
    }
}

/// One line in the making; handed over when it is dropped.
struct Line {
    to: Lines,
    bytes: Vec<u8>,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let line = std::mem::take(&mut self.bytes);
        if !line.is_empty() && self.to.lines.try_send(Item::Line(line)).is_err() {
            self.to.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
