//! Keys by which Java's 5.x broker says where it shows metrics. What they say is taken over into ours where those are not given, so
//! that whoever scrapes goes on.

const TYPE: &str = "metricsExporterType";
const HOST: &str = "metricsPromExporterHost";
const PORT: &str = "metricsPromExporterPort";

/// Ours.
const OUR_PORT: &str = "metricsPort";
const OUR_ADDRESS: &str = "metricsBindAddress";

/// What such a key comes to here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// What is so anyway.
    Nothing,
    /// A key of ours with a value.
    Ours(&'static str, &'a str),
    /// Something that there is not, and what is there instead.
    Instead(&'static str),
    /// It cannot be read; what is expected.
    Bad(&'static str),
}

/// Whether it is one of these keys.
pub(super) fn is_key(key: &str) -> bool {
    [TYPE, HOST, PORT].contains(&key)
}

/// The place of a key in the order in which they are to be taken: who wants no metrics wants no port for them.
pub(super) fn rank(key: &str) -> usize {
    usize::from(key == TYPE)
}

/// What one of these keys says.
pub(super) fn meaning<'a>(key: &str, value: &'a str) -> Meaning<'a> {
    let value = value.trim();
    let is_one_of = |words: &[&str]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
    match key {
        TYPE if is_one_of(&["DISABLE", "0"]) => Meaning::Ours(OUR_PORT, "0"),
        TYPE if is_one_of(&["PROM", "2"]) => Meaning::Nothing,
        TYPE if is_one_of(&["OTLP_GRPC", "1", "LOG", "3"]) => Meaning::Instead(
            "metrics are not sent anywhere, Prometheus fetches them from metricsPort",
        ),
        TYPE => Meaning::Bad("one of DISABLE, PROM"),
        // Of Java's broker that is its own address.
        HOST if value.is_empty() => Meaning::Nothing,
        HOST => Meaning::Ours(OUR_ADDRESS, value),
        _ => Meaning::Ours(OUR_PORT, value),
    }
}
