//! Rules on their way: from files of accounts or a request to all workers. Runs on the control worker.
//!
//! One change at a time has its turn ([`AccessControl::turn`]). It is answered, or logged, when all workers have the new rules.

use super::{AccessControl, changed_accounts, refusal_of, users_are_off, write_users};
use crate::{error::Refusal, request::Request, worker::Worker};
use acl::{
    Engine,
    auth::{Auth, ChangeError, Tables},
};
use std::{rc::Rc, sync::Arc, time::Duration};

/// Pause between two looks at the files of accounts.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Reads the files of accounts if they have changed, or in any case. The caller has the turn.
pub async fn reload(worker: &Rc<Worker>, in_any_case: bool) -> Result<(), String> {
    let access: &AccessControl = &worker.control_plane().access;
    let Some((files, seen)) = access.accounts_seen() else { return Ok(()) };
    let read = move || {
        let now = files.stamps().map_err(|error| error.to_string());
        let changed = in_any_case || now.as_ref().map_or(true, |now| *now != seen);
        changed.then(|| (now, files.load()))
    };
    let Some((now, loaded)) = worker.executor.blocking(read).await else {
        return Ok(());
    };
    let (plain, notices) = changed_accounts(access, &worker.access.figures.borrow(), now, loaded)?;
    let accounts = plain.account_count();
    install(worker, Engine::Plain(plain)).await;
    for notice in notices {
        tracing::warn!("{notice}");
    }
    tracing::info!(accounts, "files of accounts were read, their rules are in force");
    Ok(())
}

/// Gives all workers new rules; done when all have them.
pub async fn install(worker: &Rc<Worker>, engine: Engine) {
    let engine = Arc::new(engine);
    let take = move |there: Rc<Worker>| {
        *there.access.engine.borrow_mut() = Some(engine);
        std::future::ready(())
    };
    worker.gather_from_workers(take).await;
}

/// Looks at the files of accounts until a stop is requested. Runs on the control worker if rules come from there.
pub async fn watch_loop(worker: Rc<Worker>) {
    let access = &worker.control_plane().access;
    if access.account_files().is_none() {
        return;
    }
    while !worker.executor.stop().requested() {
        worker.executor.sleep(LOOK_AGAIN).await;
        if let Ok(turn) = access.turn().await {
            // What is wrong has been logged.
            let _ = reload(&worker, false).await;
            drop(turn);
        }
    }
}

/// Changes users and policies: decided, made durable, put in force everywhere.
pub async fn change_users(
    worker: &Rc<Worker>,
    change: impl FnOnce(&mut Tables) -> Result<(), ChangeError>,
) -> Result<(), Refusal> {
    let access = &worker.control_plane().access;
    let path = access.users_path().ok_or_else(users_are_off)?;
    let _turn = access.turn().await?;
    let (mut tables, options) =
        with_auth(worker, |auth| (auth.tables(), Arc::clone(auth.options())))?;
    change(&mut tables).map_err(refusal_of)?;
    let json = tables.write().map_err(refusal_of)?;
    write_users(&worker.executor, &path, &json).await.map_err(|error| {
        tracing::error!(error, "users and policies could not be written");
        Refusal::system_error(format!("users and policies could not be written: {error}"))
    })?;
    install(worker, Engine::Auth(Auth::new(&tables, options))).await;
    Ok(())
}

/// Looks at users and policies in force.
pub fn with_auth<T>(worker: &Worker, look: impl FnOnce(&Auth) -> T) -> Result<T, Refusal> {
    match worker.access.engine.borrow().as_deref() {
        Some(Engine::Auth(auth)) => Ok(look(auth)),
        _ => Err(users_are_off()),
    }
}

/// Whether a super user sent this request, which was checked when it arrived.
pub fn is_by_super(worker: &Worker, request: &Request<'_>) -> bool {
    let key = request.header.ext.get(acl::ACCESS_KEY).unwrap_or_default().trim();
    // Without an account only codes on a white list come here, which are everybody's.
    key.is_empty() || with_auth(worker, |auth| auth.is_super(key)).unwrap_or(false)
}
