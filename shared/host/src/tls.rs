//! TLS for the API: a certificate and its key from files, which are read again when they change. So a renewed certificate
//! needs no restart.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::error::HostError;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A certificate with its chain, and its key: files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// What tells the content of both files from a later one: the change, the size and the number of each.
type Stamp = [Option<(i64, i64, u64, u64)>; 2];

/// The certificate as it was last read.
#[derive(Debug)]
pub(crate) struct Certificate {
    files: TlsFiles,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Reads the files.
    pub(crate) fn read(files: TlsFiles) -> Result<Arc<Self>, HostError> {
        let current = RwLock::new(Arc::new(files.read()?));
        Ok(Arc::new(Self { files, current }))
    }

    /// Answers connections with it.
    pub(crate) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, HostError> {
        let unusable = |error: rustls::Error| unusable(&self.files.certificate, error);
        let versions = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let mut config = versions.with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files again whenever they change, until `stop`. What can not be read changes nothing: the next change of a
    /// file brings the next try.
    pub(crate) async fn renew(self: Arc<Self>, stop: CancellationToken) {
        self.renew_every(LOOK_EVERY, stop).await;
    }

    async fn renew_every(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        let mut known = self.files.stamp();
        while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            let certificate = self.clone();
            // A disk may take long to answer.
            let looked = tokio::task::spawn_blocking(move || certificate.look(known)).await;
            known = looked.unwrap_or(known);
        }
    }

    /// Reads the files if they are others than known; gives what is known from here on.
    fn look(&self, known: Stamp) -> Stamp {
        let found = self.files.stamp();
        if found == known {
            return known;
        }
        match self.files.read() {
            Ok(read) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
                tracing::info!(file = %self.files.certificate.display(), "the API has a new certificate");
            }
            Err(error) => tracing::warn!(%error, "the API keeps the certificate that it has"),
        }
        found
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl TlsFiles {
    fn read(&self) -> Result<CertifiedKey, HostError> {
        let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect)
            .map_err(|error| unusable(&self.certificate, error))?;
        if chain.is_empty() {
            return Err(unusable(&self.certificate, "it holds no certificate"));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| unusable(&self.key, error))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| {
            let is_others = error == rustls::Error::from(InconsistentKeys::KeyMismatch);
            let why = if is_others { "it is not the key of the certificate".to_owned() } else { error.to_string() };
            unusable(&self.key, why)
        })
    }

    fn stamp(&self) -> Stamp {
        [&self.certificate, &self.key].map(|path| {
            let found = fs::metadata(path).ok()?;
            Some((found.mtime(), found.mtime_nsec(), found.len(), found.ino()))
        })
    }
}

fn unusable(path: &Path, why: impl std::fmt::Display) -> HostError {
    HostError::Tls { path: path.to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The certificate of a name, and its key.
    fn write(folder: &Path, name: &str) -> (TlsFiles, CertificateDer<'static>) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("made");
        let files = TlsFiles { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
        fs::write(&files.certificate, made.cert.pem()).expect("written");
        fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
        (files, made.cert.der().clone())
    }

    fn shown(certificate: &Certificate) -> CertificateDer<'static> {
        certificate.current.read().expect("not poisoned").cert[0].clone()
    }

    #[test]
    fn changed_files_are_read_again_and_broken_ones_are_not_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let (files, first) = write(folder.path(), "one.example");
        let certificate = Certificate::read(files.clone()).expect("read");
        assert_eq!(shown(&certificate), first);
        let unknown = Stamp::default();
        let (_, second) = write(folder.path(), "two.example");
        let known = certificate.look(unknown);
        assert_eq!(shown(&certificate), second);
        assert_eq!(certificate.look(known), known);
        // The certificate has been renewed, and its key not yet.
        let key = fs::read(&files.key).expect("read");
        let (_, third) = write(folder.path(), "three.example");
        let (new, new_key) = (fs::read(&files.certificate).expect("read"), fs::read(&files.key).expect("read"));
        fs::write(&files.key, key).expect("written");
        certificate.look(unknown);
        assert_eq!(shown(&certificate), second);
        fs::remove_file(&files.certificate).expect("removed");
        assert_eq!(certificate.look(unknown)[0], None);
        assert_eq!(shown(&certificate), second);
        fs::write(&files.certificate, "").expect("written");
        certificate.look(unknown);
        assert_eq!(shown(&certificate), second);
        fs::write(&files.certificate, new).expect("written");
        fs::write(&files.key, new_key).expect("written");
        certificate.look(unknown);
        assert_eq!(shown(&certificate), third);
    }

    #[test]
    fn unusable_files_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let (files, _) = write(folder.path(), "one.example");
        let refused = |files: &TlsFiles| Certificate::read(files.clone()).expect_err("unusable").to_string();
        let swapped = TlsFiles { certificate: files.key.clone(), key: files.certificate.clone() };
        assert!(refused(&swapped).contains("key.pem for TLS: it holds no certificate"), "{}", refused(&swapped));
        let none = TlsFiles { key: folder.path().join("none"), ..files.clone() };
        assert!(refused(&none).contains("none for TLS: "), "{}", refused(&none));
        let other = rcgen::generate_simple_self_signed(["one.example".to_owned()]).expect("made");
        fs::write(&files.key, other.signing_key.serialize_pem()).expect("written");
        assert!(
            refused(&files).contains("key.pem for TLS: it is not the key of the certificate"),
            "{}",
            refused(&files)
        );
    }
}
