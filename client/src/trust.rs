//! Whom a client takes for its server: whoever the system's authorities and Mozilla's vouch for or, where
//! the app names them, authorities of its own and no others. Knows no socket.

use std::path::PathBuf;
#[cfg(feature = "tls")]
use std::{path::Path, sync::Arc};

#[cfg(feature = "tls")]
use rustls::pki_types::CertificateDer;
#[cfg(feature = "tls")]
use rustls::pki_types::pem::PemObject;
#[cfg(feature = "tls")]
use rustls::{ClientConfig, RootCertStore};
#[cfg(feature = "tls")]
use tokio_tungstenite::Connector;

/// Certificates of authorities can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The file can't be read, or is not PEM.
    #[error("can't read {} as PEM: {why}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// There is no certificate in the file.
    #[error("there is no certificate in {}", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// This build has no TLS.
    #[error("this build has no TLS (feature `tls`), so nobody needs to be trusted")]
    NoTls,
}

/// Whom to trust.
#[cfg(feature = "tls")]
#[derive(Clone, Default)]
pub(crate) struct Trust(Option<Arc<ClientConfig>>);

#[cfg(feature = "tls")]
impl Trust {
    /// Only those whom the authorities in this file vouch for.
    pub(crate) fn of_file(path: &Path) -> Result<Self, TrustError> {
        let unreadable = |why: String| TrustError::Unreadable { path: path.to_owned(), why };
        let mut roots = RootCertStore::empty();
        let certificates =
            CertificateDer::pem_file_iter(path).map_err(|e| unreadable(e.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|e| unreadable(e.to_string()))?;
            roots.add(certificate).map_err(|e| unreadable(e.to_string()))?;
        }
        if roots.is_empty() {
            return Err(TrustError::Empty { path: path.to_owned() });
        }
        Ok(Self(Some(trusting(roots).map_err(|e| unreadable(e.to_string()))?)))
    }

    /// How TLS is spoken.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = &self.0 {
            return Ok(Arc::clone(config));
        }
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        // Those of the system count as well, where there are any.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        trusting(roots).map_err(|error| error.to_string())
    }

    /// What dials, if not what does by default.
    pub(crate) fn connector(&self) -> Option<Connector> {
        self.0.clone().map(Connector::Rustls)
    }
}

#[cfg(feature = "tls")]
fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Nobody needs to be trusted.
#[cfg(not(feature = "tls"))]
#[derive(Clone, Default)]
pub(crate) struct Trust;

#[cfg(not(feature = "tls"))]
impl Trust {
    pub(crate) fn of_file(_: &std::path::Path) -> Result<Self, TrustError> {
        Err(TrustError::NoTls)
    }
}

// A configuration of TLS says nothing that fits a line.
impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust").finish_non_exhaustive()
    }
}
