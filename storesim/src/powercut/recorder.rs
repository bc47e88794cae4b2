//! A disk that passes everything on to another one and writes it down on a [`Tape`].
//!
//! Each call goes to the disk below at once; when its caller learns the outcome is the choice of whoever holds the
//! recorder ([`Recorder::finish_one`]), so one seed gives one order of events although the disk is a real one. A
//! mutation takes away one thing that the store relies on, above the real disk.

use super::{
    Mutation,
    tape::{Call, FileId, Mark, Tape},
};
use fastrand::Rng;
use runtime::{Disk, DiskFile, Entry, Open, Signal};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    io,
    path::Path,
    pin::Pin,
    rc::Rc,
    task::{Context, Waker},
};

/// What passes between two moments. The intervals of ASYNC_FLUSH are up to some hundred of them.
const MOMENT_MICROS: u64 = 2_000;

/// What the store promises at this moment.
pub(super) type Gate = Box<dyn Fn() -> Mark>;

/// A call on its way.
struct InFlight {
    begun: Option<usize>,
    /// Leaves the outcome where the caller finds it; says whether it was a good one.
    finish: Pin<Box<dyn Future<Output = bool>>>,
    /// What `finish` returned, if that was at its first poll.
    outcome: Option<bool>,
    returned: Rc<Signal>,
}

struct State {
    tape: RefCell<Tape>,
    gate: RefCell<Option<Gate>>,
    /// What holds while there is no gate.
    mark: Cell<Mark>,
    in_flight: RefCell<Vec<InFlight>>,
    mutation: Option<Mutation>,
}

/// The disk. Clones share the tape.
#[derive(Clone)]
pub(super) struct Recorder<D: Disk> {
    disk: D,
    state: Rc<State>,
}

/// A file of it.
pub(super) struct RecordedFile<D: Disk> {
    file: Rc<D::File>,
    id: FileId,
    disk: Recorder<D>,
}

impl<D: Disk> Recorder<D> {
    /// Records on `tape`; `mark` is promised until there is a gate.
    pub(super) fn new(disk: D, tape: Tape, mark: Mark, mutation: Option<Mutation>) -> Recorder<D> {
        let state = State {
            tape: tape.into(),
            gate: None.into(),
            mark: mark.into(),
            in_flight: RefCell::default(),
            mutation,
        };
        Recorder { disk, state: state.into() }
    }

    /// From now on `gate` says what is promised; without one it stays as it was.
    pub(super) fn watch(&self, gate: Option<Gate>) {
        self.state.mark.set(self.mark());
        self.state.gate.replace(gate);
    }

    /// What is promised now.
    pub(super) fn mark(&self) -> Mark {
        self.state.gate.borrow().as_ref().map_or(self.state.mark.get(), |gate| gate())
    }

    /// Moments so far.
    pub(super) fn moments(&self) -> usize {
        self.state.tape.borrow().moments.len()
    }

    /// Calls that did not return.
    pub(super) fn in_flight(&self) -> usize {
        self.state.in_flight.borrow().len()
    }

    /// Whether a file is being made or names are on their way to the disk.
    pub(super) fn names_change(&self) -> bool {
        let tape = self.state.tape.borrow();
        let in_flight = self.state.in_flight.borrow();
        let mut begun = in_flight.iter().filter_map(|call| call.begun);
        begun.any(|begun| tape.moments[begun].changes_names())
    }

    /// Takes the tape. Nothing is recorded any more.
    pub(super) fn take_tape(&self) -> Tape {
        assert!(self.in_flight() == 0, "a call is still on its way");
        self.state.tape.replace(Tape::new([].iter()))
    }

    /// Lets one of the calls on their way return, chosen by `rng`. False when there is none.
    pub(super) async fn finish_one(&self, rng: &mut Rng) -> bool {
        let Some(call) = self.choose(rng) else { return false };
        let ok = match call.outcome {
            Some(ok) => ok,
            None => call.finish.await,
        };
        if let Some(begun) = call.begun {
            let mark = self.mark();
            self.state.tape.borrow_mut().end(begun, ok, mark);
        }
        call.returned.raise();
        true
    }

    fn choose(&self, rng: &mut Rng) -> Option<InFlight> {
        let mut in_flight = self.state.in_flight.borrow_mut();
        let count = in_flight.len();
        (count > 0).then(|| in_flight.swap_remove(rng.usize(0..count)))
    }

    /// Sends a call on its way and waits until it may return. `None` is not written down.
    async fn call<T: 'static>(
        &self,
        call: Option<Call>,
        work: impl Future<Output = io::Result<T>> + 'static,
    ) -> io::Result<T> {
        let outcome = Rc::new(RefCell::new(None));
        let returned = Rc::new(Signal::default());
        let mark = self.mark();
        let begun = call.map(|call| self.state.tape.borrow_mut().begin(call, mark));
        let slot = outcome.clone();
        let mut finish: Pin<Box<dyn Future<Output = bool>>> = Box::pin(async move {
            let result = work.await;
            let ok = result.is_ok();
            slot.replace(Some(result));
            ok
        });
        // The first poll hands the call to the kernel; who awaits the rest is decided later.
        let polled = finish.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let polled = match polled {
            std::task::Poll::Ready(ok) => Some(ok),
            std::task::Poll::Pending => None,
        };
        let call = InFlight { begun, finish, outcome: polled, returned: returned.clone() };
        self.state.in_flight.borrow_mut().push(call);
        returned.wait().await;
        outcome.take().expect("a call that returned has an outcome")
    }

    fn lacks(&self, mutation: Mutation) -> bool {
        self.state.mutation == Some(mutation)
    }

    fn file_at(&self, path: &Path) -> Option<FileId> {
        self.state.tape.borrow().file(path)
    }

    fn next_file(&self) -> FileId {
        self.state.tape.borrow_mut().next_file()
    }
}

fn unknown(path: &Path) -> io::Error {
    io::Error::other(format!("{}: not made through this disk", path.display()))
}

impl<D: Disk> Disk for Recorder<D> {
    type File = RecordedFile<D>;
    type Buf = D::Buf;

    fn alloc(&self, bytes: usize) -> D::Buf {
        self.disk.alloc(bytes)
    }

    async fn open(&self, path: &Path, mode: Open) -> io::Result<RecordedFile<D>> {
        let (id, call) = match mode {
            Open::Create { bytes } => {
                let file = self.next_file();
                (file, Some(Call::Create { file, path: path.to_owned(), bytes }))
            }
            Open::Read | Open::ReadWrite => match self.file_at(path) {
                Some(file) => (file, None),
                // The disk below says what is wrong with it, or a file was there that the tape does not know.
                None => (usize::MAX, None),
            },
        };
        let (disk, owned) = (self.disk.clone(), path.to_owned());
        let file = self.call(call, async move { disk.open(&owned, mode).await }).await?;
        if id == usize::MAX {
            return Err(unknown(path));
        }
        Ok(RecordedFile { file: Rc::new(file), id, disk: self.clone() })
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let (disk, dir) = (self.disk.clone(), dir.to_owned());
        self.call(None, async move { disk.list(&dir).await }).await
    }

    async fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        // Durable when it returns, and before that nothing is in it: there is nothing to lose.
        let (disk, dir) = (self.disk.clone(), dir.to_owned());
        self.call(None, async move { disk.create_dir_all(&dir).await }).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        let call = self.file_at(path).map(|_| Call::Remove { path: path.to_owned() });
        let (disk, path) = (self.disk.clone(), path.to_owned());
        self.call(call, async move { disk.remove(&path).await }).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (disk, from, to) = (self.disk.clone(), from.to_owned(), to.to_owned());
        let call = Call::Rename { from: from.clone(), to: to.clone() };
        let call = self.file_at(&from).map(|_| call);
        self.call(call, async move { disk.rename(&from, &to).await }).await
    }

    /// Made up: with the real one, what is due would depend on how busy the machine is.
    fn uptime_micros(&self) -> u64 {
        self.moments() as u64 * MOMENT_MICROS
    }

    async fn usage(&self, dir: &Path) -> io::Result<runtime::Usage> {
        self.disk.usage(dir).await
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.lacks(Mutation::SkipDirectorySync) {
            return self.call(None, async { Ok(()) }).await;
        }
        let (disk, dir) = (self.disk.clone(), dir.to_owned());
        let call = Call::SyncDir { dir: dir.clone() };
        self.call(Some(call), async move { disk.sync_dir(&dir).await }).await
    }

    async fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let (disk, path) = (self.disk.clone(), path.to_owned());
        self.call(None, async move { disk.read_file(&path).await }).await
    }

    async fn write_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let known = self.file_at(path);
        let file = known.unwrap_or_else(|| self.next_file());
        let content: Rc<[u8]> = bytes.into();
        let (disk, path) = (self.disk.clone(), path.to_owned());
        let call = Call::WriteFile {
            file,
            path: path.clone(),
            new: known.is_none(),
            content: content.clone(),
        };
        self.call(Some(call), async move { disk.write_file(&path, &content).await }).await
    }
}

impl<D: Disk> DiskFile for RecordedFile<D> {
    type Buf = D::Buf;

    async fn write_at(&self, buf: D::Buf, position: u64) -> io::Result<()> {
        let content = buf.as_ref().into();
        let call = Call::Write { file: self.id, position, content };
        let file = self.file.clone();
        self.disk.call(Some(call), async move { file.write_at(buf, position).await }).await
    }

    async fn write_durably(&self, buf: D::Buf, position: u64) -> io::Result<()> {
        if self.disk.lacks(Mutation::SkipSync) {
            return self.write_at(buf, position).await;
        }
        let content = buf.as_ref().into();
        let call = Call::WriteDurably { file: self.id, position, content };
        let file = self.file.clone();
        self.disk.call(Some(call), async move { file.write_durably(buf, position).await }).await
    }

    async fn sync(&self) -> io::Result<()> {
        if self.disk.lacks(Mutation::SkipSync) {
            return self.disk.call(None, async { Ok(()) }).await;
        }
        let file = self.file.clone();
        let call = Call::Sync { file: self.id };
        self.disk.call(Some(call), async move { file.sync().await }).await
    }

    async fn read_at(&self, position: u64, bytes: usize) -> io::Result<D::Buf> {
        let file = self.file.clone();
        self.disk.call(None, async move { file.read_at(position, bytes).await }).await
    }

    fn len(&self) -> u64 {
        self.file.len()
    }

    async fn close(self) -> io::Result<()> {
        // Nobody else holds it: calls hold it only until they return.
        match Rc::into_inner(self.file) {
            Some(file) => self.disk.call(None, async move { file.close().await }).await,
            None => Ok(()),
        }
    }
}
