//! GET_BROKER_RUNTIME_INFO and GET_BROKER_CONFIG: what tools show of a broker. Both spellings of the transfer rate are
//! there, since each generation of mqadmin reads only its own; queues of thread pools do not exist here and are 0.

use crate::{
    boot,
    control::plane::ControlPlane,
    delay_figures,
    error::Refusal,
    health,
    request::Request,
    response::Response,
    stats::{ROWS, Sum, earliest_store_ms},
    wait_times,
    worker::Worker,
};
use proto::{body::KvTable, command::OUR_VERSION};
use remoting::{BodyPiece, SharedBody};
use runtime::Moment;
use std::{collections::BTreeMap, num::NonZero, path::Path, thread};

/// GET_BROKER_CONFIG.
pub fn broker_config(worker: &Worker, _request: &Request<'_>) -> Result<Response, Refusal> {
    let version = worker.control_plane().control.borrow().topics().version();
    let mut json = Vec::new();
    version.write(&mut json);
    let version = String::from_utf8_lossy(&json).into_owned();
    let mut properties = worker.config.to_properties();
    for (key, value) in UNCHANGEABLE {
        properties.push_str(&format!("{key}={value}\n"));
    }
    // Java's default is the number of cores, and `exportMetrics` shows it as such.
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    properties.push_str(&format!("clientCallbackExecutorThreads={cores}\n"));
    Ok(Response::Body(properties.into_bytes(), vec![("version", version)]))
}

/// What tools ask of every broker (`exportConfigs` of 4.9 ends without them) and what is never otherwise here, whatever a
/// configuration file says.
const UNCHANGEABLE: [(&str, &str); 3] =
    [("filterServerNums", "0"), ("slaveReadEnable", "false"), ("useTLS", "false")];

/// How long an answer to GET_BROKER_RUNTIME_INFO is given again, ms: however many ask, making it costs little.
const FIGURES_MS: i64 = 10;

/// GET_BROKER_RUNTIME_INFO.
pub fn runtime_info(worker: &Worker, request: &Request<'_>) -> Result<Response, Refusal> {
    let (plane, now) = (worker.control_plane(), request.moment());
    let mut last = plane.figures.borrow_mut();
    if let Some((made, body)) = &*last
        && now.uptime - *made < FIGURES_MS
    {
        return Ok(Response::Shared(body.clone()));
    }
    let table = figures(worker, plane, now);
    let mut body = Vec::new();
    KvTable { table }.write(&mut body);
    let body = SharedBody::new(vec![BodyPiece::new(body.into(), 0)]);
    *last = Some((now.uptime, body.clone()));
    Ok(Response::Shared(body))
}

/// One of the counters.
type Field = fn(&Sum) -> u64;

fn figures(worker: &Worker, plane: &ControlPlane, now: Moment) -> BTreeMap<String, String> {
    let sum = Sum::of(&worker.totals);
    let rates = plane.rates.borrow();
    let mut table = BTreeMap::new();
    let mut put = |key: &str, value: String| {
        table.insert(key.to_owned(), value);
    };
    put("brokerVersion", OUR_VERSION.to_string());
    put("brokerVersionDesc", format!("RingMQ_{}", env!("CARGO_PKG_VERSION").replace('.', "_")));
    put("brokerActive", "true".to_owned());
    put("bootTimestamp", plane.boot.wall.to_string());
    put("runtime", duration_text(now.uptime - plane.boot.uptime));
    put("putTps", rates.text(|sum| sum.put_messages));
    for key in ["getTransferedTps", "getTransferredTps"] {
        put(key, rates.text(|sum| sum.got_messages));
    }
    put("getFoundTps", rates.text(|sum| sum.get_hits));
    put("getMissTps", rates.text(|sum| sum.get_misses));
    put("getTotalTps", rates.text(|sum| sum.get_hits + sum.get_misses));
    for row in ROWS {
        for key in row.info_keys {
            put(key, (row.value)(&sum).to_string());
        }
    }
    let average = sum.put_bytes as f64 / sum.put_messages.max(1) as f64;
    put("putMessageAverageSize", format!("{average:.2}"));
    let days = plane.days.get();
    let columns: [(&str, Field); 2] =
        [("msgPutTotal", |sum| sum.put_messages), ("msgGetTotal", |sum| sum.got_messages)];
    for (key, field) in columns {
        put(&format!("{key}YesterdayMorning"), field(&days.yesterday_morning).to_string());
        put(&format!("{key}TodayMorning"), field(&days.today_morning).to_string());
        put(&format!("{key}TodayNow"), field(&sum).to_string());
    }
    for key in ZEROS {
        put(key, "0".to_owned());
    }
    let waits = || worker.totals.iter().map(|totals| &totals.waits);
    put("putMessageDistributeTime", wait_times::distribution(waits()));
    let (put_ms, get_ms) = wait_times::longest(waits());
    put("putMessageEntireTimeMax", put_ms.to_string());
    put("getMessageEntireTimeMax", get_ms.to_string());
    let last_minute = plane.last_minute.borrow();
    for (key, per_mille) in [("putLatency99", 990), ("putLatency999", 999)] {
        put(key, format!("{:.2}", last_minute.put_ms(per_mille, waits())));
    }
    // Java without a pool of such buffers.
    put("remainTransientStoreBufferNumbs", i32::MAX.to_string());
    put("remainHowManyDataToFlush", format!("{} B", sum.inflight_bytes));
    // Without a message the age shown is that of now, as in Java.
    let earliest = earliest_store_ms(&worker.totals).unwrap_or(now.wall);
    put("earliestMessageTimeStamp", earliest.to_string());
    put(
        "startAcceptSendRequestTimeStamp",
        worker.config.start_accept_send_request_time_stamp.to_string(),
    );
    let disk = disk_use(&boot::log_root(&worker.config), sum.room_bytes);
    put("commitLogDiskRatio", format!("{:.4}", disk.used_ratio));
    put("consumeQueueDiskRatio", format!("{:.4}", disk.used_ratio));
    put(
        "commitLogDirCapacity",
        format!("Total : {}, Free : {}.", gib(disk.total_bytes), gib(disk.free_bytes)),
    );
    let logs = health::summary(worker.totals.iter().map(|totals| &totals.log));
    put("ringmq.health", health::with_name_servers(logs, &plane.failing_name_servers()).1);
    for (number, totals) in worker.totals.iter().enumerate() {
        let of_shard = Sum::of(std::slice::from_ref(totals));
        for row in ROWS {
            for key in row.shard_keys {
                put(&format!("ringmq.shard{number}.{key}"), (row.value)(&of_shard).to_string());
            }
        }
    }
    for (level, settled, stored) in
        delay_figures::of_levels(worker.totals.iter().map(|totals| &totals.delays))
    {
        put(&format!("scheduleMessageOffset_{level}"), format!("{settled},{stored}"));
    }
    put("ringmq.shards", worker.shard_count.to_string());
    let encoded = [
        plane.all_topics.body.borrow().encoded_entries(),
        plane.all_groups.body.borrow().encoded_entries(),
    ];
    put("ringmq.tableEntriesEncoded", encoded.iter().sum::<u64>().to_string());
    table
}

/// Keys that tools parse as numbers: thread pools, the page cache, a dispatcher that runs behind and a timer wheel do
/// not exist here, so nothing ever waits in them.
const ZEROS: [&str; 21] = [
    "dispatchMaxBuffer",
    "sendThreadPoolQueueSize",
    "sendThreadPoolQueueCapacity",
    "sendThreadPoolQueueHeadWaitTimeMills",
    "pullThreadPoolQueueSize",
    "pullThreadPoolQueueCapacity",
    "pullThreadPoolQueueHeadWaitTimeMills",
    "queryThreadPoolQueueSize",
    "queryThreadPoolQueueCapacity",
    "queryThreadPoolQueueHeadWaitTimeMills",
    "ackThreadPoolQueueSize",
    "ackThreadPoolQueueCapacity",
    "ackThreadPoolQueueHeadWaitTimeMills",
    "EndTransactionQueueSize",
    "EndTransactionThreadPoolQueueCapacity",
    "pageCacheLockTimeMills",
    "dispatchBehindBytes",
    "timerReadBehind",
    "timerOffsetBehind",
    "timerEnqueueTps",
    "timerDequeueTps",
];

struct DiskUse {
    total_bytes: u64,
    free_bytes: u64,
    used_ratio: f64,
}

/// Room that logs have taken and not filled does not count as used.
fn disk_use(dir: &Path, room_bytes: u64) -> DiskUse {
    // One statvfs of a mounted local disk; asked for by people, not per message.
    let Ok(stat) = rustix::fs::statvfs(dir) else {
        return DiskUse { total_bytes: 0, free_bytes: 0, used_ratio: 0.0 };
    };
    let total_bytes = stat.f_blocks * stat.f_frsize;
    let free_bytes = stat.f_bavail * stat.f_frsize;
    let taken = total_bytes.saturating_sub(stat.f_bfree * stat.f_frsize);
    let usable = taken + free_bytes;
    let used = taken.saturating_sub(room_bytes);
    DiskUse { total_bytes, free_bytes, used_ratio: used as f64 / usable.max(1) as f64 }
}

fn gib(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / (1u64 << 30) as f64)
}

/// As Java writes it: `[ 1 days, 2 hours, 3 minutes, 4 seconds ]`.
fn duration_text(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    format!("[ {days} days, {hours} hours, {minutes} minutes, {seconds} seconds ]")
}
