//! JSON-RPC 2.0 without a transport: one body in, at most one body out.
//!
//! The shapes and texts are geth's: errors travel with HTTP 200, a batch keeps its order, a
//! notification is executed and not answered, `"id": null` is a call.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use tokio::{sync::Semaphore, time};

use crate::error::RpcError;

/// Items in one batch. geth has had a limit since 1.12.1, and this is it.
pub const BATCH_ITEMS_MAX: usize = 1_000;
/// Bytes of one answer, a whole batch included.
pub const RESPONSE_BYTES_MAX: usize = 25 * 1024 * 1024;
/// How long one body may be worked on; what is not answered by then gets `request timed out`.
pub const REQUEST_SECONDS_MAX: u64 = 30;
/// Heavy calls that may wait for a free core before the next one is refused.
pub const HEAVY_WAITING_MAX: usize = 64;

/// What a method costs, which decides where it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// A few point reads: runs where the request was read.
    Light,
    /// Executes code or scans: runs on the blocking pool, at most one per core at a time.
    Heavy,
    /// Light, unless a parameter says `"pending"`: that block has to be executed first.
    HeavyIfPending,
}

impl Weight {
    fn is_heavy(self, params: Option<&RawValue>) -> bool {
        match self {
            Self::Light => false,
            Self::Heavy => true,
            Self::HeavyIfPending => {
                params.is_some_and(|params| params.get().contains("\"pending\""))
            }
        }
    }
}

/// What a method does: parameters as they were sent, and a result that is JSON already.
pub type Run = Box<dyn Fn(Option<&RawValue>) -> Result<Box<RawValue>, RpcError> + Send + Sync>;

struct Method {
    name: &'static str,
    weight: Weight,
    run: Run,
}

/// The methods a server answers, by name.
#[derive(Default)]
pub struct Methods {
    by_name: HashMap<&'static str, Arc<Method>>,
}

impl Methods {
    /// Adds a method; a later one of the same name wins.
    pub fn add(&mut self, name: &'static str, weight: Weight, run: Run) {
        self.by_name.insert(name, Arc::new(Method { name, weight, run }));
    }

    /// The names, in no order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.by_name.keys().copied()
    }
}

impl std::fmt::Debug for Methods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

/// How much one request may cost.
#[derive(Debug, Clone, Copy)]
pub struct DispatchLimits {
    /// Items in a batch.
    pub batch_items: usize,
    /// Bytes of an answer.
    pub response_bytes: usize,
    /// Time for one body.
    pub request: Duration,
    /// Heavy calls running at once.
    pub heavy_running: usize,
    /// Heavy calls waiting for one of those to end.
    pub heavy_waiting: usize,
}

impl Default for DispatchLimits {
    fn default() -> Self {
        Self {
            batch_items: BATCH_ITEMS_MAX,
            response_bytes: RESPONSE_BYTES_MAX,
            request: Duration::from_secs(REQUEST_SECONDS_MAX),
            heavy_running: std::thread::available_parallelism().map_or(1, usize::from),
            heavy_waiting: HEAVY_WAITING_MAX,
        }
    }
}

/// Answers JSON-RPC bodies. Shared by every connection, so that heavy calls are counted together.
#[derive(Debug)]
pub struct Dispatcher {
    methods: Methods,
    limits: DispatchLimits,
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// One element of a body. What is not this shape is an invalid request, not a parse error.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(default, borrow, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default, borrow, deserialize_with = "present")]
    params: Option<&'a RawValue>,
}

/// Tells `"id": null`, which is a call, from no id, which is a notification.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: i32,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
}

impl Dispatcher {
    /// A dispatcher for these methods.
    #[must_use]
    pub fn new(methods: Methods, limits: DispatchLimits) -> Self {
        let running = Arc::new(Semaphore::new(limits.heavy_running));
        let waiting = Arc::new(Semaphore::new(limits.heavy_running + limits.heavy_waiting));
        Self { methods, limits, running, waiting }
    }

    /// Whether a method of this name is answered.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.methods.by_name.contains_key(name)
    }

    /// The answer to one body, newline included; `None` when there is nothing to say.
    ///
    /// As in geth, only the first JSON value of the body counts.
    pub async fn answer(&self, body: &[u8]) -> Option<Vec<u8>> {
        let deadline = time::Instant::now() + self.limits.request;
        let mut values = serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>();
        let mut answer = match values.next()? {
            Err(_) => failure("null", &RpcError::Parse).into_bytes(),
            Ok(value) if value.get().starts_with('[') => self.batch(value, deadline).await?,
            Ok(value) => self.message(value, deadline).await?.into_bytes(),
        };
        answer.push(b'\n');
        Some(answer)
    }

    async fn batch(&self, value: &RawValue, deadline: time::Instant) -> Option<Vec<u8>> {
        let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(value.get()) else {
            return Some(failure("null", &RpcError::Parse).into_bytes());
        };
        if items.is_empty() {
            return Some(failure("null", &RpcError::EmptyBatch).into_bytes());
        }
        if items.len() > self.limits.batch_items {
            return Some(failure("null", &RpcError::BatchTooLarge).into_bytes());
        }
        let mut answers = vec![b'['];
        for item in items {
            let Some(answer) = self.message(item, deadline).await else { continue };
            let room = self.limits.response_bytes.saturating_sub(answers.len());
            let answer = if answer.len() > room { too_large(item) } else { answer };
            if answers.len() > 1 {
                answers.push(b',');
            }
            answers.extend_from_slice(answer.as_bytes());
            // A long batch must not keep the thread from other connections.
            tokio::task::yield_now().await;
        }
        if answers.len() == 1 {
            return None;
        }
        answers.push(b']');
        Some(answers)
    }

    async fn message(&self, value: &RawValue, deadline: time::Instant) -> Option<String> {
        let Ok(message) = serde_json::from_str::<Message<'_>>(value.get()) else {
            return Some(failure("null", &RpcError::InvalidRequest));
        };
        let is_id = |id: &&RawValue| !id.get().starts_with(['{', '[']);
        let Some(method) = message.method.filter(|name| !name.is_empty()) else {
            let id = message.id.filter(is_id).map_or("null", RawValue::get);
            return Some(failure(id, &RpcError::InvalidRequest));
        };
        let Some(id) = message.id else {
            let outcome = self.call(&method, message.params, deadline).await;
            tracing::debug!(failed = outcome.is_err(), "Executed notification");
            return None;
        };
        if !is_id(&id) {
            return Some(failure("null", &RpcError::InvalidRequest));
        }
        Some(match self.call(&method, message.params, deadline).await {
            Ok(result) => success(id.get(), &result),
            Err(error) => failure(id.get(), &error),
        })
    }

    /// Runs one method.
    ///
    /// # Errors
    ///
    /// What the method says; that it does not exist, panicked, ran out of time or says too much.
    pub async fn call(
        &self,
        name: &str,
        params: Option<&RawValue>,
        deadline: time::Instant,
    ) -> Result<Box<RawValue>, RpcError> {
        let Some(method) = self.methods.by_name.get(name) else {
            return Err(RpcError::NoMethod(name.to_owned()));
        };
        if time::Instant::now() >= deadline {
            return Err(RpcError::TimedOut);
        }
        let start = Instant::now();
        let outcome = if method.weight.is_heavy(params) {
            time::timeout_at(deadline, self.heavy(method, params))
                .await
                .unwrap_or(Err(RpcError::TimedOut))
        } else {
            guarded(method, params)
        };
        metrics::histogram!("rpc_request_seconds", "method" => method.name).record(start.elapsed());
        let result = outcome?;
        if result.get().len() > self.limits.response_bytes {
            return Err(RpcError::ResponseTooLarge);
        }
        Ok(result)
    }

    /// The permits travel with the work: a client that hangs up frees no core before its call ends.
    async fn heavy(
        &self,
        method: &Arc<Method>,
        params: Option<&RawValue>,
    ) -> Result<Box<RawValue>, RpcError> {
        let Ok(place) = Arc::clone(&self.waiting).try_acquire_owned() else {
            return Err(RpcError::Busy);
        };
        let core = Arc::clone(&self.running).acquire_owned().await;
        let (method, params) = (Arc::clone(method), params.map(RawValue::to_owned));
        let work = tokio::task::spawn_blocking(move || {
            let outcome = guarded(&method, params.as_deref());
            drop((core, place));
            outcome
        });
        work.await.unwrap_or(Err(RpcError::Crashed))
    }
}

/// A panic in a method costs its caller the answer, and nobody else anything.
fn guarded(method: &Method, params: Option<&RawValue>) -> Result<Box<RawValue>, RpcError> {
    catch_unwind(AssertUnwindSafe(|| (method.run)(params))).unwrap_or_else(|_| {
        tracing::error!(method = method.name, "Method panicked");
        Err(RpcError::Crashed)
    })
}

fn success(id: &str, result: &RawValue) -> String {
    let result = result.get();
    let mut answer = String::with_capacity(result.len() + id.len() + 40);
    answer.push_str(r#"{"jsonrpc":"2.0","id":"#);
    answer.push_str(id);
    answer.push_str(r#","result":"#);
    answer.push_str(result);
    answer.push('}');
    answer
}

fn failure(id: &str, error: &RpcError) -> String {
    let message = error.to_string();
    let body = ErrorBody { code: error.code(), message: &message, data: error.data() };
    let body = serde_json::to_string(&body).expect("an error object is strings and a number");
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{body}}}"#)
}

fn too_large(item: &RawValue) -> String {
    let id = serde_json::from_str::<Message<'_>>(item.get()).ok().and_then(|message| message.id);
    failure(id.map_or("null", RawValue::get), &RpcError::ResponseTooLarge)
}

#[cfg(test)]
pub(crate) mod tests;
