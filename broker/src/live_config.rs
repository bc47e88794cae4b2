//! The configuration of a broker that runs, on the control worker: changes of it are checked ([`crate::config::Running`]),
//! made durable in `config/overrides.properties`, and taken over by all workers before they are answered. One at a time.
//!
//! Workers hold the settings as they hold the metadata, as a value that is replaced and never edited
//! ([`Worker::config`]): reading one costs the message path no lock and no count in an atomic.

use crate::{
    config::{
        BrokerConfig, Changed, FlushDiskType, Overrides, Refused, Running, overrides_path, whole,
    },
    control::names::SCHEDULE_TOPIC,
    delay_levels::DelayLevels,
    error::Refusal,
    limits::Semaphore,
    worker::Worker,
};
use daemon::logging;
use proto::{body::DataVersion, code::response};
use runtime::{DirectDisk, Disk, durable_file};
use std::{
    cell::{Ref, RefCell},
    fmt::Display,
    io,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

/// Changes that may wait for the one that is under way.
const WAITING_MAX: usize = 64;
/// Pause between two looks at logs that are to be made durable.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long that is waited for, ms: a disk that takes longer is told elsewhere.
const SYNC_PATIENCE_MS: i64 = 5_000;

/// The configuration, and where changes of it are kept.
pub struct LiveConfig {
    running: RefCell<Running>,
    disk: DirectDisk,
    path: PathBuf,
    turn: Rc<Semaphore>,
}

impl LiveConfig {
    /// The configuration as the start has read it. `outdated`: the file says more than what differs from that of the operator,
    /// and is written anew, so that a line there acts again. The error is for people.
    pub async fn open(
        disk: DirectDisk,
        mut running: Running,
        outdated: bool,
        now: i64,
    ) -> Result<LiveConfig, String> {
        let path = overrides_path(Path::new(&running.now.store_path_root_dir));
        finish(&disk, &path).await?;
        if outdated {
            write(&disk, &path, &running.overrides).await.map_err(|error| error.to_string())?;
        }
        if running.overrides.version == DataVersion::default() {
            running.overrides.version.timestamp = now;
        }
        let turn = Semaphore::new(1, WAITING_MAX);
        Ok(LiveConfig { running: RefCell::new(running), disk, path, turn })
    }

    /// As it is now.
    pub fn running(&self) -> Ref<'_, Running> {
        self.running.borrow()
    }
}

/// Ends a replacement of the file that a crash has interrupted, before another one writes over it.
async fn finish(disk: &DirectDisk, path: &Path) -> Result<(), String> {
    match disk.read_file(path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let found = durable_file::read(disk, path, whole).await;
            found.map(drop).map_err(|error| error.to_string())
        }
        // The start has read it.
        _ => Ok(()),
    }
}

async fn write(
    disk: &DirectDisk,
    path: &Path,
    overrides: &Overrides,
) -> Result<(), durable_file::DurableFileError> {
    durable_file::replace(disk, path, overrides.to_text().as_bytes()).await
}

/// Changes the configuration as the body of `UPDATE_BROKER_CONFIG` says, as a whole or not at all. Done when the change is
/// durable, all workers act on it, and name servers that answer know what follows of it. `who` is told in the log.
pub async fn update(worker: &Rc<Worker>, body: &[u8], who: impl Display) -> Result<(), Refusal> {
    let plane = worker.control_plane();
    let live = &plane.live_config;
    let _turn = live.turn.acquire().await.map_err(|limit| {
        let remark =
            format!("[OVERLOAD] reason=configuration-changes waiting={limit} limit={limit}");
        Refusal::new(response::SYSTEM_BUSY, remark)
    })?;
    let (config, changed) = live.running.borrow().change(body).map_err(refusal)?;
    if changed.is_empty() {
        return Ok(());
    }
    let is_changed = |key: &str| changed.iter().any(|changed| changed.key == key);
    let now = worker.executor.now();
    if is_changed("messageDelayLevel") {
        // Before anybody sends there; queues too many do no harm if it ends here.
        let levels = DelayLevels::parse(&config.message_delay_level, worker.shard_count)
            .map_err(Refusal::system_error)?;
        plane.change(worker, |control| {
            control.raise_queues(now, SCHEDULE_TOPIC, levels.queue_count())
        })?;
        plane.shown(None, None).await?;
    }
    let overrides = {
        let running = live.running.borrow();
        let mut overrides = running.overrides.between(&running.configured, &config);
        overrides.version.counter = overrides.version.counter.wrapping_add(1);
        overrides.version.timestamp = now;
        overrides
    };
    write(&live.disk, &live.path, &overrides).await.map_err(|error| {
        tracing::error!(%error, %who, "a change of the configuration could not be made durable");
        Refusal::system_error(format!(
            "nothing was changed, but the next start may act on it, as it could not be written: {error}"
        ))
    })?;
    for Changed { key, from, to } in &changed {
        tracing::info!(key, from, to, %who, "configuration changed");
    }
    let config = Arc::new(config);
    {
        let mut running = live.running.borrow_mut();
        running.overrides = overrides;
        running.now = Arc::clone(&config);
    }
    if is_changed("logFilter")
        && let Err(error) = logging::change_filter(&config.log_filter)
    {
        tracing::error!(%error, "the log filter was not changed");
    }
    let taken = Arc::clone(&config);
    worker.gather_from_workers(move |there| take(there, taken)).await;
    plane.change(worker, |control| control.apply_config(now, &config));
    let registrar = plane.registrar.borrow().clone();
    if let Some(registrar) = registrar {
        registrar.take_config(&config);
    }
    plane.shown(None, None).await?;
    plane.registered().await;
    Ok(())
}

/// A worker takes over the settings. Under SYNC_FLUSH what was answered before is durable at the end, too.
async fn take(there: Rc<Worker>, config: Arc<BrokerConfig>) {
    there.take_config(&config);
    if config.flush_disk_type != FlushDiskType::SyncFlush {
        return;
    }
    let deadline = there.executor.uptime() + SYNC_PATIENCE_MS;
    let is_behind = |there: &Worker| {
        there
            .hosted
            .iter()
            .any(|shard| shard.store.has_unsynced() && shard.store.state().log.poisoned().is_none())
    };
    while is_behind(&there) && there.executor.uptime() < deadline {
        there.executor.sleep(LOOK_AGAIN).await;
    }
}

/// Java's code and first words for its black list; the reasons are ours.
fn refusal(refused: Refused) -> Refusal {
    let reasons = refused.text();
    if refused.black_listed {
        let remark = format!("Can not update config in black list. Nothing was changed: {reasons}");
        return Refusal::new(response::NO_PERMISSION, remark);
    }
    Refusal::system_error(format!("nothing was changed: {reasons}"))
}
