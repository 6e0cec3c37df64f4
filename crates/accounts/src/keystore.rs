//! Every key of a node: found by address or by place, opened by password, lent for a while.

use std::{
    collections::HashMap,
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use alloy_consensus::{SignableTransaction, Signed};
use primitives::{Address, B256, Signature, hex};

use crate::{
    Secret,
    civil::file_name,
    directory::{self, Candidate},
    kdf::Kdf,
    key_file::{self, KeyFile, KeyFileError},
};

/// An account whose key is in the keystore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its address, as the key file claims it; proven when the file is decrypted.
    pub address: Address,
    /// The full path of the key file.
    pub path: PathBuf,
}

/// How a person names an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    /// By address.
    Address(Address),
    /// By place, from 0, among all accounts sorted by full path. With geth's file names that is
    /// the order in which they were made.
    Index(usize),
}

/// Why the keystore cannot do what it was asked. The texts are geth's where geth has them.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The password does not open the key.
    #[error("could not decrypt key with given password")]
    Password,
    /// No key file claims this address.
    #[error("no key for given address or file")]
    NoMatch,
    /// Several key files claim this address.
    #[error("multiple keys match address ({})", joined(paths))]
    Ambiguous {
        /// The files, in the order of their paths.
        paths: Vec<PathBuf>,
    },
    /// There is no account with this index.
    #[error("index {index} higher than number of accounts {count}")]
    Index {
        /// The index asked for.
        index: usize,
        /// How many accounts there are.
        count: usize,
    },
    /// Neither an address nor an index.
    #[error("invalid account address or index {text:?}")]
    Selector {
        /// What was given, at most 64 characters of it.
        text: String,
    },
    /// The key that is to be imported is already here.
    #[error("account already exists")]
    AlreadyExists,
    /// The account is not unlocked, and no password was given.
    #[error("authentication needed: password or unlock")]
    Locked,
    /// The file holds the key of another account than it claims.
    #[error("key content mismatch: have account {actual}, want {claimed}")]
    Mismatch {
        /// The account whose key the file holds.
        actual: Address,
        /// The account that the file claims to be for.
        claimed: Address,
    },
    /// The file is damaged, or of a kind that nobody writes.
    #[error("{path} is not a usable key file")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyFileError,
    },
    /// The file, or the directory, cannot be read or written.
    #[error("cannot access {path}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// A directory of key files, and the keys decrypted at the moment.
///
/// Changes of the directory are seen at once, whoever makes them. Opening a key takes as long as
/// its file asks (a second for geth's), and one is opened at a time, for each may take 256 MiB:
/// call it where blocking is allowed.
pub struct Keystore {
    directory: PathBuf,
    /// What the last scan found, so that unchanged files are not read again.
    scanned: Mutex<Arc<HashMap<PathBuf, Scanned>>>,
    unlocked: Mutex<HashMap<Address, Unlocked>>,
    deriving: Mutex<()>,
}

/// A file as it was when it was last read.
struct Scanned {
    candidate: Candidate,
    /// `None` if it is no key file.
    address: Option<Address>,
}

struct Unlocked {
    secret: Secret,
    /// `None` lasts until exit.
    until: Option<Instant>,
}

impl Keystore {
    /// Opens the keystore in a directory, which is made when the first key is written.
    ///
    /// # Errors
    ///
    /// [`KeystoreError::Io`] if there is something else in its place, or it cannot be read.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, KeystoreError> {
        let directory = directory.into();
        // Paths are shown and sorted in full, however the directory was named.
        let directory = std::path::absolute(&directory)
            .map_err(|source| KeystoreError::Io { path: directory, source })?;
        let keystore = Self {
            directory,
            scanned: Mutex::default(),
            unlocked: Mutex::default(),
            deriving: Mutex::default(),
        };
        keystore.scan()?;
        Ok(keystore)
    }

    /// The directory of the key files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// All accounts, in the order of their files' paths. An unreadable directory has none, and a
    /// line in the log.
    #[must_use]
    pub fn accounts(&self) -> Vec<Account> {
        self.scan().unwrap_or_else(|error| {
            tracing::warn!(directory = %self.directory.display(), %error, "Keystore unreadable");
            Vec::new()
        })
    }

    /// The account that is meant.
    ///
    /// # Errors
    ///
    /// [`KeystoreError::NoMatch`], [`KeystoreError::Ambiguous`] or [`KeystoreError::Index`] if it
    /// is not exactly one; [`KeystoreError::Io`] if the directory cannot be read.
    pub fn find(&self, selector: impl Into<Selector>) -> Result<Account, KeystoreError> {
        let mut accounts = self.scan()?;
        let address = match selector.into() {
            Selector::Address(address) => address,
            Selector::Index(index) if index < accounts.len() => {
                return Ok(accounts.swap_remove(index));
            }
            Selector::Index(index) => {
                return Err(KeystoreError::Index { index, count: accounts.len() });
            }
        };
        accounts.retain(|account| account.address == address);
        match accounts.len() {
            0 => Err(KeystoreError::NoMatch),
            1 => Ok(accounts.remove(0)),
            _ => {
                let paths = accounts.into_iter().map(|account| account.path).collect();
                Err(KeystoreError::Ambiguous { paths })
            }
        }
    }

    /// Makes a new key and stores it. `created` goes into the file's name.
    ///
    /// # Errors
    ///
    /// [`KeystoreError::Io`] if it cannot be written; then there is no file.
    pub fn create(
        &self,
        password: &str,
        kdf: Kdf,
        created: SystemTime,
    ) -> Result<Account, KeystoreError> {
        self.store(&Secret::random(), password, kdf, created)
    }

    /// Stores a key made elsewhere. `created` goes into the file's name.
    ///
    /// # Errors
    ///
    /// [`KeystoreError::AlreadyExists`] if a file claims its address already;
    /// [`KeystoreError::Io`] if it cannot be written.
    pub fn import(
        &self,
        secret: &Secret,
        password: &str,
        kdf: Kdf,
        created: SystemTime,
    ) -> Result<Account, KeystoreError> {
        let address = secret.address();
        if self.scan()?.iter().any(|account| account.address == address) {
            return Err(KeystoreError::AlreadyExists);
        }
        self.store(secret, password, kdf, created)
    }

    /// Gives an account's key a new password. The old file stays until the new one is in its place.
    ///
    /// # Errors
    ///
    /// Those of [`Self::find`]; [`KeystoreError::Password`] if `old` does not open it;
    /// [`KeystoreError::KeyFile`] and [`KeystoreError::Io`] as they say.
    pub fn update(
        &self,
        selector: impl Into<Selector>,
        old: &str,
        new: &str,
        kdf: Kdf,
    ) -> Result<Account, KeystoreError> {
        let account = self.find(selector)?;
        let secret = self.decrypt(&account, old)?;
        self.write(&account, &secret, new, kdf)?;
        Ok(account)
    }

    /// Decrypts an account's key and keeps it for `lease`; [`Duration::ZERO`] keeps it until exit.
    ///
    /// A lease replaces an earlier one, except one until exit, which stays.
    ///
    /// # Errors
    ///
    /// As [`Self::update`].
    pub fn unlock(
        &self,
        selector: impl Into<Selector>,
        password: &str,
        lease: Duration,
        now: Instant,
    ) -> Result<Account, KeystoreError> {
        let account = self.find(selector)?;
        let secret = self.decrypt(&account, password)?;
        // A lease too long for the clock lasts until exit.
        let until = if lease.is_zero() { None } else { now.checked_add(lease) };
        let mut unlocked = locked(&self.unlocked);
        let for_ever = unlocked.get(&account.address).is_some_and(|held| held.until.is_none());
        if !for_ever {
            unlocked.insert(account.address, Unlocked { secret, until });
        }
        Ok(account)
    }

    /// Forgets an account's decrypted key, if there is one.
    pub fn lock(&self, address: Address) {
        locked(&self.unlocked).remove(&address);
    }

    /// Forgets every key whose lease is over at `now`. Whoever owns the keystore calls this about
    /// once a second, so that no key outlives its lease unused.
    pub fn expire(&self, now: Instant) {
        locked(&self.unlocked).retain(|_, held| held.until.is_none_or(|until| now < until));
    }

    /// Whether an account's key is decrypted at `now`.
    #[must_use]
    pub fn is_unlocked(&self, address: Address, now: Instant) -> bool {
        self.expire(now);
        locked(&self.unlocked).contains_key(&address)
    }

    /// Signs a hash with the key of an unlocked account.
    ///
    /// # Errors
    ///
    /// [`KeystoreError::Locked`] if its lease is over or never began, or
    /// [`KeystoreError::NoMatch`] if there is no such account.
    pub fn sign_hash(
        &self,
        address: Address,
        hash: B256,
        now: Instant,
    ) -> Result<Signature, KeystoreError> {
        self.expire(now);
        let secret = locked(&self.unlocked).get(&address).map(|held| held.secret.clone());
        match secret {
            Some(secret) => Ok(secret.sign(hash)),
            None if self.scan()?.iter().any(|account| account.address == address) => {
                Err(KeystoreError::Locked)
            }
            None => Err(KeystoreError::NoMatch),
        }
    }

    /// Signs a hash with a key that is decrypted for this one signature.
    ///
    /// # Errors
    ///
    /// As [`Self::update`].
    pub fn sign_hash_with_password(
        &self,
        selector: impl Into<Selector>,
        password: &str,
        hash: B256,
    ) -> Result<Signature, KeystoreError> {
        let account = self.find(selector)?;
        Ok(self.decrypt(&account, password)?.sign(hash))
    }

    /// Signs a transaction with the key of an unlocked account. A legacy transaction without a
    /// chain id is signed unprotected: the caller decides.
    ///
    /// # Errors
    ///
    /// As [`Self::sign_hash`].
    pub fn sign_transaction<T: SignableTransaction<Signature>>(
        &self,
        address: Address,
        transaction: T,
        now: Instant,
    ) -> Result<Signed<T>, KeystoreError> {
        let signature = self.sign_hash(address, transaction.signature_hash(), now)?;
        Ok(transaction.into_signed(signature))
    }

    fn scan(&self) -> Result<Vec<Account>, KeystoreError> {
        let candidates = directory::candidates(&self.directory)
            .map_err(|source| KeystoreError::Io { path: self.directory.clone(), source })?;
        let before = Arc::clone(&locked(&self.scanned));
        let mut scanned = HashMap::with_capacity(candidates.len());
        let mut accounts = Vec::new();
        for candidate in candidates {
            let known = before.get(&candidate.path).filter(|known| known.candidate == candidate);
            let address = match known {
                Some(known) => known.address,
                None => claimed_address(&candidate),
            };
            if let Some(address) = address {
                accounts.push(Account { address, path: candidate.path.clone() });
            }
            scanned.insert(candidate.path.clone(), Scanned { candidate, address });
        }
        *locked(&self.scanned) = Arc::new(scanned);
        Ok(accounts)
    }

    fn decrypt(&self, account: &Account, password: &str) -> Result<Secret, KeystoreError> {
        let content = directory::read(&account.path)
            .map_err(|source| KeystoreError::Io { path: account.path.clone(), source })?;
        self.decrypt_content(account, &content, password)
    }

    fn decrypt_content(
        &self,
        account: &Account,
        content: &[u8],
        password: &str,
    ) -> Result<Secret, KeystoreError> {
        let file = KeyFile::parse(content).map_err(|error| account.at_fault(error))?;
        let one_at_a_time = locked(&self.deriving);
        let secret = file.decrypt(password).map_err(|error| account.at_fault(error))?;
        drop(one_at_a_time);
        let actual = secret.address();
        if actual == account.address {
            Ok(secret)
        } else {
            Err(KeystoreError::Mismatch { actual, claimed: account.address })
        }
    }

    fn store(
        &self,
        secret: &Secret,
        password: &str,
        kdf: Kdf,
        created: SystemTime,
    ) -> Result<Account, KeystoreError> {
        let address = secret.address();
        let account = Account { address, path: self.directory.join(file_name(created, address)) };
        self.write(&account, secret, password, kdf)?;
        tracing::info!(%address, path = %account.path.display(), "Stored account key");
        Ok(account)
    }

    fn write(
        &self,
        account: &Account,
        secret: &Secret,
        password: &str,
        kdf: Kdf,
    ) -> Result<(), KeystoreError> {
        let one_at_a_time = locked(&self.deriving);
        let content = key_file::encrypt(secret, password, &kdf.derivation());
        drop(one_at_a_time);
        directory::place(&account.path, content.as_bytes(), |read_back| {
            self.decrypt_content(account, read_back, password).map(drop).map_err(PlaceError::Verify)
        })
        .map_err(|error| match error {
            PlaceError::Io(source) => KeystoreError::Io { path: account.path.clone(), source },
            PlaceError::Verify(error) => error,
        })
    }
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keystore").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Account {
    fn at_fault(&self, error: KeyFileError) -> KeystoreError {
        match error {
            KeyFileError::Password => KeystoreError::Password,
            source => KeystoreError::KeyFile { path: self.path.clone(), source },
        }
    }
}

impl From<Address> for Selector {
    fn from(address: Address) -> Self {
        Self::Address(address)
    }
}

impl From<usize> for Selector {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl FromStr for Selector {
    type Err = KeystoreError;

    /// As geth reads `--unlock` and `--miner.etherbase`: 40 hex digits, with or without `0x`, are
    /// an address whatever their case; anything else is a decimal index.
    fn from_str(text: &str) -> Result<Self, KeystoreError> {
        let mut address = [0; 20];
        if hex::decode_to_slice(text, &mut address).is_ok() {
            return Ok(Self::Address(address.into()));
        }
        let error = || KeystoreError::Selector { text: text.chars().take(64).collect() };
        text.parse().map(Self::Index).map_err(|_| error())
    }
}

/// Why a file could not be put in place.
enum PlaceError {
    Io(io::Error),
    Verify(KeystoreError),
}

impl From<io::Error> for PlaceError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn claimed_address(candidate: &Candidate) -> Option<Address> {
    let path = candidate.path.display();
    let content = directory::read(&candidate.path)
        .inspect_err(|error| tracing::warn!(%path, %error, "Skipped unreadable key file"));
    key_file::address_of(&content.ok()?)
        .inspect_err(|error| tracing::warn!(%path, %error, "Skipped what is no key file"))
        .ok()
}

/// Takes a lock. The maps behind our locks are whole at every moment, so a panic elsewhere while
/// one was held does not matter.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn joined(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
