//! EXPLAIN_ACCESS, a request of our own: which rule decides what an account may do. Nothing is changed, nobody is let in by it.

use crate::{error::Refusal, request::Request, response::Response, worker::Worker};
use acl::{Action, Needs, Question, Resource, ResourceKind};
use proto::code::response;

/// EXPLAIN_ACCESS.
pub fn explain(worker: &Worker, request: &Request<'_>) -> Result<Response, Refusal> {
    let bad = |why: String| Refusal::new(response::INVALID_PARAMETER, why);
    let field = |name: &str| request.header.ext.get(name).filter(|text| !text.trim().is_empty());
    let account = field("user").ok_or_else(|| bad("user is missing".to_owned()))?;
    let given = field("action").unwrap_or_default();
    let action = Action::of(given).ok_or_else(|| {
        let names: Vec<&str> = Action::ALL.iter().map(|action| action.name()).collect();
        bad(format!("action={given}: expected one of {}", names.join(", ")))
    })?;
    let source = match field("sourceIp").map(str::parse) {
        None => None,
        Some(Ok(source)) => Some(source),
        Some(Err(_)) => return Err(bad("sourceIp: expected an address".to_owned())),
    };
    let config = worker.config();
    let resource = match (field("topic"), field("group")) {
        (Some(topic), None) => Resource::topic(topic),
        (None, Some(group)) => Resource::group(group),
        (None, None) => Resource::cluster(&config.broker_cluster_name),
        (Some(_), Some(_)) => return Err(bad("expected topic or group, not both".to_owned())),
    };
    let engine = worker.access.engine.borrow();
    let Some(engine) = engine.as_deref() else {
        return Err(Refusal::system_error(
            "access control is off (aclEnable, authenticationEnabled): everybody may do everything",
        ));
    };
    let sends_or_consumes = matches!(action, Action::Pub | Action::Sub);
    // In the rules of 4.9 all else is what administrators do.
    let administers = !sends_or_consumes || resource.kind == ResourceKind::Cluster;
    let mut needs = if administers { Needs::of_admin() } else { Needs::default() };
    needs.add(resource, action.alone());
    let question = Question { account, resource, action, source };
    let decision = engine.explain(&question, &needs);
    Ok(Response::body(decision.to_json()))
}
