//! Says hello to a node, or to whoever dials, and shows what it said.
//!
//! `hello enode://…` dials; `hello 127.0.0.1:30303` listens, prints its own URL, and takes one
//! connection.

use std::{
    env,
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    time::Duration,
};

use devp2p::{Capability, Local, NodeRecord, Protocol, Session, accept, dial};
use secp256k1::SecretKey;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time,
};
use tokio_util::sync::CancellationToken;

/// How long to wait for a message after the hellos.
const PATIENCE: Duration = Duration::from_secs(2);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let target = env::args().nth(1).ok_or("usage: hello <enode URL, or address to listen on>")?;
    let session = match target.parse::<NodeRecord>() {
        Ok(node) => {
            let stream = TcpStream::connect(node.tcp_address()).await?;
            dial(stream, &node.id, &local(0)?).await?
        }
        Err(_) => listen(target.parse()?).await?,
    };
    show(&session)?;
    // Whoever speaks eth sends its status now.
    let (_outgoing, outgoing_due) = mpsc::channel(1);
    let (incoming, mut messages) = mpsc::channel(1);
    let (stop, traffic) = (CancellationToken::new(), session.traffic());
    let mut running = std::pin::pin!(session.run(outgoing_due, incoming, stop.clone()));
    let first = tokio::select! {
        ended = &mut running => return Ok(writeln!(io::stdout(), "ended: {ended:?}")?),
        first = time::timeout(PATIENCE, messages.recv()) => first,
    };
    match first {
        Ok(Some(message)) => writeln!(
            io::stdout(),
            "first message: {} of capability {}, {} bytes",
            message.id,
            message.capability,
            message.payload.len()
        )?,
        Ok(None) | Err(_) => writeln!(io::stdout(), "no message")?,
    }
    stop.cancel();
    writeln!(io::stdout(), "ended: {:?}, {traffic:?}", running.await)?;
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<Session, Box<dyn Error>> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let local = local(address.port())?;
    let (id, ip, port) = (local.id(), address.ip(), address.port());
    writeln!(io::stdout(), "{}", NodeRecord { id, ip, tcp: port, udp: port })?;
    let (stream, _) = listener.accept().await?;
    Ok(accept(stream, &local).await?)
}

fn show(session: &Session) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let hello = session.hello();
    writeln!(out, "id: {}", session.id())?;
    writeln!(out, "name: {}", hello.name)?;
    writeln!(out, "version: {}, port: {}", hello.version, hello.port)?;
    for capability in &hello.capabilities {
        writeln!(out, "speaks: {capability}")?;
    }
    for shared in session.shared() {
        writeln!(out, "shared: {} from code {}", shared.capability, shared.offset)?;
    }
    Ok(())
}

fn local(port: u16) -> Result<Local, Box<dyn Error>> {
    let versions = [(63, 17), (64, 17), (65, 17), (66, 17), (67, 17), (68, 17)];
    let protocols = versions
        .map(|(version, messages)| Protocol {
            capability: Capability::new("eth", version),
            messages,
        })
        .to_vec();
    let name = "Hematite/hello".to_owned();
    Ok(Local { key: SecretKey::from_slice(&rand::random::<[u8; 32]>())?, name, port, protocols })
}
