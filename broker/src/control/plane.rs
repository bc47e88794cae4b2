//! `ControlPlane`: the shell around [`Control`], on the control worker. It carries out what that decides.
//!
//! Changes are durable before the answers that depend on them leave, many in one write ([`MetadataStore`]). Snapshots,
//! notifications and registrations go out at once.

use crate::{
    control::{
        Control, Effects, WantedTopic,
        metadata_store::MetadataStore,
        table_answer::{TableAnswer, all_groups, all_topics},
    },
    error::Refusal,
    gather::{Finish, Gathers, ShardQuery, ShardReport},
    mailbox::{CoreMessage, ForwardedRequest, Notice},
    registration::Registrar,
    request::Request,
    response::{Responder, Response},
    stats::{Days, Rates, Sum},
    worker::Worker,
};
use proto::{
    body::{SubscriptionGroupConfig, TopicConfig},
    code::request,
    command::{Language, OUR_VERSION, RequestHead, write_request},
    frame::HeaderKind,
    request::SendHeader,
};
use remoting::ConnectionId;
use runtime::{DirectDisk, Signal};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};
use store::StoreError;

/// Heartbeats are looked through for silent clients this often, ms.
const EXPIRE_MS: i64 = 10_000;

/// How long an answer waits for name servers, ms.
const REGISTER_PATIENCE_MS: i64 = 1_000;

/// What waits for the files.
pub enum Pending {
    /// A response.
    Respond(Responder, Response),
    /// A request that goes on once its topic or group is durable.
    Resume(Box<ForwardedRequest>),
}

/// The control owner and what it needs.
pub struct ControlPlane {
    /// Topics, groups, members.
    pub control: RefCell<Control>,
    /// Registration with name servers.
    pub registrar: RefCell<Option<Registrar>>,
    /// Rates for the runtime information.
    pub rates: RefCell<Rates>,
    /// Totals of yesterday and today.
    pub days: Cell<Days>,
    /// When the broker started, ms.
    pub boot_ms: i64,
    /// Answers to GET_ALL_TOPIC_CONFIG.
    pub all_topics: TableAnswer<TopicConfig>,
    /// Answers to GET_ALL_SUBSCRIPTIONGROUP_CONFIG.
    pub all_groups: TableAnswer<SubscriptionGroupConfig>,
    /// Not here while [`ControlPlane::write_changes`] writes.
    files: RefCell<Option<MetadataStore<DirectDisk>>>,
    gathers: RefCell<Gathers>,
    pending: RefCell<Vec<Pending>>,
    /// Changes that are not durable yet.
    unsaved: RefCell<Vec<Vec<u8>>>,
    writer_wanted: Signal,
    push_opaque: Cell<i32>,
    last_expire_ms: Cell<i64>,
    last_stats: Cell<(i64, Sum)>,
}

impl ControlPlane {
    /// A plane with the metadata that was loaded.
    pub fn new(control: Control, files: MetadataStore<DirectDisk>, now: i64) -> ControlPlane {
        ControlPlane {
            control: RefCell::new(control),
            registrar: RefCell::default(),
            rates: RefCell::default(),
            days: Cell::default(),
            boot_ms: now,
            all_topics: all_topics(),
            all_groups: all_groups(),
            files: RefCell::new(Some(files)),
            gathers: RefCell::default(),
            pending: RefCell::default(),
            unsaved: RefCell::default(),
            writer_wanted: Signal::default(),
            push_opaque: Cell::new(0),
            last_expire_ms: Cell::new(now),
            last_stats: Cell::new((now, Sum::default())),
        }
    }

    /// Carries out what the last calls of the control owner made necessary.
    pub fn apply_effects(&self, worker: &Rc<Worker>) {
        let effects = self.control.borrow_mut().effects();
        let Effects { topic_changes, group_changes, publish, register, notify, close } = effects;
        if let Some(metadata) = publish {
            worker.broadcast(&Notice::Metadata(metadata));
        }
        if !topic_changes.is_empty() || !group_changes.is_empty() {
            let mut unsaved = self.unsaved.borrow_mut();
            unsaved.extend(topic_changes.into_iter().chain(group_changes));
            self.writer_wanted.raise();
        }
        if register && let Some(registrar) = &*self.registrar.borrow() {
            registrar.changed();
        }
        for changed in notify {
            let frame = self.consumer_ids_changed(&changed.group);
            for member in changed.members {
                worker.push(member, &frame);
            }
        }
        for connection in close {
            worker.notify(connection.worker(), Notice::CloseConnection(connection));
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
    pub fn answer_durably(&self, worker: &Rc<Worker>, responder: Responder, response: Response) {
        self.apply_effects(worker);
        if self.files_are_current() {
            return worker.respond(responder, response);
        }
        self.pending.borrow_mut().push(Pending::Respond(responder, response));
    }

    /// Answers once everything that was decided so far is durable and the name servers know the topics, so that who
    /// created a topic finds its route. Name servers that do not answer delay it by a second at most.
    pub fn answer_registered(&self, worker: &Rc<Worker>, responder: Responder, response: Response) {
        self.answer_after(worker, responder, response, |registrar| async move {
            registrar.registered(REGISTER_PATIENCE_MS).await;
        });
    }

    /// Answers once everything that was decided so far is durable and no registration is under way any more that may
    /// still name a deleted topic: who deletes it at a name server next, as tools do, would see it come back.
    pub fn answer_overtaken(&self, worker: &Rc<Worker>, responder: Responder, response: Response) {
        self.answer_after(worker, responder, response, |registrar| async move {
            registrar.no_stale_registration(REGISTER_PATIENCE_MS).await;
        });
    }

    /// Answers durably after what `wait` waits for. Without name servers there is nothing to wait for.
    fn answer_after<F: Future<Output = ()> + 'static>(
        &self,
        worker: &Rc<Worker>,
        responder: Responder,
        response: Response,
        wait: impl FnOnce(Registrar) -> F + 'static,
    ) {
        self.apply_effects(worker);
        let registrar = self.registrar.borrow().clone();
        let Some(registrar) = registrar else {
            return self.answer_durably(worker, responder, response);
        };
        let waiting = Rc::clone(worker);
        worker.executor.spawn(async move {
            wait(registrar).await;
            if let Some(plane) = &waiting.control {
                plane.answer_durably(&waiting, responder, response);
            }
        });
    }

    fn files_are_current(&self) -> bool {
        self.unsaved.borrow().is_empty() && self.files.borrow().is_some()
    }

    /// Serves a request again, once everything that was decided so far is durable.
    fn resume_durably(&self, worker: &Rc<Worker>, request: &Request<'_>, responder: Responder) {
        self.apply_effects(worker);
        let frame = request.frame.into();
        let resumed = Box::new(ForwardedRequest { responder, peer: *request.peer, frame });
        self.pending.borrow_mut().push(Pending::Resume(resumed));
        self.writer_wanted.raise();
    }

    /// Creates the topic of a send, if that is allowed, and lets the send go on.
    pub fn topic_for_send(
        &self,
        worker: &Rc<Worker>,
        request: &Request<'_>,
        header: &SendHeader<'_>,
        responder: Responder,
    ) {
        let wanted = WantedTopic {
            topic: header.topic,
            default_topic: header.default_topic,
            default_topic_queue_nums: header.default_topic_queue_nums,
            unit_mode: header.unit_mode,
        };
        let found = self.control.borrow_mut().topic_for_send(request.now, &wanted);
        let refusal = match found {
            Ok(Some(_)) => return self.resume_durably(worker, request, responder),
            Ok(None) => Refusal::topic_not_exist(header.topic),
            Err(error) => Refusal::system_error(error.to_string()),
        };
        worker.respond(responder, Response::SendRefused(Box::new(refusal)));
    }

    /// Creates the group of a pull, if that is allowed, and lets the pull go on.
    pub fn group_for_pull(
        &self,
        worker: &Rc<Worker>,
        request: &Request<'_>,
        group: &str,
        responder: Responder,
    ) {
        let found = self.control.borrow_mut().group(request.now, group);
        let refusal = match found {
            Ok(Some(_)) => return self.resume_durably(worker, request, responder),
            Ok(None) => Refusal::group_not_exist(group),
            Err(error) => Refusal::system_error(error.to_string()),
        };
        worker.respond(responder, refusal.into());
    }

    /// Waits until there is something to make durable, and does it. Returns what waited for that, and how it went.
    /// `None`: the files are closed.
    pub async fn write_changes(&self) -> Option<(Vec<Pending>, Result<(), StoreError>)> {
        self.writer_wanted.wait().await;
        let mut files = self.files.take()?;
        let waiting = self.pending.take();
        let changes = self.unsaved.take();
        let written = files.save(&self.control, &changes).await;
        self.files.replace(Some(files));
        if let Err(error) = &written {
            tracing::error!(%error, "metadata could not be written");
            // Before what has been decided meanwhile: the journal is in order.
            self.unsaved.borrow_mut().splice(..0, changes);
        }
        Some((waiting, written))
    }

    /// Whether something came while the last changes were written, or they could not be.
    pub fn has_more_to_write(&self) -> bool {
        !self.pending.borrow().is_empty() || !self.unsaved.borrow().is_empty()
    }

    /// Has [`ControlPlane::write_changes`] look again.
    pub fn raise_writer(&self) {
        self.writer_wanted.raise();
    }

    /// Writes the files whole, so that the next start has no journal to read. For the end, when nothing is decided any
    /// more.
    pub async fn checkpoint(&self) {
        let Some(mut files) = self.files.take() else { return };
        let changes = self.unsaved.take();
        if let Err(error) = files.close(&self.control, &changes).await {
            tracing::error!(%error, "metadata could not be written at the end");
        }
    }

    /// Whether everything decided so far is on disk: for the shutdown.
    pub fn is_durable(&self) -> bool {
        self.files_are_current() && self.pending.borrow().is_empty()
    }

    /// Asks all shards, then answers with what `finish` makes of it.
    pub fn gather(
        &self,
        worker: &Rc<Worker>,
        responder: Responder,
        query: ShardQuery,
        finish: Finish,
    ) {
        let mut report = ShardReport::default();
        for shard in &worker.hosted {
            report.add(&query, shard);
        }
        let others = worker.executor.count() - 1;
        if others == 0 {
            return worker.respond(responder, finish(report));
        }
        let number = self.gathers.borrow_mut().open(responder, report, others, finish);
        for executor in (0..=others).filter(|executor| *executor != worker.executor.index()) {
            worker.send(executor, CoreMessage::Query(number, Box::new(query.clone())));
        }
    }

    /// Another executor has told its part.
    pub fn on_report(&self, worker: &Rc<Worker>, number: u64, report: ShardReport) {
        let finished = self.gathers.borrow_mut().on_report(number, report);
        if let Some((responder, response)) = finished {
            worker.respond(responder, response);
        }
    }

    /// A connection, of any executor, has ended.
    pub fn connection_closed(&self, worker: &Rc<Worker>, connection: ConnectionId) {
        self.control.borrow_mut().connection_closed(connection);
        self.apply_effects(worker);
    }

    /// Housekeeping.
    pub fn tick(&self, worker: &Rc<Worker>, now: i64) {
        if now - self.last_expire_ms.get() >= EXPIRE_MS {
            self.last_expire_ms.set(now);
            self.control.borrow_mut().tick(now);
        }
        self.apply_effects(worker);
        self.all_topics.tick(now);
        self.all_groups.tick(now);
        let sum = Sum::of(&worker.totals);
        self.rates.borrow_mut().sample(now, sum);
        let mut days = self.days.get();
        days.note(now, sum);
        self.days.set(days);
        let (last_ms, last) = self.last_stats.get();
        let interval_ms = i64::from(worker.config.stats_interval_seconds) * 1000;
        if now - last_ms >= interval_ms {
            self.last_stats.set((now, sum));
            log_stats(now - last_ms, &last, &sum);
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
