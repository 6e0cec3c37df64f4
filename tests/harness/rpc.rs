//! JSON-RPC, as a test calls it.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::{Value, json};

/// How long an answer may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(180);

/// Why there is no result.
#[derive(Debug)]
pub enum Fault {
    /// The connection broke: nobody knows whether the call was heard.
    Broken(io::Error),
    /// The node said no.
    Refused(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// JSON-RPC over one HTTP connection that is kept open.
#[derive(Debug)]
pub struct Rpc {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

impl Rpc {
    /// Calls a node at an address.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    /// A place holder until the address is known.
    #[must_use]
    pub fn nowhere() -> Self {
        Self::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Another connection to the same node.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::new(self.address)
    }

    /// Where the node listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// As libraries want it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Calls a method.
    ///
    /// # Errors
    ///
    /// If there is no result.
    pub fn try_call(&mut self, method: &str, params: &Value) -> Result<Value, Fault> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let kept = self.connection.is_some();
        let mut answer = self.exchange(&request.to_string());
        if kept && answer.as_ref().is_err_and(is_closed) {
            // The node closes connections that are idle for long.
            self.connection = None;
            answer = self.exchange(&request.to_string());
        }
        if answer.is_err() {
            self.connection = None;
        }
        let mut answer: Value = serde_json::from_slice(&answer?).map_err(io::Error::other)?;
        match answer.get("error") {
            Some(error) => Err(Fault::Refused(error.to_string())),
            None => Ok(answer["result"].take()),
        }
    }

    /// Calls a method that must succeed.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, &params)
            .unwrap_or_else(|fault| panic!("{method} {params}: {fault:?}"))
    }

    fn exchange(&mut self, body: &str) -> io::Result<Vec<u8>> {
        if self.connection.is_none() {
            let stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
            stream.set_nodelay(true)?;
            self.connection = Some(BufReader::new(stream));
        }
        let connection = self.connection.as_mut().expect("it was just made");
        let (host, length) = (self.address, body.len());
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        connection.get_mut().write_all(request.as_bytes())?;
        let mut length = Some(0);
        let mut status = String::new();
        connection.read_line(&mut status)?;
        if status.is_empty() {
            return Err(io::Error::from(io::ErrorKind::ConnectionAborted));
        }
        if !status.starts_with("HTTP/1.1 200") {
            return Err(io::Error::other(format!("no answer but {status:?}")));
        }
        loop {
            let mut line = String::new();
            connection.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            let line = line.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = Some(value.trim().parse().map_err(io::Error::other)?);
            }
            // geth does not know how long a long answer is.
            if line.trim_end() == "transfer-encoding: chunked" {
                length = None;
            }
        }
        let Some(length) = length else { return chunks(connection) };
        let mut body = vec![0; length];
        connection.read_exact(&mut body)?;
        Ok(body)
    }

    /// The height of the head.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    pub fn block_number(&mut self) -> u64 {
        number(&self.call("eth_blockNumber", json!([])))
    }

    /// A block without its transactions, by tag or by number.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    pub fn block(&mut self, id: &str) -> Value {
        self.call("eth_getBlockByNumber", json!([id, false]))
    }

    /// A block without its transactions, by number.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    pub fn block_at(&mut self, number: u64) -> Value {
        self.block(&format!("{number:#x}"))
    }

    /// Sends a signed transaction; returns its hash.
    ///
    /// # Panics
    ///
    /// If it is refused.
    pub fn send(&mut self, raw: &str) -> String {
        let hash = self.call("eth_sendRawTransaction", json!([raw]));
        hash.as_str().expect("a hash").to_owned()
    }
}

/// A body that comes in pieces, each behind its length.
fn chunks(connection: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        connection.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let start = body.len();
        body.resize(start + length, 0);
        connection.read_exact(&mut body[start..])?;
        connection.read_line(&mut line)?;
        if length == 0 {
            return Ok(body);
        }
    }
}

/// Whether the other side had closed the connection before it read the request.
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | BrokenPipe)
}

/// A quantity's number.
///
/// # Panics
///
/// If it is none.
#[must_use]
pub fn number(quantity: &Value) -> u64 {
    let text = quantity.as_str().unwrap_or_else(|| panic!("{quantity} is no quantity"));
    u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("a quantity is hexadecimal")
}
