//! Pages in `deploy/` that are generated: compared with what the code says, or written when `RINGMQ_WRITE_PAGES` is set.

use std::path::Path;

/// Writes pages instead of comparing them.
const WRITE: &str = "RINGMQ_WRITE_PAGES";

/// Compares a page with the one that is generated, or writes it. `source` is what it is generated from, in the plural,
/// `command` writes it.
pub(crate) fn check(name: &str, page: &str, source: &str, command: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, page).expect("the page can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = written.lines().zip(page.lines()).find(|(is, should)| is != should);
    assert!(
        written == page,
        "deploy/{name} is not what {source} say; write it with\n  {command}\nThe first line that differs is:\n{differs:?}"
    );
}
