//! What a start finds out and decides before executors run, step by step: room on the disk, ports, the format of the store,
//! memory, connections. `main` takes the steps and ends at the first refusal; [`crate::check`] looks at all of them.
//!
//! Nothing here writes, but for [`format_of`]; what is allowed and odd goes to the log.

use crate::{
    config::{BrokerConfig, Machine, MemoryPlan, Sizing},
    first_start::Room,
    open_files::Files,
};
use daemon::{
    exit::{Cause, Fatal},
    open_files,
    port::{self, HeldPort},
};
use std::{path::Path, sync::Arc};
use store::{
    error::StoreError,
    format::{self, Format},
    layout::{Layout, USUAL_SEGMENT_BYTES},
};
use tls::Tls;

/// Certificates and keys. Fills in what the environment and the file of `tls.config.file` say.
pub fn open_tls(config: &mut BrokerConfig) -> Result<Arc<Tls>, Fatal> {
    let source = tls::Source::of_process(config.tls_settings());
    let tls = Tls::open(source).map_err(Fatal::because(Cause::Configuration))?;
    config.tls_server_mode = tls.mode().to_string();
    config.tls_enable = Some(tls.is_outgoing());
    config.use_tls = config.tls_enable;
    Ok(tls)
}

/// The cause behind an error of the data directory.
pub fn fatal_of_directory(error: &StoreError) -> Fatal {
    match error {
        StoreError::Locked { .. } => Fatal::new(Cause::DirectoryInUse, error),
        StoreError::Io { .. } => Fatal::new(
            Cause::Data,
            format!("{error}; storePathRootDir must be a directory that this user may write"),
        ),
        _ => Fatal::new(Cause::Data, error),
    }
}

/// The room of a first start, which makes no more shards than find some on the disk, unless their number is configured.
pub fn room_for(
    config: &BrokerConfig,
    machine: &Machine,
    log_root: &Path,
    sizing: &mut Sizing,
) -> Result<Room, Fatal> {
    let room = Room::of(log_root)?;
    let shards_max = room.shards_max(config);
    if config.shards == 0 && sizing.shards > shards_max {
        *sizing = Sizing::with_shards(config, machine, shards_max);
    }
    room.check(config, shards_of(sizing)?)?;
    Ok(room)
}

/// The number of shards that a new store gets.
pub fn shards_of(sizing: &Sizing) -> Result<u16, Fatal> {
    u16::try_from(sizing.shards).map_err(Fatal::because(Cause::Configuration))
}

/// All ports of this broker.
pub struct Ports {
    /// For clients.
    pub client: HeldPort,
    /// For Java's clients that ask for it.
    pub vip: HeldPort,
    /// Of the name server inside.
    pub name_server: Option<HeldPort>,
    /// Of metrics and health.
    pub metrics: Option<HeldPort>,
}

/// Port of metrics where none is configured: that of Java's `metricsPromExporterPort`.
pub const USUAL_METRICS_PORT: u16 = 5_557;

/// A port and the key to blame.
type Wanted = (u16, &'static str);

fn client_port(config: &BrokerConfig) -> Wanted {
    (config.listen_port, "listenPort")
}

fn vip_port(config: &BrokerConfig) -> Wanted {
    (config.vip_port(), "listenPort (the VIP port is two below it)")
}

fn inside_port(config: &BrokerConfig) -> Wanted {
    (config.standalone_namesrv_port, "standaloneNamesrvPort")
}

impl Ports {
    /// Holds them all, or says which one is not to be had.
    pub fn hold(config: &BrokerConfig, standalone: bool) -> Result<Ports, Fatal> {
        let hold = |(port, key): Wanted| port::hold(&config.bind_address, port, key);
        Ok(Ports {
            client: hold(client_port(config))?,
            vip: hold(vip_port(config))?,
            name_server: standalone.then(|| hold(inside_port(config))).transpose()?,
            metrics: port::hold_for_metrics(
                config.metrics_port,
                USUAL_METRICS_PORT,
                &config.metrics_bind_address,
            )?,
        })
    }

    /// All that are not to be had. Holds each for a moment.
    pub fn refused(config: &BrokerConfig, standalone: bool) -> Vec<Fatal> {
        let inside = standalone.then(|| inside_port(config));
        let all = [client_port(config), vip_port(config)].into_iter().chain(inside);
        let refused =
            all.filter_map(|(port, key)| port::hold(&config.bind_address, port, key).err());
        let (port, bind) = (config.metrics_port, &config.metrics_bind_address);
        refused.chain(port::hold_for_metrics(port, USUAL_METRICS_PORT, bind).err()).collect()
    }
}

/// The format that a new store gets, with segments that fit its room.
pub fn new_format(config: &BrokerConfig, shards: u16, room: Option<&Room>) -> Format {
    let even = Layout::even(config.mapped_file_size_commit_log);
    Format {
        version: format::VERSION,
        shards,
        layout: room.map_or(even, |room| room.layout(config, shards)),
        store_id: fastrand::u64(..) >> 8,
        log_id: fastrand::u64(..) >> 8,
    }
}

/// The format of the store, made now if the directory is new. What is fixed there goes before the configuration.
pub fn format_of(
    root: &Path,
    config: &BrokerConfig,
    shards: u16,
    room: Option<&Room>,
) -> Result<Format, Fatal> {
    let wanted = new_format(config, shards, room);
    let format =
        format::read_or_create(root, wanted).map_err(|error| fatal_of_directory(&error))?;
    remark_on_format(config, shards, &format);
    Ok(format)
}

/// What the configuration says and the store does not do.
pub fn remark_on_format(config: &BrokerConfig, shards: u16, format: &Format) {
    if config.shards != 0 && format.shards != shards {
        tracing::warn!(
            configured = shards,
            formatted = format.shards,
            "shards is fixed when the store is formatted; the configured number is ignored"
        );
    }
    // What is not configured is chosen by the disk.
    let (configured, formatted) =
        (config.mapped_file_size_commit_log, format.layout.segment_bytes());
    if formatted != configured && configured != USUAL_SEGMENT_BYTES {
        tracing::warn!(
            configured,
            formatted,
            "mappedFileSizeCommitLog is fixed when the store is formatted; the configured size is ignored"
        );
    }
}

/// It is an error when the memory budget does not suffice for a store with so many shards as there are.
pub fn check_memory(config: &BrokerConfig, memory: &MemoryPlan) -> Result<(), Fatal> {
    if memory.fits() {
        return Ok(());
    }
    let (value, expected) = config.too_little_memory(memory);
    let sentence = format!("memoryBudgetMiB={value}: expected {expected}");
    Err(Fatal::new(Cause::Configuration, sentence))
}

/// Fills in what memory and open files allow. The limit of open files has been raised before.
pub fn fill_in_limits(
    config: &mut BrokerConfig,
    sizing: &Sizing,
    log_root: &Path,
    shards: u16,
) -> Result<(), Fatal> {
    let asked = config.connections_max != 0;
    sizing.memory.fill_in(config);
    let files = Files::of(log_root, sizing.cores.len(), shards).count();
    let limit = runtime::limits::open_files_max();
    let connections = open_files::connections(config.connections_max.into(), asked, files, limit)?;
    config.connections_max = u32::try_from(connections).unwrap_or(u32::MAX);
    Ok(())
}

/// Warns of a file system on which durable is less than durable. `dir` must exist.
pub fn remark_on_file_system(root: &Path, dir: &Path) {
    if let Some(kind) = runtime::file_system_that_forgets(dir) {
        tracing::warn!(
            dir = %root.display(),
            kind,
            "the data directory is not on a local disk's own file system: what is acknowledged there may not survive a \
             restart of the machine or the container (storePathRootDir)"
        );
    }
}
