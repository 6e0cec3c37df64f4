use std::sync::Arc;

use ethash::{Epoch, LightCache};
use primitives::{Address, ChainSpec, Header, SealedBlock, SealedHeader, in_shares};

use crate::{
    EthashSeal, InvalidBlock,
    body::{senders, verify_structure},
    header::verify_fields,
};

/// How blocks are sealed. A closed set: adding one makes every `match` say what it means for it.
#[derive(Debug)]
pub enum Engine {
    /// Proof of work.
    Ethash(EthashSeal),
    /// Every seal is right: chains for development (`--dev`), which nobody else joins, and tests.
    Instant,
}

/// A block that holds on its own: seal, roots, sizes and signatures are right.
///
/// Only [`Engine::verify`] makes one, so holding it is proof. What needs the parent is checked by
/// the chain.
#[derive(Debug, Clone)]
pub struct VerifiedBlock {
    block: SealedBlock,
    senders: Vec<Address>,
}

impl Engine {
    /// The light cache of an epoch, generated if it is not here; `None` where nothing is proved.
    #[must_use]
    pub fn cache(&self, epoch: Epoch) -> Option<Arc<LightCache>> {
        match self {
            Self::Ethash(seal) => Some(seal.cache(epoch)),
            Self::Instant => None,
        }
    }

    /// Checks everything about a block that needs no other block: fields, roots, ommers, seals,
    /// transaction types and signatures.
    ///
    /// The block's number chooses the cache that checks its seal, and generating one takes a
    /// second: for a stranger's block [`verify_header`](crate::verify_header) goes first.
    ///
    /// # Errors
    ///
    /// With the first rule that is broken; cheap rules come first.
    pub fn verify(
        &self,
        spec: &ChainSpec,
        block: SealedBlock,
    ) -> Result<VerifiedBlock, InvalidBlock> {
        let senders = self
            .senders_of(spec, std::slice::from_ref(&block))
            .pop()
            .expect("one block, one verdict")?;
        Ok(VerifiedBlock { block, senders })
    }

    /// Checks many blocks as [`Self::verify`] does, on so many threads, seals interleaved.
    ///
    /// The verdicts are in the order of the blocks.
    #[must_use]
    pub fn verify_many(
        &self,
        spec: &ChainSpec,
        blocks: Vec<SealedBlock>,
        threads: usize,
    ) -> Vec<Result<VerifiedBlock, InvalidBlock>> {
        let verdicts = in_shares(&blocks, threads, |share| self.senders_of(spec, share));
        blocks
            .into_iter()
            .zip(verdicts)
            .map(|(block, senders)| Ok(VerifiedBlock { block, senders: senders? }))
            .collect()
    }

    /// Checks the seals of headers, on so many threads. The verdicts are in their order.
    #[must_use]
    pub fn verify_headers(
        &self,
        headers: &[SealedHeader],
        threads: usize,
    ) -> Vec<Result<(), InvalidBlock>> {
        in_shares(headers, threads, |share| {
            let share: Vec<&Header> = share.iter().map(SealedHeader::header).collect();
            let fields = share.iter().map(|header| verify_fields(header));
            fields.zip(self.seals(&share)).map(|(fields, seal)| fields.and(seal)).collect()
        })
    }

    /// The senders of each block that holds.
    fn senders_of(
        &self,
        spec: &ChainSpec,
        blocks: &[SealedBlock],
    ) -> Vec<Result<Vec<Address>, InvalidBlock>> {
        let mut verdicts: Vec<Result<(), InvalidBlock>> =
            blocks.iter().map(|block| verify_structure(spec, block)).collect();
        let mut sealed = Vec::new();
        for (index, block) in
            blocks.iter().enumerate().filter(|(index, _)| verdicts[*index].is_ok())
        {
            sealed.push((index, None, block.header()));
            let ommers = block.body().ommers.iter().enumerate();
            sealed.extend(ommers.map(|(place, ommer)| (index, Some(place), ommer)));
        }
        let headers: Vec<&Header> = sealed.iter().map(|(.., header)| *header).collect();
        for ((index, ommer, _), verdict) in sealed.into_iter().zip(self.seals(&headers)) {
            let verdict = verdict.map_err(|error| match ommer {
                Some(_) => InvalidBlock::Ommer(Box::new(error)),
                None => error,
            });
            if verdicts[index].is_ok() {
                verdicts[index] = verdict;
            }
        }
        let recovered = blocks.iter().zip(verdicts).map(|(block, verdict)| {
            verdict?;
            senders(spec, block)
        });
        recovered.collect()
    }

    fn seals(&self, headers: &[&Header]) -> Vec<Result<(), InvalidBlock>> {
        match self {
            Self::Ethash(ethash) => ethash.verify_many(headers),
            Self::Instant => vec![Ok(()); headers.len()],
        }
    }
}

impl VerifiedBlock {
    /// The block.
    #[must_use]
    pub const fn block(&self) -> &SealedBlock {
        &self.block
    }

    /// Who signed its transactions, in order.
    #[must_use]
    pub fn senders(&self) -> &[Address] {
        &self.senders
    }

    /// The block and who signed its transactions.
    #[must_use]
    pub fn into_parts(self) -> (SealedBlock, Vec<Address>) {
        (self.block, self.senders)
    }
}
