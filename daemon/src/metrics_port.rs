//! `metricsPort`: where a program shows metrics and its health over HTTP.

use crate::config::{ConfigKind, ConfigValue};

/// A port, and what becomes of a start that does not get it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsPort {
    /// The usual one of the program. Somebody else may have it: another program of ours on this machine.
    #[default]
    Usual,
    /// None.
    Off,
    /// This one, or no start.
    At(u16),
}

impl MetricsPort {
    /// The port, if there is to be one; `usual` is that of the program.
    pub fn number(self, usual: u16) -> Option<u16> {
        match self {
            MetricsPort::Usual => Some(usual),
            MetricsPort::Off => None,
            MetricsPort::At(port) => Some(port),
        }
    }
}

impl ConfigValue for MetricsPort {
    fn read(text: &str, _: &ConfigKind) -> Option<Self> {
        match text.trim() {
            "" => Some(MetricsPort::Usual),
            text => match text.parse().ok()? {
                0 => Some(MetricsPort::Off),
                port => Some(MetricsPort::At(port)),
            },
        }
    }

    fn text(&self) -> String {
        match self {
            MetricsPort::Usual => String::new(),
            MetricsPort::Off => "0".to_owned(),
            MetricsPort::At(port) => port.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_reads_its_own_text() {
        let read = |text: &str| MetricsPort::read(text, &ConfigKind::OptionalPort);
        for (text, port) in
            [("", MetricsPort::Usual), ("0", MetricsPort::Off), (" 5557 ", MetricsPort::At(5_557))]
        {
            assert_eq!(read(text), Some(port));
            assert_eq!(read(&port.text()), Some(port));
        }
        for text in ["-1", "65536", "off", "5557x"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(MetricsPort::Usual.number(5_557), Some(5_557));
        assert_eq!(MetricsPort::Off.number(5_557), None);
    }
}
