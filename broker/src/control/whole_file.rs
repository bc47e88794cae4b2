//! The content of `topics.json` or `subscriptionGroup.json`, encoded bucket by bucket for [`super::metadata_store`].

use super::shared_table::{BUCKETS, SharedTable, entries};
use proto::body::{DataVersion, pieces};
use std::collections::BTreeSet;

/// The content of a file, to be encoded.
pub(super) struct WholeFile<V> {
    /// The table.
    pub table: SharedTable<V>,
    /// Its version.
    pub version: DataVersion,
    /// Names that shards have yet to drop.
    pub deleted: BTreeSet<String>,
    /// Names of both members.
    pub members: [&'static str; 2],
    /// Appends a value.
    pub write: fn(&V, &mut Vec<u8>),
}

impl<V> WholeFile<V> {
    /// The JSON. `pause` is made between buckets.
    pub(super) async fn encode(&self, pause: &impl AsyncFn()) -> Vec<u8> {
        let [deleted_member, table_member] = self.members;
        let mut out = Vec::new();
        let deleted = self.deleted.iter().map(String::as_str);
        pieces::begin_file(&mut out, &self.version, (deleted_member, deleted), table_member);
        let first = out.len();
        for index in 0..BUCKETS {
            for (name, value) in entries(self.table.bucket(index)) {
                pieces::table_entry(&mut out, name, |out| (self.write)(value, out));
                if out.get(first) == Some(&b',') {
                    out.remove(first);
                }
            }
            pause().await;
        }
        out.extend_from_slice(pieces::TABLE_END);
        out
    }
}
