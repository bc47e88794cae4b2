//! Who asks: an access key, and the signature that its secret key makes of a request.
//!
//! How it is made: [`acl::SigningKey`].

use acl::{ACCESS_KEY, SECURITY_TOKEN, SigningKey};
use proto::command::ExtValue;

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
        let token = token.map(|token| (SECURITY_TOKEN, token.into()));
        [(ACCESS_KEY, self.access_key.as_str().into())].into_iter().chain(token).collect()
    }

    /// The value of the field `Signature` for a request with these fields and this body.
    pub fn sign(&self, ext: &[(&str, ExtValue<'_>)], body: &[u8]) -> String {
        let key = SigningKey::new(&self.secret_key);
        key.map(|key| key.sign_values(ext, body)).unwrap_or_default()
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
