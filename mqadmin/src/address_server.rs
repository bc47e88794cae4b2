//! Name servers that an address server names, as Java's clients ask it over HTTP: only when one is named, and no name
//! server is. Java's default, `jmenv.tbsite.net`, is never asked: it belongs to others.

use std::io::Read as _;
use std::time::Duration;

use crate::Failure;

/// Port of an address server whose name says none. Source: Apache RocketMQ 4.9.8, `MixAll.getWSAddr`.
const PORT: u16 = 8080;
/// Last part of the path.
pub(crate) const SUB_GROUP: &str = "nsaddr";
/// From the connect to the last byte.
const PATIENCE: Duration = Duration::from_secs(3);
/// More is no list of name servers.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Asks `domain`, a host or host:port, for the list of name servers, `host:port;host:port`.
pub(crate) fn name_servers(domain: &str, sub_group: &str) -> Result<String, Failure> {
    let url = url(domain, sub_group);
    let failed = |reason: String| Failure::AddressServer { url: url.clone(), reason };
    let answer = fetch(&url).map_err(failed)?;
    first_line(&answer).map_err(failed)
}

fn url(domain: &str, sub_group: &str) -> String {
    let port = if domain.contains(':') { String::new() } else { format!(":{PORT}") };
    format!("http://{domain}{port}/rocketmq/{sub_group}")
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

fn first_line(answer: &str) -> Result<String, String> {
    let line = answer.trim().lines().next().unwrap_or_default().trim();
    let is_addr = |addr: &str| {
        let port = addr.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        port.is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    };
    let mut addrs = line.split(';').map(str::trim).filter(|addr| !addr.is_empty()).peekable();
    if addrs.peek().is_some() && addrs.all(is_addr) {
        return Ok(line.to_owned());
    }
    let shown: String = line.chars().take(100).collect();
    Err(format!("expected host:port;host:port in the first line, not {shown:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_javas() {
        assert_eq!(url("127.0.0.1", SUB_GROUP), "http://127.0.0.1:8080/rocketmq/nsaddr");
        assert_eq!(url("127.0.0.1:81", "other"), "http://127.0.0.1:81/rocketmq/other");
    }

    #[test]
    fn the_first_line_is_the_list() {
        assert_eq!(first_line("\n a:1; b:2 \r\nmore"), Ok("a:1; b:2".to_owned()));
        for bad in ["", "\n", "<html>", "a", ":1", "a:1;b", "a:99999"] {
            assert!(first_line(bad).is_err(), "{bad:?}");
        }
    }
}
