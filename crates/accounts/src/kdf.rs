//! From a password to a key: scrypt and PBKDF2, within limits.

use hmac::Hmac;
use rand::{TryRngCore, rngs::OsRng};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{key_file::KeyFileError, scrypt_small_r};

/// Most memory that scrypt may take, in bytes: what geth's standard parameters need.
const SCRYPT_MEMORY_BYTES_MAX: u64 = 256 << 20;
/// Most bytes of scrypt's other buffer, `128·r·p`.
const SCRYPT_LANES_BYTES_MAX: u64 = 16 << 20;
/// Most work `n·r·p`: four times geth's standard parameters.
const SCRYPT_WORK_MAX: u64 = 4 * (1 << 18) * 8;
/// Most rounds of PBKDF2; files in use have 10 240 to a million.
const PBKDF2_ROUNDS_MAX: u64 = 10_000_000;
/// Most bytes of a salt; files in use have 32.
const SALT_BYTES_MAX: usize = 1024;
/// Bytes of a derived key: 16 for the cipher, 16 for the check.
pub(crate) const DERIVED_BYTES: usize = 32;

/// How much work a new key file makes of guessing its password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kdf {
    /// geth's default, n = 262144, p = 1: about a second and 256 MiB.
    Standard,
    /// geth's `--lightkdf`, n = 4096, p = 6: about a tenth of a second and 4 MiB.
    Light,
}

/// The derivation that a key file names, already known to be within the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Derivation {
    Scrypt { log_n: u8, r: u32, p: u32, salt: Vec<u8> },
    Pbkdf2 { rounds: u32, salt: Vec<u8> },
}

impl Kdf {
    /// Fresh parameters with a random salt.
    pub(crate) fn derivation(self) -> Derivation {
        let mut salt = vec![0; 32];
        OsRng.try_fill_bytes(&mut salt).expect("the operating system has randomness");
        match self {
            Self::Standard => Derivation::Scrypt { log_n: 18, r: 8, p: 1, salt },
            Self::Light => Derivation::Scrypt { log_n: 12, r: 8, p: 6, salt },
        }
    }
}

impl Derivation {
    /// Checks scrypt's parameters against the limits.
    pub(crate) fn scrypt(n: u64, r: u64, p: u64, salt: Vec<u8>) -> Result<Self, KeyFileError> {
        if !n.is_power_of_two() || n < 2 || r == 0 || p == 0 {
            return Err(KeyFileError::Field { field: "kdfparams" });
        }
        let within = |product: Option<u64>, limit| product.is_some_and(|product| product <= limit);
        let memory = n.checked_mul(r).and_then(|blocks| blocks.checked_mul(128));
        let lanes = r.checked_mul(p).and_then(|blocks| blocks.checked_mul(128));
        let work = n.checked_mul(r).and_then(|blocks| blocks.checked_mul(p));
        if !within(memory, SCRYPT_MEMORY_BYTES_MAX)
            || !within(lanes, SCRYPT_LANES_BYTES_MAX)
            || !within(work, SCRYPT_WORK_MAX)
            || salt.len() > SALT_BYTES_MAX
        {
            return Err(KeyFileError::Costly);
        }
        let small = |value| u32::try_from(value).map_err(|_| KeyFileError::Costly);
        let log_n = u8::try_from(n.ilog2()).expect("the logarithm of 64 bits is below 64");
        Ok(Self::Scrypt { log_n, r: small(r)?, p: small(p)?, salt })
    }

    /// Checks PBKDF2's parameters against the limits.
    pub(crate) fn pbkdf2(rounds: u64, salt: Vec<u8>) -> Result<Self, KeyFileError> {
        if rounds == 0 {
            return Err(KeyFileError::Field { field: "kdfparams" });
        }
        if rounds > PBKDF2_ROUNDS_MAX || salt.len() > SALT_BYTES_MAX {
            return Err(KeyFileError::Costly);
        }
        let rounds = u32::try_from(rounds).map_err(|_| KeyFileError::Costly)?;
        Ok(Self::Pbkdf2 { rounds, salt })
    }

    /// Does the work.
    pub(crate) fn derive(&self, password: &str) -> Zeroizing<[u8; DERIVED_BYTES]> {
        let mut key = Zeroizing::new([0; DERIVED_BYTES]);
        let password = password.as_bytes();
        match self {
            Self::Scrypt { log_n, r, p, salt } => {
                match scrypt::Params::new(*log_n, *r, *p, DERIVED_BYTES) {
                    Ok(params) => scrypt::scrypt(password, salt, &params, &mut *key)
                        .expect("32 bytes are a fitting length"),
                    Err(_) => scrypt_small_r::scrypt(password, salt, (*log_n, *r, *p), &mut *key),
                }
            }
            Self::Pbkdf2 { rounds, salt } => {
                pbkdf2::pbkdf2::<Hmac<Sha256>>(password, salt, *rounds, &mut *key)
                    .expect("HMAC takes a password of any length");
            }
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_scrypt_up_to_its_limits_and_not_beyond() {
        let check = |n, r, p, expect: bool| {
            assert_eq!(
                Derivation::scrypt(n, r, p, Vec::new()).is_ok(),
                expect,
                "n={n} r={r} p={p}"
            );
        };
        check(1 << 18, 8, 1, true);
        check(1 << 18, 8, 4, true);
        check(1 << 18, 8, 5, false);
        check(1 << 18, 1, 8, true);
        check(1 << 19, 8, 1, false);
        check(1 << 30, 1, 1, false);
        check(2, 1 << 17, 1, true);
        check(2, (1 << 17) + 1, 1, false);
        check(2, 1, 1 << 17, true);
        check(2, 1, (1 << 17) + 1, false);
        check(2, 1 << 20, 1 << 20, false);
        check(1 << 63, u64::MAX, u64::MAX, false);
        for (n, r, p) in [(0, 8, 1), (1, 8, 1), (3, 8, 1), (8, 0, 1), (8, 8, 0)] {
            check(n, r, p, false);
        }
    }

    #[test]
    fn takes_pbkdf2_up_to_its_limit_and_not_beyond() {
        assert!(Derivation::pbkdf2(PBKDF2_ROUNDS_MAX, Vec::new()).is_ok());
        assert!(Derivation::pbkdf2(PBKDF2_ROUNDS_MAX + 1, Vec::new()).is_err());
        assert!(Derivation::pbkdf2(0, Vec::new()).is_err());
        assert!(Derivation::pbkdf2(1, vec![0; SALT_BYTES_MAX]).is_ok());
        assert!(Derivation::pbkdf2(1, vec![0; SALT_BYTES_MAX + 1]).is_err());
    }
}
