use alloy_rlp::{Decodable, Encodable};
use primitives::{Address, EMPTY_ROOT_HASH, keccak256};

use super::*;
use crate::{MemoryState, WorldState};

fn owner(byte: u8, incarnation: u64) -> StorageOwner {
    StorageOwner { address_hash: B256::repeat_byte(byte), incarnation }
}

fn everything() -> StateChanges {
    let mut changes = StateChanges::default();
    changes.accounts.insert(B256::repeat_byte(2), Some(Account::new(7)));
    changes.accounts.insert(B256::repeat_byte(1), None);
    for byte in 1..4 {
        let slots = (0..byte).map(|slot| (B256::repeat_byte(slot), U256::from(slot)));
        changes.slots.insert(owner(byte, 3), slots.collect());
        let nodes = (0..byte).map(|length| {
            let path = Nibbles::from_nibbles(vec![length + 9; usize::from(length)]);
            (path, (length > 0).then(|| Bytes::from(vec![length; 40])))
        });
        changes.slot_nodes.insert(owner(byte, 3), nodes.collect());
    }
    changes.account_nodes.insert(Nibbles::unpack([0x12; 32]), Some(Bytes::from_static(&[0x80])));
    changes.account_nodes.insert(Nibbles::unpack([0x12; 32]).slice(..63), None);
    changes.codes.insert(keccak256([0xfe]), Bytes::from_static(&[0xfe]));
    changes.preimages.insert(keccak256(Address::ZERO), Address::ZERO.to_vec().into());
    changes
}

#[test]
fn survives_its_encoding() {
    for changes in [StateChanges::default(), everything()] {
        let rlp = alloy_rlp::encode(&changes);
        assert_eq!(rlp.len(), changes.length());
        assert_eq!(StateChanges::decode(&mut rlp.as_slice()).unwrap(), changes);
    }
}

#[test]
fn has_one_encoding_however_it_came_about() {
    let expect = alloy_rlp::encode(everything());
    let mut merged = StateChanges::default();
    merged.merge(&everything());
    merged.merge(&everything());
    assert_eq!(alloy_rlp::encode(&merged), expect);
    // Maps of another capacity iterate in another order.
    merged.account_nodes.reserve(1_000);
    merged.slots.reserve(1_000);
    assert_eq!(alloy_rlp::encode(&merged), expect);
}

#[test]
fn refuses_to_decode_rows_out_of_order_and_wrong_paths() {
    let mut changes = StateChanges::default();
    changes.accounts.insert(B256::repeat_byte(1), None);
    changes.accounts.insert(B256::repeat_byte(2), None);
    let rlp = alloy_rlp::encode(&changes);
    let swapped: Vec<_> =
        rlp.iter().map(|byte| if let 1 | 2 = byte { 3 - byte } else { *byte }).collect();
    assert!(StateChanges::decode(&mut swapped.as_slice()).is_err());

    let path = |bytes: &[u8]| {
        let mut changes = StateChanges::default();
        changes.account_nodes.insert(Nibbles::from_nibbles([1, 2, 3]), None);
        let mut rlp = alloy_rlp::encode(&changes);
        let at = rlp.windows(3).position(|window| window == [3, 0x12, 0x30]).unwrap();
        rlp[at..at + 3].copy_from_slice(bytes);
        StateChanges::decode(&mut rlp.as_slice())
    };
    assert!(path(&[3, 0x45, 0x60]).is_ok());
    assert!(path(&[4, 0x45, 0x60]).is_ok());
    assert!(path(&[3, 0x45, 0x67]).is_err());
    assert!(path(&[2, 0x45, 0x60]).is_err());
    assert!(path(&[65, 0x45, 0x60]).is_err());

    for length in 0..rlp.len() {
        assert!(StateChanges::decode(&mut &rlp[..length]).is_err());
    }
}

#[test]
fn merging_blocks_is_applying_one_after_the_other() {
    let mut disk = MemoryState::default();
    let mut world = WorldState::at(EMPTY_ROOT_HASH, disk.clone(), 1);
    let mut merged = StateChanges::default();
    for byte in 1..20_u8 {
        let block = u64::from(byte);
        world.begin_block(block);
        let address = Address::with_last_byte(byte % 3);
        if block.is_multiple_of(4) {
            world.destroy(address).unwrap();
        }
        world.add_balance(address, U256::from(block)).unwrap();
        world.set_storage(address, U256::from(block % 5), U256::from(block % 2)).unwrap();
        world.set_code(keccak256([byte]), vec![byte].into());
        let changes = world.take_changes().unwrap();
        assert!(!changes.is_empty());
        assert!(changes.size_bytes() > 200);
        merged.merge(&changes);
        disk.apply(&changes);
    }
    let mut at_once = MemoryState::default();
    at_once.apply(&merged);
    assert_eq!(at_once, disk);
    assert!(StateChanges::default().is_empty());
    assert_eq!(StateChanges::default().size_bytes(), 0);
}
