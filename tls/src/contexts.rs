//! Contexts of rustls made of settings and of what their files hold.

use crate::{
    TlsError,
    material::Material,
    pem,
    settings::{ClientAuth, Mode, Pair, Settings},
    verify::{ClientVerifier, ServerVerifier, Trusted},
};
use rustls::{
    ClientConfig, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::{CertifiedKey, SingleCertAndKey},
};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Name in throw-away certificates.
const TEST_NAME: &str = "ringmq-test-certificate";

/// When a certificate of ours ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Milliseconds since 1970.
    pub ms: i64,
    /// The setting that names it.
    pub setting: &'static str,
    /// Its file.
    pub file: PathBuf,
}

impl fmt::Display for Expiry {
    /// Names the certificate as a configuration does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.setting, self.file.display())
    }
}

/// What new connections use.
#[derive(Debug)]
pub struct Contexts {
    /// Of accepted connections; none: `disabled`.
    pub server: Option<Arc<ServerConfig>>,
    /// Of connections that we make; none: they are plain.
    pub client: Option<Arc<ClientConfig>>,
    /// Ends of what we show, the first one first; none: of throw-away certificates nobody cares.
    pub expiries: Vec<Expiry>,
    /// The server's certificate is a throw-away one.
    pub throw_away: bool,
}

impl Contexts {
    /// All that is wrong is said at once.
    pub(crate) fn build(settings: &Settings, material: &Material) -> Result<Contexts, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let build = Build { settings, material, provider };
        let mut wrong = Vec::new();
        let mut keep =
            |built: Result<(), Vec<String>>| wrong.extend(built.err().unwrap_or_default());
        let (mut server, mut client) = (None, None);
        if settings.mode != Mode::Disabled {
            keep(build.server().map(|context| server = Some(Arc::new(context))));
        }
        if settings.outgoing {
            keep(build.client().map(|context| client = Some(Arc::new(context))));
        }
        if !wrong.is_empty() {
            return Err(TlsError(wrong));
        }
        let throw_away = server.is_some() && settings.server.is_none();
        let shown = settings.server.iter().filter(|_| server.is_some());
        let shown = shown.chain(settings.client.iter().filter(|_| client.is_some()));
        let mut expiries: Vec<Expiry> = shown.filter_map(|pair| build.expiry(pair)).collect();
        expiries.sort_by_key(|expiry| expiry.ms);
        Ok(Contexts { server, client, expiries, throw_away })
    }
}

struct Build<'a> {
    settings: &'a Settings,
    material: &'a Material,
    provider: Arc<CryptoProvider>,
}

impl Build<'_> {
    fn server(&self) -> Result<ServerConfig, Vec<String>> {
        let own = match &self.settings.server {
            Some(pair) => self.certified(pair),
            None => self.throw_away().map_err(one),
        };
        let trusted =
            self.trusted("tls.server.trustCertPath", self.settings.server_trust.as_deref());
        let (own, trusted) = both(own, trusted.map_err(one))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| one(error.to_string()))?;
        let builder = match self.settings.client_auth {
            ClientAuth::None => builder.with_no_client_auth(),
            asked => {
                let mandatory = asked == ClientAuth::Require;
                let verifier =
                    ClientVerifier::new(trusted, mandatory, &self.provider).map_err(one)?;
                builder.with_client_cert_verifier(Arc::new(verifier))
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        // Sessions are resumed by tickets, sealed with a key of this context: who was let in by certificates that are trusted no
        // longer shows its own again.
        config.ticketer = ring::Ticketer::new().map_err(|error| one(error.to_string()))?;
        Ok(config)
    }

    fn client(&self) -> Result<ClientConfig, Vec<String>> {
        let own = self.settings.client.as_ref().map(|pair| self.certified(pair)).transpose();
        let trusted =
            self.trusted("tls.client.trustCertPath", self.settings.client_trust.as_deref());
        let (own, trusted) = both(own, trusted.map_err(one))?;
        let algorithms = self.provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| vec![error.to_string()])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ServerVerifier { trusted, algorithms }));
        let mut config = match own {
            Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
            None => builder.with_no_client_auth(),
        };
        // Servers here have one certificate, whatever they are called.
        config.enable_sni = false;
        Ok(config)
    }

    /// A chain with the key that belongs to it.
    fn certified(&self, pair: &Pair) -> Result<CertifiedKey, Vec<String>> {
        let [cert_name, key_name, password_name] = pair.names;
        let cert = |error| format!("{cert_name}={} {error}", pair.cert.display());
        let key = |error| format!("{key_name}={} {error}", pair.key.display());
        let chain = self.material.get(cert_name, &pair.cert);
        let chain = chain.and_then(|bytes| pem::certificates(bytes).map_err(cert));
        let private = self.material.get(key_name, &pair.key).and_then(|bytes| {
            pem::private_key(bytes, pair.password.as_deref(), password_name).map_err(key)
        });
        let (chain, private) = both(chain.map_err(one), private.map_err(one))?;
        let certified = self.with_key(chain, private).map_err(|error| one(key(error)))?;
        let ours = certified.key.public_key().map(|public| public.to_vec());
        let shown = certified.cert.first().and_then(pem::public_key);
        if ours.is_some() && ours != shown {
            let cert = pair.cert.display();
            let why = format!("is not the key of the (first) certificate in {cert_name}={cert}");
            return Err(one(key(why)));
        }
        Ok(certified)
    }

    fn with_key(
        &self,
        chain: Vec<rustls::pki_types::CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<CertifiedKey, String> {
        let key = self.provider.key_provider.load_private_key(key).map_err(|error| {
            format!("is no key that can be used here (RSA of 2048 bits or more, P-256, P-384, Ed25519): {error}")
        })?;
        Ok(CertifiedKey::new(chain, key))
    }

    fn throw_away(&self) -> Result<CertifiedKey, String> {
        let made = rcgen::generate_simple_self_signed(vec![TEST_NAME.to_owned()])
            .map_err(|error| format!("no throw-away certificate can be made: {error}"))?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        self.with_key(vec![made.cert.der().clone()], key.into())
    }

    fn trusted(&self, name: &str, path: Option<&Path>) -> Result<Option<Trusted>, String> {
        let Some(path) = path else { return Ok(None) };
        let bytes = self.material.get(name, path)?;
        let trusted = pem::certificates(bytes).and_then(Trusted::new);
        trusted.map(Some).map_err(|error| format!("{name}={} {error}", path.display()))
    }

    /// The end of a chain is that of its first certificate to end.
    fn expiry(&self, pair: &Pair) -> Option<Expiry> {
        let chain = pem::certificates(self.material.get(pair.names[0], &pair.cert).ok()?).ok()?;
        let seconds = chain.iter().filter_map(pem::ends_at).min()?;
        let ms = seconds.saturating_mul(1_000);
        Some(Expiry { ms, setting: pair.names[0], file: pair.cert.clone() })
    }
}

/// A single reason.
fn one(reason: String) -> Vec<String> {
    vec![reason]
}

/// Both, or all that is wrong with each.
fn both<A, B>(a: Result<A, Vec<String>>, b: Result<B, Vec<String>>) -> Result<(A, B), Vec<String>> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (a, b) => Err(a.err().into_iter().chain(b.err()).flatten().collect()),
    }
}
