use alloy_eips::eip2930::AccessList;
use primitives::{Address, Bytes, ChainSpec, Header, Log, TxKind, U256};
use state::{StateReader, WorldState};

use crate::{
    BlockHashes, ExecutionError,
    env::{Machine, Rules, machine},
    interrupt::{Interrupt, watch},
    message::Message,
    trace::{self, Trace, TraceConfig, TraceError, Tracer},
    transact::{End, clear, transact},
};

/// A call that only asks: `eth_call` and its like.
///
/// A legacy gas price is both fees at once. Where both are 0, no base fee is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallRequest {
    /// Who calls; needs no key, and may be a contract.
    pub from: Address,
    /// Whom, or a creation.
    pub to: TxKind,
    /// The gas limit. No block's limit applies, so the caller should set a cap.
    pub gas: u64,
    /// In wei per gas.
    pub max_fee_per_gas: u128,
    /// In wei per gas.
    pub max_priority_fee_per_gas: u128,
    /// In wei.
    pub value: U256,
    /// Call data, or the code that creates.
    pub input: Bytes,
    /// Addresses and slots to warm up (EIP-2930).
    pub access_list: AccessList,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutcome {
    /// It returned.
    Success {
        /// What it returned.
        output: Bytes,
        /// Refunds are taken off.
        gas_used: u64,
        /// What it would have logged.
        logs: Vec<Log>,
    },
    /// It reverted.
    Revert {
        /// What it said; see [`crate::revert_reason`].
        output: Bytes,
        /// Gas used until then.
        gas_used: u64,
    },
    /// It broke a rule of the machine, such as running out of gas.
    Halt {
        /// geth's text.
        reason: String,
        /// All the gas there was.
        gas_used: u64,
    },
}

/// Executes a call in the block with this header, on this state, which stays as it is.
///
/// # Errors
///
/// [`ExecutionError::Invalid`] if the sender cannot pay for it or the gas is not enough to begin,
/// [`ExecutionError::Read`] if the state cannot be read.
pub fn call<R: StateReader>(
    spec: &ChainSpec,
    header: &Header,
    world: &mut WorldState<R>,
    ancestors: BlockHashes<'_>,
    request: &CallRequest,
) -> Result<CallOutcome, ExecutionError> {
    let rules = Rules::new(spec, header);
    let mut machine = machine(&rules, header, world, ancestors);
    run(&mut machine, &rules, request)
}

/// As [`call`], unless told to stop before the end: then `None`.
///
/// # Errors
///
/// As [`call`].
pub fn call_until<R: StateReader>(
    spec: &ChainSpec,
    header: &Header,
    world: &mut WorldState<R>,
    ancestors: BlockHashes<'_>,
    request: &CallRequest,
    interrupt: Interrupt<'_>,
) -> Result<Option<CallOutcome>, ExecutionError> {
    let rules = Rules::new(spec, header);
    let mut machine = machine(&rules, header, world, ancestors);
    watch(&mut machine, interrupt);
    let outcome = run(&mut machine, &rules, request);
    if machine.ctx.journaled_state.database.watch.has_stopped() {
        return Ok(None);
    }
    outcome.map(Some)
}

/// As [`call_until`], watched by a tracer.
///
/// # Errors
///
/// [`TraceError::Execution`] as [`call`], [`TraceError::Interrupted`] once `interrupt` answers yes,
/// [`TraceError::TooLarge`] if there is more to tell than may be kept.
pub fn trace_call<R: StateReader>(
    spec: &ChainSpec,
    header: &Header,
    world: &mut WorldState<R>,
    ancestors: BlockHashes<'_>,
    (request, config): (&CallRequest, &TraceConfig),
    interrupt: Interrupt<'_>,
) -> Result<Trace, TraceError> {
    let rules = Rules::new(spec, header);
    let mut machine = machine(&rules, header, world, ancestors);
    watch(&mut machine, interrupt);
    machine.inspector = Tracer::new(config, &rules);
    let message = Message::of_call(request);
    let outcome = transact(&mut machine, &rules, &message, u64::MAX);
    if machine.inspector.is_full() {
        return Err(TraceError::TooLarge { max: config.bytes_max });
    }
    if machine.ctx.journaled_state.database.watch.has_stopped() {
        return Err(TraceError::Interrupted);
    }
    Ok(trace::finish(&mut machine, &message, &outcome?)?)
}

fn run<R: StateReader>(
    machine: &mut Machine<'_, R>,
    rules: &Rules,
    request: &CallRequest,
) -> Result<CallOutcome, ExecutionError> {
    let outcome = transact(machine, rules, &Message::of_call(request), u64::MAX)?;
    clear(machine);
    let gas_used = outcome.gas_used;
    Ok(match outcome.end {
        End::Success => {
            CallOutcome::Success { output: outcome.output, gas_used, logs: outcome.logs }
        }
        End::Revert => CallOutcome::Revert { output: outcome.output, gas_used },
        End::Halt(reason) => CallOutcome::Halt { reason, gas_used },
    })
}

#[cfg(test)]
mod tests {
    use primitives::Hardfork;

    use super::*;
    use crate::testing::{CONTRACT, FUNDS, SENDER, STRANGER, header, spec, world};

    fn request() -> CallRequest {
        CallRequest {
            from: SENDER,
            to: TxKind::Call(CONTRACT),
            gas: 1_000_000,
            ..CallRequest::default()
        }
    }

    fn outcome(
        hardfork: Hardfork,
        code: &[u8],
        request: &CallRequest,
    ) -> Result<CallOutcome, ExecutionError> {
        let (spec, mut world) = (spec(hardfork), world(code));
        let before = world.root().unwrap();
        let outcome = call(&spec, &header(&spec), &mut world, &|_| Ok(None), request);
        assert_eq!(world.root().unwrap(), before, "a call changes nothing");
        outcome
    }

    fn halt(hardfork: Hardfork, code: &[u8]) -> String {
        match outcome(hardfork, code, &request()).unwrap() {
            CallOutcome::Halt { reason, gas_used } => {
                assert_eq!(gas_used, 1_000_000);
                reason
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn returns_what_the_contract_returns_and_leaves_the_state_alone() {
        // SSTORE(0, 1), MSTORE8(0, 0x2a), LOG0, RETURN(0, 1)
        let code = [
            0x60, 1, 0x60, 0, 0x55, 0x60, 0x2a, 0x60, 0, 0x53, 0x60, 1, 0x60, 0, 0xa0, 0x60, 1,
            0x60, 0, 0xf3,
        ];
        match outcome(Hardfork::London, &code, &request()).unwrap() {
            CallOutcome::Success { output, gas_used, logs } => {
                assert_eq!(output, Bytes::from_static(&[0x2a]));
                assert_eq!(logs.len(), 1);
                assert!((43_000..45_000).contains(&gas_used), "{gas_used}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn returns_what_a_revert_says_with_the_gas_it_took() {
        let code = [0x60, 0x2a, 0x60, 0, 0x53, 0x60, 1, 0x60, 0, 0xfd];
        match outcome(Hardfork::Byzantium, &code, &request()).unwrap() {
            CallOutcome::Revert { output, gas_used } => {
                assert_eq!(output, Bytes::from_static(&[0x2a]));
                assert_eq!(gas_used, 21_018);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_what_breaks_the_machine_as_geth_does() {
        let cases: &[(&[u8], &str)] = &[
            (&[0xfe], "invalid opcode: INVALID"),
            (&[0x0c], "invalid opcode: opcode 0xc not defined"),
            (&[0x5f], "invalid opcode: opcode 0x5f not defined"),
            (&[0x60, 1, 0x01], "stack underflow (1 <=> 2)"),
            (&[0x60, 1, 0x56], "invalid jump destination"),
            (&[0x5b, 0x60, 0, 0x56], "out of gas"),
            (&[0x5b, 0x60, 0, 0x60, 1, 0x56], "invalid jump destination"),
            (&[0x5b, 0x60, 1, 0x60, 0, 0x56], "stack limit reached 1024 (1023)"),
            (&[0x60, 1, 0x60, 0, 0x60, 0, 0x3e], "return data out of bounds"),
        ];
        for (code, text) in cases {
            assert_eq!(halt(Hardfork::London, code), *text, "{code:02x?}");
        }
        assert_eq!(halt(Hardfork::Homestead, &[0xfd]), "invalid opcode: REVERT");
    }

    #[test]
    fn names_what_is_wrong_with_a_creation() {
        let create = |input: &'static [u8], gas| CallRequest {
            to: TxKind::Create,
            input: Bytes::from_static(input),
            gas,
            ..request()
        };
        let reason = |request: &CallRequest| match outcome(Hardfork::London, &[], request).unwrap()
        {
            CallOutcome::Halt { reason, .. } => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            reason(&create(&[0x61, 0x60, 1, 0x60, 0, 0xf3], 10_000_000)),
            "max code size exceeded"
        );
        assert_eq!(
            reason(&create(&[0x61, 0x10, 0, 0x60, 0, 0xf3], 100_000)),
            "contract creation code storage out of gas"
        );
        assert_eq!(
            reason(&create(&[0x60, 0xef, 0x60, 0, 0x53, 0x60, 1, 0x60, 0, 0xf3], 100_000)),
            "invalid code: must not begin with 0xef"
        );
    }

    #[test]
    fn asks_for_the_base_fee_only_where_a_price_is_offered() {
        assert!(outcome(Hardfork::London, &[0], &request()).is_ok());
        let cheap = CallRequest { max_fee_per_gas: 6, max_priority_fee_per_gas: 6, ..request() };
        let error = outcome(Hardfork::London, &[0], &cheap).unwrap_err().to_string();
        assert!(error.starts_with("max fee per gas less than block base fee"), "{error}");
    }

    #[test]
    fn asks_for_the_value_even_of_a_free_call() {
        let all = CallRequest { value: U256::from(FUNDS), ..request() };
        assert!(outcome(Hardfork::London, &[0], &all).is_ok());
        let more = CallRequest { value: U256::from(FUNDS + 1), ..request() };
        let error = outcome(Hardfork::London, &[0], &more).unwrap_err().to_string();
        assert!(error.starts_with("insufficient funds for gas * price + value"), "{error}");
    }

    #[test]
    fn calls_in_the_name_of_a_contract_or_of_nobody() {
        for from in [CONTRACT, STRANGER] {
            assert!(outcome(Hardfork::London, &[0], &CallRequest { from, ..request() }).is_ok());
        }
    }
}
