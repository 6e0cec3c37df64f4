use consensus::{DAO_REFUND_CONTRACT, dao_drain_list, rewards};
use evm::{BlockExecutor, BlockHashes, Executed, ExecutionError};
use primitives::{B256, ChainSpec, Header, SealedBlock, U256};
use state::{ReadError, StateReader, WorldState};

/// A block's execution and the state root it leads to.
#[derive(Debug)]
pub struct Outcome {
    /// Receipts, gas and bloom.
    pub executed: Executed,
    /// The root after transactions and rewards.
    pub state_root: B256,
}

/// Prepares a state for the transactions of a block: the irregular state change of the DAO fork,
/// where the chain has one, happens here.
///
/// # Errors
///
/// When the state cannot be read.
pub fn begin_block<R: StateReader>(
    spec: &ChainSpec,
    header: &Header,
    world: &mut WorldState<R>,
) -> Result<(), ReadError> {
    world.begin_block(header.number);
    if spec.forks.dao.is_some_and(|dao| dao.support && dao.block == header.number) {
        // As in geth, all of these accounts exist afterwards, empty or not: the root shows it on
        // chains where nobody ever used them.
        world.add_balance(DAO_REFUND_CONTRACT, U256::ZERO)?;
        for address in dao_drain_list() {
            world.add_balance(*address, U256::ZERO)?;
            let Some(account) = world.account(*address)? else { continue };
            world.set_account(*address, account.nonce, U256::ZERO, account.code_hash)?;
            world.add_balance(DAO_REFUND_CONTRACT, account.balance)?;
        }
    }
    Ok(())
}

/// Pays the rewards of a block and returns the final state root.
///
/// # Errors
///
/// When the state cannot be read.
pub fn finish_block<R: StateReader>(
    spec: &ChainSpec,
    header: &Header,
    ommers: &[Header],
    world: &mut WorldState<R>,
) -> Result<B256, ReadError> {
    for (address, amount) in rewards(spec, header, ommers) {
        world.add_balance(address, amount)?;
    }
    world.root()
}

/// Executes a whole block on the state of its parent. Compares nothing with the header.
///
/// # Errors
///
/// The place of the transaction that cannot be executed, and why; the place is meaningless when the
/// state could not be read.
pub fn execute_block<R: StateReader>(
    spec: &ChainSpec,
    block: &SealedBlock,
    senders: &[primitives::Address],
    world: &mut WorldState<R>,
    ancestors: BlockHashes<'_>,
) -> Result<Outcome, (usize, ExecutionError)> {
    let header = block.header();
    let read = |error| (0, ExecutionError::Read(error));
    begin_block(spec, header, world).map_err(read)?;
    let mut executor = BlockExecutor::new(spec, header, world, ancestors);
    for (index, (tx, sender)) in block.body().transactions.iter().zip(senders).enumerate() {
        executor.execute(tx, *sender).map_err(|error| (index, error))?;
    }
    let executed = executor.finish();
    let state_root = finish_block(spec, header, &block.body().ommers, world).map_err(read)?;
    Ok(Outcome { executed, state_root })
}

#[cfg(test)]
mod tests {
    use primitives::{DaoFork, EMPTY_ROOT_HASH, Forks};
    use state::MemoryState;

    use super::*;
    use crate::testing::spec;

    #[test]
    fn the_dao_fork_leaves_its_accounts_behind_even_where_nobody_used_them() {
        let dao = Some(DaoFork { block: 5, support: true });
        let spec = spec(Forks { dao, ..Forks::default() });
        let mut world = WorldState::at(EMPTY_ROOT_HASH, MemoryState::default(), 5);
        for (number, exist) in [(4, false), (5, true)] {
            let header = Header { number, ..Header::default() };
            begin_block(&spec, &header, &mut world).unwrap();
            for address in dao_drain_list().iter().chain([&DAO_REFUND_CONTRACT]) {
                assert_eq!(world.account(*address).unwrap().is_some(), exist, "{address}");
            }
        }
    }
}
