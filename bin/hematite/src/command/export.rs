//! `export FILE [FIRST LAST]`: canonical blocks as concatenated RLP, as geth imports it.

use std::{
    fs::{File, OpenOptions},
    io::{BufWriter, Write},
    path::Path,
};

use alloy_rlp::Encodable;
use chain::ChainView;
use eyre::{Result, WrapErr, bail, eyre};
use flate2::{Compression, write::GzEncoder};

use crate::progress::{Progress, Rate};

/// Writes canonical blocks. Without a range the file is replaced; a range is appended, as geth does.
///
/// # Errors
///
/// When the range does not exist or the file cannot be written.
pub fn export(view: &ChainView, path: &Path, range: Option<(u64, u64)>) -> Result<u64> {
    let (first, last) = range.unwrap_or((0, view.head.number));
    if first > last {
        bail!("export range {first}..{last} is empty: FIRST must not be above LAST");
    }
    if last > view.head.number {
        bail!("export range {first}..{last} ends above the head, block {}", view.head.number);
    }
    let mut options = OpenOptions::new();
    options.create(true).write(true).append(range.is_some()).truncate(range.is_none());
    let file = options.open(path).wrap_err_with(|| format!("cannot write {}", path.display()))?;
    let failed = || format!("cannot write {}", path.display());
    let buffered = BufWriter::with_capacity(1 << 20, file);
    let file = if path.extension().is_some_and(|extension| extension == "gz") {
        let mut gzip = GzEncoder::new(buffered, Compression::default());
        write_blocks(view, &mut gzip, first, last).wrap_err_with(failed)?;
        into_file(gzip.finish().wrap_err_with(failed)?).wrap_err_with(failed)?
    } else {
        let mut plain = buffered;
        write_blocks(view, &mut plain, first, last).wrap_err_with(failed)?;
        into_file(plain).wrap_err_with(failed)?
    };
    file.sync_all().wrap_err_with(failed)?;
    Ok(last - first + 1)
}

fn into_file(buffered: BufWriter<File>) -> Result<File> {
    buffered.into_inner().map_err(|error| eyre!(error.into_error()))
}

fn write_blocks(view: &ChainView, out: &mut dyn Write, first: u64, last: u64) -> Result<()> {
    let mut progress = Progress::new("Exporting", last - first + 1);
    let mut rate = Rate::new();
    let mut rlp = Vec::new();
    for number in first..=last {
        let missing = || eyre!("block {number} is missing from the database");
        let hash = view.db.canonical_hash(number)?.ok_or_else(missing)?;
        let block = view.db.block(hash)?.ok_or_else(missing)?;
        rlp.clear();
        block.clone_block().encode(&mut rlp);
        out.write_all(&rlp)?;
        rate.add(1, block.body().transactions.len() as u64, block.header().gas_used);
        progress.report(number - first + 1, number, &rate);
    }
    progress.finish();
    Ok(())
}
