//! Access control of 5.x, policies: `createAcl`, `updateAcl`, `deleteAcl`, `getAcl`, `listAcl`, `copyAcl`.

use std::fmt::Write as _;

use client::DefaultMqAdminExt;
use proto::body::{AclInfo, PolicyEntryInfo, PolicyInfo};
use serde_json::{Value, json};

use crate::commands::json_of;
use crate::target::Target;
use crate::text::or_null;
use crate::{Command, Failure, Output};

/// What a subject may do with resources, on a broker or on all brokers of a cluster: each keeps its own.
#[derive(clap::Args)]
pub(crate) struct Entry {
    #[command(flatten)]
    target: Target,
    /// User:name
    #[arg(short = 's', long = "subject", value_name = "SUBJECT")]
    subject: String,
    /// Topic:name, Group:prefix*, Cluster:*, *; with commas between
    #[arg(
        short = 'r',
        long = "resources",
        value_name = "RESOURCES",
        value_delimiter = ',',
        required = true
    )]
    resources: Vec<String>,
    /// Pub, Sub, Create, Update, Delete, Get, List, All; with commas between
    #[arg(
        short = 'a',
        long = "actions",
        value_name = "ACTIONS",
        value_delimiter = ',',
        required = true
    )]
    actions: Vec<String>,
    /// Allow or Deny
    #[arg(short = 'd', long = "decision", value_name = "DECISION")]
    decision: String,
    /// Addresses and networks from where it counts, with commas between; without it from everywhere
    #[arg(short = 'i', long = "sourceIp", value_name = "ADDRS", value_delimiter = ',')]
    source_ip: Vec<String>,
}

impl Entry {
    fn policies(&self) -> AclInfo {
        let trimmed = |list: &[String]| -> Vec<String> {
            let words = list.iter().map(|word| word.trim()).filter(|word| !word.is_empty());
            words.map(str::to_owned).collect()
        };
        let sources = trimmed(&self.source_ip);
        let entry = |resource: String| PolicyEntryInfo {
            actions: Some(trimmed(&self.actions)),
            decision: Some(self.decision.clone()),
            resource: Some(resource),
            source_ips: (!sources.is_empty()).then(|| sources.clone()),
        };
        let entries = trimmed(&self.resources).into_iter().map(entry).collect();
        let policies = vec![PolicyInfo { entries, policy_type: None }];
        AclInfo { policies, subject: Some(self.subject.clone()) }
    }
}

/// Adds to the policies of a subject.
#[derive(clap::Args)]
pub(crate) struct CreateAcl {
    #[command(flatten)]
    entry: Entry,
}

impl Command for CreateAcl {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let policies = self.entry.policies();
        for addr in self.entry.target.brokers(admin).await? {
            admin.create_acl(&addr, &policies).await?;
            done(out, "create acl", &addr, &self.entry.subject)?;
        }
        Ok(())
    }
}

/// Changes the policies of a subject.
#[derive(clap::Args)]
pub(crate) struct UpdateAcl {
    #[command(flatten)]
    entry: Entry,
}

impl Command for UpdateAcl {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let policies = self.entry.policies();
        for addr in self.entry.target.brokers(admin).await? {
            admin.update_acl(&addr, &policies).await?;
            done(out, "update acl", &addr, &self.entry.subject)?;
        }
        Ok(())
    }
}

/// Deletes the policies of a subject, or what they say about one resource.
#[derive(clap::Args)]
pub(crate) struct DeleteAcl {
    #[command(flatten)]
    target: Target,
    /// User:name
    #[arg(short = 's', long = "subject", value_name = "SUBJECT")]
    subject: String,
    /// One resource, as it is written in the policy
    #[arg(short = 'r', long = "resources", value_name = "RESOURCE")]
    resources: Option<String>,
}

impl Command for DeleteAcl {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        for addr in self.target.brokers(admin).await? {
            admin.delete_acl(&addr, &self.subject, self.resources.as_deref()).await?;
            done(out, "delete acl", &addr, &self.subject)?;
        }
        Ok(())
    }
}

fn done(out: &mut Output, what: &str, addr: &str, subject: &str) -> Result<(), Failure> {
    let json = json!({"done": what, "broker": addr, "subject": subject});
    out.say(format!("{what} to {addr} success."), json)
}

/// Shows the policies of a subject, of a cluster on each master that has some.
#[derive(clap::Args)]
pub(crate) struct GetAcl {
    #[command(flatten)]
    target: Target,
    /// User:name
    #[arg(short = 's', long = "subject", value_name = "SUBJECT")]
    subject: String,
}

impl Command for GetAcl {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let mut found = false;
        for addr in self.target.masters(admin).await? {
            if let Some(policies) = admin.get_acl(&addr, &self.subject).await? {
                show(out, &[policies])?;
                found = true;
            }
        }
        if !found {
            out.note(&format!("{} has no policies", self.subject));
        }
        Ok(())
    }
}

/// Lists policies, of a cluster on each master that has some.
#[derive(clap::Args)]
pub(crate) struct ListAcl {
    #[command(flatten)]
    target: Target,
    /// Part of the subject
    #[arg(short = 's', long = "subject", value_name = "TEXT")]
    subject: Option<String>,
    /// Part of the resource
    #[arg(short = 'r', long = "resource", value_name = "TEXT")]
    resource: Option<String>,
}

impl Command for ListAcl {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let (subject, resource) = (self.subject.as_deref(), self.resource.as_deref());
        for addr in self.target.masters(admin).await? {
            let all = admin.list_acl(&addr, subject, resource).await?;
            if !all.is_empty() {
                show(out, &all)?;
            }
        }
        Ok(())
    }
}

fn show(out: &mut Output, all: &[AclInfo]) -> Result<(), Failure> {
    let mut text = String::new();
    let mut row = |fields: [&str; 6]| {
        let widths = [16, 10, 22, 20, 24, 10];
        let fields = fields.iter().zip(widths).map(|(field, width)| format!("{field:<width$}"));
        let _ = writeln!(text, "{}", fields.collect::<Vec<_>>().join("  "));
    };
    row(["#Subject", "#PolicyType", "#Resource", "#Actions", "#SourceIp", "#Decision"]);
    let list = |words: &Option<Vec<String>>| match words {
        Some(words) => format!("[{}]", words.join(", ")),
        None => "null".to_owned(),
    };
    for acl in all {
        let subject = or_null(acl.subject.as_deref());
        if acl.policies.is_empty() {
            row([subject, "", "", "", "", ""]);
        }
        for policy in &acl.policies {
            let kind = or_null(policy.policy_type.as_deref());
            for entry in &policy.entries {
                let (resource, decision) =
                    (or_null(entry.resource.as_deref()), or_null(entry.decision.as_deref()));
                let (actions, sources) = (list(&entry.actions), list(&entry.source_ips));
                row([subject, kind, resource, &actions, &sources, decision]);
            }
        }
    }
    let json: Vec<Value> = all.iter().map(|acl| json_of(|bytes| acl.write(bytes))).collect();
    out.say(text, json.into())
}

/// Copies policies from one broker to another; those of subjects that have some there are changed.
#[derive(clap::Args)]
pub(crate) struct CopyAcl {
    /// From, host:port
    #[arg(short = 'f', long = "fromBroker", value_name = "ADDR")]
    from_broker: String,
    /// To, host:port
    #[arg(short = 't', long = "toBroker", value_name = "ADDR")]
    to_broker: String,
    /// User:name, with commas between; without them all
    #[arg(short = 's', long = "subjects", value_name = "SUBJECTS", value_delimiter = ',')]
    subjects: Vec<String>,
}

impl Command for CopyAcl {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let (from, to) = (&self.from_broker, &self.to_broker);
        let mut all = Vec::new();
        if self.subjects.is_empty() {
            all = admin.list_acl(from, None, None).await?;
        }
        for name in self.subjects.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
            match admin.get_acl(from, name).await? {
                Some(policies) => all.push(policies),
                None => out.problem(Failure::Usage(format!("{from} has no policies of {name}"))),
            }
        }
        for acl in all {
            let subject = acl.subject.clone().unwrap_or_default();
            match admin.get_acl(to, &subject).await? {
                None => admin.create_acl(to, &acl).await?,
                Some(_) => admin.update_acl(to, &acl).await?,
            }
            out.say(
                format!("copy acl of {subject} from {from} to {to} success."),
                json!({"copied": subject, "from": from, "to": to}),
            )?;
        }
        Ok(())
    }
}
