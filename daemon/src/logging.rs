//! Logs that never make an executor wait: lines go through a bounded queue to a thread of their own (`tracing-appender`).
//!
//! When standard error is slower than we talk, lines are dropped and counted, and the count is written as a line of its
//! own as soon as the output takes lines again, at most every [`REPORT_EVERY`] and at the end. [`start`] is called once, by
//! `main`; what it returns is kept until the end, so that the last lines get out. They go to standard error, or to the file that
//! [`crate::log_file`] keeps, there in the shape of Java's: time, level, thread, message.

use std::{
    fmt,
    io::{self, Write},
    sync::{Arc, OnceLock, mpsc},
    time::{Duration, Instant},
};

use jiff::Zoned;
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter, format::Writer},
    registry::LookupSpan,
};

use crate::log_file::{LogFile, LogFileError};

/// Lines that may wait for the writing thread. The answer to one more is to drop it.
pub const WAITING_LINES_MAX: usize = 8_192;
/// Longest line in bytes; the rest of a longer one is cut off. Bounds the memory of waiting lines.
pub const LINE_BYTES_MAX: usize = 16 * 1024;
/// How often dropped lines are reported at most.
pub const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Hands each line to the writing thread, bounded. The subscriber writes a line in one piece.
#[derive(Clone, Debug)]
struct BoundedLines(NonBlocking);

impl Write for BoundedLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match line.get(..LINE_BYTES_MAX) {
            Some(start) if start.len() < line.len() => {
                self.0.write_all(&[start, b"\n"].concat())?;
            }
            _ => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for BoundedLines {
    type Writer = BoundedLines;

    fn make_writer(&'a self) -> BoundedLines {
        self.clone()
    }
}

/// The output as the writing thread sees it: reports dropped lines among those that get through. Dropped on that thread
/// when all is written.
struct ReportingOutput<W: Write> {
    out: W,
    /// Set right after the thread has started.
    dropped: Arc<OnceLock<ErrorCounter>>,
    reported_lines: usize,
    started_at: Instant,
    /// `None` before the first report.
    reported_at: Option<Instant>,
    /// Never sent to: its end tells [`Logging::stop`] that all is written.
    _written: mpsc::Sender<()>,
}

impl<W: Write> ReportingOutput<W> {
    fn report(&mut self) {
        let dropped = self.dropped.get().map_or(0, ErrorCounter::dropped_lines);
        let count = dropped.saturating_sub(self.reported_lines);
        if count > 0 {
            self.reported_lines = dropped;
            self.reported_at = Some(Instant::now());
            // A failure of standard error cannot be reported; the process goes on without logs.
            let _ = writeln!(
                self.out,
                "log: {count} lines dropped because the output is slower than this process talks"
            );
        }
    }
}

impl<W: Write> Write for ReportingOutput<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // As above: an error would not reach anybody either.
        let _ = self.out.write_all(line);
        if self.reported_at.unwrap_or(self.started_at).elapsed() >= REPORT_EVERY {
            self.report();
        }
        Ok(line.len())
    }

    /// Called when no line waits: the output has caught up.
    fn flush(&mut self) -> io::Result<()> {
        if self.reported_at.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
            self.report();
        }
        self.out.flush()
    }
}

impl<W: Write> Drop for ReportingOutput<W> {
    fn drop(&mut self) {
        self.report();
        let _ = self.out.flush();
    }
}

/// Keeps the logs flowing. [`Logging::stop`] writes out what waits.
#[derive(Debug)]
pub struct Logging {
    lines: NonBlocking,
    writer: WorkerGuard,
    written: mpsc::Receiver<()>,
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
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] LogFileError),
    /// Somebody else has set up logs in this process.
    #[error("logs were started twice")]
    Twice,
    /// A change of `logFilter` would change nothing.
    #[error("the environment variable RUST_LOG goes first, and is {filter:?}")]
    Environment {
        /// What stands there.
        filter: String,
    },
    /// Logs were not started by [`start`].
    #[error("logs of this process have a filter that cannot be changed")]
    Fixed,
}

/// Sets another filter.
type SetFilter = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;

/// What [`start`] has left for [`change_filter`].
static SET_FILTER: OnceLock<SetFilter> = OnceLock::new();

/// Starts logs for the whole process, to `file` or to standard error. `RUST_LOG` goes before `filter`. Panics when the system
/// gives no thread.
pub fn start(filter: &str, file: Option<LogFile>) -> Result<Logging, LoggingError> {
    let filter = filter_of(filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    let (logging, started, set) = match file {
        Some(file) => {
            let logging = write_to(file);
            let lines = BoundedLines(logging.lines.clone());
            let builder = builder.with_ansi(false).event_format(JavasLines).with_writer(lines);
            let builder = builder.with_filter_reloading();
            let filter = builder.reload_handle();
            let set: SetFilter = Box::new(move |other| filter.reload(other).is_ok());
            (logging, builder.try_init(), set)
        }
        None => {
            let logging = write_to(io::stderr());
            let lines = BoundedLines(logging.lines.clone());
            let ansi = io::IsTerminal::is_terminal(&io::stderr());
            let builder = builder.with_ansi(ansi).with_writer(lines).with_filter_reloading();
            let filter = builder.reload_handle();
            let set: SetFilter = Box::new(move |other| filter.reload(other).is_ok());
            (logging, builder.try_init(), set)
        }
    };
    started.map_err(|_| LoggingError::Twice)?;
    SET_FILTER.get_or_init(|| set);
    Ok(logging)
}

/// Lines as Java's logback writes them, so that what reads its files reads ours: `2026-11-30 22:15:32 INFO main - message`,
/// in the machine's time zone (Java's shipped configuration has GMT+8 everywhere).
struct JavasLines;

impl<S, N> FormatEvent<S, N> for JavasLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let now = Zoned::now();
        let thread = std::thread::current();
        let (level, thread) = (event.metadata().level(), thread.name().unwrap_or("unnamed"));
        write!(writer, "{} {level} {thread} - ", now.strftime("%Y-%m-%d %H:%M:%S"))?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// `RUST_LOG`.
fn from_environment() -> Option<String> {
    std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty())
}

fn filter_of(filter: &str) -> Result<EnvFilter, LoggingError> {
    parsed(from_environment().unwrap_or_else(|| filter.to_owned()))
}

fn parsed(filter: String) -> Result<EnvFilter, LoggingError> {
    EnvFilter::try_new(&filter).map_err(|cause| LoggingError::Filter { filter, cause })
}

/// What [`change_filter`] would refuse of a filter.
pub fn check_change(filter: &str) -> Result<(), LoggingError> {
    match from_environment() {
        Some(filter) => Err(LoggingError::Environment { filter }),
        None => parsed(filter.to_owned()).map(drop),
    }
}

/// From now on logs pass this filter.
pub fn change_filter(filter: &str) -> Result<(), LoggingError> {
    check_change(filter)?;
    let set = SET_FILTER.get().ok_or(LoggingError::Fixed)?;
    if set(parsed(filter.to_owned())?) { Ok(()) } else { Err(LoggingError::Fixed) }
}

/// What [`start`] would refuse of a filter.
pub fn check(filter: &str) -> Result<(), LoggingError> {
    filter_of(filter).map(drop)
}

/// Logs of a program that only looks and ends: each line as it tells its own remarks (`program: warning: ...`), without a
/// time, and whatever the filter: who asks what a start would warn about wants all of it.
pub fn start_plain(program: &'static str) -> Result<(), LoggingError> {
    tracing_subscriber::fmt()
        .with_max_level(Level::INFO)
        .with_ansi(false)
        .with_writer(io::stderr)
        .event_format(PlainLines { program })
        .try_init()
        .map_err(|_| LoggingError::Twice)
}

struct PlainLines {
    program: &'static str,
}

impl<S, N> FormatEvent<S, N> for PlainLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            _ => "note",
        };
        write!(writer, "{}: {level}: ", self.program)?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// Starts the thread that writes lines to `out`.
fn write_to(out: impl Write + Send + 'static) -> Logging {
    let dropped = Arc::new(OnceLock::new());
    let (written_in, written) = mpsc::channel();
    let out = ReportingOutput {
        out,
        dropped: Arc::clone(&dropped),
        reported_lines: 0,
        started_at: Instant::now(),
        reported_at: None,
        _written: written_in,
    };
    let queue = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING_LINES_MAX);
    let (lines, writer) = queue.thread_name("log").finish(out);
    dropped.get_or_init(|| lines.error_counter());
    Logging { lines, writer, written }
}

impl Logging {
    /// Lines dropped since the start.
    pub fn dropped(&self) -> usize {
        self.lines.error_counter().dropped_lines()
    }

    /// Writes out what waits and ends the thread; later lines are dropped. Takes at most `patience` and about a second
    /// more, when the output takes nothing.
    pub fn stop(self, patience: Duration) {
        let Logging { lines, writer, written } = self;
        drop(lines);
        // Asks the thread to end, and waits for a second until it has written what was there.
        drop(writer);
        // Disconnected: the thread has let go of its output.
        let _ = written.recv_timeout(patience);
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

    /// Goal: a stopped terminal stops nobody (this test would hang), and what was lost is reported afterwards.
    #[test]
    fn a_slow_output_costs_lines_but_never_time() {
        let out = Slow::default();
        let logging = write_to(out.clone());
        let lines = BoundedLines(logging.lines.clone());
        let closed = out.gate.lock().unwrap();
        for number in 0..WAITING_LINES_MAX + 1_000 {
            lines.make_writer().write_all(format!("line {number}\n").as_bytes()).unwrap();
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
        let logging = write_to(out.clone());
        let lines = BoundedLines(logging.lines.clone());
        lines.make_writer().write_all(b"ab\n").unwrap();
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
        let refused = start("broker=loud", None).unwrap_err().to_string();
        assert!(refused.starts_with("\"broker=loud\" is not a log filter"), "{refused}");
    }
}
