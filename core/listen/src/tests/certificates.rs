//! TLS.

use std::path::Path;

use expect_test::expect;
use forebay_testkit::CertifiedKey;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::certificate::Certificate;

const ONE: CertifiedKey = CertifiedKey::FIRST;
const TWO: CertifiedKey = CertifiedKey::RENEWED;

fn write(directory: &Path, CertifiedKey { certificate, key }: CertifiedKey) -> Tls {
    let files = Tls {
        certificate: directory.join("cert.pem"),
        key: directory.join("key.pem"),
        look_every: Some(Duration::from_millis(10)),
    };
    std::fs::write(&files.certificate, certificate).unwrap();
    std::fs::write(&files.key, key).unwrap();
    files
}

/// Connects, and trusts both certificates.
async fn connect(address: SocketAddr, protocol: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for it in [ONE, TWO] {
        roots.add(CertificateDer::from_pem_slice(it.certificate.as_bytes()).unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// The certificate that is shown, and the protocol that is agreed on.
async fn shown(served: &Served, protocol: &str) -> String {
    let stream = connect(served.address(), protocol).await.unwrap();
    let (_, session) = stream.get_ref();
    let shown = &session.peer_certificates().unwrap()[0];
    let is = |it: CertifiedKey| *shown == CertificateDer::from_pem_slice(it.certificate.as_bytes()).unwrap();
    let agreed = String::from_utf8_lossy(session.alpn_protocol().unwrap_or(b"none")).into_owned();
    format!(
        "{}, {agreed}",
        if is(ONE) {
            "one"
        } else if is(TWO) {
            "two"
        } else {
            "another"
        }
    )
}

/// Scenario: a certificate is renewed, after somebody has written half of it.
/// Guarantees: HTTP/2 is offered where it is spoken; the old certificate is shown until the new one is whole, and then that.
#[tokio::test]
async fn renewed() {
    let directory = tempfile::tempdir().unwrap();
    let files = write(directory.path(), ONE);
    let served = serve_within(Descriptors::of_process(), Some(&files), BOUNDS).await;
    assert_eq!(shown(&served, "h2").await, "one, h2");
    assert_eq!(shown(&served, "http/1.1").await, "one, http/1.1");
    let mut before = connect(served.address(), "http/1.1").await.unwrap();
    write(directory.path(), CertifiedKey { key: "", ..TWO });
    // So often the files were looked at meanwhile that this was seen.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(shown(&served, "h2").await, "one, h2");
    write(directory.path(), TWO);
    let renewed = async { while shown(&served, "h2").await != "two, h2" {} };
    tokio::time::timeout(PATIENCE, renewed).await.expect("the new one is shown");
    before.write_all(b"GET / HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(rest(&mut before).await.starts_with("HTTP/1.1 200 OK"));

    let served = serve_within(Descriptors::of_process(), Some(&files), Bounds { http_2: false, ..BOUNDS }).await;
    assert_eq!(shown(&served, "http/1.1").await, "two, http/1.1");
    assert!(connect(served.address(), "h2").await.is_err());
}

/// Scenario: who connects speaks no TLS, trusts another certificate, says nothing, or goes away at once.
/// Guarantees: each is closed in its time and counted; who speaks TLS is answered.
#[tokio::test]
async fn failed_handshakes() {
    let directory = tempfile::tempdir().unwrap();
    let files = write(directory.path(), ONE);
    let bounds = Bounds { header_timeout: Duration::from_secs(5), ..BOUNDS };
    let served = serve_within(Descriptors::of_process(), Some(&files), bounds).await;
    let mut plain = served.connect().await;
    plain.write_all(POST.as_bytes()).await.unwrap();
    rest(&mut plain).await;
    assert_eq!(rest(&mut served.connect().await).await, "");
    drop(served.connect().await);
    served.counted("accepted=0 tls=3").await;
    let mut stream = connect(served.address(), "http/1.1").await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
    served.counted("accepted=1 tls=3").await;
}

/// Scenario: files that are missing, empty, or do not belong together.
/// Guarantees: it is said which one cannot be used.
#[test]
fn bad_files() {
    let directory = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for (certificate, key) in [
        (ONE.certificate, ONE.key),
        ("", ONE.key),
        (ONE.certificate, ""),
        (ONE.certificate, TWO.key),
        (ONE.key, ONE.certificate),
    ] {
        let opened = Certificate::open(&write(directory.path(), CertifiedKey { certificate, key }));
        text += &opened.map_or_else(|error| format!("{error}\n"), |_| "good\n".to_owned());
    }
    let files = write(directory.path(), ONE);
    std::fs::remove_file(&files.key).unwrap();
    text += &Certificate::open(&files).unwrap_err().to_string();
    expect![[r#"
        good
        `cert.pem` cannot be used: there is no certificate in it
        `key.pem` cannot be used: no items found
        `key.pem` cannot be used: keys may not be consistent: KeyMismatch
        `cert.pem` cannot be used: there is no certificate in it
        `key.pem` cannot be read: No such file or directory (os error 2)"#]]
    .assert_eq(&text.replace(&format!("{}/", directory.path().display()), ""));
}
