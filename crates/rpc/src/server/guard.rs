//! Who may ask over HTTP and WebSocket: everybody, or who proves to know a secret.
//!
//! Tokens are those of geth's `--authrpc.jwtsecret`: HS256, issued within a minute of now, and
//! refused in geth's words. Nothing here is shown or logged but such words.

mod logins;
mod token;
mod tries;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE},
};
use http_body_util::Full;
use hyper::body::Bytes;

use super::http::plain;
pub use logins::{LOGINS_MAX, Logins, LoginsError};
pub use token::{TOKEN_SECONDS_MAX, TokenSecret, TokenSecretError};
use tries::Tries;
pub use tries::{TRIED_ADDRESSES_MAX, TRIES_PER_SECOND_MAX};

/// What is asked of whoever asks. The default asks nothing; if there are two ways, either will do.
#[derive(Debug, Clone, Default)]
pub struct Guard(Arc<Ways>);

#[derive(Debug, Default)]
struct Ways {
    token: Option<TokenSecret>,
    logins: Option<Logins>,
    tries: Tries,
}

/// Why somebody may not ask, in words for people.
type Reason = &'static str;

impl Guard {
    /// Lets in who has a token made with the secret, or one of the logins; everybody, if there is
    /// neither.
    #[must_use]
    pub fn new(token: Option<TokenSecret>, logins: Option<Logins>) -> Self {
        Self(Arc::new(Ways { token, logins, tries: Tries::default() }))
    }

    /// Whether everybody may ask.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.token.is_none() && self.0.logins.is_none()
    }

    /// Lets a request pass, or gives what is answered instead.
    pub(crate) fn admit(
        &self,
        headers: &HeaderMap,
        from: IpAddr,
    ) -> Result<(), Box<Response<Full<Bytes>>>> {
        if self.is_open() {
            return Ok(());
        }
        let now = Instant::now();
        // Nobody guesses a token, and whoever has one need not suffer for a neighbour's guesses.
        if is_of("Basic", given(headers)) && !self.0.tries.may(from, now) {
            return Err(Box::new(too_many()));
        }
        let Err(reason) = self.check(headers, SystemTime::now()) else { return Ok(()) };
        tracing::debug!(reason, "Refused request");
        let has_tried = headers.contains_key(AUTHORIZATION);
        let may_go_on = !has_tried || self.0.tries.failed(from, now);
        Err(Box::new(if may_go_on { self.refusal(reason) } else { too_many() }))
    }

    fn check(&self, headers: &HeaderMap, now: SystemTime) -> Result<(), Reason> {
        if self.is_open() {
            return Ok(());
        }
        let given = given(headers);
        match (&self.0.token, &self.0.logins) {
            (_, Some(logins)) if is_of("Basic", given) => logins.check(value(given)),
            (Some(token), _) if is_of("Bearer", given) => token.check(value(given), now),
            (Some(_), _) => Err("missing token"),
            (None, _) => Err("missing user and password"),
        }
    }

    fn refusal(&self, reason: Reason) -> Response<Full<Bytes>> {
        let mut response = plain(StatusCode::UNAUTHORIZED, reason);
        let ways = [
            (self.0.token.is_some(), "Bearer"),
            (self.0.logins.is_some(), "Basic realm=\"hematite\", charset=\"UTF-8\""),
        ];
        for (_, way) in ways.into_iter().filter(|(is_there, _)| *is_there) {
            response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(way));
        }
        response
    }
}

fn too_many() -> Response<Full<Bytes>> {
    let mut response = plain(StatusCode::TOO_MANY_REQUESTS, "too many wrong secrets, try again");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// What a request says to prove who it is from.
fn given(headers: &HeaderMap) -> &[u8] {
    headers.get(AUTHORIZATION).map_or(b"", HeaderValue::as_bytes)
}

/// Whether a header's value begins with the name of a scheme (RFC 9110, 11.4).
fn is_of(scheme: &str, given: &[u8]) -> bool {
    let name = given.split(|byte| *byte == b' ').next().unwrap_or_default();
    name.len() < given.len() && name.eq_ignore_ascii_case(scheme.as_bytes())
}

/// What follows the name of the scheme.
fn value(given: &[u8]) -> &[u8] {
    let at = given.iter().position(|byte| *byte == b' ').unwrap_or(given.len());
    given[at..].trim_ascii()
}

#[cfg(test)]
mod tests;
