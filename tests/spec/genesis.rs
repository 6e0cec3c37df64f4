//! GenesisTests: a genesis and the RLP of the block it means.

use primitives::{B64, Block, BlockBody, Genesis, SealedBlock};
use serde_json::Value;

use crate::{
    json::{accounts, address, bytes, hash, number, object, word},
    report::Sink,
};

/// Runs all cases of a file.
pub(crate) fn run(json: &Value, sink: &mut Sink<'_>) {
    for (name, test) in object(json) {
        sink.case(name, || {
            let genesis = Genesis {
                nonce: B64::from(number(&test["nonce"])),
                timestamp: number(&test["timestamp"]),
                extra_data: bytes(&test["extraData"]),
                gas_limit: number(&test["gasLimit"]),
                difficulty: word(&test["difficulty"]),
                mix_hash: hash(&test["mixHash"]),
                beneficiary: address(&test["coinbase"]),
                parent_hash: hash(&test["parentHash"]),
                alloc: accounts(&test["alloc"]),
                ..Genesis::default()
            };
            let block = Block { header: genesis.header(false), body: BlockBody::default() };
            let have = alloy_rlp::encode(SealedBlock::seal_slow(block).into_block());
            if have == bytes(&test["result"]) {
                Ok(())
            } else {
                Err(format!("{}, expected {}", primitives::hex::encode(have), test["result"]))
            }
        });
    }
}
