//! The key-value table of a name server: operators' values by namespace, foremost the order-topic configuration.
//!
//! A plain table; [`crate::handle`] changes it and the shell keeps it on disk in the shape of Java's `kvConfig.json`
//! (`{"configTable":{namespace:{key:value}}}`). A namespace that lost its last key stays, empty, as in Java: brokers forget
//! which topics are ordered only when they are sent a table without them. It goes when a put needs its room.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Namespace whose entries (`topic` -> `broker-a:4;broker-b:4`) are sent to brokers and clients.
pub const ORDER_TOPIC_NAMESPACE: &str = "ORDER_TOPIC_CONFIG";
/// Most bytes of all names of namespaces, keys and values; a put beyond is refused.
pub const KV_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Why a file is not a KV table.
#[derive(Debug, thiserror::Error)]
#[error("not a KV configuration: {0}")]
pub struct KvFormatError(String);

/// Why a value was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvPutError {
    /// Namespace or key is empty.
    #[error("namespace or key is empty")]
    Empty,
    /// [`KV_BYTES_MAX`] would be exceeded.
    #[error("the KV table holds {known} bytes; {wanted} more exceed its limit of {limit}")]
    Full {
        /// Bytes held now.
        known: usize,
        /// Bytes of this put.
        wanted: usize,
        /// The limit.
        limit: usize,
    },
}

/// Values by namespace and key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvConfig {
    table: BTreeMap<String, BTreeMap<String, String>>,
    /// Sum of the lengths of names, keys and values, for the limit.
    bytes: usize,
    /// Grows with each change; shows the shell what is on disk.
    generation: u64,
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    #[serde(rename = "configTable", default)]
    config_table: BTreeMap<String, BTreeMap<String, String>>,
}

impl KvConfig {
    /// Reads the file's content. `None`: there is nothing but blanks.
    pub fn read(bytes: &[u8]) -> Result<Option<KvConfig>, KvFormatError> {
        if bytes.trim_ascii().is_empty() {
            return Ok(None);
        }
        let strict = proto::fastjson::to_strict(bytes).map_err(|e| KvFormatError(e.to_string()))?;
        let on_disk: OnDisk =
            serde_json::from_slice(&strict).map_err(|e| KvFormatError(e.to_string()))?;
        let table = on_disk.config_table;
        let bytes = table.iter().map(|(name, entries)| name.len() + bytes_of(entries)).sum();
        Ok(Some(KvConfig { table, bytes, generation: 0 }))
    }

    /// The file's content: pretty-printed, because operators read it.
    pub fn to_file(&self) -> Vec<u8> {
        let on_disk = OnDisk { config_table: self.table.clone() };
        serde_json::to_vec_pretty(&on_disk).expect("maps of text are always representable")
    }

    /// Counts changes since this process started; equal generations mean equal tables.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Sets a value (`PUT_KV_CONFIG`, 100).
    pub fn put(&mut self, namespace: &str, key: &str, value: &str) -> Result<(), KvPutError> {
        if namespace.is_empty() || key.is_empty() {
            return Err(KvPutError::Empty);
        }
        let of_name = if self.table.contains_key(namespace) { 0 } else { namespace.len() };
        let wanted = of_name + key.len() + value.len();
        if self.bytes + wanted > KV_BYTES_MAX {
            let known = self.bytes - self.empty_bytes(namespace);
            if known + wanted > KV_BYTES_MAX {
                return Err(KvPutError::Full { known, wanted, limit: KV_BYTES_MAX });
            }
            self.table.retain(|name, entries| !entries.is_empty() || name == namespace);
            self.bytes = known;
        }
        let entries = self.table.entry(namespace.to_owned()).or_default();
        if let Some(old) = entries.insert(key.to_owned(), value.to_owned()) {
            self.bytes -= key.len() + old.len();
        }
        self.bytes += wanted;
        self.generation += 1;
        Ok(())
    }

    /// One value (`GET_KV_CONFIG`, 101).
    pub fn get(&self, namespace: &str, key: &str) -> Option<&str> {
        self.table.get(namespace)?.get(key).map(String::as_str)
    }

    /// Removes a value (`DELETE_KV_CONFIG`, 102). Nothing there is no error.
    pub fn remove(&mut self, namespace: &str, key: &str) {
        let entries = self.table.get_mut(namespace);
        if let Some(old) = entries.and_then(|entries| entries.remove(key)) {
            self.bytes -= key.len() + old.len();
            self.generation += 1;
        }
    }

    /// What namespaces without keys take up, all but one.
    fn empty_bytes(&self, but: &str) -> usize {
        let empty = self.table.iter().filter(|(name, entries)| entries.is_empty() && *name != but);
        empty.map(|(name, _)| name.len()).sum()
    }

    /// All values of a namespace (`GET_KVLIST_BY_NAMESPACE`, 219).
    pub fn namespace(&self, namespace: &str) -> Option<&BTreeMap<String, String>> {
        self.table.get(namespace)
    }
}

fn bytes_of(entries: &BTreeMap<String, String>) -> usize {
    entries.iter().map(|(key, value)| key.len() + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Put, overwrite, remove; what is written is read back, an empty namespace with it.
    #[test]
    fn a_table_survives_its_file() {
        let mut kv = KvConfig::default();
        kv.put(ORDER_TOPIC_NAMESPACE, "orders", "broker-a:4").unwrap();
        kv.put(ORDER_TOPIC_NAMESPACE, "orders", "broker-a:4;broker-b:4").unwrap();
        kv.put("other", "ü", "").unwrap();
        assert_eq!(kv.generation(), 3);
        let again = KvConfig::read(&kv.to_file()).unwrap().unwrap();
        assert_eq!((&again.table, again.bytes), (&kv.table, kv.bytes));
        kv.remove("other", "ü");
        kv.remove("other", "ü");
        kv.remove("nowhere", "x");
        assert_eq!(kv.generation(), 4);
        assert_eq!(kv.namespace("other"), Some(&BTreeMap::new()));
        assert_eq!((kv.get("other", "ü"), kv.namespace("nowhere")), (None, None));
        assert_eq!(kv.get(ORDER_TOPIC_NAMESPACE, "orders"), Some("broker-a:4;broker-b:4"));
        kv.remove(ORDER_TOPIC_NAMESPACE, "orders");
        let again = KvConfig::read(&kv.to_file()).unwrap().unwrap();
        assert_eq!((&again.table, again.bytes), (&kv.table, kv.bytes));
        assert_eq!(again.namespace(ORDER_TOPIC_NAMESPACE), Some(&BTreeMap::new()));
        assert_eq!(kv.bytes, ORDER_TOPIC_NAMESPACE.len() + "other".len());
    }

    #[test]
    fn reads_javas_files_and_refuses_others() {
        let java = b"{\n\t\"configTable\":{\n\t\t\"ORDER_TOPIC_CONFIG\":{\n\t\t\t\"t\":\"b:4\"\n\t\t}\n\t}\n}";
        let java = KvConfig::read(java).unwrap().unwrap();
        assert_eq!(java.get("ORDER_TOPIC_CONFIG", "t"), Some("b:4"));
        assert_eq!(KvConfig::read(b" \n").unwrap(), None);
        assert_eq!(KvConfig::read(b"{}").unwrap(), Some(KvConfig::default()));
        assert!(KvConfig::read(b"{\"configTable\":[1]}").is_err());
        assert!(KvConfig::read(b"\x00\x01").is_err());
    }

    #[test]
    fn refuses_what_it_cannot_hold() {
        let mut kv = KvConfig::default();
        assert_eq!(kv.put("", "k", "v"), Err(KvPutError::Empty));
        let big = "x".repeat(KV_BYTES_MAX);
        assert!(matches!(kv.put("n", "k", &big), Err(KvPutError::Full { .. })));
        assert_eq!(kv, KvConfig::default());
        assert!(matches!(kv.put(&big, "k", "v"), Err(KvPutError::Full { .. })));
    }

    #[test]
    fn empty_namespaces_make_room() {
        let mut kv = KvConfig::default();
        let long = "n".repeat(KV_BYTES_MAX / 2);
        for name in [&*long, "kept", "n"] {
            kv.put(name, "k", "v").unwrap();
        }
        kv.remove(&long, "k");
        kv.remove("n", "k");
        assert!(kv.namespace(&long).is_some(), "as long as there is room");
        kv.put("n", "k", &long).unwrap();
        assert!(kv.namespace(&long).is_none() && kv.get("kept", "k").is_some());
        assert_eq!(kv.bytes, "kept".len() + 2 + "n".len() + 1 + long.len());
        kv.remove("n", "k");
        kv.remove("kept", "k");
        assert_eq!(kv.bytes, "kept".len() + "n".len());
    }
}
