//! Certificates and private keys out of PEM files. Pure functions over a file's bytes.

use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use std::ops::Range;
use x509_cert::{
    Certificate,
    der::{Decode, Encode},
};

/// How a key in another form becomes one that is read here.
const REMEDY: &str = "openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW";
const ENCRYPTED: Range<&str> =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----".."-----END ENCRYPTED PRIVATE KEY-----";

/// All certificates of a file, at least one, in their order.
pub(crate) fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let found = found.map_err(|error| format!("is not PEM: {error}"))?;
    if found.is_empty() {
        return Err("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned());
    }
    match found.iter().find_map(|der| Certificate::from_der(der).err()) {
        Some(error) => Err(format!("holds a certificate that can not be read: {error}")),
        None => Ok(found),
    }
}

/// The private key of a file: PKCS#8, encrypted or not, PKCS#1 or SEC1.
pub(crate) fn private_key(
    bytes: &[u8],
    password: Option<&str>,
    password_name: &str,
) -> Result<PrivateKeyDer<'static>, String> {
    let text = String::from_utf8_lossy(bytes);
    if let Some(section) = section(&text, ENCRYPTED) {
        let Some(password) = password else {
            return Err(format!("is encrypted, and there is no {password_name}"));
        };
        return decrypt(&section, password, password_name);
    }
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(format!(
            "is encrypted in the old way of OpenSSL, which is not read here: {REMEDY}"
        ));
    }
    PrivateKeyDer::from_pem_slice(bytes)
        .map_err(|error| format!("holds no private key in PEM (PKCS#8, PKCS#1 or SEC1): {error}"))
}

fn decrypt(
    section: &str,
    password: &str,
    password_name: &str,
) -> Result<PrivateKeyDer<'static>, String> {
    let (_, document) = SecretDocument::from_pem(section)
        .map_err(|error| format!("holds an encrypted key that can not be read: {error}"))?;
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
        .map_err(|_| format!("is encrypted in a way that is not read here: {REMEDY}"))?;
    let key = encrypted.decrypt(password).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::DecryptFailed) => {
            format!("is not opened by {password_name}")
        }
        error => format!("can not be decrypted ({error}); other ways are read: {REMEDY}"),
    })?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

/// The part of a text from a beginning to an end, both included, with plain line ends.
fn section(text: &str, marks: Range<&str>) -> Option<String> {
    let start = text.find(marks.start)?;
    let rest = text.get(start..)?;
    let end = rest.find(marks.end)? + marks.end.len();
    let lines = rest.get(..end)?.lines().map(str::trim_end);
    Some(lines.map(|line| format!("{line}\n")).collect())
}

/// When a certificate ends, seconds since 1970.
pub(crate) fn ends_at(der: &CertificateDer<'_>) -> Option<i64> {
    let certificate = Certificate::from_der(der).ok()?;
    let end = certificate.tbs_certificate().validity().not_after.to_unix_duration();
    i64::try_from(end.as_secs()).ok()
}

/// Whether a certificate is within its time.
pub(crate) fn is_valid_at(der: &CertificateDer<'_>, now_secs: u64) -> bool {
    Certificate::from_der(der).is_ok_and(|certificate| {
        let validity = certificate.tbs_certificate().validity();
        let (from, to) = (validity.not_before, validity.not_after);
        (from.to_unix_duration().as_secs()..=to.to_unix_duration().as_secs()).contains(&now_secs)
    })
}

/// The public key of a certificate, as a key of rustls gives its own.
pub(crate) fn public_key(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(der).ok()?;
    certificate.tbs_certificate().subject_public_key_info().to_der().ok()
}
