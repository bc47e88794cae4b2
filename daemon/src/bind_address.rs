//! `bindAddress`: which local addresses are listened on. The key is 5.x's, for brokers and name servers alike.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::{ConfigKind, ConfigValue};

/// Empty: every address of both families. `0.0.0.0`: every address of IPv4. `::`: both families, and IPv6 must be
/// there. Anything else: that address alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BindAddress(Option<IpAddr>);

impl From<IpAddr> for BindAddress {
    fn from(ip: IpAddr) -> BindAddress {
        BindAddress(Some(ip))
    }
}

impl BindAddress {
    /// The addresses to bind, and whether one may be missing on a machine without its family.
    pub fn ips(&self) -> Vec<(IpAddr, bool)> {
        let v4 = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), false);
        match self.0 {
            None => vec![v4, (IpAddr::V6(Ipv6Addr::UNSPECIFIED), true)],
            Some(ip) if ip == Ipv6Addr::UNSPECIFIED => vec![v4, (ip, false)],
            Some(ip) => vec![(ip, false)],
        }
    }

    /// The one address that is listened on, when it is one.
    pub fn single(&self) -> Option<IpAddr> {
        self.0.filter(|ip| !ip.is_unspecified())
    }

    /// Whether who connects over the family of `ip` can be served at all.
    pub fn covers(&self, ip: IpAddr) -> bool {
        self.ips().iter().any(|(bound, _)| bound.is_ipv6() == ip.is_ipv6())
    }
}

impl ConfigValue for BindAddress {
    fn read(text: &str, _: &ConfigKind) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Some(BindAddress(None));
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        bare.parse().ok().map(|ip| BindAddress(Some(ip)))
    }

    fn text(&self) -> String {
        self.0.map_or(String::new(), |ip| ip.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> BindAddress {
        BindAddress::read(text, &ConfigKind::BindAddress).expect(text)
    }

    #[test]
    fn families_follow_from_the_text() {
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        for (text, covers_v4, covers_v6, single) in [
            ("", true, true, false),
            ("0.0.0.0", true, false, false),
            ("::", true, true, false),
            ("127.0.0.1", true, false, true),
            ("[::1]", false, true, true),
        ] {
            let bind = read(text);
            assert_eq!((bind.covers(v4), bind.covers(v6)), (covers_v4, covers_v6), "{text}");
            assert_eq!(bind.single().is_some(), single, "{text}");
            assert_eq!(read(&bind.text()), bind);
        }
        assert!(BindAddress::read("localhost", &ConfigKind::BindAddress).is_none());
    }
}
