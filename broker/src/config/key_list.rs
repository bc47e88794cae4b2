//! All keys of a broker as an operator reads them: `--keys`, and the page `deploy/configuration.md`.

use super::ignored::{IGNORED, Ignored, Weight};
use super::keys::{BrokerConfig, KEYS};
use daemon::key_list::{KeyList, KeyRow, Told, WithoutMeaning};

/// From the table of keys and that of keys without a meaning.
pub fn key_list() -> KeyList {
    let defaults = BrokerConfig::default();
    KeyList {
        program: "mqbroker",
        remark: "They stand in the file of -c, and act from the next start on. Those that are live act at once when they are changed \
                 while the broker runs (updateBrokerConfig of mqadmin); config/overrides.properties in the data directory keeps \
                 such changes, and goes before the file.",
        keys: KEYS.iter().map(|key| KeyRow::of(key, &defaults)).collect(),
        without_meaning: IGNORED.iter().map(without_meaning).collect(),
    }
}

fn without_meaning(group: &Ignored) -> WithoutMeaning {
    let told = match group.weight {
        Weight::Note => Told::Accepted,
        Weight::Warn => Told::Warned,
        Weight::Refuse => Told::Refused,
    };
    WithoutMeaning { names: group.names.to_vec(), reason: group.reason, told }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_listed_and_fits_a_terminal() {
        let text = key_list().text();
        for key in KEYS {
            assert!(text.contains(&format!("\n{}=", key.name)), "{}", key.name);
        }
        let wide = text.lines().find(|line| line.chars().count() > 100);
        assert_eq!(wide, None);
        assert!(text.contains("enableDLegerCommitLog"), "{text}");
    }
}
