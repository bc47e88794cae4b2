//! Authorities, certificates and keys of tests, as files in PEM. Authorities keep their keys to themselves.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A certificate and its key, as files.
#[derive(Clone, Debug)]
pub struct PairOfFiles {
    /// The certificate.
    pub cert: PathBuf,
    /// The private key, PKCS#8.
    pub key: PathBuf,
}

impl PairOfFiles {
    /// The path of the certificate as text.
    pub fn cert(&self) -> &str {
        self.cert.to_str().expect("paths of tests are text")
    }

    /// The path of the key as text.
    pub fn key(&self) -> &str {
        self.key.to_str().expect("paths of tests are text")
    }
}

/// Who signs certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: PathBuf,
    /// File of its own certificate, to check others by.
    pub file: PathBuf,
}

impl Authority {
    /// A new one, whose files go to this directory.
    pub fn new(dir: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let file = dir.join(format!("{name}.pem"));
        fs::write(&file, issuer.pem()).expect("the directory is ours");
        Authority { issuer, dir: dir.to_owned(), file }
    }

    /// The path of its certificate as text.
    pub fn file(&self) -> &str {
        self.file.to_str().expect("paths of tests are text")
    }

    /// A certificate that is valid until `year`, with a key of its own.
    pub fn pair(&self, name: &str, year: i32) -> PairOfFiles {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        let path = |ending: &str| self.dir.join(format!("{name}.{ending}"));
        let files = PairOfFiles { cert: path("pem"), key: path("key") };
        fs::write(&files.cert, cert.pem()).expect("the directory is ours");
        fs::write(&files.key, key.serialize_pem()).expect("the directory is ours");
        files
    }
}
