//! From a command line and a file's bytes to a [`BrokerConfig`]: everything that is wrong is reported at once.
//!
//! Order of precedence: `overrides.properties` (what was changed while a broker ran), then as Java's `-n` and keys of the
//! command line, the file, the environment, the default. Bad values are problems and stop the start; unknown and
//! meaningless keys are notices.

use std::path::{Path, PathBuf};

use super::command_line::{CommandLine, Print};
use super::ignored::{self, IGNORED, Weight};
use super::java_metrics::{self, Meaning};
use super::keys::{BrokerConfig, KEYS};
use super::machine::Machine;
use super::overrides::Overrides;
use super::problem::{ConfigError, Notice, Problem, Source};
use daemon::{
    config::{ConfigKind, Effect, find, nearest_key},
    properties_file::{self, Entry},
};

/// What was given from outside, already read.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The command line.
    pub command_line: CommandLine,
    /// Content of the file of `-c`, if there is one.
    pub file: Option<String>,
    /// `NAMESRV_ADDR`.
    pub namesrv_env: Option<String>,
    /// `RINGMQ_LOG_DIR`, which the launchers of the archive set.
    pub log_dir_env: Option<String>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// Content of `overrides.properties` in the data directory ([`data_dir`]), if there is one.
    pub overrides: Option<String>,
    /// `ROCKETMQ_HOME`.
    pub rocketmq_home: Option<String>,
}

impl Given {
    /// The name of the configuration file, if this key stands in it.
    fn names_in_file(&self, key: &str) -> Option<String> {
        let path = self.command_line.config_file.as_deref()?;
        let entries = properties_file::entries(self.file.as_deref()?).ok()?;
        let file = entries.iter().any(|entry| entry.key == key).then(|| path.file_name())??;
        Some(file.to_string_lossy().into_owned())
    }
}

/// A configuration that can be started.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// All settings, with what the machine had to say filled in, and what was changed while a broker ran.
    pub config: BrokerConfig,
    /// The same without the latter.
    pub configured: BrokerConfig,
    /// What was changed while a broker ran, as far as it differs from `configured`.
    pub overrides: Overrides,
    /// `overrides.properties` holds more than that, and is to be written anew.
    pub overrides_outdated: bool,
    /// What `overrides` set, one sentence each.
    pub overridden: Vec<String>,
    /// Keys of the file that mean nothing here, with their values.
    pub unused: Vec<(String, String)>,
    /// Remarks for the log.
    pub notices: Vec<Notice>,
    /// Run a name server inside, on `standaloneNamesrvPort`.
    pub standalone: bool,
    /// Print and exit instead of starting.
    pub print: Option<Print>,
}

/// Bytes of the file of `-c` as text.
pub fn read_file(path: &Path) -> Result<String, ConfigError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(properties_file::text_of(&bytes).into_owned()),
        Err(source) => Err(ConfigError::Unreadable { path: path.to_owned(), source }),
    }
}

/// What file, command line and environment say.
struct AsConfigured {
    config: BrokerConfig,
    standalone: bool,
    problems: Vec<Problem>,
    notices: Vec<Notice>,
    unused: Vec<(String, String)>,
}

/// The data directory of a broker with what was given, whatever else is wrong with that.
pub fn data_dir(given: &Given, machine: &Machine) -> PathBuf {
    PathBuf::from(as_configured(given, machine).config.store_path_root_dir)
}

fn as_configured(given: &Given, machine: &Machine) -> AsConfigured {
    let mut config = BrokerConfig::default();
    let mut problems = Vec::new();
    let mut notices = Vec::new();
    let mut unused = Vec::new();
    if let Some(value) = &given.namesrv_env {
        problems.extend(set_key(&mut config, "namesrvAddr", value, Source::Environment));
    }
    if let Some(value) = &given.log_dir_env {
        problems.extend(set_key(&mut config, "logDir", value, Source::Environment));
    }
    if let Some(text) = &given.file {
        problems.extend(apply_file(&mut config, text, &mut notices, &mut unused));
    }
    for (key, value) in &given.command_line.settings {
        let one = Setting { key, value, source: Source::CommandLine };
        problems.extend(apply_one(&mut config, one, &mut notices, &mut unused));
    }
    if let Some(value) = &given.command_line.namesrv_addr {
        problems.extend(set_key(&mut config, "namesrvAddr", value, Source::CommandLine));
        if value.is_empty() {
            // Of a script's variable that is not set: a broker that nobody finds is not what was meant.
            let (key, expected) = ("namesrvAddr".to_owned(), ConfigKind::Addresses.expectation());
            problems.push(Problem {
                source_of: Source::CommandLine,
                key,
                value: String::new(),
                expected,
            });
        }
    }
    let nothing_given = given.command_line.config_file.is_none() && config.namesrv_addr.is_empty();
    let standalone = given.command_line.standalone || nothing_given;
    fill_in(&mut config, given, machine, standalone);
    config.keep_within_bounds(&mut notices);
    AsConfigured { config, standalone, problems, notices, unused }
}

/// Turns what was given into a configuration, or lists every problem in it.
pub fn load(given: &Given, machine: &Machine) -> Result<Loaded, ConfigError> {
    let AsConfigured { config: configured, standalone, mut problems, mut notices, unused } =
        as_configured(given, machine);
    let stored = match given.overrides.as_deref().map_or(Ok(Overrides::default()), Overrides::read)
    {
        Ok(stored) => stored,
        Err(wrong) => {
            problems.extend(wrong);
            Overrides::default()
        }
    };
    let mut config = configured.clone();
    stored.apply(&mut config);
    let overrides = stored.between(&configured, &config);
    let overridden = overrides.sentences(&configured, |key| given.names_in_file(key));
    notices.extend(overridden.iter().cloned().map(Notice::info));
    problems.extend(config.validate(standalone));
    problems.extend(config.validate_for(machine));
    config.remark(standalone, &mut notices);
    if !problems.is_empty() {
        return Err(ConfigError::Problems { problems, notices });
    }
    Ok(Loaded {
        config,
        configured,
        overrides_outdated: overrides != stored,
        overrides,
        overridden,
        unused,
        notices,
        standalone,
        print: given.command_line.print(),
    })
}

fn set_key(config: &mut BrokerConfig, name: &str, value: &str, source: Source) -> Option<Problem> {
    let key = find(KEYS, name)?;
    if (key.set)(config, value) {
        return None;
    }
    Some(Problem {
        source_of: source,
        key: name.to_owned(),
        value: value.to_owned(),
        expected: key.kind.expectation(),
    })
}

/// Applies all entries of a file; the last of several entries of one key counts, as in Java.
fn apply_file(
    config: &mut BrokerConfig,
    text: &str,
    notices: &mut Vec<Notice>,
    unused: &mut Vec<(String, String)>,
) -> Vec<Problem> {
    let entries = match properties_file::entries(text) {
        Ok(entries) => entries,
        Err(bad) => {
            let problem = |line| Problem {
                source_of: Source::Line(line),
                key: "\\u".to_owned(),
                value: String::new(),
                expected: "four hexadecimal digits after \\u".to_owned(),
            };
            return bad.iter().map(|escape| problem(escape.line)).collect();
        }
    };
    let mut problems = Vec::new();
    let mut java_metrics = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        if let Some(later) = entries[index + 1..].iter().find(|later| later.key == entry.key) {
            let (key, line) = (&entry.key, entry.line);
            notices.push(Notice::warn(format!(
                "line {line}: {key} is given again in line {}, which counts",
                later.line
            )));
            continue;
        }
        if java_metrics::is_key(&entry.key) {
            java_metrics.push(entry);
            continue;
        }
        let source = Source::Line(entry.line);
        let one = Setting { key: &entry.key, value: &entry.value, source };
        problems.extend(apply_one(config, one, notices, unused));
    }
    java_metrics.sort_by_key(|entry| java_metrics::rank(&entry.key));
    for entry in java_metrics {
        let is_given = |key: &str| entries.iter().any(|entry| entry.key == key);
        problems.extend(apply_java_metrics(config, entry, is_given, notices));
    }
    problems
}

/// A key as somebody wrote it.
#[derive(Clone, Copy)]
struct Setting<'a> {
    key: &'a str,
    value: &'a str,
    source: Source,
}

fn apply_one(
    config: &mut BrokerConfig,
    one: Setting<'_>,
    notices: &mut Vec<Notice>,
    unused: &mut Vec<(String, String)>,
) -> Option<Problem> {
    let Some(key) = find(KEYS, one.key) else {
        let refused = refusal_of_unused(one);
        if refused.is_none() {
            notices.push(notice_of_unused(one));
            unused.push((one.key.to_owned(), one.value.to_owned()));
        }
        return refused;
    };
    let before = (key.text)(config);
    let problem = set_key(config, key.name, one.value, one.source);
    if key.effect == Effect::Later && (key.text)(config) != before {
        notices
            .push(Notice::info(format!("{} is understood, but nothing acts on it yet", key.name)));
    }
    problem
}

/// A key of Java's that says where metrics are, in a file that has the keys of ours which are given.
fn apply_java_metrics(
    config: &mut BrokerConfig,
    entry: &Entry,
    is_given: impl Fn(&str) -> bool,
    notices: &mut Vec<Notice>,
) -> Option<Problem> {
    let Entry { key, value, line } = entry;
    match java_metrics::meaning(key, value) {
        Meaning::Nothing => None,
        Meaning::Instead(what) => {
            notices.push(Notice::warn(format!("{key}={value}: {what}")));
            None
        }
        Meaning::Ours(ours, _) if is_given(ours) => {
            notices.push(Notice::info(format!("{key} has no effect beside {ours}")));
            None
        }
        Meaning::Ours(ours, wanted) => {
            notices.push(Notice::info(format!("{key}={value} is taken as {ours}={wanted}")));
            let problem = set_key(config, ours, wanted, Source::Line(*line))?;
            Some(Problem { key: key.clone(), ..problem })
        }
        Meaning::Bad(expected) => Some(Problem {
            source_of: Source::Line(*line),
            key: key.clone(),
            value: value.clone(),
            expected: expected.to_owned(),
        }),
    }
}

/// A key that does nothing here and promises what a broker must not be without.
fn refusal_of_unused(one: Setting<'_>) -> Option<Problem> {
    let Setting { key, value, source } = one;
    let group = ignored::find(key)?;
    if group.weight != Weight::Refuse || ignored::says_no(key, value) {
        return None;
    }
    Some(Problem {
        source_of: source,
        key: key.to_owned(),
        value: if key.ends_with("Password") { "***".to_owned() } else { value.to_owned() },
        expected: format!("this key to be left out: {}", group.reason),
    })
}

/// The one line about a key that does nothing: known to Java, or to nobody.
fn notice_of_unused(one: Setting<'_>) -> Notice {
    let Setting { key, value, source } = one;
    let Some(group) = ignored::find(key) else {
        let known = KEYS.iter().map(|key| key.name);
        let known = known.chain(IGNORED.iter().flat_map(|group| group.names.iter().copied()));
        let hint = nearest_key(key, known)
            .map_or(String::new(), |known| format!("; did you mean {known}?"));
        return Notice::warn(format!("{source}{key} is not a known key and has no effect{hint}"));
    };
    let text = format!("{key} has no effect here: {}", group.reason);
    let loud = group.weight != Weight::Note && !ignored::says_no(key, value);
    if loud { Notice::warn(text) } else { Notice::info(text) }
}

/// Replaces what nobody has set by what the machine and the start mode say.
fn fill_in(config: &mut BrokerConfig, given: &Given, machine: &Machine, standalone: bool) {
    if config.broker_name.is_empty() {
        config.broker_name = machine.host_name.clone();
    }
    if config.broker_ip1.is_empty() {
        let ip = config.bind_address.single().unwrap_or(machine.address);
        config.broker_ip1 = ip.to_string();
    }
    if config.broker_ip2.is_empty() {
        config.broker_ip2 = config.broker_ip1.clone();
    }
    if config.store_path_root_dir.is_empty() {
        let home = given.home.as_deref().filter(|_| !standalone);
        let root = home.map_or(PathBuf::from("./ringmq-data"), |home| home.join("ringmq-data"));
        config.store_path_root_dir = root.to_string_lossy().into_owned();
    }
    if config.rocketmq_home.is_empty() {
        let of_environment = given.rocketmq_home.clone().filter(|home| !home.is_empty());
        config.rocketmq_home = of_environment.unwrap_or(config.store_path_root_dir.clone());
    }
    if config.store_path_commit_log.is_empty() {
        let log = Path::new(&config.store_path_root_dir).join("commitlog");
        config.store_path_commit_log = log.to_string_lossy().into_owned();
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
