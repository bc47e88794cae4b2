//! `deploy/configuration.md` is generated from the tables of keys, of brokers and name servers, and is what they say now.

use std::path::{Path, PathBuf};

/// Writes the page instead of comparing it.
const WRITE: &str = "RINGMQ_WRITE_PAGES";
const COMMAND: &str = "RINGMQ_WRITE_PAGES=1 cargo test -p broker --test configuration_page";

fn page() -> String {
    let head = format!(
        "# All configuration keys\n\n\
         Generated from the tables in the code, which `mqbroker --keys` and `mqnamesrv --keys` print, too (`--keys=json` for \
         programs). After a change of those tables: `{COMMAND}`.\n\n"
    );
    let broker = broker::config::key_list().markdown();
    let name_server = namesrv::config::key_list().markdown();
    format!("{head}{broker}\n{name_server}")
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/configuration.md")
}

#[test]
fn the_page_is_the_generated_one() {
    let page = page();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(path(), &page).expect("the page can be written");
    }
    let written = std::fs::read_to_string(path()).unwrap_or_default();
    let differs = written.lines().zip(page.lines()).find(|(is, should)| is != should);
    assert!(
        written == page,
        "deploy/configuration.md is not what the tables say; write it with\n  {COMMAND}\nThe first line that differs is:\n\
         {differs:?}"
    );
}
