//! `flatCallTracer`: the calls of [`super::calls`] one after the other, as Parity tells them.

use primitives::{Address, Bytes, U256};
use serde::Serialize;

use super::{
    TracePlace,
    calls::{CallFrame, quantity},
};

/// What geth says of a failure, and what Parity does.
const ERRORS: [(&str, &str); 10] = [
    ("contract creation code storage out of gas", "Out of gas"),
    ("out of gas", "Out of gas"),
    ("gas uint64 overflow", "Out of gas"),
    ("max code size exceeded", "Out of gas"),
    ("invalid jump destination", "Bad jump destination"),
    (REVERTED, "Reverted"),
    ("return data out of bounds", "Out of bounds"),
    ("stack limit reached 1024 (1023)", "Out of stack"),
    ("precompiled failed", "Built-in failed"),
    ("invalid input length", "Built-in failed"),
];
/// The same for what has more to say behind these words.
const BEGINNINGS: [(&str, &str); 2] =
    [("invalid opcode:", "Bad instruction"), ("stack underflow", "Stack underflow")];
/// The failure that has a result nevertheless.
const REVERTED: &str = "execution reverted";

/// How calls are told one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlatOptions {
    /// Failures in Parity's words.
    pub with_parity_errors: bool,
    /// Calls of precompiled contracts too.
    pub with_precompiles: bool,
}

/// One call, and where it is among the others.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FlatCall {
    /// What was asked for.
    pub action: FlatAction,
    /// Whose it is.
    #[serde(flatten)]
    pub place: TracePlace,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What came of it; of failures only a revert has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<FlatResult>,
    /// How many calls it made itself.
    pub subtraces: usize,
    /// Which call of which call it is.
    pub trace_address: Vec<usize>,
    /// `call`, `create` or `suicide`.
    pub r#type: &'static str,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum FlatAction {
    /// A call of any kind.
    #[serde(rename_all = "camelCase")]
    Call {
        /// The kind.
        call_type: String,
        /// Who called.
        from: Address,
        /// Gas it was given.
        #[serde(serialize_with = "quantity")]
        gas: u64,
        /// Call data.
        input: Bytes,
        /// Whom.
        to: Option<Address>,
        /// Wei that went along.
        value: U256,
    },
    /// A creation of any kind.
    Create {
        /// Who created.
        from: Address,
        /// Gas it was given.
        #[serde(serialize_with = "quantity")]
        gas: u64,
        /// The code that creates.
        init: Bytes,
        /// Wei that went along.
        value: U256,
    },
    /// An end.
    #[serde(rename_all = "camelCase")]
    Suicide {
        /// Who ended.
        address: Address,
        /// What it had, in wei.
        balance: U256,
        /// Who got it.
        refund_address: Option<Address>,
    },
}

/// What came of a call or a creation.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum FlatResult {
    /// Of a call.
    #[serde(rename_all = "camelCase")]
    Call {
        /// Gas it took.
        #[serde(serialize_with = "quantity")]
        gas_used: u64,
        /// What it returned.
        output: Bytes,
    },
    /// Of a creation.
    #[serde(rename_all = "camelCase")]
    Create {
        /// What was created; nobody if it failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<Address>,
        /// Its code.
        code: Bytes,
        /// Gas it took.
        #[serde(serialize_with = "quantity")]
        gas_used: u64,
    },
}

impl FlatCall {
    fn of(
        frame: CallFrame,
        subtraces: usize,
        trace_address: Vec<usize>,
        with_parity_errors: bool,
    ) -> Self {
        let CallFrame { from, gas, gas_used, to, input, output, error, value, r#type, .. } = frame;
        // What has none, a static call, says so here.
        let value = value.unwrap_or_default();
        let has_result = error.as_ref().is_none_or(|error| error == REVERTED);
        let error = error.map(|error| if with_parity_errors { of_parity(error) } else { error });
        let (action, result, r#type) = match r#type {
            "SELFDESTRUCT" => {
                let action =
                    FlatAction::Suicide { address: from, balance: value, refund_address: to };
                (action, None, "suicide")
            }
            "CREATE" | "CREATE2" => {
                let result = FlatResult::Create { address: to, code: output, gas_used };
                (FlatAction::Create { from, gas, init: input, value }, Some(result), "create")
            }
            kind => {
                let call_type = kind.to_lowercase();
                let result = FlatResult::Call { gas_used, output };
                (FlatAction::Call { call_type, from, gas, input, to, value }, Some(result), "call")
            }
        };
        let result = result.filter(|_| has_result);
        let place = TracePlace::default();
        Self { action, place, error, result, subtraces, trace_address, r#type }
    }
}

/// The calls below this one and itself, each before those that it made.
pub(super) fn flatten(top: CallFrame, options: FlatOptions) -> Vec<FlatCall> {
    let mut flat = Vec::new();
    let mut waiting = vec![(top, Vec::new())];
    while let Some((mut frame, address)) = waiting.pop() {
        let calls = std::mem::take(&mut frame.calls);
        let subtraces = calls.len();
        waiting.extend(calls.into_iter().enumerate().rev().map(|(place, call)| {
            let mut address = address.clone();
            address.push(place);
            (call, address)
        }));
        flat.push(FlatCall::of(frame, subtraces, address, options.with_parity_errors));
    }
    flat
}

fn of_parity(error: String) -> String {
    let whole = ERRORS.iter().find(|(geth, _)| *geth == error);
    let found = whole.or_else(|| BEGINNINGS.iter().find(|(geth, _)| error.starts_with(geth)));
    found.map_or(error, |(_, parity)| (*parity).to_owned())
}
