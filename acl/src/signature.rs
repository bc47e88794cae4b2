//! Signatures of requests: HMAC-SHA1 with the account's secret over the values of all ext fields but the signature itself,
//! in the order of their keys, and the body; in base64. Source: Apache RocketMQ 4.9.8, `AclSigner`,
//! `AclUtils.combineRequestContent`.

use base64::prelude::{BASE64_STANDARD, Engine};
use hmac::{Hmac, KeyInit, Mac};
use proto::command::{Ext, ExtValue};
use sha1::Sha1;
use std::cmp::Ordering;

/// Ext field with the name of the account.
pub const ACCESS_KEY: &str = "AccessKey";
/// Ext field with the signature.
pub const SIGNATURE: &str = "Signature";
/// Ext field with a token, which nothing here reads.
pub const SECURITY_TOKEN: &str = "SecurityToken";

/// Fields that are sorted without memory of their own; the largest request of a client has about twenty.
const FIELDS_IN_PLACE: usize = 32;
/// Bytes of an HMAC-SHA1.
const MAC_BYTES: usize = 20;

/// Fields that some clients leave out of what they sign, one kind of client after the other.
///
/// 5.x adds the zone after signing, Go leaves out the token, some servers and old clients the mark of a query by unique key.
/// None of them decides what a request may do.
const LEFT_OUT: [&[&str]; 5] = [
    &[],
    &["_UNIQUE_KEY_QUERY"],
    &["__ZONE_NAME", "__ZONE_MODE"],
    &[SECURITY_TOKEN],
    &["_UNIQUE_KEY_QUERY", "__ZONE_NAME", "__ZONE_MODE", SECURITY_TOKEN],
];

/// A secret, ready to sign and to check: what depends on the secret alone is computed once.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha1>);

impl SigningKey {
    /// Of a secret, which may be of any length.
    pub fn new(secret: &str) -> Option<SigningKey> {
        Hmac::new_from_slice(secret.as_bytes()).ok().map(SigningKey)
    }

    /// Whether `signature` is that of these fields and this body.
    pub fn verifies(&self, ext: &Ext<'_>, body: &[u8], signature: &str) -> bool {
        let mut mac = [0; MAC_BYTES + 1];
        let decoded = BASE64_STANDARD.decode_slice(signature, &mut mac);
        let Some(mac) = decoded.ok().and_then(|bytes| mac.get(..bytes)) else { return false };
        let mut in_place = [("", ""); FIELDS_IN_PLACE];
        let mut many = Vec::new();
        let fields = sorted(ext, &mut in_place, &mut many);
        LEFT_OUT.iter().any(|left_out| {
            let leaves_something = fields.iter().any(|(key, _)| left_out.contains(key));
            (left_out.is_empty() || leaves_something) && {
                let kept = fields.iter().filter(|(key, _)| !left_out.contains(key));
                // In constant time: nothing tells how much of a guess was right.
                self.of(kept.map(|(_, value)| *value), body).verify_slice(mac).is_ok()
            }
        })
    }

    /// The signature of these fields, which are those of a request without its signature, and this body.
    pub fn sign(&self, fields: &[(&str, &str)], body: &[u8]) -> String {
        let mut fields = fields.to_vec();
        fields.sort_by(|one, other| java_order(one.0, other.0));
        let values = fields.iter().map(|(_, value)| *value);
        BASE64_STANDARD.encode(self.of(values, body).finalize().into_bytes())
    }

    /// The same for fields as a request has them.
    pub fn sign_values(&self, ext: &[(&str, ExtValue<'_>)], body: &[u8]) -> String {
        let text = |value: &ExtValue<'_>| match value {
            ExtValue::Str(text) => (*text).to_owned(),
            ExtValue::I64(number) => number.to_string(),
            ExtValue::Bool(truth) => truth.to_string(),
        };
        let texts: Vec<(&str, String)> =
            ext.iter().map(|(name, value)| (*name, text(value))).collect();
        let fields: Vec<(&str, &str)> =
            texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
        self.sign(&fields, body)
    }

    fn of<'v>(&self, values: impl Iterator<Item = &'v str>, body: &[u8]) -> Hmac<Sha1> {
        let mut mac = self.0.clone();
        values.for_each(|value| mac.update(value.as_bytes()));
        mac.update(body);
        mac
    }
}

/// An account with its secret, for requests of our own.
#[derive(Clone, Debug)]
pub struct Signer {
    access_key: String,
    key: SigningKey,
}

impl Signer {
    /// Of an account.
    pub fn new(access_key: &str, secret: &str) -> Option<Signer> {
        Some(Signer { access_key: access_key.to_owned(), key: SigningKey::new(secret)? })
    }

    /// The account.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The signature of a request with these ext fields, to which the account's name is yet to be added, and this body.
    pub fn sign(&self, ext: &[(&str, ExtValue<'_>)], body: &[u8]) -> String {
        let name: [(&str, ExtValue<'_>); 1] = [(ACCESS_KEY, self.access_key.as_str().into())];
        self.key.sign_values(&[ext, &name].concat(), body)
    }
}

/// A text that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey")
    }
}

/// The fields but the signature, by their keys: in `in_place` if they fit, else in `many`.
fn sorted<'a, 'b>(
    ext: &Ext<'a>,
    in_place: &'b mut [(&'a str, &'a str); FIELDS_IN_PLACE],
    many: &'b mut Vec<(&'a str, &'a str)>,
) -> &'b [(&'a str, &'a str)] {
    let signed = ext.iter().filter(|(key, _)| *key != SIGNATURE);
    let fields = if ext.len() <= FIELDS_IN_PLACE {
        let mut count = 0;
        for (place, field) in in_place.iter_mut().zip(signed) {
            *place = field;
            count += 1;
        }
        in_place.get_mut(..count).unwrap_or_default()
    } else {
        many.extend(signed);
        many.as_mut_slice()
    };
    fields.sort_unstable_by(|one, other| java_order(one.0, other.0));
    fields
}

/// The order of Java's texts: by UTF-16 code units, which is that of bytes while both are ASCII.
fn java_order(one: &str, other: &str) -> Ordering {
    if one.is_ascii() && other.is_ascii() {
        one.cmp(other)
    } else {
        one.encode_utf16().cmp(other.encode_utf16())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::command::HeaderArena;

    fn verifies(secret: &str, fields: &[(&str, &str)], body: &[u8], signature: &str) -> bool {
        let mut arena = HeaderArena::default();
        let ext = arena.ext_from(fields).expect("few fields");
        SigningKey::new(secret).expect("any length").verifies(&ext, body, signature)
    }

    /// `printf '%s' CONTENT | openssl dgst -sha1 -hmac 12345678 -binary | base64`, with OpenSSL 3.
    #[test]
    fn signatures_are_those_of_another_implementation() {
        let key = SigningKey::new("12345678").expect("any length");
        let golden = std::str::from_utf8(GOLDEN).expect("text").trim();
        let fields = [("topic", "orders"), ("AccessKey", "RocketMQ"), ("b", "1")];
        assert_eq!(key.sign(&fields, b"body"), golden);
        assert!(verifies("12345678", &fields, b"body", golden));
        assert!(!verifies("12345679", &fields, b"body", golden));
        assert!(!verifies("12345678", &fields, b"Body", golden));
        for bad in ["", "=", "AAAA", &golden[1..], &"A".repeat(4_000)] {
            assert!(!verifies("12345678", &fields, b"body", bad), "{bad}");
        }
    }

    const GOLDEN: &[u8] = b"EEAM+Dv8nGqOXh/lGhkAPiWc5/I=";

    #[test]
    fn what_some_clients_do_not_sign_may_be_left_out_and_nothing_else() {
        let key = SigningKey::new("secret").expect("any length");
        let signed = [("AccessKey", "a"), ("topic", "t")];
        let signature = key.sign(&signed, b"");
        let with =
            |more: &[(&str, &str)]| verifies("secret", &[&signed, more].concat(), b"", &signature);
        assert!(with(&[("Signature", "whatever")]));
        assert!(with(&[("_UNIQUE_KEY_QUERY", "true")]));
        assert!(with(&[("__ZONE_NAME", "z"), ("__ZONE_MODE", "m")]));
        assert!(with(&[(SECURITY_TOKEN, "t")]));
        assert!(with(&[(SECURITY_TOKEN, "t"), ("__ZONE_NAME", "z")]));
        assert!(!with(&[("queueId", "0")]));
        assert!(!with(&[("queueId", "0"), ("__ZONE_NAME", "z")]));
    }

    #[test]
    fn the_order_is_java_s_and_many_fields_are_as_good_as_few() {
        // U+FF61 is one unit above the first unit of U+10000.
        assert_eq!(java_order("\u{10000}", "\u{ff61}"), Ordering::Less);
        assert_eq!(java_order("a", "B"), Ordering::Greater);
        let names: Vec<String> = (0..200).rev().map(|index| format!("k{index:03}")).collect();
        for count in [0, 1, 31, 32, 33, 200] {
            let fields: Vec<(&str, &str)> =
                names[..count].iter().map(|name| (name.as_str(), name.as_str())).collect();
            let signature = SigningKey::new("s").expect("any length").sign(&fields, b"x");
            assert!(verifies("s", &fields, b"x", &signature), "{count}");
        }
    }
}
