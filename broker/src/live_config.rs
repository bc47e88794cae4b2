//! The configuration of a broker that runs, on the control worker, and its file of what was changed meanwhile
//! (`config/overrides.properties`). Who changes it is [`crate::handlers::broker_config`].

use crate::{
    config::{BrokerConfig, Overrides, Running, overrides_path, whole},
    limits::{Permit, Semaphore},
};
use proto::body::DataVersion;
use runtime::{
    DirectDisk, Disk,
    durable_file::{self, DurableFileError},
};
use std::{
    cell::{Ref, RefCell},
    io,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

/// Changes that may wait for the one that is under way.
const WAITING_MAX: usize = 64;
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

    /// Waits until no other change is under way. One that is too many is refused, with how many wait.
    pub async fn turn(&self) -> Result<Permit, usize> {
        self.turn.acquire().await
    }

    /// What the file has to hold for a configuration that was changed `now`.
    pub fn overrides_of(&self, config: &BrokerConfig, now: i64) -> Overrides {
        let running = self.running.borrow();
        let mut overrides = running.overrides.between(&running.configured, config);
        overrides.version.counter = overrides.version.counter.wrapping_add(1);
        overrides.version.timestamp = now;
        overrides
    }

    /// Makes this durable: the next start finds it.
    pub async fn write(&self, overrides: &Overrides) -> Result<(), DurableFileError> {
        write(&self.disk, &self.path, overrides).await
    }

    /// The configuration is this from now on.
    pub fn replace(&self, config: Arc<BrokerConfig>, overrides: Overrides) {
        let mut running = self.running.borrow_mut();
        running.now = config;
        running.overrides = overrides;
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
) -> Result<(), DurableFileError> {
    durable_file::replace(disk, path, overrides.to_text().as_bytes()).await
}
