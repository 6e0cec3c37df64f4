//! Which blocks may hold a log: the blooms of headers, turned round.
//!
//! A bloom says of one block which bits its logs set. Here is, for each bit and section of blocks,
//! which blocks set it: a query reads three short rows a section instead of every header. Like a
//! bloom it never misses a log, and may name blocks without one.

use std::collections::{BTreeMap, btree_map::Entry};

use primitives::{Bloom, BloomInput};

use crate::{
    StorageError, View,
    codec::bad,
    database::Batch,
    schema::{Column, meta, parse_row_key, row_key},
};

/// Blocks of a section.
pub(crate) const SECTION_BLOCKS: u64 = 1_024;
/// Sections that one commit adds at most. Each takes some milliseconds; an old database catches up
/// in the course of its next commits.
const SECTIONS_MAX: u64 = 4;
/// Bytes of a row: a bit for each block of a section.
const ROW_BYTES: usize = SECTION_BLOCKS as usize / 8;
/// Words of a row in memory.
const ROW_WORDS: usize = SECTION_BLOCKS as usize / 64;
/// Bits of a bloom (Yellow Paper, section 4.3.1).
const BLOOM_BITS: usize = 2_048;

type Row = [u64; ROW_WORDS];

/// A set of blocks, by sections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockSet {
    sections: BTreeMap<u64, Row>,
}

impl BlockSet {
    /// Adds the blocks of another set.
    pub fn unite(&mut self, other: Self) {
        for (section, row) in other.sections {
            match self.sections.entry(section) {
                Entry::Vacant(place) => {
                    place.insert(row);
                }
                Entry::Occupied(mut place) => {
                    place.get_mut().iter_mut().zip(row).for_each(|(word, other)| *word |= other);
                }
            }
        }
    }

    /// Keeps the blocks that are in another set, too.
    pub fn intersect(&mut self, other: &Self) {
        self.sections.retain(|section, row| {
            let Some(other) = other.sections.get(section) else { return false };
            row.iter_mut().zip(other).for_each(|(word, other)| *word &= other);
            row.iter().any(|word| *word != 0)
        });
    }

    /// The numbers of the blocks, in their order.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.sections.iter().flat_map(|(section, row)| {
            let first = section * SECTION_BLOCKS;
            (first..)
                .zip(row.iter().flat_map(|word| (0..64).map(move |bit| word >> bit & 1)))
                .filter_map(|(number, is_in)| (is_in == 1).then_some(number))
        })
    }
}

impl View {
    /// The first canonical block that [`Self::blocks_with`] does not know.
    ///
    /// # Errors
    ///
    /// When the database fails or holds something that does not decode.
    pub fn logs_indexed(&self) -> Result<u64, StorageError> {
        Ok(sections(self)? * SECTION_BLOCKS)
    }

    /// The canonical blocks, of those that are indexed, whose blooms have the bits of a value: an
    /// address or a topic. Sections are whole, so there may be some before and behind the range.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn blocks_with(
        &self,
        value: &[u8],
        numbers: std::ops::RangeInclusive<u64>,
    ) -> Result<BlockSet, StorageError> {
        let first = numbers.start() / SECTION_BLOCKS;
        let end = sections(self)?.min(numbers.end() / SECTION_BLOCKS + 1);
        let mut bloom = Bloom::ZERO;
        bloom.accrue(BloomInput::Raw(value));
        let mut found: Option<BlockSet> = None;
        for bit in bits(&bloom) {
            let rows = self.rows(bit, first..end)?;
            match &mut found {
                Some(found) => found.intersect(&rows),
                None => found = Some(rows),
            }
        }
        Ok(found.unwrap_or_default())
    }

    fn rows(&self, bit: u16, sections: std::ops::Range<u64>) -> Result<BlockSet, StorageError> {
        let (from, end) = (row_key(bit, sections.start), row_key(bit, sections.end));
        let mut cursor = self.pinned().cursor(Column::LogIndex, &from, Some(&end));
        let mut found = BlockSet::default();
        while let Some((key, value)) = cursor.item()? {
            let row = parse_row_key(key).map(|(_, section)| section).zip(decode(value));
            let (section, row) = row.ok_or_else(|| bad(Column::LogIndex, key, "is no row"))?;
            found.sections.insert(section, row);
            cursor.advance();
        }
        Ok(found)
    }
}

/// Adds the sections that are complete in a view. Blocks from `retired` on, if that is given, are
/// canonical no more, and are forgotten.
pub(crate) fn write(
    batch: &mut Batch<'_>,
    view: &View,
    retired: Option<u64>,
) -> Result<(), StorageError> {
    let before = sections(view)?;
    let kept = retired.map_or(u64::MAX, |number| number / SECTION_BLOCKS);
    let complete = view.head().map_or(0, |head| (head.number + 1) / SECTION_BLOCKS).min(kept);
    let after = complete.min(before + SECTIONS_MAX);
    for section in before..after {
        write_section(batch, view, section)?;
    }
    if after != before {
        batch.put(Column::Meta, meta::LOG_SECTIONS, &after.to_be_bytes());
    }
    Ok(())
}

/// How many sections are indexed.
fn sections(view: &View) -> Result<u64, StorageError> {
    let Some(value) = view.pinned().record(Column::Meta, meta::LOG_SECTIONS)? else { return Ok(0) };
    crate::codec::decode_u64(Column::Meta, meta::LOG_SECTIONS, &value)
}

/// Rows that a former branch had in this place stay where the new one has none: they name blocks in
/// vain, which costs a look at their headers.
fn write_section(batch: &mut Batch<'_>, view: &View, section: u64) -> Result<(), StorageError> {
    let mut rows = vec![[0_u8; ROW_BYTES]; BLOOM_BITS];
    for (place, number) in (section * SECTION_BLOCKS..).take(ROW_BYTES * 8).enumerate() {
        let header = view.header_by_number(number)?.ok_or_else(|| {
            bad(Column::Canonical, &number.to_be_bytes(), "is missing below the head")
        })?;
        for bit in bits(&header.logs_bloom) {
            rows[usize::from(bit)][place / 8] |= 1 << (place % 8);
        }
    }
    for (bit, row) in (0..).zip(&rows) {
        if row.iter().any(|byte| *byte != 0) {
            batch.put(Column::LogIndex, &row_key(bit, section), row);
        }
    }
    Ok(())
}

/// The bits that a bloom has.
fn bits(bloom: &Bloom) -> impl Iterator<Item = u16> + '_ {
    (0_u16..).step_by(8).zip(bloom.as_slice().iter().rev()).flat_map(|(first, byte)| {
        (0..8_u16).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| first + bit)
    })
}

fn decode(value: &[u8]) -> Option<Row> {
    let (words, []) = value.as_chunks::<8>() else { return None };
    let words: &[[u8; 8]; ROW_WORDS] = words.try_into().ok()?;
    Some(words.map(u64::from_le_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(numbers: &[u64]) -> BlockSet {
        let mut set = BlockSet::default();
        for number in numbers {
            let row = set.sections.entry(number / SECTION_BLOCKS).or_insert([0; ROW_WORDS]);
            let place = number % SECTION_BLOCKS;
            row[usize::try_from(place / 64).unwrap()] |= 1 << (place % 64);
        }
        set
    }

    #[test]
    fn sets_are_united_and_intersected_by_blocks() {
        let (left, right) = (set(&[1, 63, 64, 5_000]), set(&[0, 64, 1_023, 1_024, 5_000]));
        let mut both = left.clone();
        both.unite(right.clone());
        let numbers = |set: &BlockSet| set.numbers().collect::<Vec<_>>();
        assert_eq!(numbers(&both), [0, 1, 63, 64, 1_023, 1_024, 5_000]);
        let mut common = left;
        common.intersect(&right);
        assert_eq!(numbers(&common), [64, 5_000]);
        common.intersect(&BlockSet::default());
        assert_eq!(common, BlockSet::default());
    }

    #[test]
    fn a_value_has_three_bits_of_a_bloom_at_most() {
        for value in [&b"a"[..], b"b", b"\0\0"] {
            let mut bloom = Bloom::ZERO;
            bloom.accrue(BloomInput::Raw(value));
            let found: Vec<_> = bits(&bloom).collect();
            assert!((1..=3).contains(&found.len()), "{found:?}");
            assert_eq!(
                found.len(),
                bloom.as_slice().iter().map(|it| it.count_ones() as usize).sum::<usize>()
            );
        }
    }
}
