//! Commands on the chain of a data directory: `init`, `dump`, `dumpgenesis`, `removedb`, `db verify`.

use std::{
    fs,
    io::{BufRead, Write},
    path::Path,
};

use chain::ChainView;
use eyre::{Result, WrapErr, bail, eyre};
use primitives::{B256, ChainSpec};

use crate::{
    args::DumpArgs,
    config::{Config, GenesisSource},
    open::{Fallback, open_chain},
};

/// Writes the genesis of a file into an empty data directory; the same one again changes nothing.
///
/// # Errors
///
/// When the file is no genesis, or the directory holds another chain.
pub fn init(config: &Config, genesis: &Path) -> Result<()> {
    let source = GenesisSource::File(genesis.to_owned());
    let config = Config { genesis: Some(source), ..config.clone() };
    let importer = open_chain(&config, Fallback::Nothing)?;
    let hash = importer.spec().genesis_block().hash();
    tracing::info!(database = "chaindata", %hash, "Successfully wrote genesis state");
    importer.close().wrap_err("cannot sync the database")
}

/// Prints the genesis that was named, or the one of the data directory, as JSON.
///
/// # Errors
///
/// When there is neither.
pub fn dump_genesis(config: &Config, out: &mut dyn Write) -> Result<()> {
    let spec = match &config.genesis {
        Some(source) => crate::open::named_spec(source)?,
        None if config.paths.hematite.join("db").exists() => {
            (*open_chain(config, Fallback::Nothing)?.spec()).clone()
        }
        None => ChainSpec::preset("mainnet").expect("mainnet is built in"),
    };
    writeln!(out, "{}", spec.to_geth_json())?;
    Ok(())
}

/// Prints states as JSON, in geth's form.
///
/// # Errors
///
/// When a block or its state is not here.
pub fn dump(config: &Config, args: &DumpArgs, out: &mut dyn Write) -> Result<()> {
    let importer = open_existing(config)?;
    let view = importer.view();
    let blocks = match args.blocks.as_slice() {
        [] => vec![view.head.hash()],
        named => named.iter().map(|text| block_hash(&view, text)).collect::<Result<_>>()?,
    };
    for hash in blocks {
        super::dump::write(&view, hash, args, out)?;
    }
    Ok(())
}

/// The hash that a number or a hash, as typed, means.
fn block_hash(view: &ChainView, text: &str) -> Result<B256> {
    if let Ok(hash) = text.parse::<B256>()
        && text.len() >= 64
    {
        return match view.db.number_of(hash)? {
            Some(_) => Ok(hash),
            None => bail!("block {hash} is not in the database"),
        };
    }
    let number: u64 =
        text.parse().map_err(|_| eyre!("{text} is neither a block number nor a block hash"))?;
    view.db.canonical_hash(number)?.ok_or_else(|| {
        eyre!("block {number} is not in the database; the head is block {}", view.head.number)
    })
}

/// Removes the database after asking; keys stay.
///
/// # Errors
///
/// When it cannot be removed.
pub fn remove_db(config: &Config, input: &mut dyn BufRead, out: &mut dyn Write) -> Result<()> {
    for name in ["db", "ledger"] {
        let path = config.paths.hematite.join(name);
        let shown = path.display();
        if !path.exists() {
            tracing::info!(path = %shown, "Nothing to remove");
            continue;
        }
        write!(out, "Remove {shown}? [y/n] ")?;
        out.flush()?;
        let mut answer = String::new();
        input.read_line(&mut answer)?;
        writeln!(out)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            tracing::info!(path = %shown, "Kept");
            continue;
        }
        let removed =
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.wrap_err_with(|| format!("cannot remove {shown}"))?;
        tracing::info!(path = %shown, "Removed");
    }
    Ok(())
}

/// Checks that the database agrees with itself; says what is wrong.
///
/// # Errors
///
/// When something is.
pub fn verify(config: &Config, out: &mut dyn Write) -> Result<()> {
    let importer = open_existing(config)?;
    let view = importer.view();
    let mut part = "";
    let report = storage::verify(&view.db, &mut |progress| {
        if progress.part != part {
            part = progress.part;
            tracing::info!(%part, "Verifying");
        }
    })
    .wrap_err("the database cannot be read on")?;
    let counts = report.counts;
    writeln!(
        out,
        "head {} {}\n{} blocks, {} transactions, {} accounts, {} slots, {} trie nodes, {} codes, \
         {} layers, {} history entries",
        view.head.number,
        view.head.hash(),
        counts.blocks,
        counts.transactions,
        counts.accounts,
        counts.slots,
        counts.nodes,
        counts.codes,
        counts.layers,
        counts.history,
    )?;
    for problem in &report.problems {
        writeln!(out, "{problem}")?;
    }
    if report.problems_total == 0 {
        writeln!(out, "no problem found")?;
        return Ok(());
    }
    let found = format!("{} problems", report.problems_total);
    Err(eyre!(storage::StorageError::corrupt("database", found)).wrap_err(
        "the data directory is damaged: import the chain again into a new one, or restore a backup",
    ))
}

/// The chain of a data directory that must hold one.
///
/// # Errors
///
/// When it does not.
pub fn open_existing(config: &Config) -> Result<chain::Importer> {
    if !config.paths.hematite.join("db").exists() {
        bail!("the data directory {} holds no chain", config.paths.datadir.display());
    }
    open_chain(config, Fallback::Nothing)
}
