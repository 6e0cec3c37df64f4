//! What all transports have in common: one node, one set of filters, one set of limits.

use std::sync::{Arc, Mutex, Weak};

use crate::{
    HttpConfig, Node, WsConfig,
    budget::Budget,
    dispatch::{DispatchLimits, Dispatcher, Methods},
    doors::Doors,
    eth::{fees::Oracle, filter::Filters},
    feed::Feed,
    methods::{self, NAMESPACES},
    node::Api,
    server::{
        BODIES_BYTES_MAX, Guard, HttpService, Origins, ServerLimits, SessionService,
        WebSocketService,
    },
    subscriptions::QUERIES_BYTES_MAX,
};

/// The transport that only this machine's operator reaches.
pub(crate) const LOCAL: &str = "IPC";

/// Makes what is answered on each transport.
#[derive(Debug)]
pub(crate) struct Interface {
    node: Node,
    filters: Arc<Filters>,
    oracle: Arc<Oracle>,
    nonces: Arc<Mutex<()>>,
    feed: Arc<Feed>,
    bodies: Arc<Budget>,
    queries: Arc<Budget>,
    limits: ServerLimits,
    /// Who may ask where others than the operator can.
    guard: Guard,
    /// For the methods that open and close them.
    doors: Weak<Doors>,
    /// Without methods; it holds what all dispatchers share.
    dispatcher: Dispatcher,
}

impl Interface {
    pub(crate) fn new(
        node: Node,
        limits: ServerLimits,
        dispatch: DispatchLimits,
        guard: Guard,
        doors: Weak<Doors>,
    ) -> Self {
        let dispatcher = Dispatcher::new(Methods::default(), dispatch).beside(node.miner.clone());
        let feed = Feed::new(node.chain.clone(), node.pool.clone(), node.network.clone());
        Self {
            node,
            filters: Arc::default(),
            oracle: Arc::default(),
            nonces: Arc::default(),
            feed: Arc::new(feed),
            bodies: Arc::new(Budget::new(BODIES_BYTES_MAX)),
            queries: Arc::new(Budget::new(QUERIES_BYTES_MAX)),
            limits,
            guard,
            doors,
            dispatcher,
        }
    }

    /// How much connections may cost.
    pub(crate) const fn limits(&self) -> ServerLimits {
        self.limits
    }

    /// Whether everybody may ask.
    pub(crate) fn is_open(&self) -> bool {
        self.guard.is_open()
    }

    /// What subscribers are told.
    pub(crate) const fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    pub(crate) fn http(&self, config: HttpConfig) -> HttpService {
        let HttpConfig { address: _, modules, origins, hosts, prefix, explorer } = config;
        let dispatcher = Arc::new(self.dispatcher(modules, "HTTP"));
        let bodies = Arc::clone(&self.bodies);
        let body_bytes = self.limits.body_bytes;
        let guard = self.guard.clone();
        HttpService { dispatcher, guard, hosts, origins, prefix, body_bytes, bodies, explorer }
    }

    pub(crate) fn websocket(&self, config: WsConfig) -> WebSocketService {
        let WsConfig { address: _, modules, origins, prefix } = config;
        let machine = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
        WebSocketService {
            sessions: self.sessions(modules, "WebSocket"),
            guard: self.guard.clone(),
            origins: Origins::new(&origins, &machine),
            prefix,
        }
    }

    /// What is answered on connections that stay open.
    pub(crate) fn sessions(&self, modules: Vec<String>, transport: &str) -> Arc<SessionService> {
        Arc::new(SessionService {
            dispatcher: self.dispatcher(modules, transport),
            feed: Arc::clone(&self.feed),
            limits: self.limits.session,
            bodies: Arc::clone(&self.bodies),
            queries: Arc::clone(&self.queries),
        })
    }

    fn dispatcher(&self, modules: Vec<String>, transport: &str) -> Dispatcher {
        let (modules, unknown): (Vec<_>, Vec<_>) =
            modules.into_iter().partition(|name| NAMESPACES.contains(&name.as_str()));
        if !unknown.is_empty() {
            tracing::error!(unavailable = ?unknown, available = ?NAMESPACES, "Unavailable modules in {transport} API list");
        }
        let api = Arc::new(Api {
            node: self.node.clone(),
            filters: Arc::clone(&self.filters),
            oracle: Arc::clone(&self.oracle),
            nonces: Arc::clone(&self.nonces),
            doors: self.doors.clone(),
            is_local: transport == LOCAL,
            modules: modules.into_iter().filter(|name| name != "rpc").collect(),
        });
        self.dispatcher.with_methods(methods::methods(&api))
    }
}
