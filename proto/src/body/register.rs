//! The body of `REGISTER_BROKER` (103), plain and compressed: the topics that a broker registers with its name servers.
//!
//! Compressed: a zlib stream of length-prefixed parts, not of JSON. It loses `order` and `topicSysFlag`, in Java too.
//! Inflating stops at [`INFLATED_BYTES_MAX`]. Source: Apache RocketMQ 4.9.8 and 5.3.3, `RegisterBrokerBody`.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::fields::{TABLE_BODY_BYTES_MAX, parse};
use super::member::{Member, body};
use super::writer::{self, Dialect};
use super::{BodyError, DataVersion, TopicConfig, TopicConfigTable, TopicFilterType};
use crate::record;

/// Most bytes that a compressed body may inflate to.
pub const INFLATED_BYTES_MAX: usize = 64 << 20;

body! {
    /// Topics of a broker. Source: Apache RocketMQ 4.9.8, `RegisterBrokerBody`.
    #[derive(Eq)]
    RegisterBrokerBody("body") {
        /// Filter servers; empty nowadays.
        filter_server_list: Vec<String> = "filterServerList",
        /// The topics.
        topic_config: TopicConfigTable = "topicConfigSerializeWrapper",
    }
}

/// Read and compressed by hand: the topics are read one by one, and the compressed form is not JSON.
impl RegisterBrokerBody {
    /// Reads the body; `compressed` is the request's field of that name.
    pub fn read(bytes: &[u8], compressed: bool) -> Result<Self, BodyError> {
        if compressed { Self::read_parts(&inflate(bytes)?) } else { Self::read_plain(bytes) }
    }

    /// What `bodyCrc32` must be for a body on the wire, compressed or not; 0 there means unchecked.
    pub fn crc(bytes: &[u8]) -> u32 {
        record::body_crc(bytes)
    }

    /// Appends the plain body.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_value(out, Dialect::Fastjson);
    }

    /// Appends the compressed body, which 4.9 and 5.x name servers read.
    pub fn write_compressed(&self, out: &mut Vec<u8>) {
        let mut parts = Vec::new();
        part(&mut parts, |out| self.topic_config.data_version.write(out));
        let topics = &self.topic_config.topic_config_table;
        parts.extend_from_slice(&(topics.len() as u32).to_be_bytes());
        for topic in topics.values() {
            part(&mut parts, |out| topic_line(out, topic));
        }
        part(&mut parts, |out| self.filter_server_list.write_value(out, Dialect::Fastjson));
        let mut deflate = ZlibEncoder::new(out, Compression::best());
        let written = deflate.write_all(&parts).and_then(|()| deflate.finish().map(drop));
        assert!(written.is_ok(), "writing to memory cannot fail");
    }

    fn read_plain(bytes: &[u8]) -> Result<Self, BodyError> {
        let path = ["topicConfigSerializeWrapper", "topicConfigTable"];
        let (topics, rest) = TopicConfigTable::read_within(bytes, &path)?;
        let mut body = Self::from_value(&rest, "body")?.unwrap_or_default();
        body.topic_config.topic_config_table = topics;
        Ok(body)
    }

    /// The inflated parts. 5.x appends its static topics, which are left unread.
    fn read_parts(bytes: &[u8]) -> Result<Self, BodyError> {
        let mut parts = Parts { rest: bytes };
        let data_version = DataVersion::read(parts.next("version")?)?;
        let count = parts.length("number of topics")?;
        let mut topic_config_table = std::collections::BTreeMap::new();
        for _ in 0..count {
            let topic = read_topic_line(parts.next("topics")?)?;
            topic_config_table.insert(topic.topic_name.clone(), topic);
        }
        let servers = parse(parts.next("filter servers")?, TABLE_BODY_BYTES_MAX)?;
        let filter_server_list = match &servers {
            serde_json::Value::Null => None,
            servers => Vec::from_value(servers, "filterServerList")?,
        };
        let filter_server_list = filter_server_list.unwrap_or_default();
        let topic_config =
            TopicConfigTable { data_version, topic_config_table, ..TopicConfigTable::default() };
        Ok(RegisterBrokerBody { topic_config, filter_server_list })
    }
}

fn inflate(bytes: &[u8]) -> Result<Vec<u8>, BodyError> {
    let mut inflated = Vec::new();
    let limit = INFLATED_BYTES_MAX as u64 + 1;
    ZlibDecoder::new(bytes).take(limit).read_to_end(&mut inflated).map_err(BodyError::Inflate)?;
    if inflated.len() > INFLATED_BYTES_MAX {
        let bytes_max = INFLATED_BYTES_MAX;
        return Err(BodyError::TooLarge { bytes: inflated.len(), bytes_max });
    }
    Ok(inflated)
}

/// Writes a part behind its length word.
fn part(out: &mut Vec<u8>, inside: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    inside(out);
    let length = (out.len() - at - 4) as u32;
    let (_, written) = out.split_at_mut(at);
    if let Some(word) = written.first_chunk_mut() {
        *word = length.to_be_bytes();
    }
}

/// `name reads writes perm filter`, single spaces.
fn topic_line(out: &mut Vec<u8>, topic: &TopicConfig) {
    out.extend_from_slice(topic.topic_name.as_bytes());
    for number in [topic.read_queue_nums, topic.write_queue_nums, topic.perm] {
        out.push(b' ');
        writer::int(out, number);
    }
    out.push(b' ');
    out.extend_from_slice(topic.topic_filter_type.name().as_bytes());
}

/// Reads a topic line; 5.x adds attributes as a sixth word, which is skipped.
fn read_topic_line(line: &[u8]) -> Result<TopicConfig, BodyError> {
    let line = std::str::from_utf8(line).map_err(|_| BodyError::TopicLine)?;
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or(BodyError::TopicLine);
    let number = |word: &str| word.parse::<i32>().map_err(|_| BodyError::TopicLine);
    Ok(TopicConfig {
        topic_name: word()?.to_owned(),
        read_queue_nums: number(word()?)?,
        write_queue_nums: number(word()?)?,
        perm: number(word()?)?,
        topic_filter_type: TopicFilterType::from_name(word()?)
            .unwrap_or(TopicFilterType::SingleTag),
        ..TopicConfig::default()
    })
}

/// Reads length-prefixed parts; a length beyond the end is an error, so nothing is allocated on its word.
struct Parts<'a> {
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    fn length(&mut self, part: &'static str) -> Result<usize, BodyError> {
        let (word, rest) = self.rest.split_first_chunk().ok_or(BodyError::Incomplete { part })?;
        self.rest = rest;
        usize::try_from(i32::from_be_bytes(*word)).map_err(|_| BodyError::Incomplete { part })
    }

    fn next(&mut self, part: &'static str) -> Result<&'a [u8], BodyError> {
        let length = self.length(part)?;
        let (here, rest) =
            self.rest.split_at_checked(length).ok_or(BodyError::Incomplete { part })?;
        self.rest = rest;
        Ok(here)
    }
}
