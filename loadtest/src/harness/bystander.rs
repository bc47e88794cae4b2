//! A client that does nothing wrong while others do: how long it waits for each answer.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use client::{ClientError, Message, NewTopic, PullRequest};

/// Its topic and its group.
const NAME: &str = "bystander";
/// It is no load of its own.
const PAUSE: Duration = Duration::from_millis(10);

/// The longest waits of a client.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waits {
    /// Until it is connected and has its topic, which waits for the disk and for all workers.
    pub creation: Duration,
    /// Of a message sent and pulled back, together.
    pub messages: Duration,
    /// Of a heartbeat and the list of its group's members, which the control worker answers, together.
    pub control: Duration,
    /// How often it has done all that.
    pub rounds: u64,
}

/// Sends, pulls and shows that it lives until `stop`, at least once. Panics when an answer is wrong or does not come for
/// `patience`.
pub fn behave(addr: SocketAddr, patience: Duration, stop: &AtomicBool) -> Waits {
    let began = Instant::now();
    let mut connection = super::connect(addr, patience);
    connection.create_topic(&NewTopic::new(NAME, 1)).expect("its topic is new or known");
    let subscriptions = [client::Subscription { topic: NAME, expression: "*", version: 1 }];
    let heartbeat = client::Heartbeat {
        client_id: NAME,
        consumer_group: Some(NAME),
        subscriptions: &subscriptions,
        producer_group: None,
    };
    let mut waits = Waits { creation: began.elapsed(), ..Waits::default() };
    while waits.rounds == 0 || !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let sent = until_taken(PAUSE, || connection.send(&Message::new(NAME, 0, b"as always")));
        let pull = PullRequest::new(NAME, NAME, 0, sent.queue_offset);
        while until_taken(PAUSE, || connection.pull(&pull)).messages.is_empty() {}
        waits.messages = waits.messages.max(began.elapsed());
        let began = Instant::now();
        until_taken(PAUSE, || connection.heartbeat(&heartbeat));
        connection.consumer_ids(NAME).expect("the members of a group");
        waits.control = waits.control.max(began.elapsed());
        waits.rounds += 1;
        std::thread::sleep(PAUSE);
    }
    waits
}

/// Asks until it is not refused for overload: a client tries again, and its clock runs. Panics with any other error.
pub fn until_taken<T>(pause: Duration, mut ask: impl FnMut() -> Result<T, ClientError>) -> T {
    loop {
        match ask() {
            Ok(taken) => return taken,
            Err(ClientError::Refused { code: 2, .. }) => std::thread::sleep(pause),
            Err(error) => panic!("{error}"),
        }
    }
}
