//! Options that every command has: whom to ask, who asks, how to print.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use client::{AdminConfig, Credentials};
use serde::Deserialize;

use crate::{Failure, address_server};

/// The system property that names the name servers of Java's tools, `-Drocketmq.namesrv.addr=...`.
const NAMESRV_PROPERTY: &str = "rocketmq.namesrv.addr";
/// The properties that name an address server, and the last part of the path there.
const DOMAIN_PROPERTY: &str = "rocketmq.namesrv.domain";
const SUB_GROUP_PROPERTY: &str = "rocketmq.namesrv.domain.subgroup";
/// The directory of an installation, whose `conf/tools.yml` names the account of tools.
const HOME: &str = "ROCKETMQ_HOME";
const HOME_PROPERTY: &str = "rocketmq.home.dir";
/// Options of the virtual machine, which Java's scripts hand on.
const JAVA_OPT: &str = "JAVA_OPT";

/// Options of every command.
#[derive(Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Settings {
    /// Name servers, host:port;host:port. Without it: -Drocketmq.namesrv.addr, then NAMESRV_ADDR
    #[arg(short = 'n', long = "namesrvAddr", value_name = "ADDRS")]
    namesrv_addr: Option<String>,
    /// Address server to ask for name servers when none is named. Without it: -Drocketmq.namesrv.domain
    #[arg(long, value_name = "HOST[:PORT]")]
    address_server: Option<String>,
    /// Print JSON, one line for each thing said
    #[arg(long)]
    pub(crate) json: bool,
    /// How long a server may take to answer, ms
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: u64,
    /// Ask brokers at their VIP port, two below their own
    #[arg(long)]
    vip_channel: bool,
    /// Account to sign requests with. Without it: ROCKETMQ_ACCESS_KEY, then tools.yml
    #[arg(long, value_name = "KEY", env = "ROCKETMQ_ACCESS_KEY", hide_env_values = true)]
    access_key: Option<String>,
    /// Its secret; the environment does not show it to other users of this machine, the command line does
    #[arg(long, value_name = "KEY", env = "ROCKETMQ_SECRET_KEY", hide_env_values = true)]
    secret_key: Option<String>,
    /// File with the account. Without it: conf/tools.yml below ROCKETMQ_HOME, if there is one
    #[arg(long, value_name = "FILE")]
    tools_yml: Option<PathBuf>,
}

/// What `tools.yml` says.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolsFile {
    access_key: Option<String>,
    secret_key: Option<String>,
    security_token: Option<String>,
}

impl Settings {
    /// What the admin API needs to know. `properties`: Java's, from the command line.
    pub(crate) fn admin(&self, properties: &[(String, String)]) -> Result<AdminConfig, Failure> {
        let property = |name: &str| property(properties, name);
        let addrs = self.namesrv_addr.clone();
        let addrs = addrs.or_else(|| property(NAMESRV_PROPERTY));
        let addrs = addrs.or_else(|| env::var("NAMESRV_ADDR").ok());
        let addrs = addrs.filter(|addrs| !addrs.trim().is_empty());
        let domain = self.address_server.clone().or_else(|| property(DOMAIN_PROPERTY));
        let addrs = match (addrs, domain) {
            (Some(addrs), _) => addrs,
            (None, Some(domain)) => {
                let sub_group = property(SUB_GROUP_PROPERTY);
                let sub_group = sub_group.as_deref().unwrap_or(address_server::SUB_GROUP);
                address_server::name_servers(domain.trim(), sub_group)?
            }
            (None, None) => String::new(),
        };
        let mut config = AdminConfig::new(&addrs);
        config.timeout = Duration::from_millis(self.timeout_ms);
        config.vip_channel = self.vip_channel;
        config.credentials = self.credentials(property(HOME_PROPERTY))?;
        Ok(config)
    }

    fn credentials(&self, home: Option<String>) -> Result<Option<Credentials>, Failure> {
        let account = match (&self.access_key, &self.secret_key) {
            (Some(access_key), Some(secret_key)) => ToolsFile {
                access_key: Some(access_key.clone()),
                secret_key: Some(secret_key.clone()),
                security_token: None,
            },
            (None, None) => self.tools_file(home)?,
            _ => {
                let reason = "--access-key and --secret-key belong together";
                return Err(Failure::Usage(reason.to_owned()));
            }
        };
        let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let pair = given(account.access_key).zip(given(account.secret_key));
        Ok(pair.map(|(access_key, secret_key)| Credentials {
            access_key,
            secret_key,
            security_token: given(account.security_token),
        }))
    }

    /// The file that was named must be there; that of the installation may be missing.
    fn tools_file(&self, home: Option<String>) -> Result<ToolsFile, Failure> {
        if let Some(path) = &self.tools_yml {
            return read_tools_file(path)
                .map_err(|source| Failure::File { path: path.clone(), source })?;
        }
        let home = home.or_else(|| env::var(HOME).ok()).filter(|home| !home.is_empty());
        let Some(home) = home else { return Ok(ToolsFile::default()) };
        let path = Path::new(&home).join("conf").join("tools.yml");
        match read_tools_file(&path) {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(ToolsFile::default()),
            Err(source) => Err(Failure::File { path, source }),
        }
    }
}

/// Outside what the file is, inside what it says.
fn read_tools_file(path: &Path) -> std::io::Result<Result<ToolsFile, Failure>> {
    let text = std::fs::read_to_string(path)?;
    // Nothing but comments is null.
    let read = serde_yaml_ng::from_str::<Option<ToolsFile>>(&text);
    let read = read.map_err(|source| Failure::ToolsFile { path: path.to_owned(), source });
    Ok(read.map(Option::unwrap_or_default))
}

/// A property of the command line, else of `JAVA_OPT`. The last one counts, as with Java.
fn property(properties: &[(String, String)], name: &str) -> Option<String> {
    let given = properties.iter().rev().find(|(other, _)| other == name);
    given.map(|(_, value)| value.clone()).or_else(|| {
        let options = env::var(JAVA_OPT).ok()?;
        let found = options.split_whitespace().rev().filter_map(as_property);
        found.into_iter().find(|(other, _)| other == name).map(|(_, value)| value)
    })
}

/// `-Dname=value`.
pub(crate) fn as_property(word: &str) -> Option<(String, String)> {
    let (name, value) = word.strip_prefix("-D")?.split_once('=')?;
    Some((name.to_owned(), value.to_owned()))
}
