//! Lives of a broker with one shard on a real disk: what a deletion says is so, also when the shard refused to drop what it
//! holds, and what only the store knows is not dropped.

use super::tests::Served;
use crate::{
    commit, drops,
    mailbox::CoreMessage,
    shard::{Shard, group_pulls::GroupPulls, parked::ParkedPulls},
};
use proto::code::{request, response};
use runtime::{Mesh, Settings as RuntimeSettings, Stop};
use std::{future::Future, path::Path, rc::Rc, sync::Arc};
use store::{FlushPolicy, Layout, Settings, Store};

const TOPIC: [(&str, &str); 5] = [
    ("topic", "t"),
    ("readQueueNums", "4"),
    ("writeQueueNums", "4"),
    ("perm", "6"),
    ("topicFilterType", "SINGLE_TAG"),
];

/// One life of the broker whose files are in `dir`; what it began is finished by nobody when it ends.
fn life<Fut: Future<Output = ()> + 'static>(
    dir: &Path,
    test: impl Fn(Rc<Served>) -> Fut + Clone + Send + 'static,
) {
    let dir: Arc<Path> = dir.into();
    let settings = RuntimeSettings::unpinned("deletion", 1);
    let ran = runtime::run(settings, Stop::new(), move |executor, mesh: Mesh<CoreMessage>| {
        let (test, dir) = (test.clone(), Arc::clone(&dir));
        async move {
            let settings = Settings {
                group_offset_bytes_max: usize::MAX,
                deferred_max: usize::MAX,
                deferred_in_memory_max: usize::MAX,
                half_messages_max: usize::MAX,
                popped_max: usize::MAX,
                unindexed_entries_max: u64::MAX,
                shard: 0,
                dir: dir.join("shard-000"),
                log_id: 1,
                store_id: 2,
                layout: Layout::even(1 << 20),
                tail_cache_bytes: 1 << 20,
                inflight_bytes_max: 1 << 18,
                record_bytes_max: 1 << 16,
                flush: FlushPolicy::Sync,
                index_entries_max: 1_000,
                index_keys: true,
                cold_cache_bytes: 1 << 20,
                zero_ahead_bytes: 0,
                progress: Arc::default(),
            };
            let opened = Store::open(executor.disk(), settings).await;
            let (store, _) = opened.expect("a store");
            let shard =
                Rc::new(Shard::new(Rc::new(store), ParkedPulls::new(100, 0), GroupPulls::new(0)));
            let hosted = vec![Rc::clone(&shard)];
            let served = Served::start(&dir.join("config"), hosted, executor.clone(), mesh).await;
            let worker = Rc::clone(&served.worker);
            drops::adopt_unknown_topics(&worker).await;
            executor.spawn(commit::commit_loop(Rc::clone(&worker), shard));
            executor.spawn(drops::run(Rc::clone(&worker)));
            worker.control_plane().drops.raise();
            test(Rc::new(served)).await;
            Ok(())
        }
    });
    ran.expect("the executor runs");
}

/// Code and remark of the one answer.
async fn ask(served: &Served, code: i32, fields: &[(&str, &str)]) -> (i32, String) {
    served.serve(code, fields, b"body");
    let mut answers = served.answers_to_come().await;
    assert_eq!(answers.len(), 1, "{answers:?}");
    let (code, remark, _) = answers.remove(0);
    (code, remark.unwrap_or_default())
}

async fn create(served: &Served) {
    assert_eq!(ask(served, request::UPDATE_AND_CREATE_TOPIC, &TOPIC).await.0, 0);
}

async fn delete(served: &Served) -> (i32, String) {
    ask(served, request::DELETE_TOPIC_IN_BROKER, &TOPIC[..1]).await
}

const SEND: [(&str, &str); 8] = [
    ("producerGroup", "p"),
    ("topic", "t"),
    ("defaultTopic", "TBW102"),
    ("defaultTopicQueueNums", "4"),
    ("queueId", "2"),
    ("sysFlag", "0"),
    ("bornTimestamp", "0"),
    ("flag", "0"),
];

async fn send(served: &Served) -> (i32, String) {
    ask(served, request::SEND_MESSAGE, &SEND).await
}

/// Where queue 2 ends, and the offset of group g on it.
fn seen(served: &Served) -> (i64, Option<i64>) {
    let state = served.worker.hosted_shard(0).store.state();
    let end = state.queue("t", 2).map_or(0, |queue| queue.max());
    (end, state.derived.group_offsets.get("g", "t", 2))
}

fn commit_offset(served: &Served, offset: i64) {
    let shard = served.worker.hosted_shard(0);
    shard.store.state_mut().derived.group_offsets.set("g", "t", 2, offset).unwrap();
    shard.append_all_group_offsets(served.worker.executor.now());
}

#[test]
fn what_a_shard_refused_to_drop_goes_at_the_next_start() {
    let dir = tempfile::tempdir().expect("a directory");
    life(dir.path(), |served| async move {
        create(&served).await;
        assert_eq!(send(&served).await.0, 0);
        commit_offset(&served, 1);
        assert_eq!(send(&served).await.0, 0, "the offset is committed before it");
        assert_eq!(seen(&served), (2, Some(1)));
        served.worker.hosted_shard(0).store.state_mut().log.poison("a bad sector".to_owned());
        let (code, remark) = delete(&served).await;
        assert_eq!(code, response::SERVICE_NOT_AVAILABLE, "{remark}");
        assert!(
            remark.starts_with("it is deleted, but shard 0 has not dropped it yet"),
            "{remark}"
        );
        assert!(remark.contains("a bad sector"), "{remark}");
        let (code, _) = ask(&served, request::GET_TOPIC_CONFIG, &TOPIC[..1]).await;
        assert_eq!(code, response::TOPIC_NOT_EXIST, "it is deleted");
        let (code, remark) = send(&served).await;
        assert_eq!(code, response::SERVICE_NOT_AVAILABLE, "it cannot be made again yet: {remark}");
    });
    life(dir.path(), |served| async move {
        create(&served).await;
        assert_eq!(seen(&served), (0, None), "nothing is left of its predecessor");
        assert_eq!(send(&served).await.0, 0);
        assert_eq!(seen(&served), (1, None));
    });
    life(dir.path(), |served| async move {
        served.worker.executor.sleep(std::time::Duration::from_millis(100)).await;
        assert_eq!(seen(&served), (1, None), "it is dropped once");
    });
}

/// Requests that are under way together: a topic that is made again while it is being dropped keeps its messages.
#[test]
fn a_topic_that_is_made_again_at_once_keeps_what_comes_then() {
    let dir = tempfile::tempdir().expect("a directory");
    life(dir.path(), |served| async move {
        create(&served).await;
        for round in 0..20 {
            assert_eq!(send(&served).await.0, 0, "round {round}");
            commit_offset(&served, 1);
            served.serve(request::DELETE_TOPIC_IN_BROKER, &TOPIC[..1], b"");
            served.serve(request::UPDATE_AND_CREATE_TOPIC, &TOPIC, b"");
            let mut answers = Vec::new();
            while answers.len() < 2 {
                answers.extend(served.answers_to_come().await);
            }
            assert!(answers.iter().all(|(code, ..)| *code == 0), "{answers:?}");
            assert_eq!(seen(&served), (0, None), "round {round}");
            served.serve(request::DELETE_TOPIC_IN_BROKER, &TOPIC[..1], b"");
            // Whichever comes first: the topic is not there for it, or it comes into being for it.
            served.serve(request::SEND_MESSAGE, &SEND, b"body");
            let mut answers = Vec::new();
            while answers.len() < 2 {
                answers.extend(served.answers_to_come().await);
            }
            let sent = answers.iter().filter(|(code, _, of_send)| *of_send && *code == 0).count();
            let (end, offset) = seen(&served);
            assert!(end <= sent as i64 && offset.is_none(), "{answers:?}: {end}, {offset:?}");
            create(&served).await;
            served.serve(request::DELETE_TOPIC_IN_BROKER, &TOPIC[..1], b"");
            served.answers_to_come().await;
            create(&served).await;
        }
    });
}

#[test]
fn a_deleted_group_leaves_no_offset_and_one_deleted_without_them_keeps_them() {
    let dir = tempfile::tempdir().expect("a directory");
    life(dir.path(), |served| async move {
        create(&served).await;
        assert_eq!(send(&served).await.0, 0);
        commit_offset(&served, 1);
        let kept = [("groupName", "g"), ("cleanOffset", "false")];
        assert_eq!(ask(&served, request::DELETE_SUBSCRIPTIONGROUP, &kept).await.0, 0);
        assert_eq!(seen(&served), (1, Some(1)));
        let dropped = [("groupName", "g"), ("cleanOffset", "true")];
        assert_eq!(ask(&served, request::DELETE_SUBSCRIPTIONGROUP, &dropped).await.0, 0);
        assert_eq!(seen(&served), (1, None));
    });
    life(dir.path(), |served| async move {
        assert_eq!(seen(&served), (1, None), "and not only in memory");
    });
}

/// The directory of the metadata is gone, or an old backup was put there: acknowledged messages stay.
#[test]
fn a_topic_that_only_the_store_knows_is_there_again() {
    let dir = tempfile::tempdir().expect("a directory");
    life(dir.path(), |served| async move {
        create(&served).await;
        assert_eq!(send(&served).await.0, 0);
    });
    std::fs::remove_dir_all(dir.path().join("config")).expect("it is there");
    life(dir.path(), |served| async move {
        served.worker.control_plane().durable().await.expect("a healthy disk");
        let metadata = Arc::clone(&served.worker.metadata.borrow());
        let topic = metadata.topic("t").expect("it is there again");
        assert_eq!((topic.read_queue_nums, topic.write_queue_nums, topic.perm), (3, 3, 6));
        assert_eq!(seen(&served), (1, None));
        assert_eq!(delete(&served).await.0, 0, "who does not want it deletes it");
    });
    life(dir.path(), |served| async move {
        assert!(served.worker.metadata.borrow().topic("t").is_none());
        assert_eq!(seen(&served), (0, None));
    });
}
