//! TCP listeners, which the operator may open and close: `admin_startHTTP` and its like.

use std::{
    io, mem,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    HTTP_MODULES, Hosts, HttpConfig, StartError, WsConfig,
    error::RpcError,
    interface::{Interface, LOCAL},
    methods::Table,
    node::Api,
    params::Params,
    parse,
    server::{self, Door, IpcListener, Listener},
};

/// Where geth listens when nothing is said.
const HOST: &str = "localhost";
const HTTP_PORT: u16 = 8545;
const WS_PORT: u16 = 8546;

pub(crate) fn register(table: &mut Table) {
    table.light("admin_startHTTP", start_http);
    table.light("admin_stopHTTP", stop_http);
    table.light("admin_startWS", start_ws);
    table.light("admin_stopWS", stop_ws);
    // The names before geth 1.10.
    table.light("admin_startRPC", start_http);
    table.light("admin_stopRPC", stop_http);
}

/// What is listened on.
#[derive(Debug)]
pub(crate) struct Doors {
    interface: Interface,
    /// Encrypts all of them, those too that are opened later.
    tls: Option<tls::Acceptor>,
    shutdown: CancellationToken,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    http: Option<Opened>,
    ws: Option<Opened>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Opened {
    address: SocketAddr,
    /// `None` if it is part of the other.
    stop: Option<CancellationToken>,
}

impl Doors {
    /// Nothing is open yet; what will be closes with the token.
    pub(crate) fn new(
        interface: Interface,
        tls: Option<tls::Acceptor>,
        shutdown: CancellationToken,
    ) -> Self {
        Self { interface, tls, shutdown, open: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn http_address(&self) -> Option<SocketAddr> {
        self.lock().http.as_ref().map(|opened| opened.address)
    }

    pub(crate) fn ws_address(&self) -> Option<SocketAddr> {
        self.lock().ws.as_ref().map(|opened| opened.address)
    }

    /// Everything that runs, to be waited for.
    pub(crate) fn take_tasks(&self) -> JoinSet<()> {
        mem::take(&mut self.lock().tasks)
    }

    /// Opens what there is to be from the start. One address serves HTTP and WebSocket.
    pub(crate) fn open(
        &self,
        http: Option<HttpConfig>,
        mut ws: Option<WsConfig>,
        ipc: Option<IpcListener>,
        modules: Vec<String>,
    ) -> Result<(), StartError> {
        if let Some(http) = http {
            let address = http.address;
            let same = ws.take_if(|ws| ws.address == address && address.port() != 0);
            self.open_http(http, same).map_err(|source| StartError::Http { address, source })?;
        }
        if let Some(ws) = ws {
            let address = ws.address;
            self.open_ws(ws).map_err(|source| StartError::Ws { address, source })?;
        }
        let mut open = self.lock();
        open.tasks.spawn(Arc::clone(self.interface.feed()).run(self.shutdown.clone()));
        if let Some(listener) = ipc {
            tracing::info!(url = %listener.path().display(), "IPC endpoint opened");
            let listener = Listener::Ipc(listener, self.interface.sessions(modules, LOCAL));
            let limits = self.interface.limits();
            open.tasks.spawn(server::serve(listener, limits, self.shutdown.clone()));
        }
        Ok(())
    }

    fn open_http(&self, http: HttpConfig, same: Option<WsConfig>) -> io::Result<()> {
        let listener = bind(http.address)?;
        let address = listener.local_addr()?;
        let (tls, auth) = (self.tls.is_some(), !self.interface.is_open());
        tracing::info!(%address, tls, auth, "HTTP server started");
        let websocket = same.map(|ws| self.interface.websocket(ws));
        let is_shared = websocket.is_some();
        let tls = self.tls.clone();
        let door = Door { http: Some(self.interface.http(http)), websocket, tls };
        let stop = Some(self.serve(listener, door));
        let mut open = self.lock();
        open.http = Some(Opened { address, stop });
        if is_shared {
            open.ws = Some(Opened { address, stop: None });
            self.tell_of_websocket(address);
        }
        Ok(())
    }

    fn open_ws(&self, ws: WsConfig) -> io::Result<()> {
        let listener = bind(ws.address)?;
        let address = listener.local_addr()?;
        self.tell_of_websocket(address);
        let (websocket, tls) = (Some(self.interface.websocket(ws)), self.tls.clone());
        let door = Door { http: None, websocket, tls };
        let stop = Some(self.serve(listener, door));
        self.lock().ws = Some(Opened { address, stop });
        Ok(())
    }

    fn tell_of_websocket(&self, address: SocketAddr) {
        let (scheme, auth) =
            (if self.tls.is_some() { "wss" } else { "ws" }, !self.interface.is_open());
        tracing::info!(url = format!("{scheme}://{address}"), auth, "WebSocket enabled");
    }

    fn serve(&self, listener: tokio::net::TcpListener, door: Door) -> CancellationToken {
        let stop = self.shutdown.child_token();
        let listener = Listener::Tcp(listener, Arc::new(door));
        let serving = server::serve(listener, self.interface.limits(), stop.clone());
        let mut open = self.lock();
        // Those that were closed meanwhile.
        while open.tasks.try_join_next().is_some() {}
        open.tasks.spawn(serving);
        stop
    }

    fn close_http(&self) {
        let mut open = self.lock();
        if let Some(stop) = open.http.take().and_then(|opened| opened.stop) {
            stop.cancel();
            open.ws.take_if(|ws| ws.stop.is_none());
        }
    }

    fn close_ws(&self) -> Result<(), RpcError> {
        let mut open = self.lock();
        if open.ws.as_ref().is_some_and(|ws| ws.stop.is_none()) {
            return Err(RpcError::refused("WebSocket shares the port of HTTP and ends with it"));
        }
        if let Some(stop) = open.ws.take().and_then(|opened| opened.stop) {
            stop.cancel();
        }
        Ok(())
    }
}

/// Binds at once, so that who asked for it hears of a failure.
fn bind(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

fn doors(api: &Api) -> Result<Arc<Doors>, RpcError> {
    api.doors.upgrade().ok_or_else(|| RpcError::refused("this node opens no listeners"))
}

/// Host and port, by name or not.
fn address(params: &mut Params<'_>, port: u16) -> Result<SocketAddr, RpcError> {
    let host = params.optional(parse::string)?.unwrap_or_else(|| HOST.to_owned());
    let given = params.optional(parse::count)?;
    let refused = |reason: String| RpcError::Refused(reason);
    let port = given.map_or(Ok(port), u16::try_from);
    let port = port.map_err(|_| refused("invalid port".to_owned()))?;
    let mut found =
        (host.as_str(), port).to_socket_addrs().map_err(|error| refused(error.to_string()))?;
    found.next().ok_or_else(|| refused(format!("no address of {host}")))
}

fn list(params: &mut Params<'_>) -> Result<Option<Vec<String>>, RpcError> {
    let text = params.optional(parse::string)?;
    let split = |text: String| {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    };
    Ok(text.map(split))
}

fn modules(given: Option<Vec<String>>) -> Vec<String> {
    given.unwrap_or_else(|| HTTP_MODULES.map(str::to_owned).to_vec())
}

fn start_http(api: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    let address = address(params, HTTP_PORT)?;
    let origins = list(params)?.unwrap_or_default();
    let modules = modules(list(params)?);
    let hosts = list(params)?.map_or_else(|| Hosts::cluster(None), Hosts::listed);
    params.end()?;
    let doors = doors(api)?;
    if let Some(address) = doors.http_address() {
        return Err(RpcError::Refused(format!("HTTP server already running on {address}")));
    }
    let prefix = String::new();
    let config = HttpConfig { address, modules, origins, hosts, prefix, explorer: false };
    let opened = doors.open_http(config, None);
    opened.map_err(|error| RpcError::Refused(format!("listen tcp {address}: {error}")))?;
    Ok(true)
}

fn stop_http(api: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    params.end()?;
    doors(api)?.close_http();
    Ok(true)
}

fn start_ws(api: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    let address = address(params, WS_PORT)?;
    let origins = list(params)?.unwrap_or_default();
    let modules = modules(list(params)?);
    params.end()?;
    let doors = doors(api)?;
    if doors.ws_address().is_some() {
        return Err(RpcError::refused("JSON-RPC over WebSocket is already enabled"));
    }
    let opened = doors.open_ws(WsConfig { address, modules, origins, prefix: String::new() });
    opened.map_err(|error| RpcError::Refused(format!("listen tcp {address}: {error}")))?;
    Ok(true)
}

fn stop_ws(api: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    params.end()?;
    doors(api)?.close_ws()?;
    Ok(true)
}
