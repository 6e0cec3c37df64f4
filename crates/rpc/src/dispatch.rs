//! JSON-RPC 2.0 without a transport: one body in, at most one body out.
//!
//! The shapes and texts are geth's: errors travel with HTTP 200, a batch keeps its order, a
//! notification is executed and not answered, `"id": null` is a call.
//!
//! jsonrpsee keeps the methods and writes what they return; its words for what goes wrong around
//! them are not geth's, so that part is ours.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use jsonrpsee::{
    Extensions, MethodCallback, MethodResponse, RpcModule, SyncMethod,
    types::{ErrorObjectOwned, Id, Params, error::OVERSIZED_RESPONSE_CODE},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use tokio::{sync::Semaphore, time};

use crate::{
    budget::{Budget, Share},
    error::RpcError,
};

/// Items in one batch. geth has had a limit since 1.12.1, and this is it.
pub const BATCH_ITEMS_MAX: usize = 1_000;
/// Bytes of one answer, a whole batch included.
pub const RESPONSE_BYTES_MAX: usize = 25 * 1024 * 1024;
/// Bytes of all answers that are being put together or sent, beyond 64 KiB each.
pub const ANSWERS_BYTES_MAX: usize = 256 * 1024 * 1024;
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

/// What a method does: the text of its parameters in, and a result that is JSON already.
pub type Run = Box<dyn Fn(Option<&str>) -> Result<Box<RawValue>, RpcError> + Send + Sync>;

/// The methods a server answers, by name.
#[derive(Debug)]
pub struct Methods {
    module: RpcModule<()>,
    /// Of those that are not always light.
    weights: HashMap<&'static str, Weight>,
}

impl Default for Methods {
    fn default() -> Self {
        Self { module: RpcModule::new(()), weights: HashMap::new() }
    }
}

impl Methods {
    /// Adds a method whose result becomes JSON only when the answer is written.
    ///
    /// # Panics
    ///
    /// If there is a method of this name: a mistake in the table of methods.
    pub fn register<T, F>(&mut self, name: &'static str, weight: Weight, run: F)
    where
        T: Serialize + 'static,
        F: Fn(Option<&str>) -> Result<T, RpcError> + Send + Sync + 'static,
    {
        let method = move |params: Params<'_>, _: &(), _: &Extensions| {
            run(params.as_str()).map(|result| Shared(Arc::new(result)))
        };
        self.module.register_method(name, method).expect("every method has a name of its own");
        if weight != Weight::Light {
            self.weights.insert(name, weight);
        }
    }

    /// Adds a method whose result is JSON already.
    ///
    /// # Panics
    ///
    /// If there is a method of this name.
    pub fn add(&mut self, name: &'static str, weight: Weight, run: Run) {
        self.register(name, weight, run);
    }

    /// The names, in no order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.module.method_names()
    }

    fn weight(&self, name: &str) -> Weight {
        self.weights.get(name).copied().unwrap_or(Weight::Light)
    }
}

/// A result that jsonrpsee may clone, as it asks to be able to, without copying anything.
struct Shared<T>(Arc<T>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// How much one request may cost.
#[derive(Debug, Clone, Copy)]
pub struct DispatchLimits {
    /// Items in a batch.
    pub batch_items: usize,
    /// Bytes of an answer.
    pub response_bytes: usize,
    /// Bytes of all answers together, beyond 64 KiB each.
    pub answers_bytes: usize,
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
            answers_bytes: ANSWERS_BYTES_MAX,
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
    answers: Budget,
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

/// How jsonrpsee begins the answer to a call whose id is `null`.
const NULL_HEAD: &str = r#"{"jsonrpc":"2.0","id":null"#;
/// The same up to the id.
const HEAD: &str = r#"{"jsonrpc":"2.0","id":"#;

/// A response of jsonrpsee's under the id that the client sent.
///
/// An id goes back as it came, byte by byte. jsonrpsee has no room for such an id, so all that it
/// answers is to `null`, in whose place the client's is written.
struct Answer<'a> {
    id: &'a str,
    response: MethodResponse,
}

impl<'a> Answer<'a> {
    fn refused(id: &'a str, error: RpcError) -> Self {
        Self { id, response: failure(error) }
    }

    /// What follows the id.
    fn tail(&self) -> &str {
        let json = self.response.as_json().get();
        json.strip_prefix(NULL_HEAD).expect("jsonrpsee writes the version and the id first")
    }

    fn len(&self) -> usize {
        HEAD.len() + self.id.len() + self.tail().len()
    }

    fn write(&self, reply: &mut Reply) {
        // One more for the comma or the line's end.
        reply.bytes.reserve(self.len() + 1);
        for part in [HEAD, self.id, self.tail()] {
            reply.bytes.extend_from_slice(part.as_bytes());
        }
    }

    /// Writes it, or why there is no room for it. A refusal is small and needs none.
    fn write_within(self, bytes_max: usize, reply: &mut Reply) {
        let bytes = reply.bytes.len() + self.len();
        if bytes > bytes_max {
            Self::refused(self.id, RpcError::ResponseTooLarge).write(reply);
        } else if reply.share.covers(bytes) {
            self.write(reply);
        } else {
            Self::refused(self.id, RpcError::Crowded).write(reply);
        }
    }
}

/// The answer to one body, and its share of the memory for answers.
#[derive(Debug)]
pub(crate) struct Reply {
    bytes: Vec<u8>,
    share: Share,
}

impl AsRef<[u8]> for Reply {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn failure(error: RpcError) -> MethodResponse {
    MethodResponse::error(Id::Null, ErrorObjectOwned::from(error))
}

impl Dispatcher {
    /// A dispatcher for these methods.
    #[must_use]
    pub fn new(methods: Methods, limits: DispatchLimits) -> Self {
        let running = Arc::new(Semaphore::new(limits.heavy_running));
        let waiting = Arc::new(Semaphore::new(limits.heavy_running + limits.heavy_waiting));
        Self { methods, limits, answers: Budget::new(limits.answers_bytes), running, waiting }
    }

    /// Whether a method of this name is answered.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.methods.module.method(name).is_some()
    }

    /// The answer to one body, newline included; `None` when there is nothing to say.
    ///
    /// As in geth, only the first JSON value of the body counts.
    pub async fn answer(&self, body: &[u8]) -> Option<Vec<u8>> {
        self.reply(body).await.map(|reply| reply.bytes)
    }

    /// The answer to one body, which counts as long as it lives.
    pub(crate) async fn reply(&self, body: &[u8]) -> Option<Reply> {
        let deadline = time::Instant::now() + self.limits.request;
        let mut values = serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>();
        let mut reply = Reply { bytes: Vec::new(), share: self.answers.share() };
        match values.next()? {
            Err(_) => Answer::refused("null", RpcError::Parse).write(&mut reply),
            Ok(value) if value.get().starts_with('[') => {
                self.batch(value, deadline, &mut reply).await;
            }
            Ok(value) => {
                self.message(value, deadline).await?.write_within(usize::MAX, &mut reply);
            }
        }
        if reply.bytes.is_empty() {
            return None;
        }
        reply.bytes.push(b'\n');
        Some(reply)
    }

    async fn batch(&self, value: &RawValue, deadline: time::Instant, reply: &mut Reply) {
        let items = match serde_json::from_str::<Vec<&RawValue>>(value.get()) {
            Err(_) => Err(RpcError::Parse),
            Ok(items) if items.is_empty() => Err(RpcError::EmptyBatch),
            Ok(items) if items.len() > self.limits.batch_items => Err(RpcError::BatchTooLarge),
            Ok(items) => Ok(items),
        };
        let items = match items {
            Ok(items) => items,
            Err(error) => return Answer::refused("null", error).write(reply),
        };
        for item in items {
            let Some(answer) = self.message(item, deadline).await else { continue };
            reply.bytes.push(if reply.bytes.is_empty() { b'[' } else { b',' });
            answer.write_within(self.limits.response_bytes, reply);
            // A long batch must not keep the thread from other connections.
            tokio::task::yield_now().await;
        }
        if !reply.bytes.is_empty() {
            reply.bytes.push(b']');
        }
    }

    async fn message<'a>(
        &self,
        value: &'a RawValue,
        deadline: time::Instant,
    ) -> Option<Answer<'a>> {
        let Ok(message) = serde_json::from_str::<Message<'_>>(value.get()) else {
            return Some(Answer::refused("null", RpcError::InvalidRequest));
        };
        let is_id = |id: &&RawValue| !id.get().starts_with(['{', '[']);
        let Some(method) = message.method.filter(|name| !name.is_empty()) else {
            let id = message.id.filter(is_id).map_or("null", RawValue::get);
            return Some(Answer::refused(id, RpcError::InvalidRequest));
        };
        let Some(id) = message.id else {
            let response = self.call(&method, message.params, deadline).await;
            tracing::debug!(failed = response.is_error(), "Executed notification");
            return None;
        };
        if !is_id(&id) {
            return Some(Answer::refused("null", RpcError::InvalidRequest));
        }
        let response = self.call(&method, message.params, deadline).await;
        Some(Answer { id: id.get(), response })
    }

    /// Runs one method: what it says, or that it does not exist, panicked, ran out of time or
    /// says too much.
    async fn call(
        &self,
        name: &str,
        params: Option<&RawValue>,
        deadline: time::Instant,
    ) -> MethodResponse {
        let found = self.methods.module.method_with_name(name);
        let Some((name, MethodCallback::Sync(run))) = found else {
            return failure(RpcError::NoMethod(name.to_owned()));
        };
        if time::Instant::now() >= deadline {
            return failure(RpcError::TimedOut);
        }
        let start = Instant::now();
        let method = Method { name, run: Arc::clone(run), bytes_max: self.limits.response_bytes };
        let response = if self.methods.weight(name).is_heavy(params) {
            time::timeout_at(deadline, self.heavy(method, params))
                .await
                .unwrap_or_else(|_| failure(RpcError::TimedOut))
        } else {
            method.run(params)
        };
        metrics::histogram!("rpc_request_seconds", "method" => name).record(start.elapsed());
        if response.as_error_code() == Some(OVERSIZED_RESPONSE_CODE) {
            return failure(RpcError::ResponseTooLarge);
        }
        response
    }

    /// The permits travel with the work: a client that hangs up frees no core before its call ends.
    async fn heavy(&self, method: Method, params: Option<&RawValue>) -> MethodResponse {
        let Ok(place) = Arc::clone(&self.waiting).try_acquire_owned() else {
            return failure(RpcError::Busy);
        };
        let core = Arc::clone(&self.running).acquire_owned().await;
        let params = params.map(RawValue::to_owned);
        let work = tokio::task::spawn_blocking(move || {
            let response = method.run(params.as_deref());
            drop((core, place));
            response
        });
        work.await.unwrap_or_else(|_| failure(RpcError::Crashed))
    }
}

/// A method about to be called.
struct Method {
    name: &'static str,
    run: SyncMethod,
    /// Bytes its answer may have; writing stops there.
    bytes_max: usize,
}

impl Method {
    /// A panic in a method costs its caller the answer, and nobody else anything.
    fn run(&self, params: Option<&RawValue>) -> MethodResponse {
        let params = Params::new(params.map(RawValue::get));
        let run = || (self.run)(Id::Null, params, self.bytes_max, Extensions::new());
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
            tracing::error!(method = self.name, "Method panicked");
            failure(RpcError::Crashed)
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
