//! Who is trusted, and who we are.

use std::path::Path;
use std::sync::Arc;

use forebay_api::BoxError;
use hyper_rustls::ConfigBuilderExt;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::Tls;

/// Reads the files that are named.
pub(super) fn config(tls: &Tls) -> Result<ClientConfig, BoxError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = match &tls.roots {
        None => builder.with_native_roots()?,
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(path)? {
                roots.add(root).map_err(|error| unread(path, &error))?;
            }
            builder.with_root_certificates(roots)
        }
    };
    Ok(match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            let read = PrivateKeyDer::from_pem_file(key).map_err(|error| unread(key, &error))?;
            builder.with_client_auth_cert(certificates(certificate)?, read).map_err(|error| unread(key, &error))?
        }
        _ => builder.with_no_client_auth(),
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BoxError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| unread(path, &error))?;
    if found.is_empty() { Err(unread(path, &"it holds no certificate")) } else { Ok(found) }
}

fn unread(path: &Path, error: &dyn std::fmt::Display) -> BoxError {
    format!("{}: {error}", path.display()).into()
}
