//! `drain`: takes a broker out of the routes of producers and waits until its consumers have finished. A command of ours.

use std::time::{Duration, Instant};

use client::DefaultMqAdminExt;
use proto::code::response;
use serde_json::Value;

use crate::{Command, Failure, Output};

/// Between two looks at what is left.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Groups that are named in a line of progress.
const GROUPS_SHOWN: usize = 3;

/// Takes a broker out of the routes of producers while its consumers finish; then it can be stopped. A start ends it. Brokers of
/// Java's know no such request: set brokerPermission=4 with updateBrokerConfig.
#[derive(clap::Args)]
pub(crate) struct Drain {
    /// The broker
    #[arg(short = 'b', long = "brokerAddr", value_name = "ADDR")]
    broker_addr: String,
    /// Wait until everything is consumed, at most so many seconds
    #[arg(short = 'w', long = "wait", value_name = "SECONDS", conflicts_with_all = ["undo", "status"])]
    wait: Option<u64>,
    /// Put the broker back into the routes
    #[arg(long = "undo", conflicts_with = "status")]
    undo: bool,
    /// Only say what is left
    #[arg(long = "status")]
    status: bool,
}

impl Command for Drain {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let action = match (self.undo, self.status) {
            (true, _) => "stop",
            (_, true) => "status",
            _ => "start",
        };
        let began = Instant::now();
        let patience = Duration::from_secs(self.wait.unwrap_or(0));
        let mut left = self.ask(admin, action).await?;
        loop {
            let over = began.elapsed() >= patience || left["drained"] == Value::Bool(true);
            out.say(text(&self.broker_addr, &left), left.clone())?;
            if over {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN.min(patience)).await;
            left = self.ask(admin, "status").await?;
        }
        if self.wait.is_some() && left["drained"] != Value::Bool(true) {
            out.found_problem();
        }
        Ok(())
    }
}

impl Drain {
    async fn ask(&self, admin: &DefaultMqAdminExt, action: &str) -> Result<Value, Failure> {
        let addr = &self.broker_addr;
        admin.drain_broker(addr, action).await.map_err(|error| match error.code() {
            Some(response::REQUEST_CODE_NOT_SUPPORTED) => Failure::Usage(format!(
                "{addr} cannot be drained so: it is no RingMQ broker, or an older one; use updateBrokerConfig -b {addr} -k \
                 brokerPermission -v 4"
            )),
            _ => error.into(),
        })
    }
}

fn text(addr: &str, left: &Value) -> String {
    let number = |name: &str| left[name].as_u64().unwrap_or(0);
    let state = match (left["draining"].as_bool(), left["drained"].as_bool()) {
        (Some(true), Some(true)) => "drained",
        (Some(true), _) => "draining",
        _ => "not draining",
    };
    let mut text = format!(
        "{addr} {state}: {} messages, {} delayed, {} half messages are left",
        number("messages"),
        number("delayed"),
        number("halfMessages")
    );
    let groups = left["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (online, offline): (Vec<&Value>, Vec<&Value>) =
        groups.iter().partition(|group| group["online"] == Value::Bool(true));
    for (groups, what) in
        [(online, "behind"), (offline, "behind and without members, not waited for")]
    {
        if groups.is_empty() {
            continue;
        }
        let named = groups.iter().take(GROUPS_SHOWN).map(|group| {
            let text = |name: &str| group[name].as_str().unwrap_or_default().to_owned();
            format!("{} on {} ({})", text("group"), text("topic"), group["messages"])
        });
        let named: Vec<String> = named.collect();
        let more = match groups.len().saturating_sub(GROUPS_SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        text.push_str(&format!("; {what}: {}{more}", named.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_left_is_told_in_a_line() {
        let group = |name: &str, online: bool| json!({ "group": name, "topic": "t", "messages": 5, "online": online });
        let left = json!({
            "draining": true, "drained": false, "messages": 5, "delayed": 1, "halfMessages": 0,
            "groups": [group("a", true), group("b", false)],
        });
        assert_eq!(
            text("host:1", &left),
            "host:1 draining: 5 messages, 1 delayed, 0 half messages are left; behind: a on t (5); behind and without \
             members, not waited for: b on t (5)"
        );
    }
}
