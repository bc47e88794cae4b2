//! The history of one seed: who leads, who follows, what goes between them, and how each falls and comes back.

use super::{
    Mutation, Summary,
    compare::{Tables, check_book, log_bytes},
    node::Node,
    transit::{self, Piece},
    work::Item,
};
use fastrand::Rng;
use runtime::sim::{Lies, Outcome, block_on};
use std::collections::VecDeque;
use store::{
    Layout, NotAccepted, StoreError,
    log::CommitRule,
    read_batches::Batches,
    recovery::{Opening, Report, Role},
};

/// Attempts to open a store that may be disturbed; the next one is not.
const DISTURBED_BOOTS_MAX: u32 = 3;
/// Rounds in which two healthy stores must have caught up.
const CATCH_UP_ROUNDS_MAX: u32 = 2_000;
/// Old pieces that are kept to be offered again.
const STALE_MAX: usize = 8;

/// A read from the leader's disk.
type ColdRead = Outcome<Result<Option<Batches<Vec<u8>>>, StoreError>>;

/// Everything.
pub(super) struct History {
    pub(super) rng: Rng,
    pub(super) nodes: [Node; 2],
    pub(super) book: Vec<Item>,
    pub(super) clock: i64,
    /// Where the entry that is being appended begins.
    pub(super) first_entry: Option<u64>,
    pub(super) summary: Summary,
    /// Who was elected last.
    leader: Option<usize>,
    epoch: u32,
    /// The other one follows it in this epoch.
    joined: bool,
    reading: Option<(u64, ColdRead)>,
    under_way: VecDeque<Piece>,
    stale: Vec<Piece>,
    mutation: Option<Mutation>,
    verbose: bool,
}

impl History {
    pub(super) fn new(seed: u64, mutation: Option<Mutation>, verbose: bool) -> History {
        let mut rng = Rng::with_seed(seed);
        let log_id = rng.u64(..);
        let other = if mutation == Some(Mutation::WitnessOfOthers) { 70 } else { 71 };
        let segment_bytes: u64 = 1 << 15;
        let layout = Layout::new(segment_bytes >> rng.u32(0..=2), segment_bytes);
        let layout = layout.expect("doubled some times");
        let node = |rng: &mut Rng, store_id| Node::new(rng, layout, log_id, store_id);
        let nodes = [node(&mut rng, 70), node(&mut rng, other)];
        History {
            rng,
            nodes,
            book: Vec::new(),
            clock: 1_000,
            first_entry: None,
            summary: Summary::default(),
            leader: None,
            epoch: 0,
            joined: false,
            reading: None,
            under_way: VecDeque::new(),
            stale: Vec::new(),
            mutation,
            verbose,
        }
    }

    pub(super) fn play(mut self) -> Result<Summary, String> {
        for node in 0..2 {
            self.boot(node, None)?;
        }
        self.elect(0)?;
        for _ in 0..self.rng.u32(2..7) {
            for _ in 0..self.rng.u32(20..160) {
                self.act()?;
            }
            self.fall()?;
            if self.rng.u8(0..4) == 0 {
                self.settle()?;
            }
        }
        self.settle()?;
        self.summary.committed = self.book.iter().filter(|item| item.committed).count() as u64;
        Ok(self.summary)
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("{}", what());
        }
    }

    fn trace(&mut self, node: usize) {
        let trace = self.summary.trace.rotate_left(7) ^ self.nodes[node].disk.trace_hash();
        self.summary.trace = trace.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn act(&mut self) -> Result<(), String> {
        self.clock += 1;
        let (leader, follower) = (self.leader, self.leader.map(|leader| 1 - leader));
        match self.rng.u8(0..40) {
            0..9 => {
                // An old leader that does not know goes on, too.
                let node = if self.rng.u8(0..4) == 0 { follower } else { leader };
                if let Some(node) = node.filter(|node| self.nodes[*node].leads()) {
                    self.append(node);
                }
            }
            9..17 => self.send(),
            17..25 => self.deliver()?,
            25..30 => self.acknowledge(),
            30 | 31 => {
                let node = self.rng.usize(0..2);
                self.nodes[node].tick();
            }
            32 => self.offer_stale()?,
            33 if self.rng.u8(0..3) == 0 => {
                let calls = self.rng.u64(0..60);
                let node = self.rng.usize(0..2);
                if self.nodes[node].up.is_some() {
                    self.nodes[node].disk.crash_after(calls);
                }
            }
            34 => self.come_back()?,
            35 if self.rng.u8(0..4) == 0 => self.depose()?,
            _ => {}
        }
        for node in 0..2 {
            let steps = self.rng.usize(0..12);
            self.nodes[node].step(&mut self.rng, steps);
            if self.nodes[node].up.is_some() && self.nodes[node].disk.crashed() {
                self.lose(node, true)?;
            }
        }
        Ok(())
    }

    /// Whoever is not there comes back; who leads is elected; who follows joins.
    fn come_back(&mut self) -> Result<(), String> {
        for node in 0..2 {
            if self.nodes[node].up.is_none() {
                self.boot(node, None)?;
            }
        }
        if self.leader.is_none_or(|leader| !self.nodes[leader].leads()) {
            let first = self.rng.usize(0..2);
            for node in [first, 1 - first] {
                if self.elect(node)? {
                    break;
                }
            }
        }
        self.join()
    }

    /// The follower is elected although its leader is still there.
    fn depose(&mut self) -> Result<(), String> {
        let Some(leader) = self.leader else { return Ok(()) };
        if self.nodes[1 - leader].up.is_some() && self.elect(1 - leader)? {
            self.summary.deposed += u64::from(self.nodes[leader].leads());
        }
        Ok(())
    }

    /// Whether a node leads a new epoch now. It may, if it has everything that it ever acknowledged.
    fn elect(&mut self, candidate: usize) -> Result<bool, String> {
        let node = &self.nodes[candidate];
        let Some(up) = &node.up else { return Ok(false) };
        let store = up.store.clone();
        if node.leads() || store.state().log.poisoned().is_some() {
            return Ok(false);
        }
        if store.state().log.flushed() < node.missing_until || node.hole.is_some() {
            return Ok(false);
        }
        let lacking = store.lacking();
        match store.begin_epoch(self.epoch + 1, self.clock) {
            Err(_) if lacking.is_some() => return Ok(false),
            Err(StoreError::Refused(_)) => return Ok(false),
            Err(error) => return Err(format!("an epoch cannot begin: {error}")),
            Ok(_) if lacking.is_some() => return Err("it leads although it lacks".into()),
            Ok(_) => {}
        }
        self.epoch += 1;
        self.summary.epochs += 1;
        self.tell(|| format!("node {candidate} leads epoch {}", self.epoch));
        self.leader = Some(candidate);
        self.part();
        Ok(true)
    }

    /// The two have nothing to do with each other until the next hello.
    fn part(&mut self) {
        self.joined = false;
        self.reading = None;
        let under_way = std::mem::take(&mut self.under_way);
        for piece in under_way {
            self.keep_stale(piece);
        }
    }

    fn keep_stale(&mut self, piece: Piece) {
        if self.stale.len() >= STALE_MAX {
            let at = self.rng.usize(0..STALE_MAX);
            self.stale.swap_remove(at);
        }
        self.stale.push(piece);
    }

    /// Hello: the follower is cut to where the histories part, and goes on from there.
    fn join(&mut self) -> Result<(), String> {
        let Some(leader) = self.leader.filter(|leader| self.nodes[*leader].leads()) else {
            return Ok(());
        };
        let follower = 1 - leader;
        if self.joined || self.nodes[follower].up.is_none() {
            return Ok(());
        }
        if self.nodes[follower].leads() || self.is_poisoned(follower) {
            self.lose(follower, false)?;
            self.boot(follower, None)?;
        }
        let common = self.common_end(leader, follower)?;
        let end = self.nodes[follower].end();
        if common < end {
            let node = &mut self.nodes[follower];
            let repairs = node.hole.take().is_some();
            if repairs {
                node.missing_until = node.missing_until.max(end);
            } else if common < node.shown {
                return Err(format!("what was shown up to {} is cut to {common}", node.shown));
            }
            self.tell(|| format!("node {follower} is cut from {end} to {common}"));
            self.lose(follower, false)?;
            if !self.boot(follower, Some(common))? {
                return Ok(());
            }
            self.summary.cuts += 1;
            if self.nodes[follower].end() > common {
                return Err("a cut left something behind".into());
            }
        }
        self.joined = true;
        Ok(())
    }

    fn common_end(&self, leader: usize, follower: usize) -> Result<u64, String> {
        let (own, other) = (&self.nodes[leader], &self.nodes[follower]);
        let (own_end, end) = (own.end(), other.end());
        let hole = other.hole.unwrap_or(u64::MAX);
        if self.mutation == Some(Mutation::LineageIgnored) {
            return Ok(own_end.min(end));
        }
        let own = own.store().state();
        let common = own.lineage().common_end(own_end, other.store().state().lineage(), end);
        Ok(common.ok_or("the histories have nothing in common")?.min(hole))
    }

    fn is_poisoned(&self, node: usize) -> bool {
        self.nodes[node].store().state().log.poisoned().is_some()
    }

    /// The leader sends what the follower has not.
    fn send(&mut self) {
        if !self.joined || self.leader.is_none_or(|leader| self.nodes[leader].up.is_none()) {
            return;
        }
        self.take_cold();
        let Some(leader) = self.leader else { return };
        if self.reading.is_some() || self.under_way.len() > 2 || self.nodes[1 - leader].up.is_none()
        {
            return;
        }
        let from = match self.under_way.back() {
            // Where the last piece ends is known once it was accepted.
            Some(_) => return,
            None => self.nodes[1 - leader].end(),
        };
        let bytes_max = self.rng.usize(1..6_000);
        let store = self.nodes[leader].store().clone();
        if self.mutation == Some(Mutation::ReadBeyondFlushed) {
            let bytes = transit::beyond_flushed(&store, from);
            return self.put_under_way(from, bytes);
        }
        let cached = {
            let state = store.state();
            let batches = state.log.cached_batches(from, bytes_max);
            batches.map(|batches| [batches.bytes.0, batches.bytes.1].concat())
        };
        match cached {
            Some(bytes) => self.put_under_way(from, bytes),
            None => {
                let up = self.nodes[leader].up.as_mut().expect("it is up");
                let read = async move { store.read_batches(from, bytes_max).await };
                self.reading = Some((from, up.stepper.spawn("read", read)));
            }
        }
    }

    fn take_cold(&mut self) {
        let Some((from, outcome)) = self.reading.take_if(|(_, read)| read.is_ready()) else {
            return;
        };
        // A read may fail when the power goes.
        if let Some(Ok(Some(batches))) = outcome.take() {
            self.summary.cold += u64::from(!batches.bytes.is_empty());
            self.put_under_way(from, batches.bytes);
        }
    }

    fn put_under_way(&mut self, from: u64, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let mut piece = Piece { from, epoch: self.epoch, bytes };
        if self.mutation == Some(Mutation::StartWithoutEpoch) {
            transit::strip_starts(&mut piece, self.nodes[0].settings.log_id);
        }
        self.under_way.push_back(piece);
    }

    fn deliver(&mut self) -> Result<(), String> {
        let Some(follower) = self.leader.map(|leader| 1 - leader) else { return Ok(()) };
        if !self.joined || self.nodes[follower].up.is_none() || self.is_poisoned(follower) {
            return Ok(());
        }
        let Some(piece) = self.under_way.front() else { return Ok(()) };
        let (store, end) = (self.nodes[follower].store().clone(), self.nodes[follower].end());
        if piece.from > end {
            return Err(format!(
                "a piece from {} was sent to a log that ends at {end}",
                piece.from
            ));
        }
        if self.mutation == Some(Mutation::AcceptWithoutReplay) {
            transit::accept_without_replay(&store, &piece.bytes);
        } else {
            match store.accept(&piece.bytes) {
                Ok(_) => self.summary.accepted += 1,
                Err(NotAccepted::Busy { .. }) => return Ok(()),
                Err(error) => return Err(format!("what the leader sent: {error}")),
            }
        }
        let piece = self.under_way.pop_front().expect("looked at above");
        self.keep_stale(piece);
        self.check_ahead(follower)
    }

    /// A follower never has what its leader may lose.
    fn check_ahead(&self, follower: usize) -> Result<(), String> {
        let leader = &self.nodes[1 - follower];
        let end = self.nodes[follower].end();
        // The mark that ends a segment is followed by nothing up to the segment's end.
        let flushed = leader.up.as_ref().map_or(end, |up| up.store.state().log.flushed());
        let ended = leader.settings.layout.is_start(end);
        if end > flushed && !ended {
            return Err(format!("the follower has {end}, its leader {flushed} for sure"));
        }
        Ok(())
    }

    /// A batch of an older epoch is offered at the very place where one is awaited; it must be refused.
    fn offer_stale(&mut self) -> Result<(), String> {
        let node = self.rng.usize(0..2);
        if self.nodes[node].up.is_none() || self.nodes[node].leads() || self.is_poisoned(node) {
            return Ok(());
        }
        let store = self.nodes[node].store().clone();
        let end = self.nodes[node].end();
        let newest = store.state().lineage().last();
        let Some(newest) = newest else { return Ok(()) };
        let older = |piece: &&Piece| piece.epoch < newest.epoch;
        let log_id = self.nodes[node].settings.log_id;
        let piece = self.stale.iter().rev().find(older);
        let Some(mut piece) = piece.map(|piece| transit::first_at(piece, log_id, end)) else {
            return Ok(());
        };
        if self.mutation == Some(Mutation::OldEpochAccepted) {
            transit::disguise(&mut piece, log_id, newest.epoch, newest.writer);
            let _ = store.accept(&piece.bytes);
            return Ok(());
        }
        match store.accept(&piece.bytes) {
            Err(NotAccepted::Unfit { .. }) => self.summary.refused += 1,
            other => return Err(format!("a piece of an older epoch: {other:?}")),
        }
        Ok(())
    }

    /// The follower tells what it has, the leader what is committed.
    fn acknowledge(&mut self) {
        let Some(leader) = self.leader else { return };
        let (own, other) = (&self.nodes[leader], &self.nodes[1 - leader]);
        if !self.joined || own.up.is_none() || other.up.is_none() {
            return;
        }
        let (own, other) = (own.store().clone(), other.store().clone());
        if own.state().log.poisoned().is_some() {
            return;
        }
        let acknowledged = match self.mutation {
            Some(Mutation::AckBeforeSync) => other.state().log.appended(),
            _ => other.state().log.flushed(),
        };
        let before = own.state().log.committed();
        own.limit_commit(acknowledged.max(before));
        let committed = own.state().log.committed();
        let node = &self.nodes[leader];
        for item in self.book.iter_mut().filter(|item| !item.committed && item.end() <= committed) {
            item.committed = item.is_in(node);
        }
        if self.rng.bool() {
            let shown = other.state().log.committed();
            other.limit_commit(committed.max(shown));
        }
        self.nodes[0].note_shown();
        self.nodes[1].note_shown();
    }

    /// Somebody falls, or both, and may rot while it lies there.
    fn fall(&mut self) -> Result<(), String> {
        let first = self.rng.usize(0..2);
        let both = self.rng.u8(0..3) == 0;
        for node in [first, 1 - first].into_iter().take(if both { 2 } else { 1 }) {
            let may_rot = self.joined && self.leader == Some(1 - node);
            let Some(up) = &self.nodes[node].up else { continue };
            let flushed = up.store.state().log.flushed();
            let ahead = self.nodes[1 - node].up.as_ref();
            let ahead = ahead.is_some_and(|up| up.store.state().log.flushed() >= flushed);
            let power = self.rng.bool();
            self.lose(node, power)?;
            if may_rot && ahead && !self.nodes.iter().any(|node| node.rotten) && self.rng.bool() {
                self.rot(node, flushed);
            }
        }
        Ok(())
    }

    fn lose(&mut self, node: usize, power: bool) -> Result<(), String> {
        self.tell(|| format!("node {node} falls, power: {power}"));
        self.part();
        if !power {
            // What is in flight when a process ends has ended before the next one starts; `crashsim` plays the other case
            // for a store that leads.
            let rng = &mut self.rng;
            self.nodes[node].run_until_idle(rng);
        }
        self.trace(node);
        if power || self.nodes[node].disk.crashed() {
            self.summary.power_cuts += 1;
            let rng = &mut self.rng;
            self.nodes[node].cut_power(rng);
        } else {
            self.summary.kills += 1;
            self.nodes[node].kill();
        }
        Ok(())
    }

    /// A bit flips in what was noted to be durable and no index file covers: the last segment.
    fn rot(&mut self, node: usize, flushed: u64) {
        let own = &mut self.nodes[node];
        let segment = own.settings.layout.start_of(flushed);
        let to = own.noted.get().min(flushed);
        if to <= segment {
            return;
        }
        let path = own.settings.dir.join(format!("{segment:020}"));
        if own.disk.unsynced_writes(&path) > 0 {
            return;
        }
        let byte = self.rng.u64(0..to - segment);
        assert!(own.disk.flip_bit(&path, byte, self.rng.u8(0..8)));
        own.rotten = true;
        own.missing_until = own.missing_until.max(flushed);
        self.summary.rotten += 1;
        self.tell(|| format!("node {node} rots at {}", segment + byte));
    }

    /// Opens a store as a follower, with power cuts on the way. `false`: whoever wanted the cut has forgotten it.
    fn boot(&mut self, node: usize, end: Option<u64>) -> Result<bool, String> {
        let cuts = end.is_some() && self.mutation == Some(Mutation::CutNotSynced);
        for attempt in 0.. {
            if attempt < DISTURBED_BOOTS_MAX && self.rng.u8(0..3) == 0 {
                self.nodes[node].disk.crash_after(self.rng.u64(0..30));
            }
            if cuts {
                self.nodes[node].disk.lie(Lies::Syncs);
            }
            let opened = self.nodes[node].open(Opening { role: Role::Follower, end });
            self.nodes[node].disk.lie(Lies::None);
            match opened {
                None if self.nodes[node].disk.crashed() => {
                    self.summary.boots_failed += 1;
                    self.trace(node);
                    let rng = &mut self.rng;
                    self.nodes[node].cut_power(rng);
                    if end.is_some() && self.rng.bool() {
                        self.boot(node, None)?;
                        return Ok(false);
                    }
                }
                None => return Err("opening a store hangs".into()),
                Some(Err(error)) => return Err(format!("opening node {node}: {error}")),
                Some(Ok(report)) => {
                    self.booted(node, report)?;
                    return Ok(true);
                }
            }
        }
        unreachable!("attempts do not run out")
    }

    fn booted(&mut self, node: usize, report: Report) -> Result<(), String> {
        self.summary.boots += 1;
        let own = &mut self.nodes[node];
        let end = own.end();
        let state = own.store().state();
        state.check();
        let committed = state.log.committed();
        drop(state);
        if !own.rotten && report.damaged_bytes + report.lacking_bytes > 0 {
            return Err(format!("damage where nothing rotted: {report:?}"));
        }
        if report.damaged_bytes > 0 {
            own.hole = report.damaged_from;
        }
        own.noticed |= report.damaged_bytes + report.lacking_bytes > 0;
        if own.rotten && !own.noticed {
            return Err(format!("rot goes unnoticed: {report:?}"));
        }
        own.noted.set(own.noted.get().min(end));
        if committed > own.shown {
            return Err(format!("{committed} is shown, {} was committed", own.shown));
        }
        self.tell(|| format!("node {node} is up to {end}, shows {committed}: {report:?}"));
        Ok(())
    }

    /// Both are healthy and have everything; then they are equal.
    fn settle(&mut self) -> Result<(), String> {
        self.tell(|| "both settle".into());
        let mut rounds = 0;
        loop {
            for node in 0..2 {
                if self.nodes[node].up.is_some() && self.nodes[node].disk.crashed() {
                    self.lose(node, true)?;
                }
                if self.nodes[node].up.is_some() {
                    self.nodes[node].disk.crash_after(u64::MAX / 2);
                    self.nodes[node].tick();
                }
            }
            self.come_back()?;
            if let Some(leader) = self.leader.filter(|leader| self.nodes[*leader].leads()) {
                let _ = self.nodes[leader].store().state_mut().append_group_offsets(self.clock);
                self.nodes[leader].store().appended();
            }
            self.send();
            self.deliver()?;
            self.acknowledge();
            for node in 0..2 {
                let rng = &mut self.rng;
                self.nodes[node].run_until_idle(rng);
            }
            if self.joined && self.have_caught_up() {
                break;
            }
            rounds += 1;
            if rounds > CATCH_UP_ROUNDS_MAX {
                return Err("the follower does not catch up".into());
            }
        }
        self.compare()
    }

    fn have_caught_up(&self) -> bool {
        let [one, other] = [0, 1].map(|node| {
            let state = self.nodes[node].store().state();
            let log = &state.log;
            (log.appended(), log.flushed(), log.committed(), state.has_unwritten_offsets())
        });
        let (appended, flushed, committed, _) = one;
        one == other && flushed == committed && appended == flushed
    }

    fn compare(&mut self) -> Result<(), String> {
        let end = self.nodes[0].end();
        self.summary.compared += 1;
        let tables = Tables::of(&self.nodes[0])?;
        tables.compare(&Tables::of(&self.nodes[1])?, "both")?;
        let logs = [0, 1].map(|node| log_bytes(&self.nodes[node], end));
        if logs[0] != logs[1] {
            let at = logs[0].iter().zip(&logs[1]).position(|(one, other)| one != other);
            return Err(format!("the logs differ at {at:?}"));
        }
        check_book(&self.book, &logs[0])?;
        for node in &mut self.nodes {
            (node.rotten, node.noticed) = (false, false);
            node.missing_until = 0;
        }
        let node = self.rng.usize(0..2);
        self.lose(node, false)?;
        self.boot(node, None)?;
        self.nodes[node].store().limit_commit(CommitRule::ALONE);
        self.nodes[node].note_shown();
        let again = Tables::of(&self.nodes[node])?;
        tables.compare(&again, "after a restart")?;
        // It is a follower: what it shows is what its leader says.
        let committed = self.nodes[node].store().state().log.committed();
        self.nodes[node].store().limit_commit(committed);
        block_on(self.nodes[node].store().note_bounds());
        Ok(())
    }
}
