//! A poller with nanosecond timeouts.
//!
//! Promise: one system call per wait, none per request. Sockets are registered once, edge-triggered,
//! for reading and writing. `epoll_pwait2` rather than a portable poller, because those round a
//! timeout up to a millisecond: an open loop at 20,000 a second would then send bursts of twenty and
//! report its own lateness as the server's.

#![expect(unsafe_code, reason = "system calls that std does not offer; each says why it is sound")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Events fetched by one wait; more are fetched by the next.
const EVENTS_PER_WAIT: usize = 256;

/// Waits for sockets to become readable or writable.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Poller {
    /// A poller that watches nothing yet.
    ///
    /// # Errors
    /// Out of file descriptors.
    pub fn new() -> io::Result<Self> {
        // Without this the kernel adds up to 50 µs to every timeout of an ordinary thread.
        // SAFETY: prctl with PR_SET_TIMERSLACK reads one integer and touches no memory of ours.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000) };
        // SAFETY: takes a flag, returns a descriptor or -1.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and nobody else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Poller { epoll, events: Vec::with_capacity(EVENTS_PER_WAIT) })
    }

    /// Watches `socket` until it is closed; `token` comes back from [`Poller::wait`].
    ///
    /// # Errors
    /// The socket is watched already, or the system is out of watches.
    pub fn add(&self, socket: &impl AsRawFd, token: u64) -> io::Result<()> {
        let interest = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET).cast_unsigned();
        let mut event = libc::epoll_event { events: interest, u64: token };
        // SAFETY: both descriptors are open for the length of the call and `event` outlives it.
        let result =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits at most `timeout` and says how many events there are.
    ///
    /// # Errors
    /// Only for a bug of ours; a signal counts as no events.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<usize> {
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(timeout.subsec_nanos().cast_signed()),
        };
        self.events.clear();
        // SAFETY: the kernel writes at most EVENTS_PER_WAIT events into the vector's capacity, and
        // reads the timeout; a null signal mask leaves the mask alone.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                EVENTS_PER_WAIT,
                &raw const timeout,
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(0) } else { Err(error) };
        }
        let count = usize::try_from(count).expect("a count that is not negative");
        // SAFETY: the kernel has filled the first `count` events.
        unsafe { self.events.set_len(count) };
        Ok(count)
    }

    /// Token of the `index`-th event of the last wait.
    #[must_use]
    pub fn token(&self, index: usize) -> u64 {
        self.events[index].u64
    }
}
