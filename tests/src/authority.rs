//! An authority of a test's own, and certificates that it vouches for. Knows no server.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// What one that speaks TLS on this machine shows.
#[derive(Debug)]
pub struct Shown {
    /// Its certificate, in PEM.
    pub certificate: String,
    /// Its key, in PEM.
    pub key: String,
}

/// An authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The file with its own certificate, for those who are to trust it.
    pub file: PathBuf,
}

impl Authority {
    /// Makes one, and writes its certificate to `file`.
    ///
    /// # Panics
    /// If there is no randomness, or the file can't be written.
    #[must_use]
    pub fn new(file: &Path) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut ours = CertificateParams::new(Vec::new()).expect("parameters");
        ours.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = ours.self_signed(&key).expect("a certificate");
        std::fs::write(file, certificate.pem()).expect("it can be written");
        Self { issuer: Issuer::new(ours, key), file: file.to_owned() }
    }

    /// A certificate for the loopback address.
    ///
    /// # Panics
    /// If there is no randomness.
    #[must_use]
    pub fn vouches(&self) -> Shown {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Shown { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}
