use serde_json::Value;

/// Why a genesis file was refused. Where geth refuses too, the text is geth's.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// Not JSON.
    #[error("not valid JSON")]
    Json(#[from] serde_json::Error),
    /// There is no `config` object.
    #[error("genesis has no chain configuration")]
    NoConfig,
    /// A member that geth requires is absent or null.
    #[error("missing required field '{field}' for Genesis")]
    Missing {
        /// The member's name.
        field: &'static str,
    },
    /// An account of the allocation has no balance.
    #[error("missing required field 'balance' for GenesisAccount {account}")]
    MissingBalance {
        /// The account's key in `alloc`, as written.
        account: String,
    },
    /// A member has a value that cannot be meant.
    #[error("{field}: {problem}")]
    Field {
        /// Where it is, as in `alloc.0x….balance`.
        field: String,
        /// What is wrong and how to put it right.
        problem: FieldProblem,
    },
    /// The first block does not have number 0.
    #[error("can't commit genesis block with number > 0")]
    Number,
    /// A fork is scheduled although the one before it is not.
    #[error("unsupported fork ordering: {missing} not enabled, but {fork} enabled at {block}")]
    ForkWithoutPredecessor {
        /// The earlier fork, which is never active.
        missing: &'static str,
        /// The later fork.
        fork: &'static str,
        /// When the later fork is active.
        block: u64,
    },
    /// A fork is scheduled before the one that must precede it.
    #[error(
        "unsupported fork ordering: {earlier} enabled at {earlier_block}, but {later} enabled at {later_block}"
    )]
    ForksReversed {
        /// The fork that comes first by the rules.
        earlier: &'static str,
        /// When it is active.
        earlier_block: u64,
        /// The fork that comes second by the rules.
        later: &'static str,
        /// When it is active.
        later_block: u64,
    },
    /// The chain is sealed by authorities.
    #[error(
        "config.clique: proof of authority is not supported, only ethash; remove 'clique' to run \
         this genesis by proof of work, or keep geth for that chain"
    )]
    Clique,
}

/// What is wrong with a member of a genesis file, and how to put it right.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// Not an object.
    #[error("not an object; write {{ … }}")]
    NotAnObject,
    /// Neither a number nor a string that holds one.
    #[error(
        "{found} is not a whole number; write \"0x…\", decimal digits in quotes, or a plain integer"
    )]
    NotANumber {
        /// The value, shortened.
        found: String,
    },
    /// A number that does not fit.
    #[error("the number exceeds {bits} bits; write a smaller one")]
    TooLarge {
        /// How many bits it may have.
        bits: usize,
    },
    /// Not hexadecimal bytes.
    #[error("{found} is not hexadecimal; write an even number of digits after 0x, in quotes")]
    NotHex {
        /// The value, shortened.
        found: String,
    },
    /// Bytes of a wrong length.
    #[error("{digits} hexadecimal digits; write {wanted}")]
    Length {
        /// How many digits there are.
        digits: usize,
        /// How many there must be (at most, for storage).
        wanted: usize,
    },
    /// Not a truth value.
    #[error("{found} is not a truth value; write true or false")]
    NotABoolean {
        /// The value, shortened.
        found: String,
    },
    /// The same address or slot twice in different spellings.
    #[error("given twice in different spellings; remove one")]
    Duplicate,
}

impl GenesisError {
    pub(super) fn field(field: impl Into<String>, problem: FieldProblem) -> Self {
        Self::Field { field: field.into(), problem }
    }
}

/// A value as an error may show it: its beginning.
pub(super) fn shown(value: &Value) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
