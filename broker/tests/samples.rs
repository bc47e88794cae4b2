//! The files that operators start from: every sample of `deploy/conf` is accepted without a remark about its keys, those of the
//! archive (`deploy/archive/conf`), which are laid out as Java's, are accepted or refused as they say of themselves, and every key
//! that the README's table names exists.

use std::path::{Path, PathBuf};

use broker::config::{self, CommandLine, Given, KEYS, Loaded, Machine};
use daemon::properties_file;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    config::read_file(&repository().join(path)).unwrap_or_else(|error| panic!("{error}"))
}

/// Larger than any sample asks for.
fn machine() -> Machine {
    Machine {
        host_name: "host-a".to_owned(),
        address: "10.0.0.9".parse().expect("an address"),
        processors: (0..16).collect(),
        memory_bytes: 64 << 30,
        memory_limit_bytes: None,
    }
}

fn load(path: &str, standalone: bool) -> Loaded {
    let command_line =
        CommandLine { config_file: Some(PathBuf::from(path)), standalone, ..Default::default() };
    let given = Given { command_line, file: Some(read(path)), ..Default::default() };
    config::load(&given, &machine()).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_sample_is_accepted() {
    let dir = repository().join("deploy/conf");
    let mut count = 0;
    for entry in std::fs::read_dir(&dir).expect("deploy/conf is there") {
        let name = entry.expect("an entry").file_name().into_string().expect("a plain name");
        if name == "namesrv.conf" {
            continue;
        }
        let loaded = load(&format!("deploy/conf/{name}"), name == "standalone.conf");
        // What ASYNC_FLUSH costs is said at every start.
        let asynchronous = name == "broker-async.conf";
        let remarks: Vec<&str> = loaded
            .notices
            .iter()
            .map(|notice| notice.text.as_str())
            .filter(|text| !(asynchronous && text.starts_with("flushDiskType=ASYNC_FLUSH")))
            .collect();
        assert!(remarks.is_empty(), "{name}: {remarks:?}");
        count += 1;
    }
    assert_eq!(count, 3, "samples of a broker");
}

#[test]
fn the_sample_of_a_name_server_is_accepted() {
    for file in ["deploy/conf/namesrv.conf", "deploy/archive/conf/namesrv.conf"] {
        let entries = properties_file::entries(&read(file)).expect("properties");
        let findings = namesrv::config::Config::default().apply(&entries);
        assert_eq!(findings, namesrv::config::Findings::default(), "{file}");
    }
}

/// Java's samples: what is refused in them has a comment right above it that says so.
#[test]
fn samples_of_the_archive_are_refused_only_where_they_say_so() {
    let dir = repository().join("deploy/archive/conf");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&dir).expect("deploy/archive/conf is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            let below = std::fs::read_dir(&path).expect("a directory").flatten();
            files.extend(below.map(|entry| entry.path()));
        } else if path.ends_with("broker.conf") {
            files.push(path);
        }
    }
    assert_eq!(files.len(), 1 + 3 + 4 + 4 + 3, "{files:?}");
    for path in files {
        let text = config::read_file(&path).unwrap_or_else(|error| panic!("{error}"));
        let announced = text.contains("# Refused at the start");
        let command_line = CommandLine { config_file: Some(path.clone()), ..Default::default() };
        let namesrv_env = Some("127.0.0.1:9876".to_owned());
        let given = Given { command_line, file: Some(text), namesrv_env, ..Default::default() };
        let name = path.display();
        match config::load(&given, &machine()) {
            Ok(loaded) => {
                assert!(!announced, "{name} starts, although it says that it is refused");
                let unknown = |notice: &config::Notice| notice.text.contains("not a known key");
                assert!(!loaded.notices.iter().any(unknown), "{name}: {:?}", loaded.notices);
            }
            Err(error) => {
                assert!(announced, "{name} does not say that it is refused: {error}");
                let refused = ["brokerRole", "brokerId", "enableDLegerCommitLog"];
                let lines: Vec<String> =
                    error.to_string().lines().skip(1).map(str::to_owned).collect();
                let other =
                    |line: &&String| !refused.iter().any(|key| line.contains(&format!("{key}=")));
                assert_eq!(lines.iter().find(other), None, "{name}: {error}");
            }
        }
    }
}

/// Rows of the table below "## Configuration" begin with a key in backticks.
#[test]
fn keys_of_the_readme_exist() {
    let readme = read("README.md");
    let section = readme.split("\n## Configuration\n").nth(1).expect("a section on configuration");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split('|').next())
        .collect();
    assert!(rows.len() > 10, "rows of the table: {rows:?}");
    for row in rows {
        for name in row.split('`').step_by(2).map(str::trim).filter(|name| name.len() > 1) {
            assert!(KEYS.iter().any(|key| key.name == name), "{name} is no key");
        }
    }
}
