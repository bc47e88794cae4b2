//! [`Registration`] over sockets: one task per name server talks, one task per connection listens, one task ticks.
//!
//! Nothing here is cancelled: an answer that takes too long ends by closing its socket from the tick. Everything runs
//! on one executor, that of the control owner, whose topics are registered. Over the same connections others ask for routes
//! ([`Registrar::route`]): a question that is not answered is given up alone.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    future::poll_fn,
    ops::ControlFlow::{Break, Continue},
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use proto::{
    body::{DataVersion, KvTable, RegisterBrokerBody, RouteData, TopicConfigTable},
    code::{request, response},
    command::{
        self, ExtValue, Header, HeaderArena, HeaderKind, Language, OUR_VERSION, RequestHead,
    },
    record,
};
use remoting::{FrameReader, ReadHalf, Transport, WriteHalf};
use runtime::{Closer, Executor, Millis, Uptime};
use tls::Tls;

use crate::{
    config::BrokerConfig,
    control::{
        Control, PERM_READ, PERM_WRITE,
        tables::{PART_BYTES, TopicParts},
    },
    one_shot::OneShot,
};

use super::{
    Action, Identity, Learned, Options, Registration, ServerRequest, ServerResponse, StateChange,
    questions::{Answer, Questions},
};

/// Precision of all deadlines here; also the most by which a coalesced change is late.
const TICK: Duration = Duration::from_millis(100);
/// Bytes of the read buffer of one connection.
const SCRATCH_BYTES: usize = 4096;
/// Longest that [`Registrar::stop`] takes, in ticks.
const STOP_TICKS_MAX: u32 = 20;
/// How long one name server may take to answer a question before the next one is asked.
const ANSWER_MS_MAX: Millis = 1_000;

/// What name servers say of a topic's route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteAnswer {
    /// The route.
    Known(RouteData),
    /// No broker that a name server knows has the topic.
    Unknown,
    /// None answered, or none is connected.
    Silence,
}

/// Handle to the running registration. Clones share it.
#[derive(Clone)]
pub struct Registrar {
    shared: Rc<Shared>,
}

struct Shared {
    executor: Executor,
    identity: Identity,
    options: Cell<Options>,
    /// How connections are secured, if they are.
    tls: Option<Arc<Tls>>,
    /// Whose topics are registered, and who learns from name servers which of them are order topics.
    control: Rc<RefCell<Control>>,
    registration: RefCell<Registration>,
    /// By name server: who waits for something to do.
    wakers: RefCell<Vec<Option<Waker>>>,
    /// By name server: the registration that is under way.
    parts: RefCell<Vec<Option<TopicParts>>>,
    /// By name server: the present connection and its number.
    links: RefCell<Vec<(u64, Option<Closer>)>>,
    last_learned: RefCell<Learned>,
    questions: RefCell<Questions>,
    /// The name server that answered a question last: it is asked first.
    answered_last: Cell<usize>,
    /// Who waits in [`Registrar::registered`] or [`Registrar::no_stale_registration`].
    waiters: RefCell<Vec<Waker>>,
}

/// Starts registering with `servers` (`host:port`; names are looked up at each connect) and returns at once.
pub fn start(
    executor: &Executor,
    identity: Identity,
    options: Options,
    servers: &[String],
    tls: Option<Arc<Tls>>,
    control: Rc<RefCell<Control>>,
) -> Registrar {
    let shared = Rc::new(Shared {
        executor: executor.clone(),
        identity,
        options: Cell::new(options),
        tls,
        control,
        registration: RefCell::new(Registration::new(options, servers, executor.uptime())),
        wakers: RefCell::new(servers.iter().map(|_| None).collect()),
        parts: RefCell::new(vec![None; servers.len()]),
        links: RefCell::new(servers.iter().map(|_| (0, None)).collect()),
        last_learned: RefCell::default(),
        questions: RefCell::new(Questions::new(servers.len())),
        answered_last: Cell::new(0),
        waiters: RefCell::default(),
    });
    for index in 0..servers.len() {
        drop(executor.spawn(talk(Rc::clone(&shared), index)));
    }
    drop(executor.spawn(tick(Rc::clone(&shared))));
    Registrar { shared }
}

impl Registrar {
    /// Registers with these from now on, besides the name server in this process, and with those that are not among them no
    /// more.
    pub fn set_servers(&self, servers: &[String]) {
        let shared = &self.shared;
        let now = shared.executor.uptime();
        let new = shared.registration.borrow_mut().set_servers(servers, now);
        for index in new {
            if index == shared.wakers.borrow().len() {
                shared.wakers.borrow_mut().push(None);
                shared.parts.borrow_mut().push(None);
                shared.links.borrow_mut().push((0, None));
                shared.questions.borrow_mut().add_server();
            }
            drop(shared.executor.spawn(talk(Rc::clone(shared), index)));
        }
        shared.wake_all();
    }

    /// The configuration has changed.
    pub fn take_config(&self, config: &BrokerConfig) {
        let shared = &self.shared;
        let options = Options::of(config, shared.options.get().own_last);
        shared.options.set(options);
        shared.registration.borrow_mut().set_options(options, shared.executor.uptime());
    }

    /// The topics have changed: register them with the name servers now, not with the next tick.
    pub fn changed(&self) {
        self.shared.wake_all();
    }

    /// Resolves when every name server that can be reached knows the topics as they were at the call, or after
    /// `patience` ms.
    pub async fn registered(&self, patience: Millis) {
        let version = self.shared.announced();
        self.wait_until(patience, |registration| registration.has_registered(version)).await;
    }

    /// Resolves when no registration is under way that was under way at the call, or after `patience` ms: none can
    /// bring back a topic that has been deleted meanwhile.
    pub async fn no_stale_registration(&self, patience: Millis) {
        let before = self.shared.registration.borrow().in_flight();
        self.wait_until(patience, |registration| {
            let now = registration.in_flight();
            !before.iter().any(|asked| now.contains(asked))
        })
        .await;
    }

    /// What name servers say of a topic's route, within `patience` ms. They are asked one after the other until one knows the
    /// topic: one that has just started may know little yet.
    pub async fn route(&self, topic: &str, patience: Millis) -> RouteAnswer {
        let shared = &self.shared;
        let deadline = shared.executor.uptime() + patience;
        let count = shared.registration.borrow().count();
        let first = shared.answered_last.get();
        let mut said = RouteAnswer::Silence;
        for index in (0..count).map(|step| (first + step) % count) {
            let now = shared.executor.uptime();
            if now >= deadline {
                break;
            }
            if !shared.registration.borrow().is_connected(index) {
                continue;
            }
            let asked = shared.ask_for_route(index, topic, deadline.min(now + ANSWER_MS_MAX));
            match asked.wait().await.as_ref().map_or(RouteAnswer::Silence, read_route) {
                RouteAnswer::Silence => {}
                RouteAnswer::Unknown => said = RouteAnswer::Unknown,
                known => {
                    shared.answered_last.set(index);
                    return known;
                }
            }
        }
        said
    }

    async fn wait_until(&self, patience: Millis, done: impl Fn(&Registration) -> bool) {
        let shared = &self.shared;
        let deadline = shared.executor.uptime() + patience;
        poll_fn(|context| {
            let over = shared.executor.uptime() >= deadline;
            if over || done(&shared.registration.borrow()) {
                return Poll::Ready(());
            }
            shared.waiters.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// How many name servers know this broker.
    pub fn registered_count(&self) -> usize {
        self.shared.registration.borrow().registered_count()
    }

    /// Whether one name server, in the order in which they were given, knows this broker.
    pub fn is_registered(&self, index: usize) -> bool {
        self.shared.registration.borrow().is_registered(index)
    }

    /// Whether it is known of each name server that it serves us or that it does not.
    pub fn is_settled(&self) -> bool {
        self.shared.registration.borrow().is_settled()
    }

    /// Name servers that do not serve us, each with the reason, for people. Empty: all is well.
    pub fn failing(&self) -> Vec<String> {
        self.shared.registration.borrow().failing()
    }

    /// Unregisters everywhere; resolves when all have answered, after two seconds at most. For the shutdown.
    pub async fn stop(&self) {
        self.shared.registration.borrow_mut().stop();
        self.shared.questions.borrow_mut().stop();
        self.shared.wake_all();
        for _ in 0..STOP_TICKS_MAX {
            if self.shared.registration.borrow().is_closed() {
                return;
            }
            self.shared.executor.sleep(TICK).await;
        }
        tracing::warn!(
            "a name server did not answer the unregistration; it will drop this broker with the connection"
        );
    }
}

impl Shared {
    fn wake(&self, index: usize) {
        let waker = self.wakers.borrow_mut()[index].take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wake_all(&self) {
        // A borrow in the loop's head would last for all of its rounds.
        let count = self.wakers.borrow().len();
        for index in 0..count {
            self.wake(index);
        }
    }

    /// Resolves with the next action that is not to wait, or else with a question to send.
    async fn next_step(&self, index: usize) -> Step {
        poll_fn(|context| {
            let (version, now) = (self.announced(), self.executor.uptime());
            let action = self.registration.borrow_mut().next(index, version, now);
            if action != Action::Wait {
                return Poll::Ready(Step::Registration(action));
            }
            if self.registration.borrow().is_connected(index)
                && let Some(frame) = self.questions.borrow_mut().take_unsent(index)
            {
                return Poll::Ready(Step::Question(frame));
            }
            self.wakers.borrow_mut()[index] = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Has the task of a name server ask it for a topic's route. It answers until then, or is taken not to.
    fn ask_for_route(&self, index: usize, topic: &str, until: Uptime) -> OneShot<Option<Answer>> {
        let frame = |opaque: i32| {
            let mut ext: Vec<(&str, ExtValue<'_>)> = vec![("topic", topic.into())];
            let signature = self.sign(&ext, b"");
            ext.extend(self.signed(signature.as_deref()));
            let head = RequestHead {
                code: request::GET_ROUTEINFO_BY_TOPIC,
                language: Language::Java,
                version: OUR_VERSION,
                opaque,
                oneway: false,
                remark: None,
                ext: &ext,
            };
            let mut out = Vec::new();
            command::write_request(&mut out, HeaderKind::Json, &head, b"");
            out
        };
        let asked = self.questions.borrow_mut().ask(index, until, frame);
        self.wake(index);
        asked
    }

    /// The signature of a request, if requests are signed.
    fn sign(&self, ext: &[(&str, ExtValue<'_>)], body: &[u8]) -> Option<String> {
        self.identity.signer.as_ref().map(|signer| signer.sign(ext, body))
    }

    /// The ext fields of a signed request.
    fn signed<'a>(
        &'a self,
        signature: Option<&'a str>,
    ) -> impl Iterator<Item = (&'static str, ExtValue<'a>)> {
        let both = self.identity.signer.as_ref().zip(signature).map(|(signer, signature)| {
            [(acl::ACCESS_KEY, signer.access_key().into()), (acl::SIGNATURE, signature.into())]
        });
        both.into_iter().flatten()
    }

    /// Version at the last change that has to be registered with name servers, and that the disk holds.
    fn announced(&self) -> DataVersion {
        self.control.borrow().durable().announced
    }

    /// The next topics of a registration: of all, or of those that changed after a version, if that is not too old.
    fn next_part(&self, index: usize, send: super::Send) -> TopicConfigTable {
        let control = self.control.borrow();
        let tables = control.durable();
        let mut rounds = self.parts.borrow_mut();
        let Some(round) = rounds.get_mut(index) else { unreachable!("one for each name server") };
        if !send.continues || round.is_none() {
            let now = self.executor.now();
            let missed = match send.what {
                ServerRequest::RegisterSince(version) => control.topics().since(version),
                _ => None,
            };
            *round = Some(match missed {
                Some(names) => TopicParts::named(tables, now, names),
                None => TopicParts::all(tables, now),
            });
        }
        let parts = round.as_mut().expect("set above");
        let (mut part, is_last) = parts.next(tables, PART_BYTES);
        if is_last {
            *round = None;
        } else {
            self.registration.borrow_mut().has_more(index);
        }
        // What the broker as a whole may not do, none of its topics may.
        let permission = control.broker_permission();
        if permission & (PERM_READ | PERM_WRITE) != PERM_READ | PERM_WRITE {
            part.topic_config_table.values_mut().for_each(|topic| topic.perm &= permission);
        }
        part
    }

    /// Takes over what name servers say about topics. What becomes necessary of it, the control plane's tick does.
    fn apply(&self, learned: &Learned) {
        let Some(order_topics) = &learned.order_topics else { return };
        let listed: BTreeSet<String> = order_topics.keys().cloned().collect();
        self.control.borrow_mut().apply_order_topics(self.executor.now(), &listed);
    }

    fn report(&self, index: usize, change: Option<StateChange>) {
        let addr = self.registration.borrow().addr(index).to_owned();
        match change {
            None => {}
            Some(StateChange::Registered) => {
                // Java's line, which operators look for.
                tracing::info!("register broker[0]to name server {addr} OK")
            }
            Some(StateChange::Failing { why, for_ms }) => {
                tracing::warn!(
                    namesrv = addr,
                    why,
                    for_seconds = for_ms / 1000,
                    "name server does not serve us; clients that ask it do not find this broker (namesrvAddr)"
                )
            }
        }
        let learned = self.registration.borrow().learned();
        if *self.last_learned.borrow() != learned {
            self.apply(&learned);
            *self.last_learned.borrow_mut() = learned;
        }
        self.wake(index);
        self.wake_waiters();
    }

    fn wake_waiters(&self) {
        for waker in self.waiters.take() {
            waker.wake();
        }
    }

    /// A frame came over connection number `link`. A 5.x name server also sends notices (905); nothing here depends on
    /// them.
    fn answered(&self, index: usize, link: u64, header: &Header<'_>, body: &[u8]) {
        if !header.is_response() || self.links.borrow()[index].0 != link {
            return;
        }
        if self.questions.borrow_mut().answered(index, header, body) {
            return;
        }
        let response = read_response(header, body);
        let now = self.executor.uptime();
        let change = self.registration.borrow_mut().answered(index, header.opaque, response, now);
        self.report(index, change);
    }

    /// Connection number `link` is gone; a later one is not concerned.
    fn lost(&self, index: usize, link: u64, why: &str) {
        let closer = {
            let mut links = self.links.borrow_mut();
            if links[index].0 != link {
                return;
            }
            links[index].0 += 1;
            links[index].1.take()
        };
        if let Some(closer) = closer {
            closer.close();
        }
        self.questions.borrow_mut().lost(index);
        let news = self.registration.borrow_mut().lost(index, why, self.executor.uptime());
        self.report(index, news);
    }

    fn request(&self, index: usize, send: super::Send) -> Vec<u8> {
        let me = &self.identity;
        let mut ext: Vec<(&str, ExtValue<'_>)> = vec![
            ("brokerAddr", me.broker_addr.as_str().into()),
            ("brokerId", me.broker_id.into()),
            ("brokerName", me.broker_name.as_str().into()),
            ("clusterName", me.cluster_name.as_str().into()),
        ];
        let mut body = Vec::new();
        let code = match send.what {
            ServerRequest::Unregister => request::UNREGISTER_BROKER,
            ServerRequest::Version => {
                self.control.borrow().durable().version.write(&mut body);
                request::QUERY_DATA_VERSION
            }
            ServerRequest::Register | ServerRequest::RegisterSince(_) => {
                let topic_config = self.next_part(index, send);
                let content = RegisterBrokerBody { topic_config, filter_server_list: Vec::new() };
                if self.options.get().compressed {
                    content.write_compressed(&mut body);
                } else {
                    content.write(&mut body);
                }
                ext.push(("haServerAddr", me.ha_server_addr.as_str().into()));
                ext.push(("compressed", self.options.get().compressed.into()));
                ext.push(("bodyCrc32", i64::from(record::body_crc(&body)).into()));
                request::REGISTER_BROKER
            }
        };
        let signature = self.sign(&ext, &body);
        ext.extend(self.signed(signature.as_deref()));
        let head = RequestHead {
            code,
            language: Language::Java,
            version: OUR_VERSION,
            opaque: send.opaque,
            oneway: false,
            remark: None,
            ext: &ext,
        };
        let mut out = Vec::with_capacity(512 + body.len());
        command::write_request(&mut out, HeaderKind::Json, &head, &body);
        out
    }
}

/// What the task of a name server does next.
enum Step {
    /// What the state machine says.
    Registration(Action),
    /// It sends this frame.
    Question(Vec<u8>),
}

/// Does what the state machine says for one name server until the end, and sends what others ask it.
async fn talk(shared: Rc<Shared>, index: usize) {
    let mut writer = None;
    loop {
        let action = match shared.next_step(index).await {
            Step::Registration(action) => action,
            Step::Question(frame) => {
                send(&shared, index, &mut writer, &frame).await;
                continue;
            }
        };
        match action {
            Action::Wait => unreachable!("waiting happens inside"),
            Action::Done => return,
            Action::Connect => {
                let addr = shared.registration.borrow().addr(index).to_owned();
                let link = shared.links.borrow()[index].0;
                let tls = shared.tls.as_ref().and_then(|tls| tls.client());
                match Transport::connect(&shared.executor, &addr, tls).await {
                    Err(error) => shared.lost(index, link, &format!("cannot connect: {error}")),
                    Ok(connection) => {
                        let (reader, new_writer, closer) = connection.split();
                        shared.links.borrow_mut()[index].1 = Some(closer);
                        writer = Some(new_writer);
                        shared.registration.borrow_mut().connected(index, shared.executor.uptime());
                        drop(shared.executor.spawn(listen(
                            Rc::clone(&shared),
                            index,
                            link,
                            reader,
                        )));
                    }
                }
            }
            Action::Send(what) => {
                let bytes = shared.request(index, what);
                send(&shared, index, &mut writer, &bytes).await;
            }
        }
    }
}

/// Sends a frame over the present connection.
async fn send(shared: &Shared, index: usize, writer: &mut Option<WriteHalf>, bytes: &[u8]) {
    let link = shared.links.borrow()[index].0;
    let Some(writer) = writer.as_mut() else {
        unreachable!("the state machine sends only when connected");
    };
    if let Err(error) = writer.write_all(bytes).await {
        shared.lost(index, link, &format!("cannot send: {error}"));
    }
}

/// Reads answers until the connection ends.
async fn listen(shared: Rc<Shared>, index: usize, link: u64, mut reader: ReadHalf) {
    let mut arena = HeaderArena::default();
    let mut frames = FrameReader::default();
    let scratch = RefCell::new(vec![0; SCRATCH_BYTES]);
    let why = loop {
        let read = match reader.read_shared(&scratch, || SCRATCH_BYTES).await {
            Ok(0) => break "it closed the connection, or did not answer in time".to_owned(),
            Err(error) => break error.to_string(),
            Ok(read) => read,
        };
        let mut unreadable = None;
        let fed = frames.feed(scratch.borrow().get(..read).unwrap_or_default(), |frame, _| {
            match command::decode(frame.kind, frame.header, &mut arena) {
                Err(error) => {
                    unreadable = Some(error.to_string());
                    return Break(());
                }
                Ok(header) => shared.answered(index, link, &header, frame.body),
            }
            Continue(())
        });
        if let Some(why) = fed.err().map(|error| error.to_string()).or(unreadable) {
            break why;
        }
    };
    shared.lost(index, link, &why);
}

/// What an answer says, whatever it answers.
fn read_response(header: &Header<'_>, body: &[u8]) -> ServerResponse {
    if header.code != response::SUCCESS {
        let remark = header.remark.unwrap_or_default().to_owned();
        return ServerResponse::Refused { code: header.code, remark };
    }
    let text = |name| header.ext.get(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let table = if body.is_empty() { None } else { KvTable::read(body).ok() };
    ServerResponse::Accepted {
        // A broker that asked and did not understand the answer had better register.
        changed: header.ext.get("changed").is_none_or(|text| !text.eq_ignore_ascii_case("false")),
        learned: Learned {
            master_addr: text("masterAddr"),
            ha_server_addr: text("haServerAddr"),
            order_topics: table.map(|table| table.table),
        },
    }
}

/// What an answer to a question for a topic's route says. One that cannot be understood is none.
fn read_route(answer: &Answer) -> RouteAnswer {
    match answer.code {
        response::SUCCESS => match RouteData::read(&answer.body) {
            Ok(route) => RouteAnswer::Known(route),
            Err(error) => {
                tracing::warn!(%error, "a name server's answer with a route cannot be read");
                RouteAnswer::Silence
            }
        },
        response::TOPIC_NOT_EXIST => RouteAnswer::Unknown,
        _ => RouteAnswer::Silence,
    }
}

/// The one look at the clock: gives up connections whose answer is late and lets everybody look for something due.
async fn tick(shared: Rc<Shared>) {
    while !shared.registration.borrow().is_closed() {
        shared.executor.sleep(TICK).await;
        let now = shared.executor.uptime();
        shared.questions.borrow_mut().expire(now);
        let late: Vec<usize> = shared.registration.borrow().overdue(now).collect();
        for index in late {
            let closer = shared.links.borrow()[index].1.clone();
            if let Some(closer) = closer {
                closer.close();
            }
        }
        shared.wake_all();
        shared.wake_waiters();
    }
}

#[cfg(test)]
#[path = "peer_tests.rs"]
mod tests;
