use super::ChainSpec;

impl ChainSpec {
    /// The names of the chains that are built in.
    pub const PRESETS: [&str; 5] = ["mainnet", "ropsten", "sepolia", "book", "dev"];

    /// A built-in chain by its name; `None` for a name that is not in [`Self::PRESETS`].
    ///
    /// # Panics
    ///
    /// If an embedded file is broken; a test reads each of them.
    #[must_use]
    pub fn preset(name: &str) -> Option<Self> {
        let text = match name {
            "mainnet" => include_str!("../../../../genesis/mainnet.json"),
            "ropsten" => include_str!("../../../../genesis/ropsten.json"),
            "sepolia" => include_str!("../../../../genesis/sepolia.json"),
            "book" => include_str!("../../../../genesis/book.json"),
            "dev" => include_str!("../../../../genesis/dev.json"),
            _ => return None,
        };
        Some(Self::from_json(text).expect("a test reads every embedded genesis"))
    }
}
