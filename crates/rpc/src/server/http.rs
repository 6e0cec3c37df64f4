//! One HTTP request: who may ask, in what form, and how much.

use std::{net::IpAddr, sync::Arc};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
        CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN, VARY,
    },
};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};

use super::{Guard, Hosts, deadline::Watch, explorer};
use crate::{
    budget::{Budget, Share},
    dispatch::{Dispatcher, Reply},
};

/// Bytes of one request. geth's limit.
pub const BODY_BYTES_MAX: u64 = 5 * 1024 * 1024;
/// Bytes that all request bodies together may hold beyond 64 KiB each.
pub const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long a browser may remember a preflight's answer, in seconds.
const PREFLIGHT_SECONDS: &str = "600";
/// Bodies that are taken for JSON.
const CONTENT_TYPES: [&str; 3] =
    ["application/json", "application/json-rpc", "application/jsonrequest"];

/// What is answered to HTTP requests, shared by all connections of one listener.
#[derive(Debug)]
pub(crate) struct HttpService {
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) guard: Guard,
    pub(crate) hosts: Hosts,
    /// Origins whose pages may read answers. Empty: none.
    pub(crate) origins: Vec<String>,
    /// Where the path has to begin; empty is anywhere.
    pub(crate) prefix: String,
    pub(crate) body_bytes: u64,
    pub(crate) bodies: Arc<Budget>,
    /// Whether browsers get the explorer's pages.
    pub(crate) explorer: bool,
}

/// What a request gets.
enum Answer {
    Json(Option<Reply>),
    Page(Response<Full<Bytes>>),
}

/// Why a request is not answered with JSON.
#[derive(Debug)]
enum Refusal {
    Text(StatusCode, String),
    /// It is not known who asks.
    Unknown(Box<Response<Full<Bytes>>>),
    /// The client went away.
    Gone,
}

impl HttpService {
    /// Answers one request.
    pub(crate) async fn respond(
        &self,
        request: Request<Incoming>,
        from: IpAddr,
        watch: &Watch,
    ) -> Response<Full<Bytes>> {
        let origin = self.allowed_origin(request.headers());
        if origin.is_some() && is_preflight(&request) {
            return preflight(request.headers(), origin);
        }
        let mut response = match self.answer(request, from, watch).await {
            Ok(Answer::Json(answer)) => json(answer),
            Ok(Answer::Page(page)) => page,
            Err(Refusal::Text(status, text)) => plain(status, &text),
            Err(Refusal::Unknown(response)) => *response,
            Err(Refusal::Gone) => plain(StatusCode::BAD_REQUEST, "incomplete body"),
        };
        if !self.origins.is_empty() {
            response.headers_mut().insert(VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(origin) = origin {
            response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        response
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        from: IpAddr,
        watch: &Watch,
    ) -> Result<Answer, Refusal> {
        if !self.allows_host(&request) {
            return Err(Refusal::Text(StatusCode::FORBIDDEN, "invalid host specified".into()));
        }
        if self.explorer
            && let Some(page) = explorer::page(&request)
        {
            // So that a browser asks for the password before the page does.
            self.guard.admit(request.headers(), from).map_err(Refusal::Unknown)?;
            return Ok(Answer::Page(page));
        }
        if !request.uri().path().starts_with(&self.prefix) {
            return Err(Refusal::Text(StatusCode::NOT_FOUND, "404 page not found".into()));
        }
        // Load balancers ask like this whether somebody is home. They learn no more than that, so
        // they need no secret.
        if request.method() == Method::GET
            && request.body().is_end_stream()
            && request.uri().query().is_none()
        {
            return Ok(Answer::Json(None));
        }
        self.guard.admit(request.headers(), from).map_err(Refusal::Unknown)?;
        self.check_form(&request)?;
        watch.reads_body();
        let (body, _share) = self.read(request.into_body()).await?;
        watch.works();
        Ok(Answer::Json(self.dispatcher.reply(&body, None).await))
    }

    /// geth's checks, in geth's order.
    fn check_form(&self, request: &Request<Incoming>) -> Result<(), Refusal> {
        if matches!(*request.method(), Method::PUT | Method::DELETE) {
            return Err(Refusal::Text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed".into()));
        }
        let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        if let Some(length) = declared.and_then(|text| text.parse::<u64>().ok())
            && length > self.body_bytes
        {
            return Err(self.too_large(length));
        }
        if request.method() == Method::OPTIONS {
            return Ok(());
        }
        let content_type =
            request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media = content_type.and_then(|value| value.split(';').next()).unwrap_or("").trim();
        if CONTENT_TYPES.iter().any(|accepted| accepted.eq_ignore_ascii_case(media)) {
            return Ok(());
        }
        let text = "invalid content type, only application/json is supported";
        Err(Refusal::Text(StatusCode::UNSUPPORTED_MEDIA_TYPE, text.into()))
    }

    fn too_large(&self, length: u64) -> Refusal {
        let text = format!("content length too large ({length}>{})", self.body_bytes);
        Refusal::Text(StatusCode::PAYLOAD_TOO_LARGE, text)
    }

    /// Memory grows with what arrives, never with what is promised.
    async fn read(&self, mut body: Incoming) -> Result<(Vec<u8>, Share), Refusal> {
        let mut bytes = Vec::new();
        let mut share = self.bodies.share();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Refusal::Gone)?.into_data() else { continue };
            let length = bytes.len() + data.len();
            if u64::try_from(length).unwrap_or(u64::MAX) > self.body_bytes {
                return Err(self.too_large(u64::try_from(length).unwrap_or(u64::MAX)));
            }
            if !share.covers(length) {
                let text = "too many large requests, try again";
                return Err(Refusal::Text(StatusCode::SERVICE_UNAVAILABLE, text.into()));
            }
            bytes.extend_from_slice(&data);
        }
        Ok((bytes, share))
    }

    /// The name asked for: that of an absolute URI, else the `Host` header, which must be one.
    pub(crate) fn allows_host<B>(&self, request: &Request<B>) -> bool {
        if let Some(authority) = request.uri().authority() {
            return self.hosts.allows(authority.as_str());
        }
        let mut hosts = request.headers().get_all(HOST).iter();
        match (hosts.next(), hosts.next()) {
            (None, _) => true,
            (Some(host), None) => host.to_str().is_ok_and(|host| self.hosts.allows(host)),
            (Some(_), Some(_)) => false,
        }
    }

    /// What to say to the page that asks, if it may read the answer.
    fn allowed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        if self.origins.iter().any(|allowed| allowed == "*") {
            return Some(HeaderValue::from_static("*"));
        }
        let text = origin.to_str().ok()?;
        let allowed = self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(text));
        allowed.then(|| origin.clone())
    }
}

fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight(headers: &HeaderMap, origin: Option<HeaderValue>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let out = response.headers_mut();
    out.insert(
        VARY,
        HeaderValue::from_static(
            "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        ),
    );
    out.extend(origin.map(|origin| (ACCESS_CONTROL_ALLOW_ORIGIN, origin)));
    out.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET"));
    let asked = headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    out.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        asked.unwrap_or(HeaderValue::from_static("content-type")),
    );
    out.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_SECONDS));
    response
}

/// The answer counts until the socket has taken its last byte.
fn json(reply: Option<Reply>) -> Response<Full<Bytes>> {
    let Some(reply) = reply else { return Response::new(Full::default()) };
    let mut response = Response::new(Full::new(Bytes::from_owner(reply)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer that is not JSON ends the connection: the rest of the request may be anything.
pub(super) fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{text}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
