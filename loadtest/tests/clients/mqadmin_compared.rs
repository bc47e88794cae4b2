//! Java's mqadmin 4.9.8 and ours, command by command beside each other, against our broker and against Java's: the same
//! lines with the same columns. Numbers, times and ids may differ, because the second one asks later.
//!
//! A further command is a line of [`CASES`], or of [`CASES_5`] when only 5.x has it. Words of a case are typed to both tools;
//! `{topic}`, `{group}`, `{broker}`, `{id}`, `{key}`, `{unique}`, `{live}` (a group whose member `{client}` stays, on `{of-live}`)
//! and `{dir}` name what is prepared for it, `{traces}` a topic with traces of the message `{traced}`, `{new}` something that
//! each tool has for itself.

use libtest_mimic::Trial;
use loadtest::harness::{
    Peer, Side,
    mqadmin::Mqadmin,
    our_mqadmin,
    program::{Library, Program, Running},
    scenario, unique,
};

/// The release whose output decides, where it has the command.
const JAVA: &str = "4.9.8";

/// The message whose traces are prepared.
const TRACED: &str = "7F0000010A2C18B4AAC21C1FD4D70000";

/// What of an output is compared.
#[derive(Clone, Copy, Debug)]
enum Lines {
    /// All lines in their order.
    All,
    /// All lines in any order: what Java keeps in a table without one.
    AnyOrder,
    /// The first line and those with this in them: other tests change the rest.
    With(&'static str),
    /// What stands before the first `:` or `=` of each line, sorted: values change by themselves.
    Names,
}

/// A command: its words, what of its output is compared, and which brokers it is typed to.
type Case = (&'static str, Lines, &'static [Side]);

const BOTH: &[Side] = &[Side::Ours, Side::Java4];
/// Of requests that our broker refuses.
const JAVA_5: &[Side] = &[Side::Java5];

/// Commands that read, then those that change something, in this order.
const CASES: &[Case] = &[
    ("clusterList -n {namesrv}", Lines::All, BOTH),
    ("clusterList -n {namesrv} -m", Lines::All, BOTH),
    ("brokerStatus -b {broker}", Lines::Names, BOTH),
    ("brokerStatus -n {namesrv} -c DefaultCluster", Lines::Names, BOTH),
    ("getBrokerConfig -b {broker}", Lines::Names, BOTH),
    ("getBrokerConfig -n {namesrv} -c DefaultCluster", Lines::Names, BOTH),
    ("topicList -n {namesrv}", Lines::With("{topic}"), BOTH),
    ("topicList -n {namesrv} -c", Lines::With("{topic}"), BOTH),
    ("topicRoute -n {namesrv} -t {topic}", Lines::All, BOTH),
    ("topicRoute -n {namesrv} -topic {topic} -l", Lines::All, BOTH),
    ("topicStatus -n {namesrv} --topic={topic}", Lines::All, BOTH),
    ("consumerProgress -n {namesrv} -g {group}", Lines::All, BOTH),
    ("consumerProgress -n {namesrv} -g {group} -s true", Lines::All, BOTH),
    ("consumerProgress -n {namesrv}", Lines::With("{group}"), BOTH),
    ("queryMsgById -n {namesrv} -i {id}", Lines::All, BOTH),
    ("queryMsgByKey -n {namesrv} -t {topic} -k {key}", Lines::All, BOTH),
    // Once: Java's tool keeps the client of this command, and shuts it down after the first use.
    ("queryMsgByUniqueKey -n {namesrv} -t {topic} -i {unique}", Lines::All, BOTH),
    ("queryMsgByOffset -n {namesrv} -t {topic} -b broker-a -i 0 -o 0", Lines::All, BOTH),
    ("queryMsgTraceById -n {namesrv} -t {traces} -i {traced}", Lines::All, BOTH),
    ("printMsg -n {namesrv} -t {topic}", Lines::All, BOTH),
    ("printMsg -n {namesrv} -t {topic} -s nothing -d false", Lines::All, BOTH),
    ("printMsg -n {namesrv} -t {topic} -b 2026-01-05#09:30:11:042", Lines::All, BOTH),
    ("printMsgByQueue -n {namesrv} -t {topic} -a broker-a -i 0 -p true -d true", Lines::All, BOTH),
    // Once, for the same reason.
    ("consumeMessage -n {namesrv} -t {topic}", Lines::All, BOTH),
    ("queryCq -n {namesrv} -t {topic} -q 0 -i 0 -c 2", Lines::All, BOTH),
    ("queryCq -n {namesrv} -t {topic} -q 0 -i 0 -c 2 -b {broker} -g {group}", Lines::All, BOTH),
    ("topicClusterList -n {namesrv} -t {topic}", Lines::All, BOTH),
    ("allocateMQ -n {namesrv} -t {topic} -i 10.0.0.1,10.0.0.2", Lines::All, BOTH),
    ("getNamesrvConfig -n {namesrv}", Lines::Names, BOTH),
    ("updateNamesrvConfig -n {namesrv} -k orderMessageEnable -v false", Lines::All, BOTH),
    ("updateBrokerConfig -b {broker} -k traceOn -v true", Lines::All, BOTH),
    ("updateBrokerConfig -n {namesrv} -c DefaultCluster -k traceOn -v true", Lines::All, BOTH),
    ("cleanExpiredCQ -b {broker}", Lines::All, BOTH),
    ("cleanExpiredCQ -n {namesrv} -c DefaultCluster", Lines::All, BOTH),
    ("cleanUnusedTopic -n {namesrv}", Lines::All, BOTH),
    ("deleteExpiredCommitLog -b {broker}", Lines::All, BOTH),
    // Of a broker that nobody has: other tests send to the one that is there.
    ("wipeWritePerm -n {namesrv} -b nobody", Lines::All, BOTH),
    ("addWritePerm -n {namesrv} -b nobody", Lines::All, BOTH),
    ("sendMsgStatus -n {namesrv} -b broker-a -c 3", Lines::All, BOTH),
    ("checkMsgSendRT -n {namesrv} -t {topic} -a 4 -s 64", Lines::All, BOTH),
    ("getConsumerConfig -n {namesrv} -g {group}", Lines::All, BOTH),
    ("consumerConnection -n {namesrv} -g {live}", Lines::AnyOrder, BOTH),
    ("consumerConnection -n {namesrv} -g {live} -b {broker}", Lines::AnyOrder, BOTH),
    ("consumerStatus -n {namesrv} -g {live} -i {client}", Lines::Names, BOTH),
    ("brokerConsumeStats -b {broker}", Lines::With("{group}"), BOTH),
    ("statsAll -n {namesrv} -t {topic}", Lines::All, BOTH),
    ("exportMetadata -n {namesrv} -c DefaultCluster -f {dir}", Lines::All, BOTH),
    ("exportMetadata -n {namesrv} -b {broker} -t -s -f {dir}", Lines::All, BOTH),
    ("exportConfigs -n {namesrv} -c DefaultCluster -f {dir}", Lines::All, BOTH),
    ("exportMetrics -n {namesrv} -c DefaultCluster -f {dir}", Lines::All, BOTH),
    (
        "sendMessage -n {namesrv} -t {topic} -p hello -k key -c tag -b broker-a -i 0",
        Lines::All,
        BOTH,
    ),
    ("printMsgByQueue -n {namesrv} -t {topic} -a broker-a -i 0 -f true", Lines::All, BOTH),
    ("updateSubGroup -n {namesrv} -b {broker} -g {new} -s true -r 3 -q 2", Lines::All, BOTH),
    ("updateSubGroup -n {namesrv} -c DefaultCluster -g {new} -d true", Lines::All, BOTH),
    ("updateTopic -n {namesrv} -b {broker} -t {new} -r 4 -w 4 -o true", Lines::All, BOTH),
    ("updateTopic -n {namesrv} -c DefaultCluster -t {new} -p 4 -u true -s true", Lines::All, BOTH),
    ("updateKvConfig -n {namesrv} -s {new} -k key -v value", Lines::All, BOTH),
    ("deleteKvConfig -n {namesrv} -s {new} -k key", Lines::All, BOTH),
    ("updateOrderConf -n {namesrv} -t {new} -m put -v broker-a:4", Lines::All, BOTH),
    ("updateOrderConf -n {namesrv} -t {new} -m get", Lines::All, BOTH),
    ("updateOrderConf -n {namesrv} -t {new} -m delete", Lines::All, BOTH),
    ("updateTopicPerm -n {namesrv} -b {broker} -t {new} -p 6", Lines::All, BOTH),
    ("updateTopicPerm -n {namesrv} -c DefaultCluster -t {new} -p 2", Lines::All, BOTH),
    ("deleteTopic -n {namesrv} -c DefaultCluster -t {new}", Lines::All, BOTH),
    ("cloneGroupOffset -n {namesrv} -s {group} -d {new} -t {topic}", Lines::All, BOTH),
    ("resetOffsetByTime -n {namesrv} -g {live} -t {of-live} -s now", Lines::All, BOTH),
    (
        "resetOffsetByTime -n {namesrv} -g {group} -t {topic} -s 2026-01-05#09:30:00:000 -f true",
        Lines::All,
        BOTH,
    ),
    ("skipAccumulatedMessage -n {namesrv} -g {group} -t {topic}", Lines::All, BOTH),
    ("deleteSubGroup -n {namesrv} -b {broker} -g {new}", Lines::All, BOTH),
    ("updateSubGroup -n {namesrv} -b {broker} -g {new} -r 3", Lines::All, BOTH),
    ("deleteSubGroup -n {namesrv} -c DefaultCluster -g {new} -r true", Lines::All, BOTH),
];

/// Commands that 5.3.3 has besides, beside its tool.
const CASES_5: &[Case] = &[
    ("haStatus -b {broker}", Lines::All, JAVA_5),
    ("haStatus -n {namesrv} -c DefaultCluster", Lines::All, JAVA_5),
    ("updateColdDataFlowCtrGroupConfig -b {broker} -g {group} -v 1024", Lines::All, JAVA_5),
    ("getColdDataFlowCtrInfo -b {broker}", Lines::Names, JAVA_5),
    ("getColdDataFlowCtrInfo -n {namesrv} -c DefaultCluster", Lines::Names, JAVA_5),
    ("removeColdDataFlowCtrGroupConfig -b {broker} -g {group}", Lines::All, JAVA_5),
    ("queryMsgByKey -n {namesrv} -t {topic} -k {key} -m 3 -b 0", Lines::All, JAVA_5),
    (
        "updateBrokerConfig -n {namesrv} -c DefaultCluster -a true -k traceOn -v true",
        Lines::All,
        JAVA_5,
    ),
];

/// One story for each side: a broker is prepared once.
pub(crate) fn trials() -> Vec<Trial> {
    let trial = |(side, java, cases): (Side, &'static str, &'static [Case])| {
        crate::trial(format!("mqadmin_compared::{side:?}").to_lowercase(), move |test| {
            if let Some(program) = Library::Java(java).program(test)
                && let Some(peer) = side.peer(test)
            {
                compare(&program, peer, cases);
            }
        })
    };
    let stories =
        [(Side::Ours, JAVA, CASES), (Side::Java4, JAVA, CASES), (Side::Java5, "5.3.3", CASES_5)];
    let shapes = Trial::test("mqadmin_compared::shapes", || {
        shapes_are_told_apart();
        Ok(())
    });
    stories.into_iter().map(trial).chain([shapes]).collect()
}

/// The comparison sees what it is for.
fn shapes_are_told_apart() {
    let same = [
        ("broker-a  0     12", "broker-a  3     7"),
        ("   1.25(0,0ms)", " 12.00(3,17ms)"),
        ("x {a=1, b=2}", "x {b=7, a=0}"),
        ("x Y{z='t', m={a=1, b=2}, c}", "x Y{z='t', m={b=7, a=0}, c}"),
        ("a 7F00000100002A9F00000000000004D2", "a 7F00000100002A9F00000000000014D2"),
    ];
    for (java, ours) in same {
        assert!(same_shape(java, ours), "{java:?} {ours:?}");
    }
    let different = [
        ("broker-a  0", "broker-b  0"),
        ("broker-a  0", "broker-a"),
        ("a   1   2", "a  1  2"),
        ("x=1", "x: 1"),
    ];
    for (java, ours) in different {
        assert!(!same_shape(java, ours), "{java:?} {ours:?}");
    }
}

/// Runs all cases, and tells all that differ.
fn compare(program: &Program, peer: &Peer, cases: &[Case]) {
    let prepared = Prepared::new(program, peer);
    let mut java = Mqadmin::start(program);
    let mut differences = Vec::new();
    for (line, lines, sides) in cases {
        if sides.contains(&peer.side) {
            let (of_java, of_ours) = (prepared.words(line, 0), prepared.words(line, 1));
            let expected = java.run(&as_words(&of_java));
            let found = our_mqadmin::run(&as_words(&of_ours));
            let difference = match found.code {
                Some(0) => {
                    let lines = |text: &str, tool| compared(&prepared, *lines, text, tool);
                    different(&lines(&expected, 0), &lines(&found.stdout, 1))
                }
                code => Some(format!("ended with {code:?}: {}", found.stderr)),
            };
            let tell = |what| {
                format!("== {line}: {what}\n-- Java:\n{expected}\n-- ours:\n{}", found.stdout)
            };
            differences.extend(difference.map(tell));
            // What changes nothing new can be asked once more.
            if !line.contains("{new}") {
                differences.extend(not_json(&as_words(&of_ours)));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Why the same with `--json` does not print lines of JSON.
fn not_json(words: &[&str]) -> Option<String> {
    let printed = our_mqadmin::run(&[&["--json"], words].concat());
    let is_json = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    let good = printed.code == Some(0)
        && !printed.stdout.is_empty()
        && printed.stdout.lines().all(is_json);
    (!good).then(|| format!("== --json {words:?}: {printed:?}"))
}

/// What the cases name.
struct Prepared {
    names: Vec<(&'static str, String)>,
    /// Of Java's tool and ours; as long as each other, so that columns stay where they are.
    new: [String; 2],
    /// A member that stays.
    _live: Running,
    /// Where files are written.
    _dir: tempfile::TempDir,
}

impl Prepared {
    /// A topic with messages, a group that has consumed some of them and is gone, and one that is there.
    fn new(program: &Program, peer: &Peer) -> Prepared {
        let (topic, group) = (peer.new_topic("compared", 4), unique("compared-group"));
        let traces = peer.new_topic("compared-traces", 1);
        send_traces(peer, &traces);
        scenario::keep_offsets(peer, &topic, &group);
        let sent = scenario::produce(program, peer, &topic, 8, None);
        scenario::consume_exactly(program, peer, "consume", (&topic, &group), 8);
        scenario::produce(program, peer, &topic, 8, None);
        let hits = scenario::query_all(program, peer, &topic, &sent[..1]);
        let live = unique("compared-live");
        // A topic of its own: who consumes a topic is shown in any order.
        let of_live = peer.new_topic("compared-of-live", 4);
        scenario::keep_offsets(peer, &of_live, &live);
        // Java's broker resets nothing for a group that has no offset in one of the queues.
        let mut broker = peer.connect_broker();
        for queue in 1..if peer.side == Side::Ours { 1 } else { 4 } {
            broker.commit_offset(&live, &of_live, queue, 0).expect("a commit");
        }
        let member = scenario::start_consumer(program, peer, "consume", (&of_live, &live), None);
        let client = broker.consumer_ids(&live).expect("it is a member").remove(0);
        let dir = tempfile::tempdir().expect("a directory");
        let new = unique("compared-new");
        let names = vec![
            ("{topic}", topic),
            ("{group}", group),
            ("{namesrv}", peer.namesrv_addr.clone()),
            ("{broker}", peer.broker_addr.to_string()),
            ("{id}", sent[0].message_id.clone()),
            ("{key}", format!("key-{}", sent[0].body)),
            ("{unique}", hits[0].unique_id.clone()),
            ("{traces}", traces),
            ("{traced}", TRACED.to_owned()),
            ("{live}", live),
            ("{of-live}", of_live),
            ("{client}", client),
            ("{dir}", dir.path().display().to_string()),
        ];
        Prepared { names, new: [format!("{new}-1"), format!("{new}-2")], _live: member, _dir: dir }
    }

    fn words(&self, line: &str, tool: usize) -> Vec<String> {
        let fill = |word: &str| {
            let named = self.names.iter().fold(word.to_owned(), |w, (name, v)| w.replace(name, v));
            named.replace("{new}", &self.new[tool])
        };
        line.split(' ').map(fill).collect()
    }
}

/// Writes down what a producer and a consumer that trace would.
fn send_traces(peer: &Peer, topic: &str) {
    let sent = [
        "Pub",
        "1700000000000",
        "R",
        "producers",
        "t",
        TRACED,
        "",
        "key",
        "h:1",
        "5",
        "7",
        "0",
        TRACED,
        "true",
    ];
    let consumed =
        ["SubAfter", "request", TRACED, "3", "false", "key", "1", "1700000000100", "consumers"];
    for fields in [&sent[..], &consumed[..]] {
        let body = format!("{}\u{2}", fields.join("\u{1}"));
        let words =
            ["sendMessage", "-n", &peer.namesrv_addr, "-t", topic, "-k", TRACED, "-p", &body];
        let printed = our_mqadmin::run(&words);
        assert_eq!(printed.code, Some(0), "{printed:?}");
    }
}

fn as_words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// The lines that are compared, without blanks at their ends.
fn compared(prepared: &Prepared, lines: Lines, text: &str, tool: usize) -> Vec<String> {
    let text = text.replace(&prepared.new[tool], &prepared.new[0]);
    let printed = text.trim_end().lines().map(str::trim_end).filter(|line| !is_of_a_trace(line));
    let mut all: Vec<String> = printed.map(str::to_owned).collect();
    match lines {
        Lines::All => {}
        Lines::AnyOrder => all.sort(),
        Lines::With(name) => {
            let wanted = &prepared.words(name, tool)[0];
            let mut index = 0;
            all.retain(|line| {
                index += 1;
                line.contains(wanted) || (index == 1 && line.starts_with('#'))
            });
            all.sort();
        }
        Lines::Names => {
            all.iter_mut().for_each(|line| {
                let end = line.find([':', '=']).filter(|_| !line.starts_with('=')).map(|at| at + 1);
                line.truncate(end.unwrap_or(line.len()));
            });
            all.sort();
        }
    }
    all
}

/// Lines of a stack trace, which Java's tool prints on standard error when it goes on all the same.
fn is_of_a_trace(line: &str) -> bool {
    line.starts_with("\tat ")
        || line.starts_with("For more information, please visit the url")
        || (line.starts_with("org.apache.rocketmq.") && line.contains("Exception: "))
}

/// What differs first.
fn different(java: &[String], ours: &[String]) -> Option<String> {
    if java.len() != ours.len() {
        return Some(format!("{} lines, not {}", ours.len(), java.len()));
    }
    let mut pairs = java.iter().zip(ours);
    let (java, ours) = pairs.find(|(java, ours)| !same_shape(java, ours))?;
    Some(format!("not as {java:?}: {ours:?}"))
}

/// Whether two lines have the same words in the same columns: each begins where the other does, or ends there, or is
/// as far from the word before. Of numbers and ids only that they are there counts.
fn same_shape(java: &str, ours: &str) -> bool {
    let (java, ours) = (words_of(java), words_of(ours));
    java.len() == ours.len()
        && java.iter().zip(&ours).all(|(a, b)| {
            a.text == b.text && (a.start == b.start || a.end == b.end || a.gap == b.gap)
        })
}

struct Word {
    text: String,
    start: usize,
    end: usize,
    /// Blanks before it.
    gap: usize,
}

fn words_of(line: &str) -> Vec<Word> {
    let line = with_sorted_map(line);
    let mut words: Vec<Word> = Vec::new();
    let mut at = 0;
    for piece in line.split(' ') {
        if !piece.is_empty() {
            let gap = at - words.last().map_or(0, |word| word.end);
            words.push(Word {
                text: without_numbers(piece),
                start: at,
                end: at + piece.len(),
                gap,
            });
        }
        at += piece.len() + 1;
    }
    words
}

/// The entries of a map, `{a=1, b=2}`, have any order in Java. Of several the first that ends, which holds no other.
fn with_sorted_map(line: &str) -> String {
    let Some(end) = line.find('}') else { return line.to_owned() };
    let Some(start) = line[..end].rfind('{') else { return line.to_owned() };
    let (before, inside, after) = (&line[..start], &line[start + 1..end], &line[end + 1..]);
    let mut entries: Vec<&str> = inside.split(", ").collect();
    entries.sort_unstable();
    format!("{before}{{{}}}{after}", entries.join(", "))
}

/// Runs of digits become `#`, with what holds them together; ids of messages `ID`.
fn without_numbers(word: &str) -> String {
    let is_id = |part: &str| part.len() >= 32 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let mut out = String::new();
    for part in word.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let end = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let rest = &part[end.len()..];
        match is_id(end) {
            true => out.push_str("ID"),
            false => out.push_str(end),
        }
        out.push_str(rest);
    }
    let mut shape = String::new();
    for c in out.chars() {
        let c = if c.is_ascii_digit() { '#' } else { c };
        let joined = shape.ends_with('#') && (c == '#' || c == '.' || c == ',');
        if !joined {
            shape.push(c);
        }
    }
    shape
}
