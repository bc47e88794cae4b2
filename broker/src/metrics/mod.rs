//! The port for operators: `/metrics`, `/health` and `/ready` over HTTP, on the control worker's executor.
//!
//! It answers from the beginning of the start on, while stores are being opened, to the end of the process. `families`
//! declares what `/metrics` shows (`deploy/metrics.md` is made from it), `scrape` writes it, `lags` asks the shards how far groups are
//! behind, `traffic` writes what topics took and groups got, `readiness` is what the other two paths say. Nothing here is on the way of a message.

mod families;
pub(crate) mod lags;
mod readiness;
mod scrape;
mod traffic;

use crate::{
    beats::Beat,
    config::{BrokerConfig, MemoryPlan},
    limits::Semaphore,
    stats::Totals,
    worker::Worker,
};
pub use families::page;
use namesrv::handle::Namesrv;
pub use readiness::Phase;
use runtime::{Executor, Listener};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    net::SocketAddr,
    path::PathBuf,
    rc::Rc,
    sync::Arc,
};
use store::recovery::progress::Progress;
use telemetry::http::{self, Answer, Answering};
use tls::Tls;

/// Scrapes that may wait for the one that is being made.
const SCRAPES_WAITING_MAX: usize = 4;

/// What is looked at, from before the first store is open.
#[derive(Clone)]
pub struct Sources {
    /// Settings.
    pub config: Arc<BrokerConfig>,
    /// How memory is divided.
    pub memory: MemoryPlan,
    /// Counters of all shards.
    pub totals: Arc<[Totals]>,
    /// Loops of all workers.
    pub beats: Arc<[Beat]>,
    /// How far the opening of each store is.
    pub progress: Arc<[Arc<Progress>]>,
    /// Directory of all commit logs.
    pub log_root: PathBuf,
    /// Certificates.
    pub tls: Arc<Tls>,
}

/// Looks at the broker for operators.
pub struct Observer {
    executor: Executor,
    sources: Sources,
    phase: Cell<Phase>,
    worker: RefCell<Option<Rc<Worker>>>,
    name_server: RefCell<Option<Rc<RefCell<Namesrv>>>>,
    /// Metrics of which the log said that they are not shown whole.
    told_left_out: RefCell<BTreeSet<&'static str>>,
    /// One at a time: each holds its text until it is read.
    scrapes: Rc<Semaphore>,
}

impl Observer {
    /// Listens on these addresses.
    pub fn start(
        executor: &Executor,
        addrs: &[SocketAddr],
        sources: Sources,
    ) -> std::io::Result<Rc<Observer>> {
        let observer = Rc::new(Observer {
            executor: executor.clone(),
            sources,
            phase: Cell::new(Phase::Recovering),
            worker: RefCell::default(),
            name_server: RefCell::default(),
            told_left_out: RefCell::default(),
            scrapes: Semaphore::new(1, SCRAPES_WAITING_MAX),
        });
        for addr in addrs {
            let listener = executor.listen(*addr)?;
            executor.spawn(serve(Rc::clone(&observer), listener));
        }
        Ok(observer)
    }

    /// The broker has come to this.
    pub fn reached(&self, phase: Phase) {
        self.phase.set(phase);
    }

    /// All stores are open: there is a worker that knows the others.
    pub fn look_at(&self, worker: &Rc<Worker>) {
        self.worker.replace(Some(Rc::clone(worker)));
    }

    /// There is a name server inside.
    pub fn look_at_name_server(&self, name_server: &Rc<RefCell<Namesrv>>) {
        self.name_server.replace(Some(Rc::clone(name_server)));
    }

    fn answer(self: &Rc<Self>, path: &str) -> Answering {
        let observer = Rc::clone(self);
        match path {
            "/metrics" => Box::pin(async move { scrape::scrape(&observer).await }),
            "/health" => Box::pin(async move { readiness::health(&observer) }),
            "/ready" => Box::pin(async move { readiness::ready(&observer) }),
            _ => Box::pin(async { Answer::text(404, "here are /metrics, /health and /ready\n") }),
        }
    }
}

async fn serve(observer: Rc<Observer>, listener: Listener) {
    let executor = observer.executor.clone();
    let answerer = Rc::new(move |path: &str| observer.answer(path));
    let error = http::serve(executor, listener, answerer).await;
    tracing::error!(%error, "metrics and health are not shown any more");
}
