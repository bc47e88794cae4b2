//! `/metrics`: asks the workers, and writes the page family by family, with pauses in which the control worker does what
//! it is there for.
//!
//! Numbers of one scrape are of about the same moment, not of one: counters are those of the last second, lags those of when
//! a shard had its turn.

use super::{
    Observer, Phase,
    families::{self as of, family_of},
    lags::{self, Lag, Lags, Report},
    traffic,
};
use crate::{
    delay_figures,
    disk_use::DiskUse,
    health::Condition,
    latencies::Latencies,
    refusals::Counts,
    stats::{Metric, ROWS, Sum, Totals, earliest_store_ms},
    traffic::Traffic,
    worker::Worker,
};
use futures_lite::FutureExt;
use std::{rc::Rc, time::Duration};
use telemetry::{CONTENT_TYPE, Family, Histogram, Page, certificates, http::Answer, process};

/// How long the workers may take to say what they know.
const WORKERS_PATIENCE: Duration = Duration::from_secs(8);
/// Lags written between two looks at how long that has taken.
const LAGS_AT_ONCE: usize = 64;

/// Makes a scrape, when the one before is made.
pub(super) async fn scrape(observer: &Observer) -> Answer {
    let _turn = match observer.scrapes.acquire().await {
        Ok(turn) => turn,
        Err(limit) => {
            return Answer::text(503, format!("{limit} scrapes wait already\n"));
        }
    };
    let began = observer.executor.uptime();
    let worker = observer.worker.borrow().clone();
    let reports = match &worker {
        Some(worker) => reports(observer, worker).await,
        None => None,
    };
    let room_bytes = Sum::of(&observer.sources.totals).room_bytes;
    let logs = observer.sources.log_root.clone();
    let (process, disk) = observer
        .executor
        .blocking(move || (process::Figures::read(), DiskUse::of(&logs, room_bytes)))
        .await;
    let limit = observer.sources.config.metrics_otel_cardinality_limit as usize;
    let mut page = Page::new(limit);
    write_broker(&mut page, observer);
    write_disk(&mut page, observer, disk);
    write_memory(&mut page, observer, worker.as_deref(), reports.as_deref().unwrap_or_default());
    pause(observer).await;
    write_shards(&mut page, &observer.sources.totals);
    pause(observer).await;
    write_latencies(&mut page, observer);
    pause(observer).await;
    if let Some(worker) = &worker {
        write_tables(&mut page, worker);
        write_access(&mut page, worker);
    }
    write_workers(&mut page, reports.as_deref().unwrap_or_default());
    write_lags(&mut page, observer, lags::merged(reports.as_deref().unwrap_or_default())).await;
    if let Some(plane) = worker.as_ref().and_then(|worker| worker.control.as_ref()) {
        traffic::write(&mut page, observer, &plane.traffic).await;
    }
    let expiries = observer.sources.tls.expiries();
    certificates::write(&mut page, expiries.iter().map(|it| (it.setting, it.ms)));
    if let Some(name_server) = &*observer.name_server.borrow() {
        namesrv::metrics::write(&mut page, &name_server.borrow());
    }
    process.write(&mut page);
    page.single(&of::COMPLETE, reports.is_some());
    page.single(&of::SCRAPE, (observer.executor.uptime() - began) as f64 / 1e3);
    let left_out = page.left_out().to_vec();
    page.family(&of::LEFT_OUT);
    for (metric, count) in &left_out {
        page.value(&[metric], *count);
    }
    tell_left_out(observer, &left_out);
    Answer { status: 200, content_type: CONTENT_TYPE, body: page.finish() }
}

/// Once per metric: the numbers themselves say how many.
fn tell_left_out(observer: &Observer, left_out: &[(&'static str, u64)]) {
    for (metric, count) in left_out {
        if observer.told_left_out.borrow_mut().insert(metric) {
            tracing::warn!(
                metric,
                count,
                "a scrape leaves out label sets: there are more than metricsOtelCardinalityLimit, or more than are looked up on the \
                 disk; ringmq_metrics_left_out says how many"
            );
        }
    }
}

pub(super) async fn pause(observer: &Observer) {
    if observer.executor.budget_spent() {
        observer.executor.yield_now().await;
    }
}

/// What all workers say, with traffic collected from them before; `None` where one of them takes nothing, or does not answer.
async fn reports(observer: &Observer, worker: &Rc<Worker>) -> Option<Vec<Report>> {
    if worker.first_behind().is_some() || observer.phase.get() == Phase::Stopping {
        return None;
    }
    let asked = async {
        if let Some(plane) = &worker.control {
            plane.traffic.refresh(observer.executor.uptime()).await;
        }
        Some(worker.gather_from_workers(lags::report).await)
    };
    let late = async {
        observer.executor.sleep(WORKERS_PATIENCE).await;
        None
    };
    asked.or(late).await
}

fn write_broker(page: &mut Page, observer: &Observer) {
    let config = &observer.sources.config;
    page.family(&of::BUILD);
    page.value(&[env!("CARGO_PKG_VERSION")], 1_u64);
    page.family(&of::BROKER);
    let (cluster, broker) = (&config.broker_cluster_name, &config.broker_name);
    page.value(&[cluster, broker, &config.client_address()], 1_u64);
    let readiness = observer.readiness();
    page.single(&of::READY, readiness.ready);
    page.family(&of::STATUS);
    for status in super::readiness::statuses() {
        page.value(&[status], status == readiness.status);
    }
    let (read, left) = observer.recovery();
    page.single(&of::RECOVERY_READ, read);
    page.single(&of::RECOVERY_LEFT, left);
    page.single(&of::CONNECTIONS_MAX, u64::from(config.connections_max));
    let worker = observer.worker.borrow();
    let plane = worker.as_ref().and_then(|worker| worker.control.as_ref());
    let registrar = plane.and_then(|plane| plane.registrar.borrow().clone());
    if let Some(registrar) = registrar {
        page.single(&of::REGISTERED, registrar.registered_count());
        page.single(&of::UNREGISTERED, registrar.failing().len());
    }
}

fn write_disk(page: &mut Page, observer: &Observer, disk: DiskUse) {
    page.single(&of::DISK_TOTAL, disk.total_bytes);
    page.single(&of::DISK_FREE, disk.free_bytes);
    page.single(&of::DISK_USED, disk.used_ratio);
    let config = &observer.sources.config;
    page.family(&of::DISK_LIMIT);
    for (limit, percent) in [
        ("expired_go", config.disk_max_used_space_ratio),
        ("oldest_go", config.disk_space_clean_forcibly_ratio),
        ("sends_refused", config.disk_space_warning_level_ratio),
    ] {
        page.value(&[limit], f64::from(percent) / 100.0);
    }
    page.family(&of::OLDEST);
    if let Some(ms) = earliest_store_ms(&observer.sources.totals) {
        page.value(&[], ms as f64 / 1e3);
    }
}

/// The parts that are counted, summed over the workers.
fn write_memory(page: &mut Page, observer: &Observer, worker: Option<&Worker>, reports: &[Report]) {
    let (plan, config) = (&observer.sources.memory, &observer.sources.config);
    page.single(&of::MEMORY_BUDGET, plan.budget_bytes);
    let sum = Sum::of(&observer.sources.totals);
    let shards = observer.sources.totals.len() as u64;
    let group_offsets_max = (config.shard_group_offsets_mib << 20) * shards;
    let mut parts: Vec<(&str, u64, u64)> = vec![
        ("tail_cache", sum.tail_bytes, plan.tail_cache_bytes),
        ("group_offsets", sum.group_offset_bytes, group_offsets_max),
    ];
    for (index, (part, ..)) in reports.first().iter().flat_map(|it| it.memory.iter().enumerate()) {
        let of_workers = reports.iter().filter_map(|report| report.memory.get(index));
        let (used, most) = of_workers.fold((0, 0), |(used, most), (_, more, limit)| {
            (used + *more as u64, most + *limit as u64)
        });
        parts.push((part, used, most));
    }
    if let Some(plane) = worker.and_then(|worker| worker.control.as_ref()) {
        let control = plane.control.borrow();
        for (part, (used, most)) in [
            ("members", control.members().memory()),
            ("tables", control.table_memory().level()),
            ("traffic", plane.traffic.look(Traffic::memory_bytes)),
        ] {
            parts.push((part, used as u64, most as u64));
        }
    }
    page.family(&of::MEMORY_USED);
    parts.iter().for_each(|(part, used, _)| page.value(&[part], *used));
    page.family(&of::MEMORY_LIMIT);
    parts.iter().for_each(|(part, _, most)| page.value(&[part], *most));
}

fn write_shards(page: &mut Page, totals: &[Totals]) {
    let (all, each): (_, Vec<Sum>) =
        (Sum::of(totals), totals.iter().map(|it| Sum::of(std::slice::from_ref(it))).collect());
    for row in ROWS {
        page.family(&family_of(row));
        if let Metric::BrokerGauge(_) = row.metric {
            page.value(&[], (row.value)(&all));
            continue;
        }
        for (shard, sum) in each.iter().enumerate() {
            page.value(&[&shard.to_string()], (row.value)(sum));
        }
    }
    page.single(&of::SHARDS, totals.len());
    page.family(&of::CONDITION);
    for (shard, totals) in totals.iter().enumerate() {
        let condition = totals.log.condition();
        for known in Condition::ALL.into_iter().filter(|it| *it != Condition::NameServerAway) {
            page.value(&[&shard.to_string(), known.name()], known == condition);
        }
    }
    page.family(&of::DELAYED);
    for (level, settled, stored) in
        delay_figures::of_levels(totals.iter().map(|totals| &totals.delays))
    {
        page.value(&[&level.to_string()], stored - settled);
    }
}

fn write_latencies(page: &mut Page, observer: &Observer) {
    type Of = fn(&Latencies) -> &Histogram;
    let all: [(Family, Of); 5] = [
        (of::SENDS, |it| &it.sends),
        (of::COMMITS, |it| &it.commits),
        (of::BACKGROUND_SYNCS, |it| &it.background_syncs),
        (of::DELIVERIES, |it| &it.deliveries),
        (of::COLD_PULLS, |it| &it.cold_pulls),
    ];
    for (family, histogram) in all {
        page.family(&family);
        for (shard, totals) in observer.sources.totals.iter().enumerate() {
            page.histogram(&[&shard.to_string()], histogram(&totals.latencies));
        }
    }
    page.family(&of::LOOP_LAG);
    for (worker, beat) in observer.sources.beats.iter().enumerate() {
        page.histogram(&[&worker.to_string()], &beat.lag);
    }
    page.family(&of::SILENCE);
    for (worker, beat) in observer.sources.beats.iter().enumerate() {
        page.value(&[&worker.to_string()], beat.silent_ms() as f64 / 1e3);
    }
}

fn write_tables(page: &mut Page, worker: &Worker) {
    let Some(plane) = &worker.control else { return };
    let control = plane.control.borrow();
    page.single(&of::TOPICS, control.topics().table().len());
    page.single(&of::GROUPS, control.groups().table().len());
    let (consumers, producers, clients) = control.members().counts();
    page.family(&of::GROUPS_ONLINE);
    page.value(&["consumers"], consumers);
    page.value(&["producers"], producers);
    page.single(&of::CLIENTS, clients);
}

fn write_access(page: &mut Page, worker: &Worker) {
    let figures = worker.access.figures.borrow();
    page.family(&of::ACL_REFUSED);
    figures.refused().for_each(|(reason, count)| page.value(&[reason], count));
    let (reloads, failed) = figures.reloads();
    page.single(&of::ACL_RELOADS, reloads);
    page.single(&of::ACL_FAILED_RELOADS, failed);
}

fn write_workers(page: &mut Page, reports: &[Report]) {
    page.family(&of::MESH);
    let mut refused = Counts::new();
    for report in reports {
        page.value(&[&report.worker.to_string()], report.mesh_waiting);
        for (key, count) in &report.refusals {
            *refused.entry(*key).or_default() += count;
        }
    }
    page.family(&of::REFUSED);
    for ((code, reason), count) in refused {
        page.value(&[&code.to_string(), reason], count);
    }
}

async fn write_lags(page: &mut Page, observer: &Observer, lags: Lags) {
    page.family(&of::LAG_MESSAGES);
    for (index, ((group, topic), lag)) in lags.iter().enumerate() {
        page.value(&[group, topic], lag.messages);
        if index % LAGS_AT_ONCE == 0 {
            pause(observer).await;
        }
    }
    let now = observer.executor.now();
    let mut unknown = 0;
    page.family(&of::LAG_SECONDS);
    for (index, ((group, topic), lag)) in lags.iter().enumerate() {
        match seconds(lag, now) {
            Some(seconds) => page.value(&[group, topic], seconds),
            None => unknown += 1,
        }
        if index % LAGS_AT_ONCE == 0 {
            pause(observer).await;
        }
    }
    page.leave_out(unknown);
}

/// How old the oldest message is that was not consumed; a clock that was set back makes none younger than now.
fn seconds(lag: &Lag, now: i64) -> Option<f64> {
    match lag {
        Lag { messages: 0, .. } => Some(0.0),
        // What lies on the disk is the oldest.
        Lag { is_unknown: true, .. } => None,
        Lag { oldest_ms, .. } => oldest_ms.map(|ms| (now - ms).max(0) as f64 / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_as_old_as_its_oldest_message() {
        let lag = |messages, oldest_ms| Lag { messages, oldest_ms, is_unknown: false };
        assert_eq!(seconds(&lag(0, None), 9_000), Some(0.0));
        assert_eq!(seconds(&lag(3, Some(7_500)), 9_000), Some(1.5));
        assert_eq!(seconds(&lag(3, Some(9_500)), 9_000), Some(0.0));
        assert_eq!(seconds(&lag(3, None), 9_000), None);
        let part = Lag { is_unknown: true, ..lag(3, Some(7_500)) };
        assert_eq!(seconds(&part, 9_000), None, "somewhere there is an older one");
    }
}
