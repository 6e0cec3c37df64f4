//! What reads a file's first bytes, as a plain function. Tests only.

use super::format::{Damage, Layout, SECTION_BYTES};
use crate::LightCache;

/// The first bytes of a file with the smallest dataset.
#[must_use]
pub fn file_start() -> Vec<u8> {
    let layout = Layout::of_dataset(&LightCache::tiny());
    let checksums: Vec<u64> = (1..).take(layout.blocks()).collect();
    layout.encode(&checksums)
}

/// Reads the first bytes of such a file: header and table. The checksums of its blocks.
///
/// # Errors
///
/// What is wrong with them.
pub fn read_file_start(bytes: &[u8]) -> Result<Vec<u64>, Damage> {
    let layout = Layout::of_dataset(&LightCache::tiny());
    let (header, table) = bytes.split_at_checked(SECTION_BYTES).ok_or(Damage::Header)?;
    let checksum = layout.check_header(header)?;
    layout.check_table(table, checksum)
}
