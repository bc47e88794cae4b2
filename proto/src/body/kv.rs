//! `KVTable`: texts by name, such as a broker's runtime information (28) or a namespace of the name server (219).

use std::collections::BTreeMap;

use super::fields::TABLE_BODY_BYTES_MAX;
use super::member::body;

body! {
    /// Texts by name. Source: Apache RocketMQ 4.9.8, `KVTable`.
    #[derive(Eq)]
    KvTable("body", TABLE_BODY_BYTES_MAX) {
        /// Name to text.
        table: BTreeMap<String, String> = "table",
    }
}
