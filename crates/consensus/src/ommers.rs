use primitives::{B256, ChainSpec, Header, SealedBlock, SealedHeader, keccak256};

use crate::{InvalidBlock, verify_header};

/// The most ommers in a block.
pub const OMMERS_MAX: usize = 2;

/// How many generations back an ommer's parent may be.
pub const OMMER_DEPTH_MAX: usize = 7;

/// What the rule about ommers needs to know of an ancestor.
#[derive(Debug, Clone)]
pub struct Ancestor {
    /// The ancestor's header.
    pub header: SealedHeader,
    /// The hashes of the ommers that it includes.
    pub ommers: Vec<B256>,
}

/// Checks a block's ommers against its ancestors, newest first (Yellow Paper §11.1).
///
/// Only the first seven ancestors count. The seals are for [`Engine::verify`](crate::Engine::verify).
///
/// # Errors
///
/// With the first rule that is broken, in geth's order.
pub fn verify_ommers(
    spec: &ChainSpec,
    block: &SealedBlock,
    ancestors: &[Ancestor],
) -> Result<(), InvalidBlock> {
    let ommers = &block.body().ommers;
    if ommers.len() > OMMERS_MAX {
        return Err(InvalidBlock::TooManyOmmers);
    }
    let ancestors = &ancestors[..ancestors.len().min(OMMER_DEPTH_MAX)];
    let mut included: Vec<B256> =
        ancestors.iter().flat_map(|ancestor| ancestor.ommers.iter().copied()).collect();
    included.push(block.hash());
    for ommer in ommers {
        let hash = hash_of(ommer);
        if included.contains(&hash) {
            return Err(InvalidBlock::DuplicateOmmer);
        }
        included.push(hash);
        if ancestors.iter().any(|ancestor| ancestor.header.hash() == hash) {
            return Err(InvalidBlock::OmmerIsAncestor);
        }
        let parent = ancestors
            .iter()
            .map(|ancestor| &ancestor.header)
            .find(|header| header.hash() == ommer.parent_hash)
            .filter(|header| header.hash() != block.header().parent_hash)
            .ok_or(InvalidBlock::OmmerParent)?;
        verify_header(spec, ommer, parent).map_err(|error| InvalidBlock::Ommer(Box::new(error)))?;
    }
    Ok(())
}

fn hash_of(header: &Header) -> B256 {
    keccak256(alloy_rlp::encode(header))
}
