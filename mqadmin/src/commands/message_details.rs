//! A message in full, as the commands show it that look up single ones: its details, its body in a file, what became of it.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};

use client::admin_ext::MessageTrack;
use client::{DefaultMqAdminExt, Received};
use serde::Serialize;
use serde_json::{Value, json};

use super::message_text::{UNIQUE_ID, facts, properties, shown_body};
use crate::text::{self, or_null};
use crate::{Failure, Output};

/// Where Java's tool writes the bodies of messages that it shows.
const BODIES: &str = "/tmp/rocketmq/msgbodys";

/// What of a message is shown besides.
#[derive(Clone, Copy)]
pub(crate) struct Shown {
    /// The broker's id of it.
    pub(crate) offset_id: bool,
    /// Which of several messages of one id it is.
    pub(crate) index: usize,
    /// The body as text, too.
    pub(crate) body: bool,
    /// First offset and next offset of its queue, when it was pulled: Java lists them among the properties.
    pub(crate) bounds: Option<(i64, i64)>,
}

/// Writes the body of a message to its file, and shows the rest.
pub(crate) async fn show(
    admin: &DefaultMqAdminExt,
    out: &mut Output,
    message: Received,
    shown: Shown,
) -> Result<(), Failure> {
    let tracks = match admin.message_track_detail(&message).await {
        Ok(tracks) => Some(tracks),
        Err(error) => {
            out.problem(error);
            None
        }
    };
    let body = shown_body(&message, out).into_owned();
    let body_path = write_body(Path::new(BODIES), &message, &body, shown.index)?;
    let body = shown.body.then(|| String::from_utf8_lossy(&body).into_owned());
    out.show(&Details { message, shown, body, body_path, tracks })
}

/// Writes the body to a file named by the message's id. An id that is no plain word is not made into a name.
fn write_body(
    dir: &Path,
    message: &Received,
    body: &[u8],
    index: usize,
) -> Result<PathBuf, Failure> {
    let plain = |id: &&str| {
        id.len() <= 128 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let name = message.property(UNIQUE_ID).filter(plain).map(str::to_owned);
    let mut name = name.unwrap_or_else(|| message.message_id());
    if index > 0 {
        name.push_str(&format!("_{index}"));
    }
    let path = dir.join(name);
    let written = fs::create_dir_all(dir).and_then(|()| fs::write(&path, body));
    written.map_err(|source| Failure::File { path: path.clone(), source })?;
    Ok(path)
}

struct Details {
    message: Received,
    shown: Shown,
    body: Option<String>,
    body_path: PathBuf,
    /// What became of it in each group, if that could be found out.
    tracks: Option<Vec<MessageTrack>>,
}

impl Serialize for Details {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let track = |track: &MessageTrack| {
            json!({
                "consumerGroup": track.consumer_group,
                "trackType": track.track_type.name(),
                "exceptionDesc": track.exception_desc,
            })
        };
        let tracks = self.tracks.as_ref().map(|all| all.iter().map(track).collect::<Vec<Value>>());
        let mut facts = facts(&self.message);
        facts.insert("bodyPath".to_owned(), json!(self.body_path));
        facts.insert("tracks".to_owned(), json!(tracks));
        if let Some(body) = &self.body {
            facts.insert("body".to_owned(), json!(body));
        }
        facts.serialize(serializer)
    }
}

impl Display for Details {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let m = &self.message;
        let bounds = self.shown.bounds.map(|(min, max)| (min.to_string(), max.to_string()));
        let mut properties = properties(m);
        if let Some((min, max)) = &bounds {
            properties.extend([("MIN_OFFSET", min.as_str()), ("MAX_OFFSET", max.as_str())]);
        }
        let mut line = |label: &str, value: &str| writeln!(f, "{label:<20} {value}");
        if let Some(body) = &self.body {
            line("Message Body:", body)?;
        }
        if self.shown.offset_id {
            line("OffsetID:", &m.message_id())?;
        }
        line("Topic:", &m.topic)?;
        line("Tags:", &format!("[{}]", or_null(m.property("TAGS"))))?;
        line("Keys:", &format!("[{}]", or_null(m.property("KEYS"))))?;
        line("Queue ID:", &m.queue_id.to_string())?;
        line("Queue Offset:", &m.queue_offset.to_string())?;
        line("CommitLog Offset:", &m.physical_offset.to_string())?;
        line("Reconsume Times:", &m.reconsume_times.to_string())?;
        line("Born Timestamp:", &text::millis(m.born_timestamp))?;
        line("Store Timestamp:", &text::millis(m.store_timestamp))?;
        line("Born Host:", &m.born_host.to_string())?;
        line("Store Host:", &m.store_host.to_string())?;
        line("System Flag:", &m.sys_flag.to_string())?;
        line("Properties:", &text::map(properties))?;
        line("Message Body Path:", &self.body_path.display().to_string())?;
        match self.tracks.as_deref() {
            None => Ok(()),
            Some([]) => write!(f, "\n\nWARN: No Consumer"),
            Some(tracks) => {
                write!(f, "\n\n")?;
                tracks.iter().try_for_each(|track| {
                    let (group, kind) = (&track.consumer_group, track.track_type.name());
                    let why = or_null(track.exception_desc.as_deref());
                    write!(f, "MessageTrack [consumerGroup={group}, trackType={kind}, exceptionDesc={why}]")
                })
            }
        }
    }
}
