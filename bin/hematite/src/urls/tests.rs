use std::net::IpAddr;

use devp2p::LocalRecord;
use secp256k1::SecretKey;

use super::*;

fn key() -> SecretKey {
    SecretKey::from_byte_array(&[7; 32]).unwrap()
}

fn url(host: &str) -> String {
    format!("enode://{}@{host}:30303?discport=30301", PeerId::of(&key()))
}

fn addresses(ips: &[&str]) -> io::Result<Vec<SocketAddr>> {
    Ok(ips.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 30_303)).collect())
}

fn ip(node: Option<NodeRecord>) -> Option<String> {
    node.map(|node| node.ip.to_string())
}

#[test]
fn a_name_that_moves_is_followed_and_one_that_is_lost_stays_where_it_was() {
    let mut name = Name::parse(&url("boot-0.boot.default.svc")).unwrap();
    let lost = || Err(io::Error::other("NXDOMAIN"));
    assert_eq!(name.on_answer(lost()), None);
    let node = name.on_answer(addresses(&["10.0.0.1"])).unwrap();
    assert_eq!(node, url("10.0.0.1").parse().unwrap());
    assert_eq!(ip(name.on_answer(lost())).as_deref(), Some("10.0.0.1"));
    assert_eq!(ip(name.on_answer(addresses(&[]))).as_deref(), Some("10.0.0.1"));
    assert_eq!(ip(name.on_answer(addresses(&["10.0.0.2"]))).as_deref(), Some("10.0.0.2"));
}

#[test]
fn of_a_thousand_addresses_sixteen_are_tried_in_turn() {
    let mut name = Name::parse(&url("boot")).unwrap();
    let address = |number: u32| SocketAddr::new(IpAddr::from(number.to_be_bytes()), 30_303);
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..40_u32 {
        // The order of an answer means nothing.
        let answer = (0..1_000).map(|number| address(167_772_160 + (number + round) % 1_000));
        seen.insert(name.on_answer(Ok(answer.collect())).unwrap().ip);
    }
    assert_eq!((seen.len(), name.addresses.len()), (ADDRESSES_MAX, ADDRESSES_MAX));
}

#[test]
fn the_text_of_a_signed_record_is_a_node_and_a_record() {
    let node: NodeRecord = url("10.0.0.1").parse().unwrap();
    let enr = LocalRecord::new(key(), node, None, 1).enr().clone();
    let sources = Sources::lenient(&[enr.to_string(), url("10.0.0.1"), url("name")]);
    assert_eq!(sources.known(), [node, node]);
    assert_eq!(sources.records(), [enr]);
    assert_eq!(sources.ids(), [node.id; 3]);
    assert!(!sources.are_known());
}

#[test]
fn what_is_no_url_is_left_out_or_refused() {
    let forged = "enr:-IS4QHCYrYZbAKWCBRlAy5zzaDZXJBGkcnh4MHcBFZntXNFrdvJjX04jRzjz".to_owned();
    let bad = [
        "junk".to_owned(),
        forged,
        "enode://x".to_owned(),
        format!("enode://{}@host", PeerId::of(&key())),
        format!("enode://{}@1.2.3:1", PeerId::of(&key())),
        format!("enode://{}@a b:1", PeerId::of(&key())),
        format!("enode://{}@host:70000", PeerId::of(&key())),
        format!("enode://{}@host:1?discport=x", PeerId::of(&key())),
    ];
    assert_eq!(Sources::lenient(&bad).ids(), []);
    for url in bad {
        assert!(Sources::default().add(&url).is_err(), "{url}");
    }
}

#[test]
fn lists_of_both_folders_are_read_and_bad_ones_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (top, geth) = (folder.path().join("l.json"), folder.path().join("geth"));
    assert_eq!(Sources::of_files(folder.path(), "l.json").unwrap().ids(), []);
    std::fs::create_dir(&geth).unwrap();
    let list = format!("[\"{}\", \"\"]", url("10.0.0.1"));
    std::fs::write(geth.join("l.json"), list).unwrap();
    std::fs::write(&top, format!("[\"{}\"]", url("host"))).unwrap();
    assert_eq!(Sources::of_files(folder.path(), "l.json").unwrap().ids().len(), 2);
    std::fs::write(&top, "null").unwrap();
    assert_eq!(Sources::of_files(folder.path(), "l.json").unwrap().ids().len(), 1);
    for (text, words) in [("{}", "is no JSON array"), ("[\"enode://x\"]", "in ")] {
        std::fs::write(&top, text).unwrap();
        let error = Sources::of_files(folder.path(), "l.json").unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("l.json"), "{error}");
    }
}

#[test]
fn a_registrars_list_is_bounded_and_what_is_no_node_in_it_is_left_out() {
    let many = vec![url("10.0.0.1"); REGISTERED_MAX + 1].join(",");
    assert_eq!(listed(&many).len(), REGISTERED_MAX);
    assert_eq!(listed(&format!("junk, {},\n", url("10.0.0.1"))).len(), 1);
    assert_eq!(listed("\n"), []);
}

/// `host:port` of each registrar.
fn hosts(sources: &Sources) -> Vec<String> {
    let host = |source: &Source| match source {
        Source::Registrar(host) => Some(host.clone()),
        Source::Node(_) | Source::Name(_) => None,
    };
    sources.sources.iter().filter_map(host).collect()
}

#[test]
fn a_registrar_whose_url_names_no_port_is_asked_at_that_of_http() {
    let urls =
        ["http://registrar", "http://registrar:9898/", "http://[fd00::7]", "http://[fd00::7]:1"];
    let sources = Sources::lenient(&urls.map(str::to_owned));
    assert_eq!(hosts(&sources), ["registrar:80", "registrar:9898", "[fd00::7]:80", "[fd00::7]:1"]);
}

#[test]
fn registrars_are_found_among_the_services_that_kubernetes_tells_of() {
    let variables = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let hosts = |pairs: &[(&str, &str)]| {
        let mut sources = Sources::default();
        sources.add_linked(&variables(pairs));
        hosts(&sources)
    };
    let book = [
        ("ETH_BOOTNODE_REGISTRAR_SERVICE_HOST", "10.96.239.97"),
        ("ETH_BOOTNODE_REGISTRAR_SERVICE_PORT", "80"),
        ("ETH_BOOTNODE_REGISTRAR_PORT", "tcp://10.96.239.97:80"),
        ("ETH_GETH_TX_SERVICE_HOST", "10.96.0.7"),
        ("ETH_GETH_TX_SERVICE_PORT", "8545"),
    ];
    assert_eq!(hosts(&book), ["10.96.239.97:80"]);
    let v6 = [
        ("BOOTNODE_REGISTRAR_SERVICE_HOST", "fd00::7"),
        ("BOOTNODE_REGISTRAR_SERVICE_PORT", "9898"),
    ];
    assert_eq!(hosts(&v6), ["[fd00::7]:9898"]);
    let wrong = [
        ("A_BOOTNODE_REGISTRAR_SERVICE_HOST", "10.0.0.1"),
        ("B_BOOTNODE_REGISTRAR_SERVICE_HOST", "elsewhere"),
        ("B_BOOTNODE_REGISTRAR_SERVICE_PORT", "80"),
        ("C_BOOTNODE_REGISTRAR_SERVICE_HOST", "10.0.0.1"),
        ("C_BOOTNODE_REGISTRAR_SERVICE_PORT", "tcp://10.0.0.1:80"),
    ];
    assert_eq!(hosts(&wrong), [""; 0]);
    let names: Vec<String> = (0..20).map(|number| format!("N{number}_{LINK_HOST}")).collect();
    let ports: Vec<String> = (0..20).map(|number| format!("N{number}_{LINK_PORT}")).collect();
    let many = names.iter().map(|name| (name.as_str(), "10.0.0.1"));
    let many: Vec<_> = many.chain(ports.iter().map(|name| (name.as_str(), "80"))).collect();
    assert_eq!(hosts(&many).len(), LINKS_MAX);
}

#[tokio::test]
async fn who_cannot_be_asked_keeps_nobody_else_from_being_found() {
    let urls = [url("no-such-host.invalid"), url("10.0.0.1"), "http://127.0.0.1:1/".to_owned()];
    let mut sources = Sources::lenient(&urls);
    assert_eq!(sources.resolve().await, [url("10.0.0.1").parse().unwrap()]);
    let mut sources = Sources::lenient(&[url("localhost")]);
    assert!(sources.resolve().await[0].ip.is_loopback());
}
