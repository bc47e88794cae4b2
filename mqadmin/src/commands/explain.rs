//! `explain`: whether somebody may do something, and which rule says so. A command of ours.

use client::DefaultMqAdminExt;
use client::admin_ext::AccessQuestion;
use proto::code::response;
use serde_json::json;

use crate::target::Target;
use crate::{Command, Failure, Output};

/// Asks brokers whether an account may do something and which rule decides it. Nothing is changed. Brokers of Java's know no
/// such question.
#[derive(clap::Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    target: Target,
    /// User, or access key
    #[arg(short = 'u', long = "user", value_name = "USER")]
    user: String,
    /// With this topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC", conflicts_with = "group")]
    topic: Option<String>,
    /// With this consumer group; without topic and group: with the cluster
    #[arg(short = 'g', long = "group", value_name = "GROUP")]
    group: Option<String>,
    /// Pub, Sub, Create, Update, Delete, Get, List
    #[arg(short = 'a', long = "action", value_name = "ACTION")]
    action: String,
    /// From this address
    #[arg(short = 'i', long = "sourceIp", value_name = "ADDR")]
    source_ip: Option<String>,
}

impl Command for Explain {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let question = AccessQuestion {
            user: &self.user,
            topic: self.topic.as_deref(),
            group: self.group.as_deref(),
            action: &self.action,
            source_ip: self.source_ip.as_deref(),
        };
        for addr in self.target.brokers(admin).await? {
            let told = match admin.explain_access(&addr, &question).await {
                Ok(told) => told,
                Err(error) if error.code() == Some(response::REQUEST_CODE_NOT_SUPPORTED) => {
                    let reason = format!(
                        "{addr} does not explain access: it is no RingMQ broker, or an older one"
                    );
                    out.problem(Failure::Usage(reason));
                    continue;
                }
                Err(error) => {
                    out.problem(error);
                    continue;
                }
            };
            let file = told.file.as_ref().map(|file| format!(" in {file}")).unwrap_or_default();
            let text = format!("{addr} {} {} ({}{file})", told.decision, told.rule, told.reason);
            out.say(
                text,
                json!({
                    "broker": addr, "decision": told.decision, "reason": told.reason,
                    "rule": told.rule, "file": told.file,
                }),
            )?;
        }
        Ok(())
    }
}
