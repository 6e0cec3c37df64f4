//! TLS 1.2 and 1.3 on TCP, both ends: what encrypts the doors of a node, and how its clients know
//! a server.
//!
//! Knows nothing of what is said on a connection, and reads no file but the system's certificates.
//! [`Acceptor`] is the server's end, [`Connector`] the client's, and [`Stream`] a connection that
//! is encrypted or not.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! let socket = tokio::net::TcpStream::connect("node.example:443").await?;
//! let stream = tls::Connector::default().connect("node.example", socket).await?;
//! # Ok(())
//! # }
//! ```

mod acceptor;
mod connector;
mod stream;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustls::{
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, pem::PemObject},
};

pub use acceptor::Acceptor;
pub use connector::Connector;
pub use stream::Stream;

/// Why something is of no use for TLS. The variant says which of the files is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// The certificates.
    #[error(
        "no certificate can be read in it ({0}); it is a PEM file with -----BEGIN CERTIFICATE-----"
    )]
    Certificate(String),
    /// The private key.
    #[error(
        "no private key can be read in it ({0}); it is a PEM file with -----BEGIN PRIVATE KEY-----, \
         without a password"
    )]
    Key(String),
    /// Neither alone.
    #[error("the private key is not that of the certificate")]
    Mismatch,
}

/// What all cryptography here is done with.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// All certificates of a PEM file.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|error| PemError::Certificate(error.to_string()))?;
    if read.is_empty() {
        return Err(PemError::Certificate("there is none".to_owned()));
    }
    Ok(read)
}
