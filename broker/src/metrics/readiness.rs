//! `/health`: should this process be ended; and `/ready`: does it serve. Each is a JSON document, with 200 or 503.
//!
//! A broker whose log has failed is neither: it gives out what it has until somebody ends it. One that is
//! recovering, that no name server knows, or whose disk is full lives and is not ready.

use super::Observer;
use crate::{
    beats::SILENCE_MS_MAX,
    health::{self, Condition},
};
use serde_json::{Value, json};
use telemetry::http::Answer;

/// How far a start, or an end, has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Stores are being opened.
    Recovering,
    /// All are open; the broker begins to listen, and registers.
    Starting,
    /// It is what it is configured to be.
    Serving,
    /// It was asked to stop.
    Stopping,
}

/// What `/ready` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Readiness {
    pub(super) ready: bool,
    /// One word.
    pub(super) status: &'static str,
    /// A sentence.
    pub(super) detail: String,
}

/// Every word that [`Readiness::status`] may be.
pub(super) fn statuses() -> impl Iterator<Item = &'static str> {
    let phases = ["recovering", "starting", "stopping", "serving", "unregistered"];
    phases.into_iter().chain(
        Condition::ALL.into_iter().filter(|it| *it != Condition::Healthy).map(Condition::name),
    )
}

/// From what is known: the phase, the worst log, name servers of which so many do not serve us, each with a reason.
pub(super) fn judge(
    phase: Phase,
    (condition, logs): (Condition, String),
    (name_servers, failing): (usize, &[String]),
) -> Readiness {
    let of = |ready, status, detail: &str| Readiness { ready, status, detail: detail.to_owned() };
    match phase {
        Phase::Recovering => return of(false, "recovering", "the logs are being opened"),
        Phase::Starting => return of(false, "starting", "the logs are open, the broker registers"),
        Phase::Stopping => return of(false, "stopping", "the broker was asked to stop"),
        Phase::Serving => {}
    }
    let takes_messages = condition < Condition::IndexBehind;
    if !takes_messages {
        return Readiness { ready: false, status: condition.name(), detail: logs };
    }
    if name_servers > 0 && failing.len() >= name_servers {
        return of(false, "unregistered", &failing.join(", "));
    }
    let (condition, detail) = health::with_name_servers((condition, logs), failing);
    let status = if condition == Condition::Healthy { "serving" } else { condition.name() };
    Readiness { ready: true, status, detail }
}

impl Observer {
    /// What `/ready` says now.
    pub(super) fn readiness(&self) -> Readiness {
        let logs = health::summary(self.sources.totals.iter().map(|totals| &totals.log));
        let worker = self.worker.borrow();
        let registrar = worker.as_ref().and_then(|worker| {
            worker.control.as_ref().and_then(|plane| plane.registrar.borrow().clone())
        });
        let servers = registrar.map_or((0, Vec::new()), |it| {
            let failing = it.failing();
            (it.registered_count() + failing.len(), failing)
        });
        judge(self.phase.get(), logs, (servers.0, &servers.1))
    }

    /// Bytes of the logs that were read, and that are left at most.
    pub(super) fn recovery(&self) -> (u64, u64) {
        let progress = self.sources.progress.iter();
        progress.fold((0, 0), |(read, left), shard| {
            (read + shard.scanned_bytes(), left + shard.left_bytes_max())
        })
    }
}

/// `/ready`.
pub(super) fn ready(observer: &Observer) -> Answer {
    let Readiness { ready, status, detail } = observer.readiness();
    let mut document = json!({ "ready": ready, "status": status, "detail": detail });
    if observer.phase.get() == Phase::Recovering {
        document["recovery"] = recovery(observer);
    }
    Answer::json(if ready { 200 } else { 503 }, format!("{document}\n"))
}

fn recovery(observer: &Observer) -> Value {
    let (read, left) = observer.recovery();
    let progress = &observer.sources.progress;
    let open = progress.iter().filter(|shard| shard.is_open()).count();
    let percent = match read + left {
        0 => 0,
        all => read.saturating_mul(100) / all,
    };
    json!({
        "percent": percent,
        "readBytes": read,
        "leftBytesMax": left,
        "shardsOpen": open,
        "shards": progress.len(),
    })
}

/// `/health`. While stores are being opened a loop may well be busy for a while.
pub(super) fn health(observer: &Observer) -> Answer {
    let silent: Vec<i64> = observer.sources.beats.iter().map(|beat| beat.silent_ms()).collect();
    let (condition, logs) =
        health::summary(observer.sources.totals.iter().map(|totals| &totals.log));
    let goes_round = observer.phase.get() == Phase::Recovering
        || silent.iter().all(|silent| *silent <= SILENCE_MS_MAX);
    let live = goes_round && condition != Condition::LogPoisoned;
    let document = json!({ "live": live, "logs": logs, "workersSilentMs": silent });
    Answer::json(if live { 200 } else { 503 }, format!("{document}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(
        phase: Phase,
        condition: Condition,
        servers: usize,
        failing: &[&str],
    ) -> (bool, &'static str) {
        let failing: Vec<String> = failing.iter().map(|it| (*it).to_owned()).collect();
        let logs = (condition, condition.name().to_owned());
        let Readiness { ready, status, .. } = judge(phase, logs, (servers, &failing));
        assert!(statuses().any(|known| known == status), "{status}");
        (ready, status)
    }

    #[test]
    fn who_is_ready_takes_messages_and_can_be_found() {
        use Condition::{ClockParted, DiskFull, DiskLow, Healthy, LogPoisoned};
        use Phase::{Recovering, Serving, Starting, Stopping};
        assert_eq!(status(Recovering, Healthy, 0, &[]), (false, "recovering"));
        assert_eq!(status(Starting, Healthy, 1, &[]), (false, "starting"));
        assert_eq!(status(Stopping, Healthy, 1, &[]), (false, "stopping"));
        assert_eq!(status(Serving, Healthy, 1, &[]), (true, "serving"));
        assert_eq!(status(Serving, Healthy, 0, &[]), (true, "serving"), "nobody is to know it");
        assert_eq!(status(Serving, Healthy, 2, &["a"]), (true, "name-server-away"));
        assert_eq!(status(Serving, Healthy, 2, &["a", "b"]), (false, "unregistered"));
        assert_eq!(status(Serving, DiskLow, 1, &[]), (true, "disk-low"));
        assert_eq!(status(Serving, ClockParted, 1, &[]), (true, "clock-parted"));
        assert_eq!(status(Serving, DiskFull, 1, &["a"]), (false, "disk-full"));
        assert_eq!(status(Serving, LogPoisoned, 1, &[]), (false, "log-poisoned"));
    }
}
