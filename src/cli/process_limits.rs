//! What the system lets this process hold.

#![expect(unsafe_code, reason = "system calls that std does not offer; each says why it is sound")]

use std::io;

/// Raises the number of files (and so of connections) that this process may hold to the most that
/// its starter allows; says how many that are.
///
/// # Errors
/// The system refuses, which leaves everything as it was.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes two integers into `limit`, which outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads two integers out of `limit`.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

/// Gives way: the calling thread runs where those that serve leave a processor free, the more so the greater its
/// `niceness` is (1 to 19; at 5 it has a third of another one's share of a busy processor, at 10 a tenth). Not for a
/// thread that takes locks which those that serve wait for. Where the system refuses, a warning says so.
pub fn give_way(niceness: i32) {
    // SAFETY: takes three integers; `0` is the calling thread on Linux.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) } != 0 {
        let error = io::Error::last_os_error();
        tracing::warn!(%error, "background work runs at the same priority as requests");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_can_be_raised_to_what_is_allowed() {
        let raised = raise_open_files().unwrap();
        assert!(raised >= 256);
        assert_eq!(raise_open_files().unwrap(), raised);
    }
}
