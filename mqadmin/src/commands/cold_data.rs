//! Limits of Java's 5.x brokers for groups that read old messages: `getColdDataFlowCtrInfo`,
//! `updateColdDataFlowCtrGroupConfig`, `removeColdDataFlowCtrGroupConfig`.

use client::DefaultMqAdminExt;
use serde_json::{Value, json};

use super::broker::with_roles;
use crate::target::Target;
use crate::text::seconds;
use crate::{Command, Failure, Output, fastjson_pretty};

/// Times of a group, and the names under which they are shown as text.
const TIMES: [(&str, &str); 2] =
    [("lastColdReadTimeMills", "lastColdReadTimeFormat"), ("createTimeMills", "createTimeFormat")];

/// Shows which groups read old messages, and their limits.
#[derive(clap::Args)]
pub(crate) struct GetColdDataFlowCtrInfo {
    #[command(flatten)]
    target: Target,
}

impl Command for GetColdDataFlowCtrInfo {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        for (addr, role) in with_roles(&self.target, admin).await? {
            let banner = role.banner(&addr);
            let json = |info: &Option<Value>| json!({ "addr": addr, "role": role, "info": info });
            match admin.get_cold_data_flow_ctr_info(&addr).await {
                Ok(info) => {
                    let text = match info.clone() {
                        Some(info) => fastjson_pretty::text(&with_times(info)),
                        None => format!("Broker[{addr}] has no cold ctr table !"),
                    };
                    out.say(format!(" {banner}\n{text}"), json(&info))?;
                }
                Err(error) => out.problem(error),
            }
        }
        Ok(())
    }
}

/// Times of groups as text.
fn with_times(mut info: Value) -> Value {
    if let Some(Value::Object(groups)) = info.get_mut("runtimeTable") {
        for group in groups.values_mut().filter_map(Value::as_object_mut) {
            for (number, text) in TIMES {
                let ms = group.remove(number).and_then(|ms| ms.as_i64());
                group.extend(ms.map(|ms| (text.to_owned(), seconds(ms).into())));
            }
        }
    }
    info
}

/// Limits how much of old messages a group may read.
#[derive(clap::Args)]
pub(crate) struct UpdateColdDataFlowCtrGroupConfig {
    #[command(flatten)]
    target: Target,
    /// The group
    #[arg(short = 'g', long = "consumerGroup", value_name = "GROUP")]
    consumer_group: String,
    /// Bytes
    #[arg(short = 'v', long = "threshold", value_name = "BYTES", value_parser = clap::value_parser!(u64))]
    threshold: u64,
}

impl Command for UpdateColdDataFlowCtrGroupConfig {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let (group, threshold) = (&self.consumer_group, self.threshold.to_string());
        for addr in self.target.masters(admin).await? {
            match admin.update_cold_data_flow_ctr_group_config(&addr, group, &threshold).await {
                Ok(()) => out.say(
                    format!("updateColdDataFlowCtrGroupConfig success, {addr}"),
                    json!({ "addr": addr, "group": group, "threshold": self.threshold }),
                )?,
                Err(error) => out.problem(error),
            }
        }
        Ok(())
    }
}

/// Removes such a limit.
#[derive(clap::Args)]
pub(crate) struct RemoveColdDataFlowCtrGroupConfig {
    #[command(flatten)]
    target: Target,
    /// The group
    #[arg(short = 'g', long = "consumerGroup", value_name = "GROUP")]
    consumer_group: String,
}

impl Command for RemoveColdDataFlowCtrGroupConfig {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let group = &self.consumer_group;
        for addr in self.target.masters(admin).await? {
            match admin.remove_cold_data_flow_ctr_group_config(&addr, group).await {
                Ok(()) => out.say(
                    format!("remove broker cold read threshold success, {addr}"),
                    json!({ "addr": addr, "group": group }),
                )?,
                Err(error) => out.problem(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_groups_become_texts() {
        let info = json!({ "runtimeTable": { "g": { "createTimeMills": 0, "coldAcc": 5 } } });
        let group = &with_times(info)["runtimeTable"]["g"];
        assert_eq!(group["createTimeFormat"], seconds(0));
        assert!(group.get("createTimeMills").is_none());
        assert_eq!(group["coldAcc"], 5);
    }
}
