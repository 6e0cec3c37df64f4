//! What a proof of work is: its hash, the target it must meet, and the seal that claims it.

use alloy_primitives::{B256, U256};

use crate::LightCache;
use crate::kernel;

/// What the proof-of-work function makes of a seal hash and a nonce.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pow {
    /// The digest of the pages read; it goes into the header.
    pub mix_hash: B256,
    /// The hash that must meet the target.
    pub result: B256,
}

/// The largest result that a proof of work may have: 2^256 divided by the difficulty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target(U256);

impl Target {
    /// The target of a difficulty, or `None` if that is zero.
    ///
    /// Difficulty 1 is met by every result; 2^256 itself does not fit and is not needed.
    #[must_use]
    pub fn from_difficulty(difficulty: U256) -> Option<Self> {
        if difficulty.is_zero() {
            return None;
        }
        // 2^256 does not fit. It is one more than U256::MAX, which tells only where the
        // difficulty divides it, at powers of two.
        let quotient = U256::MAX / difficulty;
        let carry = U256::from(u8::from(difficulty.is_power_of_two()));
        Some(Self(quotient.saturating_add(carry)))
    }

    /// Whether a result is small enough.
    #[must_use]
    pub fn is_met_by(&self, result: &B256) -> bool {
        U256::from_be_bytes(result.0) <= self.0
    }

    /// The target as a number.
    #[must_use]
    pub const fn as_u256(&self) -> U256 {
        self.0
    }
}

/// A claim of work, as a header makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// Hash of the header without its seal.
    pub seal_hash: B256,
    /// The header's nonce.
    pub nonce: u64,
    /// The header's mix hash.
    pub mix_hash: B256,
    /// The target of the header's difficulty.
    pub target: Target,
}

impl Seal {
    /// Checks that the work was done if the mix hash is the right one.
    ///
    /// This takes a microsecond and no memory, so a stranger must have worked before we do.
    fn verify_claim(&self) -> Result<(), SealError> {
        let result = kernel::result(&self.seal_hash, self.nonce, &self.mix_hash);
        if self.target.is_met_by(&result) { Ok(()) } else { Err(SealError::Work) }
    }

    fn verify_pow(&self, pow: &Pow) -> Result<(), SealError> {
        if pow.mix_hash == self.mix_hash { Ok(()) } else { Err(SealError::MixHash) }
    }
}

/// Why a seal is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The mix hash is not that of the seal hash and the nonce.
    #[error("invalid mix digest")]
    MixHash,
    /// The result that follows from the claimed mix hash does not meet the target.
    #[error("invalid proof-of-work")]
    Work,
}

impl LightCache {
    /// The proof of work of a seal hash and a nonce.
    ///
    /// Several are faster together: see [`Self::hashimoto_many`].
    #[must_use]
    pub fn hashimoto(&self, seal_hash: &B256, nonce: u64) -> Pow {
        self.instructions().light_one(&self.light(), seal_hash, nonce)
    }

    /// The proofs of work of many seal hashes and nonces, in their order.
    ///
    /// They are computed interleaved, so that the cache reads of some overlap with those of
    /// others: several times faster than one after the other, from about eight on.
    #[must_use]
    pub fn hashimoto_many(&self, seals: &[(B256, u64)]) -> Vec<Pow> {
        if let [(seal_hash, nonce)] = seals {
            return vec![self.hashimoto(seal_hash, *nonce)];
        }
        let mut pows = vec![Pow::default(); seals.len()];
        self.instructions().light_many(&self.light(), seals, self.headers_in_flight(), &mut pows);
        pows
    }

    /// Checks a seal, cheapest check first.
    ///
    /// # Errors
    ///
    /// [`SealError::Work`] if the claimed mix hash does not lead to a result that meets the
    /// target, [`SealError::MixHash`] if it does but is not the right one.
    pub fn verify(&self, seal: &Seal) -> Result<(), SealError> {
        seal.verify_claim()?;
        seal.verify_pow(&self.hashimoto(&seal.seal_hash, seal.nonce))
    }

    /// Checks many seals interleaved; the answers are in their order and those of
    /// [`Self::verify`].
    #[must_use]
    pub fn verify_many(&self, seals: &[Seal]) -> Vec<Result<(), SealError>> {
        let mut verdicts: Vec<_> = seals.iter().map(Seal::verify_claim).collect();
        let claimed: Vec<usize> = (0..seals.len()).filter(|&at| verdicts[at].is_ok()).collect();
        let inputs: Vec<_> =
            claimed.iter().map(|&at| (seals[at].seal_hash, seals[at].nonce)).collect();
        for (&at, pow) in claimed.iter().zip(self.hashimoto_many(&inputs)) {
            verdicts[at] = seals[at].verify_pow(&pow);
        }
        verdicts
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::b256;

    use super::*;
    use crate::Epoch;

    /// Seal hash, nonce, mix hash and result.
    type Vector = (B256, u64, B256, B256);

    /// The two of ethereum/tests (PoWTests), and block 6 of a private network, mined by geth 1.9.13.
    const EPOCH_0: [Vector; 3] = [
        (
            b256!("2a8de2adf89af77358250bf908bf04ba94a6e8c3ba87775564a41d269a05e4ce"),
            0x4242_4242_4242_4242,
            b256!("58f759ede17a706c93f13030328bcea40c1d1341fb26f2facd21ceb0dae57017"),
            b256!("dd47fd2d98db51078356852d7c4014e6a5d6c387c35f40e2875b74a256ed7906"),
        ),
        (
            b256!("100cbec5e5ef82991290d0d93d758f19082e71f234cf479192a8b94df6da6bfe"),
            0x3076_92cf_71b1_2f6d,
            b256!("e55d02c555a7969361cf74a9ec6211d8c14e4517930a00442f171bdb1698d175"),
            b256!("ab9b13423cface72cbec8424221651bc2e384ef0f7a560e038fc68c8d8684829"),
        ),
        (
            b256!("c2fded6598e4179e48a3ae441e2f64c30eed95bc2408d53e76228984c225e385"),
            0x1fac_3c05_f48d_b9ba,
            b256!("20637c0da5a60fd3214aae900e13a6141ffc00ea1d1a137e416b0d8241e09335"),
            b256!("00005de28b96914b84203b4a0cc7730419c5340237979a6ab6913a79229f1232"),
        ),
    ];

    /// Blocks 5 000 000 to 5 000 002 of Ethereum's main network.
    const EPOCH_166: [Vector; 3] = [
        (
            b256!("bc544c2baba832600013bd5d1983f592e9557d04b0fb5ef7a100434a5fc8d52a"),
            0x4617_a200_03ba_3f25,
            b256!("94cd4e844619ee20989578276a0a9046877d569d37ba076bf2e8e34f76189dea"),
            b256!("0000000000001a5b18ae31b7417b7c045bc6dd78cc3b694c4bebfaefef6b3c56"),
        ),
        (
            b256!("2cd14041cfc3bd13064cfd58e26c0bddf1e97a4202c4b8076444a7cd4515f8c3"),
            0x1af4_7f20_0792_2384,
            b256!("46cb1268ac6b218eb01b9bd46f1533561d085620c9bfc23eadb8ab106f84b2d8"),
            b256!("0000000000000a4230cfc483a3f739a5101192c3d4f9c8314f4508be24c28257"),
        ),
        (
            b256!("9e79bced19062baf7c47e516ad3a1bd779222404d05b4205def30a13c7d87b5b"),
            0xc9a0_4420_1dd9_98f2,
            b256!("028a19d6dcf0975972285f71a23fe3a468886ad24cc63f969158d427556d6bb5"),
            b256!("0000000000000eec80fbc4c472507b6c212c4f216043318f3fb3e696a0e80b06"),
        ),
    ];

    fn check(epoch: Epoch, vectors: &[Vector]) {
        let cache = LightCache::generate(epoch);
        for (seal_hash, nonce, mix_hash, result) in vectors.iter().copied() {
            assert_eq!(cache.hashimoto(&seal_hash, nonce), Pow { mix_hash, result });
        }
        let seals: Vec<_> = vectors.iter().cycle().take(23).map(|it| (it.0, it.1)).collect();
        let found = cache.hashimoto_many(&seals);
        for (pow, (_, _, mix_hash, result)) in found.iter().zip(vectors.iter().cycle()) {
            assert_eq!((pow.mix_hash, pow.result), (*mix_hash, *result));
        }
    }

    fn target(difficulty: u64) -> Target {
        Target::from_difficulty(U256::from(difficulty)).unwrap()
    }

    fn seal(cache: &LightCache, nonce: u64) -> Seal {
        let mix_hash = cache.hashimoto(&B256::ZERO, nonce).mix_hash;
        Seal { seal_hash: B256::ZERO, nonce, mix_hash, target: target(1) }
    }

    #[test]
    fn proofs_of_epoch_0_are_those_of_others() {
        check(Epoch::of_block(6), &EPOCH_0);
    }

    #[test]
    fn proofs_of_a_later_epoch_are_those_of_others() {
        check(Epoch::of_block(5_000_000), &EPOCH_166);
    }

    #[test]
    fn a_target_is_2_to_the_256_by_the_difficulty() {
        let expected = [
            (1, U256::MAX),
            (2, U256::ONE << 255),
            (3, U256::MAX / U256::from(3)),
            (131_072, U256::ONE << 239),
        ];
        for (difficulty, number) in expected {
            assert_eq!(target(difficulty).as_u256(), number, "{difficulty}");
        }
        assert_eq!(Target::from_difficulty(U256::MAX).unwrap().as_u256(), U256::ONE);
        assert_eq!(Target::from_difficulty(U256::ZERO), None);
    }

    #[test]
    fn a_target_is_met_at_the_limit_and_not_beyond() {
        let target = target(131_072);
        assert!(target.is_met_by(&B256::from(target.as_u256())));
        assert!(!target.is_met_by(&B256::from(target.as_u256() + U256::ONE)));
    }

    #[test]
    fn accepts_right_seals_only() {
        let cache = LightCache::tiny();
        let right = seal(&cache, 7);
        let wrong_mix = Seal { mix_hash: B256::repeat_byte(1), ..right };
        let no_work = Seal { target: target(u64::MAX), ..right };
        assert_eq!(cache.verify(&right), Ok(()));
        assert_eq!(cache.verify(&wrong_mix), Err(SealError::MixHash));
        assert_eq!(cache.verify(&no_work), Err(SealError::Work));
        assert_eq!(
            cache.verify_many(&[no_work, right, wrong_mix, right]),
            [Err(SealError::Work), Ok(()), Err(SealError::MixHash), Ok(())]
        );
        assert_eq!(cache.verify_many(&[]), []);
    }

    #[test]
    fn a_claim_without_work_is_refused_before_the_cache_is_read() {
        // A mix hash that was made up meets a target by luck only.
        let made_up = Seal {
            seal_hash: B256::ZERO,
            nonce: 0,
            mix_hash: B256::ZERO,
            target: target(u64::MAX),
        };
        assert_eq!(made_up.verify_claim(), Err(SealError::Work));
    }
}
