use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    time::UNIX_EPOCH,
};

use alloy_consensus::TxLegacy;
use primitives::keccak256;
use tempfile::TempDir;

use super::*;

/// An empty keystore, in a directory that does not exist yet.
fn keystore() -> (TempDir, Keystore) {
    let parent = tempfile::tempdir().unwrap();
    let keystore = Keystore::open(parent.path().join("keystore")).unwrap();
    (parent, keystore)
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A file that claims an address; nobody can open it.
fn claim(keystore: &Keystore, name: &str, address: Address) {
    fs::create_dir_all(keystore.directory()).unwrap();
    let content = format!("{{\"address\":\"{}\"}}", hex::encode(address));
    fs::write(keystore.directory().join(name), content).unwrap();
}

fn address(byte: u8) -> Address {
    Address::repeat_byte(byte)
}

fn names(keystore: &Keystore) -> Vec<String> {
    let name = |account: Account| account.path.file_name().unwrap().to_str().unwrap().to_owned();
    keystore.accounts().into_iter().map(name).collect()
}

#[test]
fn makes_a_private_file_in_a_private_directory() {
    let (_parent, keystore) = keystore();
    assert!(keystore.accounts().is_empty());
    let account = keystore.create("password", Kdf::Light, at(1_606_400_176)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(keystore.directory()), 0o700);
    assert_eq!(mode(&account.path), 0o600);
    let name = format!("UTC--2020-11-26T14-16-16.000000000Z--{}", hex::encode(account.address));
    assert_eq!(names(&keystore), [name]);
    assert_eq!(fs::read_dir(keystore.directory()).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn sorts_accounts_by_path_and_finds_them_by_index_and_address() {
    let (_parent, keystore) = keystore();
    claim(&keystore, "b", address(1));
    claim(&keystore, "a", address(2));
    let find =
        |text: &str| keystore.find(text.parse::<Selector>().unwrap()).map(|found| found.address);
    assert_eq!(find("0").unwrap(), address(2));
    assert_eq!(find("1").unwrap(), address(1));
    assert_eq!(find(&hex::encode(address(1))).unwrap(), address(1));
    assert_eq!(find(&address(1).to_checksum(None)).unwrap(), address(1));
    let text = |error: KeystoreError| error.to_string();
    assert_eq!(find("2").map_err(text).unwrap_err(), "index 2 higher than number of accounts 2");
    let nobody = hex::encode(address(3));
    assert_eq!(find(&nobody).map_err(text).unwrap_err(), "no key for given address or file");
    assert_eq!(
        "nobody".parse::<Selector>().unwrap_err().to_string(),
        "invalid account address or index \"nobody\""
    );
}

#[test]
fn names_the_files_that_claim_one_address() {
    let (_parent, keystore) = keystore();
    claim(&keystore, "1", address(1));
    claim(&keystore, "2", address(1));
    let directory = keystore.directory().display();
    assert_eq!(
        keystore.find(address(1)).unwrap_err().to_string(),
        format!("multiple keys match address ({directory}/1,{directory}/2)")
    );
}

#[test]
fn ignores_what_geth_ignores() {
    let (_parent, keystore) = keystore();
    claim(&keystore, "good", address(1));
    claim(&keystore, ".hidden", address(2));
    claim(&keystore, "backup~", address(3));
    claim(&keystore, "zero", Address::ZERO);
    fs::create_dir(keystore.directory().join("directory")).unwrap();
    symlink("good", keystore.directory().join("link")).unwrap();
    fs::write(keystore.directory().join("empty"), "").unwrap();
    fs::write(keystore.directory().join("garbage"), [0xff, 0x00]).unwrap();
    fs::write(keystore.directory().join("large"), vec![b' '; 1 << 20]).unwrap();
    assert_eq!(names(&keystore), ["good"]);
}

#[test]
fn sees_files_come_change_and_go() {
    let (_parent, keystore) = keystore();
    claim(&keystore, "a", address(1));
    assert_eq!(names(&keystore), ["a"]);
    claim(&keystore, "b", address(2));
    assert_eq!(names(&keystore), ["a", "b"]);
    fs::write(keystore.directory().join("a"), "no longer a key file").unwrap();
    assert_eq!(names(&keystore), ["b"]);
    fs::remove_file(keystore.directory().join("b")).unwrap();
    assert!(names(&keystore).is_empty());
}

#[test]
fn refuses_to_import_a_key_twice() {
    let (_parent, keystore) = keystore();
    let secret = Secret::random();
    let account = keystore.import(&secret, "", Kdf::Light, at(0)).unwrap();
    assert_eq!(account.address, secret.address());
    let error = keystore.import(&secret, "", Kdf::Light, at(1)).unwrap_err();
    assert_eq!(error.to_string(), "account already exists");
    assert_eq!(keystore.accounts(), [account]);
}

#[test]
fn changes_a_password_in_place() {
    let (_parent, keystore) = keystore();
    let account = keystore.create("old", Kdf::Light, at(0)).unwrap();
    let before = fs::read(&account.path).unwrap();
    let error = keystore.update(0, "wrong", "new", Kdf::Light).unwrap_err();
    assert_eq!(error.to_string(), "could not decrypt key with given password");
    assert_eq!(fs::read(&account.path).unwrap(), before);
    assert_eq!(keystore.update(0, "old", "new", Kdf::Light).unwrap(), account);
    assert_eq!(keystore.accounts(), std::slice::from_ref(&account));
    let sign = |password| keystore.sign_hash_with_password(0, password, B256::ZERO);
    assert!(matches!(sign("old"), Err(KeystoreError::Password)));
    assert!(sign("new").is_ok());
}

#[test]
fn keeps_the_old_file_when_the_new_one_cannot_be_verified() {
    let (_parent, keystore) = keystore();
    let account = keystore.create("", Kdf::Light, at(0)).unwrap();
    let before = fs::read(&account.path).unwrap();
    let other = Secret::random();
    let error = keystore.write(&account, &other, "", Kdf::Light).unwrap_err();
    assert!(matches!(error, KeystoreError::Mismatch { .. }), "{error}");
    assert_eq!(fs::read(&account.path).unwrap(), before);
    assert_eq!(fs::read_dir(keystore.directory()).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn signs_only_while_the_lease_lasts() {
    let (_parent, keystore) = keystore();
    let account = keystore.create("", Kdf::Light, at(0)).unwrap();
    let hash = keccak256("hash");
    let start = Instant::now();
    let sign =
        |seconds| keystore.sign_hash(account.address, hash, start + Duration::from_secs(seconds));
    let locked = "authentication needed: password or unlock";
    assert_eq!(sign(0).unwrap_err().to_string(), locked);
    assert!(matches!(keystore.sign_hash(address(9), hash, start), Err(KeystoreError::NoMatch)));
    keystore.unlock(0, "", Duration::from_secs(10), start).unwrap();
    let signature = sign(9).unwrap();
    assert_eq!(signature.recover_address_from_prehash(&hash).unwrap(), account.address);
    assert_eq!(sign(10).unwrap_err().to_string(), locked);
    assert!(!keystore.is_unlocked(account.address, start));
}

#[test]
fn keeps_a_key_without_a_lease_until_it_is_locked() {
    let (_parent, keystore) = keystore();
    let account = keystore.create("", Kdf::Light, at(0)).unwrap();
    let start = Instant::now();
    let later = start + Duration::from_secs(1 << 20);
    keystore.unlock(account.address, "", Duration::ZERO, start).unwrap();
    keystore.unlock(account.address, "", Duration::from_secs(1), start).unwrap();
    assert!(keystore.is_unlocked(account.address, later));
    keystore.lock(account.address);
    assert!(!keystore.is_unlocked(account.address, later));
}

#[test]
fn signs_transactions() {
    let (_parent, keystore) = keystore();
    let account = keystore.create("", Kdf::Light, at(0)).unwrap();
    let now = Instant::now();
    keystore.unlock(0, "", Duration::ZERO, now).unwrap();
    let transaction = TxLegacy { chain_id: Some(27_587), gas_limit: 21_000, ..TxLegacy::default() };
    let signed = keystore.sign_transaction(account.address, transaction, now).unwrap();
    assert_eq!(signed.recover_signer().unwrap(), account.address);
}

#[test]
fn notices_a_file_that_claims_another_account() {
    let (_parent, keystore) = keystore();
    let account = keystore.create("", Kdf::Light, at(0)).unwrap();
    let content = fs::read_to_string(&account.path).unwrap();
    let claimed = hex::encode(address(7));
    let swapped = content.replace(&hex::encode(account.address), &claimed);
    fs::write(&account.path, swapped).unwrap();
    let error = keystore.unlock(0, "", Duration::ZERO, Instant::now()).unwrap_err();
    assert!(error.to_string().starts_with("key content mismatch: have account 0x"), "{error}");
}

#[test]
fn names_a_damaged_file_and_an_unreadable_directory() {
    let (parent, keystore) = keystore();
    claim(&keystore, "damaged", address(1));
    let error = keystore.unlock(0, "", Duration::ZERO, Instant::now()).unwrap_err();
    assert!(matches!(&error, KeystoreError::KeyFile { path, .. } if path.ends_with("damaged")));
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(Keystore::open(&file), Err(KeystoreError::Io { path, .. }) if path == file));
}

#[test]
fn shows_nothing_of_its_keys() {
    let (_parent, keystore) = keystore();
    let secret = Secret::random();
    keystore.import(&secret, "hidden", Kdf::Light, at(0)).unwrap();
    keystore.unlock(0, "hidden", Duration::ZERO, Instant::now()).unwrap();
    let shown = format!("{keystore:?}");
    assert!(
        !shown.contains("hidden") && !shown.contains(&hex::encode(secret.as_bytes())),
        "{shown}"
    );
}
