//! What comes from the server, owned: answers to our requests, and its requests to us.

use proto::command::{Header, Language};
use proto::frame::HeaderKind;
use serde_json::Value;

use crate::ClientError;

/// A response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 0 is success.
    pub code: i32,
    /// Which request it answers.
    pub opaque: i32,
    /// The kind of its header.
    pub kind: HeaderKind,
    /// Who the server says it is.
    pub language: Language,
    /// The server's version number.
    pub version: i32,
    /// The reason of a refusal, or a note.
    pub remark: Option<String>,
    /// Ext fields in wire order.
    pub ext: Vec<(String, String)>,
    /// The body, empty if there is none.
    pub body: Vec<u8>,
}

/// A request that the server sent us, such as NOTIFY_CONSUMER_IDS_CHANGED (40).
#[derive(Clone, Debug)]
pub struct ServerRequest {
    /// Request code.
    pub code: i32,
    /// To be repeated in our answer.
    pub opaque: i32,
    /// No answer is wanted.
    pub oneway: bool,
    /// The kind of its header.
    pub kind: HeaderKind,
    /// Ext fields in wire order.
    pub ext: Vec<(String, String)>,
    /// The body, empty if there is none.
    pub body: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(kind: HeaderKind, header: &Header<'_>, body: &[u8]) -> Answer {
        Answer {
            code: header.code,
            opaque: header.opaque,
            kind,
            language: header.language,
            version: header.version,
            remark: header.remark.map(str::to_string),
            ext: owned_ext(header),
            body: body.to_vec(),
        }
    }

    /// An ext field.
    pub fn ext(&self, name: &str) -> Option<&str> {
        find(&self.ext, name)
    }

    /// An ext field that has to be there and to be an integer.
    pub fn number(&self, field: &'static str) -> Result<i64, ClientError> {
        let value = self.ext(field);
        value
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| ClientError::Field { field, value: value.map(str::to_string) })
    }

    /// The answer itself if its code is 0, else [`ClientError::Refused`].
    pub fn success(self) -> Result<Answer, ClientError> {
        self.one_of(&[0])
    }

    /// The answer itself if its code is among `codes`, else [`ClientError::Refused`].
    pub fn one_of(self, codes: &[i32]) -> Result<Answer, ClientError> {
        if codes.contains(&self.code) {
            return Ok(self);
        }
        Err(ClientError::Refused { code: self.code, remark: self.remark.unwrap_or_default() })
    }

    /// The body as JSON, in the lenient dialect that Java writes (bare integer keys).
    pub fn json(&self) -> Result<Value, ClientError> {
        let text = || String::from_utf8_lossy(&self.body[..self.body.len().min(400)]).into_owned();
        let bad = |reason: String| ClientError::Json { reason, text: text() };
        let strict = proto::fastjson::to_strict(&self.body).map_err(|e| bad(e.to_string()))?;
        serde_json::from_slice(&strict).map_err(|e| bad(e.to_string()))
    }
}

impl ServerRequest {
    pub(crate) fn new(kind: HeaderKind, header: &Header<'_>, body: &[u8]) -> ServerRequest {
        ServerRequest {
            code: header.code,
            opaque: header.opaque,
            oneway: header.is_oneway(),
            kind,
            ext: owned_ext(header),
            body: body.to_vec(),
        }
    }

    /// An ext field.
    pub fn ext(&self, name: &str) -> Option<&str> {
        find(&self.ext, name)
    }
}

fn owned_ext(header: &Header<'_>) -> Vec<(String, String)> {
    header.ext.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn find<'a>(ext: &'a [(String, String)], name: &str) -> Option<&'a str> {
    ext.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}
