//! `--signer`: the keys are with geth's clef, or with whoever speaks as it does.

use std::{
    sync::{Arc, Mutex, PoisonError, TryLockError},
    time::Duration,
};

use console::{Client, Endpoint, Interrupt};
use eyre::{Result, WrapErr, ensure, eyre};
use rpc::Signer;
use serde_json::{Value, json};
use tls::Connector;

use crate::config::Accounts;

/// How long a signature may take: a person is asked, and whoever wants it waits.
const ANSWER_PERIOD_MAX: Duration = Duration::from_secs(60);

/// A signer that was reached.
#[derive(Debug)]
struct Clef {
    url: String,
    client: Mutex<Client>,
}

/// Reaches the signer, if one is asked for.
///
/// # Errors
///
/// When it is not there or speaks something else, and when keys of this machine shall be unlocked.
pub(crate) fn connect(
    accounts: &Accounts,
    connector: &Connector,
) -> Result<Option<Arc<dyn Signer>>> {
    let Some(url) = &accounts.signer else { return Ok(None) };
    ensure!(
        accounts.unlock.is_empty(),
        "--unlock opens keys of the keystore, which --signer replaces; give one of them only"
    );
    let endpoint = Endpoint::parse(url).wrap_err("--signer")?;
    // Without the login, which would be shown in the log and by personal_listWallets.
    let url = endpoint.to_string();
    let client = Client::start(endpoint, connector, Interrupt::default(), ANSWER_PERIOD_MAX)?;
    let clef = Clef { url: url.clone(), client: Mutex::new(client) };
    let version = clef.request("account_version", json!([])).map_err(|error| {
        eyre!("{error}; is clef running (clef --http), and is {url} the place it listens at?")
    })?;
    tracing::info!(url, %version, "Keys are with an external signer");
    Ok(Some(Arc::new(clef)))
}

impl Signer for Clef {
    fn url(&self) -> String {
        self.url.clone()
    }

    fn request(&self, method: &str, params: Value) -> Result<Value, String> {
        // Who waits here keeps others from executing calls, so only one does.
        let client = match self.client.try_lock() {
            Ok(client) => client,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => {
                return Err("external signer is busy with another request, try again".into());
            }
        };
        let payload = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = client.request(payload.to_string());
        let mut answer =
            answer.map_err(|error| format!("external signer at {}: {error}", self.url))?;
        match answer["error"]["message"].as_str() {
            Some(message) => Err(message.to_owned()),
            None => Ok(answer["result"].take()),
        }
    }
}
