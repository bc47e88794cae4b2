//! The small files: tables as JSON, their replacements and backups, journals of changes.
//!
//! JSON carries no checksum: a flipped bit within a name or a number leaves a table that can be read and says
//! something else. Journals are checked record by record.

use crate::{
    data_dir::{DataDir, InspectError, io_at},
    finding::{Finding, Findings, damage, note},
};
use serde_json::Value;
use std::{fs, io::ErrorKind, path::Path};
use store::metadata::journal;

/// What `config/` holds, and other JSON files of the root. Returns the number of files looked at.
pub(crate) fn verify_config(dir: &DataDir, findings: &mut Findings) -> Result<u64, InspectError> {
    let config = dir.root.join("config");
    let mut names = Vec::new();
    for dir in [&config, &dir.root] {
        let listed = match fs::read_dir(dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            listed => listed.map_err(io_at(dir))?,
        };
        for entry in listed {
            names.push(entry.map_err(io_at(dir))?.path());
        }
    }
    names.sort();
    let newest = names.iter().filter_map(|path| journal::generation_of(path)).max();
    let mut files = 0;
    for path in &names {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let judged = if let Some(generation) = journal::generation_of(path) {
            read(path)?.and_then(|bytes| judge_journal(path, &bytes, generation, newest))
        } else if name.ends_with(".json") && name != "format.json" {
            read(path)?.and_then(|bytes| judge_table(path, &bytes))
        } else if name.ends_with(".json.bak") {
            read(path)?.and_then(|bytes| judge_backup(path, &bytes))
        } else if name.ends_with(".json.tmp") {
            Some(judge_replacement(path))
        } else {
            continue;
        };
        files += 1;
        if let Some(finding) = judged {
            findings.about_existing(finding);
        }
    }
    Ok(files)
}

/// `None`: removed in this moment.
fn read(path: &Path) -> Result<Option<Vec<u8>>, InspectError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_at(path)(error)),
    }
}

/// Says why bytes are no table.
pub(crate) fn table_error(bytes: &[u8]) -> Option<String> {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(_)) => None,
        Ok(_) => Some("is JSON, but no table".to_owned()),
        Err(error) => Some(format!("cannot be read: {error}")),
    }
}

fn judge_table(path: &Path, bytes: &[u8]) -> Option<Finding> {
    let what = table_error(bytes)?;
    let mut backup = path.as_os_str().to_owned();
    backup.push(".bak");
    let backup = fs::read(backup).ok().filter(|bytes| table_error(bytes).is_none());
    let finding = damage(path, None, what);
    Some(match backup {
        Some(_) => finding
            .costing("nothing: its backup and the journals of changes have all of it")
            .then("the broker reads the backup and writes the file again at its next change"),
        None => finding
            .costing("the table: topics or groups with their settings; no message")
            .then("the broker refuses to start; put the file back from a copy, or move it away to begin with an empty table"),
    })
}

fn judge_backup(path: &Path, bytes: &[u8]) -> Option<Finding> {
    let what = table_error(bytes)?;
    let finding = damage(path, None, what).costing("nothing while the file itself is whole");
    Some(finding.then("replaced when the file is written next"))
}

fn judge_replacement(path: &Path) -> Finding {
    note(path, None, "a replacement that was not finished")
        .then("the next start finishes it if it is whole and needed, and ignores it otherwise")
}

fn judge_journal(
    path: &Path,
    bytes: &[u8],
    generation: u64,
    newest: Option<u64>,
) -> Option<Finding> {
    let journal::Examined { lost, cut, remains } = journal::examine(bytes, generation);
    if lost > 0 {
        let costs = if newest == Some(generation) {
            "the newest topics and groups, or their settings, may lack these changes"
        } else {
            "nothing while the tables themselves are whole"
        };
        let what = format!("{lost} changes are not what was written");
        return Some(damage(path, None, what).costing(costs).then(
            "the broker starts without them and says so; compare topics and groups, create what is missing",
        ));
    }
    (cut > 0 || remains).then(|| {
        let what = format!("ends with a write that is not whole, {cut} whole changes behind it");
        note(path, None, what)
            .costing("nothing that was acknowledged, if the disk kept what it had confirmed")
            .then("ignored at the next start; if the power was never cut it is damage of the last changes")
    })
}
