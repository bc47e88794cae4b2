//! A table body written in pieces that are kept and put together again: the beginning with the version, entries in any
//! order, the end. What comes out is what [`super::TopicConfigTable`] and [`super::SubscriptionGroupTable`] write, but
//! for the order of the entries, which no reader looks at.

use super::DataVersion;
use super::writer::{Dialect, text};

/// Appends all that stands before the entries of the table that is the member `table` of a body.
pub fn begin_table(out: &mut Vec<u8>, version: &DataVersion, table: &str) {
    begin_file(out, version, ("", std::iter::empty()), table);
}

/// The same for our own file, which also lists names that were deleted, if there are any, as the member before the table.
pub fn begin_file<'a>(
    out: &mut Vec<u8>,
    version: &DataVersion,
    (member, deleted): (&str, impl Iterator<Item = &'a str>),
    table: &str,
) {
    out.extend_from_slice(b"{\"dataVersion\":");
    version.write(out);
    out.push(b',');
    let mut deleted = deleted.peekable();
    if deleted.peek().is_some() {
        text(out, member, Dialect::Fastjson);
        out.extend_from_slice(b":[");
        while let Some(name) = deleted.next() {
            text(out, name, Dialect::Fastjson);
            if deleted.peek().is_some() {
                out.push(b',');
            }
        }
        out.extend_from_slice(b"],");
    }
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

        whole.deleted_topics = vec!["x".to_owned(), "y".to_owned()];
        let mut file = Vec::new();
        let names = whole.deleted_topics.iter().map(String::as_str);
        begin_file(&mut file, &data_version, ("deletedTopics", names), "topicConfigTable");
        file.extend_from_slice(&entries[1..]);
        file.extend_from_slice(TABLE_END);
        let mut expected = Vec::new();
        whole.write(&mut expected);
        assert_eq!(String::from_utf8(file), String::from_utf8(expected));
    }
}
