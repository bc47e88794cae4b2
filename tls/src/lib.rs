//! TLS as an operator configures it: Java's `tls.*` settings, certificates and keys, and the contexts of rustls made of them.
//!
//! [`Settings`] says what was asked for, [`Tls`] holds the contexts that new connections use and makes new ones when a file
//! has changed ([`Tls::look`]). Sessions are `remoting`'s, configuration files of the programs are theirs. What always holds: a
//! context that cannot be built keeps a program from starting, and never replaces one that works.

mod contexts;
mod material;
mod pem;
mod settings;
mod shared;
mod verify;

pub use contexts::{Contexts, Expiry};
pub use settings::{ClientAuth, KEYS_OUTSIDE_THE_FILE, Mode, Settings, Source};
pub use shared::{LOOK_PAUSE, Tls};

use std::fmt;

/// Why TLS cannot be what the settings ask for: all reasons, a sentence each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(Vec<String>);

impl TlsError {
    /// All reasons.
    pub fn reasons(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(f, "TLS: {only}"),
            all => {
                f.write_str("TLS:")?;
                all.iter().try_for_each(|reason| write!(f, "\n  {reason}"))
            }
        }
    }
}

impl std::error::Error for TlsError {}
