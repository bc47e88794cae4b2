//! `mqbench idle`: opens many connections that do nothing and tells what each costs the broker in memory.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::LoadError;
use super::frames::{self, OPAQUE_MIN};
use super::process::{self, Memory};
use super::report::ratio;
use super::socket::{LoaderSocket, Ready, Watch};

/// What to open.
#[derive(Clone, Debug)]
pub struct Idle {
    /// The broker.
    pub addr: SocketAddr,
    /// How many connections; the limit of open files is raised for them.
    pub connections: usize,
    /// One small request on each before it falls idle, so that the broker has really served it.
    pub touch: bool,
    /// How long they stay open before memory is read.
    pub hold: Duration,
    /// The broker's process.
    pub broker_pid: u32,
}

/// What they cost.
#[derive(Clone, Copy, Debug)]
pub struct IdleReport {
    /// Open at the end.
    pub connections: usize,
    /// The broker before the first one.
    pub before: Memory,
    /// The broker with all of them open.
    pub with_all: Memory,
    /// Time to open (and touch) all of them.
    pub opening_seconds: f64,
}

/// Opens, waits, measures, closes.
pub fn run(idle: &Idle) -> Result<IdleReport, LoadError> {
    let limit = process::raise_open_files()?;
    frames::check_range(
        "connections",
        "1..= the limit of open files - 64",
        idle.connections as u64,
        1,
        limit.saturating_sub(64),
    )?;
    let before = process::memory(idle.broker_pid)?;
    let started = Instant::now();
    let mut sockets = Vec::with_capacity(idle.connections);
    for index in 0..idle.connections {
        sockets.push(LoaderSocket::connect(idle.addr, index)?);
    }
    if idle.touch {
        touch_all(&mut sockets)?;
    }
    let opening_seconds = started.elapsed().as_secs_f64();
    std::thread::sleep(idle.hold);
    let with_all = process::memory(idle.broker_pid)?;
    Ok(IdleReport { connections: sockets.len(), before, with_all, opening_seconds })
}

/// When some of those have no answer by now, they will have none.
const ANSWERS_MAX: Duration = Duration::from_secs(60);

/// One GET_MIN_OFFSET on every connection; any answer will do.
fn touch_all(sockets: &mut [LoaderSocket]) -> Result<(), LoadError> {
    for (index, socket) in sockets.iter_mut().enumerate() {
        frames::append_min_offset(socket.unsent(), "TBW102", 0, OPAQUE_MIN);
        socket.flush().map_err(|_| LoadError::Closed { index, acked: 0 })?;
    }
    let mut watch = Watch::new(sockets.iter())?;
    let mut answered = 0;
    let mut ready: Vec<Ready> = Vec::new();
    let started = Instant::now();
    while answered < sockets.len() {
        watch.wait(100_000_000, &mut ready)?;
        if started.elapsed() > ANSWERS_MAX {
            let (seconds, in_flight) = (ANSWERS_MAX.as_secs(), sockets.len() - answered);
            return Err(LoadError::Silent { seconds, in_flight });
        }
        for entry in &ready {
            let (index, socket) = (entry.index, &mut sockets[entry.index]);
            socket.receive().map_err(|_| LoadError::Closed { index, acked: answered as u64 })?;
            while socket
                .next_frame()
                .map_err(|reason| LoadError::Unreadable { index, reason })?
                .is_some()
            {
                answered += 1;
            }
        }
    }
    Ok(())
}

impl IdleReport {
    /// Bytes that the broker's resident memory grew by.
    pub fn growth_bytes(&self) -> u64 {
        self.with_all.resident_bytes.saturating_sub(self.before.resident_bytes)
    }

    /// One JSON object.
    pub fn to_json(&self, label: &str) -> Value {
        json!({
            "label": label,
            "connections": self.connections,
            "opening_seconds": self.opening_seconds,
            "broker_resident_bytes_before": self.before.resident_bytes,
            "broker_resident_bytes": self.with_all.resident_bytes,
            "bytes_per_connection": ratio(self.growth_bytes() as f64, self.connections as f64),
        })
    }
}

impl std::fmt::Display for IdleReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let each = ratio(self.growth_bytes() as f64 / 1024.0, self.connections as f64);
        writeln!(
            f,
            "opened    {:>12} connections in {:.2} s",
            self.connections, self.opening_seconds
        )?;
        write!(
            f,
            "broker    {:.1} MiB resident before, {:.1} MiB with them = {each:.2} KiB each",
            mib(self.before.resident_bytes),
            mib(self.with_all.resident_bytes)
        )
    }
}
