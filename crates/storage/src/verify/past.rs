use super::Check;
use crate::{
    StorageError,
    codec::{bad, decode_account, decode_u64, decode_u256},
    history,
    schema::{Column, FlatKey},
};

/// `changes` and `history` speak of the same values, for every block up to the base.
pub(super) fn past(check: &mut Check<'_>) -> Result<(), StorageError> {
    let view = check.view;
    let base = view.base().number;
    let mut promised = 0_u64;
    for number in 1..=base {
        for key in history::changed_keys(view, number)? {
            let is_there = view.pinned().record(Column::History, &key.at(number))?.is_some();
            check.require(is_there, || {
                format!("the value of {key:?} before block {number} is missing")
            });
            promised += 1;
        }
        check.step();
    }
    let above = (base + 1).to_be_bytes();
    let beyond = view.pinned().cursor(Column::Changes, &above, None);
    if let Some((key, _)) = beyond.item()? {
        let number = decode_u64(Column::Changes, key, key)?;
        check.problem(format!("changes of block {number}, which is above the base"));
    }
    let mut cursor = view.pinned().cursor(Column::History, &[], None);
    let mut stored = 0_u64;
    while let Some((key, value)) = cursor.item()? {
        let parsed = FlatKey::parse_at(key);
        let (flat, number) = parsed.ok_or_else(|| bad(Column::History, key, "has a bad key"))?;
        match flat {
            FlatKey::Account(_) => drop(decode_account(Column::History, key, value)?),
            FlatKey::Slot(..) => drop(decode_u256(Column::History, key, value)?),
        }
        check.require(number <= base, || {
            bad(Column::History, key, "is of a block above the base").to_string()
        });
        stored += 1;
        check.step();
        cursor.advance();
    }
    check.require(stored == promised, || {
        format!("{stored} past values are stored, blocks changed {promised}")
    });
    check.report.counts.history = stored;
    Ok(())
}
