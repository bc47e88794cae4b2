//! A change of the configuration while the broker runs (`UPDATE_BROKER_CONFIG`): checked as a whole, with all that is wrong
//! with it. Pure: [`crate::handlers::broker_config`] makes it durable and has everybody act on it.
//!
//! Only keys that are live change. Any other key is accepted with the value that it has, because tools and scripts send whole
//! files back, and refused with another one: nothing is accepted that would not be done. What is accepted would be accepted by
//! the next start, too.

use super::ignored::{self, IGNORED};
use super::keys::{BrokerConfig, KEYS, Key};
use super::machine::{Machine, Sizing};
use super::memory::RECORD_OVERHEAD_BYTES;
use super::overrides::Overrides;
use daemon::{
    config::{Effect, find},
    config_body::{UnknownKeys, reasons_text, told},
    logging,
    properties_file::{self, Entry},
};
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

/// The configuration of a broker that runs, and what decides how it may change.
#[derive(Clone, Debug)]
pub struct Running {
    /// As file and command line say.
    pub configured: BrokerConfig,
    /// As it is now: what the start has found out is filled in.
    pub now: Arc<BrokerConfig>,
    /// What was changed while a broker ran.
    pub overrides: Overrides,
    /// Keys of the file that mean nothing here, with their values.
    pub unused: Vec<(String, String)>,
    /// The machine, as the start found it.
    pub machine: Machine,
    /// Shards of the store.
    pub shards: u16,
    /// Whether a name server runs inside.
    pub standalone: bool,
    /// Largest record that memory was laid out for.
    pub record_bytes_max: u64,
}

/// One key that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The key.
    pub key: &'static str,
    /// Its value before.
    pub from: String,
    /// Its value now.
    pub to: String,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// A key of `configBlackList` is among them.
    pub black_listed: bool,
    /// Every reason.
    pub reasons: Vec<String>,
}

impl Refused {
    /// All reasons in one line.
    pub fn text(&self) -> String {
        reasons_text(&self.reasons)
    }
}

/// What tools ask of every broker (`exportConfigs` of 4.9 ends without them) and what is never otherwise here, whatever a
/// configuration file says.
const UNCHANGEABLE: [(&str, &str); 2] = [("filterServerNums", "0"), ("slaveReadEnable", "false")];

/// What else they are shown. Java's default of this key is the number of cores, and `exportMetrics` shows it as such.
fn shown_besides() -> impl Iterator<Item = (&'static str, String)> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let unchangeable = UNCHANGEABLE.into_iter().map(|(key, value)| (key, value.to_owned()));
    unchangeable.chain([("clientCallbackExecutorThreads", cores.to_string())])
}

impl Running {
    /// The answer to `GET_BROKER_CONFIG`.
    pub fn to_properties(&self) -> String {
        let mut properties = self.now.to_properties();
        for (key, value) in shown_besides() {
            properties_file::write_entry(&mut properties, key, &value);
        }
        properties
    }

    /// The configuration with a change, and which keys differ by it.
    pub fn change(&self, wanted: &[Entry]) -> Result<(BrokerConfig, Vec<Changed>), Refused> {
        let mut changed = BrokerConfig::clone(&self.now);
        let mut refused = Refused { black_listed: false, reasons: Vec::new() };
        let mut unknown = UnknownKeys::default();
        for Entry { key: name, value, .. } in wanted {
            if self.is_black_listed(name) {
                refused.black_listed = true;
                refused.reasons.push(format!("{name} stands in configBlackList"));
                continue;
            }
            let set = match find(KEYS, name) {
                Some(key) => self.set(key, value, &mut changed),
                None => self.check_without_meaning(name, value, &mut unknown),
            };
            refused.reasons.extend(set.err());
        }
        if refused.reasons.is_empty() {
            refused.reasons.extend(self.broken_rules(&changed));
        }
        if !refused.reasons.is_empty() {
            return Err(refused);
        }
        let differences = differences(&self.now, &changed);
        Ok((changed, differences))
    }

    fn is_black_listed(&self, name: &str) -> bool {
        // The list itself is protected whatever it says.
        name == "configBlackList"
            || self.now.config_black_list.split(';').any(|listed| listed.trim() == name)
    }

    /// Sets a key that is live. Others may be given with the value that they have, as it is or as it was configured: 0 may
    /// stand for what the machine allows.
    fn set(&self, key: &Key, value: &str, changed: &mut BrokerConfig) -> Result<(), String> {
        let (name, told, now) = (key.name, told(value), (key.text)(&self.now));
        // Values themselves are compared: texts do not show secrets.
        let with = |config: &BrokerConfig| {
            let mut with = config.clone();
            (key.set)(&mut with, value).then_some(with)
        };
        if value == now {
            return Ok(());
        }
        let Some(wanted) = with(&self.now) else {
            return Err(format!("{name}={told}: expected {}", key.kind.expectation()));
        };
        let as_configured = with(&self.configured).is_some_and(|with| with == self.configured);
        if wanted == *self.now || (as_configured && key.effect != Effect::Live) {
            return Ok(());
        }
        match key.effect {
            Effect::Live => {
                (key.set)(changed, value);
                Ok(())
            }
            Effect::Start => Err(format!(
                "{name}={told}: needs a restart, it is {now:?} now: set it in the configuration file and start the broker \
                 again"
            )),
            Effect::Format => {
                Err(format!("{name}={told}: is fixed when the store is formatted, it is {now:?}"))
            }
            Effect::Later => Err(format!("{name}={told}: nothing acts on it yet, it is {now:?}")),
        }
    }

    /// A key that means nothing here may be given with the value that the configuration file or the answer to
    /// `GET_BROKER_CONFIG` has.
    fn check_without_meaning(
        &self,
        name: &str,
        value: &str,
        unknown: &mut UnknownKeys,
    ) -> Result<(), String> {
        let in_file = self.unused.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let is_shown = shown_besides().any(|(key, shown)| key == name && shown == value);
        if is_shown || in_file.into_iter().any(|known| known == (name, value)) {
            return Ok(());
        }
        if let Some(group) = ignored::find(name) {
            return Err(format!("{name}={}: has no effect here: {}", told(value), group.reason));
        }
        let known = KEYS.iter().map(|key| key.name);
        let known = known.chain(IGNORED.iter().flat_map(|group| group.names.iter().copied()));
        Err(unknown.tell(name, known))
    }

    /// What several keys have to fulfil together, and what this life of the broker has no room for.
    fn broken_rules(&self, changed: &BrokerConfig) -> Vec<String> {
        let mut broken = Vec::new();
        let mut bounded = changed.clone();
        bounded.keep_within_bounds(&mut Vec::new());
        for Changed { key, from, to } in differences(changed, &bounded) {
            broken.push(format!("{key}={from}: is outside its bounds, the nearest value is {to}"));
        }
        let record_bytes = u64::from(changed.max_message_size) + RECORD_OVERHEAD_BYTES;
        if record_bytes > self.record_bytes_max
            && changed.max_message_size > self.now.max_message_size
        {
            broken.push(format!(
                "maxMessageSize={}: expected at most {} while the broker runs, which is what its memory was laid out for; \
                 more needs a restart",
                changed.max_message_size,
                self.record_bytes_max.saturating_sub(RECORD_OVERHEAD_BYTES)
            ));
        }
        broken.extend(self.now.unfit_delay_levels(changed));
        if changed.log_filter != self.now.log_filter
            && let Err(error) = logging::check_change(&changed.log_filter)
        {
            broken.push(format!("logFilter={}: {error}", told(&changed.log_filter)));
        }
        // What the next start would say of it.
        let mut at_start = self.configured.clone();
        self.overrides.between(&self.configured, changed).apply(&mut at_start);
        broken.extend(at_start.validate(self.standalone).iter().map(ToString::to_string));
        let memory = Sizing::with_shards(&at_start, &self.machine, self.shards.into()).memory;
        if !memory.fits() {
            let (value, expected) = at_start.too_little_memory(&memory);
            broken.push(format!("memoryBudgetMiB={value}: expected {expected}"));
        }
        broken
    }
}

/// Keys in which two configurations differ.
fn differences(from: &BrokerConfig, to: &BrokerConfig) -> Vec<Changed> {
    let texts = KEYS.iter().map(|key| (key.name, (key.text)(from), (key.text)(to)));
    let differ = texts.filter(|(_, from, to)| from != to);
    differ.map(|(key, from, to)| Changed { key, from, to }).collect()
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
