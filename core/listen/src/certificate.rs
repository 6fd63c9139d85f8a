//! TLS, with a certificate that may be renewed while the server runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use forebay_api::BoxError;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at, unless tests look more often.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The certificate to show, and its key.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The file of the certificate and those that it was signed with, as PEM, such as `"/etc/forebay/cert.pem"`. When it
    /// changes, new connections get the new one, half a minute later.
    pub certificate: PathBuf,
    /// The file of its private key, as PEM, such as `"/etc/forebay/key.pem"`.
    pub key: PathBuf,
    /// What tests make small: how often the files are looked at, if not every half minute.
    #[serde(skip)]
    #[schemars(skip)]
    pub look_every: Option<Duration>,
}

/// The certificate that is shown now.
#[derive(Debug)]
pub(crate) struct Certificate {
    files: Tls,
    provider: Arc<CryptoProvider>,
    shown: RwLock<(Arc<CertifiedKey>, Times)>,
}

/// When the files were last changed.
type Times = [SystemTime; 2];

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// If one of them cannot be read, or they do not belong together; with its name.
    pub(crate) fn open(files: &Tls) -> Result<Arc<Self>, BoxError> {
        let provider = Arc::new(ring::default_provider());
        let times = times(files)?;
        let shown = RwLock::new((read(files, &provider)?, times));
        Ok(Arc::new(Self { files: files.clone(), provider, shown }))
    }

    /// Accepts connections with it, and offers these protocols, the best one first.
    ///
    /// # Errors
    ///
    /// Never with the cryptography that is built in.
    pub(crate) fn acceptor(self: &Arc<Self>, protocols: &[&str]) -> Result<TlsAcceptor, BoxError> {
        let config =
            ServerConfig::builder_with_provider(self.provider.clone()).with_safe_default_protocol_versions()?;
        let mut config = config.with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Looks at the files for ever.
    pub(crate) async fn follow(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.files.look_every.unwrap_or(LOOK_EVERY)).await;
            let looking = self.clone();
            // The files may lie where reading takes its time.
            let _ = tokio::task::spawn_blocking(move || looking.look()).await;
        }
    }

    /// Shows the certificate in the files, if it is another one. What cannot be read now may be half written.
    fn look(&self) {
        let changed = times(&self.files).map(|it| it != self.shown.read().unwrap_or_else(PoisonError::into_inner).1);
        let renewed = match changed {
            Ok(false) => return,
            Ok(true) => times(&self.files).and_then(|it| Ok((read(&self.files, &self.provider)?, it))),
            Err(error) => Err(error),
        };
        match renewed {
            Ok(renewed) => {
                *self.shown.write().unwrap_or_else(PoisonError::into_inner) = renewed;
                tracing::info!(certificate = %self.files.certificate.display(), "the certificate was renewed");
            }
            Err(error) => tracing::warn!("the old certificate is shown on: {error}"),
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown.read().unwrap_or_else(PoisonError::into_inner).0.clone())
    }
}

fn times(files: &Tls) -> Result<Times, BoxError> {
    let time = |path: &Path| {
        let time = path.metadata().and_then(|it| it.modified());
        time.map_err(|error| format!("`{}` cannot be read: {error}", path.display()))
    };
    Ok([time(&files.certificate)?, time(&files.key)?])
}

fn read(files: &Tls, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, BoxError> {
    let of = |path: &Path, error: String| format!("`{}` cannot be used: {error}", path.display());
    let certificates =
        CertificateDer::pem_file_iter(&files.certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| of(&files.certificate, error.to_string()))?;
    if certificates.is_empty() {
        return Err(of(&files.certificate, "there is no certificate in it".to_owned()).into());
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| of(&files.key, error.to_string()))?;
    let key = provider.key_provider.load_private_key(key).map_err(|error| of(&files.key, error.to_string()))?;
    let certified = CertifiedKey::new(certificates, key);
    certified.keys_match().map_err(|error| of(&files.key, error.to_string()))?;
    Ok(Arc::new(certified))
}
