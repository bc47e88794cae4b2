//! Start and end of a broker: what one executor does between opening its stores and having everything durable.

use crate::{
    config::{BrokerConfig, FlushDiskType},
    control::Control,
    desk::{Desk, FactFiles},
    front::{answer::SendStamp, connection},
    letter::{Letter, end_replies},
    panel, pull,
    queues::Queues,
    registration::{self, Identity, Options, Registrar},
    shard::{Parts, Shard},
    stats::Totals,
};
use namesrv::{handle::Namesrv, server};
use runtime::{Executor, Task};
use std::{
    cell::RefCell,
    collections::BTreeSet,
    io::{IsTerminal, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use store::{FlushPolicy, Settings, Store, format::Format};

/// Pause between two looks at something that others are about to finish.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long the boot line waits for the first name server.
const REGISTER_PATIENCE_MS: i64 = 3_000;
/// How long a peer may take no byte before the shutdown goes on without it.
const STUCK_MS: i64 = 1_000;
/// Bytes of a record besides its body: header, longest topic and properties, IPv6 hosts.
const RECORD_OVERHEAD_BYTES: usize = 64 * 1024;
/// Bytes zeroed in front of each log.
const ZERO_AHEAD_BYTES: u64 = 64 * 1024 * 1024;

/// What all executors of a broker start from.
#[derive(Clone)]
pub struct Plan {
    /// Settings.
    pub config: Arc<BrokerConfig>,
    /// Facts of the formatted store.
    pub format: Format,
    /// Tail caches of all shards together, bytes.
    pub tail_cache_bytes: u64,
    /// Run a name server on executor 0.
    pub standalone: bool,
    /// For the panel and the boot line.
    pub facts: panel::Facts,
    /// Counters of all shards.
    pub totals: Arc<[Totals]>,
    /// Executors whose stores are open, and who still owe answers.
    pub ready: Arc<AtomicUsize>,
}

/// Runs one executor until the process is asked to stop.
pub async fn run(executor: Executor<Letter>, plan: Plan) -> Result<(), String> {
    let shard = assemble(&executor, &plan).await?;
    plan.ready.fetch_add(1, Ordering::SeqCst);
    while plan.ready.load(Ordering::SeqCst) < executor.count() {
        executor.sleep(LOOK_AGAIN).await;
        if executor.stop().requested() {
            return Ok(());
        }
    }
    let commits: Vec<Task<()>> =
        shard.hosted.iter().map(|queues| executor.spawn(Rc::clone(queues).commit_loop())).collect();
    if let Some(desk) = &shard.control {
        desk.settle(&shard);
        let files = Rc::clone(&shard);
        executor.spawn(async move {
            if let Some(desk) = &files.control {
                desk.files_loop(Rc::clone(&files)).await;
            }
        });
    }
    let ticking = Rc::clone(&shard);
    executor.spawn(async move { ticking.tick_loop().await });
    listen(&shard)?;
    if shard.control.is_some() {
        announce(&shard, &plan).await?;
    }
    executor.stop_requested().await;
    stop(&shard, &plan, commits).await;
    shard.publish_totals();
    Ok(())
}

async fn assemble(executor: &Executor<Letter>, plan: &Plan) -> Result<Rc<Shard>, String> {
    let config = &plan.config;
    // Before the stores: what reading large files leaves free in the heap is then filled by the queues.
    let control =
        if executor.index() == 0 { Some(open_desk(executor, config).await?) } else { None };
    let mut hosted = Vec::new();
    for shard in 0..plan.format.shards {
        if usize::from(shard) % executor.count() == executor.index() {
            let store = open_store(executor, plan, shard).await?;
            let parked_max = config.shard_parked_pulls_max as usize;
            hosted.push(Rc::new(Queues::new(Rc::new(store), parked_max)));
        }
    }
    let store_host = SocketAddr::new(config.broker_ip1_addr(), config.listen_port);
    Ok(Shard::start(Parts {
        executor: executor.clone(),
        config: Arc::clone(config),
        stamp: SendStamp {
            region: config.region_id.clone(),
            trace_on: config.trace_on,
            store_host,
        },
        shard_count: plan.format.shards,
        hosted,
        control,
        totals: Arc::clone(&plan.totals),
    }))
}

/// Directory of all commit logs.
fn log_root(config: &BrokerConfig) -> PathBuf {
    if config.store_path_commit_log.is_empty() {
        Path::new(&config.store_path_root_dir).join("commitlog")
    } else {
        PathBuf::from(&config.store_path_commit_log)
    }
}

fn store_settings(plan: &Plan, shard: u16) -> Settings {
    let config = &plan.config;
    let record_bytes_max = config.max_message_size as usize + RECORD_OVERHEAD_BYTES;
    let share = plan.tail_cache_bytes / u64::from(plan.format.shards);
    // The largest power of two within the share, but always room for two of the largest records in flight.
    let least = (4 * record_bytes_max).next_power_of_two();
    let share = usize::try_from(share).unwrap_or(usize::MAX / 2).max(1);
    let tail_cache_bytes = (1usize << share.ilog2()).max(least);
    let flush = match config.flush_disk_type {
        FlushDiskType::SyncFlush => FlushPolicy::Sync,
        FlushDiskType::AsyncFlush => FlushPolicy::Async {
            interval_ms: i64::try_from(config.flush_interval_commit_log_ms).unwrap_or(i64::MAX),
        },
    };
    Settings {
        shard,
        dir: log_root(config).join(format!("shard-{shard:03}")),
        log_id: plan.format.log_id(shard),
        segment_bytes: plan.format.segment_bytes,
        tail_cache_bytes,
        inflight_bytes_max: config.shard_inflight_bytes_max.min(tail_cache_bytes as u64 / 2),
        record_bytes_max,
        flush,
        index_entries_max: config.shard_index_entries_max,
        index_keys: config.message_index_enable,
        cold_cache_bytes: (config.shard_cold_cache_mib as usize) << 20,
        zero_ahead_bytes: ZERO_AHEAD_BYTES.min(plan.format.segment_bytes),
    }
}

async fn open_store(
    executor: &Executor<Letter>,
    plan: &Plan,
    shard: u16,
) -> Result<Store<runtime::DirectDisk>, String> {
    let settings = store_settings(plan, shard);
    let (store, report) =
        Store::open(executor.disk(), settings).await.map_err(|error| error.to_string())?;
    tracing::info!(
        shard,
        segments = report.segments,
        indexes = report.indexes,
        rebuilt_indexes = report.rebuilt_indexes,
        messages = report.messages,
        scanned_bytes = report.scanned_bytes,
        cut_bytes = report.cut_bytes,
        damaged_bytes = report.damaged_bytes,
        took_ms = report.took_ms,
        "log recovered"
    );
    Ok(store)
}

async fn open_desk(executor: &Executor<Letter>, config: &BrokerConfig) -> Result<Desk, String> {
    let disk = executor.disk();
    let dir = Path::new(&config.store_path_root_dir).join("config");
    let now = executor.now();
    let mut control = Control::new(config, now);
    runtime::Disk::create_dir_all(&disk, &dir)
        .await
        .map_err(|error| format!("create {}: {error}", dir.display()))?;
    let files = FactFiles::load(disk, dir, &mut control).await?;
    Ok(Desk::new(control, files, now))
}

fn listen(shard: &Rc<Shard>) -> Result<(), String> {
    let config = &shard.config;
    for (port, vip) in [(config.listen_port, false), (config.vip_port(), true)] {
        let addr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        let listener = shard
            .executor
            .listen(addr)
            .map_err(|error| format!("cannot listen on {addr}: {error}"))?;
        shard.executor.spawn(connection::accept_loop(Rc::clone(shard), listener, vip));
    }
    Ok(())
}

/// Executor 0: name server inside, registration, boot line.
async fn announce(shard: &Rc<Shard>, plan: &Plan) -> Result<(), String> {
    let config = &plan.config;
    let mut servers: Vec<String> = config.name_servers().map(str::to_owned).collect();
    if plan.standalone {
        start_name_server(shard, config).await?;
        servers.push(format!("127.0.0.1:{}", config.standalone_namesrv_port));
    }
    let registrar = register(shard, plan, &servers);
    if let Some(desk) = &shard.control {
        *desk.registrar.borrow_mut() = Some(registrar.clone());
    }
    let started = shard.executor.now();
    while !servers.is_empty() && registrar.registered_count() == 0 {
        if shard.executor.now() - started > REGISTER_PATIENCE_MS
            || shard.executor.stop().requested()
        {
            break;
        }
        shard.executor.sleep(LOOK_AGAIN).await;
    }
    let facts = plan.facts.clone();
    shard.executor.blocking(move || print_facts(&facts)).await.map_err(|error| error.to_string())
}

fn print_facts(facts: &panel::Facts) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let panel = if out.is_terminal() { facts.framed() } else { facts.plain() };
    writeln!(out, "{panel}\n{}", facts.boot_line())?;
    out.flush()
}

async fn start_name_server(shard: &Rc<Shard>, config: &BrokerConfig) -> Result<(), String> {
    let root = Path::new(&config.store_path_root_dir).join("namesrv");
    let settings = namesrv::config::Config {
        listen_port: config.standalone_namesrv_port,
        kv_config_path: root.join("kvConfig.json"),
        config_store_path: root.join("namesrv.properties"),
        ..namesrv::config::Config::default()
    };
    let addr = settings.listen_address();
    let executor = shard.executor.clone();
    let state: Namesrv =
        namesrv::open(&executor, settings).await.map_err(|error| error.to_string())?;
    let listener =
        executor.listen(addr).map_err(|error| format!("cannot listen on {addr}: {error}"))?;
    let serving = executor.clone();
    executor.spawn(async move {
        let state = Rc::new(RefCell::new(state));
        if let Err(error) = server::serve(&serving, listener, state).await {
            tracing::error!(%error, "the name server inside has ended");
        }
    });
    Ok(())
}

fn register(shard: &Rc<Shard>, plan: &Plan, servers: &[String]) -> Registrar<Letter> {
    let config = &plan.config;
    let broker_addr = config.client_address();
    let ha_ip = if config.broker_ip2.is_empty() { &config.broker_ip1 } else { &config.broker_ip2 };
    let identity = Identity {
        cluster_name: config.broker_cluster_name.clone(),
        broker_name: config.broker_name.clone(),
        broker_id: i64::from(config.broker_id),
        broker_addr,
        ha_server_addr: format!("{ha_ip}:{}", u32::from(config.listen_port) + 1),
    };
    let options = Options {
        period_ms: i64::try_from(config.register_name_server_period_ms).unwrap_or(i64::MAX),
        timeout_ms: i64::try_from(config.register_broker_timeout_ms).unwrap_or(i64::MAX),
        force: config.force_register,
        own_last: plan.standalone,
        compressed: config.compressed_register,
    };
    registration::start(&shard.executor, identity, options, servers, topics_of(shard))
}

/// How the registration sees the control owner.
fn topics_of(shard: &Rc<Shard>) -> registration::Source {
    let desk_of = |shard: &Rc<Shard>| {
        let shard = Rc::clone(shard);
        move |look: &mut dyn FnMut(&mut Control)| {
            if let Some(desk) = &shard.control {
                look(&mut desk.control.borrow_mut());
            }
        }
    };
    let (version_of, announced_of) = (desk_of(shard), desk_of(shard));
    let (table_of, order_of) = (desk_of(shard), desk_of(shard));
    let home = Rc::clone(shard);
    registration::Source {
        version: Box::new(move || {
            let mut version = Default::default();
            version_of(&mut |control| version = control.topics().version());
            version
        }),
        announced: Box::new(move || {
            let mut version = Default::default();
            announced_of(&mut |control| version = control.topics().announced());
            version
        }),
        topics: Box::new(move |since| {
            let mut table = Default::default();
            table_of(&mut |control| {
                let topics = control.topics();
                let missed = since.and_then(|version| topics.since(version));
                table = missed.unwrap_or_else(|| topics.to_table());
            });
            table
        }),
        learned: Box::new(move |learned| {
            let Some(order_topics) = &learned.order_topics else { return };
            let listed: BTreeSet<String> = order_topics.keys().cloned().collect();
            let now = home.executor.now();
            order_of(&mut |control| control.apply_order_topics(now, &listed));
        }),
    }
}

/// Stop accepting and reading, answer what is in flight, make everything durable.
async fn stop(shard: &Rc<Shard>, plan: &Plan, commits: Vec<Task<()>>) {
    shard.stopping.set(true);
    let executor = &shard.executor;
    // The rest of the time is for the disk.
    let patience_ms = i64::from(shard.config.shutdown_seconds_max) * 600;
    let deadline = executor.now() + patience_ms;
    let registrar = shard.control.as_ref().and_then(|desk| desk.registrar.borrow().clone());
    if let Some(registrar) = registrar {
        registrar.stop().await;
    }
    for queues in &shard.hosted {
        let parked = queues.parked.borrow_mut().take_all();
        for parked in parked {
            pull::give_up(shard, queues, parked);
        }
    }
    // Requests of one executor's connections are served by others: all go on until none owes an answer.
    let mut owes = true;
    while executor.now() < deadline && plan.ready.load(Ordering::SeqCst) > 0 {
        shard.offer_again();
        if owes && is_quiet(shard) {
            owes = false;
            plan.ready.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        executor.sleep(LOOK_AGAIN).await;
    }
    if owes {
        tracing::warn!(patience_ms, "stopping although not everything was answered");
    }
    for queues in &shard.hosted {
        queues.append_group_offsets(executor.now());
        queues.drain();
    }
    for commit in commits {
        commit.await;
    }
    for queues in &shard.hosted {
        if let Err(error) = queues.store.sync_now().await {
            tracing::error!(shard = queues.shard, %error, "the last sync failed");
        }
    }
    if let Some(desk) = &shard.control {
        desk.fold_files().await;
    }
    for outbox in shard.front.borrow().iter() {
        outbox.close();
    }
    end_replies();
    tracing::info!(executor = executor.index(), "stopped");
}

/// Nobody waits for an answer or for bytes that are on their way; but for a peer that takes nothing nobody waits.
fn is_quiet(shard: &Shard) -> bool {
    let nobody_waits = shard.hosted.iter().all(|queues| queues.waiting_count() == 0);
    let stuck_since = shard.executor.now() - STUCK_MS;
    let all_sent = shard.front.borrow().iter().all(|outbox| {
        outbox.owes_nothing() || (outbox.unsent_bytes() > 0 && outbox.alive_ms.get() < stuck_since)
    });
    let files = shard.control.as_ref().is_none_or(Desk::is_durable);
    nobody_waits && all_sent && files
}
