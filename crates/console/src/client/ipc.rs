//! JSON values over a local socket.

use std::{io, path::PathBuf};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::{REPLY_BYTES_MAX, RequestError, frame::Frame, in_time};

/// How much is read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// A socket, open or not.
pub(super) struct Ipc {
    path: PathBuf,
    open: Option<Open>,
}

struct Open {
    stream: UnixStream,
    /// What came after the last value.
    rest: Vec<u8>,
}

impl Ipc {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    pub(super) fn close(&mut self) {
        self.open = None;
    }

    pub(super) async fn send(&mut self, mut payload: String) -> Result<(), RequestError> {
        payload.push('\n');
        if self.open.is_none() {
            let connecting = UnixStream::connect(&self.path);
            let stream = in_time(async { connecting.await.map_err(RequestError::Connect) }).await?;
            self.open = Some(Open { stream, rest: Vec::new() });
        }
        let open = self.open.as_mut().expect("it was opened above");
        open.stream.write_all(payload.as_bytes()).await.map_err(RequestError::Lost)
    }

    pub(super) async fn receive(&mut self) -> Result<Vec<u8>, RequestError> {
        let lost = || RequestError::Lost(io::ErrorKind::UnexpectedEof.into());
        let open = self.open.as_mut().ok_or_else(lost)?;
        let mut value = std::mem::take(&mut open.rest);
        let mut frame = Frame::default();
        let mut seen = 0;
        loop {
            if let Some(end) = frame.end(&value[seen..]) {
                open.rest = value.split_off(seen + end);
                return Ok(value);
            }
            seen = value.len();
            if seen > REPLY_BYTES_MAX {
                return Err(RequestError::TooLarge);
            }
            value.reserve(CHUNK_BYTES);
            if open.stream.read_buf(&mut value).await.map_err(RequestError::Lost)? == 0 {
                return Err(lost());
            }
        }
    }
}
