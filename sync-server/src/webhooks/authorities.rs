//! Whom a receiver's certificate must be vouched for by, where the operator names that: authorities of
//! their own, and no others. Knows no receiver.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Authorities that are trusted, from a file.
#[derive(Clone)]
pub struct Authorities(Arc<ClientConfig>);

// A configuration of TLS says nothing that fits a line.
impl std::fmt::Debug for Authorities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorities").finish_non_exhaustive()
    }
}

impl Authorities {
    /// Reads certificates of authorities, in PEM.
    ///
    /// # Errors
    /// What is wrong with the file, as a sentence that follows the receiver's name.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let unusable = |why: String| format!("its ca {} cannot be used: {why}", path.display());
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(path);
        for certificate in certificates.map_err(|error| unusable(error.to_string()))? {
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(unusable("there is no certificate in it".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// How TLS is spoken with who is vouched for.
    pub(super) fn config(&self) -> ClientConfig {
        (*self.0).clone()
    }
}
