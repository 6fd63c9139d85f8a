//! TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay_api::{Resume, SourceConfig};
use forebay_testkit::CertifiedKey;
use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{body, config, open, send};

const FIRST: CertifiedKey = CertifiedKey::FIRST;
const RENEWED: CertifiedKey = CertifiedKey::RENEWED;

/// Connects, and trusts only this certificate.
async fn connect(address: SocketAddr, trusted: CertifiedKey) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.certificate.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(client)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// Scenario: a request over TLS, and one without on the same port; then the certificate is renewed while the source runs.
/// Guarantees: the certificate of the file is shown, and nothing is taken without TLS; soon the new certificate is shown, to
/// those who connect then, and a connection from before goes on.
#[tokio::test]
async fn over_tls() {
    let directory = TempDir::new().unwrap();
    let [certificate, key] = ["chain.pem", "key.pem"].map(|it| directory.path().join(it));
    std::fs::write(&certificate, FIRST.certificate).unwrap();
    std::fs::write(&key, FIRST.key).unwrap();
    let tls = format!("tls = {{ certificate = '{}', key = '{}' }}", certificate.display(), key.display());
    let mut config = config(&directory.path().join("spool"), &tls);
    config.tls.as_mut().unwrap().look_every = Some(Duration::from_millis(10));
    let (_source, address) = open(&config, Resume::start()).await;
    let request = |id| {
        let request = Request::post("/").header("host", "localhost");
        request.body(Full::new(Bytes::from(body(id, &[b"one"])))).unwrap()
    };
    let (status, _, text) = send(connect(address, FIRST).await.unwrap(), request("r-1")).await;
    assert_eq!(status, 200, "{text}");

    let stream = TcpStream::connect(address).await.unwrap();
    let (mut to, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert!(to.send_request(request("r-2")).await.is_err());

    let before = connect(address, FIRST).await.unwrap();
    assert!(connect(address, RENEWED).await.is_err());
    std::fs::write(&certificate, RENEWED.certificate).unwrap();
    std::fs::write(&key, RENEWED.key).unwrap();
    let renewed = async {
        loop {
            if let Ok(stream) = connect(address, RENEWED).await {
                return stream;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let renewed = tokio::time::timeout(Duration::from_secs(60), renewed).await.expect("the new certificate is shown");
    assert!(connect(address, FIRST).await.is_err());
    for (stream, id) in [(renewed, "r-3"), (before, "r-4")] {
        let (status, _, text) = send(stream, request(id)).await;
        assert_eq!(status, 200, "{text}");
    }
}

/// Scenario: a certificate that is missing, and one with another's key.
/// Guarantees: the source does not start, and says which file it is about.
#[tokio::test]
async fn bad_certificates() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("chain.pem"), FIRST.certificate).unwrap();
    for (certificate, key) in [("none.pem", "none.key"), ("chain.pem", "none.key"), ("chain.pem", "chain.pem")] {
        let tls = format!("tls = {{ certificate = '{}', key = '{}' }}", path(certificate), path(key));
        let opened = config(&directory.path().join("spool"), &tls).open(Resume::start()).await;
        let text = opened.err().unwrap().to_string();
        assert!(text.contains(if certificate == "none.pem" { "none.pem" } else { key }), "{text}");
    }
}
