//! Administration of name servers and brokers, asynchronous: [`DefaultMqAdminExt`] has the methods of Java's class of that
//! name. It works with our servers as with Java's (4.9 and 5.x), on any tokio runtime.
//!
//! A method is one question or one change; those that ask several servers say so. Name servers are asked in the order
//! in which they are listed until one answers; brokers are asked at the address that is given, or at those of a route.
//! One connection per server, opened when it is needed and again when it ended; requests of many tasks share it.
//! Nothing is retried after it was sent, and nothing is cached.
//!
//! ```no_run
//! # async fn show() -> Result<(), client::AdminError> {
//! use client::{AdminConfig, DefaultMqAdminExt};
//!
//! let admin = DefaultMqAdminExt::new(AdminConfig::new("127.0.0.1:9876"));
//! for name in admin.fetch_all_topic_list().await?.topic_list {
//!     println!("{name}");
//! }
//! # Ok(())
//! # }
//! ```

mod accounts;
mod brokers;
mod connection;
mod controllers;
mod credentials;
mod error;
mod group_admin;
mod groups;
mod messages;
mod name_servers;
mod producer;
mod progress;
mod queues;
mod replication;
mod stats;
mod topics;
mod trace;
mod tracks;
mod transport;
mod unique_id;
mod users;

pub use accounts::{ClusterAclVersionInfo, PlainAccessConfig};
pub use controllers::{BrokersToClean, ControllerMetaData, Election};
pub use credentials::Credentials;
pub use error::AdminError;
pub use group_admin::is_system_group;
pub use messages::{DirectConsumption, KeyQuery, body_of};
pub use name_servers::ORDER_TOPIC_CONFIG;
pub use producer::{OutgoingMessage, SendResult, SendStatus, TopicPublishInfo};
pub use progress::{OffsetReset, RollbackStats, TO_THE_END};
pub use queues::QueueAt;
pub use stats::{GROUP_GET_NUMS, TOPIC_PUT_NUMS, compute_24_hour_sum};
pub use trace::{TraceKind, TraceView, traces_of};
pub use tracks::{MessageTrack, TrackType};
pub use transport::Transport;
pub use users::{AccessDecision, AccessQuestion};

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proto::body::BodyError;
use proto::command::{ExtValue, Language};

use crate::{Answer, ClientError};
use connection::{Connection, Outgoing};

/// How long a call may take, unless it is one that takes longer. Java's `timeoutMillis`.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// What a broker's VIP port is below its port.
const VIP_DISTANCE: u16 = 2;
/// The broker that writes.
const MASTER_ID: i64 = 0;

/// What a [`DefaultMqAdminExt`] needs to know.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Name servers, `host:port`.
    pub namesrv_addrs: Vec<String>,
    /// How long a call may take; a few that brokers relay to clients, or that look at much, may take three times as long.
    pub timeout: Duration,
    /// Ask brokers at their VIP port, two below the address that they advertise.
    pub vip_channel: bool,
    /// Who asks, where access control is on.
    pub credentials: Option<Credentials>,
    /// How to connect.
    pub transport: Transport,
}

impl AdminConfig {
    /// Name servers as `host:port;host:port`, Java's way to write them, and the defaults of Java's mqadmin: 5 s, no VIP port,
    /// no account.
    pub fn new(namesrv_addrs: &str) -> AdminConfig {
        let addrs = namesrv_addrs.split(';').map(str::trim).filter(|addr| !addr.is_empty());
        AdminConfig {
            namesrv_addrs: addrs.map(str::to_owned).collect(),
            timeout: TIMEOUT_DEFAULT,
            vip_channel: false,
            credentials: None,
            transport: Transport::default(),
        }
    }
}

/// Administration of a cluster. Clones share their connections.
#[derive(Clone)]
pub struct DefaultMqAdminExt {
    config: Arc<AdminConfig>,
    connections: Arc<Mutex<HashMap<String, Slot>>>,
}

/// The connection to one server; locked while it is opened, so that one is.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<Connection>>>>;

/// A request to one server.
struct Request<'a> {
    code: i32,
    ext: &'a [(&'a str, ExtValue<'a>)],
    body: &'a [u8],
    timeout: Duration,
    /// Whose request it is to look like: brokers hand it on to clients of that language.
    language: Language,
}

impl DefaultMqAdminExt {
    /// Connects to nobody yet.
    pub fn new(config: AdminConfig) -> DefaultMqAdminExt {
        DefaultMqAdminExt { config: Arc::new(config), connections: Arc::default() }
    }

    /// What it was made with.
    pub fn config(&self) -> &AdminConfig {
        &self.config
    }

    /// A request with the usual timeout.
    fn request<'a>(&self, code: i32, ext: &'a [(&'a str, ExtValue<'a>)]) -> Request<'a> {
        let timeout = self.config.timeout;
        Request { code, ext, body: &[], timeout, language: Language::Java }
    }

    /// A request that may take three times as long, as Java has it.
    fn slow_request<'a>(&self, code: i32, ext: &'a [(&'a str, ExtValue<'a>)]) -> Request<'a> {
        Request { timeout: self.config.timeout * 3, ..self.request(code, ext) }
    }

    /// Asks the first name server that can be asked.
    async fn ask_name_server(&self, request: &Request<'_>) -> Result<Told, AdminError> {
        let mut errors = Vec::new();
        for addr in &self.config.namesrv_addrs {
            match self.ask(addr, request).await {
                Err(error) if error.is_unreachable() => errors.push(error),
                outcome => return outcome,
            }
        }
        Err(match errors.len() {
            0 => AdminError::NoNameServer,
            1 => errors.remove(0),
            _ => AdminError::NameServers(errors),
        })
    }

    /// Asks each name server; the first failure ends it.
    async fn tell_name_servers(&self, request: &Request<'_>) -> Result<(), AdminError> {
        if self.config.namesrv_addrs.is_empty() {
            return Err(AdminError::NoNameServer);
        }
        for addr in &self.config.namesrv_addrs {
            self.ask(addr, request).await?.success()?;
        }
        Ok(())
    }

    /// Asks a broker, at its VIP port if so configured.
    async fn ask_broker(&self, addr: &str, request: &Request<'_>) -> Result<Told, AdminError> {
        self.ask(&self.at_broker(addr), request).await
    }

    /// Where a broker is asked: at its VIP port if so configured.
    fn at_broker<'a>(&self, addr: &'a str) -> Cow<'a, str> {
        let vip = self.config.vip_channel.then(|| vip_addr(addr)).flatten();
        vip.map_or(Cow::Borrowed(addr), Cow::Owned)
    }

    /// Asks a server, signing the request when there is an account.
    async fn ask(&self, addr: &str, request: &Request<'_>) -> Result<Told, AdminError> {
        let connection = self.connection(addr).await?;
        let Request { code, ext, body, timeout, language } = *request;
        let answer = match &self.config.credentials {
            None => connection.call(&Outgoing { code, ext, body, language }, timeout).await?,
            Some(credentials) => {
                let mut ext = [ext, &credentials.fields()].concat();
                let signature = credentials.sign(&ext, body);
                ext.push((acl::SIGNATURE, signature.as_str().into()));
                let outgoing = Outgoing { code, ext: &ext, body, language };
                connection.call(&outgoing, timeout).await?
            }
        };
        Ok(Told { addr: addr.to_owned(), request: code, answer })
    }

    async fn connection(&self, addr: &str) -> Result<Arc<Connection>, AdminError> {
        let slot = {
            let mut slots = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(addr.to_owned()).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.has_ended()) {
            return Ok(Arc::clone(connection));
        }
        let opened = Connection::open(addr, &self.config.transport, self.config.timeout).await?;
        Ok(Arc::clone(slot.insert(Arc::new(opened))))
    }
}

/// `host:port` with the VIP port; `None` when it has no port that is large enough.
fn vip_addr(addr: &str) -> Option<String> {
    let (host, port) = addr.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    port.checked_sub(VIP_DISTANCE).map(|port| format!("{host}:{port}"))
}

/// An answer, and whose it is.
struct Told {
    addr: String,
    request: i32,
    answer: Answer,
}

impl Told {
    /// The answer of code 0.
    fn success(self) -> Result<Told, AdminError> {
        if self.answer.code == 0 {
            return Ok(self);
        }
        let Told { addr, request, answer } = self;
        let (code, remark) = (answer.code, answer.remark.unwrap_or_default());
        Err(AdminError::Refused { addr, request, code, remark })
    }

    /// The body of a success, read.
    fn body<T>(self, read: impl FnOnce(&[u8]) -> Result<T, BodyError>) -> Result<T, AdminError> {
        let Told { addr, request, answer } = self.success()?;
        read(&answer.body).map_err(|source| AdminError::Body { addr, request, source })
    }

    /// What a reader of whole answers makes of a success.
    fn read<T>(self, read: impl FnOnce(Answer) -> Result<T, ClientError>) -> Result<T, AdminError> {
        let Told { addr, request, answer } = self.success()?;
        read(answer).map_err(|source| AdminError::Answer { addr, request, source })
    }
}
