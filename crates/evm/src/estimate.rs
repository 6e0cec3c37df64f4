use primitives::{Bytes, ChainSpec, Header};
use state::{ReadError, StateReader, WorldState};

use crate::{
    BlockHashes, CallRequest, ExecutionError, Interrupt, InvalidTransaction,
    env::{Machine, Rules, machine},
    gas::intrinsic_gas_of,
    interrupt::watch,
    message::Message,
    transact::{End, Outcome, clear, transact},
};

/// The gas of a plain transfer: nothing costs less.
const TRANSFER_GAS: u64 = 21_000;
/// What a called contract gets beside what its caller gives it, if it gets ether.
const CALL_STIPEND: u64 = 2_300;

/// Why there is no estimate, in geth's words.
#[derive(Debug, thiserror::Error)]
pub enum EstimateError {
    /// The value alone takes all that the sender has.
    #[error("insufficient funds for transfer")]
    InsufficientFundsForTransfer,
    /// Not even the highest limit allowed is enough.
    #[error("gas required exceeds allowance ({allowance})")]
    ExceedsAllowance {
        /// The highest limit that was tried.
        allowance: u64,
    },
    /// It reverts, however much gas there is.
    #[error("{}", crate::revert_message(output))]
    Reverted {
        /// What the contract said.
        output: Bytes,
    },
    /// It breaks a rule of the machine, however much gas there is.
    #[error("{reason}")]
    Halted {
        /// geth's text.
        reason: String,
    },
    /// It was told to stop.
    #[error("execution aborted")]
    Interrupted,
    /// It could not be executed at all.
    #[error(transparent)]
    Execution(#[from] ExecutionError),
}

impl From<ReadError> for EstimateError {
    fn from(error: ReadError) -> Self {
        Self::Execution(error.into())
    }
}

/// The smallest gas limit with which a call does not fail.
///
/// No limit is above `request.gas`, or the block's gas limit if that is below 21 000, nor above
/// `gas_max` (0 is no limit) nor what the sender can pay for. geth halves the range from there,
/// which takes some twenty executions. Here the first is with the highest limit, and says what the
/// call spends: mostly that is the answer. What depends on the gas that is left is searched by
/// halves as geth does; only of a call that fails with much gas and not with less nothing is found.
///
/// # Errors
///
/// [`EstimateError`] says which limit was in the way, or what the call itself said;
/// [`EstimateError::Interrupted`] once `interrupt` answers yes.
pub fn estimate_gas<R: StateReader>(
    spec: &ChainSpec,
    header: &Header,
    world: &mut WorldState<R>,
    ancestors: BlockHashes<'_>,
    (request, gas_max): (&CallRequest, u64),
    interrupt: Interrupt<'_>,
) -> Result<u64, EstimateError> {
    let mut high = if request.gas >= TRANSFER_GAS { request.gas } else { header.gas_limit };
    high = high.min(affordable_gas(world, request)?);
    if gas_max != 0 {
        high = high.min(gas_max);
    }
    let rules = Rules::new(spec, header);
    let mut machine = machine(&rules, header, world, ancestors);
    watch(&mut machine, interrupt);
    let mut attempts = Attempts { machine, rules, request: request.clone() };

    let spent = attempts.first(high)?;
    let intrinsic = intrinsic_gas_of(rules.hardfork, &Message::of_call(request));
    if spent == intrinsic {
        return Ok(spent);
    }
    let mut low = intrinsic - 1;
    // Exactly what was spent; then whether a little less does, or else how much more is kept back
    // from a call in it.
    let kept_back = spent.saturating_add(CALL_STIPEND).saturating_mul(64) / 63;
    for guess in [spent, spent - 1, kept_back] {
        attempts.narrow(&mut low, &mut high, guess)?;
    }
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        attempts.narrow(&mut low, &mut high, middle)?;
    }
    Ok(high)
}

/// One machine for all executions of a call.
struct Attempts<'a, R: StateReader> {
    machine: Machine<'a, R>,
    rules: Rules,
    request: CallRequest,
}

impl<R: StateReader> Attempts<'_, R> {
    /// Runs with a limit. `None` if that does not pay for the beginning.
    fn run(&mut self, gas: u64) -> Result<Option<Outcome>, EstimateError> {
        self.request.gas = gas;
        let message = Message::of_call(&self.request);
        let outcome = transact(&mut self.machine, &self.rules, &message, u64::MAX);
        clear(&mut self.machine);
        if self.machine.ctx.journaled_state.database.watch.has_stopped() {
            return Err(EstimateError::Interrupted);
        }
        match outcome {
            Ok(outcome) => Ok(Some(outcome)),
            // More gas may help.
            Err(ExecutionError::Invalid(InvalidTransaction::IntrinsicGas { .. })) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What is spent under the highest limit, which has to be enough.
    fn first(&mut self, allowance: u64) -> Result<u64, EstimateError> {
        let Some(outcome) = self.run(allowance)? else {
            return Err(EstimateError::ExceedsAllowance { allowance });
        };
        match outcome.end {
            End::Success => Ok(outcome.gas_spent),
            End::Revert => Err(EstimateError::Reverted { output: outcome.output }),
            End::Halt(reason) if reason != "out of gas" => Err(EstimateError::Halted { reason }),
            End::Halt(_) => Err(EstimateError::ExceedsAllowance { allowance }),
        }
    }

    /// Tries a limit between one that fails and one that does.
    fn narrow(&mut self, low: &mut u64, high: &mut u64, gas: u64) -> Result<(), EstimateError> {
        if gas <= *low || gas >= *high {
            return Ok(());
        }
        let succeeds = self.run(gas)?.is_some_and(|outcome| outcome.end == End::Success);
        *(if succeeds { high } else { low }) = gas;
        Ok(())
    }
}

/// How much gas the sender can pay for at the price offered; all there is if the price is 0.
fn affordable_gas<R: StateReader>(
    world: &mut WorldState<R>,
    request: &CallRequest,
) -> Result<u64, EstimateError> {
    if request.max_fee_per_gas == 0 {
        return Ok(u64::MAX);
    }
    let balance =
        world.account(request.from)?.map_or_else(Default::default, |account| account.balance);
    if !request.value.is_zero() && request.value >= balance {
        return Err(EstimateError::InsufficientFundsForTransfer);
    }
    let gas = (balance - request.value) / primitives::U256::from(request.max_fee_per_gas);
    Ok(u64::try_from(gas).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use primitives::{Hardfork, TxKind, U256};

    use super::*;
    use crate::testing::{CONTRACT, FUNDS, SENDER, STRANGER, header, spec, world};

    fn estimate(code: &[u8], request: &CallRequest, gas_max: u64) -> Result<u64, EstimateError> {
        let (spec, mut world) = (spec(Hardfork::London), world(code));
        let asked = (request, gas_max);
        estimate_gas(&spec, &header(&spec), &mut world, &|_| Ok(None), asked, &|| false)
    }

    #[test]
    fn ends_when_told() {
        let (spec, mut world) = (spec(Hardfork::London), world(&[0x5b, 0x60, 0, 0x56]));
        let asked = (&request(), 0);
        let estimate =
            estimate_gas(&spec, &header(&spec), &mut world, &|_| Ok(None), asked, &|| true);
        assert!(matches!(estimate, Err(EstimateError::Interrupted)));
    }

    fn request() -> CallRequest {
        CallRequest { from: SENDER, to: TxKind::Call(CONTRACT), ..CallRequest::default() }
    }

    #[test]
    fn finds_the_smallest_limit_that_does() {
        let transfer =
            CallRequest { to: TxKind::Call(STRANGER), value: U256::from(1), ..request() };
        assert_eq!(estimate(&[], &transfer, 0).unwrap(), 21_000);
        // SSTORE(0, 1): two pushes, a cold slot, a new value.
        assert_eq!(
            estimate(&[0x60, 1, 0x60, 0, 0x55], &request(), 0).unwrap(),
            21_000 + 6 + 22_100
        );
        // Reverts unless 50 000 gas are left: GAS PUSH2 LT PUSH1 9 JUMPI STOP .. JUMPDEST REVERT(0, 0)
        let picky = [0x61, 0xc3, 0x50, 0x5a, 0x10, 0x60, 9, 0x57, 0, 0x5b, 0x60, 0, 0x60, 0, 0xfd];
        assert_eq!(estimate(&picky, &request(), 0).unwrap(), 21_000 + 3 + 2 + 50_000);
    }

    /// As geth 1.10 does it, with nothing but halves.
    fn halved(code: &[u8], request: &CallRequest, fork: Hardfork) -> u64 {
        let (spec, mut world) = (spec(fork), world(code));
        let header = header(&spec);
        let (mut low, mut high) = (TRANSFER_GAS - 1, header.gas_limit);
        while low + 1 < high {
            let gas = low + (high - low) / 2;
            let request = CallRequest { gas, ..request.clone() };
            match crate::call(&spec, &header, &mut world, &|_| Ok(None), &request) {
                Ok(crate::CallOutcome::Success { .. }) => high = gas,
                _ => low = gas,
            }
        }
        high
    }

    #[test]
    fn finds_what_halving_finds() {
        // CALL(gas, 0x…, value, 0, 0, 0, 0) of itself until 60 000 gas are left, then SSTORE(0, 1)
        let nested = [
            0x61, 0xea, 0x60, 0x5a, 0x10, 0x60, 0x14, 0x57, 0x60, 0, 0x80, 0x80, 0x80, 0x80, 0x30,
            0x5a, 0xf1, 0x15, 0, 0, 0x5b, 0x60, 1, 0x60, 0, 0x55,
        ];
        // SSTORE(0, 1), SSTORE(0, 0): a refund.
        let refunded = [0x60, 1, 0x60, 0, 0x55, 0x60, 0, 0x60, 0, 0x55];
        // CALL(0, 0x2a, 1 wei, 0, 0, 0, 0), whose stipend comes back; INVALID if that fails
        let paying = [
            0x60, 0, 0x80, 0x80, 0x80, 0x60, 1, 0x60, 0x2a, 0x60, 0, 0xf1, 0x60, 0x10, 0x57, 0xfe,
            0x5b,
        ];
        // Half of what is left must be at least 30 000, else INVALID.
        let greedy =
            [0x60, 1, 0x5a, 0x90, 0x1c, 0x61, 0x75, 0x30, 0x10, 0x60, 0x0d, 0x57, 0xfe, 0x5b];
        let ether = CallRequest { value: U256::from(9), ..request() };
        let create = CallRequest {
            to: TxKind::Create,
            input: Bytes::from_static(&[0x60, 9, 0x60, 0, 0xf3]),
            ..request()
        };
        let data = CallRequest { input: Bytes::from_static(&[7; 300]), ..request() };
        for fork in [Hardfork::Homestead, Hardfork::Istanbul, Hardfork::London] {
            for code in [&[][..], &[0], &nested, &refunded, &paying, &greedy] {
                for request in [&request(), &ether, &create, &data] {
                    let (spec, mut world) = (spec(fork), world(code));
                    let header = header(&spec);
                    let asked = (request, 0);
                    let found =
                        estimate_gas(&spec, &header, &mut world, &|_| Ok(None), asked, &|| false);
                    match found {
                        Ok(gas) => {
                            assert_eq!(gas, halved(code, request, fork), "{fork:?} {code:02x?}")
                        }
                        // Nothing succeeds, then.
                        Err(_) => assert_eq!(halved(code, request, fork), header.gas_limit),
                    }
                }
            }
        }
    }

    #[test]
    fn says_why_there_is_no_limit() {
        let text = |code: &[u8], request: &CallRequest, gas_max| {
            estimate(code, request, gas_max).unwrap_err().to_string()
        };
        assert_eq!(text(&[0x60, 0, 0x60, 0, 0xfd], &request(), 0), "execution reverted");
        assert_eq!(text(&[0xfe], &request(), 0), "invalid opcode: INVALID");
        assert_eq!(
            text(&[0x5b, 0x60, 0, 0x56], &request(), 0),
            "gas required exceeds allowance (10000000)"
        );
        let store = [0x60, 1, 0x60, 0, 0x55];
        assert_eq!(text(&store, &request(), 30_000), "gas required exceeds allowance (30000)");
        assert_eq!(
            text(&store, &CallRequest { gas: 25_000, ..request() }, 0),
            "gas required exceeds allowance (25000)"
        );
        let fee = FUNDS / 22_000;
        let priced =
            CallRequest { max_fee_per_gas: fee, max_priority_fee_per_gas: fee, ..request() };
        assert_eq!(text(&store, &priced, 0), "gas required exceeds allowance (22000)");
        let broke = CallRequest { value: U256::from(FUNDS), max_fee_per_gas: 10, ..request() };
        assert_eq!(text(&[0], &broke, 0), "insufficient funds for transfer");
        let unpaid = CallRequest { value: U256::from(FUNDS + 1), ..request() };
        assert!(text(&[0], &unpaid, 0).starts_with("insufficient funds for gas * price + value"));
    }
}
