use primitives::{ChainSpec, Hardfork, Header, U256};
use revm::{
    Context,
    bytecode::opcode,
    context::{BlockEnv, CfgEnv, Evm, TxEnv},
    context_interface::cfg::{GasId, GasParams},
    handler::{EthFrame, EthPrecompiles, instructions::EthInstructions},
    interpreter::{Instruction, interpreter::EthInterpreter},
    primitives::hardfork::SpecId,
};
use state::{StateReader, WorldState};

use crate::{
    database::{BlockHashes, WorldDatabase},
    sstore,
    trace::Tracer,
};

pub(crate) type MachineContext<'a, R> = Context<BlockEnv, TxEnv, CfgEnv, WorldDatabase<'a, R>>;

/// revm, on our state.
pub(crate) type Machine<'a, R> = Evm<
    MachineContext<'a, R>,
    Tracer,
    EthInstructions<EthInterpreter, MachineContext<'a, R>>,
    EthPrecompiles,
    EthFrame<EthInterpreter>,
>;

/// The rules of one block, as far as execution needs them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) hardfork: Hardfork,
    pub(crate) chain_id: u64,
    /// In wei per gas; `None` before London.
    pub(crate) base_fee: Option<u64>,
}

impl Rules {
    pub(crate) fn new(spec: &ChainSpec, header: &Header) -> Self {
        let hardfork = spec.hardfork_at(header.number);
        let base_fee = if hardfork >= Hardfork::London {
            Some(header.base_fee_per_gas.unwrap_or_default())
        } else {
            None
        };
        Self { hardfork, chain_id: spec.chain_id, base_fee }
    }

    /// Whether accounts that were touched and have nothing are removed (EIP-158).
    pub(crate) fn removes_empty_accounts(&self) -> bool {
        self.hardfork >= Hardfork::Eip158
    }

    /// Whether a receipt carries the state root instead of the outcome (EIP-658).
    pub(crate) fn receipts_carry_roots(&self) -> bool {
        self.hardfork < Hardfork::Byzantium
    }

    /// How much of the gas may come back as a refund: one part in this many (EIP-3529).
    pub(crate) fn refund_quotient(&self) -> u64 {
        if self.hardfork >= Hardfork::London { 5 } else { 2 }
    }

    /// Whether an account that has nothing but slots is in the way of a contract, as EIP-7610 has it.
    ///
    /// No client of the time looked at slots, and it makes no difference: nobody can find such an
    /// address. The published vectors were filled with the rule for the forks before Istanbul; from
    /// Istanbul to London without it where the account has no ether either, and with it where it
    /// has some.
    pub(crate) fn slots_block_creation(&self, balance: U256) -> bool {
        self.hardfork < Hardfork::Istanbul || !balance.is_zero()
    }

    /// revm's name for the rules. It has none for Constantinople: Petersburg is the same without
    /// net gas metering, which [`machine`] adds.
    pub(crate) const fn spec_id(&self) -> SpecId {
        match self.hardfork {
            Hardfork::Frontier => SpecId::FRONTIER,
            Hardfork::Homestead => SpecId::HOMESTEAD,
            Hardfork::Eip150 => SpecId::TANGERINE,
            Hardfork::Eip158 => SpecId::SPURIOUS_DRAGON,
            Hardfork::Byzantium => SpecId::BYZANTIUM,
            Hardfork::Constantinople | Hardfork::Petersburg => SpecId::PETERSBURG,
            Hardfork::Istanbul | Hardfork::MuirGlacier => SpecId::ISTANBUL,
            Hardfork::Berlin => SpecId::BERLIN,
            Hardfork::London | Hardfork::ArrowGlacier | Hardfork::GrayGlacier => SpecId::LONDON,
        }
    }
}

/// A machine for one block: made once, used for all its transactions.
pub(crate) fn machine<'a, R: StateReader>(
    rules: &Rules,
    header: &Header,
    world: &'a mut WorldState<R>,
    ancestors: BlockHashes<'a>,
) -> Machine<'a, R> {
    let spec_id = rules.spec_id();
    let mut gas_params = GasParams::new_spec(spec_id);
    let mut instructions = EthInstructions::new_mainnet_with_spec(spec_id);
    if rules.hardfork == Hardfork::Constantinople {
        gas_params.override_gas([(GasId::sstore_static(), sstore::STATIC_GAS)]);
        instructions.insert_instruction(opcode::SSTORE, Instruction::new(sstore::sstore), 0);
    }
    let context = MachineContext::new(WorldDatabase::new(world, ancestors), spec_id)
        .with_block(block_env(header))
        .modify_cfg_chained(|config| {
            config.chain_id = rules.chain_id;
            config.set_gas_params(gas_params);
        });
    let precompiles = EthPrecompiles::new(spec_id);
    Evm::new_with_inspector(context, Tracer::Off, instructions, precompiles)
}

fn block_env(header: &Header) -> BlockEnv {
    BlockEnv {
        number: U256::from(header.number),
        beneficiary: header.beneficiary,
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.unwrap_or_default(),
        difficulty: header.difficulty,
        prevrandao: None,
        blob_excess_gas_and_price: None,
        slot_num: 0,
    }
}
