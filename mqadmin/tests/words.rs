//! The program itself, without a server: what it understands, what it says, and its exit codes.

use std::process::{Command, Output};

fn mqadmin(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqadmin"));
    for name in ["NAMESRV_ADDR", "ROCKETMQ_HOME", "JAVA_OPT", "ROCKETMQ_ACCESS_KEY"] {
        command.env_remove(name);
    }
    command.args(words).output().expect("the program runs")
}

fn check(words: &[&str], code: i32, stdout: &str, stderr: &str) {
    let output = mqadmin(words);
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{words:?}\n{out}\n{err}");
    assert!(out.contains(stdout), "{words:?}: no {stdout:?} in\n{out}");
    assert!(err.contains(stderr), "{words:?}: no {stderr:?} in\n{err}");
}

#[test]
fn help_names_commands_options_and_examples() {
    check(&[], 0, "The most commonly used mqadmin commands are:\n   updateTopic ", "");
    check(&["help", "TOPICROUTE"], 0, "mqadmin topicRoute -n 127.0.0.1:9876 -t orders", "");
    check(&["topicRoute", "-h"], 0, "--topic <TOPIC>", "");
    check(&["help", "addBroker"], 0, "not in containers", "");
    check(&["completions", "bash"], 0, "clusterList", "");
    check(&["help", "dlq"], 0, "mqadmin dlq look -n", "");
    check(&["help", "deleteaccessconfig"], 0, "deleteAclConfig", "");
}

#[test]
fn what_is_not_understood_is_2() {
    check(&["nothing"], 2, "", "The sub command nothing not exist.");
    check(&["addBroker", "-c", "x"], 2, "", "not in containers");
    check(&["topicRoute"], 2, "", "--topic <TOPIC>");
    check(&["topicRoute", "-t"], 2, "", "--topic <TOPIC>");
    check(&["topicRoute", "-t", "a", "-z"], 2, "", "-z");
    check(&["updateTopic", "-t", "a"], 2, "", "--clusterName");
    check(&["updateTopic", "-t", "a", "-b", "x:1", "-c", "y"], 2, "", "cannot be used with");
    check(&["updateTopic", "-t", "a", "-b", "x:1", "-o", "yes"], 2, "", "neither true nor false");
    check(&["dlq"], 2, "", "<WHAT>");
    check(&["dlq", "bury", "-g", "g"], 2, "", "list, look, resend");
    check(&["dlq", "look"], 2, "", "--groupName");
    check(&["dlq", "list", "-b", "yesterday"], 2, "", "how long ago");
    check(&["updateUser", "-b", "x:1", "-u", "u"], 2, "", "--password");
    check(&["createAcl", "-b", "x:1", "-s", "User:u", "-d", "Allow"], 2, "", "--resources");
    check(&["resetOffsetByTime", "-g", "g", "-t", "t", "-s", "soon"], 2, "", "ms since the epoch");
    check(&["resetOffsetByTime", "-g", "g", "-t", "t", "-s", "0", "-b", "x:1"], 2, "", "--queue");
    check(&["setConsumeMode", "-b", "x:1", "-t", "t", "-g", "g", "-m", "PUSH"], 2, "", "nor POP");
    check(&["lag", "-w", "0"], 2, "", "--watch");
    check(&["exportPopRecord", "-b", "x:1"], 2, "", "RocksDB");
    check(&["updateTopic", "-t", "a", "-b", "x:1", "-a", "x"], 2, "", "neither +name=value");
    check(&["topicList", "--access-key", "x"], 2, "", "belong together");
    check(&["completions", "csh"], 2, "", "bash");
    check(&["tail"], 2, "", "<TOPIC");
    check(&["tail", "orders", "--since", "soon"], 2, "", "expected how long ago");
    check(&["printMsg", "-t", "a", "-c", "GBK"], 2, "", "shown as UTF-8 only");
    check(&["consumeMessage", "-t", "a", "-i", "0"], 2, "", "--brokerName");
    check(&["updateOrderConf", "-t", "a", "-m", "put"], 2, "", "--orderConf");
    check(&["updateTopicPerm", "-t", "a", "-b", "x:1", "-p", "9"], 2, "", "0..=7");
    check(&["checkMsgSendRT", "-t", "a", "-a", "1"], 2, "", "not in 2..");
    check(&["cleanBrokerMetadata", "-a", "x:1", "-bn", "a"], 2, "", "--clusterName");
}

#[test]
fn what_fails_is_1_and_says_what_to_do() {
    check(&["topicList"], 1, "", "give -n HOST:PORT or set NAMESRV_ADDR");
    // Port 1 of this machine serves nobody.
    let tried = "mqadmin topicList: cannot connect to 127.0.0.1:1:";
    check(&["topicList", "-n", "127.0.0.1:1"], 1, "", tried);
    check(&["-Drocketmq.namesrv.addr=127.0.0.1:1", "topicList"], 1, "", tried);
    check(&["topicList", "-n", "127.0.0.1:1;127.0.0.1:1"], 1, "", "no name server answered: ");
    check(&["topicList", "Stray", "-n", "127.0.0.1:1"], 1, "", "ignored, as Java's does: Stray");
    check(&["tail", "orders", "-n", "127.0.0.1:1"], 1, "", "cannot connect to 127.0.0.1:1:");
    check(&["getControllerMetaData", "-a", "127.0.0.1:1"], 1, "", "cannot connect");
    check(&["cleanUnusedTopic", "-n", "127.0.0.1:1"], 1, "", "cannot connect");
    check(
        &["topicList", "--address-server", "127.0.0.1:1"],
        1,
        "",
        "address server http://127.0.0.1:1/rocketmq/nsaddr",
    );
    check(&["queryMsgById", "-i", "x"], 1, "", "\"x\" is no message id of a broker");
}

#[test]
fn the_account_comes_from_tools_yml() {
    let home = tempfile::tempdir().expect("a directory");
    let conf = home.path().join("conf");
    std::fs::create_dir(&conf).expect("a directory");
    let run = || {
        let property = format!("-Drocketmq.home.dir={}", home.path().display());
        let output = mqadmin(&[&property, "topicList", "-n", "127.0.0.1:1"]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(run().0, Some(1));
    std::fs::write(conf.join("tools.yml"), "accessKey: rocketmq2\nsecretKey: 12345678\n")
        .expect("a file");
    assert!(run().1.contains("cannot connect"), "{:?}", run());
    std::fs::write(conf.join("tools.yml"), "accessKey: [\n").expect("a file");
    let (code, text) = run();
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("tools.yml"), "{text}");
}
