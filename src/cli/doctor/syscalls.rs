//! System calls that std does not offer, each behind a safe function.

#![expect(unsafe_code, reason = "system calls that std does not offer; each says why it is sound")]

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What the kernel thinks of its own clock.
#[derive(Clone, Copy, Debug)]
pub struct KernelClock {
    /// Something disciplines it: an NTP or PTP client.
    pub is_synchronised: bool,
    /// How far it may be off, microseconds, as that client says.
    pub error_us_max: i64,
}

/// Asks the kernel about its clock; changes nothing.
///
/// # Errors
/// Where a sandbox forbids the call.
pub fn kernel_clock() -> io::Result<KernelClock> {
    // SAFETY: `timex` is integers only, for which zeros are valid; `modes` of 0 asks and sets nothing.
    let mut state: libc::timex = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the pointer is to a live, whole `timex` that the kernel may write.
    let result = unsafe { libc::adjtimex(&raw mut state) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let is_synchronised = result != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0;
    Ok(KernelClock { is_synchronised, error_us_max: state.maxerror })
}

/// Room on a filesystem.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Bytes that this user may still take.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Files that may still be made; `None` where the filesystem does not count them.
    pub free_files: Option<u64>,
}

/// Asks for the room on the filesystem under a path.
///
/// # Errors
/// Whatever the kernel says.
#[expect(clippy::useless_conversion, reason = "these fields are 32 bits wide on some machines")]
pub fn room(path: &Path) -> io::Result<Room> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut stat = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path ends with a zero byte, and the pointer is to memory of the right size.
    if unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded, so the kernel has filled it; zeros were valid before that.
    let stat = unsafe { stat.assume_init() };
    let unit = u64::from(stat.f_frsize);
    Ok(Room {
        free_bytes: u64::from(stat.f_bavail) * unit,
        total_bytes: u64::from(stat.f_blocks) * unit,
        free_files: (stat.f_files > 0).then(|| u64::from(stat.f_favail)),
    })
}
