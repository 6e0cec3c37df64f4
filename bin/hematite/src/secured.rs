//! Files of certificates and secrets: read once, before anything is opened, and each fault named
//! with its flag and file.

use std::{fmt::Display, fs::File, io::Read, os::unix::fs::PermissionsExt, path::Path};

use eyre::{Result, eyre};
use rpc::{Guard, Logins, TokenSecret};
use tls::{Acceptor, Connector, PemError};
use zeroize::Zeroizing;

use crate::{config::Doors, exit::UsageError};

/// Most bytes of such a file: a bundle of every authority that there is has a quarter of it.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The permission of everybody to read a file.
const EVERYBODY_READS: u32 = 0o004;

const CERTIFICATE: &str = "rpc.tls.cert";
const KEY: &str = "rpc.tls.key";
const TOKENS: &str = "rpc.jwtsecret";
const LOGINS: &str = "rpc.basicauth";
const AUTHORITIES: &str = "tls.cafile";

/// What encrypts connections, and who is let in.
#[derive(Debug, Clone, Default)]
pub struct Secured {
    /// For HTTP and WebSocket; `None` leaves them in clear.
    pub tls: Option<Acceptor>,
    /// Who may ask there.
    pub guard: Guard,
    /// Whom the node itself trusts when it calls.
    pub connector: Connector,
}

impl Secured {
    /// Reads the files that flags name.
    ///
    /// # Errors
    ///
    /// When one of them is not there or of no use; the text names it, and says what would be right.
    pub fn load(doors: &Doors, authorities: Option<&Path>) -> Result<Self> {
        let tls = doors.tls.as_ref().map(|(certificate, key)| acceptor(certificate, key));
        let token = doors.jwt_secret.as_deref().map(|path| {
            TokenSecret::from_hex(&secret_text(TOKENS, path)?)
                .map_err(|error| wrong(TOKENS, path, error))
        });
        let logins = doors.basic_auth.as_deref().map(|path| {
            Logins::parse(&secret_text(LOGINS, path)?).map_err(|error| wrong(LOGINS, path, error))
        });
        Ok(Self {
            tls: tls.transpose()?,
            guard: Guard::new(token.transpose()?, logins.transpose()?),
            connector: connector(authorities)?,
        })
    }
}

/// A client that trusts these authorities, or the system's if there are none.
///
/// # Errors
///
/// When the file is not there or of no use.
pub fn connector(authorities: Option<&Path>) -> Result<Connector> {
    let Some(path) = authorities else { return Ok(Connector::default()) };
    let pem = read(AUTHORITIES, path)?;
    Connector::trusting(&pem).map_err(|error| wrong(AUTHORITIES, path, error))
}

fn acceptor(certificate: &Path, key: &Path) -> Result<Acceptor> {
    let chain = read(CERTIFICATE, certificate)?;
    let secret = read_secret(KEY, key)?;
    Acceptor::from_pem(&chain, &secret).map_err(|error| match error {
        PemError::Certificate(_) => wrong(CERTIFICATE, certificate, error),
        PemError::Key(_) => wrong(KEY, key, error),
        PemError::Mismatch => wrong(
            KEY,
            key,
            format_args!("it is not the key of --{CERTIFICATE} {}", certificate.display()),
        ),
    })
}

fn secret_text(flag: &str, path: &Path) -> Result<Zeroizing<String>> {
    let bytes = read_secret(flag, path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong(flag, path, "it is no text"))?;
    Ok(Zeroizing::new(text.trim_start_matches('\u{feff}').to_owned()))
}

/// A file that others should not be able to read. Only a warning, because Kubernetes mounts secrets
/// readable for everybody unless told otherwise, and nobody else is in such a container.
fn read_secret(flag: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let bytes = read(flag, path)?;
    warn_if_public(flag, path);
    Ok(bytes)
}

/// Tells if others can read a secret, which is the file of a flag or stands where it would.
pub(crate) fn warn_if_public(flag: &str, path: &Path) {
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & EVERYBODY_READS != 0 {
        let path = path.display();
        tracing::warn!(%path, "Everybody on this machine can read the file of --{flag}; chmod 600 it");
    }
}

fn read(flag: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(|error| wrong(flag, path, error))?;
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| wrong(flag, path, error))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(wrong(flag, path, "it is over 1 MiB"));
    }
    Ok(bytes)
}

fn wrong(flag: &str, path: &Path, why: impl Display) -> eyre::Report {
    eyre!(UsageError(format!("--{flag} {}: {why}", path.display())))
}
