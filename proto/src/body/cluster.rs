//! `ClusterInfo` (`GET_BROKER_CLUSTER_INFO`, 106): all brokers a name server knows.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::{Fields, TABLE_BODY_BYTES_MAX, parse, text, text_key};
use super::route::Flavour;
use super::writer::object;
use super::{BodyError, BrokerData};

/// Brokers and clusters. Source: Apache RocketMQ 4.9.8, `ClusterInfo`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterInfo {
    /// Broker name to broker.
    pub broker_addr_table: BTreeMap<String, BrokerData>,
    /// Cluster name to broker names.
    pub cluster_addr_table: BTreeMap<String, Vec<String>>,
}

impl ClusterInfo {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let value = parse(bytes, TABLE_BODY_BYTES_MAX)?;
        let fields = Fields::of(&value, "body")?;
        Ok(ClusterInfo {
            broker_addr_table: fields.table("brokerAddrTable", text_key, BrokerData::from_value)?,
            cluster_addr_table: fields.table("clusterAddrTable", text_key, names)?,
        })
    }

    /// Appends the body, always in the default flavour.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, |members| {
            members.object("brokerAddrTable", |members| {
                for (name, broker) in &self.broker_addr_table {
                    members.object(name, |members| broker.members(members, Flavour::Default));
                }
            });
            members.object("clusterAddrTable", |members| {
                for (name, brokers) in &self.cluster_addr_table {
                    members.texts(name, brokers);
                }
            });
        });
    }
}

fn names(value: &Value) -> Result<Vec<String>, BodyError> {
    let Value::Array(values) = value else {
        return Err(BodyError::Member { name: "clusterAddrTable", expected: "a list" });
    };
    values.iter().map(|value| text(value, "clusterAddrTable")).collect()
}
