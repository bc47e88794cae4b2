//! Administration of consumer groups, served by the control owner: UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
//! UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST, GET_SUBSCRIPTIONGROUP_CONFIG, UPDATE_AND_GET_GROUP_FORBIDDEN,
//! DELETE_SUBSCRIPTIONGROUP, QUERY_TOPIC_CONSUME_BY_WHO.

use super::{large_body, shard_report::groups_of_topic};
use crate::{
    control::Control,
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    worker::Worker,
};
use proto::{
    body::{GroupConfigList, GroupForbidden, GroupList, SubscriptionGroupConfig},
    request::{DeleteGroupHeader, GroupHeader, GroupTopicHeader, TopicHeader},
};
use std::{collections::BTreeSet, rc::Rc};

/// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP.
pub fn update(control: &mut Control, request: &Request<'_>) -> Result<Response, Refusal> {
    let config = SubscriptionGroupConfig::read(request.body)?;
    control.update_group(request.now, config)?;
    Ok(Response::Done)
}

/// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST: all or none.
pub fn update_list(control: &mut Control, request: &Request<'_>) -> Result<Response, Refusal> {
    let wanted = GroupConfigList::read(request.body)?.group_config_list;
    control.update_groups(request.now, wanted)?;
    Ok(Response::Done)
}

/// GET_SUBSCRIPTIONGROUP_CONFIG.
pub fn one(control: &mut Control, request: &Request<'_>) -> Result<Response, Refusal> {
    let group = GroupHeader::from_ext(&request.header.ext)?.group;
    let config = control.groups().get(group).ok_or_else(|| Refusal::group_not_exist(group))?;
    let mut body = Vec::new();
    config.write(&mut body);
    Ok(Response::body(body))
}

/// UPDATE_AND_GET_GROUP_FORBIDDEN: whether a group may read a topic. Without `readable` nothing is changed. In Java it is a
/// matter of pulls whose filter is that of the group's members; here of every pull and pop.
pub fn forbidden(control: &mut Control, request: &Request<'_>) -> Result<Response, Refusal> {
    let GroupTopicHeader { group, topic } = GroupTopicHeader::from_ext(&request.header.ext)?;
    let readable = match request.header.ext.get("readable") {
        None => None,
        Some(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Some(text) if text.eq_ignore_ascii_case("false") => Some(false),
        Some(text) => {
            let remark = format!("readable is {text:?}, expected true or false");
            return Err(Refusal::system_error(remark));
        }
    };
    let may = control.group_readable(request.now, group, topic, readable)?;
    let may = may.ok_or_else(|| Refusal::group_not_exist(group))?;
    if readable.is_some() {
        let who = request.peer.addr;
        tracing::info!(group, topic, readable = may, %who, "reading of a topic by a group was set");
    }
    let mut body = Vec::new();
    GroupForbidden { group: group.to_owned(), readable: may, topic: topic.to_owned() }
        .write(&mut body);
    Ok(Response::body(body))
}

/// DELETE_SUBSCRIPTIONGROUP, with the group's offsets if that is asked for: answered when every shard has dropped them.
pub fn delete(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let deleted = worker.control_plane().change(&worker, |control| {
        let header = DeleteGroupHeader::from_ext(&request.header.ext)?;
        let group = header.group_name;
        control.delete_group(request.now, group, header.offsets_too())?;
        Ok::<_, Refusal>(group.to_owned())
    });
    Box::pin(async move {
        let group = deleted?;
        worker.control_plane().shown(None, Some(&group)).await?;
        Ok(Response::Done)
    })
}

/// QUERY_TOPIC_CONSUME_BY_WHO: groups that are online on a topic, or have committed offsets on it.
pub fn consumed_by(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let asked = TopicHeader::from_ext(&request.header.ext).map(|header| {
        let control = worker.control_plane().control.borrow();
        let online = control.members().groups_of_topic(header.topic);
        let groups: BTreeSet<String> = online.into_iter().map(str::to_owned).collect();
        (header.topic.to_owned(), groups)
    });
    Box::pin(async move {
        let (topic, mut groups) = asked?;
        let seen = groups_of_topic(&worker, topic).await;
        let entries = groups.len() + seen.len();
        let make = move || {
            groups.extend(seen.into_iter().map(String::from));
            let mut body = Vec::new();
            GroupList { group_list: groups.into_iter().collect() }.write(&mut body);
            body
        };
        Ok(Response::body(large_body::made(&worker, entries, make).await))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::fixtures::{control, with_request};
    use proto::code::{request, response};

    fn change(control: &mut Control, body: &[u8]) -> Result<Response, Refusal> {
        let code = request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP;
        with_request(code, &[], body, |request| update(control, request))
    }

    fn ask(control: &mut Control, group: &str) -> Result<SubscriptionGroupConfig, Refusal> {
        let (code, fields) = (request::GET_SUBSCRIPTIONGROUP_CONFIG, [("group", group)]);
        match with_request(code, &fields, b"", |request| one(control, request))? {
            Response::Body(body, _) => {
                Ok(SubscriptionGroupConfig::read(&body).expect("our own body"))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_group_is_as_it_was_asked_for_last() {
        let mut control = control();
        control.saved_effects();
        let refusal = ask(&mut control, "g").expect_err("not yet");
        assert_eq!(refusal.code, response::SUBSCRIPTION_GROUP_NOT_EXIST);
        for tries in [3, 5] {
            let body =
                format!(r#"{{"groupName":"g","retryMaxTimes":{tries},"consumeEnable":false}}"#);
            assert!(matches!(change(&mut control, body.as_bytes()), Ok(Response::Done)));
            let group = ask(&mut control, "g").expect("made");
            assert_eq!((group.retry_max_times, group.consume_enable), (tries, false));
        }
        let effects = control.saved_effects();
        assert_eq!(effects.group_changes.len(), 2, "both have to be durable");
        assert!(effects.publish.is_some());
    }

    #[test]
    fn a_group_that_cannot_be_is_refused_and_changes_nothing() {
        let mut control = control();
        control.saved_effects();
        for body in [&b"{"[..], b"[]", br#"{"groupName":"a b"}"#, br#"{"groupName":""}"#, b"{}"] {
            let refusal = change(&mut control, body).map(drop).expect_err("refused");
            let text = String::from_utf8_lossy(body);
            assert_eq!(refusal.code, response::SYSTEM_ERROR, "{text}");
            assert!(!refusal.remark.is_empty(), "{text}");
        }
        let effects = control.saved_effects();
        assert!(effects.group_changes.is_empty() && effects.publish.is_none());
    }
}
