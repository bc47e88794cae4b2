//! `deploy/metrics.md` is generated from the declarations of metrics, of brokers and name servers, and is what they say now.

use std::path::{Path, PathBuf};

/// Writes the page instead of comparing it.
const WRITE: &str = "RINGMQ_WRITE_PAGES";
const COMMAND: &str = "RINGMQ_WRITE_PAGES=1 cargo test -p broker --test metrics_page";

fn page() -> String {
    format!(
        "# All metrics\n\n\
         What `/metrics` on `metricsPort` shows, in the text format of Prometheus. Generated from the declarations in the code; \
         after a change of those: `{COMMAND}`. Times are in seconds, sizes and positions in bytes; a histogram has \
         two buckets for each doubling from 32 us to 16.8 s. Alerts and a dashboard: [prometheus/alerts.yml](prometheus/alerts.yml), \
         [grafana/ringmq.json](grafana/ringmq.json).\n\n{}",
        broker::metrics::page()
    )
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/metrics.md")
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
        "deploy/metrics.md is not what the declarations say; write it with\n  {COMMAND}\nThe first line that differs is:\n\
         {differs:?}"
    );
}
