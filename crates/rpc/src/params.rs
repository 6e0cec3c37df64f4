//! Parameters by position, refused with geth's texts.

use serde_json::value::RawValue;

use crate::error::ArgumentError;

/// Reads one parameter; the error is the reason in the client's words.
pub(crate) type Parse<T> = fn(&RawValue) -> Result<T, String>;

/// The parameters of one call, taken one after the other.
#[derive(Debug)]
pub(crate) struct Params<'a> {
    values: Vec<&'a RawValue>,
    next: usize,
}

impl<'a> Params<'a> {
    /// Splits `params`. Absent and `null` mean none.
    pub(crate) fn new(raw: Option<&'a str>) -> Result<Self, ArgumentError> {
        let values = match raw.unwrap_or("null") {
            "null" => Vec::new(),
            text => serde_json::from_str(text).map_err(|_| ArgumentError::NotAnArray)?,
        };
        Ok(Self { values, next: 0 })
    }

    /// The next parameter, which must be there.
    pub(crate) fn required<T>(&mut self, parse: Parse<T>) -> Result<T, ArgumentError> {
        let index = self.next;
        self.optional(parse)?.ok_or(ArgumentError::Missing(index))
    }

    /// The next parameter; absent and `null` are `None`.
    pub(crate) fn optional<T>(&mut self, parse: Parse<T>) -> Result<Option<T>, ArgumentError> {
        let index = self.next;
        self.next += 1;
        match self.values.get(index) {
            None => Ok(None),
            Some(value) if value.get() == "null" => Ok(None),
            Some(value) => {
                parse(value).map(Some).map_err(|reason| ArgumentError::Invalid { index, reason })
            }
        }
    }

    /// Refuses parameters beyond those taken.
    pub(crate) fn end(&self) -> Result<(), ArgumentError> {
        if self.values.len() > self.next { Err(ArgumentError::TooMany(self.next)) } else { Ok(()) }
    }
}
