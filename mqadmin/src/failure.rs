//! Why a command did not do what it was asked: one line that says what to do, and the exit code.

use std::io;
use std::path::PathBuf;

use client::AdminError;

/// Why a command ended.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A server said no, or nobody could be asked.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The name server knows no such cluster.
    #[error("cluster {asked} does not exist; the name server knows: {}", listed(.known))]
    UnknownCluster {
        /// What was asked for.
        asked: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The name server knows no such broker.
    #[error("broker {asked} is not registered; the name server knows: {}", listed(.known))]
    UnknownBroker {
        /// Name or address that was asked for.
        asked: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `tools.yml` cannot be understood.
    #[error("{}: {source}", path.display())]
    ToolsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_yaml_ng::Error,
    },
    /// A file with a list of topics or groups cannot be understood.
    #[error("{}: {source}", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: proto::body::BodyError,
    },
    /// The address server named no name servers.
    #[error("address server {url}: {reason}")]
    AddressServer {
        /// What was asked.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The words of the command make no sense together.
    #[error("{0}")]
    Usage(String),
    /// Standard output takes nothing more.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

impl Failure {
    /// 2: the command was not understood. 1: it was refused, or failed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) | Failure::ToolsFile { .. } | Failure::List { .. } => 2,
            _ => 1,
        }
    }

    /// What an operator can do about it.
    pub fn advice(&self) -> Option<&'static str> {
        let Failure::Admin(error) = self else { return None };
        match error {
            AdminError::NoNameServer => Some("give -n HOST:PORT or set NAMESRV_ADDR"),
            AdminError::Connect { .. } | AdminError::NameServers(_) => {
                Some("is the address right, and does the server run?")
            }
            AdminError::Timeout { .. } => Some("--timeout-ms waits longer"),
            AdminError::Refused { code: 16, .. } => {
                Some("an account is named by conf/tools.yml, or --access-key and --secret-key")
            }
            AdminError::Refused { remark, .. } if remark.contains("AclException") => {
                Some("an account is named by conf/tools.yml, or --access-key and --secret-key")
            }
            _ => None,
        }
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
