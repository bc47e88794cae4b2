//! Rules about the code itself, kept by reading its files: sizes, headers, dependencies between crates, who may name
//! the executor library, what foreign bytes may meet, reasons of dependencies, provenance of golden files, nothing that
//! belongs to one machine. Each test lists everything that breaks its rule. Nothing is run or compiled here.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Lines of a source file, tests included. The aim is 100 to 400.
const LINES_MAX: usize = 800;

/// Who may use whom, as in ARCHITECTURE.md: package, its dependencies, what its tests may use besides.
const DEPENDENCIES: &[(&str, &[&str], &[&str])] = &[
    ("proto", &[], &[]),
    ("filter", &[], &[]),
    ("acl", &["proto"], &[]),
    ("runtime", &[], &[]),
    ("remoting", &["proto", "runtime", "tls"], &[]),
    ("daemon", &["acl"], &[]),
    ("tls", &["daemon"], &[]),
    ("telemetry", &["runtime"], &[]),
    ("store", &["proto", "runtime"], &[]),
    ("storesim", &["proto", "runtime", "store", "mqstore"], &[]),
    ("mqstore", &["proto", "runtime", "store"], &[]),
    (
        "namesrv",
        &["proto", "acl", "runtime", "remoting", "daemon", "tls", "telemetry"],
        &["client"],
    ),
    (
        "broker",
        &[
            "proto",
            "acl",
            "runtime",
            "remoting",
            "daemon",
            "tls",
            "telemetry",
            "store",
            "namesrv",
            "filter",
        ],
        &[],
    ),
    ("client", &["proto", "acl", "remoting", "daemon"], &[]),
    ("mqadmin", &["proto", "client"], &[]),
    ("loadtest", &["proto", "acl", "client", "filter", "tls"], &["mqstore"]),
];

/// Crates of foreign bytes.
const FOREIGN_BYTES_CRATES: &[&str] = &["proto", "filter", "acl"];

/// Lints that they deny outside of their tests: foreign bytes must never end the process.
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

/// Rust files of the workspace; programs for other people's clients are projects of their own.
fn sources() -> Vec<PathBuf> {
    let ours = |path: &PathBuf| {
        is_rust(path)
            && DEPENDENCIES.iter().any(|(package, ..)| *package == package_of(path))
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
fn only_one_crate_names_the_executor_library() {
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
fn dependencies_point_one_way() {
    let members: BTreeSet<&str> = DEPENDENCIES.iter().map(|(package, ..)| *package).collect();
    let mut broken = Vec::new();
    for (package, may_use, tests_may_use) in DEPENDENCIES {
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
        broken
            .push(format!("{package} is in one of `members` and `DEPENDENCIES` of this test only"));
    }
    assert_none("dependencies point one way (ARCHITECTURE.md)", &broken);
}

#[test]
fn foreign_bytes_meet_no_panic() {
    FOREIGN_BYTES_CRATES.iter().for_each(|package| denies_panics(package));
}

fn denies_panics(package: &str) {
    let lib = text(&Path::new(package).join("src/lib.rs"));
    let code = lib.lines().filter(|line| !line.starts_with("//"));
    let head: String = code.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect();
    let denied = head.split("cfg_attr(not(test),deny(").nth(1).unwrap_or_default();
    let denied = denied.split(')').next().unwrap_or_default();
    let mut broken: Vec<String> = FOREIGN_BYTES_LINTS
        .iter()
        .filter(|lint| !denied.contains(*lint))
        .map(|lint| format!("{package}/src/lib.rs does not deny {lint}"))
        .collect();
    let sources = sources();
    let src = Path::new(package).join("src");
    for path in sources.iter().filter(|path| path.starts_with(&src)) {
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
    assert_none(&format!("{package} cannot panic on foreign bytes"), &broken);
}

#[test]
fn dependencies_have_a_reason_and_a_user() {
    let workspace = text(Path::new("Cargo.toml"));
    let listed = dependencies(&workspace, "workspace.dependencies");
    let members: BTreeSet<&str> = DEPENDENCIES.iter().map(|(package, ..)| *package).collect();
    let mut used = BTreeSet::new();
    let mut broken = Vec::new();
    for (package, ..) in DEPENDENCIES {
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

/// Files of the broker that may import each other in a circle, at most: a worker, its mailbox and the control plane.
const CIRCLE_FILES_MAX: usize = 3;

/// No file of the broker is in an import circle that nobody can hold in mind: a handler is read, tested and simulated
/// alone. What a file imports is read from its `use` lines and from paths that begin with `crate` or `super`.
#[test]
fn files_of_the_broker_import_each_other_in_small_circles() {
    let imports = imports::of_crate(Path::new("broker/src"));
    let arrows: usize = imports.values().map(BTreeSet::len).sum();
    let circles = imports::circles(&imports);
    let largest = circles.iter().map(Vec::len).max().unwrap_or(0);
    println!(
        "{} files, {arrows} arrows, {} circles, largest {largest}",
        imports.len(),
        circles.len()
    );
    let too_large = |circle: &&Vec<PathBuf>| circle.len() > CIRCLE_FILES_MAX;
    let listed = |circle: &Vec<PathBuf>| {
        let names: Vec<String> = circle.iter().map(|path| path.display().to_string()).collect();
        names.join(", ")
    };
    let broken: Vec<String> = circles.iter().filter(too_large).map(listed).collect();
    assert_none("files import each other in a large circle", &broken);
}

/// Which file of a crate imports which, read from their text.
mod imports {
    use super::{is_rust, sources, text};
    use std::{
        collections::{BTreeMap, BTreeSet},
        path::{Path, PathBuf},
    };

    /// Files and what they import.
    pub(crate) type Imports = BTreeMap<PathBuf, BTreeSet<PathBuf>>;

    type Module = Vec<String>;

    /// The imports of all files below a crate's `src`, tests left out.
    pub(crate) fn of_crate(src: &Path) -> Imports {
        let is_test = |path: &Path| {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            stem == "tests" || stem == "fixtures" || stem.ends_with("_tests")
        };
        let files: BTreeMap<Module, PathBuf> = sources()
            .into_iter()
            .filter(|path| path.starts_with(src) && is_rust(path) && !is_test(path))
            .map(|path| (module_of(path.strip_prefix(src).expect("below src")), path))
            .collect();
        let imports_of = |(module, path): (&Module, &PathBuf)| {
            let code = code_of(&text(path));
            let paths = used(&code).into_iter().chain(named(&code));
            let found = paths.filter_map(|used| resolve(&files, module, &used));
            let others = found.filter(|other| other != path && !other.ends_with("lib.rs"));
            (path.clone(), others.collect())
        };
        files.iter().map(imports_of).collect()
    }

    /// `shard/parked.rs` is `[shard, parked]`, `shard/mod.rs` is `[shard]`, `lib.rs` is the root.
    fn module_of(path: &Path) -> Module {
        let mut module: Module = path
            .with_extension("")
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        match module.last().map(String::as_str) {
            Some("mod") => drop(module.pop()),
            Some("lib") if module.len() == 1 => module.clear(),
            Some("main") if module.len() == 1 => module[0] = "main program".to_owned(),
            _ => {}
        }
        module
    }

    /// The text without tests, comments and strings.
    fn code_of(text: &str) -> String {
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
        let code = lines.collect::<Vec<_>>().join(" ");
        code.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
    }

    /// Paths of all `use` lines, groups taken apart.
    fn used(code: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (at, _) in code.match_indices("use ") {
            let starts =
                code[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_');
            let tree = code[at + 4..].split(';').next().unwrap_or_default();
            if starts {
                expand("", &tree.split_whitespace().collect::<Vec<_>>().join(" "), &mut found);
            }
        }
        found
    }

    /// `a::{b, c::{d}}` becomes `a::b` and `a::c::d`.
    fn expand(prefix: &str, tree: &str, found: &mut Vec<String>) {
        let tree = tree.trim();
        let Some((head, group)) = tree.split_once('{') else {
            let name = tree.split(" as ").next().unwrap_or_default();
            return found.push(format!("{prefix}{name}"));
        };
        let prefix = format!("{prefix}{head}");
        let (mut depth, mut start) = (0, 0);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => return expand_part(&prefix, &group[start..at], found),
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    expand_part(&prefix, &group[start..at], found);
                    start = at + 1;
                }
                _ => {}
            }
        }
    }

    fn expand_part(prefix: &str, part: &str, found: &mut Vec<String>) {
        if !part.trim().is_empty() {
            expand(prefix, part, found);
        }
    }

    /// Paths inside the code that begin with `crate` or `super`.
    fn named(code: &str) -> Vec<String> {
        let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        let words = code.split(|c| !is_path(c));
        let begins = |word: &&str| word.starts_with("crate::") || word.starts_with("super::");
        words.filter(begins).map(str::to_owned).collect()
    }

    /// The file that a path inside `module` leads to: that of the longest part which is a module.
    fn resolve(files: &BTreeMap<Module, PathBuf>, module: &Module, used: &str) -> Option<PathBuf> {
        let mut parts = used.split("::").map(|part| part.trim().to_owned()).peekable();
        let mut at = match parts.peek()?.as_str() {
            "crate" | "broker" => Vec::new(),
            "super" => module[..module.len().checked_sub(1)?].to_vec(),
            "self" => module.clone(),
            first => {
                let mut child = module.clone();
                child.push(first.to_owned());
                files.get(&child).filter(|_| !module.is_empty())?;
                module.clone()
            }
        };
        if !matches!(parts.peek()?.as_str(), "crate" | "broker" | "super" | "self") {
            at.extend(parts);
        } else {
            parts.next();
            while parts.peek().is_some_and(|part| part == "super") {
                parts.next();
                at.pop();
            }
            at.extend(parts);
        }
        while !at.is_empty() && !files.contains_key(&at) {
            at.pop();
        }
        files.get(&at).cloned()
    }

    /// Groups of two files or more in which each leads to each other.
    pub(crate) fn circles(imports: &Imports) -> Vec<Vec<PathBuf>> {
        let reached: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> =
            imports.keys().map(|path| (path, reach(imports, path))).collect();
        let mut seen = BTreeSet::new();
        let mut circles = Vec::new();
        for path in imports.keys() {
            let with_us = |other: &&&PathBuf| reached[**other].contains(path);
            let circle: Vec<PathBuf> =
                reached[path].iter().filter(with_us).map(|other| (*other).clone()).collect();
            if circle.len() > 1 && seen.insert(circle.clone()) {
                circles.push(circle);
            }
        }
        circles
    }

    /// Everything that a file leads to, itself included if it does.
    fn reach<'a>(imports: &'a Imports, from: &PathBuf) -> BTreeSet<&'a PathBuf> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&PathBuf> = imports[from].iter().collect();
        while let Some(path) = open.pop() {
            if let Some(next) = imports.get(path)
                && reached.insert(path)
            {
                open.extend(next);
            }
        }
        reached
    }
}
