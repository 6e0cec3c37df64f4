//! Flags from a TOML file: by their own names, or in geth's tables.
//!
//! Our own form nests at the dots of a flag's name, and a switch that is also the head of other
//! names is `enabled` in its table: `http.enabled = true`, `http.addr = "0.0.0.0"`. geth's tables
//! begin with a capital: `[Eth]`, `[Node.P2P]`.

mod geth;

use std::{fs, path::Path};

use eyre::{Result, WrapErr, bail, eyre};
use toml::{Table as Toml, Value};

use super::argv::{Flag, Layer, Scope, Source, Table};

/// Most bytes of a configuration file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The flags that a file sets. Fields that are understood and have no effect are added to
/// `ignored`.
pub(crate) fn layer(table: &Table, path: &Path, ignored: &mut Vec<String>) -> Result<Layer> {
    let shown = path.display();
    let read = || -> std::io::Result<String> {
        if fs::metadata(path)?.len() > FILE_BYTES_MAX {
            return Err(std::io::Error::other("larger than 1 MiB"));
        }
        fs::read_to_string(path)
    };
    let text = read().wrap_err_with(|| format!("cannot read the configuration file {shown}"))?;
    parse(table, &text, ignored).wrap_err_with(|| format!("{shown} is wrong"))
}

/// The flags that a file of this content sets.
pub(crate) fn parse(table: &Table, text: &str, ignored: &mut Vec<String>) -> Result<Layer> {
    let file: Toml = toml::from_str(text).map_err(|error| eyre!("{}", error.message()))?;
    let mut layer = Layer::new(Source::File);
    for (key, value) in file {
        if key.starts_with(|c: char| c.is_ascii_uppercase()) {
            geth::read(&key, &value, &mut layer, ignored)?;
        } else {
            read(table, &key, &value, &mut layer, ignored)?;
        }
    }
    Ok(layer)
}

/// Reads one key of our own form.
fn read(
    table: &Table,
    name: &str,
    value: &Value,
    layer: &mut Layer,
    ignored: &mut Vec<String>,
) -> Result<()> {
    if let Value::Table(fields) = value {
        for (key, value) in fields {
            let nested = if key == "enabled" { name.to_owned() } else { format!("{name}.{key}") };
            read(table, &nested, value, layer, ignored)?;
        }
        return Ok(());
    }
    let flag = match table.flag(name) {
        Some(flag) if flag.scope != Scope::Command && flag.name != "config" => flag,
        _ => match table.closest(name) {
            Some(close) => bail!("field '{name}' is not defined; did you mean {close}?"),
            None => bail!("field '{name}' is not defined; `hematite dumpconfig` shows the fields"),
        },
    };
    if flag.scope == Scope::Ignored {
        ignored.push(name.to_owned());
        return Ok(());
    }
    layer.set(&flag.name, value_of(flag, name, value)?, name != flag.name);
    Ok(())
}

fn value_of(flag: &Flag, name: &str, value: &Value) -> Result<String> {
    match value {
        Value::Boolean(value) if !flag.takes_value => Ok(value.to_string()),
        _ if !flag.takes_value => bail!("field '{name}' is true or false, not {value}"),
        _ => text(value).ok_or_else(|| eyre!("field '{name}' cannot be {value}")),
    }
}

/// A value as it would be typed: lists by comma.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(value) => Some(value.to_string()),
        Value::Array(items) => {
            items.iter().map(text).collect::<Option<Vec<_>>>().map(|items| items.join(","))
        }
        Value::Datetime(_) | Value::Table(_) => None,
    }
}
