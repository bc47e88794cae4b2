//! What every process says of the certificates that it shows in TLS. Its caller knows them; one declaration serves brokers and
//! name servers, which may be one process.

use crate::{Page, families};

families! {
    /// All that a process says of certificates.
    pub const ALL;
    /// When a certificate that is shown in TLS ends, or the first of its chain, seconds since 1970; the label is the setting that names it. No number for a throw-away one, which has no setting.
    EXPIRY: Gauge("ringmq_tls_certificate_expiry_seconds", "certificate");
}

/// Writes when certificates end: their settings, and ms since 1970.
pub fn write<'a>(page: &mut Page, ends: impl IntoIterator<Item = (&'a str, i64)>) {
    page.family(&EXPIRY);
    for (setting, ms) in ends {
        page.value(&[setting], ms as f64 / 1e3);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_shown_in_seconds() {
        let mut page = Page::new(10);
        write(
            &mut page,
            [("tls.server.certPath", 2_051_222_400_000), ("tls.client.certPath", -1_500)],
        );
        let text = String::from_utf8(page.finish().concat()).expect("text");
        for line in [
            "ringmq_tls_certificate_expiry_seconds{certificate=\"tls.server.certPath\"} 2051222400\n",
            "ringmq_tls_certificate_expiry_seconds{certificate=\"tls.client.certPath\"} -1.5\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
