//! Java's `tls.*` settings: which source wins, what each accepts, and what they must fulfil together.
//!
//! In Java they are system properties, and all but the first three may stand in the file `tls.config.file`, which wins. Here they may
//! stand in the program's own configuration file, too. Order of precedence: `tls.config.file`, the configuration file, `-Dtls.*` in
//! the environment (`JAVA_OPT`, `JAVA_OPT_EXT`), the default. The programs take no passwords from their
//! configuration files: everybody who may ask a broker for its configuration would get them.
//!
//! Two things differ from Java. `tls.test.mode.enable` is on by default as there, but only as long as no certificate is named: who names
//! one gets it. And words that Java reads as something else without a remark are refused.

use crate::TlsError;
use daemon::properties_file;
use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// Where Java looks unless told otherwise; there need not be one.
const CONFIG_FILE_DEFAULT: &str = "/etc/rocketmq/tls.properties";
/// Variables in which Java's start scripts take options of the virtual machine, the winning one last.
const JAVA_OPTIONS: [&str; 2] = ["JAVA_OPT", "JAVA_OPT_EXT"];

const MODE: &str = "tls.server.mode";
const ENABLE: &str = "tls.enable";
const CONFIG_FILE: &str = "tls.config.file";
const TEST_MODE: &str = "tls.test.mode.enable";
const SERVER_AUTH: &str = "tls.server.need.client.auth";
const SERVER_CHECKS: &str = "tls.server.authClient";
const SERVER_TRUST: &str = "tls.server.trustCertPath";
const CLIENT_CHECKS: &str = "tls.client.authServer";
const CLIENT_TRUST: &str = "tls.client.trustCertPath";
/// Certificate, key and password of a server, and of a client.
const SERVER: [&str; 3] = ["tls.server.certPath", "tls.server.keyPath", "tls.server.keyPassword"];
const CLIENT: [&str; 3] = ["tls.client.certPath", "tls.client.keyPath", "tls.client.keyPassword"];

/// What is never read from `tls.config.file`, as in Java: it is needed before that.
pub const KEYS_OUTSIDE_THE_FILE: [&str; 3] = [MODE, ENABLE, CONFIG_FILE];
/// What may stand in `tls.config.file`.
const KEYS_OF_THE_FILE: [&str; 12] = [
    TEST_MODE,
    SERVER_AUTH,
    SERVER_CHECKS,
    SERVER_TRUST,
    CLIENT_CHECKS,
    CLIENT_TRUST,
    SERVER[0],
    SERVER[1],
    SERVER[2],
    CLIENT[0],
    CLIENT[1],
    CLIENT[2],
];

/// What a listening port does with a first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Plain connections only.
    Disabled,
    /// Both kinds.
    Permissive,
    /// TLS only.
    Enforcing,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Disabled => "disabled",
            Mode::Permissive => "permissive",
            Mode::Enforcing => "enforcing",
        })
    }
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// They are asked and may have none.
    Optional,
    /// Without one they are not let in.
    Require,
}

/// A certificate chain with its private key, both in PEM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) password: Option<String>,
    /// Names of the settings, for messages.
    pub(crate) names: [&'static str; 3],
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the password.
        write!(f, "{} with {}", self.cert.display(), self.key.display())
    }
}

/// Everything that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Of listening ports.
    pub mode: Mode,
    /// Whether our own connections to name servers use TLS.
    pub outgoing: bool,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// Of the server; none: a throw-away certificate.
    pub(crate) server: Option<Pair>,
    /// Certificates by which those of clients are checked; none: they are not.
    pub(crate) server_trust: Option<PathBuf>,
    /// Shown to servers that ask for one.
    pub(crate) client: Option<Pair>,
    /// Certificates by which those of servers are checked; none: they are not.
    pub(crate) client_trust: Option<PathBuf>,
    /// What is allowed and odd, a sentence each.
    pub notes: Vec<String>,
}

/// Where settings come from, but for `tls.config.file`, which is read each time anew.
#[derive(Clone, Debug, Default)]
pub struct Source {
    configured: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
}

impl Source {
    /// Settings of the program's configuration file, empty values being none, over those in the environment of the process.
    pub fn of_process(configured: impl IntoIterator<Item = (String, String)>) -> Source {
        let options = JAVA_OPTIONS.iter().filter_map(|name| std::env::var(name).ok());
        Source::new(configured, &options.collect::<Vec<_>>().join(" "))
    }

    /// The same with these options of a Java virtual machine as the environment.
    pub fn new(
        configured: impl IntoIterator<Item = (String, String)>,
        java_options: &str,
    ) -> Source {
        let given = |(_, value): &(String, String)| !value.is_empty();
        let environment = java_options.split_whitespace().filter_map(|option| {
            let (name, value) = option.strip_prefix("-D")?.split_once('=')?;
            let value = value.trim_matches(['"', '\'']);
            name.starts_with("tls.").then(|| (name.to_owned(), value.to_owned()))
        });
        Source {
            configured: configured.into_iter().filter(given).collect(),
            environment: environment.filter(given).collect(),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.configured.get(name).or_else(|| self.environment.get(name)).map(String::as_str)
    }

    /// The file of `tls.config.file`, and whether somebody named it.
    fn config_file(&self) -> (&Path, bool) {
        match self.get(CONFIG_FILE) {
            Some(named) => (Path::new(named), true),
            None => (Path::new(CONFIG_FILE_DEFAULT), false),
        }
    }
}

impl Settings {
    /// What is asked for now. Reads `tls.config.file`.
    pub fn read(source: &Source) -> Result<Settings, TlsError> {
        let mut reading =
            Reading { source, file: BTreeMap::new(), notes: Vec::new(), wrong: Vec::new() };
        reading.read_file();
        let settings = reading.settings();
        if reading.wrong.is_empty() {
            Ok(Settings { notes: reading.notes, ..settings })
        } else {
            Err(TlsError(reading.wrong))
        }
    }
}

/// Settings on their way.
struct Reading<'a> {
    source: &'a Source,
    file: BTreeMap<String, String>,
    notes: Vec<String>,
    wrong: Vec<String>,
}

impl Reading<'_> {
    fn read_file(&mut self) {
        let (path, named) = self.source.config_file();
        let path_text = path.display();
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !named => return,
            Err(error) => {
                return self
                    .wrong
                    .push(format!("{CONFIG_FILE}={path_text} can not be read: {error}"));
            }
        };
        let entries = match properties_file::entries(&properties_file::text_of(&bytes)) {
            Ok(entries) => entries,
            Err(bad) => {
                return self
                    .wrong
                    .extend(bad.iter().map(|escape| format!("{path_text}: {escape}")));
            }
        };
        for entry in entries {
            let (line, key) = (entry.line, entry.key);
            if KEYS_OF_THE_FILE.contains(&key.as_str()) {
                self.file.insert(key, entry.value.trim().to_owned());
            } else if KEYS_OUTSIDE_THE_FILE.contains(&key.as_str()) {
                self.notes.push(format!(
                    "{path_text}, line {line}: {key} has no effect in this file, as with Java; it belongs into the file of -c"
                ));
            } else {
                self.notes.push(format!(
                    "{path_text}, line {line}: {key} is not a known key and has no effect"
                ));
            }
        }
    }

    fn settings(&mut self) -> Settings {
        let mode = match self.text(MODE).map(str::to_ascii_lowercase).as_deref() {
            None | Some("permissive") => Mode::Permissive,
            Some("disabled") => Mode::Disabled,
            Some("enforcing") => Mode::Enforcing,
            Some(other) => {
                self.expected(MODE, other, "one of disabled, permissive, enforcing");
                Mode::Enforcing
            }
        };
        let client_auth = match self.text(SERVER_AUTH).map(str::to_ascii_lowercase).as_deref() {
            None | Some("none") => ClientAuth::None,
            Some("optional") => ClientAuth::Optional,
            Some("require") => ClientAuth::Require,
            Some(other) => {
                self.expected(SERVER_AUTH, other, "one of none, optional, require");
                ClientAuth::Require
            }
        };
        let outgoing = self.flag(ENABLE).unwrap_or(mode == Mode::Enforcing);
        let (server, client) = (self.pair(SERVER), self.pair(CLIENT));
        let server_trust = self.trust(SERVER_CHECKS, SERVER_TRUST);
        let client_trust = self.trust(CLIENT_CHECKS, CLIENT_TRUST);
        self.check_test_mode(mode, server.is_some() || client.is_some());
        if server_trust.is_some() && client_auth == ClientAuth::None {
            self.notes.push(format!(
                "{SERVER_CHECKS}=true checks nothing while {SERVER_AUTH} is none: clients are not asked for certificates"
            ));
        }
        let notes = Vec::new();
        Settings { mode, outgoing, client_auth, server, server_trust, client, client_trust, notes }
    }

    /// Java takes a throw-away certificate in test mode whatever else is given, and runs without TLS when there is none.
    fn check_test_mode(&mut self, mode: Mode, certificate_given: bool) {
        match self.flag(TEST_MODE) {
            Some(true) if certificate_given => self.wrong.push(format!(
                "{TEST_MODE}=true asks for a throw-away certificate, but one is named: leave out one of both"
            )),
            Some(false) if !certificate_given && mode != Mode::Disabled => self.wrong.push(format!(
                "{TEST_MODE}=false without {} and {}: name them, or say {MODE}=disabled",
                SERVER[0], SERVER[1]
            )),
            _ => {}
        }
    }

    /// Certificate and key, which need each other.
    fn pair(&mut self, names: [&'static str; 3]) -> Option<Pair> {
        let path = |name: &str| self.text(name).map(PathBuf::from);
        match (path(names[0]), path(names[1])) {
            (Some(cert), Some(key)) => {
                let password = self.text(names[2]).map(str::to_owned);
                Some(Pair { cert, key, password, names })
            }
            (None, None) => None,
            (Some(_), None) => {
                self.wrong.push(format!("{} without {}: both or none", names[0], names[1]));
                None
            }
            (None, Some(_)) => {
                self.wrong.push(format!("{} without {}: both or none", names[1], names[0]));
                None
            }
        }
    }

    /// Where the certificates are by which the peers' are checked, if they are.
    fn trust(&mut self, checks: &'static str, trust: &'static str) -> Option<PathBuf> {
        let path = self.text(trust).map(PathBuf::from);
        match (self.flag(checks).unwrap_or(false), path) {
            (true, None) => {
                self.wrong.push(format!(
                    "{checks}=true without {trust}: name the file with the certificates to check by"
                ));
                None
            }
            (false, Some(_)) => {
                self.notes.push(format!(
                    "{trust} has no effect while {checks} is false: certificates of peers are not checked"
                ));
                None
            }
            (true, path) => path,
            (false, None) => None,
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        let of_file = self.file.get(name).map(String::as_str).filter(|value| !value.is_empty());
        of_file.or_else(|| self.source.get(name))
    }

    fn flag(&mut self, name: &'static str) -> Option<bool> {
        let text = self.text(name)?.to_owned();
        if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
            return Some(text.eq_ignore_ascii_case("true"));
        }
        self.expected(name, &text, "true or false");
        None
    }

    fn expected(&mut self, name: &str, value: &str, expected: &str) {
        self.wrong.push(format!("{name}={value}: expected {expected}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(configured: &[(&str, &str)], options: &str) -> Result<Settings, TlsError> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Settings::read(&Source::new(configured.iter().map(owned), options))
    }

    #[test]
    fn without_a_word_both_kinds_are_served_with_a_throw_away_certificate() {
        let settings = read(&[], "").unwrap();
        assert_eq!((settings.mode, settings.outgoing), (Mode::Permissive, false));
        assert_eq!((settings.server, settings.client_auth), (None, ClientAuth::None));
    }

    #[test]
    fn the_file_of_tls_wins_over_the_configuration_and_that_over_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tls.properties");
        fs::write(
            &file,
            "tls.server.keyPath=/file.key\ntls.server.keyPassword=secret\ntls.enable=true\n",
        )
        .unwrap();
        let file = file.to_str().unwrap();
        let options = "-Xmx1g -Dtls.server.keyPath=/env.key -Dtls.server.certPath=/env.pem -Dtls.server.mode=enforcing";
        let settings =
            read(&[("tls.config.file", file), ("tls.server.certPath", "/conf.pem")], options)
                .unwrap();
        let pair = settings.server.unwrap();
        assert_eq!((pair.cert.to_str(), pair.key.to_str()), (Some("/conf.pem"), Some("/file.key")));
        assert_eq!(pair.password.as_deref(), Some("secret"));
        assert!(!format!("{pair:?}").contains("secret"));
        assert_eq!((settings.mode, settings.outgoing), (Mode::Enforcing, true));
        assert!(settings.notes[0].contains("line 3: tls.enable has no effect in this file"));
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let wrong = read(
            &[
                ("tls.server.mode", "on"),
                ("tls.server.keyPath", "/a.key"),
                ("tls.server.authClient", "true"),
                ("tls.server.need.client.auth", "yes"),
                ("tls.config.file", "/no/such/tls.properties"),
            ],
            "-Dtls.enable=1",
        )
        .unwrap_err();
        assert_eq!(wrong.reasons().len(), 6, "{wrong}");
    }

    #[test]
    fn test_mode_and_certificates_exclude_each_other() {
        let pair = [("tls.server.keyPath", "/a.key"), ("tls.server.certPath", "/a.pem")];
        assert!(read(&pair, "-Dtls.test.mode.enable=false").is_ok());
        assert!(read(&pair, "-Dtls.test.mode.enable=true").is_err());
        assert!(read(&[], "-Dtls.test.mode.enable=false").is_err());
        assert!(read(&[], "-Dtls.test.mode.enable=false -Dtls.server.mode=disabled").is_ok());
    }
}
