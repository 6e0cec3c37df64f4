use std::{os::unix::fs::PermissionsExt, time::UNIX_EPOCH};

use tempfile::TempDir;

use super::*;
use crate::args::{Parsed, Surroundings, parse};

/// A data directory, and the configuration of a line with it.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn config(&self, flags: &str) -> Config {
        let line = format!("geth --lightkdf --datadir {} {flags}", self.0.path().display());
        let argv = line.split_whitespace().map(Into::into).collect();
        let Parsed::Invocation(invocation) = parse(argv, Surroundings::default()).unwrap() else {
            panic!("{line} is no invocation")
        };
        Config::try_from(&*invocation).unwrap()
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Runs a command with these lines typed, and returns what it printed.
    fn run(&self, command: &AccountCommand, flags: &str, typed: &str) -> (Result<()>, String) {
        let mut output = Vec::new();
        let mut input = typed.as_bytes();
        let mut dialogue = Dialogue::lines(&mut input, &mut output);
        let now = UNIX_EPOCH + Duration::from_secs(1_606_400_176);
        let result = run(command, &self.config(flags), &mut dialogue, now);
        (result, String::from_utf8(output).unwrap())
    }

    fn keystore(&self) -> Keystore {
        Keystore::open(self.config("").paths.keystore).unwrap()
    }

    fn unlock(&self, flags: &str, typed: &str) -> (Result<()>, String) {
        let mut output = Vec::new();
        let mut input = typed.as_bytes();
        let mut dialogue = Dialogue::lines(&mut input, &mut output);
        let result = unlock(&self.config(flags), &self.keystore(), &mut dialogue, Instant::now());
        (result, String::from_utf8(output).unwrap())
    }
}

fn text(result: Result<()>) -> String {
    format!("{:#}", result.unwrap_err())
}

/// The secret key 1, whose address everybody knows.
const ONE: &str = "0000000000000000000000000000000000000000000000000000000000000001\n";
const ONES_ADDRESS: &str = "7e5f4552091a69125d5dfcb7b8c2659029395bdf";

/// `printf 'pw\npw\n' | geth account new`, as the book's init container does.
#[test]
fn makes_an_account_from_two_lines_as_geth_does() {
    let home = Home::new();
    let (result, output) = home.run(&AccountCommand::New, "", "pw\npw\n");
    result.unwrap();
    let account = home.keystore().find(0).unwrap();
    let (address, path) = (account.address, account.path.display());
    assert_eq!(
        output,
        format!(
            "Your new account is locked with a password. Please give a password. Do not forget this password.\n\
             !! Unsupported terminal, password will be echoed.\n\
             Password: \n\
             Repeat password: \n\
             \n\
             Your new key was generated\n\
             \n\
             Public address of the key:   {address}\n\
             Path of the secret key file: {path}\n\
             \n\
             - You can share your public address with anyone. Others need it to interact with you.\n\
             - You must NEVER share the secret key with anyone! The key controls access to your funds!\n\
             - You must BACKUP your key file! Without the key, it's impossible to access account funds!\n\
             - You must REMEMBER your password! Without the password, it's impossible to decrypt the key!\n\
             \n"
        )
    );
    let name = format!("UTC--2020-11-26T14-16-16.000000000Z--{}", hex::encode(address));
    assert!(account.path.ends_with(name));
    assert!(home.keystore().sign_hash_with_password(0, "pw", [0; 32].into()).is_ok());
}

#[test]
fn refuses_two_different_passwords_and_a_missing_one() {
    let home = Home::new();
    let run = |typed| text(home.run(&AccountCommand::New, "", typed).0);
    assert_eq!(run("something\nsomething else\n"), "Passwords do not match");
    assert_eq!(run(""), "Failed to read password: EOF");
    assert_eq!(run("pw\n"), "Failed to read password confirmation: EOF");
    assert!(home.keystore().accounts().is_empty());
}

#[test]
fn takes_an_empty_password_and_lines_of_windows() {
    let home = Home::new();
    home.run(&AccountCommand::New, "", "\n\n").0.unwrap();
    assert!(home.keystore().sign_hash_with_password(0, "", [0; 32].into()).is_ok());
    home.run(&AccountCommand::New, "", "pw\r\npw").0.unwrap();
    let opened = |index| home.keystore().sign_hash_with_password(index, "pw", [0; 32].into());
    assert!(opened(0).is_ok() || opened(1).is_ok());
}

#[test]
fn takes_a_password_from_a_file_without_asking() {
    let home = Home::new();
    let file = home.file("password", "from file\nnot this one\n");
    let flags = format!("--password {file}");
    let (result, output) = home.run(&AccountCommand::New, &flags, "");
    result.unwrap();
    assert!(output.starts_with("\nYour new key was generated\n"), "{output}");
    let signed = home.keystore().sign_hash_with_password(0, "from file", [0; 32].into());
    assert!(signed.is_ok());
}

#[test]
fn imports_a_key_once_and_lists_it() {
    let home = Home::new();
    let key_file = home.file("key", ONE).into();
    let import = AccountCommand::Import { key_file };
    let (result, output) = home.run(&import, "", "pw\npw\n");
    result.unwrap();
    assert!(output.ends_with(&format!("\nAddress: {{{ONES_ADDRESS}}}\n")), "{output}");
    let again = text(home.run(&import, "", "pw\npw\n").0);
    assert_eq!(again, "Could not create the account: account already exists");

    let (result, output) = home.run(&AccountCommand::List, "", "");
    result.unwrap();
    let keystore = home.keystore().directory().display().to_string();
    assert_eq!(
        output,
        format!(
            "Account #0: {{{ONES_ADDRESS}}} \
             keystore://{keystore}/UTC--2020-11-26T14-16-16.000000000Z--{ONES_ADDRESS}\n"
        )
    );
}

#[test]
fn refuses_to_import_what_is_no_key() {
    let home = Home::new();
    let import = |content: &str| {
        let key_file = home.file("key", content).into();
        text(home.run(&AccountCommand::Import { key_file }, "", "\n\n").0)
    };
    let prefix = "Failed to load the private key: ";
    assert!(import("zz").starts_with(prefix));
    assert!(import(&"0".repeat(64)).starts_with(prefix));
    assert!(import(&"0".repeat(100_000)).starts_with(prefix));
}

#[test]
fn updates_a_password_in_geths_words() {
    let home = Home::new();
    let key_file = home.file("key", ONE).into();
    home.run(&AccountCommand::Import { key_file }, "", "foobar\nfoobar\n").0.unwrap();
    let update = AccountCommand::Update { accounts: vec![ONES_ADDRESS.to_owned()] };
    let (result, output) = home.run(&update, "", "wrong\nfoobar\nfoobar2\nfoobar2\n");
    result.unwrap();
    assert_eq!(
        output,
        format!(
            "Unlocking account {ONES_ADDRESS} | Attempt 1/3\n\
             !! Unsupported terminal, password will be echoed.\n\
             Password: \n\
             Unlocking account {ONES_ADDRESS} | Attempt 2/3\n\
             Password: \n\
             Please give a new password. Do not forget this password.\n\
             Password: \n\
             Repeat password: \n"
        )
    );
    assert!(home.keystore().sign_hash_with_password(0, "foobar2", [0; 32].into()).is_ok());
    let wrong = text(home.run(&update, "", "1\n2\n3\n").0);
    let expect = "(could not decrypt key with given password)";
    assert!(
        wrong.starts_with(&format!("Failed to unlock account {ONES_ADDRESS} {expect}")),
        "{wrong}"
    );
    let nobody = AccountCommand::Update { accounts: vec!["7".to_owned()] };
    let error = text(home.run(&nobody, "", "").0);
    assert_eq!(error, "Failed to unlock account 7: index 7 higher than number of accounts 1");
}

#[test]
fn unlocks_at_start_unless_strangers_could_use_it() {
    let home = Home::new();
    let key_file = home.file("key", ONE).into();
    home.run(&AccountCommand::Import { key_file }, "", "pw\npw\n").0.unwrap();
    let password = home.file("password", "pw\n");
    let flags = format!("--unlock 0 --password {password}");
    let (result, output) = home.unlock(&flags, "");
    result.unwrap();
    assert_eq!(output, "");
    let (result, output) = home.unlock("--unlock 0", "pw\n");
    result.unwrap();
    assert!(output.starts_with("Unlocking account 0 | Attempt 1/3\n"), "{output}");
    let forbidden = text(home.unlock(&format!("{flags} --rpc"), "").0);
    assert_eq!(forbidden, "Account unlock with HTTP access is forbidden!");
    home.unlock(&format!("{flags} --rpc --allow-insecure-unlock"), "").0.unwrap();
    home.unlock("", "").0.unwrap();
}

#[test]
fn makes_a_miners_account_once_and_can_open_it() {
    let home = Home::new();
    let config = home.config("");
    let ensure = || ensure_account(&config.paths, &config.accounts, UNIX_EPOCH).unwrap();
    let account = ensure();
    assert_eq!(ensure(), account);
    let file = config.paths.hematite.join("miner-password");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let password = fs::read_to_string(&file).unwrap();
    assert_eq!(password.len(), 64);
    assert!(home.keystore().sign_hash_with_password(0, &password, [0; 32].into()).is_ok());
}

#[test]
fn takes_up_a_miners_password_that_was_left_without_a_key() {
    let home = Home::new();
    let config = home.config("");
    let file = config.paths.hematite.join("miner-password");
    let ensure = || ensure_account(&config.paths, &config.accounts, UNIX_EPOCH);
    accounts::store_privately(&file, b"").unwrap();
    assert!(ensure().unwrap_err().to_string().ends_with("write a password into it"));
    accounts::store_privately(&file, b"left over").unwrap();
    ensure().unwrap();
    assert!(home.keystore().sign_hash_with_password(0, "left over", [0; 32].into()).is_ok());
}

#[test]
fn pays_the_account_that_is_named_or_the_first() {
    let home = Home::new();
    let paid = |flags: &str| beneficiary(&home.config(flags).mining, &home.keystore());
    assert_eq!(paid("").unwrap(), None);
    assert_eq!(paid("--miner.etherbase 0").unwrap(), None);
    let key_file = home.file("key", ONE).into();
    home.run(&AccountCommand::Import { key_file }, "", "\n\n").0.unwrap();
    let one: Address = ONES_ADDRESS.parse().unwrap();
    assert_eq!(paid("").unwrap(), Some(one));
    assert_eq!(paid("--miner.etherbase=0").unwrap(), Some(one));
    let stranger = Address::repeat_byte(9);
    assert_eq!(paid(&format!("--etherbase {stranger}")).unwrap(), Some(stranger));
    assert_eq!(
        paid("--miner.etherbase 1").unwrap_err().to_string(),
        "Invalid miner etherbase: index 1 higher than number of accounts 1"
    );
}
