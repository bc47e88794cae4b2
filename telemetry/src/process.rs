//! What every process says of itself, under the names that all of Prometheus' clients use. Read from `/proc`; blocking.

use std::fs;

use crate::{Page, families};

families! {
    /// All that a process says of itself.
    pub const ALL;
    /// Time that the process has run on any processor.
    CPU: Counter("process_cpu_seconds_total");
    /// Memory of the process that is in RAM.
    RESIDENT: Gauge("process_resident_memory_bytes");
    /// Addresses that the process has taken.
    VIRTUAL: Gauge("process_virtual_memory_bytes");
    /// Files and sockets that the process has open.
    OPEN_FILES: Gauge("process_open_fds");
    /// Files and sockets that the process may have open.
    OPEN_FILES_MAX: Gauge("process_max_fds");
    /// When the process started, seconds since 1970.
    STARTED: Gauge("process_start_time_seconds");
}

/// The figures at one moment. What the system does not tell is not there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    cpu_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    open_files: Option<u64>,
    open_files_max: Option<u64>,
    started_seconds: Option<f64>,
}

impl Figures {
    /// Reads them. Blocking; with many connections for some milliseconds, as each open file is counted.
    pub fn read() -> Figures {
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name, in parentheses, may hold anything. What follows it is number 3 on.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |ticks: u64| ticks as f64 / ticks_per_second;
        let open = fs::read_dir("/proc/self/fd").ok().map(|open| open.count() as u64);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Figures {
            cpu_seconds: field(14).zip(field(15)).map(|(user, system)| seconds(user + system)),
            resident_bytes: field(24).map(|pages| pages * rustix::param::page_size() as u64),
            virtual_bytes: field(23),
            // The one that reads the directory is gone by now.
            open_files: open.map(|count| count.saturating_sub(1)),
            open_files_max: limit,
            started_seconds: field(22)
                .zip(boot_seconds())
                .map(|(ticks, boot)| boot + seconds(ticks)),
        }
    }

    /// Writes them.
    pub fn write(&self, page: &mut Page) {
        let real = [(CPU, self.cpu_seconds), (STARTED, self.started_seconds)];
        for (family, number) in real {
            if let Some(number) = number {
                page.single(&family, number);
            }
        }
        let whole = [
            (RESIDENT, self.resident_bytes),
            (VIRTUAL, self.virtual_bytes),
            (OPEN_FILES, self.open_files),
            (OPEN_FILES_MAX, self.open_files_max),
        ];
        for (family, number) in whole {
            if let Some(number) = number {
                page.single(&family, number);
            }
        }
    }
}

/// When the machine started, seconds since 1970.
fn boot_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn this_process_is_there() {
        let Figures {
            cpu_seconds,
            resident_bytes,
            open_files,
            open_files_max,
            started_seconds,
            ..
        } = Figures::read();
        assert!(cpu_seconds.is_some_and(|seconds| (0.0..1e6).contains(&seconds)));
        assert!(resident_bytes.is_some_and(|bytes| bytes > 100_000));
        assert!(open_files.zip(open_files_max).is_some_and(|(open, max)| open > 2 && open <= max));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        let started = started_seconds.expect("it is told");
        assert!(started < now + 2.0 && started > now - 86_400.0, "{started} {now}");
    }
}
