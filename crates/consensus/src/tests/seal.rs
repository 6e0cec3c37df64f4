use ethash::{Epoch, SealError};
use primitives::{B256, Header, SealedHeader, U256, b256};

use super::{book_block_6, rules};
use crate::{EPOCH_MAX, Engine, EthashSeal, InvalidBlock, seal_hash, seal_of};

#[test]
fn hashes_a_real_block_as_geth_did() {
    let header = book_block_6();
    let seal = b256!("c2fded6598e4179e48a3ae441e2f64c30eed95bc2408d53e76228984c225e385");
    let hash = b256!("1977cc65cd4e2404fb292324156ee7f6609fc89e890111d68c1d8c2aeb9a25b2");
    assert_eq!(seal_hash(&header), seal);
    assert_eq!(seal_of(&header).unwrap().nonce, 0x1fac_3c05_f48d_b9ba);
    assert_eq!(SealedHeader::seal_slow(header).hash(), hash);
}

#[test]
fn the_seal_covers_the_base_fee() {
    let header = book_block_6();
    let london = Header { base_fee_per_gas: Some(7), ..header.clone() };
    assert_ne!(seal_hash(&london), seal_hash(&header));
    let resealed = Header { nonce: Default::default(), mix_hash: B256::ZERO, ..header.clone() };
    assert_eq!(seal_hash(&resealed), seal_hash(&header));
}

#[test]
fn checks_the_seal_of_a_real_block() {
    let engine = Engine::Ethash(EthashSeal::new());
    let good = SealedHeader::seal_slow(book_block_6());
    let easy = U256::from(1);
    let wrong_mix = SealedHeader::seal_slow(Header { difficulty: easy, ..book_block_6() });
    let too_hard = SealedHeader::seal_slow(Header { difficulty: U256::MAX, ..book_block_6() });
    let nothing = SealedHeader::seal_slow(Header { difficulty: U256::ZERO, ..book_block_6() });
    let far = SealedHeader::seal_slow(Header { number: u64::MAX, ..book_block_6() });
    let post_merge = SealedHeader::seal_slow(Header { blob_gas_used: Some(0), ..book_block_6() });
    let headers = [good.clone(), wrong_mix, too_hard, nothing, far, post_merge, good];
    let verdicts = engine.verify_headers(&headers, 2);
    assert_eq!(verdicts[0], Ok(()));
    assert_eq!(verdicts[1], Err(InvalidBlock::Seal(SealError::MixHash)));
    assert!(matches!(verdicts[2], Err(InvalidBlock::Seal(_))));
    assert_eq!(verdicts[3], Err(InvalidBlock::NonPositiveDifficulty));
    assert_eq!(verdicts[4], Err(InvalidBlock::EpochTooHigh { number: u64::MAX }));
    assert_eq!(verdicts[5], Err(InvalidBlock::PostMergeField { field: "blobGasUsed" }));
    assert_eq!(verdicts[6], Ok(()));
    let Engine::Ethash(ethash) = engine else { unreachable!() };
    assert!(ethash.is_cached(Epoch::new(0)));
    assert!(!ethash.is_cached(Epoch::new(1)));
}

#[test]
fn the_texts_are_those_of_geth() {
    assert_eq!(InvalidBlock::Seal(SealError::MixHash).to_string(), "invalid mix digest");
    assert_eq!(InvalidBlock::Seal(SealError::Work).to_string(), "invalid proof-of-work");
    assert_eq!(InvalidBlock::NonPositiveDifficulty.to_string(), "non-positive difficulty");
    assert_eq!(
        InvalidBlock::EpochTooHigh { number: 7 }.to_string(),
        "block number 7 is beyond every epoch of ethash that can be checked"
    );
}

#[test]
fn refuses_the_first_epoch_beyond_the_last() {
    let engine = Engine::Ethash(EthashSeal::tiny());
    let verdict = |number| {
        let header = super::child(&rules("berlin"), &rules("berlin").genesis_header());
        let header =
            SealedHeader::seal_slow(Header { number, difficulty: U256::from(1), ..header });
        engine.verify_headers(&[header], 1).pop().unwrap().unwrap_err()
    };
    let last = (EPOCH_MAX + 1) * Epoch::BLOCKS - 1;
    assert_eq!(verdict(last), InvalidBlock::Seal(SealError::MixHash));
    assert_eq!(verdict(last + 1), InvalidBlock::EpochTooHigh { number: last + 1 });
}

#[test]
fn keeps_three_caches_and_forgets_the_longest_unused() {
    let ethash = EthashSeal::new();
    for epoch in [0, 1, 2, 0] {
        assert_eq!(ethash.cache(Epoch::new(epoch)).epoch(), Epoch::new(epoch));
    }
    let _ = ethash.cache(Epoch::new(3));
    let kept = [0, 1, 2, 3].map(|epoch| ethash.is_cached(Epoch::new(epoch)));
    assert_eq!(kept, [true, false, true, true]);
}
