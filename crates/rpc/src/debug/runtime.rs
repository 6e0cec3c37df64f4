//! The process: what geth shows of Go's runtime, as far as there is something to show here.

use std::fs;

use serde::Serialize;

use crate::{
    error::RpcError,
    methods::Table,
    node::{Api, LogChange, LogLevels},
    params::Params,
    parse,
};

pub(crate) fn register(table: &mut Table) {
    table.light("debug_verbosity", verbosity);
    table.light("debug_vmodule", vmodule);
    table.light("debug_memStats", memory);
    table.light("debug_gcStats", collections);
    table.light("debug_freeOSMemory", nothing_to_do);
    table.light("debug_setGCPercent", set_gc_percent);
}

fn logging(api: &Api) -> Result<&LogLevels, RpcError> {
    api.node.log_levels.as_ref().ok_or_else(|| RpcError::refused("log levels are fixed here"))
}

/// 0 is silent, 5 says everything.
fn verbosity(api: &Api, params: &mut Params<'_>) -> Result<(), RpcError> {
    let level = params.required(parse::count)?;
    params.end()?;
    logging(api)?.change(LogChange::Verbosity(u8::try_from(level).unwrap_or(u8::MAX)))
}

/// Levels of parts: geth's `eth/*=5,p2p=4`, with our names of parts.
fn vmodule(api: &Api, params: &mut Params<'_>) -> Result<(), RpcError> {
    let pattern = params.required(parse::string)?;
    params.end()?;
    logging(api)?.change(LogChange::Modules(pattern))
}

/// By the names of Go's `runtime.MemStats`, of which dashboards know these.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Memory {
    /// Resident, in bytes.
    alloc: u64,
    heap_alloc: u64,
    /// Reserved from the system, in bytes.
    sys: u64,
    heap_sys: u64,
    #[serde(rename = "NumGC")]
    collections: u64,
}

fn memory(_: &Api, params: &mut Params<'_>) -> Result<Memory, RpcError> {
    params.end()?;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.map_or(0, |kilobytes| kilobytes * 1024)
    };
    let (resident, reserved) = (bytes("VmRSS:"), bytes("VmSize:"));
    Ok(Memory {
        alloc: resident,
        heap_alloc: resident,
        sys: reserved,
        heap_sys: reserved,
        collections: 0,
    })
}

/// There is no garbage to collect, and it never took any time.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Collections {
    #[serde(rename = "NumGC")]
    count: u64,
    pause_total: u64,
    pause: [u64; 0],
    pause_end: [u64; 0],
}

fn collections(_: &Api, params: &mut Params<'_>) -> Result<Collections, RpcError> {
    params.end()?;
    Ok(Collections { count: 0, pause_total: 0, pause: [], pause_end: [] })
}

/// What is freed is free at once.
fn nothing_to_do(_: &Api, params: &mut Params<'_>) -> Result<(), RpcError> {
    Ok(params.end()?)
}

/// Says what was set before, which is Go's default.
fn set_gc_percent(_: &Api, params: &mut Params<'_>) -> Result<u64, RpcError> {
    params.required(|raw| parse::json_ref::<i64>(raw))?;
    params.end()?;
    Ok(100)
}
