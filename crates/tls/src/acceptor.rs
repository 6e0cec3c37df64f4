//! The server's end.

use std::{fmt, io, sync::Arc};

use rustls::{
    InconsistentKeys, ServerConfig,
    pki_types::{PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;

use crate::{PemError, Stream, certificates, provider};

/// The first byte of whoever speaks TLS: a record of the handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;
/// Bytes that are read of whoever does not.
const PLAIN_BYTES_MAX: usize = 4 * 1024;
/// What is answered to it, in the words of Go's servers.
const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; \
    charset=utf-8\r\nconnection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Encrypts connections as a server that has a certificate.
#[derive(Clone)]
pub struct Acceptor(TlsAcceptor);

impl Acceptor {
    /// A server with a certificate, which may be followed by those of its authorities, and the
    /// certificate's private key; both as PEM.
    ///
    /// # Errors
    ///
    /// When one of them cannot be read or used, or they do not belong together.
    ///
    /// # Panics
    ///
    /// Never: the cryptography that is built in has both versions of TLS.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, PemError> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key);
        let key = key.map_err(|error| PemError::Key(error.to_string()))?;
        let provider = provider();
        let key = provider.key_provider.load_private_key(key);
        let key = key.map_err(|error| PemError::Key(error.to_string()))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            // A kind of key whose other half cannot be told is for the handshake to find out.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => return Err(PemError::Mismatch),
            Err(error) => return Err(PemError::Certificate(error.to_string())),
        }
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has ciphers of every version")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        // Who offers HTTP/2 as well must not believe that it was agreed to.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Agrees with a client on an encrypted connection. How long that may take is for the caller
    /// to say: a client can be silent for ever.
    ///
    /// # Errors
    ///
    /// When the client went away or wants what is not offered.
    pub async fn accept(&self, mut socket: TcpStream) -> io::Result<Stream> {
        let mut first = [HANDSHAKE];
        if socket.peek(&mut first).await? > 0 && first != [HANDSHAKE] {
            refuse(&mut socket).await?;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the client speaks no TLS"));
        }
        self.0.accept(socket).await.map(|stream| Stream::encrypted(stream.into()))
    }
}

/// Says what is wrong in words that people see.
async fn refuse(socket: &mut TcpStream) -> io::Result<()> {
    // What is left unread would reset the connection, and take the answer with it.
    let mut unread = vec![0; PLAIN_BYTES_MAX];
    let _count = socket.read(&mut unread).await?;
    socket.write_all(PLAIN_ANSWER).await?;
    socket.shutdown().await
}

impl fmt::Debug for Acceptor {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}
