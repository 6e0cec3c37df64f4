//! Keys that are elsewhere: a signer beside this node, such as geth's clef (`--signer`).

use std::fmt;

use alloy_eips::eip2718::Decodable2718;
use primitives::{Address, Bytes, Signature, Transaction, TransactionFields, TxKind, U256, hex};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{error::RpcError, eth::args::Unsigned};

/// The kind of data that `eth_sign` has signed.
const TEXT: &str = "text/plain";

/// Asks a signer by clef's external API (`cmd/clef/extapi_changelog.md` of geth).
pub trait Signer: fmt::Debug + Send + Sync {
    /// Where it is.
    fn url(&self) -> String;

    /// Sends a request and waits for its result, for which a person may be asked.
    ///
    /// # Errors
    ///
    /// In words, when there is none.
    fn request(&self, method: &str, params: Value) -> Result<Value, String>;
}

/// A transaction that came back signed.
#[derive(Deserialize)]
struct SignedByOther {
    raw: Bytes,
}

fn ask<T: DeserializeOwned>(
    signer: &dyn Signer,
    method: &str,
    params: Value,
) -> Result<T, RpcError> {
    let answer = signer.request(method, params).map_err(RpcError::Refused)?;
    let read = serde_json::from_value(answer);
    read.map_err(|error| RpcError::Refused(format!("external signer: {method}: {error}")))
}

/// Whose keys it has and shows.
pub(crate) fn accounts(signer: &dyn Signer) -> Result<Vec<Address>, RpcError> {
    ask(signer, "account_list", json!([]))
}

/// What it says of itself.
pub(crate) fn status(signer: &dyn Signer) -> String {
    match ask::<String>(signer, "account_version", json!([])) {
        Ok(version) => format!("ok [version={version}]"),
        Err(error) => format!("error: {error}"),
    }
}

/// Has a text signed, as EIP-191 says.
pub(crate) fn sign_text(
    signer: &dyn Signer,
    address: Address,
    text: &[u8],
) -> Result<Signature, RpcError> {
    let params = json!([TEXT, address, hex::encode_prefixed(text)]);
    let bytes: Bytes = ask(signer, "account_signData", params)?;
    let signature = Signature::from_raw(&bytes);
    signature.map_err(|error| RpcError::Refused(format!("external signer: {error}")))
}

/// Has a transaction signed. A person may change it there, but not who sends it.
pub(crate) fn sign_transaction(
    signer: &dyn Signer,
    from: Address,
    unsigned: &Unsigned,
    chain_id: u64,
) -> Result<Transaction, RpcError> {
    let quantity = |number: u64| U256::from(number);
    let mut fields = json!({
        "from": from.to_checksum(None),
        "gas": quantity(unsigned.gas_limit()),
        "value": unsigned.value(),
        "nonce": quantity(unsigned.nonce()),
        "data": unsigned.input(),
        "chainId": quantity(chain_id),
    });
    if let TxKind::Call(to) = unsigned.kind() {
        fields["to"] = json!(to.to_checksum(None));
    }
    match unsigned.max_priority_fee_per_gas() {
        Some(tip) => {
            fields["maxFeePerGas"] = json!(U256::from(unsigned.max_fee_per_gas()));
            fields["maxPriorityFeePerGas"] = json!(U256::from(tip));
        }
        None => fields["gasPrice"] = json!(U256::from(unsigned.max_fee_per_gas())),
    }
    if let Some(list) = unsigned.access_list() {
        fields["accessList"] = json!(list);
    }
    let signed: SignedByOther = ask(signer, "account_signTransaction", json!([fields]))?;
    let refused = |text: &str| Err(RpcError::Refused(format!("external signer: {text}")));
    let Ok(tx) = Transaction::decode_2718(&mut &signed.raw[..]) else {
        return refused("what it signed is no transaction");
    };
    if crate::convert::sender(&tx).ok() != Some(from) {
        return refused("what it signed is not of the account that was asked for");
    }
    Ok(tx)
}
