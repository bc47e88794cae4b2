//! A life of a store on a recorded disk: it boots on what a power cut left, must have all that was promised, works,
//! ends as a process does (at rest or killed), starts once more and works on.
//!
//! Tasks and returning calls take turns as a seed decides, so a seed gives one tape. Time is made up.

use super::{
    Mutation,
    medium::{Image, Medium},
    recorder::Recorder,
    served::{self, Recorded},
    site::Site,
    tape::{Mark, Moment, Tape},
    work::Work,
};
use crate::crashsim::book::Item;
use fastrand::Rng;
use futures_lite::future::yield_now;
use runtime::{
    Disk,
    sim::{Outcome, Stepper},
};
use std::{
    any::Any,
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};
use store::{Settings, Store};

/// What a boot starts from.
#[derive(Default)]
pub(super) struct Past {
    /// The files.
    pub(super) image: Image,
    /// What was appended, in log order.
    pub(super) items: Vec<Rc<Item>>,
    /// Everything that ends at or before this position must be there.
    pub(super) promised: u64,
}

/// What a life left behind.
pub(super) struct History {
    image: Image,
    tape: Tape,
    eras: Vec<Era>,
    end: Mark,
}

/// Entries of the log, in its order, from some moment on: a start may come back with less than there was.
struct Era {
    from: usize,
    items: Vec<Rc<Item>>,
}

impl History {
    /// All moments.
    pub(super) fn moments(&self) -> &[Moment] {
        &self.tape.moments
    }

    /// Files made.
    pub(super) fn files(&self) -> usize {
        self.image.len() + self.tape.creations()
    }

    /// Hash of the tape.
    pub(super) fn trace(&self) -> u64 {
        self.tape.trace()
    }

    /// The disk before the first moment.
    pub(super) fn medium(&self) -> Medium {
        Medium::new(&self.image)
    }

    /// What the next boot finds when the power goes at the moment that `medium` has come to.
    pub(super) fn cut(&self, moment: usize, medium: &Medium, rng: &mut Rng) -> Past {
        let image = medium.after_cut(rng);
        let mark = self.tape.marks.get(moment).copied().unwrap_or(self.end);
        let era = self.eras.iter().rfind(|era| era.from <= moment).expect("one begins at 0");
        // What is appended does not go before the next era, and before that nothing is.
        let count = mark.items.min(era.items.len());
        Past { image, items: era.items[..count].to_vec(), promised: mark.promised }
    }
}

/// Where lives are lived.
pub(super) struct Scene<D: Disk> {
    pub(super) site: Site<D>,
    pub(super) settings: Settings,
    pub(super) mutation: Option<Mutation>,
    pub(super) counts: Counts,
}

/// What boots found since somebody looked.
#[derive(Default)]
pub(super) struct Counts {
    /// Messages that were compared.
    pub(super) messages: u64,
    /// Boots that came back with less than was appended, none of which was promised.
    pub(super) shortened: u64,
    /// Boots that came back with something that was not promised.
    pub(super) lucky: u64,
}

impl<D: Disk> Scene<D> {
    /// Lives one life: boot, compare, `acts` of work, a restart, compare, a little more work.
    pub(super) async fn live(
        &mut self,
        past: Past,
        rng: Rng,
        acts: usize,
    ) -> Result<History, String> {
        let placed = self.site.place(&past.image).await;
        placed.map_err(|error| format!("laying out the image: {error}"))?;
        let tape = Tape::new(past.image.keys());
        let mark = Mark { promised: past.promised, items: past.items.len() };
        let disk = Recorder::new(self.site.disk().clone(), tape, mark, self.mutation);
        let mut life = Life { scene: self, disk: disk.clone(), rng, stepper: Stepper::new() };
        let lived = life.play(&past, acts).await;
        // A call that is on its way is never dropped, whatever went wrong.
        while disk.finish_one(&mut life.rng).await {}
        drop(life);
        disk.watch(None);
        let eras = lived?;
        let end = disk.mark();
        let history = History { image: past.image, tape: disk.take_tape(), eras, end };
        let mut medium = history.medium();
        medium.advance(history.moments(), history.moments().len());
        self.site.holds = medium.live();
        Ok(history)
    }
}

struct Life<'s, D: Disk> {
    scene: &'s mut Scene<D>,
    disk: Recorder<D>,
    rng: Rng,
    stepper: Stepper,
}

impl<D: Disk> Life<'_, D> {
    /// Boots, works, ends as a process does, starts again and works some more. Returns what the log held when.
    async fn play(&mut self, past: &Past, acts: usize) -> Result<Vec<Era>, String> {
        let mut eras = vec![Era { from: 0, items: past.items.clone() }];
        let mut promised = past.promised;
        for again in [false, true] {
            let before = eras.last().map_or(&[][..], |era| &era.items);
            let must = before.iter().take_while(|item| item.end <= promised).count();
            let booted = self.boot(before, must).await;
            let (store, mut work) = booted.map_err(|what| match again {
                false => what,
                true => format!("after a restart: {what}"),
            })?;
            let from = self.disk.moments();
            let items = Rc::new(Cell::new(work.items.len()));
            self.watch(&store, &items);
            let acts = if again { self.rng.usize(0..4) } else { acts };
            self.work(&store, &mut work, &items, acts).await?;
            // The process ends and the power does not: what was committed was written.
            promised = store.state().log.committed();
            while self.disk.finish_one(&mut self.rng).await {}
            self.disk.watch(None);
            eras.push(Era { from, items: work.items });
            self.stepper = Stepper::new();
        }
        Ok(eras)
    }

    async fn boot(
        &mut self,
        items: &[Rc<Item>],
        must: usize,
    ) -> Result<(Recorded<D>, Work), String> {
        let opening = Store::open(self.disk.clone(), self.scene.settings.clone());
        let opened = self.drive("opening the store", opening).await?;
        let (store, report) = opened.map_err(|error| format!("opening the store: {error}"))?;
        if report.damaged_bytes > 0 {
            return Err(format!("takes what was never promised for damage: {report:?}"));
        }
        let store = Rc::new(store);
        let comparing = served::recovered(store.clone(), items.to_vec(), must);
        let (state, count) = self.drive("comparing", comparing).await??;
        let counts = &mut self.scene.counts;
        counts.messages +=
            state.queues.values().map(|queue| queue.messages.len() as u64).sum::<u64>();
        counts.shortened += u64::from(count < items.len());
        counts.lucky += u64::from(count > must);
        Ok((store, Work::new(state, items[..count].to_vec())))
    }

    fn watch(&self, store: &Recorded<D>, items: &Rc<Cell<usize>>) {
        let (store, items) = (store.clone(), items.clone());
        self.disk.watch(Some(Box::new(move || Mark {
            promised: served::promised(&store),
            items: items.get(),
        })));
    }

    async fn work(
        &mut self,
        store: &Recorded<D>,
        work: &mut Work,
        items: &Cell<usize>,
        acts: usize,
    ) -> Result<(), String> {
        let failed = self.spawn_loops(store);
        let busy = self.rng.usize(2..24);
        let mut ticking: Option<Outcome<_>> = None;
        let mut killed = false;
        for _ in 0..acts {
            work.act(store, &mut self.rng);
            items.set(work.items.len());
            if ticking.as_ref().is_none_or(Outcome::is_ready) {
                let store = store.clone();
                let tick = async move { store.sync_if_due().await };
                ticking = Some(self.stepper.spawn("tick", tick));
            }
            for _ in 0..self.rng.usize(0..busy) {
                self.step().await?;
                // The most interesting moment, and a short one.
                killed |= self.disk.names_change() && self.rng.u8(0..24) == 0;
            }
            if killed {
                break;
            }
        }
        killed |= self.rng.bool();
        while !killed && self.step().await? {}
        if let Some(error) = failed.borrow().as_ref() {
            return Err(format!("a commit failed: {error}"));
        }
        let state = store.state();
        state.check();
        if !killed && state.log.committed() != state.log.appended() {
            return Err("the commit loop sleeps although there is work".into());
        }
        Ok(())
    }

    fn spawn_loops(&mut self, store: &Recorded<D>) -> Rc<RefCell<Option<String>>> {
        let failed: Rc<RefCell<Option<String>>> = Rc::default();
        let (committing, error) = (store.clone(), failed.clone());
        self.stepper.spawn("commit loop", async move {
            loop {
                committing.work().await;
                loop {
                    match committing.commit_once().await {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(what) => {
                            error.replace(Some(what.to_string()));
                            return;
                        }
                    }
                }
            }
        });
        let zeroing = store.clone();
        self.stepper.spawn("work ahead", async move { zeroing.work_ahead().await });
        let indexing = store.clone();
        self.stepper.spawn("index loop", async move { indexing.index_loop(yield_now).await });
        failed
    }

    /// Runs a future to its end, among everything else.
    async fn drive<T: 'static>(
        &mut self,
        name: &str,
        future: impl Future<Output = T> + 'static,
    ) -> Result<T, String> {
        let outcome = self.stepper.spawn(name, future);
        while !outcome.is_ready() {
            if !self.step().await? {
                return Err(format!("{name} hangs"));
            }
        }
        Ok(outcome.take().expect("it is ready"))
    }

    /// Polls one task or lets one call return. False when there is neither.
    async fn step(&mut self) -> Result<bool, String> {
        if self.disk.in_flight() > 0 && self.rng.u8(0..4) == 0 {
            return Ok(self.disk.finish_one(&mut self.rng).await);
        }
        let stepped = catch_unwind(AssertUnwindSafe(|| self.stepper.step(&mut self.rng)));
        if stepped.map_err(|panic| format!("panic: {}", text_of(&*panic)))? {
            return Ok(true);
        }
        Ok(self.disk.finish_one(&mut self.rng).await)
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string())).unwrap_or_default()
}
