//! Servers that follow each other on one listening socket, as systemd runs them.
//!
//! Promise: the socket belongs to this process and is never closed between two servers; each server
//! gets it as descriptor 3 with `LISTEN_FDS` and `LISTEN_PID`, says `READY=1` on `NOTIFY_SOCKET`, and
//! is dead when its guard is dropped.

#![expect(unsafe_code, reason = "system calls that std does not offer; each says why it is sound")]

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::BenchError;
use super::server::die_with_the_parent;

/// How long a server may take to be ready, or to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// The one who holds the socket.
#[derive(Debug)]
pub struct Holder {
    listener: TcpListener,
    said: UnixDatagram,
    said_at: PathBuf,
    books: PathBuf,
    extra: Vec<String>,
    child: Option<Child>,
}

impl Holder {
    /// Listens on a free port of loopback; nothing is started yet.
    ///
    /// # Errors
    /// No socket.
    pub fn listen(folder: &Path, extra: &[String]) -> Result<Holder, BenchError> {
        let opened = || -> io::Result<(TcpListener, UnixDatagram, PathBuf)> {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
            socket.listen(4096)?;
            // A name of a socket is short, so it does not lie in the folder, whose path may be long.
            let said_at = std::env::temp_dir().join(format!("munim-notify-{}", std::process::id()));
            let _ = std::fs::remove_file(&said_at);
            let said = UnixDatagram::bind(&said_at)?;
            Ok((socket.into(), said, said_at))
        };
        let (listener, said, said_at) = opened().map_err(|error| BenchError::io("listen", error))?;
        Ok(Holder { listener, said, said_at, books: folder.join("books"), extra: extra.to_vec(), child: None })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn addr(&self) -> Result<SocketAddr, BenchError> {
        self.listener.local_addr().map_err(|error| BenchError::io("read the address", error))
    }

    /// Starts a server and waits until it says that it is ready; how long that took.
    ///
    /// # Errors
    /// It ended, or said nothing.
    pub fn start(&mut self) -> Result<Duration, BenchError> {
        let begun = Instant::now();
        let child = self.spawn().map_err(|error| BenchError::io("start the server", error))?;
        self.child = Some(child);
        let waited = self.wait_for_ready(begun);
        waited.map_err(|error| BenchError::io("hear READY=1 from the server", error))?;
        Ok(begun.elapsed())
    }

    fn spawn(&self) -> io::Result<Child> {
        // The shell moves the socket to descriptor 3, and says LISTEN_PID: nobody knows the number of
        // a process before it is one.
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec 3<&0 </dev/null; LISTEN_PID=$$ exec \"$0\" \"$@\""])
            .arg(std::env::current_exe()?)
            .args(["serve", "--data"])
            .arg(&self.books)
            .args(&self.extra)
            .env("LISTEN_FDS", "1")
            .env("NOTIFY_SOCKET", &self.said_at)
            .env_remove("WATCHDOG_USEC")
            .stdin(OwnedFd::from(self.listener.try_clone()?))
            .stdout(Stdio::null());
        // SAFETY: between fork and exec the child makes one system call that allocates nothing.
        unsafe { command.pre_exec(die_with_the_parent) };
        command.spawn()
    }

    fn wait_for_ready(&mut self, begun: Instant) -> io::Result<()> {
        self.said.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut text = [0; 4096];
        while begun.elapsed() < PATIENCE {
            match self.said.recv(&mut text) {
                Ok(count) if text[..count].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") => return Ok(()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                        return Err(io::Error::other(format!("it ended with {status}")));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::TimedOut.into())
    }

    /// Asks the server to end and waits until it has; how long that took.
    ///
    /// # Errors
    /// It does not end, or not well.
    pub fn stop(&mut self) -> Result<Duration, BenchError> {
        let Some(mut child) = self.child.take() else { return Ok(Duration::ZERO) };
        let begun = Instant::now();
        let ended = || -> io::Result<ExitStatus> {
            let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
            // SAFETY: a signal to a child of ours that has not been waited for.
            if unsafe { libc::kill(pid, libc::SIGTERM) } != 0 {
                return Err(io::Error::last_os_error());
            }
            child.wait()
        };
        let status = { ended }().map_err(|error| BenchError::io("end the server", error))?;
        if status.success() { Ok(begun.elapsed()) } else { Err(BenchError::Server(format!("it ended with {status}"))) }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Both fail only when the process has ended already, which is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_file(&self.said_at);
    }
}
