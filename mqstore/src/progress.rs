//! How far a long look has come: a bar on a terminal, a plain line now and then elsewhere. Shown by `mqstore`, which
//! counts bytes, and by the programs that play seeds, which count what they played.

use std::{
    cell::Cell,
    io::{IsTerminal, Write, stderr},
    thread,
    time::{Duration, Instant},
};

/// Time between two renewals of the bar.
const BAR_EVERY: Duration = Duration::from_millis(200);
/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Time between two looks at what others count.
const FOLLOWED_EVERY: Duration = Duration::from_millis(20);
/// Characters of the bar.
const BAR_WIDTH: usize = 30;
const MEGABYTE: f64 = 1e6;

/// Bytes looked at or things played, of how many. Shown on standard error.
pub struct Progress {
    unit: Unit,
    total: Cell<u64>,
    done: Cell<u64>,
    started: Instant,
    shown: Cell<Instant>,
    mode: Mode,
}

#[derive(Clone, Copy)]
enum Unit {
    Bytes,
    /// Their name in the plural.
    Things(&'static str),
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Silent,
    Bar,
    Lines,
}

impl Mode {
    fn shown() -> Mode {
        if stderr().is_terminal() { Mode::Bar } else { Mode::Lines }
    }
}

impl Progress {
    /// A bar if standard error is a terminal, else lines.
    pub fn visible() -> Progress {
        Progress::new(Unit::Bytes, Mode::shown())
    }

    /// As [`Progress::visible`], of `total` things that are called `name` in the plural.
    pub fn of_things(name: &'static str, total: u64) -> Progress {
        let progress = Progress::new(Unit::Things(name), Mode::shown());
        progress.expect(total);
        progress
    }

    /// Shows nothing.
    pub fn silent() -> Progress {
        Progress::new(Unit::Bytes, Mode::Silent)
    }

    fn new(unit: Unit, mode: Mode) -> Progress {
        let now = Instant::now();
        Progress {
            unit,
            total: Cell::new(0),
            done: Cell::new(0),
            started: now,
            shown: Cell::new(now),
            mode,
        }
    }

    /// Looks every moment at how many things are done, until none will come any more (`None`).
    pub fn follow(&self, done: impl Fn() -> Option<u64>) {
        while let Some(done) = done() {
            self.add(done.saturating_sub(self.done()));
            thread::sleep(FOLLOWED_EVERY);
        }
        self.finish();
    }

    /// Bytes looked at, or things done.
    pub fn done(&self) -> u64 {
        self.done.get()
    }

    pub(crate) fn expect(&self, bytes: u64) {
        self.total.set(self.total.get() + bytes);
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.done.set(self.done.get() + bytes);
        let every = match self.mode {
            Mode::Silent => return,
            Mode::Bar => BAR_EVERY,
            Mode::Lines => LINE_EVERY,
        };
        if self.shown.get().elapsed() >= every {
            self.shown.set(Instant::now());
            self.show();
        }
    }

    /// Ends the bar's line.
    pub fn finish(&self) {
        if self.mode == Mode::Bar {
            self.show();
            eprintln!();
        }
    }

    fn show(&self) {
        let done = self.done.get() as f64;
        // The log grows beside a running broker; the total is what was there at first.
        let total = (self.total.get() as f64).max(done).max(1.0);
        let rate = done / self.started.elapsed().as_secs_f64().max(0.001);
        let left_seconds = if rate > 0.0 { (total - done) / rate } else { 0.0 };
        let (one, name) = match self.unit {
            Unit::Bytes => (MEGABYTE, "MB"),
            Unit::Things(name) => (1.0, name),
        };
        let figures = format!(
            "{:.0} of {:.0} {name}, {:.0} {name}/s, {left_seconds:.0} s left",
            done / one,
            total / one,
            rate / one,
        );
        if self.mode == Mode::Lines {
            eprintln!("{figures}");
            return;
        }
        let filled = (done / total * BAR_WIDTH as f64) as usize;
        let bar: String =
            (0..BAR_WIDTH).map(|place| if place < filled { '#' } else { '.' }).collect();
        eprint!("\r[{bar}] {figures}   ");
        let _ = stderr().flush();
    }
}
