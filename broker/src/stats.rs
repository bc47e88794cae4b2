//! Counters. A shard counts in plain cells; once a second they go into atomics that the control worker reads for
//! GET_BROKER_RUNTIME_INFO and the line in the log.
//!
//! A counter is one row of `counters!` below: its cell, its published total, its place in the sum over all shards and
//! its keys for tools come from there. Counting on the message path is an addition to a plain cell, nothing else.

use crate::{
    delay_figures::DelayFigures, health::LogState, latencies::Latencies,
    shard::parked::ParkedPulls, wait_times::WaitTimes,
};
use runtime::{Disk, Uptime};
use std::{
    cell::Cell,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};
use store::Store;

/// What a row of the table says of its counter.
pub struct Row {
    /// Name and kind for an exporter of metrics.
    pub metric: Metric,
    /// What it means.
    pub help: &'static str,
    /// Keys of GET_BROKER_RUNTIME_INFO for the sum over all shards.
    pub info_keys: &'static [&'static str],
    /// Keys for each shard, behind `ringmq.shardN.`.
    pub shard_keys: &'static [&'static str],
    /// The value.
    pub value: fn(&Sum) -> u64,
}

/// How an exporter of metrics names a counter.
pub enum Metric {
    /// Only grows while the process runs.
    Counter(&'static str),
    /// Goes up and down.
    Gauge(&'static str),
    /// Goes up and down, and is no matter of a single shard.
    BrokerGauge(&'static str),
}

/// Declares the counters. A row without a right side is counted on the message path, see [`Tally`]; the others are
/// looked up once a second where they are known already.
macro_rules! counters {
    (
        from($($source:ident: $type:ty),*);
        $(
            #[doc = $doc:literal]
            $name:ident: $kind:ident($metric:literal)
                $(info[$($info_key:literal),+])? $(shard[$($shard_key:literal),+])? $(= $value:expr)?;
        )*
    ) => {
        /// The counters of one shard, only touched by its worker.
        #[derive(Default)]
        struct Cells {
            $($name: Cell<u64>,)*
        }

        impl Cells {
            /// Takes over what is counted elsewhere.
            fn look_up(&self, $($source: $type),*) {
                $($(self.$name.set($value);)?)*
            }
        }

        /// The counters of one shard as last published.
        #[derive(Default)]
        struct Published {
            $($name: AtomicU64,)*
        }

        impl Published {
            fn publish(&self, cells: &Cells) {
                $(self.$name.store(cells.$name.get(), Relaxed);)*
            }
        }

        /// The sum over shards.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Sum {
            $(#[doc = $doc] pub $name: u64,)*
        }

        impl Sum {
            fn add(&mut self, shard: &Published) {
                $(self.$name += shard.$name.load(Relaxed);)*
            }
        }

        /// All counters.
        pub const ROWS: &[Row] = &[$(Row {
            metric: Metric::$kind($metric),
            help: $doc,
            info_keys: &[$($($info_key),+)?],
            shard_keys: &[$($($shard_key),+)?],
            value: |sum| sum.$name,
        },)*];
    };
}

counters! {
    from(store: &Store<impl Disk>, parked: &ParkedPulls, connections: usize);

    /// Messages stored.
    put_messages: Counter("ringmq_put_messages_total") info["putMessageTimesTotal"]
        = store.state().counters().messages;
    /// Bytes of the records of messages stored.
    put_bytes: Counter("ringmq_put_bytes_total") info["putMessageSizeTotal"]
        = store.state().counters().record_bytes;
    /// Messages pulled.
    got_messages: Counter("ringmq_got_messages_total");
    /// Bytes of the records of messages pulled.
    got_bytes: Counter("ringmq_got_bytes_total");
    /// Pulls that found messages.
    get_hits: Counter("ringmq_pull_hits_total");
    /// Pulls that found none.
    get_misses: Counter("ringmq_pull_misses_total");
    /// Sends refused by the log.
    refused: Counter("ringmq_put_refused_total") info["putMessageFailedTimes"];
    /// Messages that waited and were delivered when they were due.
    delivered: Counter("ringmq_deferred_delivered_total") info["ringmq.deferredDelivered"];
    /// Messages that waited and were recalled by their producers.
    recalled: Counter("ringmq_deferred_recalled_total") info["ringmq.deferredRecalled"];
    /// Messages that waited and could not be delivered: damaged, or their topic was deleted.
    undeliverable: Counter("ringmq_deferred_undeliverable_total") info["ringmq.deferredUndeliverable"];
    /// Operations that took longer than `slowOperationMs`.
    slow: Counter("ringmq_slow_operations_total");
    /// Messages that wait until they are due.
    deferred: Gauge("ringmq_deferred_messages") info["ringmq.deferred"]
        = store.state().derived.deferred.len() as u64;
    /// Messages that wait because they name the time of their delivery.
    timers: Gauge("ringmq_timer_messages") info["timerCongestNum"]
        = store.state().derived.deferred.timers();
    /// Messages that were popped and not acknowledged.
    popped: Gauge("ringmq_popped_messages") info["ringmq.popped"]
        = store.state().derived.popped.in_flight() as u64;
    /// Half messages that were committed.
    halves_committed: Counter("ringmq_half_messages_committed_total") info["ringmq.halfMessagesCommitted"];
    /// Half messages that were rolled back.
    halves_rolled_back: Counter("ringmq_half_messages_rolled_back_total") info["ringmq.halfMessagesRolledBack"];
    /// Half messages that nobody decided, often enough or long enough.
    halves_given_up: Counter("ringmq_half_messages_given_up_total") info["ringmq.halfMessagesGivenUp"];
    /// Half messages that could not become what their producer decided: damaged, or their topic was deleted.
    halves_lost: Counter("ringmq_half_messages_lost_total") info["ringmq.halfMessagesLost"];
    /// Questions to producers what becomes of a half message.
    half_checks: Counter("ringmq_half_message_checks_total") info["ringmq.halfMessageChecks"];
    /// Half messages that nobody has decided.
    half_messages: Gauge("ringmq_half_messages") info["ringmq.halfMessages"]
        = store.state().derived.half_messages.len() as u64;
    /// Offsets of groups that were refused: of what does not exist, or for lack of memory.
    refused_offsets: Counter("ringmq_group_offsets_refused_total") info["ringmq.groupOffsetsRefused"]
        = store.state().counters().refused_offsets;
    /// Offsets of groups that are held, one for each group and queue.
    group_offsets: Gauge("ringmq_group_offsets") info["ringmq.groupOffsets"]
        = store.state().derived.group_offsets.count() as u64;
    /// Bytes that offsets of groups take up at most.
    group_offset_bytes: Gauge("ringmq_group_offset_bytes") info["ringmq.groupOffsetBytes"]
        = store.state().derived.group_offsets.bytes() as u64;
    /// Bytes appended and not committed.
    inflight_bytes: Gauge("ringmq_log_inflight_bytes") info["ringmq.inflightBytes"]
        = store.state().log.inflight_bytes();
    /// Pulls that wait.
    parked_pulls: Gauge("ringmq_parked_pulls") info["ringmq.parkedPulls"] = parked.count() as u64;
    /// Bytes of the filters of pulls that wait.
    parked_filter_bytes: Gauge("ringmq_parked_filter_bytes") info["ringmq.parkedFilterBytes"]
        = parked.filter_bytes() as u64;
    /// Open connections.
    connections: BrokerGauge("ringmq_connections") info["ringmq.connections"] = connections as u64;
    /// Position of the first byte of the log that is still there.
    log_begin: Gauge("ringmq_log_begin_bytes") info["commitLogMinOffset"] shard["logBegin"]
        = store.extent().begin;
    /// Position behind the last byte that is committed.
    log_committed: Gauge("ringmq_log_committed_bytes") shard["logEnd"] = store.extent().end;
    /// Position behind the last byte that is appended.
    log_appended: Gauge("ringmq_log_appended_bytes") info["commitLogMaxOffset"]
        = store.state().log.appended();
    /// Latest bytes of the log that are in memory.
    tail_bytes: Gauge("ringmq_tail_cache_bytes")
        = store.state().log.appended().saturating_sub(store.state().log.ring().start());
    /// Segments, those ahead of the log included.
    segments: Gauge("ringmq_log_segments") shard["segments"] = store.extent().segments;
    /// Bytes of the disk that the log has taken and not filled.
    room_bytes: Gauge("ringmq_log_room_bytes") shard["roomBytes"] = store.room_bytes();
    /// Index files.
    index_files: Gauge("ringmq_index_files") shard["indexFiles"] = store.extent().index_files;
    /// Index files that were made again from their segments, at start or since.
    rebuilt_indexes: Counter("ringmq_rebuilt_indexes_total") shard["rebuiltIndexes"]
        = store.tally().rebuilt_indexes.get();
    /// Bytes read from the log on disk for old messages.
    cold_bytes: Counter("ringmq_cold_read_bytes_total") shard["coldBytesRead"]
        = store.tally().cold_bytes.get();
    /// Bytes of the log that were wanted and that the disk could not read.
    unreadable_bytes: Counter("ringmq_unreadable_bytes_total") shard["unreadableBytes"]
        = store.tally().unreadable_bytes.get();
    /// Records that were wanted and are damaged on disk.
    damaged_records: Counter("ringmq_damaged_records_total") shard["damagedRecords"]
        = store.tally().damaged_records.get();
    /// Segments retired.
    retired_segments: Counter("ringmq_retired_segments_total") shard["retiredSegments"]
        = store.tally().retired_segments.get();
    /// Segments retired before their time, because the disk had no room.
    retired_early: Counter("ringmq_retired_early_segments_total") shard["retiredEarly"]
        = store.tally().retired_early.get();
    /// Messages retired.
    retired_messages: Counter("ringmq_retired_messages_total") shard["retiredMessages"]
        = store.tally().retired_messages.get();
    /// Messages retired that no group had consumed.
    retired_unconsumed: Counter("ringmq_retired_unconsumed_messages_total") shard["retiredUnconsumed"]
        = store.tally().unconsumed_messages.get();
}

/// The counters of one shard.
#[derive(Clone, Default)]
pub struct Tally(Rc<Cells>);

fn add(cell: &Cell<u64>, more: u64) {
    cell.set(cell.get() + more);
}

impl Tally {
    /// A pull was answered with messages.
    pub fn pulled(&self, messages: u64, bytes: u64) {
        add(&self.0.got_messages, messages);
        add(&self.0.got_bytes, bytes);
        add(&self.0.get_hits, 1);
    }

    /// A pull found nothing.
    pub fn missed(&self) {
        add(&self.0.get_misses, 1);
    }

    /// A message that waited was delivered.
    pub fn delivered(&self) {
        add(&self.0.delivered, 1);
    }

    /// A message that waited was recalled.
    pub fn recalled(&self) {
        add(&self.0.recalled, 1);
    }

    /// A message that waited cannot be delivered.
    pub fn undeliverable(&self) {
        add(&self.0.undeliverable, 1);
    }

    /// A half message was committed.
    pub fn committed_half(&self) {
        add(&self.0.halves_committed, 1);
    }

    /// A half message was rolled back.
    pub fn rolled_back(&self) {
        add(&self.0.halves_rolled_back, 1);
    }

    /// A half message was given up.
    pub fn gave_up_half(&self) {
        add(&self.0.halves_given_up, 1);
    }

    /// A half message cannot become what was decided.
    pub fn half_lost(&self) {
        add(&self.0.halves_lost, 1);
    }

    /// A producer was asked for a half message.
    pub fn half_checked(&self) {
        add(&self.0.half_checks, 1);
    }

    /// Operations took longer than allowed.
    pub fn slow(&self, count: u64) {
        add(&self.0.slow, count);
    }

    /// Sends were refused.
    pub fn refused(&self, count: u64) {
        add(&self.0.refused, count);
    }
}

/// What is known of one shard, written by its worker, read by the control worker.
#[derive(Default)]
pub struct Totals {
    /// Since start.
    counters: Published,
    /// Store timestamp of the oldest message, ms; the largest number when there is none.
    earliest_store_ms: AtomicU64,
    /// How its log is doing.
    pub log: LogState,
    /// How long sends and pulls wait.
    pub waits: WaitTimes,
    /// What waits in each delay level.
    pub delays: DelayFigures,
    /// How long things take.
    pub latencies: Latencies,
}

impl Totals {
    /// The room of a log has changed: it is not taken for used space until the next second.
    pub fn publish_room<D: Disk>(&self, store: &Store<D>) {
        self.counters.room_bytes.store(store.room_bytes(), Relaxed);
    }

    /// Takes over what a shard has counted, and asks how its log is. `connections` are those of the worker, for the
    /// first shard on it.
    pub fn publish<D: Disk>(
        &self,
        tally: &Tally,
        store: &Store<D>,
        parked: &ParkedPulls,
        connections: usize,
    ) {
        tally.0.look_up(store, parked, connections);
        self.counters.publish(&tally.0);
        let earliest = store.state().earliest_store_ms().and_then(|time| u64::try_from(time).ok());
        self.earliest_store_ms.store(earliest.unwrap_or(u64::MAX), Relaxed);
        self.log.publish(store);
    }
}

impl Sum {
    /// Adds up the shards.
    pub fn of(totals: &[Totals]) -> Sum {
        let mut sum = Sum::default();
        totals.iter().for_each(|totals| sum.add(&totals.counters));
        sum
    }
}

/// Store timestamp of the oldest message of all shards, ms.
pub fn earliest_store_ms(totals: &[Totals]) -> Option<i64> {
    let times = totals.iter().map(|totals| totals.earliest_store_ms.load(Relaxed));
    times.filter(|time| *time > 0).min().and_then(|time| i64::try_from(time).ok())
}

/// Rates over the last 10 s, 1 min and 10 min, from one sample a second.
#[derive(Default)]
pub struct Rates {
    samples: std::collections::VecDeque<(Uptime, Sum)>,
}

/// Samples kept: ten minutes of one a second, and one to compare with.
const SAMPLES_MAX: usize = 601;

impl Rates {
    /// Takes a sample.
    pub fn sample(&mut self, now: Uptime, sum: Sum) {
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((now, sum));
    }

    /// `field` per second over 10 s, 1 min, 10 min, as Java prints it: three numbers, blanks between.
    pub fn text(&self, field: fn(&Sum) -> u64) -> String {
        let rates: Vec<String> =
            [10, 60, 600].map(|seconds| format!("{:.2}", self.rate(seconds, field))).into();
        rates.join(" ")
    }

    fn rate(&self, seconds: usize, field: fn(&Sum) -> u64) -> f64 {
        let Some((end, last)) = self.samples.back() else { return 0.0 };
        let index = self.samples.len().saturating_sub(seconds + 1);
        let Some((start, first)) = self.samples.get(index) else { return 0.0 };
        let elapsed = (*end - *start) as f64 / 1000.0;
        let more = field(last).saturating_sub(field(first)) as f64;
        if elapsed > 0.0 { more / elapsed } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_look_back_as_far_as_they_can() {
        let mut rates = Rates::default();
        assert_eq!(rates.text(|sum| sum.put_messages), "0.00 0.00 0.00");
        for second in 0..30 {
            let sum = Sum { put_messages: second * 100, ..Sum::default() };
            rates.sample(Uptime::from_ms(second as i64 * 1000), sum);
        }
        assert_eq!(rates.text(|sum| sum.put_messages), "100.00 100.00 100.00");
    }

    #[test]
    fn what_a_shard_counts_is_summed_and_has_a_name() {
        let totals = [Totals::default(), Totals::default()];
        for shard in &totals {
            let tally = Tally::default();
            tally.pulled(3, 300);
            tally.missed();
            shard.counters.publish(&tally.0);
        }
        let sum = Sum::of(&totals);
        assert_eq!((sum.got_messages, sum.got_bytes), (6, 600));
        assert_eq!((sum.get_hits, sum.get_misses, sum.put_messages), (2, 2, 0));
        let of = |name: &str| {
            let row = ROWS.iter().find(|row| matches!(row.metric, Metric::Counter(n) if n == name));
            row.map(|row| (row.value)(&sum))
        };
        assert_eq!(of("ringmq_got_bytes_total"), Some(600));
    }

    #[test]
    fn names_are_given_once() {
        let metric = |row: &Row| match row.metric {
            Metric::Counter(name) => {
                assert!(name.ends_with("_total"), "{name}");
                name
            }
            Metric::Gauge(name) | Metric::BrokerGauge(name) => name,
        };
        let keys = ROWS.iter().flat_map(|row| row.info_keys.iter().chain(row.shard_keys));
        let mut names: Vec<&str> = ROWS.iter().map(metric).chain(keys.copied()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
