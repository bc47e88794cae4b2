//! `config/overrides.properties`: what was changed while a broker ran (`UPDATE_BROKER_CONFIG`), over what its configuration
//! file and command line say.
//!
//! The operator's file stays as it is. A key stands here only while its value differs from that file's, so the file can be
//! read by people and emptied by hand. The version of the configuration stands here, too: it never goes back. What is
//! written ends with [`END`]: a file that was being written for the first time when the machine stopped is not whole
//! without it. Pure, but for [`read_overrides`], which the start calls.

use super::keys::{BrokerConfig, KEYS};
use super::problem::{ConfigError, Problem, Source};
use daemon::{
    config::{Effect, find, nearest_key},
    properties_file,
};
use proto::body::DataVersion;
use runtime::durable_file;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// Its name in the directory `config`.
const FILE: &str = "overrides.properties";
/// What it begins with.
const HEAD: &str = "\
# Settings that were changed while the broker ran (UPDATE_BROKER_CONFIG, mqadmin updateBrokerConfig). They go before the
# configuration file and the command line. A key that is set to what those say is taken out. The broker writes this file
# anew with each change; while it is stopped, lines may be taken out by hand.
";
/// How it ends.
const END: &str = "# end\n";
/// Stands before the version of the configuration.
const VERSION: &str = "dataVersion";

/// What was changed while a broker ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Moves with each change.
    pub version: DataVersion,
    /// Key and value.
    pub values: BTreeMap<&'static str, String>,
}

/// Where it lies below the data directory.
pub fn overrides_path(root: &Path) -> PathBuf {
    root.join("config").join(FILE)
}

/// The content of the file below the data directory, as it was written or as somebody has edited it. Blocking, for the
/// start only. `None`: there is none.
pub fn read_overrides(root: &Path) -> Result<Option<String>, ConfigError> {
    let path = overrides_path(root);
    let unreadable = |source| ConfigError::Unreadable { path: path.clone(), source };
    match std::fs::read(&path) {
        Ok(bytes) => return Ok(Some(properties_file::text_of(&bytes).into_owned())),
        // The directory is made by the first start, which says what is wrong with it.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unreadable(error)),
    }
    // It may be between its two names.
    let found =
        durable_file::look(&path, whole).map_err(|error| unreadable(io::Error::other(error)))?;
    Ok(found.map(|bytes| properties_file::text_of(&bytes).into_owned()))
}

/// Bytes that were written to their end.
pub(crate) fn whole(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
    if bytes.ends_with(END.as_bytes()) {
        Ok(bytes.to_vec())
    } else {
        Err("it was not written to its end")
    }
}

impl Overrides {
    /// What a file says, or everything that is wrong with it.
    pub fn read(text: &str) -> Result<Overrides, Vec<Problem>> {
        let problem = |line: usize, key: &str, value: &str, expected: String| Problem {
            source_of: Source::Overrides(line),
            key: key.to_owned(),
            value: value.to_owned(),
            expected,
        };
        let entries = properties_file::entries(text).map_err(|bad| {
            let digits = || "four hexadecimal digits after \\u".to_owned();
            bad.iter().map(|escape| problem(escape.line, "\\u", "", digits())).collect::<Vec<_>>()
        })?;
        let mut overrides = Overrides::default();
        let mut problems = Vec::new();
        for properties_file::Entry { key: name, value, line } in &entries {
            let mut refuse = |expected| problems.push(problem(*line, name, value, expected));
            if name == VERSION {
                match DataVersion::read(value.as_bytes()) {
                    Ok(version) => overrides.version = version,
                    Err(error) => {
                        refuse(format!("a version as the broker has written it: {error}"))
                    }
                }
                continue;
            }
            let Some(key) = find(KEYS, name) else {
                let hint = nearest_key(name, KEYS.iter().map(|key| key.name));
                let hint = hint.map_or(String::new(), |known| format!("; did you mean {known}?"));
                refuse(format!("a key of the broker{hint}"));
                continue;
            };
            let mut scratch = BrokerConfig::default();
            if key.effect != Effect::Live {
                refuse("this key in the configuration file: it acts from a start on".to_owned());
            } else if !(key.set)(&mut scratch, value) {
                refuse(key.kind.expectation());
            } else {
                overrides.values.insert(key.name, (key.text)(&scratch));
            }
        }
        if problems.is_empty() { Ok(overrides) } else { Err(problems) }
    }

    /// The file.
    pub fn to_text(&self) -> String {
        let mut out = HEAD.to_owned();
        let mut version = Vec::new();
        self.version.write(&mut version);
        properties_file::write_entry(&mut out, VERSION, &String::from_utf8_lossy(&version));
        for (name, value) in &self.values {
            properties_file::write_entry(&mut out, name, value);
        }
        out.push_str(END);
        out
    }

    /// What of `changed` differs from what file and command line say, with the version as it is.
    pub fn between(&self, configured: &BrokerConfig, changed: &BrokerConfig) -> Overrides {
        let live = KEYS.iter().filter(|key| key.effect == Effect::Live);
        let differs = live.filter(|key| (key.text)(configured) != (key.text)(changed));
        let values = differs.map(|key| (key.name, (key.text)(changed))).collect();
        Overrides { version: self.version, values }
    }

    /// Sets what stands here. The values were accepted before.
    pub fn apply(&self, config: &mut BrokerConfig) {
        for (name, value) in &self.values {
            if let Some(key) = find(KEYS, name) {
                (key.set)(config, value);
            }
        }
    }

    /// One sentence for each key, with both values: `overrides.properties sets fileReservedTime=48, broker.conf says 72`.
    /// `says` names who gave a key another value, if somebody did.
    pub fn sentences(
        &self,
        configured: &BrokerConfig,
        says: impl Fn(&str) -> Option<String>,
    ) -> Vec<String> {
        let sentence = |(name, value): (&&'static str, &String)| {
            let instead = (find(KEYS, name)?.text)(configured);
            let instead = if instead.is_empty() { "empty" } else { &instead };
            let who = says(name).map_or("the default is".to_owned(), |who| format!("{who} says"));
            Some(format!("{FILE} sets {name}={value}, {who} {instead}"))
        };
        self.values.iter().filter_map(sentence).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed() -> Overrides {
        let values = [("fileReservedTime", "48".to_owned()), ("regionId", "a = ü".to_owned())];
        Overrides { version: DataVersion { counter: 3, timestamp: 7 }, values: values.into() }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = changed().to_text();
        assert_eq!(Overrides::read(&text).unwrap(), changed());
        assert!(whole(text.as_bytes()).is_ok());
        for length in 0..text.len() {
            assert!(whole(&text.as_bytes()[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_said_with_its_line() {
        let text = "fileReservdTime=1\nlistenPort=10911\nfileReservedTime=0\ndataVersion=7\n";
        let problems = Overrides::read(text).unwrap_err();
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 4);
        let expected = "overrides.properties line 1: fileReservdTime=1: expected a key of the broker; did you mean \
                        fileReservedTime?";
        assert_eq!(said[0], expected);
        assert!(
            said[1]
                .contains("line 2: listenPort=10911: expected this key in the configuration file")
        );
        assert!(said[2].contains("fileReservedTime=0: expected a whole number from 1"), "{said:?}");
        assert!(said[3].contains("line 4: dataVersion=7: expected a version"), "{said:?}");
    }

    #[test]
    fn what_the_file_says_is_not_kept() {
        let configured = BrokerConfig { file_reserved_time_hours: 48, ..BrokerConfig::default() };
        let mut running = configured.clone();
        changed().apply(&mut running);
        let kept = changed().between(&configured, &running);
        assert_eq!(kept.values.keys().collect::<Vec<_>>(), [&"regionId"]);
        assert_eq!(kept.version, changed().version);
        let said = changed().sentences(&BrokerConfig::default(), |_| None);
        assert_eq!(said[0], "overrides.properties sets fileReservedTime=48, the default is 72");
        assert_eq!(
            said[1],
            "overrides.properties sets regionId=a = ü, the default is DefaultRegion"
        );
        let said = changed().sentences(&configured, |_| Some("broker.conf".to_owned()));
        assert_eq!(said[0], "overrides.properties sets fileReservedTime=48, broker.conf says 48");
    }
}
