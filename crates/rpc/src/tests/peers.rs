//! What the node says about itself and its peers.

use std::sync::Arc;

use devp2p::{Enr, LocalRecord, NodeRecord, OwnRecord, PeerId};
use network::NetworkConfig;
use primitives::ForkId;
use secp256k1::SecretKey;
use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::Fixture;

#[tokio::test]
async fn node_info_says_how_others_find_the_node() {
    let fixture = Fixture::new(chain::testing::book_forks());
    let key = SecretKey::from_byte_array(&[7; 32]).unwrap();
    let config = NetworkConfig {
        key,
        client: "Hematite/test".to_owned(),
        listen: Some("127.0.0.1:0".parse().unwrap()),
        network_id: 1337,
        peers_max: 1,
        pending_max: 1,
        named: vec![],
        trusted: vec![],
        mines: false,
        restrict: None,
        found: mpsc::channel(1).1,
    };
    let (chain, pool) = fixture.parts();
    let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
    let parts = (chain, pool, Arc::new(consensus::Engine::Instant));
    let network = network::start(config, parts, &mut tasks, stop.clone()).await.unwrap();
    let (id, listen) = (PeerId::of(&key), network.address().unwrap());
    let node = NodeRecord { id, ip: [10, 1, 2, 3].into(), tcp: listen.port(), udp: 30_301 };
    let fork_id = ForkId { hash: [1, 2, 3, 4], next: 0 };
    let (mut record, own) = OwnRecord::new(LocalRecord::new(key, node, Some(fork_id), 9));
    let fixture = fixture.with_network(network.advertised_as(own));
    let info = fixture.result("admin_nodeInfo", json!([])).await;
    assert_eq!(info["enode"], json!(format!("enode://{id}@10.1.2.3:{}?discport=30301", node.tcp)));
    let enr: Enr = info["enr"].as_str().unwrap().parse().unwrap();
    assert_eq!((enr.node(), enr.fork_id(), enr.sequence()), (Some(node), Some(fork_id), 9));
    assert_eq!(format!("0x{}", info["id"].as_str().unwrap()), id.node_id().to_string());
    assert_eq!(info["ip"], json!("10.1.2.3"));
    assert_eq!(info["ports"], json!({"discovery": 30_301, "listener": node.tcp}));
    assert_eq!(info["listenAddr"], json!(listen.to_string()));
    assert_eq!(info["name"], json!("Hematite/v0.1.0/linux-amd64"));
    assert_eq!(info["protocols"]["snap"], json!({}));

    record.set_address([10, 9, 9, 9].into());
    let info = fixture.result("admin_nodeInfo", json!([])).await;
    assert_eq!(info["ip"], json!("10.9.9.9"), "it moved");
    stop.cancel();
    tasks.join_all().await;
}
