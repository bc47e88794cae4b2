//! The contexts of a process, which all of its executors use, and the looks at their files.
//!
//! New connections take the newest contexts; those that are there keep theirs. Reading is an atomic load. Looks are taken on a thread
//! that may wait, one at a time. A certificate and its key that are replaced one after the other are taken when both are there: what
//! does not fit together is said and not used.

use crate::{
    TlsError,
    contexts::{Contexts, Expiry},
    material::Material,
    settings::{Mode, Settings, Source},
};
use arc_swap::ArcSwap;
use rustls::{ClientConfig, ServerConfig};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Pause between two looks at the files, as Java's.
pub const LOOK_PAUSE: Duration = Duration::from_millis(500);

const DAY_MS: i64 = 86_400_000;
/// From here on a certificate's end is warned of, once a day.
const WARN_BEFORE_DAYS: i64 = 30;

/// TLS of one process.
pub struct Tls {
    source: Source,
    mode: Mode,
    outgoing: bool,
    contexts: ArcSwap<Contexts>,
    seen: Mutex<Seen>,
}

/// What the last look saw.
struct Seen {
    /// Settings and files; an error is what was wrong with them.
    input: Result<(Settings, Material), TlsError>,
    /// When an end was warned of.
    warned_ms: Option<i64>,
}

impl Tls {
    /// Reads settings and files. What is allowed and odd goes to the log.
    pub fn open(source: Source) -> Result<Arc<Tls>, TlsError> {
        let settings = Settings::read(&source)?;
        let material = Material::read(&settings);
        let contexts = Contexts::build(&settings, &material)?;
        for note in &settings.notes {
            tracing::warn!("{note}");
        }
        let (mode, outgoing) = (settings.mode, settings.outgoing);
        let mut seen = Seen { input: Ok((settings, material)), warned_ms: None };
        seen.warn_of_end(contexts.expiries.first(), now_ms());
        let contexts = ArcSwap::from_pointee(contexts);
        Ok(Arc::new(Tls { source, mode, outgoing, contexts, seen: Mutex::new(seen) }))
    }

    /// What listening ports do.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether connections that we make use TLS.
    pub fn is_outgoing(&self) -> bool {
        self.outgoing
    }

    /// For the next accepted connection; none: `disabled`.
    pub fn server(&self) -> Option<Arc<ServerConfig>> {
        self.contexts.load().server.clone()
    }

    /// For the next connection that we make; none: plain.
    pub fn client(&self) -> Option<Arc<ClientConfig>> {
        self.contexts.load().client.clone()
    }

    /// When the first certificate that we show ends.
    pub fn expiry(&self) -> Option<Expiry> {
        self.contexts.load().expiries.first().cloned()
    }

    /// When each certificate that we show ends, the first one first. Throw-away ones are not among them.
    pub fn expiries(&self) -> Vec<Expiry> {
        self.contexts.load().expiries.clone()
    }

    /// One line for people.
    pub fn told(&self) -> String {
        let contexts = self.contexts.load();
        let ports = match self.mode {
            Mode::Disabled => "disabled: every connection is plain".to_owned(),
            mode if contexts.throw_away => format!(
                "{mode}, with a THROW-AWAY TEST CERTIFICATE: clients that check it are not served (tls.server.certPath)"
            ),
            mode => mode.to_string(),
        };
        if self.outgoing { format!("{ports}; name servers are asked over TLS") } else { ports }
    }

    /// Looks at settings and files, and takes over what has changed if it can be used. Blocks.
    pub fn look(&self) {
        self.look_at(now_ms());
    }

    fn look_at(&self, now_ms: i64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let input = Settings::read(&self.source).map(|settings| {
            let material = Material::read(&settings);
            (settings, material)
        });
        if input != seen.input {
            let built = match &input {
                Ok((settings, material)) => Contexts::build(settings, material),
                Err(error) => Err(error.clone()),
            };
            match built {
                Ok(contexts) => {
                    let ends = contexts.expiries.first().map(|expiry| expiry.ms);
                    tracing::info!(
                        ends_ms = ends,
                        "certificates have changed; new connections use the new ones"
                    );
                    self.contexts.store(Arc::new(contexts));
                    seen.warned_ms = None;
                }
                Err(error) => tracing::warn!(
                    "certificates have changed, but what is there now can not be used, and new connections use the old ones: {error}"
                ),
            }
            seen.input = input;
        }
        seen.warn_of_end(self.contexts.load().expiries.first(), now_ms);
    }
}

impl Seen {
    fn warn_of_end(&mut self, expiry: Option<&Expiry>, now_ms: i64) {
        let Some(expiry) = expiry else { return };
        let left_days = (expiry.ms - now_ms).div_euclid(DAY_MS);
        if left_days >= WARN_BEFORE_DAYS
            || self.warned_ms.is_some_and(|warned| now_ms - warned < DAY_MS)
        {
            return;
        }
        self.warned_ms = Some(now_ms);
        if expiry.ms <= now_ms {
            tracing::warn!(
                "the certificate {expiry} HAS EXPIRED: clients that check it are not served"
            );
        } else {
            tracing::warn!(
                left_days,
                "the certificate {expiry} expires soon: replace the file, a restart is not needed"
            );
        }
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
