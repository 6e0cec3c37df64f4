//! What reads a stranger's bytes, as a plain function. Tests only.

use primitives::Address;

use crate::{
    KeyFileError,
    key_file::{KeyFile, address_of},
};

/// Reads a key file as far as that goes without its password. The address it claims.
///
/// # Errors
///
/// If it is none.
pub fn read_key_file(content: &[u8]) -> Result<Address, KeyFileError> {
    KeyFile::parse(content)?;
    address_of(content)
}
