//! An index loop that leaves something out: steps of `indexing` in its order, less one. Damage, merging and everything
//! that no mutation is about is left to the store.

use super::mutant::{MutantDisk, Mutation};
use futures_lite::future::yield_now;
use store::{
    capture::Capture, error::StoreError, index::Row, store::Store, store_state::StoreState,
};

/// What is left out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    /// The log need not be durable.
    Log,
    /// What the file covers must be durable, what else influenced it need not.
    Influence,
    /// Rows of queues without messages.
    EmptyRows,
}

impl Haste {
    /// The loop for a mutation; `None` when the store's own is meant.
    pub(super) fn of(mutation: Mutation) -> Option<Haste> {
        match mutation {
            Mutation::IndexBeforeLog => Some(Haste::Log),
            Mutation::IndexBeforeInfluence => Some(Haste::Influence),
            Mutation::DropEmptyRows => Some(Haste::EmptyRows),
            _ => None,
        }
    }

    /// Stands in for `Store::index_loop`.
    pub(super) async fn run(self, store: &Store<MutantDisk>) {
        store.index_steps(|| self.index_once(store)).await;
    }

    async fn index_once(self, store: &Store<MutantDisk>) -> Result<bool, StoreError> {
        let other_work = store.has_damaged_index() || store.unsealed().is_some();
        let Some(to) = store.wanted_index().filter(|_| !other_work) else {
            return store.index_once(&yield_now).await;
        };
        if self != Haste::Log {
            store.wait_durable(to).await?;
        }
        let mut capture = store.state().capture(to);
        if self == Haste::EmptyRows {
            drop_empty_rows(&store.state(), &mut capture);
        }
        let written = store.index_job(&capture).write(&yield_now).await?;
        if self == Haste::EmptyRows {
            let influenced_by = store.state().log.appended();
            store.wait_durable(influenced_by).await?;
        }
        let index = written.writer.finish().await?;
        store.add_index(&capture, index, &yield_now).await;
        Ok(true)
    }
}

fn drop_empty_rows(state: &StoreState, capture: &mut Capture) {
    let is_empty = |row: &Row| {
        let topic = &capture.topics[row.topic as usize];
        state.queue(topic, row.queue_id).is_some_and(|queue| queue.min() == queue.max())
    };
    let all = capture.rows.iter().zip(&capture.slots);
    let kept = all.filter(|(row, _)| !is_empty(row)).map(|(row, slot)| (*row, *slot));
    (capture.rows, capture.slots) = kept.unzip();
}
