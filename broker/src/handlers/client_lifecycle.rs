//! Life of clients, served by the control owner: HEART_BEAT, UNREGISTER_CLIENT, GET_CONSUMER_LIST_BY_GROUP,
//! CHECK_CLIENT_CONFIG and the connection lists for tools.

use crate::{
    control::{ClientConnection, Control, Subscription},
    error::Refusal,
    request::Request,
    response::Response,
};
use proto::{
    body::{CheckClientRequest, ConsumerIdList, HeartbeatData},
    code::response,
    request::{ConsumerGroupHeader, ProducerGroupHeader, UnregisterClientHeader},
};

/// HEART_BEAT.
pub fn heartbeat(control: &mut Control, request: &Request<'_>) -> Result<Response, Refusal> {
    let data = HeartbeatData::read(request.body)?;
    check_named(&data)?;
    control.admit_heartbeat(&data)?;
    let client = ClientConnection {
        connection: request.peer.connection,
        address: request.peer.addr,
        language: request.header.language,
        version: request.header.version,
    };
    let left_out = control.heartbeat(request.moment(), &client, &data);
    if left_out == 0 {
        return Ok(Response::Done);
    }
    let (member_bytes, member_bytes_max) = control.members().memory();
    let (table_bytes, table_bytes_max) = control.table_memory().level();
    if let Some(held_back) = control.note_left_out() {
        tracing::warn!(
            peer = %client.address,
            left_out,
            held_back,
            member_bytes,
            member_bytes_max,
            table_bytes,
            table_bytes_max,
            key = "memoryBudgetMiB",
            "parts of a heartbeat are over a limit or badly named"
        );
    }
    // All else is taken in. Clients write the refusal into their log and go on.
    Err(Refusal::system_error(format!(
        "{left_out} parts of the heartbeat are left out, because they are over a limit or badly named: clients hold \
         {member_bytes} of {member_bytes_max} bytes, topics and groups {table_bytes} of {table_bytes_max}, one connection at \
         most an eighth of what is free, key=memoryBudgetMiB; {}",
        sender(&data)
    )))
}

/// Who is in a group has a name there: without one no client gets its share of the queues, and no reply finds its requester.
fn check_named(data: &HeartbeatData) -> Result<(), Refusal> {
    let joins = !data.consumer_data_set.is_empty() || !data.producer_data_set.is_empty();
    if joins && data.client_id.is_empty() {
        let remark = format!("a heartbeat without clientID; {}", sender(data));
        return Err(Refusal::system_error(remark));
    }
    Ok(())
}

/// Characters of a name that a refusal repeats.
const SHOWN_CHARS: usize = 64;

/// Who sent a heartbeat, and the first of its groups: names of clients say little to people.
fn sender(data: &HeartbeatData) -> String {
    const SHOWN: usize = 3;
    let consumers = data.consumer_data_set.iter().map(|data| data.group_name.as_str());
    let producers = data.producer_data_set.iter().map(|data| data.group_name.as_str());
    let groups: Vec<String> = consumers.chain(producers).take(SHOWN).map(cut).collect();
    format!("client {} (groups {})", cut(&data.client_id), groups.join(", "))
}

fn cut(name: &str) -> String {
    name.chars().take(SHOWN_CHARS).collect()
}

/// UNREGISTER_CLIENT.
pub fn unregister(control: &mut Control, request: &Request<'_>) -> Result<Response, Refusal> {
    let header = UnregisterClientHeader::from_ext(&request.header.ext)?;
    let producers = header.producer_group.filter(|group| !group.is_empty());
    let consumers = header.consumer_group.filter(|group| !group.is_empty());
    control.unregister(request.uptime, request.peer.connection, producers, consumers);
    Ok(Response::Done)
}

/// GET_CONSUMER_LIST_BY_GROUP.
pub fn consumer_list(control: &mut Control, request: &Request<'_>) -> Result<Response, Refusal> {
    let group = ConsumerGroupHeader::from_ext(&request.header.ext)?.consumer_group;
    // No member is an error, not an empty list: clients rely on it.
    let ids = control
        .members()
        .consumer_ids(group)
        .ok_or_else(|| Refusal::system_error(format!("no consumer for this group, {group}")))?;
    let mut body = Vec::new();
    let consumer_id_list = ids.into_iter().map(str::to_owned).collect();
    ConsumerIdList { consumer_id_list }.write(&mut body);
    Ok(Response::body(body))
}

/// CHECK_CLIENT_CONFIG: clients ask before they subscribe by anything but tags.
pub fn check_client_config(
    control: &mut Control,
    request: &Request<'_>,
) -> Result<Response, Refusal> {
    let check = CheckClientRequest::read(request.body)?;
    let subscription = Subscription::from_heartbeat(&check.subscription_data);
    if !subscription.is_tag() && !control.property_filter() {
        return Err(Refusal::filter_unsupported(&subscription.expression_type));
    }
    match subscription.filter {
        Ok(_) => Ok(Response::Done),
        Err(why) => Err(Refusal::new(response::SUBSCRIPTION_PARSE_FAILED, &*why)),
    }
}

/// GET_CONSUMER_CONNECTION_LIST.
pub fn consumer_connections(
    control: &mut Control,
    request: &Request<'_>,
) -> Result<Response, Refusal> {
    let group = ConsumerGroupHeader::from_ext(&request.header.ext)?.consumer_group;
    let connections = control.members().consumer_connection(group).ok_or_else(|| {
        Refusal::new(
            response::CONSUMER_NOT_ONLINE,
            format!("the consumer group[{group}] not online"),
        )
    })?;
    let mut body = Vec::new();
    connections.write(&mut body);
    Ok(Response::body(body))
}

/// GET_PRODUCER_CONNECTION_LIST.
pub fn producer_connections(
    control: &mut Control,
    request: &Request<'_>,
) -> Result<Response, Refusal> {
    let group = ProducerGroupHeader::from_ext(&request.header.ext)?.producer_group;
    let connections = control
        .members()
        .producer_connection(group)
        .ok_or_else(|| Refusal::system_error(format!("the producer group[{group}] not exist")))?;
    let mut body = Vec::new();
    connections.write(&mut body);
    Ok(Response::body(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrokerConfig;
    use crate::handlers::fixtures::{UPTIME, connection, control, with_request};

    const HEARTBEAT: &[u8] = br#"{"clientID":"c1","consumerDataSet":[{"consumeFromWhere":
        "CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"g",
        "messageModel":"CLUSTERING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[],
        "expressionType":"TAG","subString":"*","subVersion":1,"tagsSet":[],"topic":"t"}],
        "unitMode":false}],"producerDataSet":[{"groupName":"p"}]}"#;

    fn beat(control: &mut Control) {
        let done = with_request(34, &[], HEARTBEAT, |request| heartbeat(control, request));
        assert!(matches!(done, Ok(Response::Done)));
    }

    fn list(control: &mut Control) -> Result<String, Refusal> {
        let fields = [("consumerGroup", "g")];
        match with_request(38, &fields, b"", |request| consumer_list(control, request))? {
            Response::Body(body, _) => Ok(String::from_utf8(body).expect("JSON")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_client_that_beats_is_a_member_until_it_unregisters() {
        let mut control = control();
        beat(&mut control);
        assert_eq!(list(&mut control), Ok(r#"{"consumerIdList":["c1"]}"#.to_owned()));
        let effects = control.saved_effects();
        let snapshot = effects.publish.expect("a snapshot");
        assert!(snapshot.topic("%RETRY%g").is_some() && snapshot.group("g").is_some());
        assert_eq!(*effects.notify[0], *"g");
        assert_eq!(control.members().consumers_after("g", None, 9), [connection()]);
        let fields = [("clientID", "c1"), ("consumerGroup", "g"), ("producerGroup", "")];
        let done = with_request(35, &fields, b"", |request| unregister(&mut control, request));
        assert!(matches!(done, Ok(Response::Done)));
        let refusal = list(&mut control).expect_err("nobody is left");
        assert_eq!(refusal.code, response::SYSTEM_ERROR);
        assert_eq!(refusal.remark, "no consumer for this group, g");
    }

    #[test]
    fn who_only_subscribes_otherwise_ends_no_admission() {
        let mut control = control();
        beat(&mut control);
        let before = control.saved_effects().publish.expect("a snapshot");
        control.connection_closed(UPTIME, connection());
        let after = control.saved_effects().publish.expect("the subscriptions differ");
        assert!(after.version > before.version);
        assert_eq!(after.topics_version, before.topics_version);
    }

    #[test]
    fn a_producer_is_no_consumer_and_leaves_alone() {
        let mut control = control();
        beat(&mut control);
        let fields = [("clientID", "c1"), ("producerGroup", "p"), ("consumerGroup", "")];
        with_request(35, &fields, b"", |request| unregister(&mut control, request)).expect("done");
        assert!(list(&mut control).is_ok(), "the consumer stays");
        let refused = with_request(204, &[("producerGroup", "p")], b"", |request| {
            producer_connections(&mut control, request).map(drop)
        });
        let refusal = refused.expect_err("it has left");
        assert_eq!(refusal.code, response::SYSTEM_ERROR);
        assert_eq!(refusal.remark, "the producer group[p] not exist");
    }

    #[test]
    fn a_group_that_nobody_knows_has_no_members() {
        let refused = with_request(38, &[("consumerGroup", "nobody")], b"", |request| {
            consumer_list(&mut control(), request).map(drop)
        });
        let refusal = refused.expect_err("nobody");
        assert_eq!(refusal.remark, "no consumer for this group, nobody");
        let missing =
            with_request(38, &[], b"", |request| consumer_list(&mut control(), request).map(drop));
        let remark = missing.expect_err("no group at all").remark;
        assert!(remark.contains("consumerGroup"), "{remark}");
    }

    #[test]
    fn the_connection_of_a_consumer_shows_what_it_subscribes() {
        let mut control = control();
        beat(&mut control);
        let asked = with_request(203, &[("consumerGroup", "g")], b"", |request| {
            consumer_connections(&mut control, request)
        });
        let Ok(Response::Body(body, _)) = asked else { panic!("it is online") };
        let text = String::from_utf8(body).expect("JSON");
        for part in ["\"clientId\":\"c1\"", "10.0.0.9:5000", "CLUSTERING", "\"topic\":\"t\""] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn connection_lists_say_who_is_not_there() {
        let mut control = control();
        let consumers = with_request(203, &[("consumerGroup", "g")], b"", |request| {
            consumer_connections(&mut control, request).map(drop)
        });
        assert_eq!(consumers.expect_err("offline").code, response::CONSUMER_NOT_ONLINE);
        beat(&mut control);
        let producers = with_request(204, &[("producerGroup", "p")], b"", |request| {
            producer_connections(&mut control, request)
        });
        let Ok(Response::Body(body, _)) = producers else { panic!("it is online") };
        assert!(String::from_utf8_lossy(&body).contains("10.0.0.9:5000"));
    }

    #[test]
    fn expressions_are_checked_before_they_are_subscribed() {
        let check_with = |control: &mut Control, kind: &str, text: &str| {
            let body = format!(
                r#"{{"clientId":"c","group":"g","subscriptionData":{{"expressionType":"{kind}",
                "subString":"{text}","topic":"t"}}}}"#
            );
            with_request(46, &[], body.as_bytes(), |request| {
                check_client_config(control, request).map(drop)
            })
        };
        let check = |kind: &str| check_with(&mut control(), kind, "a > 1");
        assert_eq!(check("TAG"), Ok(()));
        assert_eq!(check("SQL92"), Ok(()));
        let refusal = check("SQL").expect_err("no type");
        assert_eq!(refusal.code, response::SUBSCRIPTION_PARSE_FAILED);
        let refusal = check_with(&mut control(), "SQL92", "a >").expect_err("half of one");
        assert_eq!(refusal.code, response::SUBSCRIPTION_PARSE_FAILED);
        assert!(refusal.remark.contains("the end at byte 3"), "{refusal:?}");
        let mut off = control();
        let config = BrokerConfig { enable_property_filter: false, ..BrokerConfig::default() };
        off.apply_config(0, &config);
        assert_eq!(
            check_with(&mut off, "SQL92", "a > 1"),
            Err(Refusal::filter_unsupported("SQL92"))
        );
        assert_eq!(check_with(&mut off, "TAG", "a"), Ok(()));
    }

    #[test]
    fn who_has_no_name_is_in_no_group() {
        let mut control = control();
        control.saved_effects();
        for body in [
            &br#"{"consumerDataSet":[{"groupName":"g"}]}"#[..],
            br#"{"clientID":"","producerDataSet":[{"groupName":"g"}]}"#,
            br#"{"clientID":null,"producerDataSet":[{"groupName":"g"}]}"#,
        ] {
            let refused =
                with_request(34, &[], body, |request| heartbeat(&mut control, request).map(drop));
            let refusal = refused.expect_err("nobody");
            assert_eq!(refusal.code, response::SYSTEM_ERROR);
            assert!(refusal.remark.starts_with("a heartbeat without clientID"), "{refusal:?}");
            assert!(refusal.remark.contains("(groups g)"), "{refusal:?}");
        }
        assert!(control.saved_effects().publish.is_none());
        let nothing =
            with_request(34, &[], b"{}", |request| heartbeat(&mut control, request).map(drop));
        assert_eq!(nothing, Ok(()), "it asks for nothing");
    }

    #[test]
    fn a_heartbeat_that_cannot_be_read_changes_nothing() {
        let mut control = control();
        control.saved_effects();
        let refused =
            with_request(34, &[], b"{", |request| heartbeat(&mut control, request).map(drop));
        assert_eq!(refused.expect_err("half a body").code, response::SYSTEM_ERROR);
        assert!(control.saved_effects().publish.is_none());
    }
}
