//! The registration over sockets, against our own name server on the same executor.

use namesrv::{handle::Namesrv, kv::KvConfig, server};
use proto::body::TopicConfig;
use remoting::Listener;
use runtime::{Mesh, Settings, Stop};

use super::*;
use crate::config::BrokerConfig;
use std::sync::Arc;

/// A name server to which brokers have to sign.
fn guarded() -> Namesrv {
    let text = "accounts:\n- {accessKey: the-broker, secretKey: brokers-secret, admin: true}\n";
    let file = acl::plain::read(text).expect("good");
    let (accounts, _) = acl::plain::Plain::of(vec![("f".to_owned(), file)]);
    let config = namesrv::config::Config {
        acl_enable: true,
        acl_registration_enable: true,
        ..Default::default()
    };
    let mut state = Namesrv::new(config, KvConfig::default());
    let engine = acl::Engine::Plain(accounts);
    state.guard(Rc::new(RefCell::new(Some(Arc::new(engine)))), "c1");
    state
}

/// Registers with one live and one dead name server, registers a new topic at once, unregisters at the end. All of it is signed.
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
            let state = Rc::new(RefCell::new(guarded()));
            let serving = {
                let (executor, state) = (executor.clone(), Rc::clone(&state));
                executor
                    .clone()
                    .spawn(async move { server::serve(&executor, vec![listener], state).await })
            };
            let now = executor.now();
            let control = Rc::new(RefCell::new(Control::new(&BrokerConfig::default(), now)));
            let add = |name: &str| {
                let topic = TopicConfig { topic_name: name.to_owned(), ..TopicConfig::default() };
                let mut control = control.borrow_mut();
                control.update_topic(now, topic).expect("a good topic");
                control.saved_effects();
            };
            add("first");
            let me = Identity {
                cluster_name: "c1".to_owned(),
                broker_name: "broker-a".to_owned(),
                broker_id: 0,
                broker_addr: "10.0.0.1:10911".to_owned(),
                ha_server_addr: "10.0.0.1:10912".to_owned(),
                signer: acl::Signer::new("the-broker", "brokers-secret"),
            };
            let options = Options { compressed: true, ..Options::default() };
            let servers = [addr, "127.0.0.1:1".to_owned()];
            let registrar = start(&executor, me, options, &servers, None, Rc::clone(&control));
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
            // Only what a name server has missed is sent: it does not get back what was deleted there.
            state.borrow_mut().routes_mut().delete_topic("first", None);
            add("second");
            registrar.changed();
            registrar.registered(5_000).await;
            wait_for("second", true).await;
            assert!(state.borrow().routes().route("first").is_none(), "everything was sent again");
            // Others ask over the same connections: who is dead is passed over.
            let answer = registrar.route("second", 2_000).await;
            let RouteAnswer::Known(route) = answer else { panic!("{answer:?}") };
            let [queues] = &route.queue_datas[..] else { panic!("{route:?}") };
            assert_eq!((queues.broker_name.as_str(), queues.perm), ("broker-a", 6));
            assert_eq!(registrar.route("nobody", 2_000).await, RouteAnswer::Unknown);
            registrar.no_stale_registration(0).await;
            assert_eq!(registrar.registered_count(), 1);
            let learned = registrar.shared.last_learned.borrow().clone();
            assert_eq!(learned, Learned::default(), "this name server has nothing to tell");
            registrar.stop().await;
            assert_eq!(registrar.route("second", 2_000).await, RouteAnswer::Silence);
            wait_for("second", false).await;
            executor.stop().request();
            serving.await.map_err(|error| error.to_string())
        },
    )
    .expect("runs");
}
