//! Access control of a broker: the rules in force on each worker, and on the control worker where they come from and how they
//! change. What a request needs stands in [`crate::handlers::rights`].
//!
//! Rules are immutable ([`acl::Engine`]). New ones are made on the control worker, one change at a time, and given to all workers;
//! a change is answered when all have them. Files of accounts (`aclEnable`) are looked at twice a second on a thread that may
//! block: one with a mistake changes nothing. Users and policies (`authenticationEnabled`) are `config/auth.json`, which is ours.

pub mod in_force;

use crate::{
    config::{BrokerConfig, Credentials},
    error::Refusal,
    limits::{Permit, Semaphore},
};
use acl::{
    Call, Decision, Engine, Reason,
    auth::{self, Auth, ChangeError, Options, Tables, UserInfo},
    plain::Plain,
};
use daemon::{
    account_files::{AccountFiles, LoadedAccounts, Stamps},
    exit::{Cause, Fatal},
};
use proto::code::response;
use runtime::{Executor, RateLimit, durable_file};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::{OpenOptions, Permissions},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// File of users and policies, in the directory of metadata.
pub const AUTH_FILE: &str = "auth.json";
/// Passwords are nobody else's business.
const USERS_MODE: u32 = 0o600;
/// Changes that wait for their turn; each rewrites a file.
const CHANGES_WAITING_MAX: usize = 256;

/// Rules that others on the same executor share: the name server inside.
pub type SharedEngine = Rc<RefCell<Option<Arc<Engine>>>>;

/// Counters of the whole broker.
#[derive(Debug, Default)]
pub struct Figures {
    refused: [AtomicU64; Reason::REFUSALS.len()],
    reloads: AtomicU64,
    failed_reloads: AtomicU64,
}

impl Figures {
    /// Names behind `ringmq.acl.` and values.
    pub fn rows(&self) -> impl Iterator<Item = (String, u64)> {
        let refused = self.refused().map(|(reason, count)| (format!("refused.{reason}"), count));
        let (reloads, failed) = self.reloads();
        let loads = [("reloads", reloads), ("failedReloads", failed)];
        refused.chain(loads.map(|(name, count)| (name.to_owned(), count)))
    }

    /// Requests that were refused, by the name of each reason that there is.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let refused = Reason::REFUSALS.iter().zip(&self.refused);
        refused.map(|(reason, count)| (reason.name(), count.load(Relaxed)))
    }

    /// How often changed files of accounts were taken over, and how often they could not be used.
    pub fn reloads(&self) -> (u64, u64) {
        (self.reloads.load(Relaxed), self.failed_reloads.load(Relaxed))
    }
}

/// What a worker knows of access control.
#[derive(Default)]
pub struct Access {
    /// The rules in force. None: everybody may do everything.
    pub engine: SharedEngine,
    /// Counters.
    pub figures: RefCell<Arc<Figures>>,
    refusals: RateLimit,
}

impl Access {
    /// Counts and logs a refusal, and makes the answer.
    pub fn refuse(&self, engine: &Engine, call: &Call<'_>, decision: &Decision<'_>) -> Refusal {
        let remark = engine.remark(call, decision);
        if let Some(count) = decision.reason.index().and_then(|index| {
            self.figures.borrow().refused.get(index).map(|count| count.fetch_add(1, Relaxed))
        }) && let Some(held_back) = self.refusals.note()
        {
            tracing::warn!(
                peer = %call.source, code = call.code, reason = decision.reason.name(), remark, refused_before = count,
                held_back, "a request is refused by access control"
            );
        }
        Refusal::new(refusal_code(engine), remark)
    }
}

/// The code of refusals: that of Java's broker of the same generation.
fn refusal_code(engine: &Engine) -> i32 {
    match engine {
        Engine::Plain(_) => response::SYSTEM_ERROR,
        Engine::Auth(_) => response::NO_PERMISSION,
    }
}

/// Where the rules come from.
#[derive(Default)]
enum Source {
    /// Access control is off.
    #[default]
    Off,
    /// Files of accounts.
    Accounts {
        files: Arc<AccountFiles>,
        /// How they were when they were read last, whatever came of it.
        seen: Stamps,
        versions: BTreeMap<String, acl::plain::Version>,
    },
    /// Users and policies in this file.
    Users { path: PathBuf },
}

/// On the control worker: where rules come from.
pub struct AccessControl {
    source: RefCell<Source>,
    changes: Rc<Semaphore>,
    /// Why files were refused last: the same reason is logged once.
    failed: RefCell<Option<String>>,
}

impl Default for AccessControl {
    fn default() -> AccessControl {
        AccessControl {
            source: RefCell::default(),
            changes: Semaphore::new(1, CHANGES_WAITING_MAX),
            failed: RefCell::default(),
        }
    }
}

/// Why there are no rules to start with.
pub enum OpenError {
    /// The files of accounts have mistakes.
    Accounts(String),
    /// Users and policies cannot be read or written.
    Users(String),
}

impl From<OpenError> for Fatal {
    fn from(error: OpenError) -> Fatal {
        match error {
            OpenError::Accounts(why) => {
                Fatal::new(Cause::Configuration, format!("files of accounts: {why}"))
            }
            OpenError::Users(why) => Fatal::new(
                Cause::Data,
                format!("users and policies (authenticationEnabled): {why}"),
            ),
        }
    }
}

fn account_files(config: &BrokerConfig) -> AccountFiles {
    AccountFiles::new(Path::new(&config.rocketmq_home), &config.acl_plain_file)
}

/// What a start would say of the rules, with ordinary system calls; nothing is written.
pub fn look(config: &BrokerConfig, dir: &Path) -> Result<(), OpenError> {
    if config.acl_enable || config.migrate_auth_from_v1_enabled {
        account_files(config).load().map(drop).map_err(OpenError::Accounts)?;
    }
    if config.authentication_enabled {
        let found = durable_file::look(&dir.join(AUTH_FILE), Tables::read);
        found.map(drop).map_err(|error| OpenError::Users(error.to_string()))?;
    }
    Ok(())
}

impl AccessControl {
    /// Reads the rules, in `dir` those that are ours. `None`: access control is off.
    pub async fn open(
        &self,
        executor: &Executor,
        config: &BrokerConfig,
        dir: &Path,
    ) -> Result<Option<Arc<Engine>>, OpenError> {
        let (engine, source) = if config.acl_enable {
            let files = Arc::new(account_files(config));
            let seen = files.stamps().map_err(|error| OpenError::Accounts(error.to_string()))?;
            let LoadedAccounts { plain, versions, notices } =
                files.load().map_err(OpenError::Accounts)?;
            for notice in notices {
                tracing::warn!("{notice}");
            }
            let versions = versions.into_iter().collect();
            (Engine::Plain(plain), Source::Accounts { files, seen, versions })
        } else if config.authentication_enabled {
            let path = dir.join(AUTH_FILE);
            let tables = open_tables(executor, config, &path).await?;
            let auth = Auth::new(&tables, Arc::new(options(config)));
            (Engine::Auth(auth), Source::Users { path })
        } else {
            return Ok(None);
        };
        *self.source.borrow_mut() = source;
        Ok(Some(Arc::new(engine)))
    }

    /// The right to change the rules: one has it at a time.
    pub async fn turn(&self) -> Result<Permit, Refusal> {
        self.changes.acquire().await.map_err(|waiting| {
            let remark = format!("[OVERLOAD] reason=changes-of-rules waiting={waiting}");
            Refusal::new(response::SYSTEM_BUSY, remark)
        })
    }

    /// The files of accounts, if rules are those of 4.9.
    pub fn account_files(&self) -> Option<Arc<AccountFiles>> {
        match &*self.source.borrow() {
            Source::Accounts { files, .. } => Some(Arc::clone(files)),
            _ => None,
        }
    }

    /// The same, and how they were when they were read last.
    fn accounts_seen(&self) -> Option<(Arc<AccountFiles>, Stamps)> {
        match &*self.source.borrow() {
            Source::Accounts { files, seen, .. } => Some((Arc::clone(files), seen.clone())),
            _ => None,
        }
    }

    /// The file of users, if rules are those of 5.x.
    pub fn users_path(&self) -> Option<PathBuf> {
        match &*self.source.borrow() {
            Source::Users { path } => Some(path.clone()),
            _ => None,
        }
    }

    /// The version of each file of accounts.
    pub fn versions(&self) -> BTreeMap<String, acl::plain::Version> {
        match &*self.source.borrow() {
            Source::Accounts { versions, .. } => versions.clone(),
            _ => BTreeMap::new(),
        }
    }
}

/// What files of accounts say after a change, if they can be used; what is odd besides. A failure is counted and logged once.
fn changed_accounts(
    access: &AccessControl,
    figures: &Figures,
    now: Result<Stamps, String>,
    loaded: Result<LoadedAccounts, String>,
) -> Result<(Plain, Vec<String>), String> {
    let loaded = now.and_then(|now| {
        if let Source::Accounts { seen, .. } = &mut *access.source.borrow_mut() {
            *seen = now;
        }
        loaded
    });
    match loaded {
        Ok(LoadedAccounts { plain, versions: new, notices }) => {
            if let Source::Accounts { versions, .. } = &mut *access.source.borrow_mut() {
                *versions = new.into_iter().collect();
            }
            figures.reloads.fetch_add(1, Relaxed);
            access.failed.replace(None);
            Ok((plain, notices))
        }
        Err(error) => {
            if access.failed.replace(Some(error.clone())).as_ref() != Some(&error) {
                figures.failed_reloads.fetch_add(1, Relaxed);
                tracing::error!(
                    error,
                    "files of accounts have changed and cannot be used: the former rules stay in force"
                );
            }
            Err(error)
        }
    }
}

fn options(config: &BrokerConfig) -> Options {
    Options {
        authorization: config.authorization_enabled,
        authentication_white_list: config.authentication_whitelist.0.iter().copied().collect(),
        authorization_white_list: config.authorization_whitelist.0.iter().copied().collect(),
    }
}

/// Users and policies, with those that the configuration asks for.
async fn open_tables(
    executor: &Executor,
    config: &BrokerConfig,
    path: &Path,
) -> Result<Tables, OpenError> {
    let disk = executor.disk();
    let users = |error: String| OpenError::Users(error);
    let found = durable_file::read(&disk, path, Tables::read).await;
    let found = found.map_err(|error| users(error.to_string()))?;
    let mut tables = found.map(|found| found.content).unwrap_or_default();
    let mut changed = false;
    let wanted = [
        ("initAuthenticationUser", &config.init_authentication_user),
        ("innerClientAuthenticationCredentials", &config.inner_client_authentication_credentials),
    ];
    for (key, credentials) in wanted {
        let Credentials(Some((name, password))) = credentials else { continue };
        if tables.has_user(name) {
            continue;
        }
        let text = |text: &str| Some(text.to_owned());
        let info = UserInfo {
            username: text(name),
            password: text(password),
            user_type: text("Super"),
            user_status: text("enable"),
        };
        tables.create_user(&info, true).map_err(|error| users(format!("{key}: {error}")))?;
        tracing::info!(user = name, key, "super user was made");
        changed = true;
    }
    if config.migrate_auth_from_v1_enabled {
        let loaded = account_files(config).load().map_err(OpenError::Accounts)?;
        for (account, error) in auth::from_plain(&loaded.plain, &mut tables) {
            tracing::warn!(account, %error, "account of 4.9 cannot become a user");
        }
        changed = true;
    }
    if tables.is_empty() {
        tracing::warn!(
            "there is no user (authenticationEnabled): every request is refused. Name one with initAuthenticationUser"
        );
    }
    if changed {
        let json = tables.write().map_err(|error| users(error.to_string()))?;
        write_users(executor, path, &json).await.map_err(users)?;
    }
    Ok(tables)
}

/// Replaces the file of users, which nobody else may read: a replacement has the mode of the file in whose place it is written.
async fn write_users(executor: &Executor, path: &Path, json: &[u8]) -> Result<(), String> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let private = move || {
        let opened = OpenOptions::new().create(true).append(true).mode(USERS_MODE).open(&beside)?;
        // One of a former life may have another.
        opened.set_permissions(Permissions::from_mode(USERS_MODE))
    };
    executor.blocking(private).await.map_err(|error| format!("{}: {error}", path.display()))?;
    durable_file::replace(&executor.disk(), path, json).await.map_err(|error| error.to_string())
}

/// What requests about users are told when there are none.
pub(crate) fn users_are_off() -> Refusal {
    let remark = "access control with users and policies is off (authenticationEnabled=false)";
    Refusal::new(response::NO_PERMISSION, remark)
}

/// Codes are those of Java's broker.
pub fn refusal_of(error: ChangeError) -> Refusal {
    let code = match &error {
        ChangeError::BlankName => response::INVALID_PARAMETER,
        ChangeError::NotSuper(_) => response::SYSTEM_ERROR,
        ChangeError::Refused(_) => response::NO_PERMISSION,
    };
    Refusal::new(code, error.to_string())
}
