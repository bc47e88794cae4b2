//! Who asks: an access key, and the signature that its secret key makes of a request.
//!
//! The signature is HMAC-SHA1 over the values of all ext fields in the order of their names, then the body; base64.
//! Source: Apache RocketMQ 4.9.8, acl `AclClientRPCHook`, `AclUtils.combineRequestContent`, `AclSigner`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use proto::command::ExtValue;
use sha1::Sha1;

/// An account of the brokers' access control.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Name of the account.
    pub access_key: String,
    /// Its secret, which never leaves this process.
    pub secret_key: String,
    /// Token of a temporary account.
    pub security_token: Option<String>,
}

/// The secret stays out of logs.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl Credentials {
    /// The fields that say who asks, without the signature.
    pub(super) fn fields(&self) -> Vec<(&str, ExtValue<'_>)> {
        let token = self.security_token.as_deref();
        let token = token.map(|token| ("SecurityToken", token.into()));
        [("AccessKey", self.access_key.as_str().into())].into_iter().chain(token).collect()
    }

    /// The value of the field `Signature` for a request with these fields and this body.
    pub fn sign(&self, ext: &[(&str, ExtValue<'_>)], body: &[u8]) -> String {
        let mut sorted: Vec<&(&str, ExtValue<'_>)> = ext.iter().collect();
        sorted.sort_by_key(|(name, _)| *name);
        // A key of HMAC may have any length.
        let mut mac = Hmac::<Sha1>::new_from_slice(self.secret_key.as_bytes())
            .unwrap_or_else(|_| unreachable!("HMAC takes keys of every length"));
        for (_, value) in sorted {
            match value {
                ExtValue::Str(text) => mac.update(text.as_bytes()),
                ExtValue::I64(number) => mac.update(number.to_string().as_bytes()),
                ExtValue::Bool(flag) => mac.update(flag.to_string().as_bytes()),
            }
        }
        mac.update(body);
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_over_sorted_values_and_body() {
        let credentials = Credentials {
            access_key: "AK".to_owned(),
            secret_key: "key".to_owned(),
            security_token: None,
        };
        // The example of RFC-style test vectors: HMAC_SHA1("key", "The quick brown fox jumps over the lazy dog").
        let ext = [
            ("c", ExtValue::Str(" fox jumps ")),
            ("a", ExtValue::Str("The quick")),
            ("b", ExtValue::Str(" brown")),
        ];
        let signature = credentials.sign(&ext, b"over the lazy dog");
        assert_eq!(signature, "3nybhbi3iqa8ino29wqQcBydtNk=");
        let numbers = [("n", ExtValue::I64(12)), ("b", ExtValue::Bool(true))];
        let texts = [("b", ExtValue::Str("true")), ("n", ExtValue::Str("12"))];
        assert_eq!(credentials.sign(&numbers, b""), credentials.sign(&texts, b""));
        assert!(!format!("{credentials:?}").contains("key\""));
    }
}
