//! Controllers of Java's 5.x clusters, which choose masters: who leads them, whom they count as in sync, their configuration.
//! What changes something goes to the leader, which any of them names.

use std::collections::BTreeMap;

use proto::body::{BrokerMemberGroup, BrokerReplicasInfo};
use proto::code::{request, response};
use proto::command::ExtValue;

use super::{AdminError, DefaultMqAdminExt};
use crate::send::now_ms;

/// What a controller knows of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerMetaData {
    /// Name of the group.
    pub group: Option<String>,
    /// Id of the leader.
    pub leader_id: Option<String>,
    /// Address of the leader.
    pub leader_addr: Option<String>,
    /// All controllers.
    pub peers: Vec<String>,
}

/// What an election brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// Address of the master.
    pub master_addr: Option<String>,
    /// How many masters there have been.
    pub master_epoch: Option<String>,
    /// How often the set of replicas in sync has changed.
    pub sync_state_set_epoch: Option<String>,
    /// The brokers of this name.
    pub members: BrokerMemberGroup,
}

/// Which brokers a controller is to forget.
#[derive(Clone, Copy, Debug)]
pub struct BrokersToClean<'a> {
    /// Their cluster; needed unless they live.
    pub cluster: Option<&'a str>,
    /// Their name.
    pub broker_name: &'a str,
    /// Their ids, `1;2;3`; without them all of the name.
    pub ids: Option<&'a str>,
    /// Those that live, too.
    pub living: bool,
}

impl DefaultMqAdminExt {
    /// CONTROLLER_GET_METADATA_INFO (1005).
    pub async fn get_controller_meta_data(
        &self,
        addr: &str,
    ) -> Result<ControllerMetaData, AdminError> {
        let request = self.request(request::CONTROLLER_GET_METADATA_INFO, &[]);
        let answer = self.ask(addr, &request).await?.success()?.answer;
        let text = |name: &str| answer.ext(name).map(str::to_owned);
        let peers = answer.ext("peers").unwrap_or_default().split(';');
        Ok(ControllerMetaData {
            group: text("group"),
            leader_id: text("controllerLeaderId"),
            leader_addr: text("controllerLeaderAddress"),
            peers: peers.filter(|peer| !peer.is_empty()).map(str::to_owned).collect(),
        })
    }

    /// CONTROLLER_GET_SYNC_STATE_DATA (1006) of the leader: which replicas of these brokers are in sync.
    pub async fn get_in_sync_state_data(
        &self,
        controller: &str,
        broker_names: &[String],
    ) -> Result<BrokerReplicasInfo, AdminError> {
        let leader = self.controller_leader(controller).await?;
        let body = serde_json::Value::from(broker_names).to_string();
        let mut request = self.request(request::CONTROLLER_GET_SYNC_STATE_DATA, &[]);
        request.body = body.as_bytes();
        self.ask(&leader, &request).await?.body(BrokerReplicasInfo::read)
    }

    /// GET_CONTROLLER_CONFIG (1010): configuration by key.
    pub async fn get_controller_config(
        &self,
        addr: &str,
    ) -> Result<BTreeMap<String, String>, AdminError> {
        self.config_of(addr, request::GET_CONTROLLER_CONFIG).await
    }

    /// UPDATE_CONTROLLER_CONFIG (1009): a new value of a key.
    pub async fn update_controller_config(
        &self,
        addr: &str,
        key: &str,
        value: &str,
    ) -> Result<(), AdminError> {
        self.set_property(addr, request::UPDATE_CONTROLLER_CONFIG, (key, value)).await
    }

    /// CONTROLLER_ELECT_MASTER (1002) at the leader: this broker is to become the master.
    pub async fn elect_master(
        &self,
        controller: &str,
        cluster: &str,
        broker_name: &str,
        broker_id: i64,
    ) -> Result<Election, AdminError> {
        let leader = self.controller_leader(controller).await?;
        let ext = [
            ("clusterName", cluster.into()),
            ("brokerName", broker_name.into()),
            ("brokerId", broker_id.into()),
            ("designateElect", true.into()),
            ("invokeTime", now_ms().into()),
        ];
        let request = self.request(request::CONTROLLER_ELECT_MASTER, &ext);
        let told = self.ask(&leader, &request).await?.success()?;
        let text = |name: &str| told.answer.ext(name).map(str::to_owned);
        let (master_addr, master_epoch) = (text("masterAddress"), text("masterEpoch"));
        let sync_state_set_epoch = text("syncStateSetEpoch");
        let members = match told.answer.body.is_empty() {
            true => BrokerMemberGroup::default(),
            false => told.body(BrokerMemberGroup::read)?,
        };
        Ok(Election { master_addr, master_epoch, sync_state_set_epoch, members })
    }

    /// CLEAN_BROKER_DATA (1011) at the leader: it forgets these brokers.
    pub async fn clean_controller_broker_data(
        &self,
        controller: &str,
        brokers: &BrokersToClean<'_>,
    ) -> Result<(), AdminError> {
        let leader = self.controller_leader(controller).await?;
        let mut ext: Vec<(&str, ExtValue<'_>)> = vec![
            ("brokerName", brokers.broker_name.into()),
            ("isCleanLivingBroker", brokers.living.into()),
            ("invokeTime", now_ms().into()),
        ];
        ext.extend(brokers.cluster.map(|cluster| ("clusterName", cluster.into())));
        ext.extend(brokers.ids.map(|ids| ("brokerControllerIdsToClean", ids.into())));
        let request = self.request(request::CLEAN_BROKER_DATA, &ext);
        self.ask(&leader, &request).await?.success().map(drop)
    }

    async fn controller_leader(&self, controller: &str) -> Result<String, AdminError> {
        let known = self.get_controller_meta_data(controller).await?;
        known.leader_addr.filter(|addr| !addr.is_empty()).ok_or_else(|| AdminError::NotFound {
            what: format!("controller {controller} knows no leader"),
            code: response::CONTROLLER_NOT_LEADER,
        })
    }
}
