//! From an invocation to an exit code.

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Instant, SystemTime},
};

use eyre::{Result, WrapErr};

use crate::{
    args::{Command, DbCommand, ExportArgs, Invocation, PeersCommand},
    assemble,
    command::{
        account, bench, bootnode, chain as chains, console, dag, devnet, export, import, peers,
    },
    config::Config,
    exit::{ExitCode, UsageError},
    logging,
    open::{Fallback, engine, open_chain},
    report,
};

/// Does what was asked for. Errors are printed; the exit code says whose fault it was.
pub fn run(invocation: &Invocation) -> ExitCode {
    match execute(invocation) {
        Ok(()) => ExitCode::Done,
        Err(error) => {
            // A closed stderr leaves the exit code.
            let _ = writeln!(io::stderr(), "Fatal: {error:#}");
            ExitCode::of(&error)
        }
    }
}

fn execute(invocation: &Invocation) -> Result<()> {
    let config = Config::try_from(invocation).map_err(usage)?;
    let mut log = config.log;
    if let Command::Devnet(_) = invocation.command {
        // What its nodes say is enough.
        log.verbosity = log.verbosity.saturating_sub(1);
    }
    logging::start(log, &invocation.surroundings).map_err(usage)?;
    for flag in &invocation.ignored {
        tracing::debug!(%flag, "Flag has no effect here");
    }
    raise_descriptors();
    match &invocation.command {
        Command::Run | Command::Account(_) => keep_memory_private(),
        // These print from threads of their own: nobody may hold stdout meanwhile.
        Command::Attach(args) => return console::attach(&config, args),
        Command::Console(args) => {
            keep_memory_private();
            return console::with_node(&config, args);
        }
        Command::Js { files, jspath } => {
            keep_memory_private();
            return console::run_files(&config, files, jspath.clone());
        }
        _ => {}
    }
    execute_printing(invocation, &config)
}

fn execute_printing(invocation: &Invocation, config: &Config) -> Result<()> {
    let out = &mut io::stdout().lock();
    match &invocation.command {
        Command::Run => {
            if config.ends_with_stdin {
                crate::signals::follow_stdin()?;
            }
            assemble::run(config)
        }
        Command::Devnet(args) => devnet::run(args, &invocation.node, config, out),
        Command::Init { genesis } => chains::init(config, genesis),
        Command::Import { files } => import_files(config, files),
        Command::Export(args) => export_file(config, args),
        Command::Account(command) => {
            let mut input = io::stdin().lock();
            let dialogue = &mut if io::stdin().is_terminal() {
                account::Dialogue::terminal(out)
            } else {
                account::Dialogue::lines(&mut input, out)
            };
            account::run(command, config, dialogue, SystemTime::now())
        }
        Command::Makedag { block, directory } => {
            let path = dag::make(*block, directory)?;
            Ok(writeln!(out, "{}", path.display())?)
        }
        Command::Dumpgenesis => chains::dump_genesis(config, out),
        Command::Dump(args) => chains::dump(config, args, out),
        Command::Removedb => chains::remove_db(config, &mut io::stdin().lock(), out),
        Command::Dumpconfig { file: None } => Ok(write!(out, "{}", config.to_toml())?),
        Command::Dumpconfig { file: Some(path) } => std::fs::write(path, config.to_toml())
            .wrap_err_with(|| format!("cannot write {}", path.display())),
        Command::Db(DbCommand::Verify) => chains::verify(config, out),
        Command::Peers(PeersCommand::Doctor(args)) => peers::doctor(config, args, out),
        Command::Version => version(out),
        Command::License => Ok(writeln!(
            out,
            "Hematite is licensed under the MIT licence or the Apache licence 2.0, as you like."
        )?),
        Command::Bench(command) => bench::run(command, &invocation.node.chain.ethash, out),
        Command::Bootnode(args) => bootnode::run(args, out),
        Command::Attach(_) | Command::Console(_) | Command::Js { .. } => {
            unreachable!("the caller runs them")
        }
    }
}

/// As many files and sockets as the system lets this process have, and not only as many as it gives
/// to those that do not ask; as geth does.
fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "Could not raise the limit of open files");
    }
}

/// Keys are in memory here: no core file, and no other process of the same user may read it.
fn keep_memory_private() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{
            DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit,
        };

        let none = Rlimit { current: Some(0), maximum: Some(0) };
        let limited = setrlimit(Resource::Core, none);
        if let Err(error) = limited.and(set_dumpable_behavior(DumpableBehavior::NotDumpable)) {
            tracing::warn!(%error, "Could not forbid core files");
        }
    }
}

fn import_files(config: &Config, files: &[std::path::PathBuf]) -> Result<()> {
    let started = Instant::now();
    let mut importer = open_chain(config, Fallback::Mainnet)?;
    let stop = Arc::new(AtomicBool::new(false));
    crate::signals::flag(&stop)?;
    let result = import::import(&mut importer, &engine(config), files, &stop);
    if let Ok(summary) = &result {
        import::log_summary(summary, &importer, started);
    }
    let interrupted = stop.load(Ordering::Relaxed);
    let closed = importer.close().wrap_err("cannot sync the database");
    // The first failure is the cause of others.
    let summary = result?;
    closed?;
    if interrupted {
        tracing::info!(
            imported = summary.imported,
            "Interrupted; the same command goes on from here"
        );
    }
    Ok(())
}

fn export_file(config: &Config, args: &ExportArgs) -> Result<()> {
    let started = Instant::now();
    let importer = chains::open_existing(config)?;
    let range = args.first.zip(args.last);
    let blocks = export::export(&importer.view(), &args.file, range)?;
    let (file, elapsed) = (args.file.display(), started.elapsed());
    tracing::info!(%file, blocks, ?elapsed, "Exported blockchain");
    Ok(())
}

fn version(out: &mut dyn Write) -> Result<()> {
    writeln!(
        out,
        "Hematite\nVersion: {}-stable\nArchitecture: {}\nRust Version: {}\nOperating System: {}\nClient: {}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        env!("CARGO_PKG_RUST_VERSION"),
        std::env::consts::OS,
        report::client_version(None),
    )?;
    Ok(())
}

fn usage(error: eyre::Report) -> eyre::Report {
    eyre::Report::new(UsageError(format!("{error:#}")))
}
