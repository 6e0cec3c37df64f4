//! The table of methods: which names there are, and which of them are exposed.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    admin, debug,
    dispatch::{Methods, Patience, Weight},
    doors,
    error::{ArgumentError, RpcError},
    eth, miner, net,
    node::Api,
    params::Params,
    personal, txpool, web3,
};

/// What every method is: it reads the node and its parameters, and returns what becomes JSON.
pub(crate) type Method<T> = fn(&Api, &mut Params<'_>) -> Result<T, RpcError>;

/// What a method is that can give up when it takes longer than a moment.
pub(crate) type BriefMethod<T> = fn(&Api, &mut Params<'_>, Patience) -> Result<T, RpcError>;

/// What a method is that does several calls together: the parameters of each, and as many results.
pub(crate) type MethodOfMany<T> =
    fn(&Api, Vec<Result<Params<'_>, ArgumentError>>) -> Vec<Result<T, RpcError>>;

/// Namespaces that exist.
pub const NAMESPACES: [&str; 10] =
    ["admin", "debug", "eth", "ethash", "miner", "net", "personal", "rpc", "txpool", "web3"];

/// Collects the methods of the exposed namespaces.
pub(crate) struct Table {
    api: Arc<Api>,
    methods: Methods,
}

impl Table {
    /// What the methods will read.
    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    /// Adds a method that costs a few point reads.
    pub(crate) fn light<T: Serialize + 'static>(&mut self, name: &'static str, method: Method<T>) {
        self.add(name, Weight::Light, method);
    }

    /// Adds a method that executes code or scans.
    pub(crate) fn heavy<T: Serialize + 'static>(&mut self, name: &'static str, method: Method<T>) {
        self.add(name, Weight::Heavy, method);
    }

    /// Adds a heavy method that is mostly over in a moment: it is tried without another thread first.
    pub(crate) fn brief<T: Serialize + 'static>(
        &mut self,
        name: &'static str,
        method: BriefMethod<T>,
    ) {
        if !self.exposes(name) {
            return;
        }
        let api = Arc::clone(&self.api);
        let run = move |raw: Option<&str>, patience| method(&api, &mut Params::new(raw)?, patience);
        self.methods.register_brief(name, run);
    }

    /// Adds a method that reads a state: executing the pending block to get there is heavy.
    pub(crate) fn of_state<T: Serialize + 'static>(
        &mut self,
        name: &'static str,
        method: Method<T>,
    ) {
        self.add(name, Weight::HeavyIfPending, method);
    }

    fn add<T: Serialize + 'static>(
        &mut self,
        name: &'static str,
        weight: Weight,
        method: Method<T>,
    ) {
        if !self.exposes(name) {
            return;
        }
        let api = Arc::clone(&self.api);
        let run = move |raw: Option<&str>| method(&api, &mut Params::new(raw)?);
        self.methods.register(name, weight, run);
    }

    /// Adds a method that does calls which follow each other in a batch together.
    pub(crate) fn add_many<T: Serialize + 'static>(
        &mut self,
        name: &'static str,
        weight: Weight,
        method: MethodOfMany<T>,
    ) {
        if !self.exposes(name) {
            return;
        }
        let api = Arc::clone(&self.api);
        let run = move |calls: &[Option<&str>]| {
            method(&api, calls.iter().map(|raw| Params::new(*raw)).collect())
        };
        self.methods.register_many(name, weight, run);
    }

    fn exposes(&self, name: &str) -> bool {
        let namespace = name.split('_').next().unwrap_or(name);
        namespace == "rpc" || self.api.modules.iter().any(|module| module == namespace)
    }
}

/// The methods of the namespaces that the API exposes.
pub(crate) fn methods(api: &Arc<Api>) -> Methods {
    let mut table = Table { api: Arc::clone(api), methods: Methods::default() };
    eth::register(&mut table);
    net::register(&mut table);
    web3::register(&mut table);
    txpool::register(&mut table);
    miner::register(&mut table);
    admin::register(&mut table);
    debug::register(&mut table);
    personal::register(&mut table);
    doors::register(&mut table);
    table.methods
}
