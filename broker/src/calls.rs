//! What an administrative request may wait for elsewhere: functions on other workers, which is how it learns what all
//! shards know, and requests of ours to clients. The message path does not come here.

use crate::{
    client_calls::{CallError, ClientRequest, ClientResponse},
    mailbox::{CoreMessage, ReturnAddress},
    pending_returns::Returned,
    shard::Shard,
    worker::Worker,
};
use remoting::ConnectionId;
use std::{future::Future, rc::Rc};

impl Worker {
    /// Runs a function on a worker, which may be this one, and returns what it returns.
    pub async fn on<T, F>(self: &Rc<Self>, to: usize, run: F) -> T
    where
        T: Send + 'static,
        F: FnOnce(&Rc<Worker>) -> T + Send + 'static,
    {
        if to == self.executor.index() {
            return run(self);
        }
        self.call(to, |there, address| there.return_to(address, Box::new(run(there)))).await
    }

    /// Runs a function on the worker that hosts a shard, and returns what it returns.
    pub async fn on_shard<T, F>(self: &Rc<Self>, shard: u16, run: F) -> T
    where
        T: Send + 'static,
        F: FnOnce(&Shard) -> T + Send + 'static,
    {
        self.on(self.host_of(shard), move |there| run(there.hosted_shard(shard))).await
    }

    /// Runs a task on a worker, which may be this one, and returns what it returns.
    pub async fn on_task<T, F, Fut>(self: &Rc<Self>, to: usize, run: F) -> T
    where
        T: Send + 'static,
        F: FnOnce(Rc<Worker>) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        if to == self.executor.index() {
            return run(Rc::clone(self)).await;
        }
        self.call_task(to, run).await
    }

    /// Sends a request to a client, wherever its connection lives, and returns its response. It has to come within
    /// `patience_ms`. A client that does not read what it was sent is not called: an error, not silence.
    pub async fn call_client(
        self: &Rc<Self>,
        connection: ConnectionId,
        request: ClientRequest,
        patience_ms: i64,
    ) -> Result<ClientResponse, CallError> {
        self.on_task(connection.worker(), move |there| async move {
            let write_buffer = there.connections.borrow().get(connection).cloned();
            let deadline = there.executor.uptime() + patience_ms;
            let called = there.client_calls.borrow_mut().send(
                connection,
                write_buffer.as_deref(),
                &request,
                deadline,
            )?;
            drop(request);
            called.response.wait().await
        })
        .await
    }

    /// What `look` says of each shard of the store, in no particular order.
    pub async fn gather<T, F>(self: &Rc<Self>, look: F) -> Vec<T>
    where
        T: Send + 'static,
        F: Fn(&Shard) -> T + Clone + Send + 'static,
    {
        let look_at_all = move |there: Rc<Worker>| {
            let seen: Vec<T> = there.hosted.iter().map(|shard| look(shard)).collect();
            std::future::ready(seen)
        };
        self.gather_from_workers(look_at_all).await.into_iter().flatten().collect()
    }

    /// What `look` says on each worker, in no particular order. All look at the same time.
    pub async fn gather_from_workers<T, F, Fut>(self: &Rc<Self>, look: F) -> Vec<T>
    where
        T: Send + 'static,
        F: FnOnce(Rc<Worker>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        let elsewhere = (0..self.executor.count()).filter(|to| *to != self.executor.index());
        let calls: Vec<_> = elsewhere.map(|to| self.call_task(to, look.clone())).collect();
        let mut seen = vec![look(Rc::clone(self)).await];
        for call in calls {
            seen.push(call.await);
        }
        seen
    }

    /// Has a task begin on another worker at once, and waits for what it returns.
    fn call_task<T, F, Fut>(&self, to: usize, run: F) -> impl Future<Output = T> + use<T, F, Fut>
    where
        T: Send + 'static,
        F: FnOnce(Rc<Worker>) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        self.call(to, move |there, address| {
            let there = Rc::clone(there);
            let running = run(Rc::clone(&there));
            there.executor.clone().spawn(async move {
                let returned = running.await;
                there.return_to(address, Box::new(returned));
            });
        })
    }

    /// Has `run` run on another worker at once, and waits for what that returns to the address.
    fn call<T, F>(&self, to: usize, run: F) -> impl Future<Output = T> + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Rc<Worker>, ReturnAddress) + Send + 'static,
    {
        let (number, returned) = self.pending_returns.borrow_mut().open();
        let address = ReturnAddress { worker: self.executor.index(), number };
        self.send(to, CoreMessage::Call(address, Box::new(run)));
        async move {
            let returned = returned.wait().await;
            *returned.downcast::<T>().expect("a call returns what its caller expects")
        }
    }

    fn return_to(&self, address: ReturnAddress, value: Returned) {
        self.send(address.worker, CoreMessage::Return(address.number, value));
    }
}
