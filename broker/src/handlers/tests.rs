//! Routing, permits and waiting for durability, on a worker that has the control plane and no shard; and what other tests
//! of this folder stand on: the same with one shard.

use super::{serve_frame, serve_turns};
use crate::{
    config::{BrokerConfig, Machine, Overrides, Running},
    control::{Control, metadata_store::MetadataStore, plane::ControlPlane},
    error::Refusal,
    handlers::fixtures::{request_frame, write_buffer},
    live_config::LiveConfig,
    mailbox::{CoreMessage, Notice},
    response_encoder::SendStamp,
    shard::Shard,
    traffic::Traffic,
    worker::{Parts, Worker},
};
use proto::{
    code::{request, response},
    command::{HeaderArena, decode},
    frame::next_frame,
};
use remoting::{Peer, WriteBuffer};
use runtime::{Executor, Mesh, Settings, Stop, Uptime};
use std::{future::Future, path::Path, rc::Rc, sync::Arc, time::Duration};

/// A consumer of group `g`, whose retry topic comes into being with it.
const HEARTBEAT: &[u8] = br#"{"clientID":"c1","consumerDataSet":[{"consumeFromWhere":
    "CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"g",
    "messageModel":"CLUSTERING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[],
    "expressionType":"TAG","subString":"*","subVersion":1,"tagsSet":[],"topic":"t"}],
    "unitMode":false}],"producerDataSet":[]}"#;

/// A worker with one connection.
pub(super) struct Served {
    pub(super) worker: Rc<Worker>,
    peer: Peer,
    write_buffer: Rc<WriteBuffer>,
    /// Of its metadata, unless it outlives it; removed at the end.
    _dir: Option<tempfile::TempDir>,
}

/// Code and remark of an answer, and whether it has the fields of responses to sends.
type Answer = (i32, Option<String>, bool);

impl Served {
    async fn new(executor: Executor, mesh: Mesh<CoreMessage>) -> Served {
        let dir = tempfile::tempdir().expect("a directory");
        let served = Served::start(dir.path(), Vec::new(), executor, mesh).await;
        Served { _dir: Some(dir), ..served }
    }

    /// A start of a broker with its metadata in `dir`.
    pub(super) async fn start(
        dir: &Path,
        hosted: Vec<Rc<Shard>>,
        executor: Executor,
        mesh: Mesh<CoreMessage>,
    ) -> Served {
        let config = BrokerConfig::default();
        let mut control = Control::new(&config, executor.now());
        let files = MetadataStore::load(executor.disk(), dir.to_owned(), &mut control).await;
        let running = Running {
            configured: config.clone(),
            now: Arc::new(BrokerConfig {
                store_path_root_dir: dir.to_string_lossy().into_owned(),
                ..config.clone()
            }),
            overrides: Overrides::default(),
            unused: Vec::new(),
            machine: Machine::read(),
            shards: 1,
            standalone: false,
            record_bytes_max: 8 << 20,
        };
        let live = LiveConfig::open(executor.disk(), running, false, executor.now()).await;
        let live = live.expect("there is no file");
        let now = executor.moment();
        let traffic = Traffic::new(&config.broker_cluster_name, 1 << 20);
        let files = files.expect("an empty one");
        let plane = ControlPlane::new(control, files, live, traffic, now);
        let store_host = ([10, 0, 0, 1], 10_911).into();
        let worker = Worker::start(Parts {
            executor,
            mesh,
            memory: crate::config::MemoryPlan::of(&config, 1 << 30, 1, 1),
            open_connections: Arc::default(),
            config: Arc::new(config),
            tls: plain_only(),
            stamp: SendStamp { region: "r".to_owned(), trace_on: true, store_host },
            shard_count: 1,
            hosted,
            control: Some(plane),
            totals: Arc::new([]),
        });
        worker.control_plane().apply_effects(&worker);
        let write_buffer = Rc::new(write_buffer());
        let connection = worker.connections.borrow_mut().open(Rc::clone(&write_buffer));
        let connection = connection.expect("room");
        let peer = Peer { addr: write_buffer.addr, connection, vip: false };
        let served = Served { worker, peer, write_buffer, _dir: None };
        served.write();
        served.durable().await;
        served
    }

    /// Begins to write metadata.
    fn write(&self) {
        let worker = Rc::clone(&self.worker);
        self.worker.executor.spawn(async move {
            let pause = async || worker.executor.sleep(Duration::from_millis(1)).await;
            worker.control_plane().write_loop(&worker, pause).await;
        });
    }

    async fn durable(&self) {
        self.worker.control_plane().durable().await.expect("the disk is well");
    }

    pub(super) fn serve(&self, code: i32, ext: &[(&str, &str)], body: &[u8]) {
        let bytes = request_frame(code, ext, body);
        let frame = next_frame(&bytes).expect("ours").expect("whole");
        let now = self.worker.executor.moment();
        let acquire = |weight| self.write_buffer.acquire(weight as usize);
        serve_frame(&self.worker, &self.peer, &frame, &bytes, now, acquire).expect("in step");
    }

    /// What was answered at once.
    fn answers(&self) -> Vec<Answer> {
        let bytes = self.write_buffer.take();
        let (mut answers, mut rest) = (Vec::new(), bytes.as_slice());
        while let Some(frame) = next_frame(rest).expect("ours") {
            let mut arena = HeaderArena::default();
            let header = decode(frame.kind, frame.header, &mut arena).expect("ours");
            let of_send = header.ext.iter().any(|(name, _)| name == "MSG_REGION");
            // A member also hears that its group has changed.
            if header.is_response() {
                answers.push((header.code, header.remark.map(str::to_owned), of_send));
            }
            rest = &rest[frame.wire_bytes..];
        }
        self.write_buffer.sent(bytes, Uptime::default());
        answers
    }

    /// What is answered within a few seconds.
    pub(super) async fn answers_to_come(&self) -> Vec<Answer> {
        for _ in 0..5_000 {
            let answers = self.answers();
            if !answers.is_empty() {
                return answers;
            }
            self.worker.executor.sleep(Duration::from_millis(1)).await;
        }
        panic!("no answer")
    }
}

fn on_worker<Fut: Future<Output = ()> + 'static>(
    name: &'static str,
    test: impl Fn(Served) -> Fut + Clone + Send + 'static,
) {
    let settings = Settings::unpinned(name, 1);
    let ran = runtime::run(settings, Stop::new(), move |executor, mesh: Mesh<CoreMessage>| {
        let test = test.clone();
        async move {
            test(Served::new(executor, mesh).await).await;
            Ok(())
        }
    });
    ran.expect("the executor runs");
}

#[test]
fn what_needs_no_task_of_its_own_needs_no_permit() {
    on_worker("permits", |served| async move {
        let full: Vec<_> =
            std::iter::from_fn(|| served.worker.open_requests.try_open().ok()).collect();
        assert!(!full.is_empty());
        served.serve(request::GET_ALL_TOPIC_CONFIG, &[], b"");
        let busy = served.answers();
        assert!(matches!(busy[..], [(response::SYSTEM_BUSY, Some(_), false)]), "{busy:?}");
        let group = [("consumerGroup", "g"), ("clientID", "c1")];
        served.serve(request::UNREGISTER_CLIENT, &group, b"");
        served.serve(request::GET_BROKER_CONFIG, &[], b"");
        let done = served.answers();
        assert!(matches!(done[..], [(0, _, false), (0, _, false)]), "at once: {done:?}");
        // This one makes a topic, whose durability it waits for.
        served.serve(request::HEART_BEAT, &[], HEARTBEAT);
        assert!(!served.worker.control_plane().is_current(), "it has changed something");
        assert_eq!(served.answers(), [], "it waits");
        let done = served.answers_to_come().await;
        assert!(matches!(done[..], [(0, None, false)]), "{done:?}");
        assert!(served.worker.control_plane().is_current());
        assert!(served.write_buffer.owes_nothing(), "nothing is counted any more");
    });
}

/// A connection that asks for more than it may is not read meanwhile.
#[test]
fn who_waits_for_durability_counts_for_its_connection() {
    on_worker("durability", |served| async move {
        served.serve(request::HEART_BEAT, &[], HEARTBEAT);
        let mut waiting = 1;
        while !served.write_buffer.is_full() {
            served.serve(request::HEART_BEAT, &[], HEARTBEAT);
            waiting += 1;
        }
        assert_eq!(served.answers(), [], "all wait");
        assert!(waiting <= (8 << 20) / (16 * 1024) + 1, "{waiting} wait");
        let mut answered = 0;
        while answered < waiting {
            let answers = served.answers_to_come().await;
            assert!(answers.iter().all(|(code, ..)| *code == 0));
            answered += answers.len();
        }
        assert!(served.write_buffer.owes_nothing());
    });
}

/// A second sender finds the topic that the first has created: neither is let in before the disk holds it.
#[test]
fn a_topic_that_is_not_durable_is_not_seen() {
    on_worker("unseen", |served| async move {
        let fields = [
            ("topic", "new"),
            ("readQueueNums", "4"),
            ("writeQueueNums", "4"),
            ("perm", "6"),
            ("topicFilterType", "SINGLE_TAG"),
        ];
        let plane = served.worker.control_plane();
        let is_seen = || served.worker.metadata.borrow().topic("new").is_some();
        served.serve(request::UPDATE_AND_CREATE_TOPIC, &fields, b"");
        assert!(plane.control.borrow().topics().get("new").is_some(), "it is decided");
        assert!(plane.control.borrow().durable().topics.get("new").is_none());
        let before = plane.control.borrow().durable().announced;
        let mut looks = 0;
        while !plane.is_current() {
            assert!(!is_seen(), "before the disk holds it");
            assert_eq!(plane.control.borrow().durable().announced, before, "nor registered");
            served.worker.executor.yield_now().await;
            looks += 1;
        }
        assert!(looks > 0 && is_seen());
        assert_ne!(plane.control.borrow().durable().announced, before);
        assert_eq!(served.answers_to_come().await, [(0, None, false)]);
    });
}

#[test]
fn a_send_whose_topic_does_not_become_durable_is_refused_as_sends_are() {
    on_worker("creation", |served| async move {
        let fields = [
            ("producerGroup", "p"),
            ("topic", "new"),
            ("defaultTopic", "TBW102"),
            ("defaultTopicQueueNums", "4"),
            ("queueId", "0"),
            ("sysFlag", "0"),
            ("bornTimestamp", "0"),
            ("flag", "0"),
        ];
        served.serve(request::SEND_MESSAGE, &fields, b"body");
        let failed = served.worker.control_plane();
        served.worker.executor.yield_now().await;
        failed.fail_waiting(&Refusal::system_error("no space"));
        let refused = (response::SYSTEM_ERROR, Some("no space".to_owned()), true);
        assert_eq!(served.answers_to_come().await, [refused]);
    });
}

/// The task that took them has no time left. A connection that has ended after its heartbeat is no member.
#[test]
fn what_waits_for_the_control_worker_is_served_before_the_end_of_its_connection() {
    on_worker("turns", |served| async move {
        let worker = &served.worker;
        let members = || {
            let control = worker.control_plane().control.borrow();
            control.members().consumer_ids("g").map_or(0, |ids| ids.len())
        };
        served.serve(request::HEART_BEAT, &[], HEARTBEAT);
        assert_eq!((served.answers_to_come().await.len(), members()), (1, 1));
        worker.executor.spawn(serve_turns(Rc::clone(worker)));
        worker.executor.yield_now().await;
        while !worker.executor.budget_spent() {
            std::hint::spin_loop();
        }
        worker.on_notice(Notice::ConnectionClosed(served.peer.connection));
        served.serve(request::HEART_BEAT, &[], HEARTBEAT);
        worker.on_notice(Notice::ConnectionClosed(served.peer.connection));
        assert_eq!((members(), served.answers().len()), (1, 0), "nothing had its turn yet");
        assert_eq!(served.answers_to_come().await.len(), 1);
        assert_eq!(members(), 0);
    });
}

/// Ports that take no TLS.
fn plain_only() -> Arc<tls::Tls> {
    let disabled = ("tls.server.mode".to_owned(), "disabled".to_owned());
    tls::Tls::open(tls::Source::new([disabled], "")).expect("nothing is needed for it")
}
