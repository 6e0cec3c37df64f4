//! What the tests of this crate share: rules, states, transactions.

use alloy_consensus::{SignableTransaction, TxLegacy};
use primitives::{
    Address, Bytes, ChainSpec, EMPTY_ROOT_HASH, Hardfork, Header, KECCAK256_EMPTY, Signature,
    Transaction, TxKind, U256, keccak256,
};
use state::{MemoryState, WorldState};

/// Who pays in all tests.
pub(crate) const SENDER: Address = Address::repeat_byte(0xaa);
/// A contract, where a test has one.
pub(crate) const CONTRACT: Address = Address::repeat_byte(0xcc);
/// Nobody has been here.
pub(crate) const STRANGER: Address = Address::repeat_byte(0x55);
/// The block's beneficiary.
pub(crate) const BENEFICIARY: Address = Address::repeat_byte(0xbb);
/// What the sender has, in wei.
pub(crate) const FUNDS: u128 = 1_000_000_000_000_000_000;

/// A chain on which these rules hold from the first block on.
pub(crate) fn spec(hardfork: Hardfork) -> ChainSpec {
    let mut spec = ChainSpec::preset("book").expect("a preset");
    let active = |fork| (fork <= hardfork).then_some(0);
    let forks = &mut spec.forks;
    forks.homestead = active(Hardfork::Homestead);
    forks.eip150 = active(Hardfork::Eip150);
    forks.eip158 = active(Hardfork::Eip158);
    forks.byzantium = active(Hardfork::Byzantium);
    forks.constantinople = active(Hardfork::Constantinople);
    forks.petersburg = active(Hardfork::Petersburg);
    forks.istanbul = active(Hardfork::Istanbul);
    forks.muir_glacier = active(Hardfork::MuirGlacier);
    forks.berlin = active(Hardfork::Berlin);
    forks.london = active(Hardfork::London);
    forks.arrow_glacier = active(Hardfork::ArrowGlacier);
    forks.gray_glacier = active(Hardfork::GrayGlacier);
    spec
}

/// Block 300 with room for 10 million gas and, from London on, a base fee of 7.
pub(crate) fn header(spec: &ChainSpec) -> Header {
    Header {
        number: 300,
        beneficiary: BENEFICIARY,
        difficulty: U256::from(0x1234),
        gas_limit: 10_000_000,
        timestamp: 1_000,
        base_fee_per_gas: (spec.hardfork_at(300) >= Hardfork::London).then_some(7),
        ..Header::default()
    }
}

/// A state in which the sender has [`FUNDS`] and [`CONTRACT`] this code, if any.
pub(crate) fn world(code: &[u8]) -> WorldState<MemoryState> {
    let mut memory = MemoryState::default();
    let mut world = WorldState::at(EMPTY_ROOT_HASH, memory.clone(), 0);
    world.set_account(SENDER, 0, U256::from(FUNDS), KECCAK256_EMPTY).unwrap();
    if !code.is_empty() {
        let code = Bytes::copy_from_slice(code);
        let code_hash = keccak256(&code);
        world.set_account(CONTRACT, 1, U256::from(1_000), code_hash).unwrap();
        world.set_code(code_hash, code);
    }
    let root = world.root().unwrap();
    memory.apply(&world.take_changes().unwrap());
    WorldState::at(root, memory, 300)
}

/// A transaction without a valid signature; whoever executes it says who sent it.
pub(crate) fn legacy(tx: TxLegacy) -> Transaction {
    tx.into_signed(Signature::test_signature()).into()
}

/// 100 000 gas at a price of 10, to be changed at will.
pub(crate) fn plain(to: TxKind) -> TxLegacy {
    TxLegacy { gas_limit: 100_000, gas_price: 10, to, ..TxLegacy::default() }
}
