//! Users and policies of access control of 5.x (3001 to 3010). Served by the control owner: a change is durable and in force on all
//! workers before it is answered. Each broker has its own; tools send a change to all brokers of a cluster.

use crate::{
    access::{
        in_force::{change_users, is_by_super, with_auth},
        refusal_of,
    },
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    worker::Worker,
};
use acl::auth::{AclInfo, ChangeError, Tables, UserInfo};
use std::rc::Rc;

type Change = Box<dyn FnOnce(&mut Tables) -> Result<(), ChangeError>>;

/// What a request asks for, read before it is waited for anything.
fn answer(worker: Rc<Worker>, change: Result<Change, ChangeError>) -> Answering {
    Box::pin(async move {
        let change = change.map_err(refusal_of)?;
        change_users(&worker, change).await?;
        Ok(Response::Done)
    })
}

fn field(request: &Request<'_>, name: &str) -> String {
    request.header.ext.get(name).unwrap_or_default().to_owned()
}

/// The user in the body; his name stands in the header, too, which counts.
fn user_of(request: &Request<'_>) -> Result<UserInfo, ChangeError> {
    let mut info = UserInfo::read(request.body)?;
    let name = field(request, "username");
    if !name.trim().is_empty() {
        info.username = Some(name);
    }
    Ok(info)
}

/// The policies in the body, and their subject: that of the header, or else of the body.
fn acl_of(request: &Request<'_>) -> Result<(String, AclInfo), ChangeError> {
    let info = AclInfo::read(request.body)?;
    let subject = field(request, "subject");
    let subject =
        if subject.trim().is_empty() { info.subject.clone().unwrap_or_default() } else { subject };
    Ok((subject, info))
}

/// AUTH_CREATE_USER.
pub fn create_user(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let by_super = is_by_super(&worker, request);
    let change = user_of(request)
        .map(|info| -> Change { Box::new(move |tables| tables.create_user(&info, by_super)) });
    answer(worker, change)
}

/// AUTH_UPDATE_USER.
pub fn update_user(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let by_super = is_by_super(&worker, request);
    let change = user_of(request)
        .map(|info| -> Change { Box::new(move |tables| tables.update_user(&info, by_super)) });
    answer(worker, change)
}

/// AUTH_DELETE_USER.
pub fn delete_user(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let by_super = is_by_super(&worker, request);
    let username = field(request, "username");
    answer(worker, Ok(Box::new(move |tables| tables.delete_user(&username, by_super))))
}

/// AUTH_CREATE_ACL and AUTH_UPDATE_ACL, which do the same.
pub fn put_acl(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let change = acl_of(request).map(|(subject, info)| -> Change {
        Box::new(move |tables| tables.put_acl(&subject, &info))
    });
    answer(worker, change)
}

/// AUTH_DELETE_ACL.
pub fn delete_acl(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let [subject, kind, resource] =
        ["subject", "policyType", "resource"].map(|name| field(request, name));
    answer(
        worker,
        Ok(Box::new(move |tables| tables.delete_acl(&subject, Some(&kind), Some(&resource)))),
    )
}

/// JSON, or success without a body when there is nothing.
fn found(json: Option<Vec<u8>>) -> Response {
    json.map_or(Response::Done, Response::body)
}

/// AUTH_GET_USER.
pub fn user(worker: &Worker, request: &Request<'_>) -> Result<Response, Refusal> {
    let by_super = is_by_super(worker, request);
    let name = field(request, "username");
    with_auth(worker, |auth| found(auth.tables().user_json(&name, by_super)))
}

/// AUTH_LIST_USER.
pub fn users(worker: &Worker, request: &Request<'_>) -> Result<Response, Refusal> {
    let by_super = is_by_super(worker, request);
    let filter = field(request, "filter");
    with_auth(worker, |auth| found(auth.tables().users_json(&filter, by_super)))
}

/// AUTH_GET_ACL.
pub fn acl(worker: &Worker, request: &Request<'_>) -> Result<Response, Refusal> {
    let subject = field(request, "subject");
    let json = with_auth(worker, |auth| auth.tables().acl_json(&subject))?;
    Ok(found(json.map_err(refusal_of)?))
}

/// AUTH_LIST_ACL.
pub fn acls(worker: &Worker, request: &Request<'_>) -> Result<Response, Refusal> {
    let [subject, resource] = ["subjectFilter", "resourceFilter"].map(|name| field(request, name));
    with_auth(worker, |auth| found(auth.tables().acls_json(&subject, &resource)))
}
