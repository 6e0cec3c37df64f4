//! JSON Web Tokens (RFC 7519), as far as a node and its clients need them.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use serde::{Deserialize, de::DeserializeOwned};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Reason;

/// How far from now a token may have been issued. geth's.
pub const TOKEN_SECONDS_MAX: u64 = 60;
/// Bytes of a secret.
const SECRET_BYTES: usize = 32;
/// The one algorithm: whoever may choose another could choose none.
const ALGORITHM: &str = "HS256";

/// What tokens are made with: 32 bytes that the node and its clients know.
#[derive(Clone)]
pub struct TokenSecret(Zeroizing<[u8; SECRET_BYTES]>);

/// Why a text is no secret for tokens. It shows nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not 64 hex digits: make one with `openssl rand -hex 32`")]
pub struct TokenSecretError;

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    iat: Option<f64>,
    exp: Option<f64>,
}

impl TokenSecret {
    /// Reads what geth writes: 64 hex digits, with `0x` or without.
    ///
    /// # Errors
    ///
    /// When it is something else.
    pub fn from_hex(text: &str) -> Result<Self, TokenSecretError> {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        hex::decode_to_slice(text.trim(), bytes.as_mut()).map_err(|_| TokenSecretError)?;
        Ok(Self(bytes))
    }

    /// geth's checks, but the signature before what it signs.
    pub(super) fn check(&self, token: &[u8], now: SystemTime) -> Result<(), Reason> {
        let mut parts = token.rsplitn(2, |byte| *byte == b'.');
        let (signature, signed) = (parts.next().unwrap_or_default(), parts.next());
        let mut parts = signed.unwrap_or_default().split(|byte| *byte == b'.');
        let (Some(header), Some(claims), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err("token contains an invalid number of segments");
        };
        if json::<Header>(header)?.alg != ALGORITHM {
            return Err("signing method is invalid: it must be HS256");
        }
        if !bool::from(self.sign(signed.unwrap_or_default()).ct_eq(&decoded(signature)?)) {
            return Err("signature is invalid");
        }
        let Claims { iat, exp } = json(claims)?;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let Some(issued) = iat else { return Err("missing issued-at") };
        let longest = std::time::Duration::from_secs(TOKEN_SECONDS_MAX).as_secs_f64();
        if exp.is_some_and(|end| now >= end) {
            return Err("token is expired");
        }
        match now - issued {
            age if age > longest => Err("stale token"),
            age if age < -longest => Err("future token"),
            _ => Ok(()),
        }
    }

    /// A token that was issued at a time.
    #[cfg(test)]
    pub(crate) fn issue(&self, issued: u64) -> String {
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let signed =
            [part(r#"{"alg":"HS256"}"#), part(&format!(r#"{{"iat":{issued}}}"#))].join(".");
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn sign(&self, bytes: &[u8]) -> [u8; SECRET_BYTES] {
        let mac = Hmac::<Sha256>::new_from_slice(self.0.as_slice());
        let mut mac = mac.expect("a key of any length will do");
        mac.update(bytes);
        mac.finalize().into_bytes().into()
    }
}

fn decoded(part: &[u8]) -> Result<Vec<u8>, Reason> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| "token is malformed")
}

fn json<T: DeserializeOwned>(part: &[u8]) -> Result<T, Reason> {
    serde_json::from_slice(&decoded(part)?).map_err(|_| "token is malformed")
}

impl fmt::Debug for TokenSecret {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret")
    }
}
