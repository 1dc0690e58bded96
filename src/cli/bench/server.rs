//! The server under test: one of our own as a process beside this one, or one that already runs.
//!
//! Promise: a process started here is dead, and its folder gone unless it was named, when its guard
//! is dropped, whatever happened in between.

#![expect(unsafe_code, reason = "system calls that std does not offer; each says why it is sound")]

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::super::keys::files::ADMIN_FILE;
use super::wire::ask;
use super::{BenchError, credentials};

/// How long a process may take to say where it listens: recovery of a large journal included.
const START_TIME: Duration = Duration::from_secs(120);
/// What a server prints before its address.
const LISTENING: &str = "listening on http://";

/// A process of this program that listens.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    addr: SocketAddr,
    started: Instant,
}

impl ServerProcess {
    /// Starts this program with `args` and waits for the line that says where it listens.
    ///
    /// # Errors
    /// It ended, or said nothing within two minutes.
    pub fn start(args: Vec<OsString>) -> Result<Self, BenchError> {
        let program = std::env::current_exe().map_err(|source| BenchError::io("find this program", source))?;
        let started = Instant::now();
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped());
        // SAFETY: between fork and exec the child makes one system call that allocates nothing.
        unsafe { command.pre_exec(die_with_the_parent) };
        let mut child = command.spawn().map_err(|source| BenchError::io("start the server", source))?;
        let stdout = child.stdout.take().expect("it was asked for as a pipe");
        let (address, addresses) = mpsc::sync_channel(1);
        thread::spawn(move || {
            // Reads to the end, so that the server never blocks on a full pipe.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some((_, after)) = line.split_once(LISTENING) {
                    let text = after.split(|c: char| c.is_whitespace() || c == '/').next().unwrap_or(after);
                    let _ = address.try_send(text.parse::<SocketAddr>());
                }
            }
        });
        let heard = addresses.recv_timeout(START_TIME);
        let mut server = ServerProcess { child, addr: ([127, 0, 0, 1], 0).into(), started };
        match heard {
            Ok(Ok(addr)) => server.addr = addr,
            Ok(Err(_)) => return Err(BenchError::Server("it printed an address that is none".to_owned())),
            Err(_) => return Err(BenchError::Server("it did not say where it listens".to_owned())),
        }
        Ok(server)
    }

    /// Starts `serve` on a data folder.
    ///
    /// # Errors
    /// As [`ServerProcess::start`].
    pub fn serve(data: &Path, extra: &[String]) -> Result<Self, BenchError> {
        let mut args: Vec<OsString> = vec!["serve".into(), "--data".into(), data.into()];
        args.extend(["--listen".into(), "127.0.0.1:0".into()]);
        args.extend(extra.iter().map(OsString::from));
        let server = Self::start(args)?;
        credentials::read(&data.join(ADMIN_FILE))?;
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for `/readyz` to answer 200; says how long that was after the process was started.
    ///
    /// # Errors
    /// Not ready within `patience`.
    pub fn wait_ready(&self, patience: Duration) -> Result<Duration, BenchError> {
        wait_ready(self.addr, self.started, patience)
    }

    /// kill -9, then waits for the end.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Both fail only when the process has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.end();
    }
}

/// Asks the kernel to kill this process when the thread that started it ends: a generator that is
/// interrupted must not leave a server behind.
///
/// # Errors
/// The kernel does not know how.
pub fn die_with_the_parent() -> io::Result<()> {
    // SAFETY: prctl with PR_SET_PDEATHSIG reads one integer and touches no memory of ours.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Waits for `/readyz` to answer 200; says how long after `since`.
///
/// # Errors
/// Not ready within `patience` of `since`.
pub fn wait_ready(addr: SocketAddr, since: Instant, patience: Duration) -> Result<Duration, BenchError> {
    let request = b"GET /readyz HTTP/1.1\r\nhost: munim\r\nconnection: close\r\n\r\n";
    loop {
        let said = match ask(addr, request, Duration::from_secs(2)) {
            Ok((200, _)) => return Ok(since.elapsed()),
            Ok((status, _)) => format!("/readyz answers {status}"),
            Err(error) => error.to_string(),
        };
        if since.elapsed() > patience {
            return Err(BenchError::Server(format!("it is not ready after {patience:?}: {said}")));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The socket address in `http://host:port`.
///
/// # Errors
/// Another scheme, or a host that is not known.
pub fn address_of(url: &str) -> Result<SocketAddr, BenchError> {
    let wrong = || BenchError::Server(format!("{url} is not a plain http:// address with a port"));
    let host = url.strip_prefix("http://").ok_or_else(wrong)?.trim_end_matches('/');
    host.to_socket_addrs().ok().and_then(|mut addrs| addrs.next()).ok_or_else(wrong)
}

/// A data folder: named and kept, or made beside the working folder and removed when dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    temporary: bool,
}

impl DataFolder {
    /// `named`, or a new `munim-bench-<nonce>` in the working folder: a temporary folder elsewhere is
    /// often memory, which would make fsync free.
    ///
    /// # Errors
    /// The folder cannot be made, or holds something already.
    pub fn open(named: Option<&Path>, nonce: u64) -> Result<Self, BenchError> {
        let path = named.map_or_else(|| PathBuf::from(format!("munim-bench-{nonce:016x}")), Path::to_owned);
        fs::create_dir_all(&path).map_err(|source| BenchError::io("make the data folder", source))?;
        let mut entries = fs::read_dir(&path).map_err(|source| BenchError::io("read the data folder", source))?;
        if entries.next().is_some() {
            return Err(BenchError::Server(format!("{} is not empty: a bench needs books of its own", path.display())));
        }
        Ok(DataFolder { path, temporary: named.is_none() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            eprintln!("could not remove {}: {error}", self.path.display());
        }
    }
}
