//! From words to flags: one dash or two, values after `=` or as the next word, any order.

use std::collections::{BTreeMap, HashMap};

use eyre::{Result, bail};

use super::{Personality, go::boolean, ignored::IGNORED};

/// Where a value came from, and so what it wins over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    CommandLine,
    Environment,
    File,
}

/// Flags with their values, by their present names.
#[derive(Debug)]
pub(crate) struct Layer {
    source: Source,
    values: BTreeMap<String, Value>,
}

#[derive(Debug)]
struct Value {
    text: String,
    source: Source,
    /// Written under an old name; the present name wins over it.
    legacy: bool,
}

/// What is known about a flag before its value is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flag {
    /// Its present name.
    pub(crate) name: String,
    pub(crate) scope: Scope,
    pub(crate) takes_value: bool,
}

/// To whom a flag belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// To the node: it may come from the environment and the file too.
    Node,
    /// To one command.
    Command,
    /// To nobody: geth has it, and it has no effect here.
    Ignored,
}

/// Every flag, under every name.
#[derive(Debug)]
pub(crate) struct Table {
    flags: HashMap<String, Flag>,
}

/// A command line taken apart.
#[derive(Debug)]
pub(crate) struct Typed {
    pub(crate) node: Layer,
    /// Flags of the command, as `--name=value`.
    pub(crate) command: Vec<String>,
    /// The command and its arguments.
    pub(crate) positionals: Vec<String>,
    pub(crate) ignored: Vec<String>,
    pub(crate) help: bool,
    pub(crate) version: bool,
}

impl Layer {
    pub(crate) const fn new(source: Source) -> Self {
        Self { source, values: BTreeMap::new() }
    }

    /// Sets a flag. The last one wins, but an old name never wins over the present one.
    pub(crate) fn set(&mut self, name: &str, text: String, legacy: bool) {
        let present = self.values.get(name).is_some_and(|value| !value.legacy);
        if !(legacy && present) {
            self.values.insert(name.to_owned(), Value { text, source: self.source, legacy });
        }
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.text.as_str())
    }

    pub(crate) fn source(&self, name: &str) -> Option<Source> {
        self.values.get(name).map(|value| value.source)
    }

    /// This layer, and below it another one.
    pub(crate) fn over(mut self, below: Self) -> Self {
        for (name, value) in below.values {
            self.values.entry(name).or_insert(value);
        }
        self
    }

    /// As words of a command line: `--name=value`.
    pub(crate) fn words(&self) -> impl Iterator<Item = String> + '_ {
        self.values.iter().map(|(name, value)| format!("--{name}={}", value.text))
    }
}

impl Table {
    /// The flags that a command and its subcommands define, and those that are ignored.
    pub(crate) fn new(definition: &clap::Command) -> Self {
        let mut flags = HashMap::new();
        for (name, takes_value) in IGNORED {
            let scope = Scope::Ignored;
            flags.insert(name.to_owned(), Flag { name: name.to_owned(), scope, takes_value });
        }
        for command in definition.get_subcommands() {
            collect(command, Scope::Command, &mut flags);
            for nested in command.get_subcommands() {
                collect(nested, Scope::Command, &mut flags);
            }
        }
        collect(definition, Scope::Node, &mut flags);
        Self { flags }
    }

    /// A flag by any of its names.
    pub(crate) fn flag(&self, name: &str) -> Option<&Flag> {
        self.flags.get(name)
    }

    /// The flags of the node, each under its present name.
    pub(crate) fn node_flags(&self) -> impl Iterator<Item = &Flag> {
        self.flags
            .iter()
            .filter(|(name, flag)| flag.scope == Scope::Node && **name == flag.name)
            .map(|(_, flag)| flag)
    }

    /// The name that is most like a mistyped one.
    pub(crate) fn closest(&self, name: &str) -> Option<&str> {
        closest(name, self.flags.keys().map(String::as_str))
    }

    /// Takes a command line apart.
    ///
    /// As in Go, a flag that takes a value takes the next word whatever it looks like, and a switch
    /// takes one only after `=`.
    pub(crate) fn read(&self, personality: Personality, words: Vec<String>) -> Result<Typed> {
        let mut typed = Typed {
            node: Layer::new(Source::CommandLine),
            command: Vec::new(),
            positionals: Vec::new(),
            ignored: Vec::new(),
            help: false,
            version: false,
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let Some(body) = flag_body(&word) else {
                if word == "--" {
                    typed.positionals.extend(words);
                    break;
                }
                typed.positionals.push(word);
                continue;
            };
            let (name, value) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (body, None),
            };
            match (name, &value) {
                ("h" | "help", None) => typed.help = true,
                ("v" | "version", None) => typed.version = true,
                _ => {
                    let flag = self.known(personality, name)?;
                    let value = flag.value(value, &mut words)?;
                    typed.take(flag, name, value);
                }
            }
        }
        Ok(typed)
    }

    fn known(&self, personality: Personality, name: &str) -> Result<&Flag> {
        if let Some(flag) = self.flag(name) {
            return Ok(flag);
        }
        let hint = match self.closest(name) {
            Some(close) => format!("did you mean --{close}?"),
            None => "--help lists the flags".to_owned(),
        };
        match personality {
            Personality::Hematite => bail!("unknown flag --{name}; {hint}"),
            Personality::Geth | Personality::Bootnode => {
                bail!("flag provided but not defined: -{name}\n{hint}")
            }
        }
    }
}

impl Flag {
    fn value(
        &self,
        value: Option<String>,
        words: &mut impl Iterator<Item = String>,
    ) -> Result<String> {
        match (self.takes_value, value) {
            (true, Some(value)) => Ok(value),
            (true, None) => match words.next() {
                Some(value) => Ok(value),
                None => bail!("flag needs an argument: -{}", self.name),
            },
            (false, None) => Ok("true".to_owned()),
            (false, Some(value)) => self.switch(&value),
        }
    }

    /// A switch's value in clap's words.
    pub(crate) fn switch(&self, value: &str) -> Result<String> {
        match boolean(value) {
            Some(value) => Ok(value.to_string()),
            None => {
                bail!("invalid boolean value {value:?} for -{}: write true or false", self.name)
            }
        }
    }
}

impl Typed {
    fn take(&mut self, flag: &Flag, written: &str, value: String) {
        match flag.scope {
            Scope::Node => self.node.set(&flag.name, value, written != flag.name),
            Scope::Command => self.command.push(format!("--{}={value}", flag.name)),
            Scope::Ignored => self.ignored.push(format!("--{written}")),
        }
    }
}

/// What comes after the dashes of a flag; `None` for a word that is not one.
fn flag_body(word: &str) -> Option<&str> {
    let body = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
    (!body.is_empty() && !body.starts_with(['-', '='])).then_some(body)
}

fn collect(command: &clap::Command, scope: Scope, flags: &mut HashMap<String, Flag>) {
    for arg in command.get_arguments() {
        let Some(name) = arg.get_long() else { continue };
        let optional = arg.get_num_args().is_some_and(|count| count.min_values() == 0);
        let flag = Flag { name: name.to_owned(), scope, takes_value: !optional };
        for alias in arg.get_all_aliases().unwrap_or_default() {
            flags.insert(alias.to_owned(), flag.clone());
        }
        flags.insert(name.to_owned(), flag);
    }
}

/// The name that is most like a mistyped one: at most a third of its letters differ.
pub(crate) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= (name.chars().count() / 3).max(1))
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out or changed.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, other) in to.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}
