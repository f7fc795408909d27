//! The certificate that the server shows, read again when its files change, so that a renewal needs no
//! restart. Connections that are open keep what they were opened with. Knows no socket.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::metrics::Meters;

/// How often the files are looked at for a change.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A chain has a few certificates; a file with more is something else.
const CHAIN_MAX: usize = 32;

/// Where a certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate with those that it hangs on, in PEM, its own first.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// A certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or is not PEM.
    #[error("cannot read {} as PEM: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// There is no certificate in its file, or too many are.
    #[error("{} must have 1 to {CHAIN_MAX} certificates, not {count}", path.display())]
    Count {
        /// Which file.
        path: PathBuf,
        /// How many it has.
        count: usize,
    },
    /// The key is of a kind that is not known, or it is not the certificate's.
    #[error("the key in {} does not fit the certificate: {source}", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
}

/// The certificate of the moment.
pub(crate) struct Certificates {
    files: TlsFiles,
    current: RwLock<Arc<CertifiedKey>>,
    look: Notify,
    meters: Arc<Meters>,
}

// Keys are secrets.
impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`] says what is wrong with them.
    pub(crate) fn read(files: TlsFiles, meters: Arc<Meters>) -> Result<Self, TlsError> {
        let current = RwLock::new(Arc::new(read(&files)?));
        Ok(Self { files, current, look: Notify::new(), meters })
    }

    /// What agrees on TLS with the certificate of the moment.
    pub(crate) fn acceptor(self: &Arc<Self>) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has what these versions need")
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Self>::clone(self));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// Has the files read again, whether they look changed or not.
    pub(crate) fn look_again(&self) {
        self.look.notify_one();
    }

    /// Reads the files again when they have changed. What cannot be used is reported, and the
    /// certificate stays as it was. Never ends.
    pub(crate) async fn follow(self: Arc<Self>) {
        let mut seen = modified(&self.files);
        loop {
            let told = tokio::time::timeout(LOOK_EVERY, self.look.notified()).await.is_ok();
            let now = modified(&self.files);
            if now == seen && !told {
                continue;
            }
            let read = read(&self.files);
            self.meters.certificate_read(read.is_ok());
            match read {
                Ok(key) => {
                    tracing::info!("certificate read again");
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                }
                // The two files are not replaced in one step; the second brings another look.
                Err(error) => tracing::error!(%error, "the certificate stays as it was"),
            }
            seen = now;
        }
    }
}

fn modified(files: &TlsFiles) -> [Option<SystemTime>; 2] {
    [&files.certificate, &files.key]
        .map(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
}

fn read(files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
    let TlsFiles { certificate, key } = files;
    let unreadable = |path: &Path, source| TlsError::Unreadable { path: path.to_owned(), source };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(|certificates| certificates.take(CHAIN_MAX + 1).collect::<Result<Vec<_>, _>>())
        .map_err(|source| unreadable(certificate, source))?;
    if chain.is_empty() || chain.len() > CHAIN_MAX {
        return Err(TlsError::Count { path: certificate.clone(), count: chain.len() });
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|source| unreadable(key, source))?;
    CertifiedKey::from_der(chain, private, &rustls::crypto::ring::default_provider())
        .map_err(|source| TlsError::Key { path: key.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(dir: &Path, name: &str) -> TlsFiles {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        let files = TlsFiles {
            certificate: dir.join(format!("{name}.crt")),
            key: dir.join(format!("{name}.key")),
        };
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn what_cannot_be_used_says_which_file_and_why() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (pair(dir.path(), "one"), pair(dir.path(), "two"));
        assert!(read(&one).is_ok());
        let crossed = TlsFiles { certificate: one.certificate.clone(), key: two.key };
        assert!(matches!(read(&crossed), Err(TlsError::Key { .. })));
        let missing = TlsFiles { key: dir.path().join("missing"), ..one.clone() };
        let said = read(&missing).expect_err("there is no key").to_string();
        assert!(said.contains("missing"), "{said}");
        std::fs::write(&one.certificate, "no PEM at all").unwrap();
        assert!(matches!(read(&one), Err(TlsError::Count { count: 0, .. })));
        let begun = "-----BEGIN CERTIFICATE-----\nAAAA";
        std::fs::write(&one.certificate, begun).unwrap();
        assert!(read(&one).is_err());
    }
}
