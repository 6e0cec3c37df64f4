use primitives::{ChainSpec, Hardfork, Transaction, TransactionFields, TxKind};

use crate::message::Message;

/// Every transaction.
const BASE_GAS: u64 = 21_000;
/// A creation, on top (EIP-2).
const CREATION_GAS: u64 = 32_000;
const ZERO_BYTE_GAS: u64 = 4;
const NONZERO_BYTE_GAS: u64 = 68;
/// EIP-2028.
const NONZERO_BYTE_GAS_ISTANBUL: u64 = 16;
/// EIP-2930.
const LISTED_ADDRESS_GAS: u64 = 2_400;
/// EIP-2930.
const LISTED_SLOT_GAS: u64 = 1_900;

/// The gas that a transaction costs before it does anything, in a block of this number (Yellow
/// Paper §6.2, EIP-2, EIP-2028, EIP-2930).
#[must_use]
pub fn intrinsic_gas(spec: &ChainSpec, number: u64, tx: &Transaction) -> u64 {
    let (addresses, slots) = tx
        .access_list()
        .map_or((0, 0), |list| (list.len(), list.iter().map(|item| item.storage_keys.len()).sum()));
    intrinsic(spec.hardfork_at(number), tx.kind(), tx.input(), addresses, slots)
}

/// The same for anything that can be executed.
pub(crate) fn intrinsic_gas_of(hardfork: Hardfork, message: &Message<'_>) -> u64 {
    let (addresses, slots) = message
        .access_list
        .map_or((0, 0), |list| (list.len(), list.iter().map(|item| item.storage_keys.len()).sum()));
    intrinsic(hardfork, message.to, message.input, addresses, slots)
}

fn intrinsic(hardfork: Hardfork, to: TxKind, input: &[u8], addresses: usize, slots: usize) -> u64 {
    let creates = to.is_create() && hardfork >= Hardfork::Homestead;
    let nonzero_byte_gas =
        if hardfork >= Hardfork::Istanbul { NONZERO_BYTE_GAS_ISTANBUL } else { NONZERO_BYTE_GAS };
    let zero_bytes = count(input.iter().filter(|byte| **byte == 0).count());
    let nonzero_bytes = count(input.len()) - zero_bytes;
    // No sum here overflows: what is counted fits into memory.
    BASE_GAS
        + if creates { CREATION_GAS } else { 0 }
        + zero_bytes * ZERO_BYTE_GAS
        + nonzero_bytes * nonzero_byte_gas
        + count(addresses) * LISTED_ADDRESS_GAS
        + count(slots) * LISTED_SLOT_GAS
}

fn count(items: usize) -> u64 {
    u64::try_from(items).expect("a length fits into 64 bits")
}

#[cfg(test)]
mod tests {
    use alloy_consensus::{SignableTransaction, TxEip2930, TxLegacy};
    use alloy_eips::eip2930::{AccessList, AccessListItem};
    use primitives::{Address, B256, Bytes, Signature};

    use super::*;
    use crate::testing::{legacy, plain, spec};

    #[test]
    fn counts_creation_bytes_and_lists_by_fork() {
        let input = Bytes::from_static(&[0, 1, 0, 2, 3]);
        let create = legacy(TxLegacy { input: input.clone(), ..plain(TxKind::Create) });
        let call = legacy(TxLegacy { input, ..plain(TxKind::Call(Address::ZERO)) });
        for (hardfork, of_create, of_call) in [
            (Hardfork::Frontier, 21_000 + 212, 21_000 + 212),
            (Hardfork::Homestead, 53_000 + 212, 21_000 + 212),
            (Hardfork::Petersburg, 53_000 + 212, 21_000 + 212),
            (Hardfork::Istanbul, 53_000 + 56, 21_000 + 56),
            (Hardfork::London, 53_000 + 56, 21_000 + 56),
        ] {
            let spec = spec(hardfork);
            assert_eq!(intrinsic_gas(&spec, 1, &create), of_create, "{hardfork:?}");
            assert_eq!(intrinsic_gas(&spec, 1, &call), of_call, "{hardfork:?}");
        }

        let item =
            |keys| AccessListItem { address: Address::ZERO, storage_keys: vec![B256::ZERO; keys] };
        let listed = TxEip2930 {
            access_list: AccessList(vec![item(0), item(3)]),
            to: TxKind::Call(Address::ZERO),
            ..TxEip2930::default()
        };
        let listed = listed.into_signed(Signature::test_signature()).into();
        assert_eq!(
            intrinsic_gas(&spec(Hardfork::Berlin), 1, &listed),
            21_000 + 2 * 2_400 + 3 * 1_900
        );
    }
}
