use std::ops::RangeInclusive;

use primitives::{
    Address, B256, Bloom, ChainSpec, Hardfork, Header, SealedBlock, SignerRecoverable, Transaction,
    TransactionFields, ommers_hash, transactions_root,
};

use crate::{
    InvalidBlock, InvalidSender, OMMERS_MAX,
    dao::verify_dao_extra_data,
    header::{verify_fields, verify_gas},
};

/// How many generations back an ommer itself may be: one fewer than its parent.
const OMMER_GENERATIONS: RangeInclusive<u64> = 1..=6;

/// Checks what execution computed against what the header claims.
///
/// # Errors
///
/// With the first difference, in geth's order.
pub fn verify_execution(
    header: &Header,
    gas_used: u64,
    bloom: &Bloom,
    receipts_root: B256,
    state_root: B256,
) -> Result<(), InvalidBlock> {
    if header.gas_used != gas_used {
        return Err(InvalidBlock::GasUsed { header: header.gas_used, computed: gas_used });
    }
    if header.logs_bloom != *bloom {
        let (header, computed) = (Box::new(header.logs_bloom), Box::new(*bloom));
        return Err(InvalidBlock::LogsBloom { header, computed });
    }
    if header.receipts_root != receipts_root {
        return Err(InvalidBlock::ReceiptsRoot {
            header: header.receipts_root,
            computed: receipts_root,
        });
    }
    if header.state_root != state_root {
        return Err(InvalidBlock::StateRoot { header: header.state_root, computed: state_root });
    }
    Ok(())
}

/// Checks everything about a block that needs neither another block nor a seal nor a signature,
/// cheapest first.
pub(crate) fn verify_structure(spec: &ChainSpec, block: &SealedBlock) -> Result<(), InvalidBlock> {
    let (header, body) = (block.header(), block.body());
    if body.withdrawals.is_some() {
        return Err(InvalidBlock::Withdrawals);
    }
    verify_fields(header)?;
    verify_gas(header)?;
    verify_dao_extra_data(spec, header)?;
    verify_eip150_hash(spec, block)?;
    if body.ommers.len() > OMMERS_MAX {
        return Err(InvalidBlock::TooManyOmmers);
    }
    for ommer in &body.ommers {
        verify_ommer_number(header.number, ommer.number)?;
        verify_ommer_fields(spec, ommer).map_err(|error| InvalidBlock::Ommer(Box::new(error)))?;
    }
    for (index, tx) in body.transactions.iter().enumerate() {
        verify_type(spec, header.number, tx).map_err(|problem| InvalidBlock::Transaction {
            index,
            hash: *tx.tx_hash(),
            problem,
        })?;
    }
    let have = ommers_hash(&body.ommers);
    if have != header.ommers_hash {
        return Err(InvalidBlock::OmmersHash { have, want: header.ommers_hash });
    }
    let have = transactions_root(&body.transactions);
    if have != header.transactions_root {
        return Err(InvalidBlock::TransactionsRoot { have, want: header.transactions_root });
    }
    Ok(())
}

/// Recovers the senders of a block's transactions, in order.
pub(crate) fn senders(spec: &ChainSpec, block: &SealedBlock) -> Result<Vec<Address>, InvalidBlock> {
    let recover = |(index, tx): (usize, &Transaction)| {
        sender(spec, block.header().number, tx).map_err(|problem| InvalidBlock::Transaction {
            index,
            hash: *tx.tx_hash(),
            problem,
        })
    };
    block.body().transactions.iter().enumerate().map(recover).collect()
}

/// The sender of a transaction in a block of this number.
fn sender(spec: &ChainSpec, number: u64, tx: &Transaction) -> Result<Address, InvalidSender> {
    verify_type(spec, number, tx)?;
    if let Some(chain_id) = tx.chain_id() {
        if tx.is_legacy() && !spec.forks.is_eip155_active(number) {
            return Err(InvalidSender::Signature);
        }
        if chain_id != spec.chain_id {
            return Err(InvalidSender::ChainId);
        }
    }
    // EIP-2 refuses the high form of a signature from Homestead on.
    let recovered = if spec.forks.is_active(Hardfork::Homestead, number) {
        tx.recover_signer()
    } else {
        tx.recover_signer_unchecked()
    };
    recovered.map_err(|_| InvalidSender::Signature)
}

fn verify_type(spec: &ChainSpec, number: u64, tx: &Transaction) -> Result<(), InvalidSender> {
    let supported = match tx {
        Transaction::Legacy(_) => true,
        Transaction::Eip2930(_) => spec.forks.is_active(Hardfork::Berlin, number),
        Transaction::Eip1559(_) => spec.forks.is_active(Hardfork::London, number),
        Transaction::Eip4844(_) | Transaction::Eip7702(_) => false,
    };
    if supported { Ok(()) } else { Err(InvalidSender::TypeNotSupported) }
}

/// An ommer is a sibling of one of the six nearest ancestors. Checked before its seal, because its
/// number chooses the cache that we would have to generate.
fn verify_ommer_number(number: u64, ommer: u64) -> Result<(), InvalidBlock> {
    match number.checked_sub(ommer) {
        Some(depth) if OMMER_GENERATIONS.contains(&depth) => Ok(()),
        _ => Err(InvalidBlock::OmmerParent),
    }
}

fn verify_ommer_fields(spec: &ChainSpec, ommer: &Header) -> Result<(), InvalidBlock> {
    verify_fields(ommer)?;
    verify_gas(ommer)?;
    verify_dao_extra_data(spec, ommer)
}

/// Checks that the first block of Tangerine Whistle is the configured one, if one is.
fn verify_eip150_hash(spec: &ChainSpec, block: &SealedBlock) -> Result<(), InvalidBlock> {
    let (have, number) = (block.hash(), block.header().number);
    match spec.forks.eip150_hash {
        Some(want) if spec.forks.eip150 == Some(number) && have != want => {
            Err(InvalidBlock::Eip150Hash { have, want })
        }
        _ => Ok(()),
    }
}
