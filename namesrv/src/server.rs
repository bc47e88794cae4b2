//! The name server at its sockets: [`serve`] runs it on one executor, for `mqnamesrv` and inside a standalone broker.
//!
//! One reader and one writer task per connection (`link`), one task that accepts, one that ticks. All of them share
//! the state through `RefCell`s that are never borrowed across a wait. Limits and what happens at them: connections
//! (`connectionsMax`: closed at once), unsent answers of one connection (`OUTPUT_BYTES_HIGH`: its requests wait;
//! nothing read by the peer for `WRITE_STALL_MS_MAX`: closed), frames (16 MiB: closed), silence (closed).

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    rc::Rc,
    time::Duration,
};

use runtime::{Executor, Listener, Millis};

use crate::{
    handle::{self, Namesrv},
    link::{self, Link},
    routes::{ConnectionId, Dropped},
    save::Saver,
};

/// Pause between two ticks: the precision of every deadline here.
const TICK: Duration = Duration::from_millis(250);
/// How long answers may take to leave at shutdown.
const DRAIN_TICKS_MAX: u32 = 20;
/// Pause between two looks at the answers that are still leaving at shutdown.
const DRAIN_TICK: Duration = Duration::from_millis(25);

/// What all tasks of one running name server share.
pub(crate) struct Server<M> {
    pub(crate) executor: Executor<M>,
    pub(crate) state: Rc<RefCell<Namesrv>>,
    pub(crate) saver: Saver,
    pub(crate) links: RefCell<BTreeMap<ConnectionId, Rc<Link>>>,
    next_connection: Cell<u64>,
    stopping: Cell<bool>,
}

/// Serves until the process is asked to stop; then lets answers leave, closes all connections and returns.
/// A listener that breaks asks the process to stop and is the error.
pub async fn serve<M: Send + 'static>(
    executor: &Executor<M>,
    listener: Listener,
    state: Rc<RefCell<Namesrv>>,
) -> io::Result<()> {
    let saver = Saver::new(&state.borrow());
    let server = Rc::new(Server {
        executor: executor.clone(),
        saver,
        state,
        links: RefCell::default(),
        next_connection: Cell::new(1),
        stopping: Cell::new(false),
    });
    let broken: Rc<RefCell<Option<io::Error>>> = Rc::default();
    {
        let (server, broken) = (Rc::clone(&server), Rc::clone(&broken));
        drop(executor.spawn(async move {
            let error = accept(&server, &listener).await;
            tracing::error!(%error, listener = %listener.local_addr(), "the name server cannot accept connections any more");
            *broken.borrow_mut() = Some(error);
            server.executor.stop().request();
        }));
    }
    drop(executor.spawn(tick(Rc::clone(&server))));
    executor.stop_requested().await;
    stop(&server).await;
    let broken = broken.borrow_mut().take();
    broken.map_or(Ok(()), Err)
}

async fn accept<M: Send + 'static>(server: &Rc<Server<M>>, listener: &Listener) -> io::Error {
    loop {
        let connection = match listener.accept().await {
            Ok(connection) => connection,
            Err(error) => return error,
        };
        let limit = server.state.borrow().config().connections_max;
        let count = server.links.borrow().len();
        if server.stopping.get() || count >= limit {
            tracing::warn!(peer = %connection.peer_addr(), count, limit, "connection refused");
            continue;
        }
        let id = ConnectionId(server.next_connection.get());
        server.next_connection.set(id.0 + 1);
        let peer = connection.peer_addr();
        let (reader, writer, closer) = connection.split();
        let link = Rc::new(Link::new(id, peer, closer, server.executor.now()));
        server.links.borrow_mut().insert(id, Rc::clone(&link));
        drop(server.executor.spawn(link::write(Rc::clone(server), Rc::clone(&link), writer)));
        drop(server.executor.spawn(link::read(Rc::clone(server), link, reader)));
    }
}

/// The one loop that looks at the clock.
async fn tick<M: Send + 'static>(server: Rc<Server<M>>) {
    let mut next_scan: Millis = 0;
    while !server.stopping.get() {
        server.executor.sleep(TICK).await;
        let now = server.executor.now();
        let (idle_max, scan_pause) = {
            let state = server.state.borrow();
            let config = state.config();
            (
                handle::millis(config.idle_max()),
                Millis::try_from(config.scan_not_active_broker_interval_ms),
            )
        };
        for link in server.links.borrow().values() {
            if let Some(reason) = link.overdue(now, idle_max) {
                tracing::info!(peer = %link.peer(), reason, "connection closed");
                link.close();
            }
        }
        if now >= next_scan {
            next_scan = now.saturating_add(scan_pause.unwrap_or(Millis::MAX));
            let dropped = server.state.borrow_mut().routes_mut().expire(now);
            for broker in &dropped {
                log_dropped(broker, "silent");
                if let Some(link) = server.links.borrow().get(&broker.connection) {
                    link.close();
                }
            }
        }
    }
}

/// Lets answers leave, for half a second at most, and ends every connection.
async fn stop<M: Send + 'static>(server: &Rc<Server<M>>) {
    server.stopping.set(true);
    for _ in 0..DRAIN_TICKS_MAX {
        if server.links.borrow().values().all(|link| link.is_drained()) {
            break;
        }
        server.executor.sleep(DRAIN_TICK).await;
    }
    for link in server.links.borrow().values() {
        link.close();
    }
}

/// One line for a broker that is gone, and why.
pub(crate) fn log_dropped(broker: &Dropped, why: &str) {
    tracing::warn!(
        broker = broker.broker_name,
        addr = broker.broker_addr,
        silent_ms = broker.silent_ms,
        why,
        "broker dropped from the routes"
    );
}
