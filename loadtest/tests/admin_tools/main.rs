//! Goal: what operators type and click works: every command of Java's `mqadmin` (4.9.8 and 5.3.3), the calls of the RocketMQ
//! exporter and Dashboard, and message trace. Method: `commands.txt` lists the command lines; each runs with its release's tool
//! against our broker and against Java's (4.9.7 and 5.3.3), both prepared alike, and what it prints is compared line by line, with
//! numbers, times and addresses that cannot be the same made the same.
//!
//! A line that differs fails unless it is listed there with its reason, and a listed one that has gone fails, too.
//! `RINGMQ_TRANSCRIPTS=1` prints what both sides said and how long they took.

mod lines;
mod site;
mod table;
mod trace;

use libtest_mimic::{Arguments, Trial};
use loadtest::harness::{Peer, listed, mqadmin::Mqadmin, program::Library};
use site::Site;
use std::{env, process::ExitCode, thread, time::Instant};
use table::{Release, Step};

/// What both brokers are told besides what those of all tests are: message trace has its topic from the start.
const KEYS: &[(&str, &str)] = &[("traceTopicEnable", "true")];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let releases = [Release::V4, Release::V5];
    let commands = releases.map(|release| trial(release, "commands", commands));
    let traces = releases.map(|release| trial(release, "traced_only_where_it_is_on", trace::off));
    let lines = Trial::test("lines::examples", || {
        lines::examples();
        Ok(())
    });
    let trials = [commands, traces].into_iter().flatten().chain([lines]).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(release: Release, name: &str, run: fn(Release, &str) -> Result<(), String>) -> Trial {
    let name = format!("{}::{name}", release.name());
    let test = name.clone();
    Trial::test(name, move || {
        run(release, &test).inspect_err(|wrong| eprintln!("## {test}\n{wrong}")).map_err(Into::into)
    })
}

/// What brokers say of a moment, such as samples of statistics and members that are just being asked, may differ once: what
/// differs is compared again, on new brokers, and fails when it differs again.
fn commands(release: Release, test: &str) -> Result<(), String> {
    let first = compare(release, test)?;
    if first.is_empty() {
        return Ok(());
    }
    let step = |wrong: &String| wrong.lines().next().unwrap_or_default().to_owned();
    let again: Vec<String> = compare(release, test)?;
    let stays = |wrong: &&String| first.iter().any(|before| step(before) == step(wrong));
    let wrong: Vec<String> = again.iter().filter(stays).cloned().collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n\n")) }
}

/// Runs the table on both sides, a step after the other, as later ones see what earlier ones did. What differs, by step.
fn compare(release: Release, test: &str) -> Result<Vec<String>, String> {
    let Some(program) = Library::Java(release.tools()).program(test) else { return Ok(Vec::new()) };
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let program = program.with_java_option(&format!("-Djava.io.tmpdir={}", dir.path().display()));
    let steps = table::of(release);
    let (mut mqadmin, ours, java) = thread::scope(|scope| {
        let ours = scope.spawn(|| Peer::own_as_shared(KEYS));
        let java = scope.spawn(|| Peer::own_java(release.broker(), KEYS));
        let mqadmin = Mqadmin::start(&program);
        (mqadmin, ours.join().expect("it starts"), java.join().expect("it starts"))
    });
    let mut sites = [Site::new(ours), Site::new(java)];
    for site in &mut sites {
        site.prepare(&mut mqadmin);
    }
    let mut wrong = missing(&mqadmin.run(&[]), &steps);
    for step in &steps {
        let [ours, java] = sites.each_mut().map(|site| {
            let began = Instant::now();
            let lines = site.play(&mut mqadmin, &step.words);
            if env::var_os("RINGMQ_TRANSCRIPTS").is_some() {
                let words = step.words.join(" ");
                eprintln!("{} {words}, {:?}:\n{}", site.name(), began.elapsed(), lines.join("\n"));
            }
            lines
        });
        wrong.extend(judge(step, &ours, &java).err());
    }
    for site in &mut sites {
        site.play(&mut mqadmin, &["verb", "leave", "-", "-"].map(str::to_owned));
    }
    Ok(wrong)
}

/// Commands that the tool lists and the table does not run.
fn missing(list: &str, steps: &[Step]) -> Vec<String> {
    let known = |name: &str| {
        steps.iter().any(|step| match &step.words[..] {
            [verb, round, ..] if verb == "verb" && round == "monitor" => name == "startMonitoring",
            [endless, command, ..] if endless == "endless" => name == command,
            words => words.first().is_some_and(|command| name == command),
        })
    };
    let names = list.lines().filter(|line| line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| !known(name)).map(|name| format!("not in the table: {name}")).collect()
}

fn judge(step: &Step, ours: &[String], java: &[String]) -> Result<(), String> {
    let [ours, java] = [ours, java]
        .map(|lines| lines.iter().map(|line| step.exactness.of(line)).collect::<Vec<_>>());
    listed::judge(&lines::differences(&ours, &java), step.differs.iter())
        .map_err(|wrong| format!("{}: {}\n{wrong}", step.place, step.words.join(" ")))
}
