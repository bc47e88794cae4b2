//! Keys by which Java's 5.x broker says where it shows metrics. What they say is taken over into ours where those are not given, so
//! that whoever scrapes goes on.

use super::{
    BrokerConfig,
    load::{Notice, Problem, Source, set_key},
};
use daemon::properties_file::Entry;

const TYPE: &str = "metricsExporterType";
const HOST: &str = "metricsPromExporterHost";
const PORT: &str = "metricsPromExporterPort";

/// Ours.
const OUR_PORT: &str = "metricsPort";
const OUR_ADDRESS: &str = "metricsBindAddress";

/// Kinds of exporters that Java has, by name or number. Only Prometheus can fetch from here.
const OTHER_EXPORTERS: [&str; 4] = ["OTLP_GRPC", "1", "LOG", "3"];

/// Whether it is one of these keys.
pub(super) fn is_key(key: &str) -> bool {
    [TYPE, HOST, PORT].contains(&key)
}

/// Takes such an entry over. `is_given`: the file has this key, too.
pub(super) fn apply(
    config: &mut BrokerConfig,
    entry: &Entry,
    is_given: impl Fn(&str) -> bool,
    notices: &mut Vec<Notice>,
) -> Option<Problem> {
    let Entry { key, value, line } = entry;
    let is = |word: &str| value.trim().eq_ignore_ascii_case(word);
    let (ours, wanted) = match key.as_str() {
        TYPE if is("DISABLE") || is("0") => (OUR_PORT, "0"),
        TYPE => {
            if OTHER_EXPORTERS.into_iter().any(is) {
                notices.push(Notice::warn(format!(
                    "{key}={value}: metrics are not sent anywhere, Prometheus fetches them from {OUR_PORT}"
                )));
            } else if !is("PROM") && !is("2") {
                return Some(Problem {
                    source_of: Source::Line(*line),
                    key: key.clone(),
                    value: value.clone(),
                    expected: "one of DISABLE, PROM".to_owned(),
                });
            }
            return None;
        }
        // Of Java's broker that is its own address.
        HOST if value.trim().is_empty() => return None,
        HOST => (OUR_ADDRESS, value.as_str()),
        _ if is_given(TYPE) && (config.metrics_port == daemon::metrics_port::MetricsPort::Off) => {
            return None;
        }
        _ => (OUR_PORT, value.as_str()),
    };
    if is_given(ours) {
        notices.push(Notice::info(format!("{key} has no effect beside {ours}")));
        return None;
    }
    notices.push(Notice::info(format!("{key}={value} is taken as {ours}={wanted}")));
    let mut problem = set_key(config, ours, wanted, Source::Line(*line))?;
    problem.key.clone_from(key);
    Some(problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CommandLine, Given, Machine, load};
    use daemon::metrics_port::MetricsPort;

    fn loaded(file: &str) -> Result<BrokerConfig, String> {
        let given = Given {
            command_line: CommandLine::default(),
            file: Some(file.to_owned()),
            ..Given::default()
        };
        let machine = Machine {
            host_name: "host-a".to_owned(),
            address: "10.1.2.3".parse().expect("an address"),
            processors: vec![0, 1],
            memory_bytes: 8 << 30,
            memory_limit_bytes: None,
        };
        load(&given, &machine).map(|loaded| loaded.config).map_err(|e| e.to_string())
    }

    #[test]
    fn javas_keys_say_where_metrics_are() {
        let port = |file: &str| loaded(file).map(|config| config.metrics_port);
        assert_eq!(port("metricsPromExporterPort=6000"), Ok(MetricsPort::At(6_000)));
        assert_eq!(port("metricsExporterType=PROM"), Ok(MetricsPort::Usual));
        assert_eq!(port("metricsExporterType=DISABLE"), Ok(MetricsPort::Off));
        let both = "metricsExporterType=disable\nmetricsPromExporterPort=6000";
        assert_eq!(port(both), Ok(MetricsPort::Off));
        let both = "metricsPromExporterPort=6000\nmetricsExporterType=DISABLE";
        assert_eq!(port(both), Ok(MetricsPort::Off));
        let ours = "metricsPromExporterPort=6000\nmetricsPort=6001\nmetricsExporterType=DISABLE";
        assert_eq!(port(ours), Ok(MetricsPort::At(6_001)), "ours goes first");
        let host = loaded("metricsPromExporterHost=0.0.0.0").map(|it| it.metrics_bind_address);
        assert_eq!(host, Ok(std::net::IpAddr::from([0, 0, 0, 0]).into()));
        for bad in ["metricsExporterType=GRAPHITE", "metricsPromExporterPort=70000"] {
            assert!(loaded(bad).is_err_and(|error| error.contains(bad)), "{bad}");
        }
    }
}
