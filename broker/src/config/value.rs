//! Types of configuration values that only the broker has, beside those of [`daemon::config`].

use daemon::config::{ConfigKind, ConfigValue};
use proto::body::MessageRequestMode;

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

/// How consumers get messages where nobody has said how, as the key has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultRequestMode(pub MessageRequestMode);

/// Words of [`DefaultRequestMode`] as Java writes them.
pub(super) const REQUEST_MODES: &[&str] = &["PULL", "POP"];

impl ConfigValue for DefaultRequestMode {
    fn read(text: &str, _: &ConfigKind) -> Option<Self> {
        let mut all = MessageRequestMode::ALL.iter();
        all.find(|mode| mode.name().eq_ignore_ascii_case(text)).map(|mode| Self(*mode))
    }

    fn text(&self) -> String {
        self.0.name().to_owned()
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

/// A user and his password in JSON, as Java's keys have them: `{"username":"..","password":".."}` or
/// `{"accessKey":"..","secretKey":".."}`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials(pub Option<(String, String)>);

impl ConfigValue for Credentials {
    fn read(text: &str, _: &ConfigKind) -> Option<Self> {
        if text.trim().is_empty() {
            return Some(Credentials(None));
        }
        acl::auth::credentials(text).map(|both| Credentials(Some(both)))
    }

    /// Secrets are shown to nobody.
    fn text(&self) -> String {
        match &self.0 {
            Some((name, _)) => format!("{name} (the secret is not shown)"),
            None => String::new(),
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text())
    }
}

/// Request codes, separated by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodeList(pub Vec<i32>);

impl ConfigValue for CodeList {
    fn read(text: &str, _: &ConfigKind) -> Option<Self> {
        let codes = text.split(',').map(str::trim).filter(|code| !code.is_empty());
        codes.map(|code| code.parse().ok()).collect::<Option<_>>().map(CodeList)
    }

    fn text(&self) -> String {
        self.0.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
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
}
