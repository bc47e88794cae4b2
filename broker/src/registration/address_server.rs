//! Name servers that an address server names (`fetchNamesrvAddrByAddressServer`): asked over HTTP at the start, until it
//! answers every ten seconds, then every two minutes. Java's `TopAddressing` is the model: the first line of the answer is a
//! list as in namesrvAddr. Without an answer, or with one that is no list, the name servers of before stay.
//!
//! What waits for the network runs on a thread for what blocks. Runs on the control worker.

use super::Registrar;
use crate::config::BrokerConfig;
use daemon::config::{ConfigKind, ConfigValue, addresses};
use runtime::Executor;
use std::{io::Read, time::Duration};

/// Port of an address server whose name says none. Source: 4.9.8 `MixAll.getWSAddr`.
const PORT: u16 = 8080;
/// From the connect to the last byte. Source: 4.9.8 `TopAddressing`.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two questions.
const PERIOD: Duration = Duration::from_secs(120);
/// The same, until the first list has come.
const FIRST_PERIOD: Duration = Duration::from_secs(10);
/// How long a stop may go unnoticed.
const LOOK: Duration = Duration::from_millis(500);
/// More is no list of name servers.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Whom to ask, if anybody: a list that was given counts more.
pub fn url(config: &BrokerConfig) -> Option<String> {
    let wanted = config.fetch_namesrv_addr_by_address_server;
    if !wanted || config.name_servers().next().is_some() {
        return None;
    }
    let BrokerConfig {
        rmq_address_server_domain: host, rmq_address_server_sub_group: last, ..
    } = config;
    let port = if host.contains(':') { String::new() } else { format!(":{PORT}") };
    Some(format!("http://{host}{port}/rocketmq/{last}"))
}

/// Asks once. The error is for people.
pub async fn ask(executor: &Executor, url: &str) -> Result<Vec<String>, String> {
    let url = url.to_owned();
    executor.blocking(move || fetch(&url).and_then(|answer| list_of(&answer))).await
}

/// Asks for as long as the executor runs, and has the broker register with whom it is told.
pub async fn follow(executor: Executor, registrar: Registrar, url: String, known: Vec<String>) {
    let mut known = known;
    loop {
        let period = if known.is_empty() { FIRST_PERIOD } else { PERIOD };
        let due = executor.uptime() + i64::try_from(period.as_millis()).unwrap_or(i64::MAX);
        while executor.uptime() < due {
            if executor.stop().requested() {
                return;
            }
            executor.sleep(LOOK).await;
        }
        match ask(&executor, &url).await {
            Ok(servers) if servers != known => {
                tracing::info!(
                    url,
                    before = known.join(";"),
                    now = servers.join(";"),
                    "name server address changed"
                );
                registrar.set_servers(&servers);
                known = servers;
            }
            Ok(_) => {}
            Err(why) => warn(&url, &why, &known),
        }
    }
}

/// Tells the log that nothing was learned.
pub fn warn(url: &str, why: &str, known: &[String]) {
    let known = known.join(";");
    tracing::warn!(
        url,
        why,
        known,
        "the address server names no name servers; those that are known stay"
    );
}

fn fetch(url: &str) -> Result<String, String> {
    let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build().new_agent();
    let mut answer = agent.get(url).call().map_err(|error| error.to_string())?;
    let mut text = String::new();
    let mut body = answer.body_mut().as_reader().take(ANSWER_BYTES_MAX + 1);
    body.read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > ANSWER_BYTES_MAX {
        return Err(format!("more than {ANSWER_BYTES_MAX} bytes"));
    }
    Ok(text)
}

/// The list in the first line.
fn list_of(answer: &str) -> Result<Vec<String>, String> {
    let line = answer.trim().lines().next().unwrap_or_default().trim();
    let list = String::read(line, &ConfigKind::Addresses).unwrap_or_default();
    let servers: Vec<String> = addresses(&list).map(str::to_owned).collect();
    if servers.is_empty() {
        let shown: String = line.chars().take(100).collect();
        return Err(format!("expected host:port;host:port in the first line, not '{shown}'"));
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_javas() {
        let asked = |domain: &str, list: &str| {
            url(&BrokerConfig {
                fetch_namesrv_addr_by_address_server: true,
                rmq_address_server_domain: domain.to_owned(),
                namesrv_addr: list.to_owned(),
                ..BrokerConfig::default()
            })
        };
        assert_eq!(asked("127.0.0.1", "").unwrap(), "http://127.0.0.1:8080/rocketmq/nsaddr");
        assert_eq!(asked("127.0.0.1:81", "").unwrap(), "http://127.0.0.1:81/rocketmq/nsaddr");
        assert_eq!(asked("127.0.0.1", "ns:9876"), None, "a list that is given counts more");
        assert_eq!(url(&BrokerConfig::default()), None);
    }

    #[test]
    fn the_first_line_is_the_list() {
        let two = ["10.0.0.1:9876".to_owned(), "ns:9876".to_owned()];
        assert_eq!(list_of("\n 10.0.0.1:9876;ns:9876\r\nmore").unwrap(), two);
        for wrong in ["", "\n\n", "<html>", "10.0.0.1", ";;"] {
            assert!(list_of(wrong).unwrap_err().contains("host:port"), "{wrong}");
        }
    }
}
