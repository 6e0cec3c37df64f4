//! KeyStoreTests and geth's key files.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use accounts::{Keystore, KeystoreError};
use primitives::{Address, B256};
use serde_json::Value;

use crate::{
    data::DataFile,
    json::{hash, object, text},
    pow::same,
    report::Sink,
    state_tests::address_of,
};

/// The passwords of geth's key files; the files themselves do not say.
const PASSWORDS: [&str; 3] = ["foobar", "", "g"];

/// Runs all cases of a file of the form name, key file, password and secret.
pub(crate) fn run(json: &Value, sink: &mut Sink<'_>) {
    for (name, test) in object(json) {
        sink.case(name, || {
            let secret = B256::from(padded(text(&test["priv"])));
            let address = address_of(&secret);
            let mut file = test["json"].clone();
            // These files are older than the field, and a keystore needs it.
            file["address"] = Value::String(format!("{address:x}"));
            let folder = Scratch::new();
            folder.write("key", file.to_string().as_bytes());
            let keystore = folder.keystore()?;
            opens(&keystore, address, text(&test["password"]))
        });
    }
}

/// Runs one of geth's files: vectors as above, or a key file in a folder.
pub(crate) fn run_file(file: &DataFile, sink: &mut Sink<'_>) {
    let content = file.read();
    let json = std::str::from_utf8(&content).ok().and_then(|text| text.parse::<Value>().ok());
    let vectors = json.as_ref().filter(|json| {
        let tests = json.as_object().into_iter().flat_map(|tests| tests.values());
        tests.into_iter().any(|test| test.get("priv").is_some())
    });
    if let Some(vectors) = vectors {
        return run(vectors, sink);
    }
    sink.case("key file", || {
        let folder = Scratch::new();
        let name = file.path.file_name().map_or("key".into(), |name| name.to_string_lossy());
        folder.write(&name, &content);
        let keystore = folder.keystore()?;
        let claimed = json.as_ref().and_then(|json| json.get("address")).map(claimed_address);
        let usable =
            claimed.filter(|it| !it.is_zero() && !name.starts_with('.') && !name.ends_with('~'));
        let Some(address) = usable else {
            return same("accounts", &keystore.accounts().len(), &0);
        };
        let found: Vec<_> = keystore.accounts().iter().map(|account| account.address).collect();
        same("accounts", &found, &vec![address])?;
        let mut last = Err("no password opens it".to_owned());
        for password in PASSWORDS {
            last = opens(&keystore, address, password);
            if last.is_ok() {
                break;
            }
        }
        last
    });
}

fn claimed_address(value: &Value) -> Address {
    text(value).parse().expect("an address")
}

/// Signs with the key, which proves that it is the address'.
fn opens(keystore: &Keystore, address: Address, password: &str) -> Result<(), String> {
    let digest = B256::repeat_byte(0x42);
    let signature = keystore
        .sign_hash_with_password(address, password, digest)
        .map_err(|error: KeystoreError| crate::chains::with_causes(&error))?;
    let signer = signature.recover_address_from_prehash(&digest);
    same("signer", &signer.map_err(|error| error.to_string())?, &address)
}

/// A secret of fewer digits has lost its leading zeros.
fn padded(digits: &str) -> [u8; 32] {
    hash(&Value::String(format!("{digits:0>64}"))).0
}

/// A folder that is gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hematite-spec-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.0.join(Path::new(name)), content).expect("a temporary file");
    }

    fn keystore(&self) -> Result<Keystore, String> {
        Keystore::open(&self.0).map_err(|error| crate::chains::with_causes(&error))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind in the temporary folder at worst.
        let _ = fs::remove_dir_all(&self.0);
    }
}
