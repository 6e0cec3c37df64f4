//! Values on disk: how they become bytes and back.

use alloy_rlp::{Decodable, Encodable, Header as RlpHeader};
use primitives::U256;
use state::Account;

use crate::{
    StorageError,
    schema::{Column, FlatKey},
};

/// Decodes all of `bytes`, or says which record is not what it should be.
pub(crate) fn decode<T: Decodable>(
    column: Column,
    key: &[u8],
    bytes: &[u8],
) -> Result<T, StorageError> {
    let mut rest = bytes;
    match T::decode(&mut rest) {
        Ok(value) if rest.is_empty() => Ok(value),
        Ok(_) => Err(bad(column, key, "has more bytes than it should")),
        Err(error) => Err(bad(column, key, &error.to_string())),
    }
}

/// The error for a record that does not decode.
pub(crate) fn bad(column: Column, key: &[u8], why: &str) -> StorageError {
    StorageError::corrupt(column.name(), format!("record {} {why}", primitives::hex::encode(key)))
}

/// A number without its leading zeros; nothing for zero.
pub(crate) fn encode_u256(value: U256) -> Vec<u8> {
    value.to_be_bytes_trimmed_vec()
}

/// The inverse of [`encode_u256`].
pub(crate) fn decode_u256(column: Column, key: &[u8], bytes: &[u8]) -> Result<U256, StorageError> {
    U256::try_from_be_slice(bytes).ok_or_else(|| bad(column, key, "is longer than 32 bytes"))
}

/// A number of eight bytes.
pub(crate) fn decode_u64(column: Column, key: &[u8], bytes: &[u8]) -> Result<u64, StorageError> {
    let bytes = bytes.try_into().map_err(|_| bad(column, key, "is not eight bytes long"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// An account that may be absent; nothing for absent.
pub(crate) fn encode_account(account: Option<&Account>) -> Vec<u8> {
    account.map_or_else(Vec::new, alloy_rlp::encode)
}

/// The inverse of [`encode_account`].
pub(crate) fn decode_account(
    column: Column,
    key: &[u8],
    bytes: &[u8],
) -> Result<Option<Account>, StorageError> {
    if bytes.is_empty() { Ok(None) } else { decode(column, key, bytes).map(Some) }
}

/// The keys that a block changed, as an RLP list.
pub(crate) fn encode_keys(keys: &[FlatKey]) -> Vec<u8> {
    let encoded: Vec<Vec<u8>> = keys.iter().map(FlatKey::encode).collect();
    let payload_length = encoded.iter().map(|key| key.as_slice().length()).sum();
    let mut out = Vec::new();
    RlpHeader { list: true, payload_length }.encode(&mut out);
    for key in &encoded {
        key.as_slice().encode(&mut out);
    }
    out
}

/// The inverse of [`encode_keys`]; `number` is the block, for the error.
pub(crate) fn decode_keys(number: u64, bytes: &[u8]) -> Result<Vec<FlatKey>, StorageError> {
    let wrong = |why: &str| bad(Column::Changes, &number.to_be_bytes(), why);
    let mut list = bytes;
    let mut list = RlpHeader::decode_bytes(&mut list, true).map_err(|e| wrong(&e.to_string()))?;
    let mut keys = Vec::new();
    while !list.is_empty() {
        let key = RlpHeader::decode_bytes(&mut list, false).map_err(|e| wrong(&e.to_string()))?;
        keys.push(FlatKey::decode(key).ok_or_else(|| wrong("names no account and no slot"))?);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use primitives::B256;
    use proptest::prelude::*;
    use state::StorageOwner;

    use super::*;

    proptest! {
        #[test]
        fn values_decode_to_what_was_encoded(limbs: [u64; 4], nonce: u64, seed: [u8; 32], n in 0_u64..20) {
            let number = U256::from_limbs(limbs);
            prop_assert_eq!(decode_u256(Column::Slots, &[], &encode_u256(number)).unwrap(), number);
            let mut account = Account::new(n);
            (account.nonce, account.balance, account.storage_root) = (nonce, number, B256::from(seed));
            for account in [None, Some(account)] {
                let bytes = encode_account(account.as_ref());
                prop_assert_eq!(decode_account(Column::Accounts, &[], &bytes).unwrap(), account);
            }
            let owner = StorageOwner { address_hash: B256::from(seed), incarnation: nonce };
            let keys: Vec<_> = (0..n)
                .flat_map(|i| [
                    FlatKey::Account(B256::with_last_byte(7)),
                    FlatKey::Slot(owner, B256::from(U256::from(i))),
                ])
                .collect();
            prop_assert_eq!(decode_keys(1, &encode_keys(&keys)).unwrap(), keys);
        }
    }

    #[test]
    fn damaged_records_are_named() {
        let cut = &alloy_rlp::encode(Account::new(1))[..20];
        let error = decode_account(Column::Accounts, &[0xab], cut).unwrap_err();
        assert!(error.to_string().starts_with("corrupt accounts: record ab "), "{error}");
        assert!(decode_u256(Column::Slots, &[], &[1; 33]).is_err());
        assert!(decode_u64(Column::Numbers, &[], &[1; 7]).is_err());
        assert!(decode_keys(1, &[0xc2, 0x81, 0xff]).is_err());
        let mut long = alloy_rlp::encode(Account::new(1));
        long.push(0);
        assert!(decode_account(Column::Accounts, &[], &long).is_err());
    }
}
