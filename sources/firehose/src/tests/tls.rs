//! TLS.

use std::sync::Arc;

use bytes::Bytes;
use forebay_api::{Resume, SourceConfig};
use http_body_util::Full;
use hyper::Request;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{body, config, open, send};

/// Self-signed, of the name `localhost`, valid until 2126.
const CERTIFICATE: &str = include_str!("localhost.pem");
const KEY: &str = include_str!("localhost.key");

/// Scenario: a request over TLS, and one without on the same port.
/// Guarantees: the certificate of the file is shown, and nothing is taken without TLS.
#[tokio::test]
async fn over_tls() {
    let directory = TempDir::new().unwrap();
    let [certificate, key] = ["chain.pem", "key.pem"].map(|it| directory.path().join(it));
    std::fs::write(&certificate, CERTIFICATE).unwrap();
    std::fs::write(&key, KEY).unwrap();
    let tls = format!("tls = {{ certificate = '{}', key = '{}' }}", certificate.display(), key.display());
    let (_source, address) = open(&config(&directory.path().join("spool"), &tls), Resume::start()).await;

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let stream = TlsConnector::from(Arc::new(client)).connect(ServerName::try_from("localhost").unwrap(), stream);
    let request = Request::post("/").header("host", "localhost");
    let request = request.body(Full::new(Bytes::from(body("r-1", &[b"one"])))).unwrap();
    let (status, _, text) = send(stream.await.unwrap(), request).await;
    assert_eq!(status, 200, "{text}");

    let stream = TcpStream::connect(address).await.unwrap();
    let (mut to, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("/").header("host", "localhost").body(Full::new(Bytes::new())).unwrap();
    assert!(to.send_request(request).await.is_err());
}

/// Scenario: a certificate that is missing, and one with another's key.
/// Guarantees: the source does not start, and says which file it is about.
#[tokio::test]
async fn bad_certificates() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("chain.pem"), CERTIFICATE).unwrap();
    for (certificate, key) in [("none.pem", "none.key"), ("chain.pem", "none.key"), ("chain.pem", "chain.pem")] {
        let tls = format!("tls = {{ certificate = '{}', key = '{}' }}", path(certificate), path(key));
        let opened = config(&directory.path().join("spool"), &tls).open(Resume::start()).await;
        let text = opened.err().unwrap().to_string();
        assert!(text.contains(if certificate == "none.pem" { "none.pem" } else { key }), "{text}");
    }
}
