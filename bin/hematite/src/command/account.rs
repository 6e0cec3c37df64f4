//! `account new`, `list`, `import`, `update`, with geth's prompts and answers; and the accounts a
//! node needs when it starts.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufRead, IsTerminal, Read, Write},
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use accounts::{Account, Keystore, KeystoreError, Secret, Selector};
use eyre::{Result, WrapErr, bail, ensure, eyre};
use primitives::Address;
use rand::{TryRngCore, rngs::OsRng};
use zeroize::Zeroizing;

use crate::{
    args::AccountCommand,
    config::{Accounts, Config, Mining, Paths},
};

/// How often a password is asked for.
const ATTEMPTS_MAX: usize = 3;
/// Most bytes of a line that is typed, and of a file with a private key.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// What is said before a new password is asked for.
const NEW_PASSWORD: &str = "Your new account is locked with a password. Please give a password. \
                            Do not forget this password.";

/// A person, or a script in a person's place.
pub struct Dialogue<'a> {
    /// Where answers come from.
    input: Input<'a>,
    /// Where prompts and results go.
    output: &'a mut dyn Write,
    /// Whether it was already said that passwords are echoed.
    warned: bool,
}

enum Input<'a> {
    /// A terminal, which hides what is typed.
    Terminal,
    /// Anything else: one line for each question.
    Lines(&'a mut dyn BufRead),
}

impl std::fmt::Debug for Dialogue<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialogue").field("warned", &self.warned).finish_non_exhaustive()
    }
}

impl<'a> Dialogue<'a> {
    /// With somebody at a terminal, whose passwords are not shown.
    pub fn terminal(output: &'a mut dyn Write) -> Self {
        Self { input: Input::Terminal, output, warned: false }
    }

    /// With lines from a pipe or a file, one for each question.
    pub fn lines(input: &'a mut dyn BufRead, output: &'a mut dyn Write) -> Self {
        Self { input: Input::Lines(input), output, warned: false }
    }

    /// Asks for a password after saying why, and again if it is new.
    fn password(&mut self, why: &str, is_new: bool) -> Result<Zeroizing<String>> {
        writeln!(self.output, "{why}")?;
        let password = self.ask("Password: ").wrap_err("Failed to read password")?;
        if is_new {
            let again =
                self.ask("Repeat password: ").wrap_err("Failed to read password confirmation")?;
            ensure!(*password == *again, "Passwords do not match");
        }
        Ok(password)
    }

    fn ask(&mut self, prompt: &str) -> Result<Zeroizing<String>> {
        let lines = match &mut self.input {
            Input::Terminal => {
                self.output.flush()?;
                return Ok(Zeroizing::new(rpassword::prompt_password(prompt)?));
            }
            Input::Lines(lines) => lines,
        };
        if !self.warned {
            writeln!(self.output, "!! Unsupported terminal, password will be echoed.")?;
            self.warned = true;
        }
        write!(self.output, "{prompt}")?;
        self.output.flush()?;
        let mut line = Zeroizing::new(String::new());
        let read = lines.take(LINE_BYTES_MAX).read_line(&mut line)?;
        ensure!(read > 0, "EOF");
        writeln!(self.output)?;
        let end = line.trim_end_matches('\n').trim_end_matches('\r').len();
        line.truncate(end);
        Ok(line)
    }
}

/// Does what the command says. `now` goes into the names of new key files.
///
/// # Errors
///
/// With geth's texts.
pub fn run(
    command: &AccountCommand,
    config: &Config,
    dialogue: &mut Dialogue<'_>,
    now: SystemTime,
) -> Result<()> {
    let keystore = Keystore::open(&config.paths.keystore)?;
    match command {
        AccountCommand::List => list(&keystore, dialogue),
        AccountCommand::New => new(&keystore, &config.accounts, dialogue, now),
        AccountCommand::Import { key_file } => {
            import(&keystore, &config.accounts, dialogue, now, key_file)
        }
        AccountCommand::Update { accounts } => {
            accounts.iter().try_for_each(|text| update(&keystore, config, dialogue, text))
        }
    }
}

/// Unlocks the accounts of `--unlock` until exit. Passwords come from `--password`, or are asked
/// for.
///
/// # Errors
///
/// If an account cannot be unlocked, or RPC can be reached over HTTP and nobody allowed that.
pub fn unlock(
    config: &Config,
    keystore: &Keystore,
    dialogue: &mut Dialogue<'_>,
    now: Instant,
) -> Result<()> {
    if config.accounts.unlock.is_empty() {
        return Ok(());
    }
    let over_http = config.http.is_some() || config.ws.is_some();
    ensure!(
        !over_http || config.accounts.allow_insecure_unlock,
        "Account unlock with HTTP access is forbidden!"
    );
    let passwords = config.accounts.passwords()?;
    for (index, text) in config.accounts.unlock.iter().enumerate() {
        let given = passwords.get(index).or(passwords.last());
        let open = |account: &Account, password: &str| {
            keystore.unlock(account.address, password, Duration::ZERO, now).map(drop)
        };
        let (account, _) = opened(keystore, dialogue, text, given, open)?;
        tracing::info!(address = %account.address, "Unlocked account");
    }
    Ok(())
}

/// As [`unlock`], with whoever is at the terminal or the pipe.
///
/// # Errors
///
/// As [`unlock`].
pub fn unlock_at_start(config: &Config, keystore: &Keystore) -> Result<()> {
    let (mut input, mut out) = (io::stdin().lock(), io::stdout().lock());
    let dialogue = &mut if io::stdin().is_terminal() {
        Dialogue::terminal(&mut out)
    } else {
        Dialogue::lines(&mut input, &mut out)
    };
    unlock(config, keystore, dialogue, Instant::now())
}

/// Who is paid for blocks: the account of `--miner.etherbase`, which may be an index, or the first
/// account. `None` if there is none.
///
/// # Errors
///
/// If the index is too high, or the text is neither address nor index.
pub fn beneficiary(mining: &Mining, keystore: &Keystore) -> Result<Option<Address>> {
    let Some(text) = &mining.etherbase else {
        return Ok(keystore.accounts().first().map(|account| account.address));
    };
    let address = match text.parse() {
        Ok(Selector::Address(address)) => Ok(address),
        // geth's default is index 0, and no account is no error until somebody mines.
        Ok(Selector::Index(0)) if keystore.accounts().is_empty() => return Ok(None),
        Ok(index) => keystore.find(index).map(|account| account.address),
        Err(error) => Err(error),
    };
    address.map(Some).map_err(|error| eyre!("Invalid miner etherbase: {error}"))
}

/// The first account, or a new one if there is none: a miner has to be paid somehow.
///
/// The new one's password is random and kept in `hematite/miner-password` (0600) in the data
/// directory, written before the key, so that no key is ever without it.
///
/// # Errors
///
/// If the key or the password cannot be written.
pub fn ensure_account(paths: &Paths, accounts: &Accounts, now: SystemTime) -> Result<Account> {
    let keystore = Keystore::open(&paths.keystore)?;
    if let Some(account) = keystore.accounts().into_iter().next() {
        return Ok(account);
    }
    let file = paths.hematite.join("miner-password");
    let shown = file.display();
    let password = match read_line(&file) {
        // Left by a start that ended before the key was written.
        Ok(password) if !password.is_empty() => password,
        Ok(_) => bail!("{shown} is empty; remove it, or write a password into it"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let password = random_password();
            accounts::store_privately(&file, password.as_bytes())
                .wrap_err_with(|| format!("cannot write {shown}"))?;
            password
        }
        Err(error) => return Err(error).wrap_err_with(|| format!("cannot read {shown}")),
    };
    let account = keystore.create(&password, accounts.kdf, now)?;
    tracing::info!(address = %account.address, password_file = %shown, "Made a miner's account");
    Ok(account)
}

fn list(keystore: &Keystore, dialogue: &mut Dialogue<'_>) -> Result<()> {
    for (index, account) in keystore.accounts().into_iter().enumerate() {
        let address = hex::encode(account.address);
        let path = account.path.display();
        writeln!(dialogue.output, "Account #{index}: {{{address}}} keystore://{path}")?;
    }
    Ok(())
}

fn new(
    keystore: &Keystore,
    config: &Accounts,
    dialogue: &mut Dialogue<'_>,
    now: SystemTime,
) -> Result<()> {
    let password = new_password(config, dialogue)?;
    let account =
        keystore.create(&password, config.kdf, now).wrap_err("Failed to create account")?;
    writeln!(
        dialogue.output,
        "\nYour new key was generated\n\n\
         Public address of the key:   {}\n\
         Path of the secret key file: {}\n\n\
         - You can share your public address with anyone. Others need it to interact with you.\n\
         - You must NEVER share the secret key with anyone! The key controls access to your funds!\n\
         - You must BACKUP your key file! Without the key, it's impossible to access account funds!\n\
         - You must REMEMBER your password! Without the password, it's impossible to decrypt the key!\n",
        account.address,
        account.path.display(),
    )?;
    Ok(())
}

fn import(
    keystore: &Keystore,
    config: &Accounts,
    dialogue: &mut Dialogue<'_>,
    now: SystemTime,
    key_file: &Path,
) -> Result<()> {
    let text = read_line(key_file).wrap_err("Failed to load the private key")?;
    let secret = Secret::from_hex(&text).wrap_err("Failed to load the private key")?;
    let password = new_password(config, dialogue)?;
    let account = keystore
        .import(&secret, &password, config.kdf, now)
        .wrap_err("Could not create the account")?;
    writeln!(dialogue.output, "Address: {{{}}}", hex::encode(account.address))?;
    Ok(())
}

fn update(
    keystore: &Keystore,
    config: &Config,
    dialogue: &mut Dialogue<'_>,
    text: &str,
) -> Result<()> {
    let open = |account: &Account, password: &str| {
        keystore.sign_hash_with_password(account.address, password, [0; 32].into()).map(drop)
    };
    let (account, old) = opened(keystore, dialogue, text, None, open)?;
    let why = "Please give a new password. Do not forget this password.";
    let new = dialogue.password(why, true)?;
    keystore
        .update(account.address, &old, &new, config.accounts.kdf)
        .wrap_err("Could not update the account")?;
    Ok(())
}

/// The password for a new key: the first line of the password file, or what is typed.
fn new_password(config: &Accounts, dialogue: &mut Dialogue<'_>) -> Result<Zeroizing<String>> {
    match config.passwords()?.into_iter().next() {
        Some(password) => Ok(password),
        None => dialogue.password(NEW_PASSWORD, true),
    }
}

/// Finds an account and the password that opens it: the one given, or what is typed in at most
/// three attempts.
fn opened(
    keystore: &Keystore,
    dialogue: &mut Dialogue<'_>,
    text: &str,
    given: Option<&Zeroizing<String>>,
    open: impl Fn(&Account, &str) -> Result<(), KeystoreError>,
) -> Result<(Account, Zeroizing<String>)> {
    let selector: Selector = text.parse().wrap_err("Could not list accounts")?;
    let account = keystore
        .find(selector)
        .map_err(|error| eyre!(error).wrap_err(format!("Failed to unlock account {text}")))?;
    let attempts = if given.is_some() { 1 } else { ATTEMPTS_MAX };
    for attempt in 1..=attempts {
        let password = match given {
            Some(password) => password.clone(),
            None => {
                let why = format!("Unlocking account {text} | Attempt {attempt}/{ATTEMPTS_MAX}");
                dialogue.password(&why, false)?
            }
        };
        match open(&account, &password) {
            Ok(()) => return Ok((account, password)),
            Err(KeystoreError::Password) if attempt < attempts => {}
            Err(error) => {
                let why = format!("Failed to unlock account {text} ({error})");
                return Err(eyre!(error).wrap_err(why));
            }
        }
    }
    unreachable!("the last attempt returns")
}

/// A file's text, of which no more than a line is expected, without the space around it.
fn read_line(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    if fs::metadata(path)?.len() > LINE_BYTES_MAX {
        return Err(io::Error::other("the file is too large"));
    }
    File::open(path)?.take(LINE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// 256 bits of randomness, as hex.
fn random_password() -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    OsRng.try_fill_bytes(&mut *bytes).expect("the operating system has randomness");
    let mut password = Zeroizing::new(String::with_capacity(64));
    for byte in bytes.iter() {
        write!(password, "{byte:02x}").expect("writing to a string cannot fail");
    }
    password
}

#[cfg(test)]
mod tests;
