//! One of the two stores: its disk, its loops while it is up, and how it comes and goes.

use fastrand::Rng;
use futures_lite::future::yield_now;
use runtime::sim::{SimDisk, Stepper, block_on};
use std::{cell::Cell, rc::Rc};
use store::{
    FlushPolicy, Layout, Settings, Store, StoreError,
    recovery::{Opening, Report},
};

/// Far beyond what a life calls: no crash is planned.
const NEVER: u64 = u64::MAX / 2;

/// A store and what outlives it.
pub(super) struct Node {
    pub(super) settings: Settings,
    pub(super) disk: SimDisk,
    pub(super) up: Option<Up>,
    /// Everything before was noted beside the log as durable.
    pub(super) noted: Rc<Cell<u64>>,
    /// Everything before was shown to somebody.
    pub(super) shown: u64,
    /// A bit of it was flipped, and what that took is not there again.
    pub(super) rotten: bool,
    /// A start said so.
    pub(super) noticed: bool,
    /// It had the log up to here before it rotted: not to be elected before it has it again.
    pub(super) missing_until: u64,
    /// Where damage begins that was stepped over.
    pub(super) hole: Option<u64>,
}

/// While it is up.
pub(super) struct Up {
    pub(super) store: Rc<Store<SimDisk>>,
    pub(super) stepper: Stepper,
    noting: Rc<Cell<bool>>,
}

impl Node {
    pub(super) fn new(rng: &mut Rng, layout: Layout, log_id: u64, store_id: u64) -> Node {
        let largest = [1_024, 4_096][rng.usize(0..2)];
        let settings = Settings {
            shard: 0,
            dir: "/log".into(),
            log_id,
            store_id,
            layout,
            tail_cache_bytes: 1 << [15, 16][rng.usize(0..2)],
            inflight_bytes_max: 1 << 14,
            record_bytes_max: largest,
            flush: FlushPolicy::Sync,
            index_entries_max: u64::MAX,
            group_offset_bytes_max: usize::MAX,
            deferred_max: usize::MAX,
            deferred_in_memory_max: usize::MAX,
            half_messages_max: usize::MAX,
            popped_max: usize::MAX,
            unindexed_entries_max: u64::MAX,
            index_keys: rng.bool(),
            cold_cache_bytes: 1 << 20,
            zero_ahead_bytes: if rng.bool() { 1 << 14 } else { 0 },
            progress: Default::default(),
        };
        Node {
            settings,
            disk: SimDisk::new(rng.u64(..)),
            up: None,
            noted: Rc::default(),
            shown: 0,
            rotten: false,
            noticed: false,
            missing_until: 0,
            hole: None,
        }
    }

    /// The store, which is up.
    pub(super) fn store(&self) -> &Rc<Store<SimDisk>> {
        &self.up.as_ref().expect("it is up").store
    }

    pub(super) fn leads(&self) -> bool {
        self.up.as_ref().is_some_and(|up| up.store.state().log.leads())
    }

    /// Behind the last byte of its log.
    pub(super) fn end(&self) -> u64 {
        self.store().state().log.appended()
    }

    /// One attempt to open the store. `None`: the power went.
    pub(super) fn open(&mut self, opening: Opening) -> Option<Result<Report, StoreError>> {
        let opened = Store::open_as(self.disk.clone(), self.settings.clone(), opening);
        let opened = block_on(opened)?;
        Some(opened.map(|(store, report)| {
            self.disk.crash_after(NEVER);
            self.up = Some(Up::new(store));
            report
        }))
    }

    /// The power goes; what was not synced may be lost.
    pub(super) fn cut_power(&mut self, rng: &mut Rng) {
        self.leave(self.disk.after_crash(rng.u64(..)));
    }

    /// The process ends; what was written stays as it is.
    pub(super) fn kill(&mut self) {
        self.leave(SimDisk::restore(&self.disk.snapshot()));
    }

    fn leave(&mut self, disk: SimDisk) {
        self.up = None;
        disk.heal();
        disk.crash_after(NEVER);
        self.disk = disk;
    }

    /// Goes on for a moment.
    pub(super) fn step(&mut self, rng: &mut Rng, steps: usize) {
        let Some(up) = &mut self.up else { return };
        for _ in 0..steps {
            up.stepper.step(rng);
        }
        self.note_shown();
    }

    pub(super) fn run_until_idle(&mut self, rng: &mut Rng) {
        if let Some(up) = &mut self.up {
            up.stepper.run_until_idle(rng);
        }
        self.note_shown();
    }

    pub(super) fn note_shown(&mut self) {
        if let Some(up) = &self.up {
            self.shown = self.shown.max(up.store.state().log.committed());
        }
    }

    /// Once a second: bounds are noted beside the log, unless they are being noted.
    pub(super) fn tick(&mut self) {
        let Some(up) = &mut self.up else { return };
        up.store.each_second();
        if up.noting.replace(true) {
            return;
        }
        let (store, noting, noted) = (up.store.clone(), up.noting.clone(), self.noted.clone());
        up.stepper.spawn("bounds", async move {
            let durable = store.state().log.flushed();
            let follows = !store.state().log.leads();
            if store.note_bounds().await.is_ok() && follows {
                noted.set(durable);
            }
            noting.set(false);
        });
    }
}

impl Up {
    fn new(store: Store<SimDisk>) -> Up {
        let store = Rc::new(store);
        let mut stepper = Stepper::new();
        let own = store.clone();
        stepper.spawn("commit loop", async move {
            loop {
                own.work().await;
                while let Ok(true) = own.commit_once().await {}
            }
        });
        let own = store.clone();
        stepper.spawn("work ahead", async move { own.work_ahead().await });
        let own = store.clone();
        stepper.spawn("index loop", async move { own.index_loop(yield_now).await });
        Up { store, stepper, noting: Rc::default() }
    }
}
