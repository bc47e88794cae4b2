//! What a name server shows operators: metrics, and over HTTP also whether it lives and serves. A standalone broker shows the
//! metrics of the name server inside on its own port, with [`write()`].

use std::{
    cell::{Ref, RefCell},
    collections::BTreeMap,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
};

use proto::code::response;
use runtime::Executor;
use serde_json::json;
use telemetry::{
    CONTENT_TYPE, Page, certificates, families,
    http::{self, Answer, Answering},
    process,
};
use tls::Tls;

use crate::handle::Namesrv;

/// Port of metrics where none is configured, one above that of a broker.
pub const USUAL_PORT: u16 = 5_558;

/// Label sets of a metric: more than there are codes.
const LABEL_SETS_MAX: usize = 10_000;

families! {
    /// All that a name server says of itself.
    pub const ALL;
    /// Requests by code and by the code of the answer. Codes that a name server does not know count as `unknown`.
    REQUESTS: Counter("ringmq_namesrv_requests_total", "code", "answer");
    /// Brokers, each replica for itself, that are registered now.
    BROKERS: Gauge("ringmq_namesrv_brokers");
    /// Clusters that they belong to.
    CLUSTERS: Gauge("ringmq_namesrv_clusters");
    /// Topics with a route.
    TOPICS: Gauge("ringmq_namesrv_topics");
    /// Brokers that were dropped from the routes: they were silent, or their connection ended.
    DROPPED: Counter("ringmq_namesrv_brokers_dropped_total");
    /// Open connections.
    CONNECTIONS: Gauge("ringmq_namesrv_connections");
    /// Connections that may be open at once (connectionsMax).
    CONNECTIONS_MAX: Gauge("ringmq_namesrv_connections_limit");
    /// Whether the name server serves, as /ready says.
    READY: Gauge("ringmq_namesrv_ready");
    /// 1, with the version that runs.
    BUILD: Gauge("ringmq_namesrv_build_info", "version");
}

/// What is counted while requests are served.
#[derive(Debug, Default)]
pub struct Figures {
    /// By request code, `None` for all that are unknown, and code of the answer.
    requests: BTreeMap<(Option<i32>, i32), u64>,
    dropped: u64,
    connections: usize,
    serves: bool,
}

impl Figures {
    /// A request was answered.
    pub(crate) fn answered(&mut self, code: i32, answer: i32) {
        let is_known = answer != response::REQUEST_CODE_NOT_SUPPORTED;
        *self.requests.entry((is_known.then_some(code), answer)).or_default() += 1;
    }

    /// Brokers have left the routes.
    pub(crate) fn dropped(&mut self, brokers: usize) {
        self.dropped += brokers as u64;
    }

    /// So many connections are open.
    pub(crate) fn set_connections(&mut self, count: usize) {
        self.connections = count;
    }

    /// Connections are accepted, or not any more.
    pub(crate) fn set_serving(&mut self, serves: bool) {
        self.serves = serves;
    }
}

/// Writes the metrics of a name server.
pub fn write(page: &mut Page, state: &Namesrv) {
    let figures = state.figures();
    page.family(&BUILD);
    page.value(&[env!("CARGO_PKG_VERSION")], 1_u64);
    page.single(&READY, figures.serves);
    page.family(&REQUESTS);
    for ((code, answer), count) in &figures.requests {
        let code = code.map_or("unknown".to_owned(), |code| code.to_string());
        page.value(&[&code, &answer.to_string()], *count);
    }
    let routes = state.routes();
    page.single(&BROKERS, routes.broker_count());
    page.single(&CLUSTERS, routes.cluster_count());
    page.single(&TOPICS, routes.topic_count());
    page.single(&DROPPED, figures.dropped);
    page.single(&CONNECTIONS, figures.connections);
    page.single(&CONNECTIONS_MAX, state.connections_max());
}

/// Serves `/metrics`, `/health` and `/ready` of a name server on these addresses.
pub fn serve(
    executor: &Executor,
    addrs: &[SocketAddr],
    state: &Rc<RefCell<Namesrv>>,
    tls: &Arc<Tls>,
) -> io::Result<()> {
    for addr in addrs {
        let listener = executor.listen(*addr)?;
        let (executor_of_it, state, tls) = (executor.clone(), Rc::clone(state), Arc::clone(tls));
        executor.spawn(async move {
            let answering = executor_of_it.clone();
            let answerer = Rc::new(move |path: &str| answer(&answering, &state, &tls, path));
            let error = http::serve(executor_of_it, listener, answerer).await;
            tracing::error!(%error, "metrics and health are not shown any more");
        });
    }
    Ok(())
}

fn answer(
    executor: &Executor,
    state: &Rc<RefCell<Namesrv>>,
    tls: &Arc<Tls>,
    path: &str,
) -> Answering {
    let (executor, state, tls) = (executor.clone(), Rc::clone(state), Arc::clone(tls));
    match path {
        "/metrics" => Box::pin(async move {
            let process = executor.blocking(process::Figures::read).await;
            let mut page = Page::new(LABEL_SETS_MAX);
            write(&mut page, &state.borrow());
            let expiries = tls.expiries();
            certificates::write(&mut page, expiries.iter().map(|it| (it.setting, it.ms)));
            process.write(&mut page);
            Answer { status: 200, content_type: CONTENT_TYPE, body: page.finish() }
        }),
        // Who can say so lives: there is one loop.
        "/health" => {
            Box::pin(async { Answer::json(200, format!("{}\n", json!({ "live": true }))) })
        }
        "/ready" => Box::pin(async move { ready(state.borrow()) }),
        _ => Box::pin(async { Answer::text(404, "here are /metrics, /health and /ready\n") }),
    }
}

fn ready(state: Ref<'_, Namesrv>) -> Answer {
    let ready = state.figures().serves;
    let status = if ready { "serving" } else { "stopping" };
    let brokers = state.routes().broker_count();
    let document = json!({ "ready": ready, "status": status, "brokers": brokers });
    Answer::json(if ready { 200 } else { 503 }, format!("{document}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, kv::KvConfig};

    #[test]
    fn requests_are_counted_by_what_became_of_them() {
        let mut state = Namesrv::new(Config::default(), KvConfig::default());
        let unknown = response::REQUEST_CODE_NOT_SUPPORTED;
        for (code, answer) in [(105, 0), (105, 17), (105, 17), (-7, unknown), (999, unknown)] {
            state.figures_mut().answered(code, answer);
        }
        let mut page = Page::new(100);
        write(&mut page, &state);
        let text = String::from_utf8(page.finish().concat()).expect("text");
        for line in [
            "ringmq_namesrv_requests_total{code=\"105\",answer=\"0\"} 1\n",
            "ringmq_namesrv_requests_total{code=\"105\",answer=\"17\"} 2\n",
            "ringmq_namesrv_requests_total{code=\"unknown\",answer=\"3\"} 2\n",
            "ringmq_namesrv_ready 0\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
