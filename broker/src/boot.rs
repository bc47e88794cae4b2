//! Start and end of a broker: what one worker does between opening its stores and having everything durable.

use crate::{
    access,
    beats::{self, Beat},
    collect_traffic, commit,
    config::{
        BrokerConfig, Loaded, MESSAGE_BYTES_MAX, Machine, MemoryPlan, PARKED_FILTER_BYTES,
        RECORD_OVERHEAD_BYTES, Running, tail_cache_bytes_least,
    },
    connection,
    control::{Control, metadata_store::MetadataStore, names, plane::ControlPlane},
    delay_levels::DelayLevels,
    delivery, draining, drops, half_checks,
    handlers::{self, pull},
    inbox,
    live_config::LiveConfig,
    mailbox::CoreMessage,
    metrics::{Observer, Phase, Sources},
    panel::StartupReport,
    registration::{self, Identity, Options, Registrar, address_server},
    response::allow_unanswered,
    response_encoder::SendStamp,
    shard::{Shard, flush_policy, group_pulls::GroupPulls, parked::ParkedPulls},
    stats::Totals,
    traffic::Traffic,
    worker::{CONTROL_WORKER, Parts, Worker},
};
use daemon::{
    exit::{Cause, Fatal},
    notify,
};
use namesrv::{handle::Namesrv, server};
use remoting::{Listener, TlsAcceptor, watch_certificates};
use runtime::{Executor, Mesh, Task, UserSignal};
use std::{
    cell::RefCell,
    io::{IsTerminal, Write},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use store::{Settings, Store, format::Format, recovery::progress::Progress};
use tls::Tls;

/// Pause between two looks at something that others are about to finish.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long the boot line waits for name servers.
const REGISTER_PATIENCE_MS: i64 = 3_000;
/// How long a peer may take no byte before the shutdown goes on without it.
const STUCK_MS: i64 = 1_000;
/// Entries that may wait in memory for an index file, in those at which one is written: what comes in while the runs of a
/// segment are merged.
const INDEX_LAG_MAX: u64 = 3;
/// The same at least: 2 MB with their keys.
const UNINDEXED_ENTRIES_MIN: u64 = 60_000;
/// A record is held with ease by a tail cache, or a segment, of so many times its size.
const EASY_RECORD_PART: u64 = 16;
/// Bytes zeroed in front of each log.
const ZERO_AHEAD_BYTES: u64 = 64 * 1024 * 1024;

/// Addresses to listen on, which this process holds.
#[derive(Clone, Debug)]
pub struct Listen {
    /// For clients.
    pub client: Vec<SocketAddr>,
    /// For clients that keep their requests apart from others' traffic.
    pub vip: Vec<SocketAddr>,
    /// Of a name server on the control worker, in a standalone broker.
    pub name_server: Option<Vec<SocketAddr>>,
    /// For metrics and health, from the beginning of the start on.
    pub metrics: Option<Vec<SocketAddr>>,
}

/// What workers know of access control when they begin.
#[derive(Debug, Default)]
pub struct FirstRules {
    engine: OnceLock<Arc<acl::Engine>>,
    figures: Arc<access::Figures>,
}

/// What all workers of a broker start from.
#[derive(Clone)]
pub struct BootContext {
    /// Settings at the start, with what the start has found out.
    pub config: Arc<BrokerConfig>,
    /// As they were given.
    pub given: Arc<Loaded>,
    /// The machine.
    pub machine: Arc<Machine>,
    /// What is fixed in the formatted store.
    pub format: Format,
    /// How memory is divided.
    pub memory: MemoryPlan,
    /// Certificates, and what ports do with a connection.
    pub tls: Arc<Tls>,
    /// Where to listen when the broker serves.
    pub listen: Listen,
    /// Address in records and message ids.
    pub store_ip: IpAddr,
    /// For the panel and the boot line.
    pub report: StartupReport,
    /// Counters of all shards.
    pub totals: Arc<[Totals]>,
    /// Loops of all workers.
    pub beats: Arc<[Beat]>,
    /// How far the opening of each store is, by shard.
    pub progress: Arc<[Arc<Progress>]>,
    /// Connections of all workers together.
    pub open_connections: Arc<AtomicUsize>,
    /// Rules of access control to begin with, from the control worker, and what is counted.
    pub access: Arc<FirstRules>,
    /// Workers whose stores are open, and who still owe answers.
    pub ready: Arc<AtomicUsize>,
    /// Somebody may have stored something.
    pub served: Arc<AtomicBool>,
    /// An operator's wish to have it drained.
    pub user_signal: UserSignal,
}

impl BootContext {
    /// What a change of the configuration starts from.
    fn running(&self) -> Running {
        let Loaded { configured, overrides, unused, standalone, .. } = &*self.given;
        Running {
            configured: configured.clone(),
            now: Arc::clone(&self.config),
            overrides: overrides.clone(),
            unused: unused.clone(),
            machine: Machine::clone(&self.machine),
            shards: self.format.shards,
            standalone: *standalone,
            record_bytes_max: record_bytes_max(self),
        }
    }
}

/// Runs one worker until the process is asked to stop.
pub async fn run(
    executor: Executor,
    mesh: Mesh<CoreMessage>,
    context: BootContext,
) -> Result<(), Fatal> {
    executor.spawn(beats::beat(executor.clone(), Arc::clone(&context.beats)));
    let observer = observe(&executor, &context)?;
    let reached = |phase| observer.iter().for_each(|observer| observer.reached(phase));
    let worker = build_worker(&executor, mesh, &context).await?;
    if worker.control.is_some() {
        // The last to be ready: all stores are open, and nobody serves yet.
        if !all_ready(&worker, &context, executor.count() - 1).await {
            return Ok(());
        }
        drops::adopt_unknown_topics(&worker).await;
    }
    context.ready.fetch_add(1, Ordering::SeqCst);
    if !all_ready(&worker, &context, executor.count()).await {
        return Ok(());
    }
    // Everybody is ready, the control worker, too: the rules are there before anybody can connect.
    *worker.access.engine.borrow_mut() = context.access.engine.get().cloned();
    *worker.access.figures.borrow_mut() = Arc::clone(&context.access.figures);
    executor.stop().set_interruptible(false);
    if executor.stop().requested() {
        return Ok(());
    }
    let commit = |shard: &Rc<Shard>| commit::commit_loop(Rc::clone(&worker), Rc::clone(shard));
    for shard in &worker.hosted {
        executor.spawn(commit::woken_loop(Rc::clone(&worker), Rc::clone(shard)));
        executor.spawn(delivery::delivery_loop(Rc::clone(&worker), Rc::clone(shard)));
        executor.spawn(half_checks::check_loop(Rc::clone(&worker), Rc::clone(shard)));
        executor.spawn(commit::room_loop(Rc::clone(&worker), Rc::clone(shard)));
    }
    let commits: Vec<Task<()>> =
        worker.hosted.iter().map(|shard| executor.spawn(commit(shard))).collect();
    if let Some(plane) = &worker.control {
        plane.apply_effects(&worker);
        executor.spawn(commit::metadata_loop(Rc::clone(&worker)));
        executor.spawn(handlers::serve_turns(Rc::clone(&worker)));
        executor.spawn(drops::run(Rc::clone(&worker)));
        executor.spawn(draining::run(Rc::clone(&worker), context.user_signal.clone()));
        executor.spawn(collect_traffic::run(Rc::clone(&worker)));
        executor.spawn(access::in_force::watch_loop(Rc::clone(&worker)));
        // The last life may have left some.
        plane.drops.raise();
    }
    // What logs have taken and not filled is known before anybody looks at the disk.
    worker.publish_totals();
    executor.spawn(commit::tick_loop(Rc::clone(&worker)));
    observer.iter().for_each(|observer| observer.look_at(&worker));
    reached(Phase::Starting);
    context.served.store(true, Ordering::SeqCst);
    let acceptor = TlsAcceptor::new(&executor, Arc::clone(&context.tls));
    listen(&worker, &context.listen, &acceptor)?;
    if worker.control.is_some() {
        executor.spawn(watch_certificates(executor.clone(), Arc::clone(&context.tls)));
        register_and_report(&worker, &context, &acceptor, observer.as_deref()).await?;
    }
    reached(Phase::Serving);
    executor.stop_requested().await;
    reached(Phase::Stopping);
    let stopping_at = executor.uptime();
    if worker.control.is_some() {
        notify::stopping();
        // Java's line, as the one below.
        tracing::info!("Shutdown hook was invoked, 1");
    }
    stop(&worker, &context, commits).await;
    if worker.control.is_some() {
        let took = executor.uptime() - stopping_at;
        tracing::info!("Shutdown hook over, consuming total time(ms): {took}");
    }
    worker.publish_totals();
    Ok(())
}

/// On the control worker: metrics and health, which are there before anything else is.
fn observe(executor: &Executor, context: &BootContext) -> Result<Option<Rc<Observer>>, Fatal> {
    let Some(addrs) = &context.listen.metrics else { return Ok(None) };
    if executor.index() != CONTROL_WORKER {
        return Ok(None);
    }
    let sources = Sources {
        config: Arc::clone(&context.config),
        memory: context.memory.clone(),
        totals: Arc::clone(&context.totals),
        beats: Arc::clone(&context.beats),
        progress: Arc::clone(&context.progress),
        log_root: log_root(&context.config),
        tls: Arc::clone(&context.tls),
    };
    Observer::start(executor, addrs, sources).map(Some).map_err(Fatal::because(Cause::Port))
}

/// Waits until so many workers are ready. False: a stop was requested.
async fn all_ready(worker: &Worker, context: &BootContext, count: usize) -> bool {
    while context.ready.load(Ordering::SeqCst) < count {
        worker.executor.sleep(LOOK_AGAIN).await;
        if worker.executor.stop().requested() {
            return false;
        }
    }
    true
}

async fn build_worker(
    executor: &Executor,
    mesh: Mesh<CoreMessage>,
    context: &BootContext,
) -> Result<Rc<Worker>, Fatal> {
    let config = &context.config;
    // Before the stores: what reading large files leaves free in the heap is then filled by the queues.
    let control = if executor.index() == CONTROL_WORKER {
        let plane = open_control(executor, context).await.map_err(Fatal::because(Cause::Data))?;
        open_access(executor, context, &plane).await?;
        Some(plane)
    } else {
        None
    };
    let mut hosted = Vec::new();
    for shard in 0..context.format.shards {
        if usize::from(shard) % executor.count() == executor.index() {
            let store =
                open_store(executor, context, shard).await.map_err(Fatal::because(Cause::Data))?;
            let pulls_max = config.shard_parked_pulls_max as usize;
            let parked = ParkedPulls::new(pulls_max, pulls_max * PARKED_FILTER_BYTES as usize);
            let bytes_max = context.memory.group_pulls_bytes;
            let group_pulls = GroupPulls::new(usize::try_from(bytes_max).unwrap_or(usize::MAX));
            hosted.push(Rc::new(Shard::new(Rc::new(store), parked, group_pulls)));
        }
    }
    let store_host = SocketAddr::new(context.store_ip, config.listen_port);
    let worker = Worker::start(Parts {
        executor: executor.clone(),
        mesh,
        config: Arc::clone(config),
        tls: Arc::clone(&context.tls),
        memory: context.memory.clone(),
        open_connections: Arc::clone(&context.open_connections),
        stamp: SendStamp {
            region: config.region_id.clone(),
            trace_on: config.trace_on,
            store_host,
        },
        shard_count: context.format.shards,
        hosted,
        control,
        totals: Arc::clone(&context.totals),
    });
    inbox::open(&worker);
    Ok(worker)
}

/// Directory of all commit logs.
pub fn log_root(config: &BrokerConfig) -> PathBuf {
    if config.store_path_commit_log.is_empty() {
        Path::new(&config.store_path_root_dir).join("commitlog")
    } else {
        PathBuf::from(&config.store_path_commit_log)
    }
}

/// The configuration of the name server inside.
pub fn name_server_settings(config: &BrokerConfig) -> namesrv::config::Config {
    let root = Path::new(&config.store_path_root_dir).join("namesrv");
    namesrv::config::Config {
        listen_port: config.standalone_namesrv_port,
        kv_config_path: root.join("kvConfig.json"),
        config_store_path: root.join("namesrv.properties"),
        ..namesrv::config::Config::default()
    }
}

/// What a shard keeps in memory of its log: the largest power of two within its share, but always room for the largest
/// record.
fn tail_cache_bytes(context: &BootContext) -> u64 {
    let share = context.memory.tail_cache_bytes / u64::from(context.format.shards);
    (1_u64 << share.max(1).ilog2()).max(tail_cache_bytes_least(&context.config))
}

/// The largest record that stores are laid out for: of a message of `maxMessageSize`, or larger where the tail cache has
/// room for it without losing much, so that the key can be raised while the broker runs.
fn record_bytes_max(context: &BootContext) -> u64 {
    let configured = u64::from(context.config.max_message_size) + RECORD_OVERHEAD_BYTES;
    let with_ease = tail_cache_bytes(context) / EASY_RECORD_PART;
    let largest = MESSAGE_BYTES_MAX + RECORD_OVERHEAD_BYTES;
    let segment = context.format.layout.segment_bytes() / EASY_RECORD_PART;
    configured.max(with_ease.min(segment).min(largest))
}

fn store_settings(context: &BootContext, shard: u16) -> Settings {
    let config = &context.config;
    let tail_cache_bytes = usize::try_from(tail_cache_bytes(context)).unwrap_or(usize::MAX);
    let record_bytes_max = usize::try_from(record_bytes_max(context)).unwrap_or(usize::MAX);
    Settings {
        shard,
        dir: log_root(config).join(format!("shard-{shard:03}")),
        log_id: context.format.log_id(shard),
        store_id: context.format.store_id,
        layout: context.format.layout,
        tail_cache_bytes,
        inflight_bytes_max: config.shard_inflight_bytes_max.min(tail_cache_bytes as u64 / 2),
        record_bytes_max,
        flush: flush_policy(config),
        index_entries_max: config.shard_index_entries_max,
        unindexed_entries_max: config
            .shard_index_entries_max
            .saturating_mul(INDEX_LAG_MAX)
            .max(UNINDEXED_ENTRIES_MIN),
        deferred_max: config.shard_timers_max as usize,
        deferred_in_memory_max: config.shard_timers_in_memory_max as usize,
        half_messages_max: config.shard_open_transactions_max as usize,
        popped_max: config.shard_popped_max as usize,
        group_offset_bytes_max: usize::try_from(config.shard_group_offsets_mib << 20)
            .unwrap_or(usize::MAX),
        index_keys: config.message_index_enable,
        cold_cache_bytes: (config.shard_cold_cache_mib as usize) << 20,
        zero_ahead_bytes: ZERO_AHEAD_BYTES.min(context.format.layout.segment_bytes()),
        progress: Arc::clone(&context.progress[usize::from(shard)]),
    }
}

async fn open_store(
    executor: &Executor,
    context: &BootContext,
    shard: u16,
) -> Result<Store<runtime::DirectDisk>, String> {
    let settings = store_settings(context, shard);
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

async fn open_control(executor: &Executor, context: &BootContext) -> Result<ControlPlane, String> {
    let config = &context.config;
    let disk = executor.disk();
    let dir = Path::new(&config.store_path_root_dir).join("config");
    let now = executor.moment();
    let mut control = Control::new(config, now.wall);
    control.limit_members(usize::try_from(context.memory.members_bytes).unwrap_or(usize::MAX));
    runtime::Disk::create_dir_all(&disk, &dir)
        .await
        .map_err(|error| format!("create {}: {error}", dir.display()))?;
    let files = MetadataStore::load(disk.clone(), dir, &mut control).await?;
    let levels = DelayLevels::parse(&config.message_delay_level, context.format.shards)?;
    // Each shard has a queue for what waits there.
    let shards = u32::from(context.format.shards);
    for (topic, queues) in [
        (names::SCHEDULE_TOPIC, levels.queue_count()),
        (names::TIMER_TOPIC, shards),
        (names::TRANS_HALF_TOPIC, shards),
    ] {
        let raised = control.raise_queues(now.wall, topic, queues);
        raised.map_err(|error| error.to_string())?;
    }
    // What is on the disk is there; nothing comes beside it that does not fit.
    control.limit_tables(context.memory.tables);
    let live =
        LiveConfig::open(disk, context.running(), context.given.overrides_outdated, now.wall)
            .await?;
    let traffic_bytes = usize::try_from(context.memory.traffic_bytes).unwrap_or(usize::MAX);
    let traffic = Traffic::new(&context.config.broker_cluster_name, traffic_bytes);
    Ok(ControlPlane::new(control, files, live, traffic, now))
}

/// The rules of access control, for all workers.
async fn open_access(
    executor: &Executor,
    context: &BootContext,
    plane: &ControlPlane,
) -> Result<(), Fatal> {
    let dir = Path::new(&context.config.store_path_root_dir).join("config");
    let opened = plane.access.open(executor, &context.config, &dir).await.map_err(Fatal::from)?;
    if let Some(engine) = opened {
        context.access.engine.set(engine).expect("the control worker alone opens them");
    }
    Ok(())
}

/// Only now do the ports open: who is let in is served.
fn listen(worker: &Rc<Worker>, addrs: &Listen, acceptor: &Rc<TlsAcceptor>) -> Result<(), Fatal> {
    for (addrs, vip) in [(&addrs.client, false), (&addrs.vip, true)] {
        for listener in bind_all(&worker.executor, addrs, acceptor)? {
            worker.executor.spawn(connection::accept_loop(Rc::clone(worker), listener, vip));
        }
    }
    Ok(())
}

fn bind_all(
    executor: &Executor,
    addrs: &[SocketAddr],
    acceptor: &Rc<TlsAcceptor>,
) -> Result<Vec<Listener>, Fatal> {
    Listener::bind_held(executor, addrs, acceptor).map_err(Fatal::because(Cause::Port))
}

/// The control worker: name server inside, registration, boot line.
async fn register_and_report(
    worker: &Rc<Worker>,
    context: &BootContext,
    acceptor: &Rc<TlsAcceptor>,
    observer: Option<&Observer>,
) -> Result<(), Fatal> {
    let config = &context.config;
    let mut servers: Vec<String> = config.name_servers().map(str::to_owned).collect();
    let address_server = address_server::url(config);
    if let Some(url) = &address_server {
        match address_server::ask(&worker.executor, url).await {
            Ok(named) => servers = named,
            Err(why) => address_server::warn(url, &why, &[]),
        }
    }
    let named = servers.clone();
    if let Some(addrs) = &context.listen.name_server {
        let name_server = start_name_server(worker, config, addrs, acceptor).await?;
        if let Some(observer) = observer {
            observer.look_at_name_server(&name_server);
        }
        servers.push(config.own_name_server());
    }
    let registrar = register(worker, context, &servers);
    if let Some(url) = address_server {
        let executor = worker.executor.clone();
        let following = address_server::follow(executor, registrar.clone(), url, named.clone());
        drop(worker.executor.spawn(following));
    }
    if let Some(plane) = &worker.control {
        *plane.registrar.borrow_mut() = Some(registrar.clone());
    }
    let started = worker.executor.uptime();
    // For each of them: what the panel says is what clients will meet.
    while !registrar.is_settled() {
        if worker.executor.uptime() - started > REGISTER_PATIENCE_MS
            || worker.executor.stop().requested()
        {
            break;
        }
        worker.executor.sleep(LOOK_AGAIN).await;
    }
    if worker.executor.stop().requested() {
        return Ok(());
    }
    let mut report = context.report.clone();
    report.add_name_servers(named);
    for (index, server) in report.name_servers.iter_mut().enumerate() {
        server.registered = registrar.is_registered(index);
    }
    let status = report.boot_line();
    tracing::info!("{status}");
    worker.executor.blocking(move || print_report(&report)).await.map_err(|error| {
        Fatal::new(Cause::Other, format!("standard output cannot be written: {error}"))
    })?;
    notify::ready(&status);
    Ok(())
}

fn print_report(report: &StartupReport) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let panel = if out.is_terminal() { report.framed() } else { report.plain() };
    writeln!(out, "{panel}\n{}", report.boot_line())?;
    out.flush()
}

async fn start_name_server(
    worker: &Rc<Worker>,
    config: &BrokerConfig,
    addrs: &[SocketAddr],
    acceptor: &Rc<TlsAcceptor>,
) -> Result<Rc<RefCell<Namesrv>>, Fatal> {
    let settings = name_server_settings(config);
    let executor = worker.executor.clone();
    let mut state: Namesrv =
        namesrv::open(&executor, settings).await.map_err(Fatal::because(Cause::Data))?;
    // The same rules: whoever may not administer the broker may not change its routes, either.
    state.guard(Rc::clone(&worker.access.engine), &config.broker_cluster_name);
    let listeners = bind_all(&executor, addrs, acceptor)?;
    let serving = executor.clone();
    let state = Rc::new(RefCell::new(state));
    let name_server = Rc::clone(&state);
    executor.spawn(async move {
        if let Err(error) = server::serve(&serving, listeners, state).await {
            tracing::error!(%error, "the name server inside has ended");
        }
    });
    Ok(name_server)
}

/// As whom the broker signs its requests to name servers.
fn signer(config: &BrokerConfig) -> Option<acl::Signer> {
    let (name, secret) = config.inner_client_authentication_credentials.0.as_ref()?;
    acl::Signer::new(name, secret)
}

fn register(worker: &Rc<Worker>, context: &BootContext, servers: &[String]) -> Registrar {
    let config = &context.config;
    let broker_addr = config.client_address();
    let identity = Identity {
        cluster_name: config.broker_cluster_name.clone(),
        broker_name: config.broker_name.clone(),
        broker_id: i64::from(config.broker_id),
        broker_addr,
        ha_server_addr: config.ha_address(),
        signer: signer(config),
    };
    let options = Options::of(config, context.listen.name_server.is_some());
    let control = Rc::clone(&worker.control_plane().control);
    let tls = Some(Arc::clone(&worker.tls));
    registration::start(&worker.executor, identity, options, servers, tls, control)
}

/// Stop accepting and reading, answer what is in flight, make everything durable.
async fn stop(worker: &Rc<Worker>, context: &BootContext, commits: Vec<Task<()>>) {
    worker.stopping.set(true);
    worker.client_calls.borrow_mut().stop();
    worker.pop_waits.borrow_mut().stop();
    let executor = &worker.executor;
    // The rest of the time is for the disk.
    let patience_ms = i64::from(worker.config().shutdown_seconds_max) * 600;
    let deadline = executor.uptime() + patience_ms;
    let registrar = worker.control.as_ref().and_then(|plane| plane.registrar.borrow().clone());
    if let Some(registrar) = registrar {
        registrar.stop().await;
    }
    for shard in &worker.hosted {
        let parked = shard.parked.borrow_mut().take_all();
        for parked in parked {
            pull::give_up(worker, shard, parked);
        }
    }
    // Requests of one worker's connections are served by others: all go on until none owes an answer.
    let mut owes = true;
    while executor.uptime() < deadline && context.ready.load(Ordering::SeqCst) > 0 {
        worker.catch_up();
        if owes && is_quiet(worker) {
            owes = false;
            context.ready.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        executor.sleep(LOOK_AGAIN).await;
    }
    if owes {
        tracing::warn!(patience_ms, "stopping although not everything was answered");
    }
    for shard in &worker.hosted {
        shard.append_all_group_offsets(executor.now());
        shard.drain();
    }
    for commit in commits {
        commit.await;
    }
    for shard in &worker.hosted {
        if let Err(error) = shard.store.sync_now().await {
            tracing::error!(shard = shard.number, %error, "the last sync failed");
        }
    }
    if let Some(plane) = &worker.control {
        plane.checkpoint().await;
    }
    for write_buffer in worker.connections.borrow().iter() {
        write_buffer.close();
    }
    allow_unanswered();
    tracing::info!(executor = executor.index(), "stopped");
}

/// Nobody waits for an answer or for bytes that are on their way; but for a peer that takes nothing nobody waits.
fn is_quiet(worker: &Worker) -> bool {
    let nobody_waits = worker.hosted.iter().all(|shard| {
        shard.commit_queue.borrow().is_empty() && shard.room_waits.borrow().is_empty()
    });
    let stuck_since = worker.executor.uptime() - STUCK_MS;
    let all_sent = worker.connections.borrow().iter().all(|write_buffer| {
        write_buffer.owes_nothing()
            || (write_buffer.unsent_bytes() > 0 && write_buffer.alive_ms.get() < stuck_since)
    });
    let files = worker.control.as_ref().is_none_or(ControlPlane::is_quiet);
    nobody_waits && all_sent && files
}
