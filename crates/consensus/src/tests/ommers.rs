use primitives::{Address, B256, ChainSpec, Header, SealedBlock, SealedHeader, U256};

use super::{block, child, rules};
use crate::{Ancestor, InvalidBlock, verify_ommers};

/// The headers of blocks 0 to 8.
fn chain(spec: &ChainSpec) -> Vec<SealedHeader> {
    let mut headers = vec![spec.genesis_header()];
    for _ in 0..8 {
        let next = child(spec, headers.last().unwrap());
        headers.push(SealedHeader::seal_slow(next));
    }
    headers
}

/// All of these as ancestors, newest first, without ommers.
fn ancestors(headers: &[SealedHeader]) -> Vec<Ancestor> {
    let ancestor = |header: &SealedHeader| Ancestor { header: header.clone(), ommers: Vec::new() };
    headers.iter().rev().map(ancestor).collect()
}

/// A sibling of the child of this header.
fn ommer(spec: &ChainSpec, parent: &SealedHeader) -> Header {
    Header { beneficiary: Address::with_last_byte(7), ..child(spec, parent) }
}

fn with_ommers(spec: &ChainSpec, headers: &[SealedHeader], ommers: Vec<Header>) -> SealedBlock {
    block(child(spec, headers.last().unwrap()), Vec::new(), ommers)
}

#[test]
fn accepts_ommers_of_the_last_six_generations() {
    let spec = rules("berlin");
    let headers = chain(&spec);
    for parent in 2..=7 {
        let block = with_ommers(&spec, &headers, vec![ommer(&spec, &headers[parent])]);
        assert_eq!(verify_ommers(&spec, &block, &ancestors(&headers)), Ok(()), "parent {parent}");
    }
    let two = vec![ommer(&spec, &headers[7]), ommer(&spec, &headers[6])];
    let block = with_ommers(&spec, &headers, two);
    assert_eq!(verify_ommers(&spec, &block, &ancestors(&headers)), Ok(()));
}

#[test]
fn accepts_an_ommer_of_a_chain_shorter_than_seven() {
    let spec = rules("berlin");
    let headers = &chain(&spec)[..2];
    let block = with_ommers(&spec, headers, vec![ommer(&spec, &headers[0])]);
    assert_eq!(verify_ommers(&spec, &block, &ancestors(headers)), Ok(()));
}

#[test]
fn refuses_an_ommer_too_old_or_too_young() {
    let spec = rules("berlin");
    let headers = chain(&spec);
    for parent in [0, 1, 8] {
        let block = with_ommers(&spec, &headers, vec![ommer(&spec, &headers[parent])]);
        let verdict = verify_ommers(&spec, &block, &ancestors(&headers));
        assert_eq!(verdict, Err(InvalidBlock::OmmerParent), "parent {parent}");
    }
    let stranger = Header { parent_hash: B256::repeat_byte(1), ..ommer(&spec, &headers[5]) };
    let block = with_ommers(&spec, &headers, vec![stranger]);
    assert_eq!(verify_ommers(&spec, &block, &ancestors(&headers)), Err(InvalidBlock::OmmerParent));
}

#[test]
fn refuses_three_ommers() {
    let spec = rules("berlin");
    let headers = chain(&spec);
    let three = (5..8).map(|parent| ommer(&spec, &headers[parent])).collect();
    let block = with_ommers(&spec, &headers, three);
    assert_eq!(
        verify_ommers(&spec, &block, &ancestors(&headers)),
        Err(InvalidBlock::TooManyOmmers)
    );
}

#[test]
fn refuses_an_ommer_twice() {
    let spec = rules("berlin");
    let headers = chain(&spec);
    let twice = vec![ommer(&spec, &headers[7]); 2];
    let block = with_ommers(&spec, &headers, twice);
    assert_eq!(
        verify_ommers(&spec, &block, &ancestors(&headers)),
        Err(InvalidBlock::DuplicateOmmer)
    );
}

#[test]
fn refuses_an_ommer_that_an_ancestor_includes() {
    let spec = rules("berlin");
    let headers = chain(&spec);
    let ommer = ommer(&spec, &headers[5]);
    let mut ancestors = ancestors(&headers);
    ancestors[1].ommers.push(SealedHeader::seal_slow(ommer.clone()).hash());
    let block = with_ommers(&spec, &headers, vec![ommer]);
    assert_eq!(verify_ommers(&spec, &block, &ancestors), Err(InvalidBlock::DuplicateOmmer));
}

#[test]
fn refuses_an_ancestor_as_ommer() {
    let spec = rules("berlin");
    let headers = chain(&spec);
    let block = with_ommers(&spec, &headers, vec![headers[6].clone_header()]);
    assert_eq!(
        verify_ommers(&spec, &block, &ancestors(&headers)),
        Err(InvalidBlock::OmmerIsAncestor)
    );
}

#[test]
fn refuses_an_ommer_whose_header_is_wrong() {
    let spec = rules("berlin");
    let headers = chain(&spec);
    let wrong = Header { difficulty: U256::from(9), ..ommer(&spec, &headers[6]) };
    let block = with_ommers(&spec, &headers, vec![wrong]);
    let verdict = verify_ommers(&spec, &block, &ancestors(&headers)).unwrap_err();
    assert!(
        matches!(&verdict, InvalidBlock::Ommer(inner) if matches!(**inner, InvalidBlock::Difficulty { .. }))
    );
    assert!(verdict.to_string().starts_with("invalid uncle: invalid difficulty: have 9, want "));
}
