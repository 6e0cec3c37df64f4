//! Single blocks as a node serves them, and consecutive ones in the containers of the Portal
//! network.

use alloy_rlp::Decodable;
use primitives::{
    Block, BlockBody, ChainSpec, Header, SealedBlock, SignerRecoverable, Transaction, U256,
};
use serde_json::Value;
use state::Trie;

use super::stateless;
use crate::{
    json::{address, bytes, hash, list, number, object},
    pow::same,
    report::Sink,
};

/// Checks an answer to `eth_getBlockByNumber`: hash, seal, roots, senders.
pub(super) fn run_block(json: &Value) -> Result<(), String> {
    let header: Header = serde_json::from_value(json.clone()).map_err(|error| error.to_string())?;
    same("hash", &header.hash_slow(), &hash(&json["hash"]))?;
    let mut transactions = Vec::new();
    for fields in list(&json["transactions"]) {
        let tx: Transaction =
            serde_json::from_value(fields.clone()).map_err(|error| error.to_string())?;
        same("transaction", tx.tx_hash(), &hash(&fields["hash"]))?;
        let sender = tx.recover_signer_unchecked().map_err(|error| error.to_string())?;
        same("sender", &sender, &address(&fields["from"]))?;
        transactions.push(tx);
    }
    same(
        "transactions root",
        &primitives::transactions_root(&transactions),
        &header.transactions_root,
    )?;
    let spec = ChainSpec::preset("mainnet").expect("a built-in chain");
    let has_ommers = !list(&json["uncles"]).is_empty();
    if has_ommers {
        // Only their hashes are here: the seal is all that is left to check.
        let engine = consensus::Engine::Ethash(consensus::EthashSeal::new());
        let verdicts = engine.verify_headers(&[primitives::SealedHeader::seal_slow(header)], 1);
        return verdicts.into_iter().collect::<Result<(), _>>().map_err(|error| error.to_string());
    }
    let body = BlockBody { transactions, ..BlockBody::default() };
    stateless::check(&spec, vec![SealedBlock::seal_slow(Block { header, body })])
}

/// Checks blocks that follow one another, with their receipts.
pub(super) fn run_consecutive(json: &Value, sink: &mut Sink<'_>) {
    let mut blocks = Vec::new();
    for (name, record) in object(json) {
        let mut block = None;
        sink.case(name, || {
            let found = parse(record)?;
            same("hash", &found.hash(), &hash(&Value::String(name.into())))?;
            let receipts = items(&bytes(&record["receipts"]))?;
            same("receipts root", &root_of(&receipts), &found.header().receipts_root)?;
            block = Some(found);
            Ok(())
        });
        blocks.extend(block);
    }
    blocks.sort_by_key(|block| block.header().number);
    let spec = ChainSpec::preset("mainnet").expect("a built-in chain");
    sink.case("chain", || stateless::check(&spec, blocks));
}

fn parse(record: &Value) -> Result<SealedBlock, String> {
    let text = |error: alloy_rlp::Error| error.to_string();
    let header = Header::decode(&mut bytes(&record["header"]).as_ref()).map_err(text)?;
    same("number", &header.number, &number(&record["number"]))?;
    let body = bytes(&record["body"]);
    let (first, second) = (offset(&body, 0)?, offset(&body, 4)?);
    let transactions = body.get(first..second).ok_or("a body is cut off")?;
    let ommers = body.get(second..).ok_or("a body is cut off")?;
    let transactions = items(transactions)?
        .iter()
        .map(|tx| Transaction::decode(&mut tx.as_slice()).map_err(text))
        .collect::<Result<Vec<_>, _>>()?;
    let ommers = Vec::<Header>::decode(&mut &ommers[..]).map_err(text)?;
    let body = BlockBody { transactions, ommers, withdrawals: None };
    Ok(SealedBlock::seal_slow(Block { header, body }))
}

/// The byte strings of an SSZ list: a table of offsets, then the strings.
fn items(list: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let count = offset(list, 0)? / 4;
    let mut ends =
        (1..count).map(|place| offset(list, 4 * place)).collect::<Result<Vec<_>, _>>()?;
    ends.push(list.len());
    let mut start = offset(list, 0)?;
    let mut items = Vec::new();
    for end in ends {
        items.push(list.get(start..end).ok_or("a list is cut off")?.to_vec());
        start = end;
    }
    Ok(items)
}

fn offset(container: &[u8], at: usize) -> Result<usize, String> {
    let bytes = container.get(at..at + 4).ok_or("an offset is cut off")?;
    let bytes = bytes.try_into().expect("four bytes");
    Ok(usize::try_from(u32::from_le_bytes(bytes)).expect("at least 32 bits"))
}

/// The root of the trie of these encodings by their place.
fn root_of(items: &[Vec<u8>]) -> primitives::B256 {
    let mut trie = Trie::new();
    for (place, item) in items.iter().enumerate() {
        trie.insert(&alloy_rlp::encode(U256::from(place)), item);
    }
    trie.root()
}
