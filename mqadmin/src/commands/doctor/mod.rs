//! `doctor`: looks at a whole cluster and says what is wrong with it and what to do, one line for each finding. A command of
//! ours, for RocketMQ's servers, too; it changes nothing.
//!
//! A finding is a problem, which makes the exit code 1, or a note, which does not. [`servers`] looks at name servers and brokers,
//! [`topics`] at topics and their routes, [`groups`] at consumer groups.

mod groups;
mod servers;
mod topics;

use client::DefaultMqAdminExt;
use serde_json::{Value, json};

use crate::{Command, Failure, Output};

/// Of the line before the count.
const DASHES: usize = 79;

/// Looks for what is wrong: servers that cannot be reached at the addresses that clients are given, name servers that tell
/// different things, clocks, versions, disks, permissions, topics and groups.
#[derive(clap::Args)]
pub(crate) struct Doctor {
    /// Problems only, no notes
    #[arg(short = 'q', long = "quiet")]
    quiet: bool,
    /// Servers only; topics and groups of large clusters take a while
    #[arg(short = 's', long = "servers")]
    servers: bool,
}

impl Command for Doctor {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let mut findings = Findings::default();
        let views = servers::name_servers(admin, &mut findings).await?;
        let known = admin.examine_broker_cluster_info().await?;
        servers::brokers(admin, &known, &mut findings).await;
        if !self.servers {
            topics::look(admin, &views, &mut findings, out).await?;
            groups::look(admin, &mut findings, out).await?;
        }
        let problems = findings.all.iter().filter(|finding| finding.is_problem).count();
        let notes = findings.all.len() - problems;
        for finding in findings.all.iter().filter(|f| f.is_problem || !self.quiet) {
            out.say(finding.text(), finding.json())?;
            if finding.is_problem {
                out.found_problem();
            }
        }
        out.rule(DASHES)?;
        let brokers: usize = known.broker_addr_table.values().map(|b| b.broker_addrs.len()).sum();
        out.text(&format!(
            "{} name servers, {brokers} brokers: {problems} problems, {notes} notes",
            admin.get_name_server_address_list().len()
        ))
    }
}

/// Something that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    is_problem: bool,
    /// Which check.
    check: &'static str,
    /// Of what.
    of: String,
    what: String,
    advice: &'static str,
}

impl Finding {
    fn text(&self) -> String {
        let level = if self.is_problem { "PROBLEM" } else { "NOTE   " };
        format!("{level} {}: {}: {}; {}", self.check, self.of, self.what, self.advice)
    }

    fn json(&self) -> Value {
        json!({
            "level": if self.is_problem { "problem" } else { "note" },
            "check": self.check, "of": self.of, "what": self.what, "advice": self.advice,
        })
    }
}

#[derive(Default)]
struct Findings {
    all: Vec<Finding>,
}

impl Findings {
    /// `(check, of)`, what is wrong, what to do.
    fn problem(
        &mut self,
        (check, of): (&'static str, &str),
        what: impl Into<String>,
        advice: &'static str,
    ) {
        let (of, what) = (of.to_owned(), what.into());
        self.all.push(Finding { is_problem: true, check, of, what, advice });
    }

    /// The same when it may be meant so.
    fn note(
        &mut self,
        (check, of): (&'static str, &str),
        what: impl Into<String>,
        advice: &'static str,
    ) {
        let (of, what) = (of.to_owned(), what.into());
        self.all.push(Finding { is_problem: false, check, of, what, advice });
    }
}

/// Names, of many only the first ones.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len() {
        count if count > SHOWN => format!("{shown} and {} more", count - SHOWN),
        _ => shown,
    }
}
