use primitives::{
    B256, Bloom, Bytes, ChainSpec, Header, SealedBlock, SealedHeader, Transaction, U256,
};

use super::{SENDER, block, child, eip1559, eip2930, legacy, rules, rules_with, with_high_s};
use crate::{
    DAO_EXTRA_DATA, Engine, EthashSeal, InvalidBlock, InvalidSender, seal_of, verify_execution,
};

/// Block 1 with this body.
fn first(spec: &ChainSpec, transactions: Vec<Transaction>, ommers: Vec<Header>) -> SealedBlock {
    block(child(spec, &spec.genesis_header()), transactions, ommers)
}

fn verdict(spec: &ChainSpec, block: SealedBlock) -> Result<(), InvalidBlock> {
    Engine::Instant.verify(spec, block).map(|_| ())
}

/// What becomes of a block with only this transaction.
fn sender(spec: &ChainSpec, tx: Transaction) -> Result<(), InvalidSender> {
    let hash = *tx.tx_hash();
    match Engine::Instant.verify(spec, first(spec, vec![tx], Vec::new())) {
        Ok(verified) => {
            assert_eq!(verified.senders(), [SENDER]);
            Ok(())
        }
        Err(InvalidBlock::Transaction { index: 0, hash: named, problem }) if named == hash => {
            Err(problem)
        }
        Err(other) => panic!("{other}"),
    }
}

/// The same block with another header.
fn changed(block: &SealedBlock, change: impl FnOnce(&mut Header)) -> SealedBlock {
    let mut block = block.clone_block();
    change(&mut block.header);
    SealedBlock::seal_slow(block)
}

/// Finds the seal that the tiny cache accepts.
fn sealed(ethash: &EthashSeal, mut header: Header) -> Header {
    header.difficulty = U256::from(50);
    let seal = seal_of(&header).unwrap();
    let cache = ethash.cache(ethash::Epoch::new(0));
    let found = (0..).map(|nonce| (nonce, cache.hashimoto(&seal.seal_hash, nonce)));
    let (nonce, pow) =
        found.into_iter().find(|(_, pow)| seal.target.is_met_by(&pow.result)).unwrap();
    Header { nonce: u64::to_be_bytes(nonce).into(), mix_hash: pow.mix_hash, ..header }
}

#[test]
fn a_transaction_counts_from_the_fork_of_its_type() {
    for (fork, access_list, dynamic_fee) in [
        ("frontier", Err(InvalidSender::TypeNotSupported), Err(InvalidSender::TypeNotSupported)),
        ("muirGlacier", Err(InvalidSender::TypeNotSupported), Err(InvalidSender::TypeNotSupported)),
        ("berlin", Ok(()), Err(InvalidSender::TypeNotSupported)),
        ("london", Ok(()), Ok(())),
        ("grayGlacier", Ok(()), Ok(())),
    ] {
        let spec = rules(fork);
        assert_eq!(sender(&spec, legacy(None)), Ok(()), "{fork}");
        assert_eq!(sender(&spec, eip2930(1)), access_list, "{fork}");
        assert_eq!(sender(&spec, eip1559(1)), dynamic_fee, "{fork}");
    }
}

#[test]
fn refuses_blob_and_delegating_transactions_under_every_rule_set() {
    use alloy_consensus::{SignableTransaction, TxEip4844, TxEip7702};
    let blob = TxEip4844 { chain_id: 1, ..TxEip4844::default() };
    let signature = super::sign(blob.signature_hash());
    let delegating = TxEip7702 { chain_id: 1, ..TxEip7702::default() };
    let other_signature = super::sign(delegating.signature_hash());
    let unsupported = Err(InvalidSender::TypeNotSupported);
    let spec = rules("grayGlacier");
    assert_eq!(sender(&spec, blob.into_signed(signature).into()), unsupported);
    assert_eq!(sender(&spec, delegating.into_signed(other_signature).into()), unsupported);
}

#[test]
fn a_signature_is_protected_only_from_eip_155_on_and_for_this_chain() {
    let early = rules("eip150");
    assert_eq!(sender(&early, legacy(Some(1))), Err(InvalidSender::Signature));
    let spec = rules("eip155");
    assert_eq!(sender(&spec, legacy(Some(1))), Ok(()));
    assert_eq!(sender(&spec, legacy(None)), Ok(()));
    assert_eq!(sender(&spec, legacy(Some(2))), Err(InvalidSender::ChainId));
    assert_eq!(sender(&spec, legacy(Some(0))), Err(InvalidSender::ChainId));
    assert_eq!(sender(&rules("london"), eip1559(2)), Err(InvalidSender::ChainId));
    assert_eq!(sender(&rules("london"), eip2930(2)), Err(InvalidSender::ChainId));
}

#[test]
fn the_high_form_of_a_signature_counts_in_frontier_only() {
    assert_eq!(sender(&rules("frontier"), with_high_s()), Ok(()));
    assert_eq!(sender(&rules("homestead"), with_high_s()), Err(InvalidSender::Signature));
}

#[test]
fn refuses_a_signature_that_no_key_made() {
    use alloy_consensus::{SignableTransaction, TxLegacy};
    let nothing = primitives::Signature::new(U256::ZERO, U256::from(1), false);
    let tx = TxLegacy::default().into_signed(nothing).into();
    let block = first(&rules("frontier"), vec![tx], Vec::new());
    let error = verdict(&rules("frontier"), block).unwrap_err();
    assert!(error.to_string().starts_with("could not apply tx 0 [0x"));
    assert!(error.to_string().ends_with("]: invalid transaction v, r, s values"));
    assert_eq!(InvalidSender::ChainId.to_string(), "invalid chain id for signer");
    assert_eq!(InvalidSender::TypeNotSupported.to_string(), "transaction type not supported");
}

#[test]
fn refuses_a_body_that_the_header_does_not_commit_to() {
    let spec = rules("berlin");
    let block = first(&spec, vec![legacy(Some(1))], Vec::new());
    let error = verdict(&spec, changed(&block, |header| header.transactions_root = B256::ZERO))
        .unwrap_err();
    assert!(matches!(error, InvalidBlock::TransactionsRoot { .. }));
    assert!(error.to_string().starts_with("transaction root hash mismatch: have "));
    let error =
        verdict(&spec, changed(&block, |header| header.ommers_hash = B256::ZERO)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "uncle root hash mismatch: have 1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347, want {}",
            "0".repeat(64)
        )
    );
    let mut with_withdrawals = block.clone_block();
    with_withdrawals.body.withdrawals = Some(Default::default());
    let error = verdict(&spec, SealedBlock::seal_slow(with_withdrawals)).unwrap_err();
    assert_eq!(error, InvalidBlock::Withdrawals);
    assert_eq!(error.to_string(), "block has withdrawals, which no rule of proof of work knows");
}

#[test]
fn refuses_what_a_header_cannot_say_by_itself() {
    let spec = rules("berlin");
    let block = first(&spec, Vec::new(), Vec::new());
    assert_eq!(verdict(&spec, block.clone()), Ok(()));
    let broken = |change: fn(&mut Header)| verdict(&spec, changed(&block, change)).unwrap_err();
    assert_eq!(
        broken(|header| header.extra_data = Bytes::from([0; 40])),
        InvalidBlock::ExtraDataTooLong { length: 40 }
    );
    assert_eq!(
        broken(|header| header.gas_used = header.gas_limit + 1),
        InvalidBlock::GasUsedAboveLimit { used: 10_000_001, limit: 10_000_000 }
    );
    assert_eq!(
        broken(|header| header.gas_limit = u64::MAX),
        InvalidBlock::GasLimitTooHigh { have: u64::MAX }
    );
    assert!(matches!(
        broken(|header| header.requests_hash = Some(B256::ZERO)),
        InvalidBlock::PostMergeField { field: "requestsHash" }
    ));
}

#[test]
fn refuses_ommers_that_cannot_be_near_before_looking_at_their_seals() {
    let spec = rules("berlin");
    let engine = Engine::Ethash(EthashSeal::tiny());
    let header = child(&spec, &spec.genesis_header());
    let ommer = |number| Header { number, ..header.clone() };
    for (own, number) in [(1, 1), (1, 2), (9, 2), (9, u64::MAX), (0, 1)] {
        let block =
            block(Header { number: own, ..header.clone() }, Vec::new(), vec![ommer(number)]);
        assert_eq!(engine.verify(&spec, block).unwrap_err(), InvalidBlock::OmmerParent);
    }
    let three = first(&spec, Vec::new(), vec![ommer(0); 3]);
    assert_eq!(verdict(&spec, three).unwrap_err().to_string(), "too many uncles");
    let long = Header { extra_data: Bytes::from([0; 33]), ..ommer(0) };
    let error = verdict(&spec, first(&spec, Vec::new(), vec![long])).unwrap_err();
    assert_eq!(error.to_string(), "invalid uncle: extra-data too long: 33 > 32");
}

#[test]
fn checks_the_extra_data_around_the_dao_fork() {
    for (support, wrong, text) in [
        (true, Bytes::new(), "bad DAO pro-fork extra-data"),
        (false, Bytes::from_static(DAO_EXTRA_DATA), "bad DAO no-fork extra-data"),
    ] {
        let dao = format!(r#""daoForkBlock": 1, "daoForkSupport": {support},"#);
        let spec = rules_with("homestead", &dao);
        let block = first(&spec, Vec::new(), Vec::new());
        assert_eq!(verdict(&spec, block.clone()), Ok(()));
        let error =
            verdict(&spec, changed(&block, |header| header.extra_data = wrong)).unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn checks_the_hash_of_the_first_tangerine_whistle_block() {
    let hash = first(&rules("homestead"), Vec::new(), Vec::new()).hash();
    let with = |hash: B256| {
        rules_with("homestead", &format!(r#""eip150Block": 1, "eip150Hash": "{hash}","#))
    };
    let block = first(&rules("homestead"), Vec::new(), Vec::new());
    assert_eq!(verdict(&with(hash), block.clone()), Ok(()));
    let other = B256::repeat_byte(1);
    let error = verdict(&with(other), block.clone()).unwrap_err();
    assert_eq!(error.to_string(), format!("homestead gas reprice fork: have {hash}, want {other}"));
    let second = changed(&block, |header| header.number = 2);
    assert_eq!(verdict(&with(other), second), Ok(()));
}

#[test]
fn checks_the_seals_of_block_and_ommers() {
    let spec = rules("berlin");
    let ethash = EthashSeal::tiny();
    let genesis = spec.genesis_header();
    let header = child(&spec, &genesis);
    let ommer = sealed(&ethash, header.clone());
    let second =
        block(child(&spec, &SealedHeader::seal_slow(header)), Vec::new(), vec![ommer.clone()]);
    let reseal = |block: &SealedBlock| {
        let header = sealed(&ethash, block.header().clone());
        changed(block, |old| *old = header)
    };
    let good = reseal(&second);
    let unsealed_ommer = Header { difficulty: U256::from(1), ..ommer };
    let bad_ommer = reseal(&block(second.header().clone(), Vec::new(), vec![unsealed_ommer]));
    let engine = Engine::Ethash(ethash);
    assert!(engine.verify(&spec, good.clone()).is_ok());
    let bad = changed(&good, |header| header.difficulty = U256::from(1));
    assert_eq!(engine.verify(&spec, bad).unwrap_err().to_string(), "invalid mix digest");
    let worthless = changed(&good, |header| header.difficulty = U256::ZERO);
    assert_eq!(engine.verify(&spec, worthless).unwrap_err(), InvalidBlock::NonPositiveDifficulty);
    assert_eq!(
        engine.verify(&spec, bad_ommer).unwrap_err().to_string(),
        "invalid uncle: invalid mix digest"
    );
}

#[test]
fn many_blocks_get_the_verdicts_of_each_in_order_on_any_number_of_threads() {
    let spec = rules("berlin");
    let ethash = EthashSeal::tiny();
    let blocks: Vec<SealedBlock> = (0..100_u64)
        .map(|index| {
            let mut parent = child(&spec, &spec.genesis_header());
            parent.timestamp += index;
            let transactions =
                if index % 3 == 0 { vec![legacy(Some(1 + index % 2))] } else { Vec::new() };
            let block = block(parent, transactions, Vec::new());
            let header = sealed(&ethash, block.header().clone());
            changed(&block, |old| *old = header)
        })
        .map(|block| {
            if block.header().timestamp % 7 == 0 {
                changed(&block, |header| header.difficulty = U256::from(1))
            } else {
                block
            }
        })
        .collect();
    let engine = Engine::Ethash(ethash);
    let text = |result: Result<crate::VerifiedBlock, InvalidBlock>| match result {
        Ok(verified) => {
            let (block, senders) = verified.into_parts();
            format!("{} {senders:?}", block.hash())
        }
        Err(error) => error.to_string(),
    };
    let one_by_one: Vec<String> =
        blocks.iter().map(|block| text(engine.verify(&spec, block.clone()))).collect();
    assert_eq!(one_by_one.iter().filter(|text| *text == "invalid mix digest").count(), 14);
    assert!(one_by_one.iter().any(|text| text.ends_with("invalid chain id for signer")));
    for threads in [0, 1, 2, 3, 64] {
        let many: Vec<String> =
            engine.verify_many(&spec, blocks.clone(), threads).into_iter().map(text).collect();
        assert_eq!(many, one_by_one);
    }
    assert!(engine.verify_many(&spec, Vec::new(), 2).is_empty());
}

#[test]
fn execution_must_agree_with_the_header() {
    let header = Header { gas_used: 5, ..Header::default() };
    let check = |gas, bloom: Bloom, receipts, state| {
        verify_execution(&header, gas, &bloom, receipts, state)
    };
    let (receipts, state) = (header.receipts_root, header.state_root);
    assert_eq!(check(5, Bloom::ZERO, receipts, state), Ok(()));
    let text = |verdict: Result<(), InvalidBlock>| verdict.unwrap_err().to_string();
    assert_eq!(
        text(check(6, Bloom::ZERO, receipts, state)),
        "invalid gas used (remote: 5 local: 6)"
    );
    assert_eq!(
        text(check(5, Bloom::repeat_byte(1), receipts, state)),
        format!("invalid bloom (remote: {}  local: {})", "00".repeat(256), "01".repeat(256))
    );
    let one = B256::repeat_byte(1);
    assert_eq!(
        text(check(5, Bloom::ZERO, one, state)),
        format!("invalid receipt root hash (remote: {receipts:x} local: {one:x})")
    );
    assert_eq!(
        text(check(5, Bloom::ZERO, receipts, one)),
        format!("invalid merkle root (remote: {state:x} local: {one:x})")
    );
}
