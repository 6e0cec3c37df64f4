use alloy_rlp::Encodable;
use alloy_trie::Nibbles;
use primitives::{B256, U256};

use super::{ACCOUNT_RLP_BYTES_MAX, encode_account, take::Taken};
use crate::{
    ReadError, StateChanges, StateReader,
    trie::{Source, Trie},
};

/// Completes a change of accounts and slots with the trie nodes it brings, and with the root behind
/// it. For going back to an older state, of which the values are known and the trie is not.
///
/// `root` is the root of the reader's state. Nodes in `changes` are replaced.
///
/// # Errors
///
/// When the reader fails, or a node is not there or not what it should be, or a storage trie does
/// not come to the root that its account names.
pub fn unwind<R: StateReader>(
    root: B256,
    reader: &R,
    mut changes: StateChanges,
) -> Result<(B256, StateChanges), ReadError> {
    let mut taken = Taken::default();
    let mut rlp = Vec::with_capacity(ACCOUNT_RLP_BYTES_MAX);
    for (owner, slots) in &changes.slots {
        let source = Source { reader, owner: Some(*owner) };
        let mut trie = Trie::stored(source)?;
        for (slot, value) in slots {
            rlp.clear();
            if *value != U256::ZERO {
                value.encode(&mut rlp);
            }
            trie.set(source, Nibbles::unpack_array(slot), &rlp)?;
        }
        if let Some(Some(account)) = changes.accounts.get(&owner.address_hash)
            && account.incarnation == owner.incarnation
            && account.storage_root != trie.root()
        {
            let key = owner.address_hash.to_string();
            return Err(ReadError::Corrupt { what: "storage of account", key });
        }
        taken.nodes_of(Some(*owner), &mut trie);
    }
    let source = Source { reader, owner: None };
    let mut trie = Trie::at(root);
    for (hash, account) in &changes.accounts {
        rlp.clear();
        if let Some(account) = account {
            encode_account(account, &mut rlp);
        }
        trie.set(source, Nibbles::unpack_array(hash), &rlp)?;
    }
    taken.nodes_of(None, &mut trie);
    let preimages = std::mem::take(&mut changes.preimages);
    changes.slot_nodes.clear();
    taken.finish(&mut changes);
    changes.preimages = preimages;
    Ok((trie.root(), changes))
}
