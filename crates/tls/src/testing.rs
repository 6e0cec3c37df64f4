//! An authority that nobody knows, for tests.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::{Acceptor, Connector};

/// Signs certificates of servers.
#[derive(Debug)]
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A server's certificate and its private key, as PEM.
#[derive(Debug, Clone)]
pub struct Certified {
    /// The certificate.
    pub chain: String,
    /// The key.
    pub key: String,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    ///
    /// When there is no randomness to be had.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "no two of them are equal")]
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "Hematite's tests");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// Its own certificate, as PEM: for whoever shall trust it.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A server's certificate for names and IP addresses.
    ///
    /// # Panics
    ///
    /// When one of them is neither.
    #[must_use]
    pub fn certify(&self, names: &[&str]) -> Certified {
        let key = KeyPair::generate().expect("a key");
        let certificate = params(names).signed_by(&key, &self.issuer).expect("a certificate");
        Certified { chain: certificate.pem(), key: key.serialize_pem() }
    }

    /// A server on this machine.
    ///
    /// # Panics
    ///
    /// Never: what it makes it can read.
    #[must_use]
    pub fn acceptor(&self) -> Acceptor {
        let Certified { chain, key } = self.certify(&["localhost", "127.0.0.1"]);
        Acceptor::from_pem(chain.as_bytes(), key.as_bytes()).expect("they belong together")
    }

    /// A client that trusts it.
    ///
    /// # Panics
    ///
    /// Never: what it makes it can read.
    #[must_use]
    pub fn connector(&self) -> Connector {
        Connector::trusting(self.pem().as_bytes()).expect("it is a certificate")
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).expect("names and addresses")
}
