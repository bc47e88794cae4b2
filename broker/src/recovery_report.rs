//! What an operator hears while stores are being opened: one line every few seconds, for all shards together, from a
//! thread of its own, which also speaks when the disk answers no executor. Started by `main` before the executors.

use runtime::Stop;
use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use store::recovery::progress::Progress;

/// Pause between two lines. A start that is quicker says nothing.
const REPORT_EVERY: Duration = Duration::from_secs(3);
/// Pause between two looks at whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Starts the thread. It ends when all stores are open or a stop was requested.
pub fn start(shards: Arc<[Arc<Progress>]>, stop: Stop) -> io::Result<()> {
    let report = move || {
        let began = Instant::now();
        let mut reported = (began, 0);
        while !stop.requested() && !shards.iter().all(|shard| shard.is_open()) {
            thread::sleep(LOOK_EVERY);
            let (at, scanned) = reported;
            if at.elapsed() >= REPORT_EVERY {
                let now = Seen::of(&shards);
                let line = now.line(scanned, at.elapsed());
                tracing::info!("{line}");
                reported = (Instant::now(), now.scanned_bytes);
            }
        }
    };
    thread::Builder::new().name("recovery".to_owned()).spawn(report).map(drop)
}

/// How far all shards together are.
struct Seen {
    shards: usize,
    open: usize,
    scanned_bytes: u64,
    left_bytes_max: u64,
}

impl Seen {
    fn of(shards: &[Arc<Progress>]) -> Seen {
        Seen {
            shards: shards.len(),
            open: shards.iter().filter(|shard| shard.is_open()).count(),
            scanned_bytes: shards.iter().map(|shard| shard.scanned_bytes()).sum(),
            left_bytes_max: shards.iter().map(|shard| shard.left_bytes_max()).sum(),
        }
    }

    /// The line, given what was scanned up to the one before, which is `elapsed` ago. The time left follows from the
    /// speed since then.
    fn line(&self, scanned_before: u64, elapsed: Duration) -> String {
        let Seen { shards, open, scanned_bytes, left_bytes_max } = *self;
        let lately = scanned_bytes.saturating_sub(scanned_before);
        let time = match lately {
            0 => "nothing was read since the last line".to_owned(),
            lately => {
                let seconds = elapsed.as_secs_f64() * left_bytes_max as f64 / lately as f64;
                format!("at most {} s left", seconds.ceil())
            }
        };
        format!(
            "recovering the logs: {} MiB read, at most {} MiB to go, {time}; {open} of {shards} shards are open",
            scanned_bytes >> 20,
            left_bytes_max.div_ceil(1 << 20),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_bytes_and_time_and_a_silent_disk() {
        let mut seen =
            Seen { shards: 4, open: 1, scanned_bytes: 300 << 20, left_bytes_max: 1 << 30 };
        let elapsed = Duration::from_secs(3);
        let expected = "recovering the logs: 300 MiB read, at most 1024 MiB to go, at most 16 s left; \
                        1 of 4 shards are open";
        assert_eq!(seen.line(100 << 20, elapsed), expected);
        let silent = seen.line(300 << 20, elapsed);
        assert!(silent.contains("nothing was read since the last line"), "{silent}");
        seen = Seen::of(&[Arc::default(), Arc::default()]);
        assert_eq!((seen.open, seen.scanned_bytes, seen.left_bytes_max), (0, 0, 0));
    }
}
