use alloy_consensus::TxType;
use alloy_primitives::{B256, Bloom, BloomInput, Log};
use alloy_rlp::{BufMut, Encodable, RlpDecodable, RlpEncodable};

/// What executing one transaction left behind.
///
/// `success` is kept even before Byzantium, where the consensus form carries `post_state` instead:
/// clients ask for the status on every chain.
#[derive(Debug, Clone, PartialEq, Eq, RlpEncodable, RlpDecodable)]
#[rlp(trailing)]
pub struct Receipt {
    /// The EIP-2718 type of the transaction: 0, 1 or 2.
    pub tx_type: u8,
    /// Whether the transaction's own call or creation succeeded.
    pub success: bool,
    /// Gas used by the block up to and including this transaction.
    pub cumulative_gas_used: u64,
    /// What the transaction logged, in order.
    pub logs: Vec<Log>,
    /// The state root after the transaction; before Byzantium only (EIP-658).
    pub post_state: Option<B256>,
}

impl Receipt {
    /// The bloom filter of the receipt's logs (Yellow Paper §4.3.1).
    #[must_use]
    pub fn bloom(&self) -> Bloom {
        logs_bloom(&self.logs)
    }

    /// Appends the consensus form: RLP of status or post-state, cumulative gas, bloom and logs,
    /// behind the type byte when there is one (EIP-2718, EIP-658).
    pub fn encode_consensus(&self, bloom: &Bloom, out: &mut dyn BufMut) {
        if self.tx_type != TxType::Legacy as u8 {
            out.put_u8(self.tx_type);
        }
        let outcome_length =
            self.post_state.map_or_else(|| self.success.length(), |root| root.length());
        let payload_length = outcome_length
            + self.cumulative_gas_used.length()
            + bloom.length()
            + self.logs.length();
        alloy_rlp::Header { list: true, payload_length }.encode(out);
        match self.post_state {
            Some(root) => root.encode(out),
            None => self.success.encode(out),
        }
        self.cumulative_gas_used.encode(out);
        bloom.encode(out);
        self.logs.encode(out);
    }
}

/// The bloom filter over addresses and topics of these logs (Yellow Paper §4.3.1).
#[must_use]
pub fn logs_bloom<'a>(logs: impl IntoIterator<Item = &'a Log>) -> Bloom {
    let mut bloom = Bloom::ZERO;
    for log in logs {
        bloom.accrue(BloomInput::Raw(log.address.as_slice()));
        for topic in log.topics() {
            bloom.accrue(BloomInput::Raw(topic.as_slice()));
        }
    }
    bloom
}

/// The root of the trie of a block's receipts (Yellow Paper §4.3.2).
#[must_use]
pub fn receipts_root(receipts: &[Receipt]) -> B256 {
    alloy_trie::root::ordered_trie_root_with_encoder(receipts, |receipt, out| {
        receipt.encode_consensus(&receipt.bloom(), out);
    })
}
