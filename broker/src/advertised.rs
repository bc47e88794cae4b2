//! The address behind `brokerIP1`: it stands in records and message ids, where no name can stand.
//!
//! Clients get the name itself, as it was configured. Looked up once, at start, on a thread of its own, because the system
//! may take long to say that it does not know.

use daemon::{
    config::ip_of,
    exit::{Cause, Fatal},
};
use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::mpsc,
    thread,
    time::Duration,
};

/// How long a look-up may take.
const LOOK_UP_MAX: Duration = Duration::from_secs(5);

/// The address of `host`, of a family that `listened` has. A name that nobody knows yet (in a cluster it may come into
/// being with our readiness) is replaced by `instead`, with a warning: who asks by message id is then led there.
pub fn store_ip(host: &str, listened: &[SocketAddr], instead: IpAddr) -> Result<IpAddr, Fatal> {
    let is_served = |ip: &IpAddr| listened.iter().any(|addr| addr.is_ipv6() == ip.is_ipv6());
    let found = match ip_of(host) {
        Some(ip) => vec![ip],
        None => look_up(host),
    };
    if found.is_empty() {
        tracing::warn!(
            brokerIP1 = host,
            %instead,
            "this machine does not know the name; clients get it all the same, message ids hold the other address"
        );
        return Ok(instead);
    }
    let mut served: Vec<IpAddr> = found.iter().copied().filter(is_served).collect();
    // As Java's resolver prefers them.
    served.sort_by_key(IpAddr::is_ipv6);
    served.first().copied().ok_or_else(|| {
        let found: Vec<String> = found.iter().map(IpAddr::to_string).collect();
        let family = if listened.iter().any(SocketAddr::is_ipv6) { "IPv6" } else { "IPv4" };
        Fatal::new(
            Cause::Configuration,
            format!(
                "brokerIP1={host} ({}) cannot be reached here: this broker listens on {family} only (bindAddress, and \
                 whether the machine has the other family)",
                found.join(", ")
            ),
        )
    })
}

fn look_up(name: &str) -> Vec<IpAddr> {
    let (found_in, found_out) = mpsc::channel();
    let asked = name.to_owned();
    let looked = thread::Builder::new().name("look-up".to_owned()).spawn(move || {
        let found = (asked.as_str(), 0).to_socket_addrs().map(Vec::from_iter).unwrap_or_default();
        let _ = found_in.send(found);
    });
    if looked.is_err() {
        return Vec::new();
    }
    let found = found_out.recv_timeout(LOOK_UP_MAX).unwrap_or_default();
    let mut ips: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
    ips.dedup();
    ips
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const INSTEAD: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));

    fn listened(ips: &[IpAddr]) -> Vec<SocketAddr> {
        ips.iter().map(|ip| SocketAddr::new(*ip, 10_911)).collect()
    }

    #[test]
    fn what_is_not_listened_on_is_not_advertised() {
        let v4 = listened(&[IpAddr::V4(Ipv4Addr::UNSPECIFIED)]);
        let v6 = listened(&[IpAddr::V6(Ipv6Addr::UNSPECIFIED)]);
        assert_eq!(store_ip("10.1.2.3", &v4, INSTEAD), Ok(Ipv4Addr::new(10, 1, 2, 3).into()));
        assert_eq!(store_ip("[::1]", &v6, INSTEAD), Ok(Ipv6Addr::LOCALHOST.into()));
        let refused = store_ip("::1", &v4, INSTEAD).unwrap_err();
        assert_eq!(refused.cause, Cause::Configuration);
        assert!(refused.sentence.starts_with("brokerIP1=::1 (::1) cannot be reached"), "{refused}");
        assert!(store_ip("10.1.2.3", &v6, INSTEAD).is_err());
    }

    #[test]
    fn a_name_is_looked_up_and_an_unknown_one_replaced() {
        let v4 = listened(&[IpAddr::V4(Ipv4Addr::UNSPECIFIED)]);
        assert_eq!(store_ip("localhost", &v4, INSTEAD), Ok(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(store_ip("no-such-host.invalid", &v4, INSTEAD), Ok(INSTEAD));
    }
}
