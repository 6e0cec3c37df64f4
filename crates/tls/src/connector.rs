//! The client's end.

use std::{fmt, io, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, InvalidMessage, RootCertStore, pki_types::ServerName,
};
use tokio::{net::TcpStream, sync::OnceCell, task};
use tokio_rustls::TlsConnector;

use crate::{PemError, Stream, certificates, provider};

/// Encrypts connections as a client that knows whom to trust.
#[derive(Clone, Default)]
pub struct Connector(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// `None` are the system's: read with the first connection, because most have none.
    roots: Option<Arc<RootCertStore>>,
    connector: OnceCell<TlsConnector>,
}

impl Connector {
    /// A client that trusts what one of these certificates signed, and nothing else. The default
    /// trusts what the system does.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub fn trusting(pem: &[u8]) -> Result<Self, PemError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem)? {
            let added = roots.add(certificate);
            added.map_err(|error| PemError::Certificate(error.to_string()))?;
        }
        let connector = OnceCell::new();
        Ok(Self(Arc::new(Shared { roots: Some(Arc::new(roots)), connector })))
    }

    /// Agrees with a server on an encrypted connection, if it can prove to be the host: a name or
    /// an IP address, without brackets and port.
    ///
    /// # Errors
    ///
    /// When it cannot, or speaks no TLS.
    pub async fn connect(&self, host: &str, socket: TcpStream) -> io::Result<Stream> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let connector = self.0.connector.get_or_try_init(|| self.connector()).await?;
        let stream = connector.connect(name, socket).await.map_err(explained)?;
        Ok(Stream::encrypted(stream.into()))
    }

    async fn connector(&self) -> io::Result<TlsConnector> {
        let roots = match &self.0.roots {
            Some(roots) => Arc::clone(roots),
            None => Arc::new(task::spawn_blocking(system_roots).await??),
        };
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has ciphers of every version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

/// What the system trusts, where `curl` and Go look for it.
fn system_roots() -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // Some that are old or odd are in every system.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let text = "this machine trusts no certificate: install its package ca-certificates, or \
                    name those to trust with --tls.cafile FILE";
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    Ok(roots)
}

/// The same error, with what to do about it.
fn explained(error: io::Error) -> io::Error {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let text = match cause {
        // The other is an authority of a trusted one's name, with another key.
        Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => {
            "the server's certificate is signed by nobody that is trusted here; --tls.cafile FILE \
             names whom to trust"
        }
        // The library has no name of its own for it.
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(other)))
            if format!("{other:?}").contains("CaUsedAsEndEntity") =>
        {
            "the server's certificate is that of an authority (CA:TRUE), not of a server; make one \
             with basicConstraints=CA:FALSE"
        }
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "the server does not speak TLS; is it http:// or ws://?"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), text)
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trusts = if self.0.roots.is_some() { "what was named" } else { "what the system does" };
        f.debug_struct("Connector").field("trusts", &trusts).finish_non_exhaustive()
    }
}
