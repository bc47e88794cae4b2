//! The broker's side of a name server: what to send to which one, and when.
//!
//! [`Registration`] is the plain state machine (time is an argument, versions are numbers); `peer` runs it over
//! sockets, one task per name server and one tick for all: see [`start`]. Rules: register at once, 10 s later and then
//! every period; on a change of topics at once, and acknowledged (Java: one-way), so that whoever created a topic can
//! be answered when its route is known. Such a registration holds the topics that this name server has missed, as Java's
//! does; whatever changes while it is under way goes with the next one. All topics are registered no more often than every
//! [`WHOLE_GAP_MS`]. After a lost connection the broker registers as soon as the name server is back (Java waits for
//! the next period). What does not fit one request goes in parts, one after the other, each acknowledged before the next
//! ([`crate::control::tables::TopicParts`]). Without `forceRegister` a period asks for the data version first. At the end the broker
//! unregisters wherever it is connected, and so it does from a name server that is one no more ([`Registration::set_servers`]). A slow or dead name server never delays the others.

use std::collections::BTreeMap;

use crate::config::BrokerConfig;
use proto::body::DataVersion;
use runtime::{Millis, Uptime};

pub mod address_server;
mod peer;
mod questions;
#[cfg(test)]
mod tests;

pub use peer::{Registrar, RouteAnswer, start};

/// Bounds of the period. Source: 4.9.8 `BrokerController.start`.
const PERIOD_MS: std::ops::RangeInclusive<Millis> = 10_000..=60_000;
/// From the first registration to the second.
const SECOND_AFTER_MS: Millis = 10_000;
/// Least time between two registrations of all topics because of changes.
pub const WHOLE_GAP_MS: Millis = 100;
/// Pause after the first failure to connect; doubles up to [`RECONNECT_PAUSE_MS_MAX`].
const RECONNECT_PAUSE_MS_MIN: Millis = 1_000;
/// Longest pause between two attempts to connect.
const RECONNECT_PAUSE_MS_MAX: Millis = 10_000;
/// Pause between two reports about a name server that goes on failing.
const TELL_AGAIN_MS: Millis = 60_000;
/// How long a name server may take to answer the unregistration.
const UNREGISTER_WAIT_MS_MAX: Millis = 1_500;

/// Who registers.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Cluster of the broker.
    pub cluster_name: String,
    /// Name that master and slaves share.
    pub broker_name: String,
    /// 0 for the master.
    pub broker_id: i64,
    /// `host:port` that clients connect to.
    pub broker_addr: String,
    /// `host:port` for replication.
    pub ha_server_addr: String,
    /// As whom it signs its requests, if at all.
    pub signer: Option<acl::Signer>,
}

/// How it registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// `registerNameServerPeriod`, ms; clamped to 10 to 60 s.
    pub period_ms: Millis,
    /// `registerBrokerTimeoutMills`: how long an answer may take before the connection is given up.
    pub timeout_ms: Millis,
    /// `forceRegister`: register each period without asking for the data version first.
    pub force: bool,
    /// The last name server runs in this process: it has lost nothing, and is asked first in any case. Sending it ten
    /// thousand topics twice a minute would hold up everything else here.
    pub own_last: bool,
    /// `compressedRegister`: deflate the body.
    pub compressed: bool,
}

impl Options {
    /// As the configuration says.
    pub fn of(config: &BrokerConfig, own_last: bool) -> Options {
        Options {
            period_ms: i64::try_from(config.register_name_server_period_ms).unwrap_or(i64::MAX),
            timeout_ms: i64::try_from(config.register_broker_timeout_ms).unwrap_or(i64::MAX),
            force: config.force_register,
            own_last,
            compressed: config.compressed_register,
        }
    }

    /// With the period within its bounds.
    fn bounded(self) -> Options {
        let period_ms = self.period_ms.clamp(*PERIOD_MS.start(), *PERIOD_MS.end());
        Options { period_ms, ..self }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            period_ms: 30_000,
            timeout_ms: 6_000,
            force: true,
            own_last: false,
            compressed: false,
        }
    }
}

/// What the name servers answered, merged: the first one (in configured order) that says something counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// Address of the master; only slaves get it.
    pub master_addr: Option<String>,
    /// Address from which the master replicates; only slaves get it.
    pub ha_server_addr: Option<String>,
    /// Topic to order configuration (`broker-a:4;broker-b:4`). `None` until a name server has such a table.
    pub order_topics: Option<BTreeMap<String, String>>,
}

/// What the task of one name server has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing now; ask again after an event or a tick.
    Wait,
    /// Connect, then report [`Registration::connected`] or [`Registration::lost`].
    Connect,
    /// Send this.
    Send(Send),
    /// The end: nothing will ever be sent again.
    Done,
}

/// A request to a name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Send {
    /// Which request.
    pub what: ServerRequest,
    /// A registration: the next part of the one that was begun.
    pub continues: bool,
    /// Correlates the answer.
    pub opaque: i32,
}

/// The requests that a broker sends to name servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerRequest {
    /// `REGISTER_BROKER` (103) with all topics of the version given to [`Registration::next`], or a later one.
    Register,
    /// The same with the topics that changed after this version, which the name server knows.
    RegisterSince(DataVersion),
    /// `QUERY_DATA_VERSION` (322).
    Version,
    /// `UNREGISTER_BROKER` (104).
    Unregister,
}

/// What a name server answered. Which question it belongs to is known by its opaque only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerResponse {
    /// Code 0.
    Accepted {
        /// To a question for the version: the name server has another one, or does not know the broker.
        changed: bool,
        /// To a registration.
        learned: Learned,
    },
    /// Any other code.
    Refused {
        /// Response code.
        code: i32,
        /// Its remark.
        remark: String,
    },
}

/// Something that an operator should read: once per change of state, and again while it fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateChange {
    /// The first registration, or the first after a failure, was accepted.
    Registered,
    /// The name server can not be reached or refuses; told again every `TELL_AGAIN_MS` until it works.
    Failing {
        /// What went wrong, for people.
        why: String,
        /// For how long it has.
        for_ms: Millis,
    },
}

/// All name servers of one broker.
#[derive(Debug)]
pub struct Registration {
    options: Options,
    peers: Vec<Server>,
    stopping: bool,
}

/// One name server.
#[derive(Debug)]
struct Server {
    addr: String,
    /// Runs in this process.
    own: bool,
    /// Is to be registered with no more.
    retired: bool,
    state: State,
    /// Next periodic registration.
    due: Uptime,
    /// How many periodic registrations were answered; the second follows the first sooner.
    rounds: u64,
    /// Version that this name server was last sent over the present connection.
    sent: Option<DataVersion>,
    /// Version of the last registration that was accepted on this connection.
    registered: Option<DataVersion>,
    /// When all topics were sent last.
    sent_at: Uptime,
    /// The period's question was answered with "changed".
    must_register: bool,
    /// The registration that was sent last has further parts.
    more: bool,
    /// A registration whose next part is to be sent.
    unfinished: Option<ServerRequest>,
    failures: u32,
    next_opaque: i32,
    learned: Learned,
    /// What the log says about it at present.
    reported: Reported,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Not connected; may try from then on.
    Disconnected { retry_at: Uptime },
    /// [`Action::Connect`] was given out.
    Connecting,
    /// Connected, nothing is under way.
    Connected,
    /// A request was sent.
    Waiting { what: ServerRequest, opaque: i32, until: Uptime },
    /// Unregistered, or never was.
    Closed,
}

#[derive(Debug, PartialEq, Eq)]
enum Reported {
    Nothing,
    Registered,
    Failing {
        /// What was last wrong.
        why: String,
        since: Uptime,
        told_at: Uptime,
    },
}

impl Registration {
    /// Nothing sent yet; everything is due at `now`.
    pub fn new(options: Options, servers: &[String], now: Uptime) -> Registration {
        let options = options.bounded();
        let own = |index: usize| options.own_last && index + 1 == servers.len();
        let server = |(index, addr): (usize, &String)| Server::new(addr, own(index), now);
        let peers = servers.iter().enumerate().map(server).collect();
        Registration { options, peers, stopping: false }
    }

    /// Registers in another way from now on; a shorter period counts from `now`.
    pub fn set_options(&mut self, options: Options, now: Uptime) {
        self.options = options.bounded();
        let latest = now + self.options.period_ms;
        self.peers.iter_mut().for_each(|peer| peer.due = peer.due.min(latest));
    }

    /// Number of name servers; they are addressed by index below.
    pub fn count(&self) -> usize {
        self.peers.len()
    }

    /// `host:port` of one name server, as configured.
    pub fn addr(&self, index: usize) -> &str {
        &self.peers[index].addr
    }

    /// From now on these are the name servers, besides the one in this process. Those that are no more are unregistered
    /// from. Returns the indexes of those that are new; a place that somebody left may be taken again.
    pub fn set_servers(&mut self, servers: &[String], now: Uptime) -> Vec<usize> {
        for peer in &mut self.peers {
            peer.retired |= !peer.own && !servers.contains(&peer.addr);
        }
        let mut new = Vec::new();
        for addr in servers {
            if self.active().any(|peer| peer.addr == *addr) {
                continue;
            }
            let server = Server::new(addr, false, now);
            let free = |peer: &Server| peer.retired && peer.state == State::Closed;
            match self.peers.iter().position(free) {
                Some(index) => {
                    self.peers[index] = server;
                    new.push(index);
                }
                None => {
                    self.peers.push(server);
                    new.push(self.peers.len() - 1);
                }
            }
        }
        new
    }

    /// Those that are to be registered with.
    fn active(&self) -> impl Iterator<Item = &Server> {
        self.peers.iter().filter(|peer| !peer.retired)
    }

    /// What to do for one name server. Given out once: what it says has happened as far as this machine is concerned.
    /// `version` is that of the last change that has to be registered with name servers.
    pub fn next(&mut self, index: usize, version: DataVersion, now: Uptime) -> Action {
        let options = self.options;
        let peer = &mut self.peers[index];
        let stopping = self.stopping || peer.retired;
        match peer.state {
            State::Closed => Action::Done,
            State::Connecting | State::Waiting { .. } => Action::Wait,
            State::Disconnected { .. } if stopping => {
                peer.state = State::Closed;
                Action::Done
            }
            State::Disconnected { retry_at } => {
                if now < retry_at {
                    return Action::Wait;
                }
                peer.state = State::Connecting;
                Action::Connect
            }
            State::Connected if stopping => peer.ask(
                ServerRequest::Unregister,
                now + UNREGISTER_WAIT_MS_MAX.min(options.timeout_ms),
            ),
            State::Connected if peer.unfinished.is_some() => peer.go_on(now + options.timeout_ms),
            State::Connected if now >= peer.due => {
                let forced = options.force && !peer.own;
                let register = forced || peer.must_register || peer.sent.is_none();
                if register {
                    peer.mark_sent(version, now);
                }
                let what = if register { ServerRequest::Register } else { ServerRequest::Version };
                peer.ask(what, now + options.timeout_ms)
            }
            State::Connected if peer.sent != Some(version) => match peer.registered {
                Some(known) if !peer.must_register => {
                    peer.sent = Some(version);
                    peer.ask(ServerRequest::RegisterSince(known), now + options.timeout_ms)
                }
                _ if now >= peer.sent_at + WHOLE_GAP_MS => {
                    peer.mark_sent(version, now);
                    peer.ask(ServerRequest::Register, now + options.timeout_ms)
                }
                _ => Action::Wait,
            },
            State::Connected => Action::Wait,
        }
    }

    /// The registration that is under way is a part only: others follow.
    pub fn has_more(&mut self, index: usize) {
        self.peers[index].more = true;
    }

    /// The connection stands; everything is due again, because a name server forgets with the connection.
    pub fn connected(&mut self, index: usize, now: Uptime) {
        let peer = &mut self.peers[index];
        assert_eq!(peer.state, State::Connecting);
        peer.state = State::Connected;
        peer.due = now;
        peer.sent = None;
    }

    /// An answer arrived. One that nobody waits for (late, or to a one-way request) changes nothing.
    pub fn answered(
        &mut self,
        index: usize,
        opaque: i32,
        response: ServerResponse,
        now: Uptime,
    ) -> Option<StateChange> {
        let period_ms = self.options.period_ms;
        let peer = &mut self.peers[index];
        let State::Waiting { what, opaque: awaited, .. } = peer.state else {
            return None;
        };
        if awaited != opaque {
            return None;
        }
        peer.state = State::Connected;
        let is_part = std::mem::take(&mut peer.more);
        match (what, response) {
            (
                ServerRequest::Register | ServerRequest::RegisterSince(_),
                ServerResponse::Accepted { .. },
            ) if is_part => {
                peer.unfinished = Some(what);
                None
            }
            (ServerRequest::Unregister, _) => {
                peer.state = State::Closed;
                None
            }
            (_, ServerResponse::Refused { code, remark }) => {
                peer.must_register = true;
                peer.due = now + peer.pause();
                peer.report_failing(format!("refused with code {code}: {remark}"), now)
            }
            (ServerRequest::Version, ServerResponse::Accepted { changed: true, .. }) => {
                // Still due: the registration follows at once.
                peer.must_register = true;
                None
            }
            (ServerRequest::Version, ServerResponse::Accepted { changed: false, .. }) => {
                peer.round_done(period_ms, now);
                None
            }
            (ServerRequest::RegisterSince(_), ServerResponse::Accepted { learned, .. }) => {
                // The period goes on: all topics are registered again from time to time.
                peer.registered = peer.sent;
                peer.learned = learned;
                None
            }
            (ServerRequest::Register, ServerResponse::Accepted { learned, .. }) => {
                peer.must_register = false;
                peer.registered = peer.sent;
                peer.failures = 0;
                peer.learned = learned;
                peer.round_done(period_ms, now);
                peer.report_registered()
            }
        }
    }

    /// The connection could not be made, or ended.
    pub fn lost(&mut self, index: usize, why: &str, now: Uptime) -> Option<StateChange> {
        let peer = &mut self.peers[index];
        let stopping = self.stopping || peer.retired;
        if peer.state == State::Closed {
            return None;
        }
        peer.sent = None;
        peer.registered = None;
        peer.more = false;
        peer.unfinished = None;
        peer.learned = Learned::default();
        if stopping {
            peer.state = State::Closed;
            return None;
        }
        peer.state = State::Disconnected { retry_at: now + peer.pause() };
        peer.report_failing(why.to_owned(), now)
    }

    /// Name servers whose answer is overdue: their connections have to be closed, which then is [`Registration::lost`].
    pub fn overdue(&self, now: Uptime) -> impl Iterator<Item = usize> {
        let late =
            move |peer: &Server| matches!(peer.state, State::Waiting { until, .. } if now >= until);
        self.peers.iter().enumerate().filter(move |(_, peer)| late(peer)).map(|(index, _)| index)
    }

    /// From now on only unregistrations are sent.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Whether it was stopped, and every unregistration was answered or is pointless.
    pub fn is_closed(&self) -> bool {
        self.stopping && self.peers.iter().all(|peer| peer.state == State::Closed)
    }

    /// Whether every name server that can be reached knows this version of the topics, or a later one.
    pub fn has_registered(&self, version: DataVersion) -> bool {
        let away = |peer: &Server| {
            matches!(peer.state, State::Disconnected { .. } | State::Connecting | State::Closed)
        };
        let is_covered = |known: DataVersion| known.counter >= version.counter;
        self.active().all(|peer| away(peer) || peer.registered.is_some_and(is_covered))
    }

    /// Registrations that are under way: name server and opaque.
    pub fn in_flight(&self) -> Vec<(usize, i32)> {
        let asked = |(index, peer): (usize, &Server)| match peer.state {
            State::Waiting {
                what: ServerRequest::Register | ServerRequest::RegisterSince(_),
                opaque,
                ..
            } => Some((index, opaque)),
            _ => None,
        };
        self.peers.iter().enumerate().filter_map(asked).collect()
    }

    /// How many name servers know this broker, as far as we know.
    pub fn registered_count(&self) -> usize {
        self.active().filter(|peer| peer.reported == Reported::Registered).count()
    }

    /// Whether this name server knows this broker, as far as we know.
    pub fn is_registered(&self, index: usize) -> bool {
        self.peers.get(index).is_some_and(|peer| peer.reported == Reported::Registered)
    }

    /// Whether a connection to this name server stands, over which something may be asked.
    pub fn is_connected(&self, index: usize) -> bool {
        let connected = |peer: &Server| {
            let connected = matches!(peer.state, State::Connected | State::Waiting { .. });
            connected && !self.stopping && !peer.retired
        };
        self.peers.get(index).is_some_and(connected)
    }

    /// Whether it is known of each name server that it serves us or that it does not.
    pub fn is_settled(&self) -> bool {
        self.active().all(|peer| peer.reported != Reported::Nothing)
    }

    /// One text for each name server that does not serve us.
    pub fn failing(&self) -> Vec<String> {
        let text = |peer: &Server| match &peer.reported {
            Reported::Failing { why, .. } => Some(format!("{} ({why})", peer.addr)),
            _ => None,
        };
        self.active().filter_map(text).collect()
    }

    /// Everything the name servers answered, merged.
    pub fn learned(&self) -> Learned {
        let mut merged = Learned::default();
        for Learned { master_addr, ha_server_addr, order_topics } in
            self.active().map(|peer| &peer.learned)
        {
            merged.master_addr = merged.master_addr.or_else(|| master_addr.clone());
            merged.ha_server_addr = merged.ha_server_addr.or_else(|| ha_server_addr.clone());
            merged.order_topics = merged.order_topics.or_else(|| order_topics.clone());
        }
        merged
    }
}

impl Server {
    fn new(addr: &str, own: bool, now: Uptime) -> Server {
        Server {
            addr: addr.to_owned(),
            own,
            retired: false,
            state: State::Disconnected { retry_at: now },
            due: now,
            rounds: 0,
            sent: None,
            registered: None,
            sent_at: Uptime::MIN,
            must_register: true,
            more: false,
            unfinished: None,
            failures: 0,
            next_opaque: 0,
            learned: Learned::default(),
            reported: Reported::Nothing,
        }
    }

    fn opaque(&mut self) -> i32 {
        self.next_opaque = self.next_opaque.wrapping_add(1);
        self.next_opaque
    }

    fn ask(&mut self, what: ServerRequest, until: Uptime) -> Action {
        let opaque = self.opaque();
        self.state = State::Waiting { what, opaque, until };
        Action::Send(Send { what, continues: false, opaque })
    }

    /// The next part of a registration whose last part was accepted.
    fn go_on(&mut self, until: Uptime) -> Action {
        let what = self.unfinished.take().unwrap_or(ServerRequest::Register);
        let opaque = self.opaque();
        self.state = State::Waiting { what, opaque, until };
        Action::Send(Send { what, continues: true, opaque })
    }

    fn mark_sent(&mut self, version: DataVersion, now: Uptime) {
        self.sent = Some(version);
        self.sent_at = now;
    }

    fn round_done(&mut self, period_ms: Millis, now: Uptime) {
        self.due = now + if self.rounds == 0 { SECOND_AFTER_MS } else { period_ms };
        self.rounds += 1;
    }

    /// Pause after one failure more.
    fn pause(&mut self) -> Millis {
        let pause = RECONNECT_PAUSE_MS_MIN << self.failures.min(4);
        self.failures = self.failures.saturating_add(1);
        pause.min(RECONNECT_PAUSE_MS_MAX)
    }

    fn report_registered(&mut self) -> Option<StateChange> {
        let before = std::mem::replace(&mut self.reported, Reported::Registered);
        (before != Reported::Registered).then_some(StateChange::Registered)
    }

    /// News when it did not fail before, and when it was long not told.
    fn report_failing(&mut self, why: String, now: Uptime) -> Option<StateChange> {
        let (since, told_at) = match &self.reported {
            Reported::Failing { since, told_at, .. } => (*since, Some(*told_at)),
            _ => (now, None),
        };
        let due = told_at.is_none_or(|told_at| now >= told_at + TELL_AGAIN_MS);
        let told_at = if due { now } else { told_at.unwrap_or(now) };
        self.reported = Reported::Failing { why: why.clone(), since, told_at };
        due.then_some(StateChange::Failing { why, for_ms: now - since })
    }
}
