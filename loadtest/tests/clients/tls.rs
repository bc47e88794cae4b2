//! Java's clients and tools in TLS, with and without certificates of their own, at a broker and name server that take nothing
//! else. The other libraries do not speak it: Go's, `rocketmq` (Python) and `ali-ons` (Node) have no setting for it.

use crate::{JAVA_4, JAVA_5};
use libtest_mimic::Trial;
use loadtest::harness::{
    Peer,
    certificates::Authority,
    mqadmin::Mqadmin,
    program::{Library, Program},
    scenario,
};

const IN_TLS: &str = "-Dtls.enable=true";

/// A story of this file, which starts the broker that it needs.
type Story = fn(&Program);

pub(crate) fn trials() -> Vec<Trial> {
    let rows: [(Library, &str); 2] = [(JAVA_4, "java_4"), (JAVA_5, "java_5")];
    let of = |(library, name): (Library, &'static str)| {
        let plays: [(&str, Story); 2] = [("by_default", by_default), ("mutual", mutual)];
        plays.map(|(story, play)| {
            crate::trial(format!("{name}::tls::{story}"), move |test| {
                if let Some(program) = library.program(test) {
                    play(&program);
                }
            })
        })
    };
    rows.into_iter().flat_map(of).collect()
}

/// Nobody has a certificate to show, but for the throw-away one of the broker, which a client takes without a look.
fn by_default(program: &Program) {
    let peer = Peer::own_in_tls(&[], &[]);
    let in_tls = program.with_java_option(IN_TLS);
    play(&in_tls, &peer);
    // The same program without the option is not let in.
    let topic = peer.new_topic("plain", 1);
    let refused = program.try_run(&["produce", &peer.namesrv_addr, &topic, "refused", "1"]);
    assert!(refused.is_err(), "{refused:?}");
}

/// Both sides check the other's.
fn mutual(program: &Program) {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(dir.path(), "authority");
    let (server, client) = (authority.pair("server", 2100), authority.pair("client", 2100));
    let of_client = [
        ("tls.client.authServer", "true"),
        ("tls.client.trustCertPath", authority.file()),
        ("tls.client.certPath", client.cert()),
        ("tls.client.keyPath", client.key()),
    ];
    let of_server = [
        ("tls.server.certPath", server.cert()),
        ("tls.server.keyPath", server.key()),
        ("tls.server.need.client.auth", "require"),
        ("tls.server.authClient", "true"),
        ("tls.server.trustCertPath", authority.file()),
    ];
    let peer = Peer::own_in_tls(&[of_server.as_slice(), &of_client].concat(), &of_client);
    let checking =
        program.with_java_option(IN_TLS).with_java_option("-Dtls.test.mode.enable=false");
    let with = |program: Program, (name, value): &(&str, &str)| {
        program.with_java_option(&format!("-D{name}={value}"))
    };
    play(&of_client.iter().fold(checking, with), &peer);
    // Without a certificate of its own a client is not let in.
    let topic = peer.new_topic("nobody", 1);
    let nobody = program.with_java_option(IN_TLS);
    let refused = nobody.try_run(&["produce", &peer.namesrv_addr, &topic, "refused", "1"]);
    assert!(refused.is_err(), "{refused:?}");
}

fn play(program: &Program, peer: &Peer) {
    scenario::quickstart(program, peer, 300);
    scenario::look(program, peer);
    let mut admin = Mqadmin::start(program);
    let list = admin.run(&["clusterList", "-n", &peer.namesrv_addr]);
    assert!(list.contains(&peer.broker_addr.to_string()), "{list}");
    let broker = peer.broker_addr.to_string();
    let status = admin.run(&["brokerStatus", "-b", &broker, "-n", &peer.namesrv_addr]);
    assert!(status.contains("ringmq.tls "), "{status}");
}
