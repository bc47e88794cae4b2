//! Rules about the code itself, kept by reading its files: sizes, headers, arrows between crates, who may name the
//! executor library, what foreign bytes may meet, reasons of dependencies, provenance of golden files, nothing that
//! belongs to one machine. Each test lists everything that breaks its rule. Nothing is run or compiled here.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Lines of a source file, tests included. The aim is 100 to 400.
const LINES_MAX: usize = 800;

/// Who may use whom, as in ARCHITECTURE.md: package, its dependencies, what its tests may use besides.
const ARROWS: &[(&str, &[&str], &[&str])] = &[
    ("proto", &[], &[]),
    ("runtime", &[], &[]),
    ("remoting", &["proto", "runtime"], &[]),
    ("daemon", &[], &[]),
    ("store", &["proto", "runtime"], &[]),
    ("storesim", &["proto", "runtime", "store", "mqstore"], &[]),
    ("mqstore", &["proto", "runtime", "store"], &[]),
    ("namesrv", &["proto", "runtime", "remoting", "daemon"], &["client"]),
    ("broker", &["proto", "runtime", "remoting", "daemon", "store", "namesrv"], &["client"]),
    ("client", &["proto", "remoting"], &[]),
    ("loadtest", &["proto", "client"], &[]),
];

/// Lints that `proto` denies outside of its tests: bytes of a stranger must never end the process.
const FOREIGN_BYTES_LINTS: &[&str] =
    &["clippy::indexing_slicing", "clippy::unwrap_used", "clippy::expect_used", "clippy::panic"];

/// What holds nothing of ours: directories, and the file that stands for `.git` in a second working tree.
const FOREIGN: &[&str] = &[".git", "target", "node_modules", "ringmq-data", "__pycache__", ".venv"];

/// Hosts that a file may name. A package's address, a mirror or a machine of somebody's network is none of them.
const HOSTS: &[&str] = &[
    "github.com",
    "www.apache.org",
    "rocketmq.apache.org",
    "maven.apache.org",
    "www.w3.org",
    "docs.rs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files of the repository, sorted, with paths relative to it.
fn files() -> Vec<PathBuf> {
    let root = root();
    let mut found = Vec::new();
    let mut dirs = vec![root.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("a directory of the repository can be listed") {
            let path = entry.expect("an entry can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if FOREIGN.contains(&name) {
                continue;
            }
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.push(path.strip_prefix(&root).expect("below the root").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn text(path: &Path) -> String {
    let bytes = fs::read(root().join(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

fn package_of(path: &Path) -> &str {
    path.iter().next().and_then(|first| first.to_str()).unwrap_or_default()
}

/// Rust files of the workspace; programs for other people's clients are worlds of their own.
fn sources() -> Vec<PathBuf> {
    let ours = |path: &PathBuf| {
        is_rust(path)
            && ARROWS.iter().any(|(package, ..)| *package == package_of(path))
            && !path.starts_with("loadtest/clients")
    };
    files().into_iter().filter(ours).collect()
}

/// Names listed under `[section]` of a manifest, in order, with the line before each.
fn dependencies(manifest: &str, section: &str) -> Vec<(String, String)> {
    let mut inside = false;
    let mut before = String::new();
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == format!("[{section}]");
        } else if inside && line.starts_with(|c: char| c.is_ascii_lowercase()) {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            found.push((name.to_owned(), before.clone()));
        }
        before = line.to_owned();
    }
    found
}

fn manifest(package: &str) -> String {
    text(&Path::new(package).join("Cargo.toml"))
}

fn names(manifest: &str, section: &str) -> Vec<String> {
    dependencies(manifest, section).into_iter().map(|(name, _)| name).collect()
}

fn assert_none(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn files_fit_in_a_head() {
    let too_long = |path: &PathBuf| {
        let lines = text(path).lines().count();
        (lines > LINES_MAX).then(|| format!("{}: {lines} lines", path.display()))
    };
    let broken: Vec<String> = sources().iter().filter_map(too_long).collect();
    assert_none(&format!("a file has at most {LINES_MAX} lines: find the missing noun"), &broken);
}

#[test]
fn files_say_what_lives_in_them() {
    let silent = |path: &&PathBuf| !text(path).starts_with("//!");
    let broken: Vec<String> =
        sources().iter().filter(silent).map(|path| path.display().to_string()).collect();
    assert_none("a source file begins with `//!`", &broken);
}

#[test]
fn only_one_room_names_the_executor_library() {
    let library = concat!("glom", "mio");
    let names_it = |path: &&PathBuf| {
        let manifest = path.ends_with("Cargo.toml") && path.iter().count() > 1;
        (manifest || is_rust(path))
            && package_of(path) != "runtime"
            && text(path).to_lowercase().contains(library)
    };
    let broken: Vec<String> =
        files().iter().filter(names_it).map(|path| path.display().to_string()).collect();
    assert_none(&format!("only `runtime` names {library}"), &broken);
}

#[test]
fn arrows_point_one_way() {
    let members: BTreeSet<&str> = ARROWS.iter().map(|(package, ..)| *package).collect();
    let mut broken = Vec::new();
    for (package, may_use, tests_may_use) in ARROWS {
        let manifest = manifest(package);
        let sections = [
            ("dependencies", may_use.to_vec()),
            ("build-dependencies", vec![]),
            ("dev-dependencies", [*may_use, *tests_may_use].concat()),
        ];
        for (section, allowed) in sections {
            for name in names(&manifest, section) {
                if members.contains(name.as_str()) && !allowed.contains(&name.as_str()) {
                    broken.push(format!("{package} [{section}] names {name}"));
                }
            }
        }
    }
    let listed = text(Path::new("Cargo.toml"));
    let line = listed.lines().find(|line| line.starts_with("members")).unwrap_or_default();
    let in_workspace: BTreeSet<&str> = line.split('"').skip(1).step_by(2).collect();
    for package in in_workspace.symmetric_difference(&members) {
        broken.push(format!("{package} is in one of `members` and the arrows of this test only"));
    }
    assert_none("dependencies point one way (ARCHITECTURE.md)", &broken);
}

#[test]
fn foreign_bytes_meet_no_panic() {
    let lib = text(Path::new("proto/src/lib.rs"));
    let code = lib.lines().filter(|line| !line.starts_with("//"));
    let head: String = code.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect();
    let denied = head.split("cfg_attr(not(test),deny(").nth(1).unwrap_or_default();
    let denied = denied.split(')').next().unwrap_or_default();
    let mut broken: Vec<String> = FOREIGN_BYTES_LINTS
        .iter()
        .filter(|lint| !denied.contains(*lint))
        .map(|lint| format!("proto/src/lib.rs does not deny {lint}"))
        .collect();
    for path in sources().iter().filter(|path| path.starts_with("proto/src")) {
        for (index, line) in text(path).lines().enumerate() {
            let lifted = line.contains("allow(") || line.contains("expect(clippy");
            // An index that is out of bounds in a constant does not compile.
            if lifted && line.contains("reason = \"evaluated by the compiler\"") {
                continue;
            }
            if lifted && FOREIGN_BYTES_LINTS.iter().any(|lint| line.contains(lint)) {
                broken.push(format!("{}:{}: {}", path.display(), index + 1, line.trim()));
            }
        }
    }
    assert_none("proto cannot panic on what strangers send", &broken);
}

#[test]
fn dependencies_have_a_reason_and_a_user() {
    let workspace = text(Path::new("Cargo.toml"));
    let listed = dependencies(&workspace, "workspace.dependencies");
    let members: BTreeSet<&str> = ARROWS.iter().map(|(package, ..)| *package).collect();
    let mut used = BTreeSet::new();
    let mut broken = Vec::new();
    for (package, ..) in ARROWS {
        let manifest = manifest(package);
        let sources: String =
            sources().iter().filter(|path| package_of(path) == *package).map(|p| text(p)).collect();
        for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for name in names(&manifest, section) {
                if !is_named(&sources, &name.replace('-', "_")) {
                    broken.push(format!("{package} lists {name} and does not use it"));
                }
                used.insert(name);
            }
        }
    }
    let mut reasoned = false;
    for (name, before) in &listed {
        // A comment holds for the lines right below it.
        let follows_another = listed.iter().any(|(other, _)| before.starts_with(other.as_str()));
        reasoned = before.starts_with('#') || (reasoned && follows_another);
        if !members.contains(name.as_str()) && !reasoned {
            broken.push(format!("Cargo.toml lists {name} without a reason above it"));
        }
        if !used.contains(name) && name != "broker" && name != "loadtest" {
            broken.push(format!("Cargo.toml lists {name}, which no package uses"));
        }
    }
    assert_none("a dependency has a reason and a user", &broken);
}

fn is_named(sources: &str, library: &str) -> bool {
    let needles = [format!("{library}::"), format!("use {library}"), format!("{library}!(")];
    needles.iter().any(|needle| {
        sources.match_indices(needle.as_str()).any(|(at, _)| {
            let before = sources[..at].chars().next_back().unwrap_or(' ');
            !before.is_alphanumeric() && before != '_'
        })
    })
}

/// `frames-4.9.7.txt` and its kin: three lines per vector, the first says which release made it and how.
#[test]
fn golden_files_say_where_they_come_from() {
    let is_golden = |path: &&PathBuf| {
        path.parent().is_some_and(|dir| dir.ends_with("golden")) && !is_rust(path)
    };
    let files = files();
    let golden: Vec<&PathBuf> = files.iter().filter(is_golden).collect();
    assert!(!golden.is_empty());
    let mut broken = Vec::new();
    for path in golden {
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let version = name.rsplit('-').next().unwrap_or_default();
        let wanted = format!("# Apache RocketMQ {version}: ");
        for (index, line) in text(path).lines().enumerate().step_by(3) {
            if !line.starts_with(&wanted) {
                broken.push(format!("{}:{}: no {wanted:?}", path.display(), index + 1));
            }
        }
    }
    assert_none("a golden vector names its maker", &broken);
}

/// What builds here must build anywhere: no directories of one machine, no package mirrors.
#[test]
fn nothing_belongs_to_one_machine() {
    let paths = [concat!("/wo", "rk/"), concat!("/tmp/", "rq"), concat!("/tmp/", "target-")];
    let mut broken = Vec::new();
    for path in files() {
        let text = text(&path);
        for (index, line) in text.lines().enumerate() {
            let at = || format!("{}:{}", path.display(), index + 1);
            for wanted in paths {
                if line.match_indices(wanted).any(|(at, _)| begins_a_path(line, at)) {
                    broken.push(format!("{} names {wanted}", at()));
                }
            }
            let lock = path.ends_with("Cargo.lock");
            for host in hosts(line).filter(|host| !lock && !HOSTS.contains(host)) {
                broken.push(format!("{} names the host {host}", at()));
            }
        }
    }
    assert_none("nothing belongs to one machine", &broken);
}

fn begins_a_path(line: &str, at: usize) -> bool {
    let before = line[..at].chars().next_back().unwrap_or(' ');
    !before.is_alphanumeric() && !matches!(before, '.' | '_' | '-' | '}' | '/')
}

/// Hosts of the URLs in a line. Loopback and placeholders are nobody's.
fn hosts(line: &str) -> impl Iterator<Item = &str> {
    let of_word = |rest: &'_ str| {
        rest.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-'))
            .unwrap_or(rest.len())
    };
    ["http://", "https://"].into_iter().flat_map(move |scheme| {
        line.match_indices(scheme).filter_map(move |(at, _)| {
            let rest = &line[at + scheme.len()..];
            let host = &rest[..of_word(rest)];
            let nobodys = host.is_empty() || host == "localhost" || host.starts_with("127.");
            (!nobodys).then_some(host)
        })
    })
}
