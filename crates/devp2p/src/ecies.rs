//! The encryption of the handshake: [ECIES] on secp256k1 with AES-128-CTR and HMAC-SHA256.
//!
//! [ECIES]: https://github.com/ethereum/devp2p/blob/master/rlpx.md#ecies-encryption

use std::sync::LazyLock;

use aes::{
    Aes128,
    cipher::{KeyIvInit, StreamCipher},
};
use ctr::Ctr128BE;
use hmac::{Hmac, Mac};
use secp256k1::{PublicKey, SecretKey, constants, ecdh};
use sha2::{Digest, Sha256};

/// The sender's ephemeral key, uncompressed.
const POINT_BYTES: usize = 65;
/// The initial counter of the cipher.
const IV_BYTES: usize = 16;
/// The authentication code.
const TAG_BYTES: usize = 32;
/// What a ciphertext is longer by than its message.
pub(crate) const OVERHEAD_BYTES: usize = POINT_BYTES + IV_BYTES + TAG_BYTES;
/// How an uncompressed point begins.
pub(crate) const POINT_PREFIX: u8 = 4;

/// Takes the place of a key that is no point, so that a refusal takes as long as any other.
static STAND_IN: LazyLock<PublicKey> = LazyLock::new(|| {
    let one = SecretKey::from_slice(&constants::ONE).expect("one is a key");
    PublicKey::from_secret_key_global(&one)
});

/// Why a message cannot be read. Deliberately says no more: a difference between a bad point and a
/// bad code would be an oracle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message cannot be decrypted")]
pub(crate) struct EciesError;

/// The keys of one message.
struct Keys {
    cipher: [u8; 16],
    tag: [u8; 32],
}

impl Keys {
    /// One round of NIST SP 800-56's concatenation gives all the bytes needed.
    fn derive(ours: &SecretKey, theirs: &PublicKey) -> Self {
        let derived = Sha256::new()
            .chain_update(1_u32.to_be_bytes())
            .chain_update(agree(ours, theirs))
            .finalize();
        let (cipher, tag) = derived.split_at(16);
        Self {
            cipher: cipher.try_into().expect("half of 32 bytes"),
            tag: Sha256::digest(tag).into(),
        }
    }

    fn cipher(&self, iv: &[u8; IV_BYTES]) -> Ctr128BE<Aes128> {
        Ctr128BE::new(&self.cipher.into(), &(*iv).into())
    }

    /// Over the initial counter, the ciphertext, and what both sides know besides.
    fn tag(&self, sealed: &[u8], associated: &[u8]) -> Hmac<Sha256> {
        let hmac = <Hmac<Sha256> as Mac>::new_from_slice(&self.tag);
        hmac.expect("HMAC takes keys of any length").chain_update(sealed).chain_update(associated)
    }
}

/// The secret that two keys share: the x coordinate of the product.
pub(crate) fn agree(ours: &SecretKey, theirs: &PublicKey) -> [u8; 32] {
    let point = ecdh::shared_secret_point(theirs, ours);
    point[..32].try_into().expect("a point has 64 bytes")
}

/// A new key.
pub(crate) fn random_key() -> SecretKey {
    loop {
        // All but one of 2^127 numbers are keys.
        if let Ok(key) = SecretKey::from_slice(&rand::random::<[u8; 32]>()) {
            return key;
        }
    }
}

/// Encrypts for the owner of a key. `associated` is authenticated, and not part of the result.
pub(crate) fn encrypt(to: &PublicKey, message: &[u8], associated: &[u8]) -> Vec<u8> {
    let ephemeral = random_key();
    let iv: [u8; IV_BYTES] = rand::random();
    let keys = Keys::derive(&ephemeral, to);
    let mut bytes = Vec::with_capacity(message.len() + OVERHEAD_BYTES);
    bytes
        .extend_from_slice(&PublicKey::from_secret_key_global(&ephemeral).serialize_uncompressed());
    bytes.extend_from_slice(&iv);
    bytes.extend_from_slice(message);
    keys.cipher(&iv).apply_keystream(&mut bytes[POINT_BYTES + IV_BYTES..]);
    let tag = keys.tag(&bytes[POINT_BYTES..], associated).finalize().into_bytes();
    bytes.extend_from_slice(&tag);
    bytes
}

/// Decrypts what was encrypted for a key.
pub(crate) fn decrypt(
    key: &SecretKey,
    bytes: &[u8],
    associated: &[u8],
) -> Result<Vec<u8>, EciesError> {
    if bytes.len() < OVERHEAD_BYTES {
        return Err(EciesError);
    }
    let (point, rest) = bytes.split_at(POINT_BYTES);
    let (sealed, tag) = rest.split_at(rest.len() - TAG_BYTES);
    let ephemeral = PublicKey::from_slice(point).ok().filter(|_| point[0] == POINT_PREFIX);
    let keys = Keys::derive(key, ephemeral.as_ref().unwrap_or(&STAND_IN));
    let tag_agrees = keys.tag(sealed, associated).verify_slice(tag).is_ok();
    if ephemeral.is_none() || !tag_agrees {
        return Err(EciesError);
    }
    let (iv, ciphertext) = sealed.split_at(IV_BYTES);
    let mut message = ciphertext.to_vec();
    keys.cipher(iv.try_into().expect("cut to length")).apply_keystream(&mut message);
    Ok(message)
}

#[cfg(test)]
mod tests {
    use primitives::hex;
    use proptest::prelude::*;

    use super::*;

    fn key(fill: u8) -> SecretKey {
        SecretKey::from_slice(&[fill; 32]).unwrap()
    }

    /// Six ways of being no point: off the curve, beyond the field twice, zero, the wrong prefix,
    /// and a compressed prefix.
    fn bad_points() -> Vec<[u8; 65]> {
        let good = PublicKey::from_secret_key_global(&key(9)).serialize_uncompressed();
        let prime = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f";
        let prime = hex::decode(prime).unwrap();
        let mut points = vec![good; 6];
        points[0][64] ^= 1;
        points[1][1..33].copy_from_slice(&prime);
        points[2][33..].copy_from_slice(&prime);
        points[3][1..].fill(0);
        points[4][0] = 6;
        points[5][0] = 2;
        points
    }

    #[test]
    fn keys_agree_as_in_geths_test() {
        let ours = SecretKey::from_slice(
            &hex::decode("7ebbc6a8358bc76dd73ebc557056702c8cfc34e5cfcd90eb83af0347575fd2ad")
                .unwrap(),
        )
        .unwrap();
        let theirs = SecretKey::from_slice(
            &hex::decode("6a3d6396903245bba5837752b9e0348874e72db0c4e11e9c485a81b4ea4353b9")
                .unwrap(),
        )
        .unwrap();
        let secret = hex::encode(agree(&ours, &PublicKey::from_secret_key_global(&theirs)));
        assert_eq!(secret, "167ccc13ac5e8a26b131c3446030c60fbfac6aa8e31149d0869f93626a4cdf62");
    }

    #[test]
    fn ciphertexts_of_any_length_and_fill_are_refused() {
        for length in 0..=400 {
            for fill in [0, 4, 0xff] {
                assert_eq!(decrypt(&key(1), &vec![fill; length], &[]), Err(EciesError));
            }
        }
    }

    #[test]
    fn a_good_point_before_any_length_is_refused() {
        let point = PublicKey::from_secret_key_global(&key(9)).serialize_uncompressed();
        for length in POINT_BYTES..=400 {
            let mut bytes = vec![7; length];
            bytes[..POINT_BYTES].copy_from_slice(&point);
            assert_eq!(decrypt(&key(1), &bytes, &[]), Err(EciesError));
        }
    }

    #[test]
    fn what_is_no_point_is_refused_as_a_bad_code_is() {
        let to = PublicKey::from_secret_key_global(&key(1));
        let good = encrypt(&to, b"message", b"size");
        for point in bad_points() {
            let mut bytes = good.clone();
            bytes[..POINT_BYTES].copy_from_slice(&point);
            assert_eq!(decrypt(&key(1), &bytes, b"size"), Err(EciesError));
        }
    }

    #[test]
    fn each_flipped_bit_is_noticed() {
        let to = PublicKey::from_secret_key_global(&key(1));
        let good = encrypt(&to, b"m", b"s");
        for place in 0..good.len() {
            let mut bytes = good.clone();
            bytes[place] ^= 1;
            assert_eq!(decrypt(&key(1), &bytes, b"s"), Err(EciesError));
        }
        assert_eq!(decrypt(&key(1), &good, b"t"), Err(EciesError));
        assert_eq!(decrypt(&key(2), &good, b"s"), Err(EciesError));
    }

    proptest! {
        #[test]
        fn what_was_encrypted_is_decrypted(
            message in proptest::collection::vec(any::<u8>(), 0..300),
            associated in proptest::collection::vec(any::<u8>(), 0..4),
        ) {
            let to = PublicKey::from_secret_key_global(&key(1));
            let bytes = encrypt(&to, &message, &associated);
            prop_assert_eq!(bytes.len(), message.len() + OVERHEAD_BYTES);
            prop_assert_eq!(decrypt(&key(1), &bytes, &associated), Ok(message));
        }
    }
}
