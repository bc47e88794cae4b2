//! A producer as Java's: unknown topics come into being, queues take turns, a broker that fails is passed over.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use client::{Answer, ClientError, Connection, Message, Sent, Ticket, send};
use proto::frame::HeaderKind;

use super::{
    ProgramError,
    cluster::{NameServers, Queue, resolve},
};

/// How long a route is believed; Java's clients ask as often.
const ROUTE_AGE_MAX: Duration = Duration::from_secs(30);
/// Further tries of a message whose broker failed.
const RETRIES: usize = 2;
/// `SERVICE_NOT_AVAILABLE`: another broker may take it.
const NOT_AVAILABLE: i32 = 14;

/// A message to send.
#[derive(Clone, Debug, Default)]
pub struct Outgoing<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Body.
    pub body: &'a [u8],
    /// Properties, without the unique key.
    pub properties: &'a [(&'a str, &'a str)],
    /// `sysFlag` bits.
    pub sys_flag: i32,
}

/// What became of a message that a broker has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendResult {
    /// Java's `SendStatus`.
    pub status: &'static str,
    /// Unique key.
    pub unique_key: String,
    /// Queue.
    pub queue: Queue,
    /// What the broker answered.
    pub sent: Sent,
}

/// A message that is on its way.
#[derive(Debug)]
pub struct UnderWay {
    queue: Queue,
    unique_key: String,
    ticket: Ticket,
}

/// One producer: used by one thread.
pub struct Producer {
    servers: NameServers,
    group: String,
    connections: HashMap<String, Connection>,
    routes: HashMap<String, (Instant, Vec<Queue>)>,
    turn: usize,
    ids: UniqueKeys,
}

impl Producer {
    /// Of this group. Nobody is asked yet.
    pub fn new(servers: NameServers, group: &str) -> Producer {
        Producer {
            servers,
            group: group.to_owned(),
            connections: HashMap::new(),
            routes: HashMap::new(),
            // Threads that start together do not all begin with the first queue.
            turn: fastrand::usize(..1_024),
            ids: UniqueKeys::new(),
        }
    }

    /// Sends, waits, and tries other queues when a broker fails.
    pub fn send(&mut self, message: &Outgoing<'_>) -> Result<SendResult, ProgramError> {
        let mut tries = 0;
        loop {
            let outcome = self.start(message).and_then(|under_way| self.finish(under_way));
            let again = matches!(
                &outcome,
                Err(ProgramError::Client(error)) if error.code().is_none_or(|code| code == NOT_AVAILABLE)
            );
            if !again || tries == RETRIES {
                return outcome;
            }
            tries += 1;
        }
    }

    /// Sends to the next queue and does not wait.
    pub fn start(&mut self, message: &Outgoing<'_>) -> Result<UnderWay, ProgramError> {
        let queue = self.next_queue(message.topic)?;
        let unique_key = self.ids.next();
        let own = [("UNIQ_KEY", unique_key.as_str()), ("WAIT", "true")];
        let properties = [&own, message.properties].concat();
        let connection = connection(&mut self.connections, &mut self.ids, &queue.addr)?;
        let frame = Message {
            group: &self.group,
            sys_flag: message.sys_flag,
            ..Message::new(&queue.topic, queue.id, message.body).with_properties(&properties)
        };
        let ticket = connection.start_send(&frame);
        let ticket = self.noted(&queue.addr, ticket)?;
        Ok(UnderWay { queue, unique_key, ticket })
    }

    /// Sends several bodies in one request (SEND_BATCH_MESSAGE), and waits. The result's keys and ids are those of all of them,
    /// with commas between.
    pub fn send_batch(
        &mut self,
        topic: &str,
        bodies: &[&[u8]],
        properties: &[(&str, &str)],
    ) -> Result<SendResult, ProgramError> {
        let queue = self.next_queue(topic)?;
        let keys: Vec<String> = bodies.iter().map(|_| self.ids.next()).collect();
        let properties: Vec<Vec<(&str, &str)>> =
            keys.iter().map(|key| [properties, &[("UNIQ_KEY", key.as_str())]].concat()).collect();
        let connection = connection(&mut self.connections, &mut self.ids, &queue.addr)?;
        let group = &self.group;
        let frames: Vec<Message<'_>> = bodies
            .iter()
            .zip(&properties)
            .map(|(body, properties)| Message {
                group,
                ..Message::new(&queue.topic, queue.id, body).with_properties(properties)
            })
            .collect();
        let sent = connection.send_batch(&frames);
        let sent = self.noted(&queue.addr, sent)?;
        Ok(SendResult { status: "SEND_OK", unique_key: keys.join(","), queue, sent })
    }

    /// Waits for the answer to one message.
    pub fn finish(&mut self, under_way: UnderWay) -> Result<SendResult, ProgramError> {
        let UnderWay { queue, unique_key, ticket } = under_way;
        let connection = self.connections.get_mut(&queue.addr).ok_or(ClientError::Closed)?;
        let answer = connection.finish(ticket);
        let answer = self.noted(&queue.addr, answer)?;
        let (status, answer) = status_of(answer);
        let sent = self.noted(&queue.addr, send::sent(answer))?;
        Ok(SendResult { status, unique_key, queue, sent })
    }

    /// The connection to the broker that a message went to.
    pub fn connection_of(&mut self, queue: &Queue) -> Result<&mut Connection, ProgramError> {
        connection(&mut self.connections, &mut self.ids, &queue.addr)
    }

    /// All connections that are open.
    pub fn connections(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.connections.values_mut()
    }

    /// Connects to every broker of the topic, as for a heartbeat.
    pub fn connect_all(&mut self, topic: &str) -> Result<(), ProgramError> {
        for queue in self.queues(topic)?.to_vec() {
            self.connection_of(&queue)?;
        }
        Ok(())
    }

    fn next_queue(&mut self, topic: &str) -> Result<Queue, ProgramError> {
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn;
        let queues = self.queues(topic)?;
        Ok(queues[turn % queues.len()].clone())
    }

    fn queues(&mut self, topic: &str) -> Result<&[Queue], ProgramError> {
        let known = self.routes.get(topic);
        if known.is_none_or(|(at, _)| at.elapsed() > ROUTE_AGE_MAX) {
            let queues = match (self.servers.writable(topic), known) {
                (Ok(queues), _) => queues,
                // Better an old route than none, while name servers are away.
                (Err(_), Some((_, queues))) => queues.clone(),
                (Err(error), None) => return Err(error),
            };
            self.routes.insert(topic.to_owned(), (Instant::now(), queues));
        }
        let (_, queues) = &self.routes[topic];
        Ok(queues)
    }

    /// A connection that failed is made anew next time. So is the route: its broker may have moved.
    fn noted<T>(&mut self, addr: &str, outcome: Result<T, ClientError>) -> Result<T, ProgramError> {
        if let Err(error) = &outcome
            && error.code().is_none()
        {
            self.connections.remove(addr);
            self.routes.clear();
        }
        Ok(outcome?)
    }
}

fn connection<'a>(
    connections: &'a mut HashMap<String, Connection>,
    ids: &mut UniqueKeys,
    addr: &str,
) -> Result<&'a mut Connection, ProgramError> {
    use std::collections::hash_map::Entry;
    match connections.entry(addr.to_owned()) {
        Entry::Occupied(there) => Ok(there.into_mut()),
        Entry::Vacant(place) => {
            let mut made = Connection::connect(resolve(addr)?)?;
            // As Java's benchmark does.
            made.set_header_kind(HeaderKind::Rocketmq);
            if let Ok(local) = made.local_addr() {
                ids.come_from(local.ip());
            }
            Ok(place.insert(made))
        }
    }
}

/// Java's names of the answers with which a message is stored all the same.
fn status_of(mut answer: Answer) -> (&'static str, Answer) {
    let status = match answer.code {
        10 => "FLUSH_DISK_TIMEOUT",
        11 => "SLAVE_NOT_AVAILABLE",
        12 => "FLUSH_SLAVE_TIMEOUT",
        _ => return ("SEND_OK", answer),
    };
    answer.code = 0;
    (status, answer)
}

/// Java's unique keys: address, process, a number of this producer, milliseconds, a counter; 16 bytes as hexadecimal digits.
#[derive(Debug)]
struct UniqueKeys {
    ip: Ipv4Addr,
    owner: u32,
    count: u16,
}

impl UniqueKeys {
    fn new() -> UniqueKeys {
        UniqueKeys { ip: Ipv4Addr::LOCALHOST, owner: fastrand::u32(..), count: 0 }
    }

    fn come_from(&mut self, ip: IpAddr) {
        if let IpAddr::V4(ip) = ip.to_canonical() {
            self.ip = ip;
        }
    }

    fn next(&mut self) -> String {
        self.count = self.count.wrapping_add(1);
        let [a, b, c, d] = self.ip.octets();
        let process = std::process::id() & 0xffff;
        // As many milliseconds as fit: 49 days.
        let millis = send::now_ms() & 0xffff_ffff;
        format!(
            "{a:02X}{b:02X}{c:02X}{d:02X}{process:04X}{:08X}{millis:08X}{:04X}",
            self.owner, self.count
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn unique_keys_have_javas_length_and_differ() {
        let mut keys = UniqueKeys::new();
        keys.come_from("::ffff:10.1.2.3".parse().unwrap());
        let made: HashSet<String> = (0..1_000).map(|_| keys.next()).collect();
        assert_eq!(made.len(), 1_000);
        assert!(made.iter().all(|key| key.len() == 32 && key.starts_with("0A010203")));
    }
}
