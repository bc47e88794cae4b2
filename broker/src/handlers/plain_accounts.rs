//! What tools change in the files of accounts (50, 51, 53), and their versions (52). Served by the control owner. A file is durable
//! and its rules are in force everywhere before the answer leaves; the directory's other files are read again with it.

use crate::{
    access::{AccessControl, in_force::reload},
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    worker::Worker,
};
use acl::plain::{self, AccountChange, EditError, Version};
use proto::{code::response, command::Ext};
use std::{path::PathBuf, rc::Rc};

/// Text and time of a change, to the new text.
type Edit = Box<dyn FnOnce(&str, i64) -> Result<String, EditError> + Send>;

/// UPDATE_AND_CREATE_ACL_CONFIG.
pub fn put(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let given = Given::of(&request.header.ext);
    let access_key = given.access_key.clone();
    let edit: Edit = Box::new(move |text, now| plain::put_account(text, &given.change(), now));
    change(worker, response::UPDATE_AND_CREATE_ACL_CONFIG_FAILED, Place::Account(access_key), edit)
}

/// DELETE_ACL_CONFIG.
pub fn delete(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let access_key = field(&request.header.ext, "accessKey").unwrap_or_default();
    let place = Place::Account(access_key.clone());
    let edit: Edit = Box::new(move |text, now| plain::delete_account(text, &access_key, now));
    change(worker, response::DELETE_ACL_CONFIG_FAILED, place, edit)
}

/// UPDATE_GLOBAL_WHITE_ADDRS_CONFIG.
pub fn put_white_addresses(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let addresses = field(&request.header.ext, "globalWhiteAddrs").unwrap_or_default();
    let path = field(&request.header.ext, "aclFileFullPath").unwrap_or_default();
    let edit: Edit =
        Box::new(move |text, now| plain::put_white_addresses(text, &split(&addresses), now));
    change(worker, response::UPDATE_GLOBAL_WHITE_ADDRS_CONFIG_FAILED, Place::File(path), edit)
}

/// Members of a list with commas; those in braces are one.
fn split(text: &str) -> Vec<&str> {
    let mut inside = false;
    let members = text.split(|c: char| {
        inside = (inside || c == '{') && c != '}';
        c == ',' && !inside
    });
    members.map(str::trim).filter(|member| !member.is_empty()).collect()
}

/// GET_BROKER_CLUSTER_ACL_INFO. (Java's broker answers nothing at all when access control is off.)
pub fn versions(worker: &Worker, _request: &Request<'_>) -> Result<Response, Refusal> {
    let access = &worker.control_plane().access;
    let files = access.account_files().ok_or_else(|| off(response::SYSTEM_ERROR))?;
    let versions = access.versions();
    let default = files.default_file().display().to_string();
    let of_default = versions.get(&default).copied().unwrap_or_default();
    let all: Vec<(String, Version)> = versions.into_iter().collect();
    let config = worker.config();
    Ok(Response::Body(
        Vec::new(),
        vec![
            ("version", of_default.to_json()),
            ("allAclFileVersion", plain::versions_json(&all)),
            ("brokerName", config.broker_name.clone()),
            ("brokerAddr", config.client_address()),
            ("clusterName", config.broker_cluster_name.clone()),
        ],
    ))
}

fn off(code: i32) -> Refusal {
    Refusal::new(code, "access control with accounts of plain_acl.yml is off (aclEnable=false)")
}

fn field(ext: &Ext<'_>, name: &str) -> Option<String> {
    ext.get(name).map(str::to_owned)
}

/// The file that changes.
enum Place {
    /// The one in which this account stands, or the default one.
    Account(String),
    /// The one of this name, or the default one.
    File(String),
}

impl Place {
    /// Blocks.
    fn path(
        &self,
        files: &daemon::account_files::AccountFiles,
        of_account: Option<PathBuf>,
    ) -> Result<PathBuf, String> {
        match self {
            Place::Account(_) => Ok(of_account.unwrap_or(files.default_file().to_owned())),
            Place::File(name) => files.named(name).ok_or_else(|| {
                let shown: String = name.chars().take(200).collect();
                format!("aclFileFullPath={shown}: this is no file of accounts of this broker")
            }),
        }
    }
}

/// Changes a file. All that fails has the code of the request.
fn change(worker: Rc<Worker>, failed: i32, place: Place, edit: Edit) -> Answering {
    Box::pin(async move {
        let plane = worker.control_plane();
        let access: &AccessControl = &plane.access;
        let files = access.account_files().ok_or_else(|| off(failed))?;
        let _turn = access.turn().await?;
        let refused = |why: String| Refusal::new(failed, why);
        // What was changed by hand a moment ago counts, too; with a mistake in a file nothing can be changed.
        reload(&worker, false).await.map_err(refused)?;
        let of_account = match &place {
            Place::Account(key) => {
                let engine = worker.access.engine.borrow().clone();
                match engine.as_deref() {
                    Some(acl::Engine::Plain(plain)) => plain.file_of(key).map(PathBuf::from),
                    _ => None,
                }
            }
            Place::File(_) => None,
        };
        let now = worker.executor.now();
        let write = move || -> Result<(), String> {
            let path = place.path(&files, of_account)?;
            let named = |error: std::io::Error| format!("{}: {error}", path.display());
            let text = files.read(&path).map_err(named)?;
            let changed = edit(&text, now).map_err(|error| error.to_string())?;
            files.replace(&path, &changed).map_err(named)
        };
        worker.executor.blocking(write).await.map_err(refused)?;
        reload(&worker, true).await.map_err(refused)?;
        Ok(Response::Done)
    })
}

/// The fields of UPDATE_AND_CREATE_ACL_CONFIG.
struct Given {
    access_key: String,
    secret_key: String,
    white: Option<String>,
    admin: bool,
    default_topic: Option<String>,
    default_group: Option<String>,
    topics: Option<String>,
    groups: Option<String>,
}

impl Given {
    fn of(ext: &Ext<'_>) -> Given {
        let text = |name| field(ext, name).map(|text| text.trim().to_owned());
        let filled = |name| text(name).filter(|text| !text.is_empty());
        Given {
            access_key: text("accessKey").unwrap_or_default(),
            secret_key: text("secretKey").unwrap_or_default(),
            white: text("whiteRemoteAddress"),
            admin: text("admin").is_some_and(|text| text.eq_ignore_ascii_case("true")),
            default_topic: filled("defaultTopicPerm"),
            default_group: filled("defaultGroupPerm"),
            topics: text("topicPerms"),
            groups: text("groupPerms"),
        }
    }

    fn change(&self) -> AccountChange<'_> {
        AccountChange {
            access_key: &self.access_key,
            secret_key: &self.secret_key,
            white: self.white.as_deref(),
            admin: self.admin,
            default_topic: self.default_topic.as_deref(),
            default_group: self.default_group.as_deref(),
            topics: self.topics.as_deref().map(split),
            groups: self.groups.as_deref().map(split),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_at_commas_outside_of_braces() {
        assert_eq!(split("10.0.0.{1,2}, ::1,,* "), ["10.0.0.{1,2}", "::1", "*"]);
        assert!(split("").is_empty());
    }
}
