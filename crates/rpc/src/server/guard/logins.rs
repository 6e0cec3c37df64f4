//! Users and passwords, as HTTP's basic scheme sends them (RFC 7617).

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::Reason;

/// Logins of one file.
pub const LOGINS_MAX: usize = 1_000;

/// Who may ask. Of each there is only a digest: they are equally long, so that comparing them tells
/// nothing of a length either.
#[derive(Clone)]
pub struct Logins(Vec<[u8; 32]>);

/// What is wrong with a list of logins. It shows nothing of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginsError {
    /// A line is of another form.
    #[error("line {0} is not of the form user:password")]
    Line(usize),
    /// Nobody could ask.
    #[error("it is empty; each line is user:password")]
    Empty,
    /// Each of them is compared with every request's.
    #[error("it has more than {LOGINS_MAX} logins")]
    TooMany,
}

impl Logins {
    /// Reads `user:password`, one a line; empty lines are none.
    ///
    /// # Errors
    ///
    /// With the number of the line at fault.
    pub fn parse(text: &str) -> Result<Self, LoginsError> {
        let mut digests = Vec::new();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let (user, password) = line.split_once(':').ok_or(LoginsError::Line(number))?;
            if user.is_empty() || password.is_empty() {
                return Err(LoginsError::Line(number));
            }
            if digests.len() == LOGINS_MAX {
                return Err(LoginsError::TooMany);
            }
            digests.push(digest(line.as_bytes()));
        }
        if digests.is_empty() { Err(LoginsError::Empty) } else { Ok(Self(digests)) }
    }

    /// All are compared, whichever fits.
    pub(super) fn check(&self, given: &[u8]) -> Result<(), Reason> {
        let given = BASE64_STANDARD.decode(given).map_err(|_| "malformed user and password")?;
        let given = digest(&given);
        let fits = |known: &[u8; 32]| known.ct_eq(&given);
        let found = self.0.iter().map(fits).fold(Choice::from(0), |found, fits| found | fits);
        if bool::from(found) { Ok(()) } else { Err("wrong user or password") }
    }
}

fn digest(login: &[u8]) -> [u8; 32] {
    Sha256::digest(login).into()
}

impl fmt::Debug for Logins {
    /// How many there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Logins({})", self.0.len())
    }
}
