//! Whom we believe: the certificates that peers show.
//!
//! As with Java's remoting, the name in a certificate is not compared with the address: brokers are advertised by address. Without
//! certificates to check by, any is accepted, and only proves that its owner has the key. Beyond what webpki accepts, a certificate
//! that stands itself among the trusted ones is accepted within its time, as Java does: self-signed ones are often used so.

use crate::pem;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use std::sync::Arc;

/// Certificates to check by.
#[derive(Debug)]
pub(crate) struct Trusted {
    roots: Arc<RootCertStore>,
    itself: Vec<CertificateDer<'static>>,
}

impl Trusted {
    /// The error completes a sentence that begins with the file.
    pub(crate) fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Trusted, String> {
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots
                .add(certificate.clone())
                .map_err(|error| format!("holds a certificate that can not be trusted: {error}"))?;
        }
        Ok(Trusted { roots: Arc::new(roots), itself: certificates })
    }

    fn holds(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
        self.itself.contains(certificate) && pem::is_valid_at(certificate, now.as_secs())
    }
}

/// Checks clients; one for each context.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    checked: Option<(Trusted, Arc<dyn ClientCertVerifier>)>,
    mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientVerifier {
    pub(crate) fn new(
        trusted: Option<Trusted>,
        mandatory: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<ClientVerifier, String> {
        let checked = match trusted {
            None => None,
            Some(trusted) => {
                let (roots, provider) = (Arc::clone(&trusted.roots), Arc::clone(provider));
                let built = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                Some((trusted, built.map_err(|error| error.to_string())?))
            }
        };
        let algorithms = provider.signature_verification_algorithms;
        Ok(ClientVerifier { checked, mandatory, algorithms })
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.checked.as_ref().map_or(&[], |(_, webpki)| webpki.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match &self.checked {
            Some((trusted, webpki)) if !trusted.holds(end_entity, now) => {
                webpki.verify_client_cert(end_entity, intermediates, now)
            }
            _ => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Checks servers that we connect to.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    pub(crate) trusted: Option<Trusted>,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(trusted) = &self.trusted else { return Ok(ServerCertVerified::assertion()) };
        if !trusted.holds(end_entity, now) {
            let parsed = ParsedCertificate::try_from(end_entity)
                .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
            let (roots, algorithms) = (&trusted.roots, self.algorithms.all);
            verify_server_cert_signed_by_trust_anchor(
                &parsed,
                roots,
                intermediates,
                now,
                algorithms,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
