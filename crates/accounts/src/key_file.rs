//! One key file: geth's V3 format, written and read, and its V1 format, read.
//!
//! The format is the [Web3 Secret Storage definition].
//!
//! [Web3 Secret Storage definition]: https://ethereum.org/en/developers/docs/data-structures-and-encoding/web3-secret-storage/

use aes::{
    Aes128,
    cipher::{BlockDecrypt, KeyInit, KeyIvInit, StreamCipher},
};
use primitives::{Address, B256, hex, keccak256};
use rand::{TryRngCore, rngs::OsRng};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    kdf::{DERIVED_BYTES, Derivation},
    secret::Secret,
};

/// Most bytes of a key file; geth's have 491.
pub(crate) const KEY_FILE_BYTES_MAX: u64 = 64 << 10;
/// Fewest bytes that a file may ask to derive: those that are used.
const DERIVED_BYTES_ASKED_MIN: u64 = 32;
/// Most bytes that a file may ask to derive.
const DERIVED_BYTES_ASKED_MAX: u64 = 1024;
/// Bytes of a block of AES, and of its key here.
const BLOCK_BYTES: usize = 16;

/// Why a key file cannot be opened. Only [`Self::Password`] is about the password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// The check over the ciphertext failed: the password is another one, or the file was changed.
    #[error("could not decrypt key with given password")]
    Password,
    /// The file is larger than 64 KiB.
    #[error("the file is too large for a key file")]
    Size,
    /// The file is not JSON.
    #[error("the file is not JSON")]
    Json,
    /// A field is missing, or of the wrong type, or out of range.
    #[error("the field {field} is missing or invalid")]
    Field {
        /// The field's name in the file.
        field: &'static str,
    },
    /// A version that is neither 1 nor 3.
    #[error("version not supported: {version}")]
    Version {
        /// What the file says.
        version: String,
    },
    /// A cipher other than AES-128 in the mode of the version.
    #[error("cipher not supported: {cipher}")]
    Cipher {
        /// What the file says.
        cipher: String,
    },
    /// A derivation other than scrypt and PBKDF2 with HMAC-SHA-256.
    #[error("unsupported KDF: {kdf}")]
    Kdf {
        /// What the file says.
        kdf: String,
    },
    /// The derivation would take more memory or time than any honest file needs.
    #[error("the key derivation asks for more than 256 MiB of memory or too much work")]
    Costly,
    /// What was decrypted is not a private key.
    #[error("the file does not hold a private key")]
    Content,
}

/// What a key file says, before its password is known.
pub(crate) struct KeyFile {
    derivation: Derivation,
    mode: Mode,
    iv: [u8; BLOCK_BYTES],
    ciphertext: Vec<u8>,
    mac: Vec<u8>,
}

/// How the key is enciphered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Version 3: counter mode.
    Counter,
    /// Version 1: cipher block chaining, with a padded plaintext and a hashed key.
    Chaining,
}

impl KeyFile {
    /// Reads the file's fields. Nothing is derived yet, so this is quick for any content.
    pub(crate) fn parse(content: &[u8]) -> Result<Self, KeyFileError> {
        let file = json_of(content)?;
        let crypto = field(&file, "crypto")?;
        let mode = match field(&file, "version")? {
            Value::String(version) if version == "1" => Mode::Chaining,
            Value::Number(version) if version.as_u64() == Some(3) => Mode::Counter,
            other => return Err(KeyFileError::Version { version: clipped(&other.to_string()) }),
        };
        let cipher = text(crypto, "cipher")?;
        let expected = match mode {
            Mode::Counter => "aes-128-ctr",
            Mode::Chaining => "aes-128-cbc",
        };
        if cipher != expected {
            return Err(KeyFileError::Cipher { cipher: clipped(cipher) });
        }
        let iv = bytes(field(crypto, "cipherparams")?, "iv")?;
        Ok(Self {
            derivation: derivation_of(crypto)?,
            mode,
            iv: iv.try_into().map_err(|_| KeyFileError::Field { field: "iv" })?,
            ciphertext: bytes(crypto, "ciphertext")?,
            mac: bytes(crypto, "mac")?,
        })
    }

    /// Derives the key from the password, checks it, and deciphers the private key.
    pub(crate) fn decrypt(&self, password: &str) -> Result<Secret, KeyFileError> {
        let derived = self.derivation.derive(password);
        let mac = mac(&derived, &self.ciphertext);
        if !bool::from(mac.as_slice().ct_eq(&self.mac)) {
            return Err(KeyFileError::Password);
        }
        let mut plain = Zeroizing::new(self.ciphertext.clone());
        let length = match self.mode {
            Mode::Counter => {
                counter_mode(&derived, &self.iv, &mut plain);
                plain.len()
            }
            Mode::Chaining => decipher_chained(&derived, &self.iv, &mut plain)?,
        };
        // Some tools write keys without their leading zeros.
        let mut key = Zeroizing::new([0; 32]);
        let start = key.len().checked_sub(length).ok_or(KeyFileError::Content)?;
        key[start..].copy_from_slice(&plain[..length]);
        Secret::from_bytes(&key).map_err(|_| KeyFileError::Content)
    }
}

/// The address that a file claims to be for. Files without one, or with address zero, are no key
/// files.
pub(crate) fn address_of(content: &[u8]) -> Result<Address, KeyFileError> {
    let file = json_of(content)?;
    let address: [u8; 20] = bytes(&file, "address")?
        .try_into()
        .map_err(|_| KeyFileError::Field { field: "address" })?;
    if address == [0; 20] {
        return Err(KeyFileError::Field { field: "address" });
    }
    Ok(address.into())
}

/// Writes a V3 file: a random initialisation vector, a random id, no newline at the end.
pub(crate) fn encrypt(secret: &Secret, password: &str, derivation: &Derivation) -> String {
    let derived = derivation.derive(password);
    let mut iv = [0; BLOCK_BYTES];
    OsRng.try_fill_bytes(&mut iv).expect("the operating system has randomness");
    let mut ciphertext = secret.as_bytes().to_vec();
    counter_mode(&derived, &iv, &mut ciphertext);
    let (kdf, params) = match derivation {
        Derivation::Scrypt { log_n, r, p, salt } => (
            "scrypt",
            json!({"dklen": DERIVED_BYTES, "n": 1_u64 << log_n, "p": p, "r": r, "salt": hex::encode(salt)}),
        ),
        Derivation::Pbkdf2 { rounds, salt } => (
            "pbkdf2",
            json!({"c": rounds, "dklen": DERIVED_BYTES, "prf": "hmac-sha256", "salt": hex::encode(salt)}),
        ),
    };
    json!({
        "address": hex::encode(secret.address()),
        "crypto": {
            "cipher": "aes-128-ctr",
            "ciphertext": hex::encode(&ciphertext),
            "cipherparams": {"iv": hex::encode(iv)},
            "kdf": kdf,
            "kdfparams": params,
            "mac": hex::encode(mac(&derived, &ciphertext)),
        },
        "id": uuid::Uuid::new_v4().to_string(),
        "version": 3,
    })
    .to_string()
}

fn json_of(content: &[u8]) -> Result<Value, KeyFileError> {
    if u64::try_from(content.len()).is_ok_and(|bytes| bytes > KEY_FILE_BYTES_MAX) {
        return Err(KeyFileError::Size);
    }
    serde_json::from_slice(content).map_err(|_| KeyFileError::Json)
}

fn derivation_of(crypto: &Value) -> Result<Derivation, KeyFileError> {
    let params = field(crypto, "kdfparams")?;
    let salt = bytes(params, "salt")?;
    let asked = number(params, "dklen")?;
    if !(DERIVED_BYTES_ASKED_MIN..=DERIVED_BYTES_ASKED_MAX).contains(&asked) {
        return Err(KeyFileError::Field { field: "dklen" });
    }
    match text(crypto, "kdf")? {
        "scrypt" => Derivation::scrypt(
            number(params, "n")?,
            number(params, "r")?,
            number(params, "p")?,
            salt,
        ),
        "pbkdf2" => {
            let prf = text(params, "prf")?;
            if prf != "hmac-sha256" {
                return Err(KeyFileError::Kdf { kdf: format!("pbkdf2 with {}", clipped(prf)) });
            }
            Derivation::pbkdf2(number(params, "c")?, salt)
        }
        other => Err(KeyFileError::Kdf { kdf: clipped(other) }),
    }
}

/// Looks a field up as Go's JSON decoder does: the case of its name does not matter.
fn field<'a>(object: &'a Value, name: &'static str) -> Result<&'a Value, KeyFileError> {
    let fields = object.as_object().ok_or(KeyFileError::Field { field: name })?;
    fields
        .get(name)
        .or_else(|| {
            fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        })
        .ok_or(KeyFileError::Field { field: name })
}

fn text<'a>(object: &'a Value, name: &'static str) -> Result<&'a str, KeyFileError> {
    field(object, name)?.as_str().ok_or(KeyFileError::Field { field: name })
}

fn number(object: &Value, name: &'static str) -> Result<u64, KeyFileError> {
    field(object, name)?.as_u64().ok_or(KeyFileError::Field { field: name })
}

fn bytes(object: &Value, name: &'static str) -> Result<Vec<u8>, KeyFileError> {
    hex::decode(text(object, name)?).map_err(|_| KeyFileError::Field { field: name })
}

/// A stranger's word, short enough for a log line.
fn clipped(word: &str) -> String {
    word.chars().take(64).collect()
}

fn mac(derived: &[u8; DERIVED_BYTES], ciphertext: &[u8]) -> B256 {
    keccak256([&derived[BLOCK_BYTES..], ciphertext].concat())
}

fn counter_mode(derived: &[u8; DERIVED_BYTES], iv: &[u8; BLOCK_BYTES], text: &mut [u8]) {
    let key = &derived[..BLOCK_BYTES];
    let mut cipher = ctr::Ctr128BE::<Aes128>::new(key.into(), iv.into());
    cipher.apply_keystream(text);
}

/// Deciphers V1's chained blocks in place and says how many bytes remain without the padding.
fn decipher_chained(
    derived: &[u8; DERIVED_BYTES],
    iv: &[u8; BLOCK_BYTES],
    text: &mut [u8],
) -> Result<usize, KeyFileError> {
    if text.is_empty() || !text.len().is_multiple_of(BLOCK_BYTES) {
        return Err(KeyFileError::Password);
    }
    let key = Zeroizing::new(keccak256(&derived[..BLOCK_BYTES]).0);
    let cipher = Aes128::new((&key[..BLOCK_BYTES]).into());
    let mut previous = *iv;
    for block in text.chunks_exact_mut(BLOCK_BYTES) {
        let enciphered: [u8; BLOCK_BYTES] = (&*block).try_into().expect("a chunk is a block");
        cipher.decrypt_block((&mut *block).into());
        for (byte, mask) in block.iter_mut().zip(previous) {
            *byte ^= mask;
        }
        previous = enciphered;
    }
    let padding = usize::from(text[text.len() - 1]);
    let start = text.len().checked_sub(padding).ok_or(KeyFileError::Password)?;
    let padded = (1..=BLOCK_BYTES).contains(&padding)
        && text[start..].iter().all(|&byte| usize::from(byte) == padding);
    if padded { Ok(start) } else { Err(KeyFileError::Password) }
}

#[cfg(test)]
mod tests;
