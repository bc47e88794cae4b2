//! A table body written in pieces that are kept and put together again: the beginning with the version, entries in any
//! order, the end. What comes out is what [`super::TopicConfigTable`] and [`super::SubscriptionGroupTable`] write, but
//! for the order of the entries, which no reader looks at.

use super::DataVersion;
use super::writer::{Dialect, text};

/// Appends all that stands before the entries of the table that is the member `table` of a body.
pub fn begin_table(out: &mut Vec<u8>, version: &DataVersion, table: &str) {
    out.extend_from_slice(b"{\"dataVersion\":");
    version.write(out);
    out.push(b',');
    text(out, table, Dialect::Fastjson);
    out.extend_from_slice(b":{");
}

/// Appends a comma and one entry. The comma of the first entry has to be left out by who puts the pieces together.
pub fn table_entry(out: &mut Vec<u8>, name: &str, write_value: impl FnOnce(&mut Vec<u8>)) {
    out.push(b',');
    text(out, name, Dialect::Fastjson);
    out.push(b':');
    write_value(out);
}

/// What stands behind the entries.
pub const TABLE_END: &[u8] = b"}}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{TopicConfig, TopicConfigTable};

    #[test]
    fn pieces_make_the_body_that_is_written_whole() {
        let data_version = DataVersion { timestamp: 7, counter: 9 };
        let mut whole = TopicConfigTable { data_version, ..TopicConfigTable::default() };
        for name in ["a", "b%c", "with \"quotes\""] {
            let config = TopicConfig { topic_name: name.to_owned(), ..TopicConfig::default() };
            whole.topic_config_table.insert(name.to_owned(), config);
        }
        let mut entries = Vec::new();
        for (name, config) in &whole.topic_config_table {
            table_entry(&mut entries, name, |out| config.write(out));
        }
        let mut pieces = Vec::new();
        begin_table(&mut pieces, &data_version, "topicConfigTable");
        pieces.extend_from_slice(&entries[1..]);
        pieces.extend_from_slice(TABLE_END);
        let mut expected = Vec::new();
        whole.write(&mut expected);
        assert_eq!(String::from_utf8(pieces), String::from_utf8(expected));
    }
}
