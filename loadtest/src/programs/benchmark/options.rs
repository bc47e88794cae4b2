//! Options that several programs have, and Java's short ones of two letters.

use std::{ffi::OsString, time::Duration};

use clap::{ArgAction, Args};

use crate::programs::{ProgramError, cluster::NameServers};

/// What every program has.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Name servers, `host:port` separated by `;` (default: NAMESRV_ADDR).
    #[arg(short = 'n', long = "namesrvAddr", value_name = "ADDRS")]
    pub(super) namesrv_addr: Option<String>,
    /// Topic.
    #[arg(short = 't', long = "topic", default_value = "BenchmarkTest")]
    pub(super) topic: String,
    /// Pause between two reports, ms (also -ri).
    #[arg(long = "reportInterval", value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..))]
    report_interval: u64,
    /// Message trace: refused when true.
    #[arg(short = 'm', long = "msgTraceEnable", default_value_t = false, action = ArgAction::Set)]
    trace: bool,
    /// Signed requests: refused when true.
    #[arg(short = 'a', long = "aclEnable", default_value_t = false, action = ArgAction::Set)]
    acl: bool,
}

impl Common {
    /// The name servers, unless something is asked for that is not there.
    pub(super) fn servers(&self) -> Result<NameServers, ProgramError> {
        let refused =
            |option, reason: &str| Err(ProgramError::Option { option, reason: reason.to_owned() });
        if self.trace {
            return refused("-m", "these programs write no message trace: leave it out");
        }
        if self.acl {
            let reason = "these programs do not sign their requests: use a broker without aclEnable, or Java's benchmark";
            return refused("-a", reason);
        }
        NameServers::of(self.namesrv_addr.as_deref())
    }

    /// Time between two lines.
    pub(super) fn report_every(&self) -> Duration {
        Duration::from_millis(self.report_interval)
    }
}

/// Java's options of two letters and the names that they have here.
const TWO_LETTERS: &[(&str, &str)] = &[
    ("-ak", "--accessKey"),
    ("-sk", "--secretKey"),
    ("-sr", "--sendRollbackRate"),
    ("-su", "--sendUnknownRate"),
    ("-cr", "--checkRollbackRate"),
    ("-cu", "--checkUnknownRate"),
    ("-ri", "--reportInterval"),
];

/// The command line of `benchmark`, with long names in the place of options of two letters, which the library of command lines does
/// not know. Other command lines stay as they are.
pub fn with_long_names(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut all: Vec<OsString> = arguments.collect();
    if all.get(1).is_some_and(|work| work == "benchmark") {
        for word in all.iter_mut().skip(3) {
            if let Some((_, long)) = TWO_LETTERS.iter().find(|(short, _)| word == short) {
                *word = (*long).into();
            }
        }
    }
    all
}

/// So many random letters and digits, as Java's programs fill their messages.
pub(super) fn body(bytes: usize) -> Vec<u8> {
    std::iter::repeat_with(|| fastrand::alphanumeric() as u8).take(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_letters_become_names_in_benchmarks_alone() {
        let of =
            |line: &str| with_long_names(line.split(' ').map(OsString::from)).join(" ".as_ref());
        assert_eq!(
            of("mqbench benchmark tproducer -sr 0.1 -t -x -cu 0.2"),
            "mqbench benchmark tproducer --sendRollbackRate 0.1 -t -x --checkUnknownRate 0.2"
        );
        assert_eq!(of("mqbench send -ak 1"), "mqbench send -ak 1");
    }
}
