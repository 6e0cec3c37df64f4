use primitives::{Address, ChainSpec, Hardfork, Header, U256};

const ETHER: u64 = 1_000_000_000_000_000_000;

/// What a block pays its beneficiary, in wei, before anything for ommers: 5, 3 or 2 ether
/// ([EIP-649](https://eips.ethereum.org/EIPS/eip-649),
/// [EIP-1234](https://eips.ethereum.org/EIPS/eip-1234)).
#[must_use]
pub fn block_reward(spec: &ChainSpec, number: u64) -> U256 {
    let ethers: u64 = if spec.forks.is_active(Hardfork::Constantinople, number) {
        2
    } else if spec.forks.is_active(Hardfork::Byzantium, number) {
        3
    } else {
        5
    };
    U256::from(ethers) * U256::from(ETHER)
}

/// Who is paid how many wei for a block: the ommers' beneficiaries in order, then the block's
/// (Yellow Paper §11.3).
///
/// To be credited after the transactions and before the state root.
#[must_use]
pub fn rewards(spec: &ChainSpec, header: &Header, ommers: &[Header]) -> Vec<(Address, U256)> {
    let reward = block_reward(spec, header.number);
    let mut paid: Vec<(Address, U256)> = ommers
        .iter()
        .map(|ommer| {
            let eighths = ommer.number.saturating_add(8).saturating_sub(header.number);
            (ommer.beneficiary, reward * U256::from(eighths) / U256::from(8))
        })
        .collect();
    let inclusion = reward / U256::from(32) * U256::from(ommers.len());
    paid.push((header.beneficiary, reward + inclusion));
    paid
}
