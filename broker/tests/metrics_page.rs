//! `deploy/metrics.md` is generated from the declarations of metrics, of brokers and name servers, and is what they say now.

mod pages;

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

#[test]
fn the_page_is_the_generated_one() {
    pages::check("metrics.md", &page(), "the declarations", COMMAND);
}
