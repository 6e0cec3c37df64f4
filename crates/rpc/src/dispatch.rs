//! JSON-RPC 2.0 without a transport: one body in, at most one body out.
//!
//! The shapes and texts are geth's: errors travel with HTTP 200, a batch keeps its order, a
//! notification is executed and not answered, `"id": null` is a call.
//!
//! jsonrpsee keeps the methods and writes what they return; its words for what goes wrong around
//! them are not geth's, so that part is ours.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use jsonrpsee::{
    Extensions, IntoResponse, MethodCallback, MethodResponse, RpcModule, SyncMethod,
    types::{ErrorObjectOwned, Id, Params, error::OVERSIZED_RESPONSE_CODE},
};
use miner::MinerHandle;
use primitives::map::HashMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use tokio::{sync::Semaphore, time};

use crate::{
    budget::{Budget, Share},
    error::RpcError,
    metrics::Durations,
    pace::{Pace, breathe},
    subscriptions::{self, Caller},
};

/// Items in one batch. geth has had a limit since 1.12.1, and this is it.
pub const BATCH_ITEMS_MAX: usize = 1_000;
/// Bytes of one answer, a whole batch included.
pub const RESPONSE_BYTES_MAX: usize = 25 * 1024 * 1024;
/// Bytes of all answers that are being put together or sent, beyond 64 KiB each.
pub const ANSWERS_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long one body may be worked on; what is not answered by then gets `request timed out`.
pub const REQUEST_SECONDS_MAX: u64 = 30;
/// Calls of a batch that are run at once, if they are all of one method that can.
pub const RUN_ITEMS_MAX: usize = 128;
/// Heavy calls that may wait for a free core before the next one is refused.
pub const HEAVY_WAITING_MAX: usize = 64;
/// How long a call that may be short is tried where it was read, in microseconds. Handing it to another
/// thread costs a tenth of that, and more than most calls take.
pub const MOMENT_MICROS: u64 = 1_000;

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

/// How long a method may go on; to be asked by whatever can take long.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    /// As long as it takes: limits of the method's own are all there is.
    Endless,
    /// Then it must give up, with [`RpcError::Unfinished`].
    Until(Instant),
}

impl Patience {
    /// Whether to give up. A call that need not may be made to pause here, beside a sealer.
    pub(crate) fn is_over(self) -> bool {
        match self {
            Self::Endless => {
                breathe();
                false
            }
            Self::Until(end) => Instant::now() >= end,
        }
    }
}

/// What a method does: the text of its parameters in, and a result that is JSON already.
pub type Run = Box<dyn Fn(Option<&str>) -> Result<Box<RawValue>, RpcError> + Send + Sync>;

/// Several calls of one method: the texts of their parameters and the bytes an answer may have in,
/// the answers in the same order out.
type RunMany = Arc<dyn Fn(&[Option<&str>], usize) -> Vec<MethodResponse> + Send + Sync>;

/// A call that gives up after [`MOMENT_MICROS`]: the text of its parameters and the bytes its answer may
/// have in; nothing out if it gave up.
type RunBriefly = Arc<dyn Fn(Option<&str>, usize) -> Option<MethodResponse> + Send + Sync>;

/// The methods a server answers, by name.
pub struct Methods {
    module: RpcModule<()>,
    durations: HashMap<&'static str, Durations>,
    /// Of those that are not always light.
    weights: HashMap<&'static str, Weight>,
    /// Those that do several calls in less time than one after the other.
    many: HashMap<&'static str, RunMany>,
    /// Heavy ones that are mostly over in a moment.
    brief: HashMap<&'static str, RunBriefly>,
}

impl fmt::Debug for Methods {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.names()).finish()
    }
}

impl Default for Methods {
    fn default() -> Self {
        Self {
            module: RpcModule::new(()),
            durations: HashMap::default(),
            weights: HashMap::default(),
            many: HashMap::default(),
            brief: HashMap::default(),
        }
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
        self.durations.insert(name, Durations::default());
        if weight != Weight::Light {
            self.weights.insert(name, weight);
        }
    }

    /// Adds a heavy method that is tried for a moment where it was read.
    ///
    /// # Panics
    ///
    /// If there is a method of this name.
    pub(crate) fn register_brief<T, F>(&mut self, name: &'static str, run: F)
    where
        T: Serialize + 'static,
        F: Fn(Option<&str>, Patience) -> Result<T, RpcError> + Send + Sync + 'static,
    {
        let run = Arc::new(run);
        let briefly = Arc::clone(&run);
        self.register(name, Weight::Heavy, move |params| run(params, Patience::Endless));
        let briefly = move |params: Option<&str>, bytes_max: usize| {
            let end = Instant::now() + Duration::from_micros(MOMENT_MICROS);
            let result = match briefly(params, Patience::Until(end)) {
                Err(RpcError::Unfinished) => return None,
                result => result.map(|result| Shared(Arc::new(result))),
            };
            Some(MethodResponse::response(Id::Null, result.into_response(), bytes_max))
        };
        self.brief.insert(name, Arc::new(briefly));
    }

    /// Adds a method that does calls which follow each other in a batch together.
    ///
    /// # Panics
    ///
    /// If there is a method of this name, or `run` gives more or fewer answers than there are calls.
    pub fn register_many<T, F>(&mut self, name: &'static str, weight: Weight, run: F)
    where
        T: Serialize + 'static,
        F: Fn(&[Option<&str>]) -> Vec<Result<T, RpcError>> + Send + Sync + 'static,
    {
        let run = Arc::new(run);
        let many = Arc::clone(&run);
        self.register(name, weight, move |params| {
            run(&[params]).pop().expect("one answer for one call")
        });
        let many = move |params: &[Option<&str>], bytes_max: usize| {
            let answers = many(params);
            assert_eq!(answers.len(), params.len(), "one answer for each call");
            let respond = |answer: Result<T, RpcError>| {
                let answer = answer.map(|result| Shared(Arc::new(result)));
                MethodResponse::response(Id::Null, answer.into_response(), bytes_max)
            };
            answers.into_iter().map(respond).collect()
        };
        self.many.insert(name, Arc::new(many));
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

    /// Some calls of a method were answered, each in this time.
    fn answered(&self, name: &'static str, each: Duration, calls: usize) {
        if let Some(durations) = self.durations.get(name) {
            durations.answered(name, each, calls);
        }
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
    capacity: Arc<Capacity>,
    /// Who seals on this machine's processors.
    sealer: Option<MinerHandle>,
}

/// What all transports share, so that nobody gets more by using several.
#[derive(Debug)]
struct Capacity {
    answers: Budget,
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    pace: Arc<Pace>,
}

/// What is the same for every call of a body.
#[derive(Clone, Copy)]
struct Context<'c> {
    deadline: time::Instant,
    /// Who is told of things later; HTTP cannot.
    caller: Option<&'c Caller>,
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

/// A call or a notification.
struct Call<'a> {
    /// None of a notification.
    id: Option<&'a str>,
    method: String,
    params: Option<&'a RawValue>,
}

impl<'a> Call<'a> {
    /// Reads one element of a body; the error is the answer to it.
    fn read(value: &'a RawValue) -> Result<Self, Answer<'a>> {
        let refused = |id| Err(Answer::refused(id, RpcError::InvalidRequest));
        let Ok(message) = serde_json::from_str::<Message<'_>>(value.get()) else {
            return refused("null");
        };
        let is_id = |id: &&RawValue| !id.get().starts_with(['{', '[']);
        let Some(method) = message.method.filter(|name| !name.is_empty()) else {
            return refused(message.id.filter(is_id).map_or("null", RawValue::get));
        };
        if message.id.is_some_and(|id| !is_id(&id)) {
            return refused("null");
        }
        Ok(Self { id: message.id.map(RawValue::get), method, params: message.params })
    }

    /// The answer, which a notification does not get.
    fn answered(self, response: MethodResponse) -> Option<Answer<'a>> {
        if self.id.is_none() {
            tracing::debug!(failed = response.is_error(), "Executed notification");
        }
        self.id.map(|id| Answer { id, response })
    }
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

    /// Writes it, or why there is no room for it. A refusal is small and needs none. False if there
    /// will be no room for others either.
    fn write_within(self, bytes_max: usize, reply: &mut Reply) -> bool {
        let bytes = reply.bytes.len() + self.len();
        if bytes > bytes_max {
            Self::refused(self.id, RpcError::ResponseTooLarge).write(reply);
            return false;
        }
        if reply.share.covers(bytes) {
            self.write(reply);
        } else {
            Self::refused(self.id, RpcError::Crowded).write(reply);
        }
        true
    }
}

/// The answer to one body, and its share of the memory for answers.
#[derive(Debug)]
pub(crate) struct Reply {
    bytes: Vec<u8>,
    share: Share,
    is_no_json: bool,
}

impl Reply {
    /// Whether it says that the body was no JSON.
    pub(crate) const fn is_no_json(&self) -> bool {
        self.is_no_json
    }
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
        let answers = Budget::new(limits.answers_bytes);
        let pace = Arc::new(Pace::new(limits.heavy_running, Instant::now()));
        let capacity = Arc::new(Capacity { answers, running, waiting, pace });
        Self { methods, limits, capacity, sealer: None }
    }

    /// The same, whose heavy calls leave most of the processors to a sealer while it searches.
    #[must_use]
    pub(crate) fn beside(self, sealer: Option<MinerHandle>) -> Self {
        Self { sealer, ..self }
    }

    /// Other methods within the same limits.
    pub(crate) fn with_methods(&self, methods: Methods) -> Self {
        let (capacity, sealer) = (Arc::clone(&self.capacity), self.sealer.clone());
        Self { methods, limits: self.limits, capacity, sealer }
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
        self.reply(body, None).await.map(|reply| reply.bytes)
    }

    /// The answer to one body, which counts as long as it lives.
    pub(crate) async fn reply(&self, body: &[u8], caller: Option<&Caller>) -> Option<Reply> {
        let deadline = time::Instant::now() + self.limits.request;
        let context = Context { deadline, caller };
        let mut values = serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>();
        let share = self.capacity.answers.share();
        let mut reply = Reply { bytes: Vec::new(), share, is_no_json: false };
        match values.next()? {
            Err(_) => {
                reply.is_no_json = true;
                Answer::refused("null", RpcError::Parse).write(&mut reply);
            }
            Ok(value) if value.get().starts_with('[') => {
                self.batch(value, context, &mut reply).await;
            }
            Ok(value) => {
                self.message(value, context).await?.write_within(usize::MAX, &mut reply);
            }
        }
        if reply.bytes.is_empty() {
            return None;
        }
        reply.bytes.push(b'\n');
        Some(reply)
    }

    async fn batch(&self, value: &RawValue, context: Context<'_>, reply: &mut Reply) {
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
        let items: Vec<_> = items.into_iter().map(Call::read).collect();
        let mut items = items.into_iter().peekable();
        let mut has_room = true;
        while let Some(item) = items.next() {
            let answers = match item {
                Err(refused) => vec![Some(refused)],
                // As in geth: nobody would get to see what it says.
                Ok(call) if !has_room => vec![call.answered(failure(RpcError::ResponseTooLarge))],
                Ok(call) => {
                    let mut calls = vec![call];
                    if self.methods.many.contains_key(&*calls[0].method) {
                        let same = |item: &Result<Call<'_>, Answer<'_>>| {
                            item.as_ref().is_ok_and(|call| call.method == calls[0].method)
                        };
                        let more = std::iter::from_fn(|| items.next_if(same)?.ok());
                        let more: Vec<_> = more.take(RUN_ITEMS_MAX - 1).collect();
                        calls.extend(more);
                    }
                    self.calls(calls, context).await
                }
            };
            for answer in answers.into_iter().flatten() {
                reply.bytes.push(if reply.bytes.is_empty() { b'[' } else { b',' });
                has_room &= answer.write_within(self.limits.response_bytes, reply);
            }
            // A long batch must not keep the thread from other connections.
            tokio::task::yield_now().await;
        }
        if !reply.bytes.is_empty() {
            reply.bytes.push(b']');
        }
    }

    async fn message<'a>(&self, value: &'a RawValue, context: Context<'_>) -> Option<Answer<'a>> {
        match Call::read(value) {
            Err(refused) => Some(refused),
            Ok(call) => {
                let response = self.call(&call.method, call.params, context).await;
                call.answered(response)
            }
        }
    }

    /// Calls of one method.
    async fn calls<'a>(
        &self,
        calls: Vec<Call<'a>>,
        context: Context<'_>,
    ) -> Vec<Option<Answer<'a>>> {
        let responses = match calls.as_slice() {
            [call] => vec![self.call(&call.method, call.params, context).await],
            _ => self.call_many(&calls, context.deadline).await,
        };
        calls.into_iter().zip(responses).map(|(call, response)| call.answered(response)).collect()
    }

    /// Runs one method: what it says, or that it does not exist, panicked, ran out of time or
    /// says too much.
    async fn call(
        &self,
        name: &str,
        params: Option<&RawValue>,
        Context { deadline, caller }: Context<'_>,
    ) -> MethodResponse {
        if let Some(response) = self.subscription(name, params, caller) {
            return response;
        }
        let found = self.methods.module.method_with_name(name);
        let Some((name, MethodCallback::Sync(run))) = found else {
            return failure(RpcError::NoMethod(name.to_owned()));
        };
        if time::Instant::now() >= deadline {
            return failure(RpcError::TimedOut);
        }
        let start = Instant::now();
        let method = Method { name, run: Arc::clone(run), bytes_max: self.limits.response_bytes };
        let response = if let Some(response) = self.briefly(name, params) {
            response
        } else if self.methods.weight(name).is_heavy(params) {
            let params = params.map(RawValue::to_owned);
            self.heavy(deadline, move || method.run(params.as_deref()))
                .await
                .unwrap_or_else(failure)
        } else {
            method.run(params)
        };
        self.methods.answered(name, start.elapsed(), 1);
        counted(name, response)
    }

    /// Runs a heavy call for a moment, if it may end in one and a core is free; nothing if it did not
    /// end. While others wait for a core it waits with them.
    fn briefly(&self, name: &'static str, params: Option<&RawValue>) -> Option<MethodResponse> {
        let run = self.methods.brief.get(name)?;
        let _core = self.capacity.running.try_acquire().ok()?;
        let run = || run(params.map(RawValue::get), self.limits.response_bytes);
        guarded(name, run).unwrap_or_else(|crashed| Some(failure(crashed)))
    }

    /// Subscriptions are known by the ends of their names, in any namespace.
    fn subscription(
        &self,
        name: &str,
        params: Option<&RawValue>,
        caller: Option<&Caller>,
    ) -> Option<MethodResponse> {
        if name.ends_with("_unsubscribe") {
            let ended = match caller {
                Some(caller) => caller.unsubscribe(params),
                None => subscriptions::unsubscribed(params)
                    .and_then(|_| Err(subscriptions::not_found())),
            };
            return Some(self.response(ended));
        }
        if !name.ends_with("_subscribe") {
            return None;
        }
        let namespace = name.split('_').next().unwrap_or_default();
        let begun = match caller {
            None => Err(RpcError::NoNotifications),
            Some(caller) => caller.subscribe(namespace, self.exposes(namespace), params),
        };
        Some(self.response(begun))
    }

    fn exposes(&self, namespace: &str) -> bool {
        let is_in = |name: &str| name.split_once('_').is_some_and(|(first, _)| first == namespace);
        self.methods.names().any(is_in)
    }

    fn response<T: Serialize + Clone + 'static>(
        &self,
        result: Result<T, RpcError>,
    ) -> MethodResponse {
        MethodResponse::response(Id::Null, result.into_response(), self.limits.response_bytes)
    }

    /// Runs several calls of a method that can do them together.
    async fn call_many(&self, calls: &[Call<'_>], deadline: time::Instant) -> Vec<MethodResponse> {
        let all_fail = |error: RpcError| {
            let error = ErrorObjectOwned::from(error);
            calls.iter().map(|_| MethodResponse::error(Id::Null, error.clone())).collect()
        };
        let found = self.methods.many.get_key_value(&*calls[0].method);
        let (name, run) = found.expect("only calls of such a method are put together");
        if time::Instant::now() >= deadline {
            return all_fail(RpcError::TimedOut);
        }
        let start = Instant::now();
        let bytes_max = self.limits.response_bytes;
        let heavy = calls.iter().any(|call| self.methods.weight(name).is_heavy(call.params));
        let responses = if heavy {
            let (name, run) = (*name, Arc::clone(run));
            let params: Vec<_> =
                calls.iter().map(|call| call.params.map(RawValue::to_owned)).collect();
            let run = move || {
                let params: Vec<_> =
                    params.iter().map(|params| params.as_deref().map(RawValue::get)).collect();
                guarded(name, || run(&params, bytes_max))
            };
            self.heavy(deadline, run).await.and_then(|responses| responses)
        } else {
            let params: Vec<_> = calls.iter().map(|call| call.params.map(RawValue::get)).collect();
            guarded(name, || run(&params, bytes_max))
        };
        let each = start.elapsed() / u32::try_from(calls.len()).unwrap_or(u32::MAX);
        self.methods.answered(name, each, calls.len());
        let counted = |response| counted(name, response);
        let responses = responses.unwrap_or_else(all_fail);
        responses.into_iter().map(counted).collect()
    }

    /// Runs it on a thread for heavy work, if there is a place for it.
    ///
    /// The permits travel with the work: a client that hangs up frees no core before its call ends.
    async fn heavy<T: Send + 'static>(
        &self,
        deadline: time::Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RpcError> {
        let run = async {
            let place = Arc::clone(&self.capacity.waiting)
                .try_acquire_owned()
                .map_err(|_| RpcError::Busy)?;
            let core = Arc::clone(&self.capacity.running).acquire_owned().await;
            let searches = |miner: &&MinerHandle| miner.is_mining() && miner.threads() > 0;
            let sealer = self.sealer.as_ref().filter(searches);
            let pace = sealer.map(|_| Arc::clone(&self.capacity.pace));
            let work = tokio::task::spawn_blocking(move || {
                let result = match pace {
                    Some(pace) => pace.run(work),
                    None => work(),
                };
                drop((core, place));
                result
            });
            work.await.map_err(|_| RpcError::Crashed)
        };
        time::timeout_at(deadline, run).await.unwrap_or(Err(RpcError::TimedOut))
    }
}

/// The answer as it goes out; what is no result is counted.
fn counted(name: &'static str, response: MethodResponse) -> MethodResponse {
    let response = within_limit(response);
    if response.is_error() {
        crate::metrics::failed(name);
    }
    response
}

/// Says that an answer is too long in geth's words.
fn within_limit(response: MethodResponse) -> MethodResponse {
    if response.as_error_code() == Some(OVERSIZED_RESPONSE_CODE) {
        return failure(RpcError::ResponseTooLarge);
    }
    response
}

/// A panic in a method costs its caller the answer, and nobody else anything.
fn guarded<T>(method: &str, run: impl FnOnce() -> T) -> Result<T, RpcError> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| {
        tracing::error!(method, "Method panicked");
        RpcError::Crashed
    })
}

/// A method about to be called.
struct Method {
    name: &'static str,
    run: SyncMethod,
    /// Bytes its answer may have; writing stops there.
    bytes_max: usize,
}

impl Method {
    fn run(&self, params: Option<&RawValue>) -> MethodResponse {
        let params = Params::new(params.map(RawValue::get));
        let run = || (self.run)(Id::Null, params, self.bytes_max, Extensions::new());
        guarded(self.name, run).unwrap_or_else(failure)
    }
}

#[cfg(test)]
pub(crate) mod tests;
