//! Types of configuration values: how each is read from text, printed again, and what it expects of the operator.
//!
//! A table of keys names one [`ConfigKind`] per key; reading, printing and error messages all go through it. What always
//! holds: `T::read(value.text())` gives the same value back. Types that only one program knows live there.

use std::{
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
};

/// What a key accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigKind {
    /// Any text, also empty.
    Text,
    /// A name that goes into routes and file names: not blank, no control characters, at most 127 characters.
    Name,
    /// A whole number, both ends included.
    Whole {
        /// Smallest accepted value.
        min: i64,
        /// Largest accepted value.
        max: i64,
    },
    /// `true` or `false`, in any case.
    Bool,
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
    /// An IP address (IPv6 with or without brackets) or a host name that clients connect to, or empty: take it from the
    /// machine.
    Host,
    /// `host:port` pairs separated by `;`, or empty.
    Addresses,
    /// Processor numbers such as `0,2-5`, or empty: all.
    Cores,
    /// Hours of the day separated by `;`, such as `04` or `04;16`.
    Hours,
    /// An IP address that is listened on, or empty: all of them.
    BindAddress,
    /// A path, not empty.
    Path,
    /// A port, 0 for none, or empty: the usual one, if it is free.
    OptionalPort,
}

impl ConfigKind {
    /// Completes the sentence "expected ..." for an operator.
    pub fn expectation(&self) -> String {
        match self {
            ConfigKind::Text => "text".to_owned(),
            ConfigKind::Name => "a name of 1 to 127 printable characters".to_owned(),
            ConfigKind::Whole { min, max: i64::MAX } => format!("a whole number of at least {min}"),
            ConfigKind::Whole { min, max } => format!("a whole number from {min} to {max}"),
            ConfigKind::Bool => "true or false".to_owned(),
            ConfigKind::Choice(words) => format!("one of {}", words.join(", ")),
            ConfigKind::Host => {
                "an IP address or a host name that clients reach, without a port, or nothing"
                    .to_owned()
            }
            ConfigKind::Addresses => {
                "host:port, several separated by ';', such as 10.0.0.1:9876;ns-2:9876 (IPv6 in \
                                      brackets: [::1]:9876)"
                    .to_owned()
            }
            ConfigKind::Cores => "processor numbers such as 0,2-5, or nothing".to_owned(),
            ConfigKind::Hours => {
                "hours from 00 to 23, several separated by ';', or nothing".to_owned()
            }
            ConfigKind::BindAddress => {
                "an IP address of this machine, 0.0.0.0 for all of IPv4, or nothing for all"
                    .to_owned()
            }
            ConfigKind::Path => "a path".to_owned(),
            ConfigKind::OptionalPort => {
                "a port from 1 to 65535, 0 for none, or nothing for the usual one".to_owned()
            }
        }
    }

    fn accepts_text(&self, text: &str) -> bool {
        match self {
            ConfigKind::Name => {
                (1..=127).contains(&text.chars().count())
                    && !text.chars().any(|c| c.is_control() || c.is_whitespace())
            }
            ConfigKind::Host => text.is_empty() || is_reachable_host(text),
            ConfigKind::Addresses => {
                addresses(text).all(is_host_and_port)
                    && (text.is_empty() || addresses(text).next().is_some())
            }
            ConfigKind::Hours => {
                text.is_empty()
                    || text
                        .split(';')
                        .all(|hour| hour.trim().parse::<u8>().is_ok_and(|hour| hour < 24))
            }
            _ => true,
        }
    }
}

/// The addresses of a `;`-separated list, without blanks and empty pieces.
pub fn addresses(list: &str) -> impl Iterator<Item = &str> {
    list.split(';').map(str::trim).filter(|address| !address.is_empty())
}

/// The IP address that this text is, if it is one; IPv6 with or without brackets.
pub fn ip_of(host: &str) -> Option<IpAddr> {
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inside {
        Some(inside) => inside.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

/// `host:port` as clients of every language read it: IPv6 in brackets, as Java's broker registers itself.
pub fn host_and_port(host: &str, port: u16) -> String {
    match ip_of(host) {
        Some(ip) => std::net::SocketAddr::new(ip, port).to_string(),
        None => format!("{host}:{port}"),
    }
}

/// No address of everybody or nobody: a client could not connect to it.
fn is_reachable_host(host: &str) -> bool {
    match ip_of(host) {
        Some(IpAddr::V4(ip)) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        Some(ip) => !ip.is_unspecified() && !ip.is_multicast(),
        None => is_host_name(host),
    }
}

/// Letters, digits, `-` and `_` between dots; what is no IP address must not look like a mistyped one.
fn is_host_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    host.len() <= 253 && host.split('.').all(label) && !last.chars().all(|c| c.is_ascii_digit())
}

fn is_host_and_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        // Without brackets nobody knows where an IPv6 address ends.
        let host = (!host.contains(':') || host.starts_with('[')) && is_reachable_host(host);
        host && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0)
    })
}

/// A type that a configuration field may have.
pub trait ConfigValue: Sized {
    /// The value that `text` means under `kind`, or `None` when it is not acceptable.
    fn read(text: &str, kind: &ConfigKind) -> Option<Self>;
    /// The text that [`ConfigValue::read`] turns into this value.
    fn text(&self) -> String;
}

impl ConfigValue for String {
    fn read(text: &str, kind: &ConfigKind) -> Option<Self> {
        kind.accepts_text(text).then(|| text.to_owned())
    }

    fn text(&self) -> String {
        self.clone()
    }
}

impl ConfigValue for bool {
    fn read(text: &str, _: &ConfigKind) -> Option<Self> {
        match text {
            _ if text.eq_ignore_ascii_case("true") => Some(true),
            _ if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// Empty: nobody has said.
impl ConfigValue for Option<bool> {
    fn read(text: &str, kind: &ConfigKind) -> Option<Self> {
        if text.is_empty() { Some(None) } else { bool::read(text, kind).map(Some) }
    }

    fn text(&self) -> String {
        self.map_or(String::new(), |value| value.to_string())
    }
}

impl ConfigValue for PathBuf {
    fn read(text: &str, _: &ConfigKind) -> Option<Self> {
        (!text.is_empty()).then(|| PathBuf::from(text))
    }

    fn text(&self) -> String {
        self.display().to_string()
    }
}

macro_rules! whole_numbers {
    ($($number:ty)+) => { $(
        impl ConfigValue for $number {
            fn read(text: &str, kind: &ConfigKind) -> Option<Self> {
                let value: i64 = text.parse().ok()?;
                match kind {
                    ConfigKind::Whole { min, max } if (*min..=*max).contains(&value) => {
                        <$number>::try_from(value).ok()
                    }
                    _ => None,
                }
            }

            fn text(&self) -> String {
                self.to_string()
            }
        }
    )+ };
}

whole_numbers!(u16 i32 u32 i64 u64 usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_checked_by_their_kind() {
        let ok = |kind: ConfigKind, text: &str| String::read(text, &kind).is_some();
        assert!(ok(ConfigKind::Addresses, "10.0.0.1:9876; ns.example:9876;"));
        assert!(ok(ConfigKind::Addresses, ""));
        assert!(!ok(ConfigKind::Addresses, "10.0.0.1"));
        assert!(!ok(ConfigKind::Addresses, "10.0.0.1:0"));
        assert!(ok(ConfigKind::Hours, "04;16"));
        assert!(!ok(ConfigKind::Hours, "24"));
        assert!(ok(ConfigKind::Name, "broker-a"));
        assert!(!ok(ConfigKind::Name, ""));
    }

    #[test]
    fn numbers_keep_to_their_range() {
        let kind = ConfigKind::Whole { min: 1, max: 65535 };
        assert_eq!(u16::read("65535", &kind), Some(65535));
        for bad in ["0", "65536", "1.5", "ten", "", "1 0"] {
            assert_eq!(u16::read(bad, &kind), None, "{bad}");
        }
    }

    /// A list that cannot work is refused as a whole: what a comma, a blank or a scheme would make of it is no server.
    #[test]
    fn lists_of_servers_work_or_are_refused() {
        let ok = |text: &str| String::read(text, &ConfigKind::Addresses).is_some();
        for good in ["", "ns:9876", "10.0.0.1:9876;10.0.0.2:9876;", "[::1]:9876; a.b-c_d.e:1"] {
            assert!(ok(good), "{good}");
        }
        for bad in [
            "a:1,b:2",
            "a:1 b:2",
            " ",
            ";",
            "http://localhost:9876",
            "a:9876/x",
            "::1:9876",
            "[::1]",
            "a:",
            "[::1:9876",
            "10.0.0:9876",
            "10.0.0.256:9876",
            "0.0.0.0:9876",
            "a:+1",
            "a:65536",
            ":9876",
        ] {
            assert!(!ok(bad), "{bad}");
        }
        let expected = ConfigKind::Addresses.expectation();
        assert!(expected.contains("separated by ';'") && expected.contains("[::1]:9876"));
    }

    #[test]
    fn a_host_is_what_a_client_can_connect_to() {
        let ok = |text: &str| String::read(text, &ConfigKind::Host).is_some();
        for good in
            ["", "10.1.2.3", "::1", "[fd00::2]", "broker-0.broker.ns.svc.cluster.local", "h"]
        {
            assert!(ok(good), "{good}");
        }
        for bad in [
            "0.0.0.0",
            "::",
            "[::]",
            "224.0.0.1",
            "10.1.2",
            "10.1.2.3:10911",
            "[10.1.2.3]",
            "a b",
            "a,b",
        ] {
            assert!(!ok(bad), "{bad}");
        }
        assert_eq!(host_and_port("fd00::2", 1), "[fd00::2]:1");
        assert_eq!(host_and_port("[fd00::2]", 1), "[fd00::2]:1");
        assert_eq!(host_and_port("10.1.2.3", 1), "10.1.2.3:1");
        assert_eq!(host_and_port("broker-0.broker", 1), "broker-0.broker:1");
    }

    #[test]
    fn paths_read_their_own_text() {
        assert_eq!(PathBuf::read("", &ConfigKind::Path), None);
        let path = PathBuf::read("/a b/c", &ConfigKind::Path).expect("a path");
        assert_eq!(path.text(), "/a b/c");
    }
}
