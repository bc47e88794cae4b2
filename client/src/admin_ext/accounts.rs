//! Access control of 4.9: the accounts in the files of a broker (50 to 53).

use std::collections::BTreeMap;

use proto::body::DataVersion;
use proto::code::request;
use serde_json::Value;

use super::{AdminError, DefaultMqAdminExt};
use crate::ClientError;

/// An account, or what shall change of one. Source: Apache RocketMQ 4.9.8, `PlainAccessConfig`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlainAccessConfig {
    /// Name of the account.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// Addresses that need no signature.
    pub white_remote_address: Option<String>,
    /// It may administer.
    pub admin: bool,
    /// What it may do with topics that are not listed.
    pub default_topic_perm: Option<String>,
    /// What it may do with groups that are not listed.
    pub default_group_perm: Option<String>,
    /// `topic=PUB|SUB`.
    pub topic_perms: Vec<String>,
    /// `group=SUB`.
    pub group_perms: Vec<String>,
}

/// Versions of a broker's files of accounts. Source: Apache RocketMQ 4.9.8, `ClusterAclVersionInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterAclVersionInfo {
    /// Cluster.
    pub cluster_name: String,
    /// Broker.
    pub broker_name: String,
    /// Its address.
    pub broker_addr: String,
    /// Path of a file to its version.
    pub all_acl_config_data_version: BTreeMap<String, DataVersion>,
}

impl DefaultMqAdminExt {
    /// UPDATE_AND_CREATE_ACL_CONFIG (50) at a broker.
    pub async fn create_and_update_plain_access_config(
        &self,
        addr: &str,
        config: &PlainAccessConfig,
    ) -> Result<(), AdminError> {
        let (topics, groups) = (config.topic_perms.join(","), config.group_perms.join(","));
        let given = |list: &[String]| !list.is_empty();
        let optional = [
            ("whiteRemoteAddress", config.white_remote_address.as_deref()),
            ("defaultTopicPerm", config.default_topic_perm.as_deref()),
            ("defaultGroupPerm", config.default_group_perm.as_deref()),
            ("topicPerms", given(&config.topic_perms).then_some(topics.as_str())),
            ("groupPerms", given(&config.group_perms).then_some(groups.as_str())),
        ];
        let mut ext = vec![
            ("accessKey", config.access_key.as_str().into()),
            ("secretKey", config.secret_key.as_str().into()),
            ("admin", config.admin.into()),
        ];
        ext.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?.into()))));
        let request = self.request(request::UPDATE_AND_CREATE_ACL_CONFIG, &ext);
        self.ask_broker(addr, &request).await?.success().map(drop)
    }

    /// DELETE_ACL_CONFIG (51) at a broker.
    pub async fn delete_plain_access_config(
        &self,
        addr: &str,
        access_key: &str,
    ) -> Result<(), AdminError> {
        let ext = [("accessKey", access_key.into())];
        let request = self.request(request::DELETE_ACL_CONFIG, &ext);
        self.ask_broker(addr, &request).await?.success().map(drop)
    }

    /// UPDATE_GLOBAL_WHITE_ADDRS_CONFIG (53) at a broker: takes the place of the list in this file, by default the main one.
    pub async fn update_global_white_addr_config(
        &self,
        addr: &str,
        addresses: &str,
        file: Option<&str>,
    ) -> Result<(), AdminError> {
        let ext = [
            ("globalWhiteAddrs", addresses.into()),
            ("aclFileFullPath", file.unwrap_or_default().into()),
        ];
        let request = self.request(request::UPDATE_GLOBAL_WHITE_ADDRS_CONFIG, &ext);
        self.ask_broker(addr, &request).await?.success().map(drop)
    }

    /// GET_BROKER_CLUSTER_ACL_INFO (52): versions of a broker's files of accounts.
    pub async fn examine_broker_cluster_acl_version_info(
        &self,
        addr: &str,
    ) -> Result<ClusterAclVersionInfo, AdminError> {
        let request = self.request(request::GET_BROKER_CLUSTER_ACL_INFO, &[]);
        self.ask_broker(addr, &request).await?.read(|answer| {
            let field = |name: &str| answer.ext(name).unwrap_or_default().to_owned();
            Ok(ClusterAclVersionInfo {
                cluster_name: field("clusterName"),
                broker_name: field("brokerName"),
                broker_addr: field("brokerAddr"),
                all_acl_config_data_version: versions(&field("allAclFileVersion"))?,
            })
        })
    }
}

/// `{"path":{"counter":1,"timestamp":2}}`.
fn versions(text: &str) -> Result<BTreeMap<String, DataVersion>, ClientError> {
    let bad = |reason: String| ClientError::Json { reason, text: text.chars().take(400).collect() };
    if text.is_empty() {
        return Ok(BTreeMap::new());
    }
    let files: BTreeMap<String, Value> =
        serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
    let version = |value: &Value| DataVersion::read(value.to_string().as_bytes());
    let read = files.iter().map(|(path, value)| Ok((path.clone(), version(value)?)));
    read.collect::<Result<_, proto::body::BodyError>>().map_err(|error| bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_by_file() {
        let text = r#"{"/conf/plain_acl.yml":{"counter":3,"stateVersion":0,"timestamp":7}}"#;
        let read = versions(text).expect("as brokers write it");
        assert_eq!(read["/conf/plain_acl.yml"], DataVersion { counter: 3, timestamp: 7 });
        assert!(versions("").expect("none").is_empty());
        assert!(versions("[]").is_err());
    }
}
