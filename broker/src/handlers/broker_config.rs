//! UPDATE_BROKER_CONFIG and GET_BROKER_CONFIG: what tools see and change of the configuration.
//!
//! A change is checked as a whole ([`crate::config::Running`]), made durable, and taken over by all workers before it is
//! answered; one at a time. Workers hold the settings as they hold the metadata, as a value that is replaced and never edited
//! ([`Worker::config`]): reading one costs the message path no lock and no count in an atomic.

use crate::{
    config::{BrokerConfig, Changed, FlushDiskType, Refused},
    control::names::SCHEDULE_TOPIC,
    delay_levels::DelayLevels,
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    worker::Worker,
};
use daemon::{config_body::entries_of, logging, properties_file::Entry};
use proto::code::response;
use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

/// Pause between two looks at logs that are to be made durable.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long that is waited for, ms: a disk that takes longer is told elsewhere.
const SYNC_PATIENCE_MS: i64 = 5_000;

/// UPDATE_BROKER_CONFIG: answered when the change is durable and acts. A body that is left out changes nothing, as in Java.
pub fn update(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let (wanted, who) = (entries_of(request.body), request.peer.addr);
    Box::pin(async move {
        let wanted = wanted.map_err(|reasons| refusal(Refused { black_listed: false, reasons }))?;
        change(&worker, &wanted, who).await?;
        Ok(Response::Done)
    })
}

/// GET_BROKER_CONFIG. The version is that of the configuration: it moves with each change.
pub fn get(worker: &Worker, _request: &Request<'_>) -> Result<Response, Refusal> {
    let running = worker.control_plane().live_config.running();
    let mut version = Vec::new();
    running.overrides.version.write(&mut version);
    let version = String::from_utf8_lossy(&version).into_owned();
    Ok(Response::Body(running.to_properties().into_bytes(), vec![("version", version)]))
}

/// Changes the configuration as the body of `UPDATE_BROKER_CONFIG` says, as a whole or not at all. Done when the change is
/// durable, all workers act on it, and name servers that answer know what follows of it. `who` is told in the log.
async fn change(worker: &Rc<Worker>, wanted: &[Entry], who: SocketAddr) -> Result<(), Refusal> {
    let plane = worker.control_plane();
    let live = &plane.live_config;
    let _turn = live.turn().await.map_err(|limit| {
        let remark =
            format!("[OVERLOAD] reason=configuration-changes waiting={limit} limit={limit}");
        Refusal::new(response::SYSTEM_BUSY, remark)
    })?;
    let (config, changed) = live.running().change(wanted).map_err(refusal)?;
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
    let overrides = live.overrides_of(&config, now);
    live.write(&overrides).await.map_err(|error| {
        tracing::error!(%error, %who, "a change of the configuration could not be made durable");
        Refusal::system_error(format!(
            "nothing was changed, but the next start may act on it, as it could not be written: {error}"
        ))
    })?;
    for Changed { key, from, to } in &changed {
        tracing::info!(key, from, to, %who, "configuration changed");
    }
    let config = Arc::new(config);
    live.replace(Arc::clone(&config), overrides);
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
