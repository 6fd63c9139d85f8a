//! HTTPS with authorities of our own, and a server that wants to know who comes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use expect_test::expect;
use forebay_api::SinkConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;

use super::front::{front, passed_on};
use super::{NUMBERS, Place, numbers, said, staged};

/// Two authorities and who they vouch for, as PEM files.
struct Papers(TempDir);

impl Papers {
    fn new() -> Self {
        let papers = Self(TempDir::new().unwrap());
        for authority in ["ours", "theirs"] {
            papers.make(authority, &["-addext", "basicConstraints=critical,CA:TRUE"]);
        }
        for (name, authority) in [("server", "ours"), ("client", "ours"), ("stranger", "theirs")] {
            let (certificate, key) = (papers.certificate(authority), papers.key(authority));
            let by = ["-CA", certificate.to_str().unwrap(), "-CAkey", key.to_str().unwrap()];
            let end = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=IP:127.0.0.1"];
            papers.make(name, &[by.as_slice(), &end].concat());
        }
        papers
    }

    /// A key, and a certificate for it.
    fn make(&self, name: &str, more: &[&str]) {
        // The defaults of the machine would add what is said here.
        let config = self.0.path().join("config");
        std::fs::write(&config, "[req]\ndistinguished_name = name\n[name]\n").unwrap();
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        command.args(["-days", "2", "-subj", &format!("/CN={name}")]).arg("-config").arg(config);
        command.arg("-keyout").arg(self.key(name)).arg("-out").arg(self.certificate(name)).args(more);
        let made = command.output().unwrap_or_else(|error| panic!("the tests need `openssl`: {error}"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    fn certificate(&self, name: &str) -> PathBuf {
        self.0.path().join(format!("{name}.pem"))
    }

    fn key(&self, name: &str) -> PathBuf {
        self.0.path().join(format!("{name}.key"))
    }

    /// Whom the server trusts, and who it is.
    fn server(&self) -> Arc<ServerConfig> {
        let read = |path: &Path| CertificateDer::from_pem_file(path).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(read(&self.certificate("ours"))).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let key = PrivateKeyDer::from_pem_file(self.key("server")).unwrap();
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_client_cert_verifier(clients);
        Arc::new(config.with_single_cert(vec![read(&self.certificate("server"))], key).unwrap())
    }
}

/// Scenario: a server behind TLS that shows a certificate of a private authority, and wants one from its clients; keys
/// and certificates that are right, missing, somebody else's, or no such files.
/// Guarantees: rows arrive where both sides know each other; otherwise the sink waits, or says which file it is.
#[tokio::test]
async fn who_is_trusted() {
    let place = Place::new();
    place.table(NUMBERS);
    let papers = Papers::new();
    let port: u16 = place.server.endpoint().rsplit(':').next().unwrap().parse().unwrap();
    let endpoint =
        format!("https://127.0.0.1:{}", front(Some(papers.server()), move |head, body| passed_on(port, head, body)));
    std::fs::write(papers.certificate("empty"), "").unwrap();
    let directory = papers.0.path().display().to_string();
    let roots = |name: &str| format!("roots = '{}'\n", papers.certificate(name).display());
    let shown = |name: &str, key: &str| {
        format!("certificate = '{}'\nkey = '{}'\n", papers.certificate(name).display(), papers.key(key).display())
    };
    let cases = [
        ("all is right", roots("ours") + &shown("client", "client")),
        ("the system's authorities", shown("client", "client")),
        ("other authorities", roots("theirs") + &shown("client", "client")),
        ("no certificate", roots("ours")),
        ("a stranger's certificate", roots("ours") + &shown("stranger", "stranger")),
        ("a key for another door", roots("ours") + &shown("client", "server")),
        ("no such file", roots("nothing")),
        ("a file with nothing in it", roots("empty")),
        ("a certificate for a key", roots("ours") + &shown("client", "client").replace("client.key", "client.pem")),
    ];
    let rows = numbers(0..20_000);
    let mut printed = String::new();
    for (name, keys) in cases {
        let config = place.config_at(&endpoint, &format!("[tls]\n{keys}"));
        config.plan(&rows.schema()).unwrap();
        let answer = match config.open(rows.schema()).await {
            Ok(sink) => said(staged(sink.as_ref(), 1, std::slice::from_ref(&rows)).await.commit().await),
            Err(error) => format!("not opened: {error}"),
        };
        let answer = answer.replace(&place.database, "database");
        // Who is not let in may hear why before the connection ends, or not.
        let answer = answer
            .split_once("error: client error (Connect)")
            .map_or_else(|| answer.split(": network error").next().unwrap_or_default().to_owned(), |_| answer.clone());
        printed.push_str(&format!("{name}: {}\n", answer.replace(&directory, "directory")));
    }
    expect![[r#"
        all is right: done
        the system's authorities: retry: looking at table `database`.`rows`: network error: client error (Connect): invalid peer certificate: UnknownIssuer
        other authorities: retry: looking at table `database`.`rows`: network error: client error (Connect): invalid peer certificate: UnknownIssuer
        no certificate: retry: looking at table `database`.`rows`
        a stranger's certificate: retry: looking at table `database`.`rows`
        a key for another door: not opened: directory/server.key: keys may not be consistent: KeyMismatch
        no such file: not opened: directory/nothing.pem: I/O error: No such file or directory (os error 2)
        a file with nothing in it: not opened: directory/empty.pem: it holds no certificate
        a certificate for a key: not opened: directory/client.pem: no items found
    "#]].assert_eq(&printed);
    assert_eq!(place.count(), "20000\t20000");
}
