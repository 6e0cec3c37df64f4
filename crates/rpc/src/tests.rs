//! The methods on a chain in memory, from the text of a request to the text of its answer.

mod accounts;
mod blocks;
mod calls;
mod debug;
mod filters;
mod mining;
mod peers;
mod transactions;
mod transports;

use std::sync::Arc;

use chain::{
    ChainHandle, ChainThread, Origin,
    testing::{ChainBuilder, TestAccount, spec},
};
use primitives::{ChainSpec, Forks, SealedBlock, Transaction};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use txpool::{Pool, PoolConfig};

use crate::{
    HttpConfig, NAMESPACES, Node, RpcConfig, RpcServer,
    dispatch::{DispatchLimits, Dispatcher},
    methods,
    node::Api,
};

/// A node in memory, and the builder that grows the same chain.
pub(crate) struct Fixture {
    builder: ChainBuilder,
    chain: ChainHandle,
    pool: Pool,
    api: Arc<Api>,
    dispatcher: Dispatcher,
    thread: ChainThread,
}

impl Fixture {
    pub(crate) fn new(forks: Forks) -> Self {
        Self::on(spec(forks.clone()), spec(forks))
    }

    pub(crate) fn on(own: ChainSpec, builders: ChainSpec) -> Self {
        let (chain, thread) = chain::spawn(ChainBuilder::new(own).importer).unwrap();
        Self::with(chain, thread, ChainBuilder::new(builders))
    }

    fn with(chain: ChainHandle, thread: ChainThread, builder: ChainBuilder) -> Self {
        let pool = Pool::new(PoolConfig::default(), chain.clone());
        let node = node(chain.clone(), pool.clone());
        Self::of(node, thread, builder)
    }

    fn of(node: Node, thread: ChainThread, builder: ChainBuilder) -> Self {
        let (chain, pool) = (node.chain.clone(), node.pool.clone());
        let api = Arc::new(Api {
            node,
            filters: Default::default(),
            oracle: Default::default(),
            nonces: Default::default(),
            doors: Default::default(),
            is_local: true,
            modules: NAMESPACES.map(str::to_owned).to_vec(),
        });
        let dispatcher = Dispatcher::new(methods::methods(&api), DispatchLimits::default());
        Self { builder, chain, pool, api, dispatcher, thread }
    }

    /// The same chain with an empty pool that stands on its head.
    pub(crate) fn with_fresh_pool(self) -> Self {
        Self::with(self.chain, self.thread, self.builder)
    }

    /// The same node with a miner.
    pub(crate) fn with_miner(self, miner: miner::MinerHandle) -> Self {
        let node = Node { miner: Some(miner), ..self.api.node.clone() };
        Self::of(node, self.thread, self.builder)
    }

    /// The same node with peers.
    pub(crate) fn with_network(self, network: network::NetworkHandle) -> Self {
        let node = Node { network: Some(network), ..self.api.node.clone() };
        Self::of(node, self.thread, self.builder)
    }

    /// The chain and the pool.
    pub(crate) fn parts(&self) -> (ChainHandle, Pool) {
        (self.chain.clone(), self.pool.clone())
    }

    /// Adds a block to the chain.
    pub(crate) async fn grow(&mut self, transactions: Vec<Transaction>) -> SealedBlock {
        let block = self.builder.extend(transactions);
        self.import(block.clone()).await;
        block
    }

    pub(crate) async fn import(&self, block: SealedBlock) {
        self.chain.import(self.builder.verify(block), Origin::Other).await.unwrap();
    }

    /// The whole answer to one call.
    pub(crate) async fn answer(&self, method: &str, params: Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer = self.dispatcher.answer(request.to_string().as_bytes()).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    /// The result of a call that succeeds.
    pub(crate) async fn result(&self, method: &str, params: Value) -> Value {
        let answer = self.answer(method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Code and message of a call that fails.
    pub(crate) async fn error(&self, method: &str, params: Value) -> (i64, String) {
        let answer = self.answer(method, params).await;
        let error = &answer["error"];
        let code = error["code"].as_i64().unwrap_or_else(|| panic!("{method}: {answer}"));
        (code, error["message"].as_str().unwrap().to_owned())
    }
}

fn node(chain: ChainHandle, pool: Pool) -> Node {
    Node {
        chain,
        engine: Arc::new(consensus::Engine::Instant),
        pool,
        network: None,
        miner: None,
        keystore: None,
        signer: None,
        client_version: "Hematite/v0.1.0/linux-amd64".to_owned(),
        network_id: 1337,
        data_directory: "/data".into(),
        gas_max: 50_000_000,
        call_time_max: None,
        tx_fee_max: Some(1_000_000_000_000_000_000),
        finalized_depth: None,
        allow_insecure_unlock: false,
        key_kdf: ::accounts::Kdf::Light,
        log_levels: None,
        strict_receipts: false,
    }
}

pub(crate) fn account(index: u8) -> TestAccount {
    TestAccount::new(index)
}

/// London from block 0.
pub(crate) fn london_forks() -> Forks {
    Forks {
        byzantium: Some(0),
        constantinople: Some(0),
        petersburg: Some(0),
        istanbul: Some(0),
        muir_glacier: Some(0),
        berlin: Some(0),
        london: Some(0),
        ..chain::testing::book_forks()
    }
}

#[tokio::test]
async fn answers_what_clients_ask_first() {
    let fixture = Fixture::new(chain::testing::book_forks());
    for (method, want) in [
        ("web3_clientVersion", json!("Hematite/v0.1.0/linux-amd64")),
        ("net_version", json!("1337")),
        ("net_listening", json!(true)),
        ("net_peerCount", json!("0x0")),
        ("eth_chainId", json!("0x539")),
        ("eth_protocolVersion", json!("0x41")),
        ("eth_syncing", json!(false)),
        ("eth_blockNumber", json!("0x0")),
        ("eth_accounts", json!([])),
        ("eth_mining", json!(false)),
        ("eth_hashrate", json!("0x0")),
        ("eth_gasPrice", json!("0x3b9aca00")),
        ("admin_datadir", json!("/data")),
        ("admin_peers", json!([])),
        ("admin_peerTroubles", json!([])),
    ] {
        assert_eq!(fixture.result(method, json!([])).await, want, "{method}");
    }
    let sha3 = fixture.result("web3_sha3", json!(["0x"])).await;
    assert_eq!(sha3, "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
    for (method, text) in [
        ("eth_coinbase", "etherbase must be explicitly specified"),
        ("eth_getWork", "no mining work available yet"),
        ("miner_stop", "this node does not mine"),
    ] {
        assert_eq!(fixture.error(method, json!([])).await, (-32000, text.to_owned()));
    }
}

#[tokio::test]
async fn methods_clients_probe_for_do_not_exist() {
    let fixture = Fixture::new(chain::testing::book_forks());
    for method in
        ["hardhat_metadata", "debug_standardTraceBlockToFile", "personal_openWallet", "eth_compile"]
    {
        let text = format!("the method {method} does not exist/is not available");
        assert_eq!(fixture.error(method, json!([])).await, (-32601, text));
    }
}

#[tokio::test]
async fn node_info_names_the_chain() {
    let fixture = Fixture::new(chain::testing::book_forks());
    let info = fixture.result("admin_nodeInfo", json!([])).await;
    let eth = &info["protocols"]["eth"];
    assert_eq!(eth["difficulty"], json!(131_072));
    assert_eq!(eth["network"], json!(1337));
    assert_eq!(eth["genesis"], eth["head"]);
}

#[tokio::test]
async fn serves_only_the_namespaces_it_is_told_to() {
    let (chain, _thread) =
        chain::spawn(ChainBuilder::new(spec(chain::testing::book_forks())).importer).unwrap();
    let pool = Pool::new(PoolConfig::default(), chain.clone());
    let http = HttpConfig::new("127.0.0.1:0".parse().unwrap());
    let config = RpcConfig { http: Some(http), ..RpcConfig::default() };
    let shutdown = CancellationToken::new();
    let server = RpcServer::start(config, node(chain, pool), shutdown.clone()).await.unwrap();
    let address = server.http_address().unwrap();
    let calls = json!([
        {"id": 1, "method": "eth_chainId"},
        {"id": 2, "method": "rpc_modules"},
        {"id": 3, "method": "txpool_status"},
        {"id": 4, "method": "admin_datadir"},
        {"id": 5, "method": "miner_start"},
    ]);
    let answer = post(address, &calls.to_string()).await;
    assert_eq!(answer[0]["result"], "0x539");
    assert_eq!(
        answer[1]["result"],
        json!({"eth": "1.0", "net": "1.0", "rpc": "1.0", "web3": "1.0"})
    );
    for refused in &answer.as_array().unwrap()[2..] {
        assert_eq!(refused["error"]["code"], -32601, "{refused}");
    }
    shutdown.cancel();
    server.stopped().await;
}

async fn post(address: std::net::SocketAddr, body: &str) -> Value {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}
