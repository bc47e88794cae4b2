//! Name servers and brokers: reachable at the addresses that clients are given, and of one mind.

use std::collections::{BTreeMap, BTreeSet};

use client::{AdminConfig, DefaultMqAdminExt};
use proto::body::ClusterInfo;

use super::{Findings, listed};
use crate::Failure;
use crate::moment::now_ms;

/// Clocks may differ by so much, ms. Brokers tell theirs in whole seconds.
const CLOCKS_APART_MS: i64 = 5_000;
/// From here on a disk is worth a look: Java's and our brokers delete by age alone below it.
const DISK_NOTE: f64 = 0.75;
/// From here on brokers begin to refuse messages.
const DISK_PROBLEM: f64 = 0.88;
/// Read and write.
const PERM_BOTH: i32 = 6;

/// What one name server knows.
pub(super) struct View {
    pub(super) addr: String,
    pub(super) admin: DefaultMqAdminExt,
    pub(super) topics: BTreeSet<String>,
}

/// Asks each name server by itself, and compares what they know.
pub(super) async fn name_servers(
    admin: &DefaultMqAdminExt,
    findings: &mut Findings,
) -> Result<Vec<View>, Failure> {
    let mut views = Vec::new();
    let mut first: Option<(String, BTreeSet<String>)> = None;
    for addr in admin.get_name_server_address_list() {
        let config = AdminConfig { namesrv_addrs: vec![addr.clone()], ..admin.config().clone() };
        let one = DefaultMqAdminExt::new(config);
        let asked = async {
            let known = one.examine_broker_cluster_info().await?;
            Ok::<_, client::AdminError>((known, one.fetch_all_topic_list().await?))
        };
        let (known, topics) = match asked.await {
            Ok(answers) => answers,
            Err(error) => {
                findings.problem(
                    ("name-server", addr),
                    error.to_string(),
                    "start it, or take it out of the list that clients are given",
                );
                continue;
            }
        };
        let brokers = brokers_of(&known);
        match &first {
            None => first = Some((addr.clone(), brokers)),
            Some((other, expected)) => compare_brokers(findings, addr, &brokers, other, expected),
        }
        let topics = topics.topic_list.into_iter().collect();
        views.push(View { addr: addr.clone(), admin: one, topics });
    }
    Ok(views)
}

/// `name/id addr` of each.
fn brokers_of(known: &ClusterInfo) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (name, broker) in &known.broker_addr_table {
        all.extend(broker.broker_addrs.iter().map(|(id, addr)| format!("{name}/{id} {addr}")));
    }
    all
}

fn compare_brokers(
    findings: &mut Findings,
    addr: &str,
    found: &BTreeSet<String>,
    other: &str,
    expected: &BTreeSet<String>,
) {
    let missing: Vec<String> = expected.difference(found).cloned().collect();
    let more: Vec<String> = found.difference(expected).cloned().collect();
    let advice = "brokers register with each name server of namesrvAddr: compare that key, and the network between them";
    if !missing.is_empty() {
        let what = format!("does not know {}, which {other} knows", listed(&missing));
        findings.problem(("name-servers-differ", addr), what, advice);
    }
    if !more.is_empty() {
        let what = format!("knows {}, which {other} does not know", listed(&more));
        findings.problem(("name-servers-differ", addr), what, advice);
    }
}

/// Dials each broker at the address that it advertises, and looks at what it tells of itself.
pub(super) async fn brokers(
    admin: &DefaultMqAdminExt,
    known: &ClusterInfo,
    findings: &mut Findings,
) {
    let vip = AdminConfig { vip_channel: true, ..admin.config().clone() };
    let vip = DefaultMqAdminExt::new(vip);
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, broker) in &known.broker_addr_table {
        if !broker.broker_addrs.contains_key(&0) {
            findings.problem(
                ("no-master", name),
                "has no master, so its queues take no messages",
                "start its master, or make a slave one",
            );
        }
        for (id, addr) in &broker.broker_addrs {
            let of = format!("{name}/{id} {addr}");
            let asked_ms = now_ms();
            let figures = match admin.fetch_broker_runtime_stats(addr).await {
                Ok(figures) => figures.table,
                Err(error) => {
                    findings.problem(
                        ("broker-unreachable", &of),
                        error.to_string(),
                        "clients are sent to this address: set brokerIP1 to one that they reach, or open listenPort",
                    );
                    continue;
                }
            };
            let answered_ms = now_ms();
            if let Err(error) = vip.fetch_broker_runtime_stats(addr).await {
                findings.note(
                    ("vip-port", &of),
                    format!("its second port does not answer: {error}"),
                    "open listenPort - 2, or turn the VIP channel of clients off",
                );
            }
            compare_clocks(findings, &of, &figures, (asked_ms, answered_ms));
            look_at_figures(findings, &of, &figures);
            look_at_permission(admin, findings, &of, addr).await;
            let version = figures.get("brokerVersionDesc").cloned().unwrap_or_default();
            versions.entry(version).or_default().push(of);
        }
    }
    if versions.len() > 1 {
        let each = versions.iter().map(|(version, of)| format!("{version} on {}", listed(of)));
        let what = each.collect::<Vec<_>>().join("; ");
        findings.note(("versions-differ", "cluster"), what, "meant so during an upgrade only");
    }
}

/// The broker's clock is when it started and how long it runs since; ours, when it was asked and when it had answered.
fn compare_clocks(
    findings: &mut Findings,
    of: &str,
    figures: &BTreeMap<String, String>,
    (asked_ms, answered_ms): (i64, i64),
) {
    let boot = figures.get("bootTimestamp").and_then(|text| text.parse::<i64>().ok());
    let runtime = figures.get("runtime").and_then(|text| runtime_ms(text));
    let Some((boot, runtime)) = boot.zip(runtime) else { return };
    // Its seconds are cut off.
    let (earliest, latest) = (boot + runtime, boot + runtime + 1_000);
    let ahead = earliest - answered_ms;
    let behind = asked_ms - latest;
    let apart = ahead.max(behind);
    if apart > CLOCKS_APART_MS {
        let way = if ahead > behind { "ahead of" } else { "behind" };
        findings.problem(
            ("clock", of),
            format!("its clock is {:.1} s {way} the one here", apart as f64 / 1000.0),
            "synchronise the clocks (NTP): delays, retention and resets by time go by them",
        );
    }
}

/// `[ 1 days, 2 hours, 3 minutes, 4 seconds ]`.
fn runtime_ms(text: &str) -> Option<i64> {
    let words: Vec<&str> =
        text.split([' ', '[', ']', ',']).filter(|word| !word.is_empty()).collect();
    let mut seconds = 0;
    for pair in words.chunks(2) {
        let [number, unit] = pair else { return None };
        let each = match unit.trim_end_matches('s') {
            "day" => 86_400,
            "hour" => 3_600,
            "minute" => 60,
            "second" => 1,
            _ => return None,
        };
        seconds += number.parse::<i64>().ok()?.checked_mul(each)?;
    }
    (!words.is_empty()).then_some(seconds * 1000)
}

fn look_at_figures(findings: &mut Findings, of: &str, figures: &BTreeMap<String, String>) {
    let ratio = figures.get("commitLogDiskRatio").and_then(|text| text.parse::<f64>().ok());
    let what = |ratio: f64| format!("its disk is {:.0} % full", ratio * 100.0);
    let advice = "make room, shorten fileReservedTime, or give it a larger disk";
    match ratio {
        Some(ratio) if ratio >= DISK_PROBLEM => findings.problem(("disk", of), what(ratio), advice),
        Some(ratio) if ratio >= DISK_NOTE => findings.note(("disk", of), what(ratio), advice),
        _ => {}
    }
    if let Some(health) = figures.get("ringmq.health").filter(|health| *health != "healthy") {
        findings.problem(
            ("health", of),
            health.clone(),
            "deploy/README.md, What to watch, says what each word means",
        );
    }
}

async fn look_at_permission(
    admin: &DefaultMqAdminExt,
    findings: &mut Findings,
    of: &str,
    addr: &str,
) {
    // Access control may keep the configuration from us: then there is nothing to say.
    let Ok(config) = admin.get_broker_config(addr).await else { return };
    let permission = config.get("brokerPermission").and_then(|text| text.parse::<i32>().ok());
    if let Some(permission) = permission.filter(|permission| permission & PERM_BOTH != PERM_BOTH) {
        findings.problem(
            ("permission", of),
            format!("brokerPermission={permission}: {}", crate::text::perm(permission)),
            "updateBrokerConfig -k brokerPermission -v 6, unless it is being emptied",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn found(run: impl FnOnce(&mut Findings)) -> Vec<(bool, &'static str)> {
        let mut findings = Findings::default();
        run(&mut findings);
        findings.all.iter().map(|finding| (finding.is_problem, finding.check)).collect()
    }

    #[test]
    fn runtimes_are_read() {
        assert_eq!(runtime_ms("[ 1 days, 2 hours, 3 minutes, 4 seconds ]"), Some(93_784_000));
        assert_eq!(runtime_ms("[ 0 days, 0 hours, 0 minutes, 0 seconds ]"), Some(0));
        for bad in ["", "[]", "[ 1 ]", "[ x days ]", "[ 1 weeks ]"] {
            assert_eq!(runtime_ms(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn clocks_may_differ_by_seconds() {
        let broker = figures(&[
            ("bootTimestamp", "1000000"),
            ("runtime", "[ 0 days, 0 hours, 0 minutes, 10 seconds ]"),
        ]);
        let at = |ms: i64| found(|f| compare_clocks(f, "b", &broker, (ms, ms + 20)));
        assert!(at(1_010_500).is_empty());
        assert!(at(1_006_000).is_empty() && at(1_015_000).is_empty());
        assert_eq!(at(1_000_000), [(true, "clock")]);
        assert_eq!(at(1_017_000), [(true, "clock")]);
        assert!(found(|f| compare_clocks(f, "b", &figures(&[]), (0, 0))).is_empty());
    }

    #[test]
    fn disks_and_health_are_told() {
        let of = |ratio: &str, health: &str| {
            let figures = figures(&[("commitLogDiskRatio", ratio), ("ringmq.health", health)]);
            found(|f| look_at_figures(f, "b", &figures))
        };
        assert!(of("0.5", "healthy").is_empty());
        assert_eq!(of("0.8", "healthy"), [(false, "disk")]);
        assert_eq!(of("0.95", "disk-full"), [(true, "disk"), (true, "health")]);
    }

    #[test]
    fn name_servers_have_to_agree() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let compare = |a: &[&str], b: &[&str]| {
            found(|f| compare_brokers(f, "n2", &set(a), "n1", &set(b))).len()
        };
        assert_eq!(compare(&["a"], &["a"]), 0);
        assert_eq!(compare(&["a"], &["a", "b"]), 1);
        assert_eq!(compare(&["a", "c"], &["a", "b"]), 2);
    }
}
