use alloy_trie::TrieAccount;
use primitives::{B256, EMPTY_ROOT_HASH, KECCAK256_EMPTY, keccak256};
use state::{Account, StorageOwner};

use super::{Check, walk::Walk};
use crate::{
    StateAt, StorageError,
    codec::bad,
    history,
    schema::{Column, parse_owner},
};

/// The state on the disk.
pub(super) fn base(check: &mut Check<'_>) -> Result<(), StorageError> {
    let totals = whole(check, check.view.base().hash)?;
    check.report.counts.accounts = totals.accounts;
    check.report.counts.slots = totals.slots;
    check.report.counts.nodes = totals.nodes;
    Ok(())
}

/// The state on the disk with all layers of the canonical chain on top.
pub(super) fn head(check: &mut Check<'_>) -> Result<(), StorageError> {
    let head = check.view.head().ok_or(StorageError::Empty)?;
    if head != check.view.base() {
        whole(check, head.hash)?;
    }
    Ok(())
}

#[derive(Default)]
struct Totals {
    accounts: u64,
    slots: u64,
    nodes: u64,
}

/// Compares the flat values of a state with the leaves of its tries, one by one.
fn whole(check: &mut Check<'_>, block: B256) -> Result<Totals, StorageError> {
    let view = check.view;
    let header = view.header(block)?.ok_or(StorageError::UnknownBlock(block))?;
    let state = view.state_at(block)?;
    let mut totals = Totals::default();
    let mut flat = state.accounts_from(B256::ZERO);
    let mut walk = Walk::new(&state, None);
    if header.state_root != EMPTY_ROOT_HASH {
        walk.run(header.state_root, &mut |hash, leaf| {
            let mut account = flat.next().transpose()?;
            while let Some((extra, _)) = account.filter(|(have, _)| *have < hash) {
                check.problem(format!("account {extra} is not in the trie of block {block}"));
                account = flat.next().transpose()?;
            }
            match account {
                Some((have, account)) if have == hash => {
                    totals.accounts += 1;
                    one_account(check, &state, (hash, account), leaf, &mut totals)?;
                }
                _ => check.problem(format!("account {hash} is only in the trie of block {block}")),
            }
            check.step();
            Ok(())
        })?;
    }
    totals.nodes += walk.nodes;
    for problem in walk.problems {
        check.problem(problem);
    }
    for extra in flat {
        check.problem(format!("account {} is not in the trie of block {block}", extra?.0));
    }
    Ok(totals)
}

fn one_account(
    check: &mut Check<'_>,
    state: &StateAt,
    (hash, account): (B256, Account),
    leaf: &[u8],
    totals: &mut Totals,
) -> Result<(), StorageError> {
    let Account { nonce, balance, storage_root, code_hash, incarnation: _ } = account;
    let expected = alloy_rlp::encode(TrieAccount::new(nonce, balance, storage_root, code_hash));
    check.require(expected == leaf, || format!("account {hash} differs from its leaf in the trie"));
    if code_hash != KECCAK256_EMPTY {
        let has_code = check.view.code(code_hash)?.is_some();
        check.require(has_code, || format!("code {code_hash} of account {hash} is missing"));
    }
    if storage_root == EMPTY_ROOT_HASH {
        // Slots that it should not have are found by counting those of all living accounts.
        return Ok(());
    }
    let owner = account.owner(hash);
    let mut flat = state.slots_of(owner);
    let mut walk = Walk::new(state, Some(owner));
    walk.run(storage_root, &mut |slot, leaf| {
        let have = flat.next().transpose()?;
        let is_it =
            have.is_some_and(|(have, value)| have == slot && alloy_rlp::encode(value) == leaf);
        check.require(is_it, || format!("slot {slot} of account {hash} differs from the trie"));
        totals.slots += 1;
        check.step();
        Ok(())
    })?;
    let is_end = flat.next().transpose()?.is_none();
    check.require(is_end, || format!("account {hash} has slots that are not in its trie"));
    totals.nodes += walk.nodes;
    for problem in walk.problems {
        check.problem(problem);
    }
    Ok(())
}

/// Nothing is stored for living accounts that the walk over the base did not come across.
pub(super) fn orphans(check: &mut Check<'_>) -> Result<(), StorageError> {
    let slots = of_living(check, Column::Slots)?;
    let nodes = of_living(check, Column::SlotNodes)? + of_all(check, Column::AccountNodes)?;
    let counts = check.report.counts;
    check.require(slots == counts.slots, || {
        format!("living accounts have {slots} slots, their tries {}", counts.slots)
    });
    check.require(nodes == counts.nodes, || {
        format!("{nodes} trie nodes are stored, {} are needed", counts.nodes)
    });
    Ok(())
}

fn of_all(check: &mut Check<'_>, column: Column) -> Result<u64, StorageError> {
    let mut cursor = check.view.pinned().cursor(column, &[], None);
    let mut count = 0;
    while cursor.item()?.is_some() {
        count += 1;
        check.step();
        cursor.advance();
    }
    Ok(count)
}

/// How many records of a column belong to accounts in the life that they live at the base.
fn of_living(check: &mut Check<'_>, column: Column) -> Result<u64, StorageError> {
    let view = check.view;
    let mut cursor = view.pinned().cursor(column, &[], None);
    let mut count = 0;
    let mut last: Option<(StorageOwner, bool)> = None;
    while let Some((key, _)) = cursor.item()? {
        let (owner, _) = parse_owner(key).ok_or_else(|| bad(column, key, "has a bad key"))?;
        let is_living = match last {
            Some((last, is_living)) if last == owner => is_living,
            _ => history::base_account(view, owner.address_hash)?
                .is_some_and(|account| account.incarnation == owner.incarnation),
        };
        last = Some((owner, is_living));
        count += u64::from(is_living);
        check.step();
        cursor.advance();
    }
    Ok(count)
}

/// What is known by its hash has that hash.
pub(super) fn contents(check: &mut Check<'_>) -> Result<(), StorageError> {
    check.report.counts.codes = hashed(check, Column::Codes)?;
    check.report.counts.preimages = hashed(check, Column::Preimages)?;
    Ok(())
}

fn hashed(check: &mut Check<'_>, column: Column) -> Result<u64, StorageError> {
    let mut cursor = check.view.pinned().cursor(column, &[], None);
    let mut count = 0;
    while let Some((key, value)) = cursor.item()? {
        let is_it = keccak256(value).as_slice() == key;
        check.require(is_it, || bad(column, key, "has another hash").to_string());
        count += 1;
        check.step();
        cursor.advance();
    }
    Ok(count)
}
