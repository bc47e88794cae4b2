//! Replication and cold reads of a Java broker of 5.x: what it tells of its replicas and epochs, limits of cold reads.
//! Brokers that have none of this refuse, and say so.

use proto::body::{EpochCache, HaRuntimeInfo};
use proto::code::request;

use super::{AdminError, DefaultMqAdminExt};

impl DefaultMqAdminExt {
    /// GET_BROKER_HA_STATUS (907): the slaves of a master, or how far a slave is.
    pub async fn get_broker_ha_status(&self, addr: &str) -> Result<HaRuntimeInfo, AdminError> {
        let request = self.request(request::GET_BROKER_HA_STATUS, &[]);
        self.ask(addr, &request).await?.body(HaRuntimeInfo::read)
    }

    /// GET_BROKER_EPOCH_CACHE (1007): which master wrote which part of the log.
    pub async fn get_broker_epoch_cache(&self, addr: &str) -> Result<EpochCache, AdminError> {
        let request = self.request(request::GET_BROKER_EPOCH_CACHE, &[]);
        self.ask(addr, &request).await?.body(EpochCache::read)
    }

    /// RESET_MASTER_FLUSH_OFFSET (908) at a slave: up to where it takes its master's log to be on disk.
    pub async fn reset_master_flush_offset(
        &self,
        addr: &str,
        offset: i64,
    ) -> Result<(), AdminError> {
        let ext = [("masterFlushOffset", offset.into())];
        let request = self.request(request::RESET_MASTER_FLUSH_OFFSET, &ext);
        self.ask(addr, &request).await?.success().map(drop)
    }

    /// GET_COLD_DATA_FLOW_CTR_INFO (2003): groups that read cold data and their limits, JSON; `None` when there are none.
    pub async fn get_cold_data_flow_ctr_info(
        &self,
        addr: &str,
    ) -> Result<Option<serde_json::Value>, AdminError> {
        let request = self.request(request::GET_COLD_DATA_FLOW_CTR_INFO, &[]);
        let told = self.ask(addr, &request).await?;
        told.read(|answer| match answer.body.is_empty() {
            true => Ok(None),
            false => answer.json().map(Some),
        })
    }

    /// UPDATE_COLD_DATA_FLOW_CTR_CONFIG (2001): bytes of cold data that a group may read in a time.
    pub async fn update_cold_data_flow_ctr_group_config(
        &self,
        addr: &str,
        group: &str,
        threshold: &str,
    ) -> Result<(), AdminError> {
        let code = request::UPDATE_COLD_DATA_FLOW_CTR_CONFIG;
        self.set_property(&self.at_broker(addr), code, (group, threshold)).await
    }

    /// REMOVE_COLD_DATA_FLOW_CTR_CONFIG (2002): the group has no limit of its own any more.
    pub async fn remove_cold_data_flow_ctr_group_config(
        &self,
        addr: &str,
        group: &str,
    ) -> Result<(), AdminError> {
        let mut request = self.request(request::REMOVE_COLD_DATA_FLOW_CTR_CONFIG, &[]);
        request.body = group.as_bytes();
        self.ask_broker(addr, &request).await?.success().map(drop)
    }
}
