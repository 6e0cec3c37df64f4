use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    Acceptor, Connector, PemError, Stream,
    testing::{Authority, Certified},
};

/// A connection's two ends, before anything was said.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

/// How a client that dials a host gets on with a server.
async fn greet(
    connector: &Connector,
    host: &str,
    acceptor: &Acceptor,
) -> (io::Result<Stream>, io::Result<Stream>) {
    let (client, server) = pair().await;
    tokio::join!(connector.connect(host, client), acceptor.accept(server))
}

#[tokio::test]
async fn both_ends_understand_each_other() {
    let authority = Authority::new();
    for host in ["localhost", "127.0.0.1"] {
        let (client, server) = greet(&authority.connector(), host, &authority.acceptor()).await;
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        let question = vec![7; 100_000];
        let heard = async {
            let mut heard = Vec::new();
            server.read_to_end(&mut heard).await.unwrap();
            server.write_all(b"answer").await.unwrap();
            server.shutdown().await.unwrap();
            heard
        };
        let told = async {
            client.write_all(&question).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let (heard, answer) = tokio::join!(heard, told);
        assert_eq!(answer, b"answer");
        assert!(heard == question);
    }
}

#[tokio::test]
async fn a_server_of_another_authority_or_name_is_refused_with_a_way_out() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let acceptor = authority.acceptor();
    let unrelated = Connector::trusting(authority.certify(&["a"]).chain.as_bytes()).unwrap();
    for (connector, host, words) in [
        (unrelated, "localhost", "--tls.cafile"),
        (stranger.connector(), "localhost", "--tls.cafile"),
        (authority.connector(), "other.example", "other.example"),
        (authority.connector(), "not a name", "name"),
    ] {
        let error = greet(&connector, host, &acceptor).await.0.unwrap_err().to_string();
        assert!(error.contains(words), "{host}: {error}");
    }
}

#[tokio::test]
async fn who_speaks_no_tls_is_told_so() {
    let authority = Authority::new();
    let (mut client, server) = pair().await;
    client.write_all(b"POST / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(authority.acceptor().accept(server).await.is_err());
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("an HTTPS server"), "{answer}");
    let (client, mut server) = pair().await;
    server.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let error = authority.connector().connect("localhost", client).await.unwrap_err();
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
}

#[test]
fn files_that_are_of_no_use_are_told_apart() {
    let authority = Authority::new();
    let (one, other) = (authority.certify(&["localhost"]), authority.certify(&["localhost"]));
    let Certified { chain, key } = &one;
    let read = |chain: &str, key: &str| {
        Acceptor::from_pem(chain.as_bytes(), key.as_bytes()).map(drop).unwrap_err()
    };
    assert_eq!(read(chain, &other.key), PemError::Mismatch);
    let torn = chain.replacen("MI", "AA", 1);
    for bad in ["", "rubbish", key, &chain[..chain.len() / 2], &torn] {
        assert!(matches!(read(bad, key), PemError::Certificate(_)), "{bad}");
    }
    let (torn, locked) = (key.replacen("MI", "AA", 1), key.replace("PRIVATE", "ENCRYPTED PRIVATE"));
    for bad in ["", "rubbish", chain, &torn, &locked] {
        assert!(matches!(read(chain, bad), PemError::Key(_)), "{bad}");
    }
    assert!(matches!(Connector::trusting(b"").unwrap_err(), PemError::Certificate(_)));
    assert_eq!(format!("{:?}", authority.acceptor()), "Acceptor { .. }");
}
