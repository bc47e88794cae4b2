//! Writes the files of a name server: one write per file at a time, the newest content always last.
//!
//! Requests that changed a table wait here until a content at least as new as their change is on disk; changes that
//! arrive during one write ride together in the next.

use std::{
    cell::RefCell,
    future::poll_fn,
    path::{Path, PathBuf},
    rc::Rc,
    task::{Poll, Waker},
};

use runtime::{
    Disk, Executor,
    durable_file::{self, DurableFileError},
};

use crate::handle::{Namesrv, Save};

/// What is known to be on disk, for each file.
pub(crate) struct Saver {
    kv: RefCell<Progress>,
    config: RefCell<Progress>,
}

#[derive(Default)]
struct Progress {
    /// Generation of the content on disk.
    saved: u64,
    /// A write is under way.
    writing: bool,
    waiting: Vec<Waker>,
}

impl Saver {
    /// What `state` holds now came from disk.
    pub(crate) fn new(state: &Namesrv) -> Saver {
        let at =
            |what| RefCell::new(Progress { saved: state.generation(what), ..Progress::default() });
        Saver { kv: at(Save::Kv), config: at(Save::Config) }
    }

    /// Resolves when the content that `state` has now, or a newer one, is on disk.
    pub(crate) async fn save(
        &self,
        executor: &Executor,
        state: &Rc<RefCell<Namesrv>>,
        what: Save,
    ) -> Result<(), DurableFileError> {
        let progress = match what {
            Save::Kv => &self.kv,
            Save::Config => &self.config,
        };
        let wanted = state.borrow().generation(what);
        loop {
            idle(progress).await;
            if progress.borrow().saved >= wanted {
                return Ok(());
            }
            progress.borrow_mut().writing = true;
            let (generation, path, bytes): (u64, PathBuf, Vec<u8>) = {
                let state = state.borrow();
                let (path, bytes) = state.file(what);
                (state.generation(what), path, bytes)
            };
            let result = replace(&executor.disk(), &path, &bytes).await;
            let waiting = {
                let mut progress = progress.borrow_mut();
                progress.writing = false;
                if result.is_ok() {
                    progress.saved = generation;
                }
                std::mem::take(&mut progress.waiting)
            };
            waiting.into_iter().for_each(Waker::wake);
            result?;
        }
    }
}

/// Replaces a file, in a directory that is made when it is missing.
async fn replace<D: Disk>(disk: &D, path: &Path, bytes: &[u8]) -> Result<(), DurableFileError> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        let failed =
            |source| DurableFileError::Io { action: "create", path: dir.to_owned(), source };
        disk.create_dir_all(dir).await.map_err(failed)?;
    }
    durable_file::replace(disk, path, bytes).await
}

/// Resolves while nobody writes.
async fn idle(progress: &RefCell<Progress>) {
    poll_fn(|context| {
        let mut progress = progress.borrow_mut();
        if !progress.writing {
            return Poll::Ready(());
        }
        progress.waiting.push(context.waker().clone());
        Poll::Pending
    })
    .await;
}
