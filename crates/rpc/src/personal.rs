//! `personal_*`: the keys on this machine.
//!
//! Passwords and keys are wiped when their call ends, and neither is ever logged.

use std::time::{Duration, Instant, SystemTime};

use accounts::{Account, Secret, SecretError};
use primitives::{Address, B256, Bytes, Signature};
use serde::Serialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::{
    error::RpcError,
    eth::{
        args::transaction_args,
        sign::{Signed, Unlocking, signature_bytes, text_hash},
    },
    methods::Table,
    node::Api,
    params::Params,
    parse, signer,
};

/// How long a key stays unlocked when nothing is said.
const LEASE_SECONDS: u64 = 300;
/// More seconds than this are no duration in Go.
const LEASE_SECONDS_MAX: u64 = i64::MAX.unsigned_abs() / 1_000_000_000;

pub(crate) fn register(table: &mut Table) {
    // A signer may be asked.
    table.heavy("personal_listAccounts", list_accounts);
    table.heavy("personal_listWallets", list_wallets);
    table.light("personal_lockAccount", lock_account);
    table.light("personal_ecRecover", recover);
    // A password takes a second of work by itself.
    table.heavy("personal_newAccount", new_account);
    table.heavy("personal_importRawKey", import_raw_key);
    table.heavy("personal_unlockAccount", unlock_account);
    table.heavy("personal_sendTransaction", send_transaction);
    table.heavy("personal_signAndSendTransaction", send_transaction);
    table.heavy("personal_signTransaction", sign_transaction);
    table.heavy("personal_sign", sign);
}

/// A text that is wiped.
fn password(raw: &RawValue) -> Result<Zeroizing<String>, String> {
    parse::string(raw).map(Zeroizing::new)
}

fn list_accounts(api: &Api, params: &mut Params<'_>) -> Result<Vec<Address>, RpcError> {
    params.end()?;
    api.accounts()
}

/// A key file: geth calls each of them a wallet.
#[derive(Debug, Serialize)]
struct Wallet {
    url: String,
    status: String,
    accounts: Vec<WalletAccount>,
}

#[derive(Debug, Serialize)]
struct WalletAccount {
    address: Address,
    url: String,
}

fn list_wallets(api: &Api, params: &mut Params<'_>) -> Result<Vec<Wallet>, RpcError> {
    params.end()?;
    if let Some(signer) = &api.node.signer {
        let url = format!("extapi://{}", signer.url());
        let account = |address| WalletAccount { address, url: url.clone() };
        let accounts = api.accounts()?.into_iter().map(account).collect();
        return Ok(vec![Wallet { url: url.clone(), status: signer::status(&**signer), accounts }]);
    }
    let Some(keystore) = &api.node.keystore else { return Ok(Vec::new()) };
    let now = Instant::now();
    let wallet = |account: Account| {
        let url = format!("keystore://{}", account.path.display());
        let status = if keystore.is_unlocked(account.address, now) { "Unlocked" } else { "Locked" };
        let address = account.address;
        let accounts = vec![WalletAccount { address, url: url.clone() }];
        Wallet { url, status: status.to_owned(), accounts }
    };
    Ok(keystore.accounts().into_iter().map(wallet).collect())
}

fn new_account(api: &Api, params: &mut Params<'_>) -> Result<Address, RpcError> {
    let password = params.required(password)?;
    params.end()?;
    let made = api.keystore()?.create(&password, api.node.key_kdf, SystemTime::now())?;
    tracing::info!(address = %made.address, "Your new key was generated");
    tracing::warn!(path = %made.path.display(), "Please backup your key file!");
    tracing::warn!("Please remember your password!");
    Ok(made.address)
}

fn import_raw_key(api: &Api, params: &mut Params<'_>) -> Result<Address, RpcError> {
    let text = params.required(password)?;
    let password = params.required(password)?;
    params.end()?;
    let secret = Secret::from_hex(&text).map_err(|error| {
        RpcError::refused(match error {
            SecretError::Hex => "invalid private key: want 64 hex digits",
            SecretError::Range => "invalid private key, not a scalar of the curve",
        })
    })?;
    let kdf = api.node.key_kdf;
    Ok(api.keystore()?.import(&secret, &password, kdf, SystemTime::now())?.address)
}

/// Refused where strangers could use the key, as geth does.
fn unlock_account(api: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    let address = params.required(parse::address)?;
    let password = params.required(password)?;
    let seconds = params.optional(parse::count)?.unwrap_or(LEASE_SECONDS);
    params.end()?;
    if api.is_reached_from_outside() && !api.node.allow_insecure_unlock {
        return Err(RpcError::refused("account unlock with HTTP access is forbidden"));
    }
    if seconds > LEASE_SECONDS_MAX {
        return Err(RpcError::refused("unlock duration too large"));
    }
    let lease = Duration::from_secs(seconds);
    match api.keystore()?.unlock(address, &password, lease, Instant::now()) {
        Ok(_) => {
            tracing::info!(%address, seconds, "Unlocked account");
            Ok(true)
        }
        Err(error) => {
            tracing::warn!(%address, %error, "Failed account unlock attempt");
            Err(error.into())
        }
    }
}

fn lock_account(api: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    let address = params.required(parse::address)?;
    params.end()?;
    let Some(keystore) = &api.node.keystore else { return Ok(false) };
    keystore.lock(address);
    Ok(true)
}

fn send_transaction(api: &Api, params: &mut Params<'_>) -> Result<B256, RpcError> {
    let args = params.required(transaction_args)?;
    let password = params.required(password)?;
    params.end()?;
    let sent = api.send_args(args, Unlocking::By(&password));
    if let Err(error) = &sent {
        tracing::warn!(%error, "Failed transaction send attempt");
    }
    sent
}

fn sign_transaction(api: &Api, params: &mut Params<'_>) -> Result<Signed, RpcError> {
    let args = params.required(transaction_args)?;
    let password = params.required(password)?;
    params.end()?;
    args.check_complete()?;
    let view = api.node.chain.view();
    api.sign_args(&view, args, Unlocking::By(&password)).map(|tx| Signed::new(&tx))
}

fn sign(api: &Api, params: &mut Params<'_>) -> Result<Bytes, RpcError> {
    let text = params.required(parse::bytes)?;
    let address = params.required(parse::address)?;
    let password = params.required(password)?;
    params.end()?;
    let signature = api.sign_text(address, &text, Unlocking::By(&password))?;
    Ok(signature_bytes(&signature))
}

/// Who signed a text.
fn recover(_: &Api, params: &mut Params<'_>) -> Result<Address, RpcError> {
    let text = params.required(parse::bytes)?;
    let bytes = params.required(parse::bytes)?;
    params.end()?;
    let Ok(bytes) = <[u8; 65]>::try_from(&bytes[..]) else {
        return Err(RpcError::refused("signature must be 65 bytes long"));
    };
    if !matches!(bytes[64], 27 | 28) {
        return Err(RpcError::refused("invalid Ethereum signature (V is not 27 or 28)"));
    }
    let signature = Signature::from_bytes_and_parity(&bytes[..64], bytes[64] == 28);
    alloy_consensus::crypto::secp256k1::recover_signer(&signature, text_hash(&text))
        .map_err(|_| RpcError::refused("recovery failed"))
}
