//! Queues of orderly consumers: LOCK_BATCH_MQ (41), UNLOCK_BATCH_MQ (42).

use crate::{
    ask::Ask,
    case::{Case, Known, case},
};
use proto::code::request;

fn body(client: &str, queues: &[i32]) -> String {
    let queue = |id: &i32| format!(r#"{{"brokerName":"broker-a","queueId":{id},"topic":"<t>"}}"#);
    let queues: Vec<String> = queues.iter().map(queue).collect();
    format!(r#"{{"clientId":"{client}","consumerGroup":"<g>","mqSet":[{}]}}"#, queues.join(","))
}

fn lock(client: &str, queues: &[i32]) -> Ask {
    Ask::new(request::LOCK_BATCH_MQ).text(body(client, queues))
}

fn unlock(client: &str, queues: &[i32]) -> Ask {
    Ask::new(request::UNLOCK_BATCH_MQ).text(body(client, queues))
}

/// Differences that stay.
pub(crate) const KNOWN: &[Known] = &[];

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    [held(), odd()].into_iter().flatten().collect()
}

fn held() -> Vec<Case> {
    vec![
        case("free", |p| {
            p.topic("<t>", 4);
            p.ask("lock", &lock("<c>", &[0, 2]));
        }),
        case("own_again", |p| {
            p.topic("<t>", 4);
            p.ask("first", &lock("<c>", &[0, 1]));
            p.ask("second", &lock("<c>", &[1, 2]));
        }),
        case("of_another", |p| {
            p.topic("<t>", 4);
            p.ask("first", &lock("<c>", &[0, 1]));
            p.ask("second", &lock("<d>", &[0, 1, 2]));
        }),
        case("given_back", |p| {
            p.topic("<t>", 4);
            p.ask("lock", &lock("<c>", &[0, 1]));
            p.ask("unlock", &unlock("<c>", &[0]));
            p.ask("another", &lock("<d>", &[0, 1]));
        }),
        case("given_back_by_another", |p| {
            p.topic("<t>", 4);
            p.ask("lock", &lock("<c>", &[0]));
            p.ask("unlock", &unlock("<d>", &[0]));
            p.ask("another", &lock("<d>", &[0]));
        }),
        case("given_back_without_being_held", |p| {
            p.topic("<t>", 4);
            p.ask("unlock", &unlock("<c>", &[0, 1]));
            p.ask("lock", &lock("<d>", &[0]));
        }),
        case("of_another_group", |p| {
            p.topic("<t>", 4);
            p.ask("lock", &lock("<c>", &[0]));
            let crate::ask::Body::Text(text) = lock("<d>", &[0]).body else { unreachable!("text") };
            p.ask(
                "other group",
                &Ask::new(request::LOCK_BATCH_MQ).text(text.replace("<g>", "<h>")),
            );
        }),
        case("one_way_unlock", |p| {
            p.topic("<t>", 4);
            p.ask("lock", &lock("<c>", &[0]));
            p.ask_oneway(&unlock("<c>", &[0]));
            // Java serves one-way requests of a connection side by side with what follows.
            std::thread::sleep(std::time::Duration::from_millis(300));
            p.ask("another", &lock("<d>", &[0]));
        }),
    ]
}

fn odd() -> Vec<Case> {
    let raw = |code, text: &str| Ask::new(code).text(text);
    let lock_code = request::LOCK_BATCH_MQ;
    vec![
        case("unknown_topic_and_queue", |p| {
            p.ask("topic", &lock("<c>", &[0]));
            p.ask("queue", &lock("<c>", &[-1, 1_000_000]));
        }),
        case("no_queues", |p| {
            p.ask("lock", &lock("<c>", &[]));
            p.ask("unlock", &unlock("<c>", &[]));
        }),
        case("same_queue_twice", |p| {
            p.topic("<t>", 4);
            p.ask("lock", &lock("<c>", &[0, 0]));
        }),
        case("with_the_field_of_5", |p| {
            let crate::ask::Body::Text(text) = lock("<c>", &[0]).body else { unreachable!("text") };
            let text = text.replacen('{', r#"{"onlyThisBroker":false,"#, 1);
            p.ask("lock", &Ask::new(request::LOCK_BATCH_MQ).text(text));
        })
        .java5(),
        case("without_queues", move |p| {
            p.ask("lock", &raw(lock_code, r#"{"clientId":"<c>","consumerGroup":"<g>"}"#));
        }),
        case("without_a_group", move |p| {
            let text = r#"{"clientId":"<c>","mqSet":[{"brokerName":"broker-a","queueId":0,"topic":"<t>"}]}"#;
            p.ask("lock", &raw(lock_code, text));
        }),
        case("without_a_client", move |p| {
            let text = r#"{"consumerGroup":"<g>","mqSet":[{"brokerName":"broker-a","queueId":0,"topic":"<t>"}]}"#;
            p.ask("lock", &raw(lock_code, text));
        }),
        case("without_a_body", move |p| {
            p.ask("lock", &Ask::new(lock_code));
            p.ask("unlock", &Ask::new(request::UNLOCK_BATCH_MQ));
        }),
        case("no_json", move |p| {
            p.ask("lock", &raw(lock_code, "garbage"));
            p.ask("unlock", &raw(request::UNLOCK_BATCH_MQ, "garbage"));
        }),
    ]
}
