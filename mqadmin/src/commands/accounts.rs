//! Access control of 4.9, the accounts in files of brokers: `updateAclConfig`, `deleteAclConfig`, `updateGlobalWhiteAddr`,
//! `clusterAclConfigVersion`.

use std::fmt::Write as _;

use clap::ArgAction::Set;
use client::DefaultMqAdminExt;
use client::admin_ext::PlainAccessConfig;
use serde_json::{Value, json};

use crate::target::Target;
use crate::text::{self, boolean};
use crate::{Command, Failure, Output};

/// Creates an account, or changes what is given of it.
#[derive(clap::Args)]
pub(crate) struct UpdateAclConfig {
    #[command(flatten)]
    target: Target,
    /// The account
    #[arg(short = 'a', long = "accessKey", value_name = "KEY")]
    account: String,
    /// Its secret, more than 6 characters; also for a change
    #[arg(short = 's', long = "secretKey", value_name = "SECRET")]
    secret: String,
    /// Addresses that need no signature
    #[arg(short = 'w', long = "whiteRemoteAddress", value_name = "PATTERN")]
    white_remote_address: Option<String>,
    /// For topics that are not listed: DENY, PUB, SUB, PUB|SUB
    #[arg(short = 'i', long = "defaultTopicPerm", value_name = "PERM")]
    default_topic_perm: Option<String>,
    /// For groups that are not listed
    #[arg(short = 'u', long = "defaultGroupPerm", value_name = "PERM")]
    default_group_perm: Option<String>,
    /// topic=PERM,topic=PERM
    #[arg(short = 't', long = "topicPerms", value_name = "LIST", value_delimiter = ',')]
    topic_perms: Vec<String>,
    /// group=PERM,group=PERM
    #[arg(short = 'g', long = "groupPerms", value_name = "LIST", value_delimiter = ',')]
    group_perms: Vec<String>,
    /// It may administer
    #[arg(short = 'm', long = "admin", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "false")]
    admin: bool,
}

impl Command for UpdateAclConfig {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let config = PlainAccessConfig {
            access_key: self.account.clone(),
            secret_key: self.secret.clone(),
            white_remote_address: self.white_remote_address.clone(),
            admin: self.admin,
            default_topic_perm: self.default_topic_perm.clone(),
            default_group_perm: self.default_group_perm.clone(),
            topic_perms: self.topic_perms.clone(),
            group_perms: self.group_perms.clone(),
        };
        for addr in self.target.brokers(admin).await? {
            admin.create_and_update_plain_access_config(&addr, &config).await?;
            out.say(
                format!("create or update plain access config to {addr} success."),
                json!({"broker": addr, "accessKey": config.access_key, "updated": true}),
            )?;
        }
        // Java ends with the name of an object in memory here; this says what was sent, but for the secret.
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
        out.text(&format!(
            "PlainAccessConfig [accessKey={}, whiteRemoteAddress={}, admin={}, defaultTopicPerm={}, defaultGroupPerm={}, \
             topicPerms=[{}], groupPerms=[{}]]",
            config.access_key,
            text(&config.white_remote_address),
            config.admin,
            text(&config.default_topic_perm),
            text(&config.default_group_perm),
            config.topic_perms.join(", "),
            config.group_perms.join(", ")
        ))
    }
}

/// Deletes an account.
#[derive(clap::Args)]
pub(crate) struct DeleteAclConfig {
    #[command(flatten)]
    target: Target,
    /// The account
    #[arg(short = 'a', long = "accessKey", value_name = "KEY")]
    account: String,
}

impl Command for DeleteAclConfig {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let account = &self.account;
        for addr in self.target.brokers(admin).await? {
            admin.delete_plain_access_config(&addr, account).await?;
            out.say(
                format!("delete plain access config account from {addr} success."),
                json!({"broker": addr, "accessKey": account, "deleted": true}),
            )?;
        }
        out.text(&format!("account's accesskey is:{account}"))
    }
}

/// Sets the addresses that need no signature, whatever the account: the list takes the place of the one before.
#[derive(clap::Args)]
pub(crate) struct UpdateGlobalWhiteAddr {
    #[command(flatten)]
    target: Target,
    /// Patterns, with commas between
    #[arg(short = 'g', long = "globalWhiteRemoteAddresses", value_name = "LIST")]
    addresses: String,
    /// The file of accounts on the broker; without it the main one
    #[arg(short = 'p', long = "aclFileFullPath", value_name = "FILE")]
    acl_file_full_path: Option<String>,
}

impl Command for UpdateGlobalWhiteAddr {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let (addresses, file) = (&self.addresses, self.acl_file_full_path.as_deref());
        for addr in self.target.brokers(admin).await? {
            admin.update_global_white_addr_config(&addr, addresses, file).await?;
            out.say(
                format!("update global white remote addresses to {addr} success."),
                json!({"broker": addr, "globalWhiteRemoteAddresses": addresses, "updated": true}),
            )?;
        }
        Ok(())
    }
}

/// Shows versions of the files of accounts, of a broker or of each master of a cluster.
#[derive(clap::Args)]
pub(crate) struct ClusterAclConfigVersion {
    #[command(flatten)]
    target: Target,
}

impl Command for ClusterAclConfigVersion {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let of_cluster = self.target.cluster_name.is_some();
        let mut text = String::new();
        let mut row = |fields: [&str; 6]| {
            let widths = [16, 22, 22, 20, 22, 22];
            let fields = fields.iter().zip(widths).map(|(field, width)| format!("{field:<width$}"));
            let _ = writeln!(text, "{}", fields.collect::<Vec<_>>().join("  "));
        };
        // Of one broker Java prints no heading.
        if of_cluster {
            row([
                "#Cluster Name",
                "#Broker Name",
                "#Broker Addr",
                "#AclFilePath",
                "#AclConfigVersionNum",
                "#AclLastUpdateTime",
            ]);
        }
        let mut json: Vec<Value> = Vec::new();
        for addr in self.target.masters(admin).await? {
            let info = admin.examine_broker_cluster_acl_version_info(&addr).await?;
            let (cluster, name, broker) =
                (&info.cluster_name, &info.broker_name, &info.broker_addr);
            for (path, version) in &info.all_acl_config_data_version {
                let (counter, time) =
                    (version.counter.to_string(), text::seconds(version.timestamp));
                row([cluster, name, broker, path, &counter, &time]);
                json.push(json!({
                    "clusterName": cluster, "brokerName": name, "brokerAddr": broker, "file": path,
                    "counter": version.counter, "timestamp": version.timestamp,
                }));
            }
        }
        let whose = if of_cluster { "cluster's" } else { "broker's" };
        let _ = write!(text, "get {whose} plain access config version success.");
        out.say(text, json.into())
    }
}
