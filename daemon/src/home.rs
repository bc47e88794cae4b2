//! `ROCKETMQ_HOME`: the directory of the installation, where files of configuration lie that are named without a path.
//!
//! Java's programs do not start without it; ours need it for nothing and read it where it helps.

use std::path::{Path, PathBuf};

/// The variable.
pub const VARIABLE: &str = "ROCKETMQ_HOME";

/// The directory of the installation, if somebody has named one.
pub fn of_environment() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).filter(|home| !home.is_empty()).map(PathBuf::from)
}

/// The file that `-c` means: as it is named, from the working directory, as with Java; and where nothing is there, below the
/// directory of the installation.
pub fn config_file(named: &Path, home: Option<&Path>) -> PathBuf {
    let below_home = home.map(|home| home.join(named));
    match below_home {
        Some(file) if named.is_relative() && !named.exists() && file.exists() => file,
        _ => named.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_looked_for_where_it_is_named_and_then_below_the_installation() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("conf")).unwrap();
        let file = home.path().join("conf/broker-of-this-test.conf");
        std::fs::write(&file, "").unwrap();
        let named = Path::new("conf/broker-of-this-test.conf");
        assert_eq!(config_file(named, Some(home.path())), file);
        assert_eq!(config_file(named, None), named);
        assert_eq!(config_file(&file, Some(Path::new("/nowhere"))), file);
        // It is nowhere: the message names what was asked for.
        let missing = Path::new("conf/missing.conf");
        assert_eq!(config_file(missing, Some(home.path())), missing);
        // What is in the working directory goes first.
        let here = Path::new("Cargo.toml");
        std::fs::write(home.path().join("Cargo.toml"), "").unwrap();
        assert_eq!(config_file(here, Some(home.path())), here);
    }
}
