//! One broker: its figures and its configuration.

use std::collections::BTreeMap;

use daemon::properties_file;
use proto::body::KvTable;
use proto::code::request;

use super::{AdminError, DefaultMqAdminExt};
use crate::ClientError;

impl DefaultMqAdminExt {
    /// GET_BROKER_RUNTIME_INFO (28): figures by name.
    pub async fn fetch_broker_runtime_stats(&self, addr: &str) -> Result<KvTable, AdminError> {
        let request = self.request(request::GET_BROKER_RUNTIME_INFO, &[]);
        self.ask_broker(addr, &request).await?.body(KvTable::read)
    }

    /// GET_BROKER_CONFIG (26): configuration by key. Never asked at the VIP port, as in Java.
    pub async fn get_broker_config(
        &self,
        addr: &str,
    ) -> Result<BTreeMap<String, String>, AdminError> {
        let told = self.ask(addr, &self.request(request::GET_BROKER_CONFIG, &[])).await?;
        told.read(|answer| properties(&answer.body))
    }
}

/// A body in Java's properties syntax; of a repeated key the last counts.
fn properties(body: &[u8]) -> Result<BTreeMap<String, String>, ClientError> {
    let text = properties_file::text_of(body);
    let entries = properties_file::entries(&text).map_err(|bad| {
        let reason = bad.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        ClientError::Json { reason, text: text.chars().take(400).collect() }
    })?;
    Ok(entries.into_iter().map(|entry| (entry.key, entry.value)).collect())
}
