//! The local socket: who can open the file may do everything.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// Bytes of a socket's path (`sun_path` without the final zero).
pub const PATH_BYTES_MAX: usize = 107;
/// Connections that the system keeps until they are accepted.
const BACKLOG: u32 = 128;

/// Why the local socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IpcError {
    /// The system has no room for such a path.
    #[error(
        "the path {} has {} bytes, a socket's may have {PATH_BYTES_MAX}; --ipcpath names another, --ipcdisable does without",
        .0.display(), .0.as_os_str().len()
    )]
    PathTooLong(PathBuf),
    /// Another process answers there.
    #[error("another node listens on {}; --ipcpath names another, --ipcdisable does without", .0.display())]
    InUse(PathBuf),
    /// There is a file that no node has left behind.
    #[error("{} is there already and is no socket", .0.display())]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot listen on {}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A local socket that is listened on. Its file goes when it goes.
#[derive(Debug)]
pub(crate) struct IpcListener {
    listener: UnixListener,
    file: SocketFile,
}

/// The file of a socket, and which one it is.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else's by now, perhaps.
        if identity(&self.path).is_ok_and(|now| now == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "Could not remove the IPC socket");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl IpcListener {
    /// Listens on a path. What a node that crashed has left there is replaced.
    pub(crate) async fn bind(path: &Path) -> Result<Self, IpcError> {
        if path.as_os_str().len() > PATH_BYTES_MAX {
            return Err(IpcError::PathTooLong(path.to_owned()));
        }
        let failed = |source| IpcError::Io { path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        clear(path).await?;
        let socket = UnixSocket::new_stream().map_err(failed)?;
        socket.bind(path).map_err(failed)?;
        let file = SocketFile { path: path.to_owned(), identity: identity(path).map_err(failed)? };
        // Before anybody can connect.
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        let listener = socket.listen(BACKLOG).map_err(failed)?;
        Ok(Self { listener, file })
    }

    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(socket, _)| socket)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.file.path
    }
}

/// Makes room for a socket, unless somebody needs what is there.
async fn clear(path: &Path) -> Result<(), IpcError> {
    let failed = |source| IpcError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(IpcError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(_) => Err(IpcError::InUse(path.to_owned())),
    }
}
