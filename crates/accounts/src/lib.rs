//! Keys at rest: a directory of encrypted key files, and signatures made with them.
//!
//! Knows no clock and no chain: time comes in as an argument, and what is signed is a hash or a
//! transaction. A key is decrypted for one signature, or for a lease that the caller asked for;
//! nothing here prints one. The main type is [`Keystore`].
//!
//! ```
//! # use std::time::SystemTime;
//! # let parent = std::env::temp_dir().join(format!("accounts-doc-{}", std::process::id()));
//! let keystore = accounts::Keystore::open(parent.join("keystore"))?;
//! let account = keystore.create("a password", accounts::Kdf::Light, SystemTime::now())?;
//! assert_eq!(keystore.accounts(), [account]);
//! # std::fs::remove_dir_all(parent).unwrap();
//! # Ok::<(), accounts::KeystoreError>(())
//! ```

mod civil;
mod directory;
mod kdf;
mod key_file;
mod keystore;
mod scrypt_small_r;
mod secret;
#[cfg(feature = "testing")]
pub mod testing;

pub use directory::store_privately;
pub use kdf::Kdf;
pub use key_file::KeyFileError;
pub use keystore::{Account, Keystore, KeystoreError, Selector};
pub use secret::{Secret, SecretError};
