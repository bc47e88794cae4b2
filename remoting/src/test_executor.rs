//! A real executor and real sockets for the unit tests of this crate.

use crate::{listener::Listener, transport::Transport};
use runtime::{Executor, Mesh, Settings, Stop};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::mpsc,
};

/// Runs `main` on an executor of its own and returns what it returns.
pub(crate) fn on_executor<T, F, Fut>(main: F) -> T
where
    T: Send + 'static,
    F: Fn(Executor) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    let (sender, result) = mpsc::channel();
    let settings = Settings::unpinned("remoting-test", 1);
    runtime::run(settings, Stop::default(), move |executor, _: Mesh<()>| {
        let (main, sender) = (main.clone(), sender.clone());
        async move { sender.send(main(executor).await).map_err(|error| error.to_string()) }
    })
    .unwrap();
    result.recv().unwrap()
}

/// A connection, and its peer as a blocking socket.
pub(crate) async fn connected(executor: &Executor) -> (Transport, TcpStream) {
    let listener = Listener::bind(executor, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let addr = listener.local_addr();
    let peer = executor.blocking(move || TcpStream::connect(addr).unwrap()).await;
    (listener.accept(|| Ok(())).await.unwrap(), peer)
}
