//! Files of history: records of headers, bodies, receipts and total difficulties.

use std::io::Read;

use alloy_rlp::Decodable;
use primitives::{
    Block, BlockBody, ChainSpec, Header, SealedBlock, TotalDifficulty, U256, receipts_root,
};

use super::{blocks::import_all, stateless};
use crate::{pow::same, report::Sink};

const HEADER: u16 = 0x03;
const BODY: u16 = 0x04;
const RECEIPTS: u16 = 0x05;
const TOTAL_DIFFICULTY: u16 = 0x06;

/// Type, length and two reserved bytes.
const RECORD_HEADER_BYTES: usize = 8;

/// What the file says about its blocks.
#[derive(Debug, Default)]
struct Era {
    headers: Vec<Header>,
    bodies: Vec<BlockBody>,
    /// RLP of the lists.
    receipts: Vec<Vec<u8>>,
    difficulties: Vec<U256>,
}

/// Imports the blocks from mainnet's genesis, or checks them without state.
pub(super) fn run(content: &[u8], sink: &mut Sink<'_>) {
    sink.case("era", || {
        let era = Era::parse(content)?;
        let spec = ChainSpec::preset("mainnet").expect("a built-in chain");
        check_difficulties(&era)?;
        check_empty_receipts(&era)?;
        let difficulties = era.difficulties;
        let blocks: Vec<SealedBlock> = era
            .headers
            .into_iter()
            .zip(era.bodies)
            .map(|(header, body)| SealedBlock::seal_slow(Block { header, body }))
            .collect();
        let Some(first) = blocks.first() else { return Err("no blocks".into()) };
        if first.header().number > 0 {
            return stateless::check(&spec, blocks);
        }
        same("genesis", &first.hash(), &spec.genesis_block().hash())?;
        let hashes: Vec<_> = blocks.iter().map(SealedBlock::hash).collect();
        let importer = import_all(spec, blocks.into_iter().skip(1).collect())?;
        let db = importer.view().db.clone();
        for (hash, td) in hashes.into_iter().zip(difficulties) {
            let have = db.td(hash).map_err(|error| error.to_string())?;
            same("total difficulty", &have, &Some(TotalDifficulty::new(td)))?;
        }
        Ok(())
    });
}

impl Era {
    fn parse(mut content: &[u8]) -> Result<Self, String> {
        let mut era = Self::default();
        while content.len() >= RECORD_HEADER_BYTES {
            let kind = u16::from_le_bytes([content[0], content[1]]);
            let length = u32::from_le_bytes([content[2], content[3], content[4], content[5]]);
            let end = RECORD_HEADER_BYTES + usize::try_from(length).expect("at least 32 bits");
            let payload = content.get(RECORD_HEADER_BYTES..end).ok_or("a record is cut off")?;
            match kind {
                HEADER => era.headers.push(decoded(payload)?),
                BODY => era.bodies.push(decoded(payload)?),
                RECEIPTS => era.receipts.push(plain(payload)?),
                TOTAL_DIFFICULTY => {
                    era.difficulties.push(U256::try_from_le_slice(payload).ok_or("too long")?);
                }
                _ => {}
            }
            content = &content[end..];
        }
        let count = era.headers.len();
        same("bodies", &era.bodies.len(), &count)?;
        same("receipts", &era.receipts.len(), &count)?;
        same("difficulties", &era.difficulties.len(), &count)?;
        Ok(era)
    }
}

fn plain(payload: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut decoder = snap::read::FrameDecoder::new(payload);
    decoder.read_to_end(&mut out).map_err(|error| error.to_string())?;
    Ok(out)
}

fn decoded<T: Decodable>(payload: &[u8]) -> Result<T, String> {
    T::decode(&mut plain(payload)?.as_slice()).map_err(|error| error.to_string())
}

/// Each total is the one before and the block's own difficulty.
fn check_difficulties(era: &Era) -> Result<(), String> {
    for (pair, header) in era.difficulties.windows(2).zip(&era.headers[1..]) {
        let want = TotalDifficulty::new(pair[0]).child(header.difficulty);
        same("total difficulty", &TotalDifficulty::new(pair[1]), &want)?;
    }
    Ok(())
}

/// Receipts of blocks without transactions; others are made again when the block is executed.
fn check_empty_receipts(era: &Era) -> Result<(), String> {
    let blocks = era.headers.iter().zip(&era.bodies).zip(&era.receipts);
    for ((header, body), receipts) in blocks {
        if body.transactions.is_empty() {
            same("receipts", receipts, &vec![alloy_rlp::EMPTY_LIST_CODE])?;
            same("receipts root", &header.receipts_root, &receipts_root(&[]))?;
        }
    }
    Ok(())
}
