//! Where topics are: name servers are asked, and their answers read.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, ToSocketAddrs},
};

use client::{ClientError, Connection};
use serde_json::Value;

use super::ProgramError;

/// `TOPIC_NOT_EXIST`.
const NO_TOPIC: i32 = 17;
/// The topic that unknown ones inherit from, and how many queues a producer of Java's asks for.
const DEFAULT_TOPIC: (&str, i32) = ("TBW102", 4);
/// Bits of a permission.
const READ: i64 = 4;
const WRITE: i64 = 2;

/// One queue of a topic, on a master.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Queue {
    /// Its topic.
    pub topic: String,
    /// Name of the broker.
    pub broker: String,
    /// Number on that broker.
    pub id: i32,
    /// `host:port` of the broker.
    pub addr: String,
}

/// Where a topic is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Queues that may be read, in the order of all members of a group.
    pub readable: Vec<Queue>,
    /// Queues that may be written.
    pub writable: Vec<Queue>,
}

/// The list of name servers.
#[derive(Clone, Debug)]
pub struct NameServers(Vec<String>);

impl NameServers {
    /// Those of `-n`, or else of `NAMESRV_ADDR`.
    pub fn of(given: Option<&str>) -> Result<NameServers, ProgramError> {
        let list = given.map(str::to_owned).or_else(|| std::env::var("NAMESRV_ADDR").ok());
        let list = list.unwrap_or_default();
        let addrs: Vec<String> = list
            .split(';')
            .map(|addr| addr.trim().trim_start_matches("http://").to_owned())
            .filter(|addr| !addr.is_empty())
            .collect();
        if addrs.is_empty() { Err(ProgramError::NoNameServer) } else { Ok(NameServers(addrs)) }
    }

    /// The route of a topic from the first name server that answers. `None`: nobody has the topic.
    pub fn route(&self, topic: &str) -> Result<Option<Route>, ProgramError> {
        let mut last = String::new();
        for addr in &self.0 {
            match ask(addr, topic) {
                Ok(answer) => return Ok(Some(read(topic, &answer))),
                Err(ProgramError::Client(ClientError::Refused { code: NO_TOPIC, .. })) => {
                    return Ok(None);
                }
                Err(error) => last = format!("{addr}: {error}"),
            }
        }
        Err(ProgramError::NameServers { addrs: self.0.join(";"), last })
    }

    /// Where a message of this topic may go: an unknown topic comes into being with it, on brokers that allow it.
    pub fn writable(&self, topic: &str) -> Result<Vec<Queue>, ProgramError> {
        if let Some(route) = self.route(topic)?
            && !route.writable.is_empty()
        {
            return Ok(route.writable);
        }
        let (default, queues) = DEFAULT_TOPIC;
        let inherited = self.route(default)?.unwrap_or_default().writable;
        let queues: Vec<Queue> = inherited
            .into_iter()
            .filter(|queue| queue.id < queues)
            .map(|queue| Queue { topic: topic.to_owned(), ..queue })
            .collect();
        if queues.is_empty() {
            return Err(ProgramError::NoRoute { topic: topic.to_owned() });
        }
        Ok(queues)
    }
}

/// The first address of a name.
pub fn resolve(addr: &str) -> Result<SocketAddr, ProgramError> {
    let bad = |reason: String| ProgramError::Address { addr: addr.to_owned(), reason };
    let mut found = addr.to_socket_addrs().map_err(|error| bad(error.to_string()))?;
    found.next().ok_or_else(|| bad("the name has no address".to_owned()))
}

fn ask(addr: &str, topic: &str) -> Result<Value, ProgramError> {
    Ok(Connection::connect(resolve(addr)?)?.route(topic, true)?)
}

fn read(topic: &str, route: &Value) -> Route {
    let list = |name: &str| route[name].as_array().into_iter().flatten();
    let masters: BTreeMap<&str, &str> = list("brokerDatas")
        .filter_map(|data| Some((data["brokerName"].as_str()?, data["brokerAddrs"]["0"].as_str()?)))
        .collect();
    let mut found = Route::default();
    for data in list("queueDatas") {
        let name = data["brokerName"].as_str().unwrap_or_default();
        let Some(addr) = masters.get(name) else { continue };
        let queue = |id| Queue {
            topic: topic.to_owned(),
            broker: name.to_owned(),
            id,
            addr: (*addr).to_owned(),
        };
        let perm = data["perm"].as_i64().unwrap_or_default();
        let count = |name: &str, bit: i64| {
            let count = data[name].as_i64().filter(|_| perm & bit != 0).unwrap_or_default();
            i32::try_from(count).unwrap_or_default().min(i32::from(u16::MAX))
        };
        found.readable.extend((0..count("readQueueNums", READ)).map(queue));
        found.writable.extend((0..count("writeQueueNums", WRITE)).map(queue));
    }
    found.readable.sort();
    found.writable.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_route_is_read_master_by_master() {
        let route = json!({
            "brokerDatas": [
                { "brokerName": "b", "brokerAddrs": { "0": "10.0.0.2:10911", "1": "10.0.0.3:10911" } },
                { "brokerName": "a", "brokerAddrs": { "0": "10.0.0.1:10911" } },
                { "brokerName": "slave-alone", "brokerAddrs": { "1": "10.0.0.9:10911" } }
            ],
            "queueDatas": [
                { "brokerName": "b", "perm": 6, "readQueueNums": 1, "writeQueueNums": 2 },
                { "brokerName": "a", "perm": 4, "readQueueNums": 2, "writeQueueNums": 2 },
                { "brokerName": "slave-alone", "perm": 6, "readQueueNums": 1, "writeQueueNums": 1 }
            ]
        });
        let route = read("t", &route);
        let ids = |queues: &[Queue]| -> Vec<String> {
            queues
                .iter()
                .map(|queue| format!("{}{}@{}", queue.broker, queue.id, queue.addr))
                .collect()
        };
        assert_eq!(ids(&route.writable), ["b0@10.0.0.2:10911", "b1@10.0.0.2:10911"]);
        assert_eq!(
            ids(&route.readable),
            ["a0@10.0.0.1:10911", "a1@10.0.0.1:10911", "b0@10.0.0.2:10911"]
        );
    }

    #[test]
    fn a_list_of_name_servers_is_read_as_javas_clients_do() {
        let list = NameServers::of(Some(" a:1; http://localhost:2;;")).unwrap();
        assert_eq!(list.0, ["a:1", "localhost:2"]);
        assert!(matches!(NameServers::of(Some(" ; ")), Err(ProgramError::NoNameServer)));
    }
}
