//! Types of configuration values: how each is read from text, printed again, and what it expects of the operator.
//!
//! `keys.rs` names one [`ConfigKind`] per key; reading, `-p`, error messages and `GET_BROKER_CONFIG` all go through it.
//! What always holds: `T::read(value.text())` gives the same value back.

use std::net::IpAddr;

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

/// When an answer `SEND_OK` may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushDiskType {
    /// After the record is on the disk: fdatasync has returned.
    SyncFlush,
    /// After the record is in memory; the disk follows within `flushIntervalCommitLog`.
    AsyncFlush,
}

/// Words of [`FlushDiskType`] as Java writes them.
pub(super) const FLUSH_DISK_TYPES: &[&str] = &["SYNC_FLUSH", "ASYNC_FLUSH"];

impl ConfigValue for FlushDiskType {
    fn read(text: &str, _: &ConfigKind) -> Option<Self> {
        match text {
            _ if text.eq_ignore_ascii_case("SYNC_FLUSH") => Some(FlushDiskType::SyncFlush),
            _ if text.eq_ignore_ascii_case("ASYNC_FLUSH") => Some(FlushDiskType::AsyncFlush),
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self {
            FlushDiskType::SyncFlush => "SYNC_FLUSH".to_owned(),
            FlushDiskType::AsyncFlush => "ASYNC_FLUSH".to_owned(),
        }
    }
}

/// Role in a replica group, as Java names it. Only a master without slaves exists here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerRole {
    /// A master that does not wait for slaves.
    AsyncMaster,
    /// A master that waits for a slave. Refused by `validate`: there is nobody to wait for.
    SyncMaster,
    /// A slave. Refused by `validate`.
    Slave,
}

/// Words of [`BrokerRole`] as Java writes them.
pub(super) const BROKER_ROLES: &[&str] = &["ASYNC_MASTER", "SYNC_MASTER", "SLAVE"];

impl ConfigValue for BrokerRole {
    fn read(text: &str, _: &ConfigKind) -> Option<Self> {
        match text {
            _ if text.eq_ignore_ascii_case("ASYNC_MASTER") => Some(BrokerRole::AsyncMaster),
            _ if text.eq_ignore_ascii_case("SYNC_MASTER") => Some(BrokerRole::SyncMaster),
            _ if text.eq_ignore_ascii_case("SLAVE") => Some(BrokerRole::Slave),
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self {
            BrokerRole::AsyncMaster => "ASYNC_MASTER".to_owned(),
            BrokerRole::SyncMaster => "SYNC_MASTER".to_owned(),
            BrokerRole::Slave => "SLAVE".to_owned(),
        }
    }
}

/// Largest processor number that a [`CoreList`] takes: the kernel's own limit is of this size.
pub const CORE_MAX: usize = 8191;

/// Processor numbers in the order given, without repetition. Empty: all processors of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreList(pub Vec<usize>);

impl ConfigValue for CoreList {
    fn read(text: &str, _: &ConfigKind) -> Option<Self> {
        let mut cores = Vec::new();
        if text.trim().is_empty() {
            return Some(CoreList(cores));
        }
        for piece in text.split(',') {
            let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
            let first: usize = first.trim().parse().ok()?;
            let last: usize = last.trim().parse().ok()?;
            if first > last || last > CORE_MAX {
                return None;
            }
            for core in first..=last {
                if cores.contains(&core) {
                    return None;
                }
                cores.push(core);
            }
        }
        Some(CoreList(cores))
    }

    fn text(&self) -> String {
        let mut pieces: Vec<(usize, usize)> = Vec::new();
        for core in &self.0 {
            match pieces.last_mut() {
                Some((_, last)) if *last + 1 == *core => *last = *core,
                _ => pieces.push((*core, *core)),
            }
        }
        let pieces = pieces.iter().map(|(first, last)| {
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        });
        pieces.collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_lists_read_as_operators_write_them() {
        let read = |text| CoreList::read(text, &ConfigKind::Cores).map(|list| list.0);
        assert_eq!(read("0,2-5"), Some(vec![0, 2, 3, 4, 5]));
        assert_eq!(read(" 3 , 1 "), Some(vec![3, 1]));
        assert_eq!(read(""), Some(vec![]));
        for bad in ["5-2", "1,1", "a", "1-", "-1", "0-99999", "1,,2"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(CoreList(vec![0, 2, 3, 4, 5]).text(), "0,2-5");
    }

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
}
