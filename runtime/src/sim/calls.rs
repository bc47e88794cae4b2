//! What every call on the simulated disk has in common: it is counted, hashed into the trace, takes simulated time,
//! lets other futures run before it returns, may be chosen to fail, and never returns once the power is cut.

use std::{
    cell::RefCell,
    future::{Future, pending},
    io,
    path::{Path, PathBuf},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use fastrand::Rng;

use super::{faults::FaultClass, state::State};

/// One in this many calls is slow, and one in this many yields often.
const OUTLIER_ONE_IN: u32 = 64;
/// How much slower an outlier is.
const OUTLIER_FACTOR: u64 = 20;
/// Yields of one call at most, however slow the disk.
const YIELDS_MAX: u32 = 256;

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// `open` of an existing file.
    Open,
    /// `open` with [`crate::Open::Create`].
    Create,
    /// `list`.
    List,
    /// `create_dir_all`.
    CreateDir,
    /// `remove`.
    Remove,
    /// `rename`, under its old name.
    Rename,
    /// `sync_dir`.
    SyncDir,
    /// `read_file`.
    ReadFile,
    /// `write_file`.
    WriteFile,
    /// `read_at`.
    Read,
    /// `write_at`.
    Write,
    /// `write_durably`.
    WriteDurably,
    /// `sync`.
    Sync,
    /// `close`.
    Close,
}

impl CallKind {
    /// Which injected faults hit this call.
    pub(super) fn fault_class(self) -> Option<FaultClass> {
        match self {
            Self::Read | Self::ReadFile => Some(FaultClass::Read),
            Self::Write | Self::WriteDurably | Self::WriteFile => Some(FaultClass::Write),
            Self::Sync | Self::SyncDir => Some(FaultClass::Sync),
            Self::Create | Self::CreateDir | Self::Remove | Self::Rename => Some(FaultClass::Name),
            Self::Open | Self::List | Self::Close => None,
        }
    }

    /// Fastest and slowest ordinary latency in microseconds: an NVMe disk of the cloud.
    fn latency_micros(self) -> (u64, u64) {
        match self {
            Self::Open | Self::Close | Self::List => (5, 50),
            Self::Read | Self::ReadFile => (30, 200),
            Self::Write => (30, 300),
            Self::WriteDurably | Self::Sync | Self::SyncDir | Self::WriteFile => (80, 1_000),
            Self::Create | Self::CreateDir | Self::Remove | Self::Rename => (50, 2_000),
        }
    }
}

/// One call, as the optional log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Number since boot, from 1.
    pub number: u64,
    /// What it does.
    pub kind: CallKind,
    /// On which name; the name at opening for calls on files.
    pub path: PathBuf,
    /// Position in the file; 0 where there is none.
    pub position: u64,
    /// Length of the data, or of the file to create; 0 where there is none.
    pub bytes: u64,
}

/// What is about to be called.
pub(super) struct Shape<'a> {
    pub(super) kind: CallKind,
    pub(super) path: &'a Path,
    pub(super) position: u64,
    pub(super) bytes: u64,
    /// Hash of the data or of the second path; 0 where there is none.
    pub(super) content: u64,
}

impl<'a> Shape<'a> {
    /// A call that has only a name.
    pub(super) fn on(kind: CallKind, path: &'a Path) -> Self {
        Self { kind, path, position: 0, bytes: 0, content: 0 }
    }
}

/// A call that has begun.
pub(super) struct Ticket {
    /// Number since boot, from 1.
    pub(super) number: u64,
    /// Moment of the call, comparable with the stamps of completions.
    pub(super) called: u64,
    /// The error that the call shall end with.
    pub(super) fault: Option<io::Error>,
    due_micros: u64,
    yields: u32,
}

/// The books about all calls of one boot.
#[derive(Clone, Default)]
pub(super) struct Ledger {
    pub(super) calls: u64,
    pub(super) trace: u64,
    /// Calls whose future was dropped before it returned.
    pub(super) dropped: u64,
    /// The power goes when the call with this number begins.
    pub(super) crash_at: Option<u64>,
    pub(super) crashed: bool,
    pub(super) log: Option<Vec<Call>>,
    moments: u64,
}

impl Ledger {
    /// A number greater than every one before; orders calls and completions.
    pub(super) fn moment(&mut self) -> u64 {
        self.moments += 1;
        self.moments
    }

    /// Takes a value into the trace hash.
    pub(super) fn trace(&mut self, value: u64) {
        self.trace = mix(self.trace, value);
    }

    fn enter(&mut self, shape: &Shape<'_>) {
        self.calls += 1;
        self.trace(shape.kind as u64);
        self.trace(hash_bytes(shape.path.as_os_str().as_encoded_bytes()));
        self.trace(shape.position);
        self.trace(shape.bytes);
        self.trace(shape.content);
        if let Some(log) = &mut self.log {
            let Shape { kind, path, position, bytes, .. } = *shape;
            log.push(Call { number: self.calls, kind, path: path.into(), position, bytes });
        }
        if self.crash_at.is_some_and(|at| self.calls >= at) {
            self.crashed = true;
        }
    }
}

/// Counts the call and decides its fate. Stays pending for ever on a disk without power, so that nothing that is called
/// after the crash reaches it; the call that the crash hits is still noted by its caller as in flight.
pub(super) async fn begin(state: &Rc<RefCell<State>>, shape: Shape<'_>) -> Ticket {
    if state.borrow().ledger.crashed {
        pending::<()>().await;
    }
    let mut state = state.borrow_mut();
    let State { ledger, rng, faults, clock, .. } = &mut *state;
    ledger.enter(&shape);
    let outlier = if rng.u32(0..OUTLIER_ONE_IN) == 0 { OUTLIER_FACTOR } else { 1 };
    let (fastest, slowest) = shape.kind.latency_micros();
    let factor = u64::from(faults.slow_factor) * outlier;
    let due_micros = clock.uptime_micros() + rng.u64(fastest..=slowest) * factor;
    let fault = shape.kind.fault_class().and_then(|class| faults.strike(class, shape.path));
    Ticket {
        number: ledger.calls,
        called: ledger.moment(),
        fault,
        due_micros,
        yields: yields(rng, factor),
    }
}

fn yields(rng: &mut Rng, factor: u64) -> u32 {
    let factor = u32::try_from(factor).unwrap_or(YIELDS_MAX);
    (1 + rng.u32(0..4)).saturating_mul(factor).min(YIELDS_MAX)
}

/// Waits for the call to be over. Its effects are the caller's, in the same poll.
pub(super) fn wait<'a>(state: &'a Rc<RefCell<State>>, ticket: &Ticket) -> Wait<'a> {
    let Ticket { number, due_micros, yields, .. } = *ticket;
    Wait { state, number, due_micros, yields, over: false }
}

pub(super) struct Wait<'a> {
    state: &'a Rc<RefCell<State>>,
    number: u64,
    due_micros: u64,
    yields: u32,
    over: bool,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.state.borrow().ledger.crashed {
            return Poll::Pending;
        }
        if self.yields > 0 {
            self.yields -= 1;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.over = true;
        let mut state = self.state.borrow_mut();
        state.clock.advance_to(self.due_micros);
        state.ledger.trace(self.number);
        Poll::Ready(())
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        // Borrowed only while a state is being dropped under a panic; counting is pointless then.
        if let (false, Ok(mut state)) = (self.over, self.state.try_borrow_mut()) {
            state.ledger.dropped += u64::from(!state.ledger.crashed);
        }
    }
}

/// Adds a value to a hash; each step is a bijection of the hash before, so no two traces collide by absorption.
pub(super) fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
}

/// Hash of some bytes, equal on every machine.
pub(super) fn hash_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let hash = words.iter().fold(bytes.len() as u64, |h, word| mix(h, u64::from_le_bytes(*word)));
    mix(hash, u64::from_le_bytes(last))
}
