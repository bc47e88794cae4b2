//! The registration over sockets, against our own name server on the same executor.

use std::cell::Cell;

use namesrv::{handle::Namesrv, kv::KvConfig, server};
use proto::body::TopicConfig;
use remoting::Listener;
use runtime::{Mesh, Settings, Stop};

use super::*;

/// Registers with one live and one dead name server, tells a new topic at once, says goodbye.
#[test]
fn a_broker_comes_changes_and_goes() {
    let stop = Stop::new();
    runtime::run(
        Settings::unpinned("registration", 1),
        stop,
        |executor: Executor, _: Mesh<()>| async move {
            let listener = Listener::bind(&executor, "127.0.0.1:0".parse().expect("an address"))
                .expect("a port");
            let addr = listener.local_addr().to_string();
            let state =
                Rc::new(RefCell::new(Namesrv::new(Default::default(), KvConfig::default())));
            let serving = {
                let (executor, state) = (executor.clone(), Rc::clone(&state));
                executor
                    .clone()
                    .spawn(async move { server::serve(&executor, listener, state).await })
            };
            let topics = Rc::new(RefCell::new(TopicConfigTable::default()));
            let add = |name: &str| {
                let mut table = topics.borrow_mut();
                table.data_version.counter += 1;
                let config = TopicConfig { topic_name: name.to_owned(), ..TopicConfig::default() };
                table.topic_config_table.insert(name.to_owned(), config);
            };
            add("first");
            let (for_version, for_topics) = (Rc::clone(&topics), Rc::clone(&topics));
            let for_announced = Rc::clone(&topics);
            let asked = Rc::new(RefCell::new(Vec::new()));
            let for_asked = Rc::clone(&asked);
            let learned = Rc::new(Cell::new(0));
            let heard = Rc::clone(&learned);
            let source = Source {
                version: Box::new(move || for_version.borrow().data_version),
                announced: Box::new(move || for_announced.borrow().data_version),
                topics: Box::new(move |since| {
                    for_asked.borrow_mut().push(since.map(|version| version.counter));
                    for_topics.borrow().clone()
                }),
                learned: Box::new(move |_| heard.set(heard.get() + 1)),
            };
            let me = Identity {
                cluster_name: "c1".to_owned(),
                broker_name: "broker-a".to_owned(),
                broker_id: 0,
                broker_addr: "10.0.0.1:10911".to_owned(),
                ha_server_addr: "10.0.0.1:10912".to_owned(),
            };
            let options = Options { compressed: true, ..Options::default() };
            let servers = [addr, "127.0.0.1:1".to_owned()];
            let registrar = start(&executor, me, options, &servers, source);
            let wait_for = async |topic: &str, there: bool| {
                for _ in 0..500 {
                    if state.borrow().routes().route(topic).is_some() == there {
                        return;
                    }
                    executor.sleep(Duration::from_millis(20)).await;
                }
                panic!("route of {topic}: waited in vain for {there}");
            };
            wait_for("first", true).await;
            add("second");
            registrar.changed();
            registrar.registered(5_000).await;
            wait_for("second", true).await;
            assert_eq!(*asked.borrow(), [None, Some(1)], "everything once, then what was missed");
            registrar.no_stale_registration(0).await;
            assert_eq!(registrar.registered_count(), 1);
            assert_eq!(learned.get(), 0, "this name server has nothing to tell");
            registrar.stop().await;
            wait_for("first", false).await;
            executor.stop().request();
            serving.await.map_err(|error| error.to_string())
        },
    )
    .expect("runs");
}
