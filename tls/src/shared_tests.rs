//! Certificates of every form, and what becomes of them when they change.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{fs, path::Path, process::Command};
use tempfile::TempDir;

/// Writes `a.pem` and `a.key`.
fn write_pair(dir: &Path, name: &str) {
    let made = rcgen::generate_simple_self_signed(vec!["broker".to_owned()]).unwrap();
    fs::write(dir.join(format!("{name}.pem")), made.cert.pem()).unwrap();
    fs::write(dir.join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
}

fn source(dir: &Path, cert: &str, key: &str, besides: &[(&str, &str)]) -> Source {
    let path = |file: &str| dir.join(file).display().to_string();
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let pair = [
        ("tls.server.certPath".to_owned(), path(cert)),
        ("tls.server.keyPath".to_owned(), path(key)),
    ];
    Source::new(pair.into_iter().chain(besides.iter().map(owned)), "")
}

fn openssl(dir: &Path, arguments: &str) {
    let done =
        Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
    assert!(done.status.success(), "{arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

fn why(source: Source) -> String {
    Tls::open(source).err().expect("it can not be used").to_string()
}

#[test]
fn keys_of_every_form_are_read() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    openssl(
        dir,
        "req -x509 -newkey rsa:2048 -nodes -keyout pkcs8.key -out rsa.pem -days 9 -subj /CN=a",
    );
    openssl(dir, "rsa -in pkcs8.key -traditional -out pkcs1.key");
    openssl(
        dir,
        "pkcs8 -topk8 -in pkcs8.key -v2 aes-256-cbc -passout pass:s3cret -out encrypted.key",
    );
    openssl(dir, "pkcs8 -topk8 -in pkcs8.key -scrypt -passout pass:s3cret -out scrypt.key");
    openssl(dir, "rsa -in pkcs8.key -traditional -aes128 -passout pass:s3cret -out old.key");
    openssl(dir, "ecparam -name prime256v1 -genkey -noout -out sec1.key");
    openssl(dir, "req -x509 -key sec1.key -out ec.pem -days 9 -subj /CN=a");
    fs::write(dir.join("tls.properties"), "tls.server.keyPassword=s3cret\n").unwrap();
    fs::write(dir.join("wrong.properties"), "tls.server.keyPassword=guess\n").unwrap();
    let path = |file: &str| dir.join(file).display().to_string();
    let with_password = path("tls.properties");
    let password = [("tls.config.file", with_password.as_str())];
    for (cert, key) in [("rsa.pem", "pkcs8.key"), ("rsa.pem", "pkcs1.key"), ("ec.pem", "sec1.key")]
    {
        Tls::open(source(dir, cert, key, &[])).unwrap_or_else(|error| panic!("{key}: {error}"));
    }
    for key in ["encrypted.key", "scrypt.key"] {
        Tls::open(source(dir, "rsa.pem", key, &password))
            .unwrap_or_else(|error| panic!("{key}: {error}"));
        assert!(
            why(source(dir, "rsa.pem", key, &[])).contains("there is no tls.server.keyPassword")
        );
    }
    let wrong = path("wrong.properties");
    let refused = why(source(dir, "rsa.pem", "encrypted.key", &[("tls.config.file", &wrong)]));
    assert!(refused.contains("is not opened by tls.server.keyPassword"), "{refused}");
    let refused = why(source(dir, "rsa.pem", "old.key", &password));
    assert!(refused.contains("openssl pkcs8 -topk8"), "{refused}");
    let refused = why(source(dir, "ec.pem", "pkcs8.key", &[]));
    assert!(refused.contains("is not the key of the (first) certificate"), "{refused}");
    let refused = why(source(dir, "pkcs8.key", "ec.pem", &[]));
    assert!(refused.contains("holds no certificate"), "{refused}");
}

#[test]
fn all_that_is_wrong_is_said() {
    let dir = TempDir::new().unwrap();
    write_pair(dir.path(), "a");
    let trust = dir.path().join("none.pem").display().to_string();
    let besides = [
        ("tls.server.authClient", "true"),
        ("tls.server.need.client.auth", "require"),
        ("tls.server.trustCertPath", trust.as_str()),
    ];
    let refused = why(source(dir.path(), "a.pem", "missing.key", &besides));
    assert!(refused.contains("missing.key can not be read"), "{refused}");
    assert!(refused.contains("none.pem can not be read"), "{refused}");
    let refused = why(source(dir.path(), "missing.pem", "missing.key", &[]));
    assert_eq!(refused.matches("can not be read").count(), 2, "{refused}");
}

#[test]
fn a_certificate_and_its_key_may_be_replaced_one_after_the_other() {
    let dir = TempDir::new().unwrap();
    write_pair(dir.path(), "a");
    write_pair(dir.path(), "b");
    let tls = Tls::open(source(dir.path(), "a.pem", "a.key", &[])).unwrap();
    let first = tls.server().unwrap();
    let is_first = || Arc::ptr_eq(&first, &tls.server().unwrap());
    tls.look();
    assert!(is_first(), "nothing has changed");
    fs::copy(dir.path().join("b.pem"), dir.path().join("a.pem")).unwrap();
    tls.look();
    assert!(is_first(), "the key does not fit yet");
    fs::copy(dir.path().join("b.key"), dir.path().join("a.key")).unwrap();
    tls.look();
    assert!(!is_first());
    let second = tls.server().unwrap();
    fs::write(dir.path().join("a.pem"), "nonsense").unwrap();
    tls.look();
    fs::remove_file(dir.path().join("a.key")).unwrap();
    tls.look();
    assert!(Arc::ptr_eq(&second, &tls.server().unwrap()));
}

#[test]
fn an_end_is_known_and_warned_of_once_a_day() {
    let dir = TempDir::new().unwrap();
    let ca_params = || {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let ca = CertifiedIssuer::self_signed(ca_params(), KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["broker".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2035, 1, 1);
    let cert = params.signed_by(&key, &ca).unwrap();
    fs::write(dir.path().join("a.pem"), cert.pem() + &ca.pem()).unwrap();
    fs::write(dir.path().join("a.key"), key.serialize_pem()).unwrap();
    let tls = Tls::open(source(dir.path(), "a.pem", "a.key", &[])).unwrap();
    let expiry = tls.expiry().unwrap();
    assert_eq!(expiry.ms, 2_051_222_400_000);
    let named = format!("tls.server.certPath={}", dir.path().join("a.pem").display());
    assert_eq!(expiry.to_string(), named);
    let warned = || tls.seen.lock().unwrap().warned_ms;
    tls.look_at(expiry.ms - 31 * DAY_MS);
    assert_eq!(warned(), None);
    let soon = expiry.ms - 29 * DAY_MS;
    tls.look_at(soon);
    tls.look_at(soon + DAY_MS / 2);
    assert_eq!(warned(), Some(soon));
    tls.look_at(soon + DAY_MS);
    assert_eq!(warned(), Some(soon + DAY_MS));
    let throw_away = Tls::open(Source::default()).unwrap();
    assert_eq!((throw_away.expiry(), throw_away.expiries()), (None, Vec::new()));
    assert!(throw_away.told().contains("THROW-AWAY"), "{}", throw_away.told());
}
