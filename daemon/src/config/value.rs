//! Types of configuration values: how each is read from text, printed again, and what it expects of the operator.
//!
//! A table of keys names one [`ConfigKind`] per key; reading, printing and error messages all go through it. What always
//! holds: `T::read(value.text())` gives the same value back. Types that only one program knows live there.

use std::{net::IpAddr, path::PathBuf};

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
    /// An IP address, or empty: take it from the machine.
    Address,
    /// `host:port` pairs separated by `;`, or empty.
    Addresses,
    /// Processor numbers such as `0,2-5`, or empty: all.
    Cores,
    /// Hours of the day separated by `;`, such as `04` or `04;16`.
    Hours,
    /// An IP address that is listened on.
    BindAddress,
    /// A path, not empty.
    Path,
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
            ConfigKind::Address => "an IP address, or nothing".to_owned(),
            ConfigKind::Addresses => "host:port, several separated by ';'".to_owned(),
            ConfigKind::Cores => "processor numbers such as 0,2-5, or nothing".to_owned(),
            ConfigKind::Hours => {
                "hours from 00 to 23, several separated by ';', or nothing".to_owned()
            }
            ConfigKind::BindAddress => "an IP address such as 0.0.0.0".to_owned(),
            ConfigKind::Path => "a path".to_owned(),
        }
    }

    fn accepts_text(&self, text: &str) -> bool {
        match self {
            ConfigKind::Name => {
                (1..=127).contains(&text.chars().count())
                    && !text.chars().any(|c| c.is_control() || c.is_whitespace())
            }
            ConfigKind::Address => text.is_empty() || text.parse::<IpAddr>().is_ok(),
            ConfigKind::Addresses => addresses(text).all(is_host_and_port),
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

fn is_host_and_port(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0))
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

impl ConfigValue for IpAddr {
    fn read(text: &str, _: &ConfigKind) -> Option<Self> {
        text.parse().ok()
    }

    fn text(&self) -> String {
        self.to_string()
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
        assert!(ok(ConfigKind::Address, "::1"));
        assert!(!ok(ConfigKind::Address, "localhost"));
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

    #[test]
    fn addresses_and_paths_read_their_own_text() {
        let kind = ConfigKind::BindAddress;
        let address = IpAddr::read("::1", &kind).expect("an address");
        assert_eq!(IpAddr::read(&address.text(), &kind), Some(address));
        assert_eq!(IpAddr::read("localhost", &kind), None);
        assert_eq!(PathBuf::read("", &ConfigKind::Path), None);
        let path = PathBuf::read("/a b/c", &ConfigKind::Path).expect("a path");
        assert_eq!(path.text(), "/a b/c");
    }
}
