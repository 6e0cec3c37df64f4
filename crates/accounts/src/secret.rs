//! A private key in memory, and what it can do.

use std::fmt;

use primitives::{Address, B256, Signature, hex, keccak256};
use rand::{TryRngCore, rngs::OsRng};
use secp256k1::{Message, PublicKey, SECP256K1, SecretKey};
use zeroize::Zeroizing;

/// A private key of secp256k1. Wiped when dropped; never shown.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

/// Why bytes are not a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Not 64 hex digits.
    #[error("invalid hex: a private key is 64 hex digits")]
    Hex,
    /// Zero, or not below the order of the curve.
    #[error("invalid private key: not a scalar of secp256k1")]
    Range,
}

impl Secret {
    /// A new key from the operating system's randomness.
    ///
    /// # Panics
    ///
    /// If the operating system has no randomness: no key may be made then.
    #[must_use]
    pub fn random() -> Self {
        loop {
            let mut bytes = Zeroizing::new([0; 32]);
            OsRng.try_fill_bytes(&mut *bytes).expect("the operating system has randomness");
            if let Ok(secret) = Self::from_bytes(&bytes) {
                return secret;
            }
        }
    }

    /// The key with this big-endian value.
    ///
    /// # Errors
    ///
    /// [`SecretError::Range`] if the value is no scalar of the curve.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, SecretError> {
        let mut key = SecretKey::from_byte_array(bytes).map_err(|_| SecretError::Range)?;
        key.non_secure_erase();
        Ok(Self(Zeroizing::new(*bytes)))
    }

    /// The key written as 64 hex digits, with or without `0x`; space around them is ignored.
    ///
    /// # Errors
    ///
    /// [`SecretError`] if that is not what the text is.
    pub fn from_hex(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text, &mut *bytes).map_err(|_| SecretError::Hex)?;
        Self::from_bytes(&bytes)
    }

    /// The account that this key controls.
    #[must_use]
    pub fn address(&self) -> Address {
        let public = self.with_key(|key| PublicKey::from_secret_key(SECP256K1, key));
        Address::from_slice(&keccak256(&public.serialize_uncompressed()[1..])[12..])
    }

    /// Signs a hash. The signature is deterministic (RFC 6979) and has a low `s`.
    #[must_use]
    pub fn sign(&self, hash: B256) -> Signature {
        let message = Message::from_digest(hash.0);
        let signature = self.with_key(|key| SECP256K1.sign_ecdsa_recoverable(&message, key));
        let (id, bytes) = signature.serialize_compact();
        Signature::from_bytes_and_parity(&bytes, i32::from(id) & 1 == 1)
    }

    /// The big-endian value, for the cipher alone.
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn with_key<T>(&self, use_key: impl FnOnce(&SecretKey) -> T) -> T {
        let mut key =
            SecretKey::from_byte_array(&self.0).expect("checked when the secret was made");
        let result = use_key(&key);
        key.non_secure_erase();
        result
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use primitives::address;

    use super::*;

    #[test]
    fn knows_the_address_of_the_first_scalar() {
        let one = Secret::from_hex(&format!("{:064x}", 1)).unwrap();
        assert_eq!(one.address(), address!("7E5F4552091A69125d5DfCb7b8C2659029395Bdf"));
    }

    #[test]
    fn signs_so_that_the_signer_can_be_recovered() {
        for _ in 0..8 {
            let secret = Secret::random();
            let hash = keccak256(secret.address());
            let signature = secret.sign(hash);
            assert_eq!(signature.recover_address_from_prehash(&hash).ok(), Some(secret.address()));
            assert!(signature.normalize_s().is_none(), "s is low");
        }
    }

    #[test]
    fn refuses_what_is_no_scalar() {
        let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        assert_eq!(Secret::from_hex(order).unwrap_err(), SecretError::Range);
        assert_eq!(Secret::from_hex(&"0".repeat(64)).unwrap_err(), SecretError::Range);
        assert_eq!(Secret::from_hex(&"1".repeat(63)).unwrap_err(), SecretError::Hex);
        assert_eq!(Secret::from_hex(&"g".repeat(64)).unwrap_err(), SecretError::Hex);
        assert!(Secret::from_hex(&format!("0x{}\n", "1".repeat(64))).is_ok());
    }

    #[test]
    fn never_shows_itself() {
        assert_eq!(format!("{:?}", Secret::random()), "Secret");
    }
}
