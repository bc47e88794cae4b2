//! What the files that settings name hold at one moment.

use crate::settings::{Pair, Settings};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Certificates and keys have a few KiB, all public authorities together a quarter of a MiB.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Content of all files, by path, or why one cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Material(BTreeMap<PathBuf, Result<Vec<u8>, String>>);

impl Material {
    /// Reads all files that these settings use.
    pub(crate) fn read(settings: &Settings) -> Material {
        let of_pair = |pair: &Option<Pair>| {
            pair.iter().flat_map(|pair| [pair.cert.clone(), pair.key.clone()]).collect::<Vec<_>>()
        };
        let trust = settings.server_trust.iter().chain(&settings.client_trust).cloned();
        let paths =
            of_pair(&settings.server).into_iter().chain(of_pair(&settings.client)).chain(trust);
        let content = |path: PathBuf| {
            let read = read(&path).map_err(|error| error.to_string());
            (path, read)
        };
        Material(paths.map(content).collect())
    }

    /// What a file holds. The error names it.
    pub(crate) fn get(&self, name: &str, path: &Path) -> Result<&[u8], String> {
        match self.0.get(path) {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(error)) => Err(format!("{name}={} can not be read: {error}", path.display())),
            None => Err(format!("{name}={} was not read", path.display())),
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}
