//! Certificates for tests of TLS.

/// A certificate and its private key, both as PEM: self-signed, of the name `localhost`, valid until 2126.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertifiedKey {
    /// What is shown. A client that has it among its roots trusts it.
    pub certificate: &'static str,
    /// The private key.
    pub key: &'static str,
}

impl CertifiedKey {
    /// One that a server begins with.
    pub const FIRST: Self = Self {
        certificate: include_str!("certificates/first.cert.pem"),
        key: include_str!("certificates/first.key.pem"),
    };

    /// One of the same name, which takes its place.
    pub const RENEWED: Self = Self {
        certificate: include_str!("certificates/renewed.cert.pem"),
        key: include_str!("certificates/renewed.key.pem"),
    };
}
