//! Certificates.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use forebay_api::BoxError;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::Tls;

/// So often the files are looked at, while there are connections.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What is shown to who connects, as it is in the files.
pub(crate) struct Certificates {
    files: Tls,
    shown: Mutex<Shown>,
}

struct Shown {
    config: Arc<ServerConfig>,
    /// When the files were written.
    written: [Option<SystemTime>; 2],
    looked: Instant,
}

impl Certificates {
    /// Reads the files.
    pub(crate) fn load(files: &Tls) -> Result<Self, BoxError> {
        let written = written(files);
        let shown = Shown { config: config(files)?, written, looked: Instant::now() };
        Ok(Self { files: files.clone(), shown: Mutex::new(shown) })
    }

    /// What to show now. Files that cannot be read, because somebody is at them, are read the next time.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.looked.elapsed() >= LOOK_EVERY {
            shown.looked = Instant::now();
            let written = written(&self.files);
            if written != shown.written {
                match config(&self.files) {
                    Ok(config) => {
                        (shown.config, shown.written) = (config, written);
                        tracing::info!("the certificate was read again");
                    }
                    Err(error) => {
                        tracing::warn!("the certificate was changed, and the one before is still shown: {error}")
                    }
                }
            }
        }
        shown.config.clone()
    }
}

fn written(files: &Tls) -> [Option<SystemTime>; 2] {
    [&files.certificate, &files.key].map(|it| it.metadata().and_then(|it| it.modified()).ok())
}

/// Firehose speaks HTTP/1.1, so nothing else is offered.
fn config(files: &Tls) -> Result<Arc<ServerConfig>, BoxError> {
    let unread = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let read = CertificateDer::pem_file_iter(&files.certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = read.map_err(|error| unread(&files.certificate, &error))?;
    if chain.is_empty() {
        return Err(unread(&files.certificate, &"it holds no certificate").into());
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unread(&files.key, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = builder.with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(|error| unread(&files.key, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
