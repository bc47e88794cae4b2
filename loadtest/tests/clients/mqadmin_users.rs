//! Users and policies of 5.x: our `mqadmin` and Java's 5.3.3 beside each other, against Java's 5.3.3 broker. What one of them
//! made the other one shows, in the same lines.

use std::time::Duration;

use libtest_mimic::Trial;
use loadtest::{
    harness::{mqadmin::Mqadmin, our_mqadmin, program::Library, wait_until},
    java_peer::{self, JavaPeer},
};

const JAVA: &str = "5.3.3";
const REGISTERED_WAIT_MAX: Duration = Duration::from_secs(60);
/// Where the broker keeps users and policies. Nobody has to be one of them for this.
const KEPT: [(&str, &str); 2] = [
    (
        "authenticationMetadataProvider",
        "org.apache.rocketmq.auth.authentication.provider.LocalAuthenticationMetadataProvider",
    ),
    (
        "authorizationMetadataProvider",
        "org.apache.rocketmq.auth.authorization.provider.LocalAuthorizationMetadataProvider",
    ),
];

/// In this order: the first word of each says who types it.
const STEPS: [&str; 14] = [
    "ours createUser -b {broker} -u anna -p secret-a -t Normal",
    "java createUser -n {namesrv} -c DefaultCluster -u bert -p secret-b -t Super",
    "both getUser -b {broker} -u anna",
    "both getUser -n {namesrv} -c DefaultCluster -u bert",
    "ours updateUser -b {broker} -u anna -s disable",
    "both getUser -b {broker} -u anna",
    "ours createAcl -b {broker} -s User:anna -r Topic:a,Group:b* -a Pub,Sub -d Allow -i 10.0.0.1",
    "both getAcl -b {broker} -s User:anna",
    "ours updateAcl -b {broker} -s User:anna -r Topic:a -a Pub -d Deny -i 10.0.0.1",
    "both getAcl -b {broker} -s User:anna",
    "ours deleteAcl -b {broker} -s User:anna -r Topic:a",
    "both listAcl -b {broker}",
    "ours deleteUser -n {namesrv} -c DefaultCluster -u anna",
    "both listUser -b {broker}",
];

/// One story.
pub(crate) fn trials() -> Vec<Trial> {
    vec![crate::trial("mqadmin_users::java5".to_owned(), |test| {
        let Some(program) = Library::Java(JAVA).program(test) else { return };
        if !java_peer::available_or_skip(test) {
            return;
        }
        let mut java = JavaPeer::new(java_peer::VERSION_5_3).expect("Java's programs");
        let namesrv = java.start_namesrv().expect("a name server").to_string();
        let broker = java.start_broker(&KEPT).expect("a broker").to_string();
        let known = wait_until(REGISTERED_WAIT_MAX, || {
            our_mqadmin::run(&["clusterList", "-n", &namesrv]).stdout.contains("DefaultCluster")
        });
        assert!(known, "the broker did not register\n{}", java.output_tail());
        let mut theirs = Mqadmin::start(&program);
        for step in STEPS {
            let filled = step.replace("{broker}", &broker).replace("{namesrv}", &namesrv);
            let words: Vec<&str> = filled.split(' ').collect();
            let (who, words) = words.split_first().expect("a word");
            let expected = if *who == "ours" { String::new() } else { theirs.run(words) };
            assert!(!expected.contains("Exception"), "{step}:\n{expected}");
            if *who == "java" {
                continue;
            }
            let found = our_mqadmin::run(words);
            assert_eq!(found.code, Some(0), "{step}: {found:?}");
            if *who == "both" {
                assert_eq!(lines(&found.stdout), lines(&expected), "{step}");
            } else {
                assert!(found.stdout.trim_end().ends_with("success."), "{step}: {found:?}");
            }
        }
    })]
}

/// In any order, without blanks at the ends.
fn lines(text: &str) -> Vec<&str> {
    let mut all: Vec<&str> = text.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect();
    all.sort_unstable();
    all
}
