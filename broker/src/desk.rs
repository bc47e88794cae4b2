//! The shell around the control owner, on executor 0: it carries out what [`Control`] decides.
//!
//! Changes are durable before the answers that depend on them leave, many in one write ([`FactFiles`]). Snapshots,
//! notifications and registrations go out at once.

mod files;

pub use files::FactFiles;

use crate::{
    control::{Control, Effects, WantedTopic},
    error::Refusal,
    front::dispatch::{self, Request},
    letter::{Answer, ConnectionId, ForwardedFrame, Letter, Reply},
    registration::Registrar,
    shard::Shard,
    stats::{Days, Rates, Sum},
    survey::{Conclude, Findings, Question, Surveys},
};
use proto::{
    code::request,
    command::{Language, OUR_VERSION, RequestHead, write_request},
    frame::HeaderKind,
    request::SendHeader,
};
use runtime::{DirectDisk, Signal};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

/// Heartbeats are looked through for silent clients this often, ms.
const EXPIRE_MS: i64 = 10_000;

/// How long an answer waits for name servers, ms.
const REGISTER_PATIENCE_MS: i64 = 1_000;

/// What waits for the files.
enum Pending {
    Answer(Reply, Answer),
    /// A request that goes on once its topic or group is durable.
    Resume(Box<ForwardedFrame>),
}

/// The control owner and what it needs.
pub struct Desk {
    /// Topics, groups, members.
    pub control: RefCell<Control>,
    /// Registration with name servers.
    pub registrar: RefCell<Option<Registrar<Letter>>>,
    /// Rates for the runtime information.
    pub rates: RefCell<Rates>,
    /// Totals of yesterday and today.
    pub days: Cell<Days>,
    /// When the broker started, ms.
    pub boot_ms: i64,
    /// Not here while [`Desk::files_loop`] writes.
    files: RefCell<Option<FactFiles<DirectDisk>>>,
    surveys: RefCell<Surveys>,
    pending: RefCell<Vec<Pending>>,
    /// Changes that are not durable yet.
    unsaved: RefCell<Vec<Vec<u8>>>,
    files_work: Signal,
    push_opaque: Cell<i32>,
    last_expire_ms: Cell<i64>,
    last_stats: Cell<(i64, Sum)>,
}

impl Desk {
    /// A desk with the control owner's files.
    pub fn new(control: Control, files: FactFiles<DirectDisk>, now: i64) -> Desk {
        Desk {
            control: RefCell::new(control),
            registrar: RefCell::default(),
            rates: RefCell::default(),
            days: Cell::default(),
            boot_ms: now,
            files: RefCell::new(Some(files)),
            surveys: RefCell::default(),
            pending: RefCell::default(),
            unsaved: RefCell::default(),
            files_work: Signal::default(),
            push_opaque: Cell::new(0),
            last_expire_ms: Cell::new(now),
            last_stats: Cell::new((now, Sum::default())),
        }
    }

    /// Carries out what the last calls of the control owner made necessary.
    pub fn settle(&self, shard: &Rc<Shard>) {
        let effects = self.control.borrow_mut().effects();
        let Effects { topic_changes, group_changes, publish, register, notify, close } = effects;
        if let Some(meta) = publish {
            shard.tell_all(|| Letter::Meta(Arc::clone(&meta)));
        }
        if !topic_changes.is_empty() || !group_changes.is_empty() {
            let mut unsaved = self.unsaved.borrow_mut();
            unsaved.extend(topic_changes.into_iter().chain(group_changes));
            self.files_work.raise();
        }
        if register && let Some(registrar) = &*self.registrar.borrow() {
            registrar.changed();
        }
        for changed in notify {
            let frame = self.consumer_ids_changed(&changed.group);
            for member in changed.members {
                shard.push(ConnectionId::from_u64(member.0), &frame);
            }
        }
        for connection in close {
            let connection = ConnectionId::from_u64(connection.0);
            shard.deliver_or_take(connection.home(), Letter::Close(connection));
        }
    }

    /// NOTIFY_CONSUMER_IDS_CHANGED, one-way.
    fn consumer_ids_changed(&self, group: &str) -> Arc<[u8]> {
        self.push_opaque.set(self.push_opaque.get().wrapping_add(1));
        let mut frame = Vec::new();
        let head = RequestHead {
            code: request::NOTIFY_CONSUMER_IDS_CHANGED,
            language: Language::Java,
            version: OUR_VERSION,
            opaque: self.push_opaque.get(),
            oneway: true,
            remark: None,
            ext: &[("consumerGroup", group.into())],
        };
        write_request(&mut frame, HeaderKind::Json, &head, b"");
        frame.into()
    }

    /// Answers once everything that was decided so far is durable.
    pub fn answer_durably(&self, shard: &Rc<Shard>, reply: Reply, answer: Answer) {
        self.settle(shard);
        if self.files_are_current() {
            return shard.answer(reply, answer);
        }
        self.pending.borrow_mut().push(Pending::Answer(reply, answer));
    }

    /// Answers once everything that was decided so far is durable and the name servers know the topics, so that who
    /// created a topic finds its route. Name servers that do not answer delay it by a second at most.
    pub fn answer_registered(&self, shard: &Rc<Shard>, reply: Reply, answer: Answer) {
        self.answer_after(shard, reply, answer, |registrar| async move {
            registrar.known(REGISTER_PATIENCE_MS).await;
        });
    }

    /// Answers once everything that was decided so far is durable and no registration is under way any more that may
    /// still name a deleted topic: who deletes it at a name server next, as tools do, would see it come back.
    pub fn answer_overtaken(&self, shard: &Rc<Shard>, reply: Reply, answer: Answer) {
        self.answer_after(shard, reply, answer, |registrar| async move {
            registrar.overtaken(REGISTER_PATIENCE_MS).await;
        });
    }

    /// Answers durably after what `wait` waits for. Without name servers there is nothing to wait for.
    fn answer_after<F: Future<Output = ()> + 'static>(
        &self,
        shard: &Rc<Shard>,
        reply: Reply,
        answer: Answer,
        wait: impl FnOnce(Registrar<Letter>) -> F + 'static,
    ) {
        self.settle(shard);
        let registrar = self.registrar.borrow().clone();
        let Some(registrar) = registrar else {
            return self.answer_durably(shard, reply, answer);
        };
        let home = Rc::clone(shard);
        shard.executor.spawn(async move {
            wait(registrar).await;
            if let Some(desk) = &home.control {
                desk.answer_durably(&home, reply, answer);
            }
        });
    }

    fn files_are_current(&self) -> bool {
        self.unsaved.borrow().is_empty() && self.files.borrow().is_some()
    }

    /// Serves a request again, once everything that was decided so far is durable.
    fn resume_durably(&self, shard: &Rc<Shard>, request: &Request<'_>, reply: Reply) {
        self.settle(shard);
        let frame = request.frame.into();
        let resumed = Box::new(ForwardedFrame { reply, peer: *request.peer, frame });
        self.pending.borrow_mut().push(Pending::Resume(resumed));
        self.files_work.raise();
    }

    /// Creates the topic of a send, if that is allowed, and lets the send go on.
    pub fn topic_for_send(
        &self,
        shard: &Rc<Shard>,
        request: &Request<'_>,
        header: &SendHeader<'_>,
        reply: Reply,
    ) {
        let wanted = WantedTopic {
            topic: header.topic,
            default_topic: header.default_topic,
            default_topic_queue_nums: header.default_topic_queue_nums,
            unit_mode: header.unit_mode,
        };
        let found = self.control.borrow_mut().topic_for_send(request.now, &wanted);
        let refusal = match found {
            Ok(Some(_)) => return self.resume_durably(shard, request, reply),
            Ok(None) => Refusal::topic_not_exist(header.topic),
            Err(error) => Refusal::system_error(error.to_string()),
        };
        shard.answer(reply, Answer::SendRefused(Box::new(refusal)));
    }

    /// Creates the group of a pull, if that is allowed, and lets the pull go on.
    pub fn group_for_pull(
        &self,
        shard: &Rc<Shard>,
        request: &Request<'_>,
        group: &str,
        reply: Reply,
    ) {
        let found = self.control.borrow_mut().group(request.now, group);
        let refusal = match found {
            Ok(Some(_)) => return self.resume_durably(shard, request, reply),
            Ok(None) => Refusal::group_not_exist(group),
            Err(error) => Refusal::system_error(error.to_string()),
        };
        shard.answer(reply, refusal.into());
    }

    /// Makes changes durable as they come, then lets go what waited for them. Runs for ever.
    pub async fn files_loop(&self, shard: Rc<Shard>) {
        self.files_work.raise();
        loop {
            self.files_work.wait().await;
            let Some(mut files) = self.files.take() else { return };
            let waiting = self.pending.take();
            let changes = self.unsaved.take();
            let written = files.save(&self.control, &changes).await;
            self.files.replace(Some(files));
            if let Err(error) = &written {
                tracing::error!(%error, "facts could not be written");
                // Before what has been decided meanwhile: the journal is in order.
                self.unsaved.borrow_mut().splice(..0, changes);
            }
            for pending in waiting {
                release(&shard, pending, written.as_ref().err());
            }
            if !self.pending.borrow().is_empty() || !self.unsaved.borrow().is_empty() {
                if written.is_err() {
                    shard.executor.sleep(std::time::Duration::from_secs(1)).await;
                }
                self.files_work.raise();
            }
        }
    }

    /// Writes the files whole, so that the next start has no journal to read. For the end, when nothing is decided any
    /// more.
    pub async fn fold_files(&self) {
        let Some(mut files) = self.files.take() else { return };
        let changes = self.unsaved.take();
        if let Err(error) = files.close(&self.control, &changes).await {
            tracing::error!(%error, "facts could not be written at the end");
        }
    }

    /// Whether everything decided so far is on disk: for the shutdown.
    pub fn is_durable(&self) -> bool {
        self.files_are_current() && self.pending.borrow().is_empty()
    }

    /// Asks all shards, then answers with what `conclude` makes of it.
    pub fn survey(&self, shard: &Rc<Shard>, reply: Reply, question: Question, conclude: Conclude) {
        let mut findings = Findings::default();
        for queues in &shard.hosted {
            findings.add(&question, queues);
        }
        let others = shard.executor.count() - 1;
        if others == 0 {
            return shard.answer(reply, conclude(findings));
        }
        let number = self.surveys.borrow_mut().open(reply, findings, others, conclude);
        for executor in (0..=others).filter(|executor| *executor != shard.executor.index()) {
            shard.deliver(executor, Letter::Ask(number, Box::new(question.clone())));
        }
    }

    /// Another executor has told its part.
    pub fn told(&self, shard: &Rc<Shard>, number: u64, findings: Findings) {
        let concluded = self.surveys.borrow_mut().told(number, findings);
        if let Some((reply, answer)) = concluded {
            shard.answer(reply, answer);
        }
    }

    /// A connection, of any executor, has ended.
    pub fn connection_closed(&self, shard: &Rc<Shard>, connection: ConnectionId) {
        let connection = crate::control::ConnectionId(connection.to_u64());
        self.control.borrow_mut().connection_closed(connection);
        self.settle(shard);
    }

    /// Housekeeping.
    pub fn each_second(&self, shard: &Rc<Shard>, now: i64) {
        if now - self.last_expire_ms.get() >= EXPIRE_MS {
            self.last_expire_ms.set(now);
            self.control.borrow_mut().tick(now);
        }
        self.settle(shard);
        let sum = Sum::of(&shard.totals);
        self.rates.borrow_mut().sample(now, sum);
        let mut days = self.days.get();
        days.note(now, sum);
        self.days.set(days);
        let (last_ms, last) = self.last_stats.get();
        let interval_ms = i64::from(shard.config.stats_interval_seconds) * 1000;
        if now - last_ms >= interval_ms {
            self.last_stats.set((now, sum));
            log_stats(now - last_ms, &last, &sum);
        }
    }
}

fn release(shard: &Rc<Shard>, pending: Pending, error: Option<&store::StoreError>) {
    match (pending, error) {
        (Pending::Answer(reply, answer), None) => shard.answer(reply, answer),
        (Pending::Resume(resumed), None) => dispatch::forwarded(shard, *resumed),
        (Pending::Answer(reply, _), Some(error)) => {
            shard.answer(reply, Refusal::system_error(error.to_string()).into());
        }
        (Pending::Resume(resumed), Some(error)) => {
            shard.answer(resumed.reply, Refusal::system_error(error.to_string()).into());
        }
    }
}

/// One line when there was traffic.
fn log_stats(elapsed_ms: i64, last: &Sum, now: &Sum) {
    let busy = now.put_messages != last.put_messages
        || now.got_messages != last.got_messages
        || now.refused != last.refused;
    if !busy || elapsed_ms <= 0 {
        return;
    }
    let per_second = |field: fn(&Sum) -> u64| {
        field(now).saturating_sub(field(last)) as f64 * 1000.0 / elapsed_ms as f64
    };
    tracing::info!(
        put_per_s = per_second(|sum| sum.put_messages).round(),
        put_mb_per_s = (per_second(|sum| sum.put_bytes) / 1e4).round() / 100.0,
        got_per_s = per_second(|sum| sum.got_messages).round(),
        got_mb_per_s = (per_second(|sum| sum.got_bytes) / 1e4).round() / 100.0,
        refused = now.refused - last.refused,
        inflight_bytes = now.inflight_bytes,
        parked_pulls = now.parked_pulls,
        connections = now.connections,
        "stats"
    );
}
