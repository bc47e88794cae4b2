//! Real brokers and other people's clients, for the test program `clients`.
//!
//! A test asks for a [`Peer`] (our broker, or Java's as the reference: a test that fails on both is not our fault) and
//! for a [`program::Program`] (one client library behind a small command line, see `loadtest/clients`), and plays one of
//! the stories of [`scenario`]. Peers are shared by all tests of one process and ended with it. Functions here panic
//! with a sentence when something fails, as the assertions of a test do.

pub mod bystander;
pub mod certificates;
pub mod control_group;
mod java_server;
pub mod ledger;
pub mod listed;
pub mod mqadmin;
pub mod ordered;
pub mod our_broker;
pub mod our_mqadmin;
pub mod pop;
pub mod program;
pub mod raw;
pub mod reaper;
pub mod requests;
pub mod resets;
pub mod scenario;
pub mod scrape;
pub mod spring;
mod starts;
pub mod volume;

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use client::{ClientError, Connection, PullRequest, Received, admin::NewTopic};

use crate::java_peer::{self, JavaPeer};
use our_broker::OurBroker;
use tls::Tls;

/// Shards of the broker that client tests run against: with two, every client reaches queues of both through whatever
/// connection the kernel gave it.
const SHARDS: &str = "2";
/// On a busy machine Java's broker refuses sends after 0.2 to 1 s of waiting; what is tested here is not its speed.
const PATIENT: [(&str, &str); 2] =
    [("brokerFastFailureEnable", "false"), ("osPageCacheBusyTimeOutMills", "60000")];
/// Java's broker knows SQL92 only when it is told to.
const FILTERS: (&str, &str) = ("enablePropertyFilter", "true");
/// Delay levels of all brokers: retries begin with the third.
const LEVELS: (&str, &str) = ("messageDelayLevel", "1s 2s 3s 4s 5s");
/// Producers are asked early what becomes of their half messages.
const CHECKS: [(&str, &str); 2] =
    [("transactionTimeOut", "1000"), ("transactionCheckInterval", "1000")];
/// How long a new topic may take until its route is known everywhere.
const ROUTE_WAIT_MAX: Duration = Duration::from_secs(60);

/// Everything that a topic holds now.
pub fn read_all(connection: &mut Connection, topic: &str, queues: i32) -> Vec<Received> {
    let mut all = Vec::new();
    for queue in 0..queues {
        let mut offset = connection.min_offset(topic, queue).expect("an offset");
        while offset < connection.max_offset(topic, queue).expect("an offset") {
            let pull = PullRequest::new("readers", topic, queue, offset);
            let pulled = connection.pull(&pull).expect("an answer");
            offset = pulled.next_offset;
            all.extend(pulled.messages);
        }
    }
    all
}

/// A connection that waits so long for its answers, and as long to be made.
pub fn connect(addr: SocketAddr, patience: Duration) -> Connection {
    let mut connection = Connection::connect_patiently(addr, patience).expect("it may connect");
    connection.set_timeout(patience);
    connection
}

/// Whose broker a test runs against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Our standalone broker, with the name server inside.
    Ours,
    /// Java's 4.9.7 broker and name server.
    Java4,
    /// Java's 5.3.3 broker and name server.
    Java5,
}

/// A running broker with its name server.
pub struct Peer {
    /// Whose it is.
    pub side: Side,
    /// `host:port` for clients.
    pub namesrv_addr: String,
    /// `host:port` of the broker, as routes name it.
    pub broker_addr: SocketAddr,
    /// How our own client connects to it, if not plainly.
    tls: Option<Arc<Tls>>,
    /// Keeps the processes; ours also tells its log.
    broker: Running,
}

enum Running {
    Ours(Box<OurBroker>),
    Java(JavaPeer),
}

impl Side {
    /// The peer of this side, started at first use and shared by the tests of this process. `None`: there is no Java
    /// here, which was printed (and is a panic when clients are required).
    pub fn peer(self, test: &str) -> Option<&'static Peer> {
        static OURS: OnceLock<Peer> = OnceLock::new();
        static JAVA4: OnceLock<Peer> = OnceLock::new();
        static JAVA5: OnceLock<Peer> = OnceLock::new();
        if self != Side::Ours && !java_peer::available_or_skip(test) {
            return None;
        }
        Some(match self {
            Side::Ours => OURS.get_or_init(start_ours),
            Side::Java4 => JAVA4.get_or_init(|| start_java(self, &[])),
            Side::Java5 => JAVA5.get_or_init(|| start_java(self, &[])),
        })
    }
}

fn start_ours() -> Peer {
    let broker = OurBroker::standalone(&[&[("shards", SHARDS), LEVELS], &CHECKS[..]].concat());
    // A static is never dropped: the reaper ends the process when this one is gone.
    reaper::end_with_us(&[broker.pid()], &[broker.dir()]);
    let namesrv_addr = broker.namesrv_addr();
    Peer::of(broker, &namesrv_addr)
}

fn start_java(side: Side, keys: &[(&str, &str)]) -> Peer {
    let version = match side {
        Side::Java4 => java_peer::VERSION_4_9,
        Side::Java5 => java_peer::VERSION_5_3,
        Side::Ours => panic!("our broker needs no Java"),
    };
    let start = || -> Result<Peer, java_peer::PeerError> {
        let mut java = JavaPeer::new(version)?;
        let namesrv = java.start_namesrv()?;
        reaper::end_with_us(&java.pids(), &[java.dir()]);
        let broker_addr =
            java.start_broker(&[&PATIENT[..], &CHECKS, &[LEVELS, FILTERS], keys].concat())?;
        reaper::end_with_us(&java.pids(), &[java.dir()]);
        let namesrv_addr = namesrv.to_string();
        Ok(Peer { side, namesrv_addr, broker_addr, tls: None, broker: Running::Java(java) })
    };
    start().unwrap_or_else(|error| panic!("Java {version}: {error}"))
}

impl Peer {
    /// A broker of ours that belongs to one test, and ends with this value.
    pub fn own() -> Peer {
        Peer::own_with(&[])
    }

    /// The same with these keys of its configuration besides.
    pub fn own_with(keys: &[(&str, &str)]) -> Peer {
        let broker = OurBroker::standalone(&[&[("shards", SHARDS)], keys].concat());
        let namesrv_addr = broker.namesrv_addr();
        Peer::of(broker, &namesrv_addr)
    }

    /// The same, where everybody has to connect in TLS; our own client does so with these settings.
    pub fn own_in_tls(keys: &[(&str, &str)], client: &[(&str, &str)]) -> Peer {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let enable = ("tls.enable".to_owned(), "true".to_owned());
        let settings = client.iter().map(owned).chain([enable]);
        let tls = Tls::open(tls::Source::new(settings, "")).expect("settings of a test are right");
        let peer = Peer::own_with(&[&[("tls.server.mode", "enforcing")], keys].concat());
        Peer { tls: Some(tls), ..peer }
    }

    /// A broker of Java's that belongs to one test, with these keys of its configuration besides those that shared ones have.
    pub fn own_java(side: Side, keys: &[(&str, &str)]) -> Peer {
        start_java(side, keys)
    }

    /// A broker of ours that belongs to one test, with these keys besides those that the shared one has.
    pub fn own_as_shared(keys: &[(&str, &str)]) -> Peer {
        Peer::own_with(&[&[LEVELS], &CHECKS[..], keys].concat())
    }

    /// The same without a name server inside, registered with these (`host:port`); clients are sent to the first one,
    /// until [`Peer::namesrv_addr`] is set to another.
    pub fn own_registered_with(namesrv_addrs: &[String]) -> Peer {
        let broker = OurBroker::registered_with(&namesrv_addrs.join(";"), &[("shards", SHARDS)]);
        Peer::of(broker, &namesrv_addrs[0])
    }

    fn of(broker: OurBroker, namesrv_addr: &str) -> Peer {
        Peer {
            side: Side::Ours,
            namesrv_addr: namesrv_addr.to_owned(),
            broker_addr: broker.broker_addr(),
            tls: None,
            broker: Running::Ours(Box::new(broker)),
        }
    }

    /// Stops a broker of ours as an operator does. Panics when it does not end by itself, or not well.
    pub fn stop(&mut self) {
        let Running::Ours(broker) = &mut self.broker else {
            panic!("Java's broker is not ours to stop")
        };
        let status = broker.stop();
        assert!(
            status.is_some_and(|s| s.success()),
            "end of the broker: {status:?}\n{}",
            broker.log_tail()
        );
    }

    /// Kills a broker of ours, as a power cut that spares the disk.
    pub fn kill9(&mut self) {
        let Running::Ours(broker) = &mut self.broker else {
            panic!("Java's broker is not ours to kill")
        };
        broker.kill9();
    }

    /// Starts it again on the same data and ports.
    pub fn start_again(&mut self) {
        let Running::Ours(broker) = &mut self.broker else {
            panic!("Java's broker is not ours to start")
        };
        broker.restart();
    }

    /// Creates a topic with a name of its own and waits until the name server knows its route.
    pub fn new_topic(&self, prefix: &str, queues: i32) -> String {
        let topic = unique(prefix);
        self.create_topic(&topic, queues);
        topic
    }

    /// The same for a topic whose name is given.
    pub fn create_topic(&self, topic: &str, queues: i32) {
        let mut broker = self.connect_broker();
        broker
            .create_topic(&NewTopic::new(topic, queues))
            .unwrap_or_else(|error| panic!("create topic {topic}: {error}\n{}", self.log_tail()));
        let namesrv = self.namesrv_addr.parse().expect("addresses of peers are literal");
        let routed = wait_until(ROUTE_WAIT_MAX, || {
            self.connect(namesrv).is_ok_and(|mut c| c.route(topic, true).is_ok())
        });
        assert!(routed, "no route of {topic} after {ROUTE_WAIT_MAX:?}\n{}", self.log_tail());
    }

    /// A connection of our own client to the broker.
    pub fn connect_broker(&self) -> Connection {
        self.connect(self.broker_addr).unwrap_or_else(|error| {
            panic!("connect {}: {error}\n{}", self.broker_addr, self.log_tail())
        })
    }

    /// The same to any address.
    pub fn connect(&self, addr: SocketAddr) -> Result<Connection, ClientError> {
        match self.tls.as_ref().and_then(|tls| tls.client()) {
            Some(config) => Connection::connect_tls(addr, config),
            None => Connection::connect(addr),
        }
    }

    /// The end of what the broker printed, for messages of failed tests.
    pub fn log_tail(&self) -> String {
        match &self.broker {
            Running::Ours(broker) => broker.log_tail(),
            Running::Java(java) => java.output_tail(),
        }
    }
}

/// A name that no other test and no other run has: prefix, process, number. Good for topics and groups.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Whether at least `least` has passed by the broker's clock, of which whole milliseconds are stored: what was sent at 10.9 ms
/// and waits for 2 s is due at 2,010.0 ms.
pub fn has_passed(least: Duration, elapsed: Duration) -> bool {
    elapsed + Duration::from_millis(1) >= least
}

/// Asks again every 50 ms until `condition` holds; false after `limit`.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let until = std::time::Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if std::time::Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
