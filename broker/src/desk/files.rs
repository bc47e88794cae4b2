//! The files of facts: `topics.json` and `subscriptionGroup.json` in Java's shapes, and the journal of changes beside them.
//!
//! A change is appended to the journal, many in one write; when that is full, at an orderly stop and after a start that
//! found changes in it, both files are written whole ([`store::facts::journal`]). Both always together: what a backup
//! of either lacks is then in the two journals that are kept.

use crate::control::Control;
use runtime::DirectDisk;
use std::{cell::RefCell, path::PathBuf};
use store::{
    StoreError,
    facts::{self, journal::Journal},
};

const TOPICS: &str = "topics.json";
const GROUPS: &str = "subscriptionGroup.json";
/// Smallest room of a journal, bytes: some five thousand changes.
const ROOM_BYTES_MIN: u64 = 1024 * 1024;
/// Largest: it is filled with zeros when it is born, while changes wait.
const ROOM_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// The files and their journal.
pub struct FactFiles {
    journal: Journal<DirectDisk>,
    /// Changes of the last life stand in the journal that was found.
    unfolded: bool,
}

impl FactFiles {
    /// Reads the files in `dir`, which is created if need be, into the control owner. The error is for people.
    pub async fn load(
        disk: DirectDisk,
        dir: PathBuf,
        control: &mut Control,
    ) -> Result<FactFiles, String> {
        runtime::Disk::create_dir_all(&disk, &dir)
            .await
            .map_err(|error| format!("create {}: {error}", dir.display()))?;
        let (journal, found) =
            Journal::open(disk.clone(), &dir).await.map_err(|error| error.to_string())?;
        let owner = RefCell::new(control);
        let topics = |json: &[u8]| owner.borrow_mut().load_topics(json);
        let groups = |json: &[u8]| owner.borrow_mut().load_groups(json);
        let loaded = facts::read(&disk, &dir.join(TOPICS), topics).await;
        let loaded = loaded.map_err(|error| error.to_string())?;
        let mut over_backup = loaded.is_some_and(|loaded| loaded.from_backup);
        let loaded = facts::read(&disk, &dir.join(GROUPS), groups).await;
        let loaded = loaded.map_err(|error| error.to_string())?;
        over_backup |= loaded.is_some_and(|loaded| loaded.from_backup);
        let control = owner.into_inner();
        let mut replayed = 0_u64;
        for change in found.changes(over_backup) {
            replayed += 1;
            control.replay(change).map_err(|error| format!("{}: {error}", dir.display()))?;
        }
        if replayed > 0 {
            tracing::info!(changes = replayed, over_backup, "changes of facts replayed");
        }
        Ok(FactFiles { journal, unfolded: replayed > 0 || over_backup })
    }

    /// Makes these changes durable, which the control owner has made already. After an error they have to be given
    /// again.
    pub async fn save(
        &mut self,
        control: &RefCell<Control>,
        changes: &[Vec<u8>],
    ) -> Result<(), StoreError> {
        if changes.is_empty() && !self.unfolded {
            return Ok(());
        }
        if !self.unfolded && self.journal.fits(changes) {
            return self.journal.append(changes).await;
        }
        let (topics, groups) = whole(control);
        let table_bytes = (topics.len() + groups.len()) as u64;
        let room_bytes = table_bytes.clamp(ROOM_BYTES_MIN, ROOM_BYTES_MAX);
        self.journal.fold(&[(TOPICS, &topics), (GROUPS, &groups)], changes, room_bytes).await?;
        self.unfolded = false;
        Ok(())
    }

    /// The last changes, and the end of the journal.
    pub async fn close(
        &mut self,
        control: &RefCell<Control>,
        changes: &[Vec<u8>],
    ) -> Result<(), StoreError> {
        if changes.is_empty() && !self.unfolded && !self.journal.has_changes() {
            return Ok(());
        }
        let (topics, groups) = whole(control);
        self.journal.fold(&[(TOPICS, &topics), (GROUPS, &groups)], &[], 0).await
    }
}

fn whole(control: &RefCell<Control>) -> (Vec<u8>, Vec<u8>) {
    let control = control.borrow();
    (control.topics_json(), control.groups_json())
}
