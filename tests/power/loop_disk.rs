//! An ext4 filesystem in a file, whose power can be cut.
//!
//! Promise: after [`LoopDisk::cut`] the filesystem keeps only what it had been made to keep; the proof
//! ([`LoopDisk::prove_that_cuts_lose`]) runs before every use, since a cut that loses nothing proves nothing.
#![expect(unsafe_code, reason = "signals and the shutdown ioctl, which std does not offer")]

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// `FS_IOC_SHUTDOWN`, `_IOR('X', 125, __u32)`: no I/O reaches the disk after it.
const FS_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587D;

/// What becomes of ext4's own log at the cut.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// `EXT4_GOING_FLAGS_LOGFLUSH`: it is written; data pages are lost.
    FlushLog = 1,
    /// `EXT4_GOING_FLAGS_NOLOGFLUSH`: it is lost too.
    LoseLog = 2,
}

/// A mounted filesystem; unmounted when dropped.
#[derive(Debug)]
pub struct LoopDisk {
    image: PathBuf,
    pub mount: PathBuf,
}

/// Runs a command of the system.
fn system(program: &str, args: &[&dyn AsRef<std::ffi::OsStr>]) -> Result<(), String> {
    let out = Command::new(program).args(args.iter().map(AsRef::as_ref)).output();
    let out = out.map_err(|error| format!("{program}: {error}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim()))
}

/// SIGSTOP, and waits until no thread of the process runs. Threads that are inside the kernel for the disk
/// may stay there: they stop before they see another instruction of ours.
pub fn stop(pid: u32) -> Result<(), String> {
    let id = i32::try_from(pid).map_err(|error| error.to_string())?;
    // SAFETY: a plain system call; `id` is our own child, not yet waited for.
    if unsafe { libc::kill(id, libc::SIGSTOP) } != 0 {
        return Err("could not stop the server".into());
    }
    for _ in 0..10_000 {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).map_err(|error| error.to_string())?;
        let is_running = tasks.flatten().any(|task| {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            status.lines().any(|line| line.starts_with("State:\tR") || line.starts_with("State:\tS"))
        });
        if !is_running {
            return Ok(());
        }
        std::thread::park_timeout(Duration::from_micros(200));
    }
    Err("the server does not stop".into())
}

impl LoopDisk {
    /// Makes and mounts a filesystem of so many MiB in `folder`.
    pub fn make(folder: &Path, mib: u64) -> Result<LoopDisk, String> {
        let (image, mount) = (folder.join("disk.ext4"), folder.join("disk"));
        let file = File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(mib << 20).map_err(|error| error.to_string())?;
        fs::create_dir(&mount).map_err(|error| error.to_string())?;
        // No blocks are set aside for root: full means full.
        system("mkfs.ext4", &[&"-q", &"-m", &"0", &image])?;
        let disk = LoopDisk { image, mount };
        disk.remount()?;
        Ok(disk)
    }

    /// Mounts it; ext4 replays its log.
    fn mount_again(&self) -> Result<(), String> {
        system("mount", &[&"-o", &"loop", &self.image, &self.mount])
    }

    /// Unmounts it where it is mounted, and mounts it again.
    pub fn remount(&self) -> Result<(), String> {
        let mounts = fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
        if mounts.contains(&*self.mount.to_string_lossy()) {
            system("umount", &[&self.mount])?;
        }
        self.mount_again()
    }

    /// Cuts the power: from here on nothing reaches the disk. Unmount and mount to see what is left.
    pub fn cut(&self, cut: Cut) -> Result<(), String> {
        let root = File::open(&self.mount).map_err(|error| error.to_string())?;
        let flag = cut as u32;
        // SAFETY: the descriptor is open, and the ioctl reads one u32 that outlives the call.
        let result = unsafe { libc::ioctl(root.as_raw_fd(), FS_IOC_SHUTDOWN as _, &raw const flag) };
        if result == 0 { Ok(()) } else { Err(format!("shutdown: {}", std::io::Error::last_os_error())) }
    }

    /// What was synced survives a cut, what was not does not: else these tests look at nothing.
    pub fn prove_that_cuts_lose(&mut self) -> Result<(), String> {
        let path = self.mount.join("proof");
        let io = |error: std::io::Error| format!("proof: {error}");
        let mut file = File::create(&path).map_err(io)?;
        file.write_all(b"kept").map_err(io)?;
        file.sync_all().map_err(io)?;
        File::open(&self.mount).and_then(|root| root.sync_all()).map_err(io)?;
        file.write_all(b" lost").map_err(io)?;
        self.cut(Cut::LoseLog)?;
        drop(file);
        self.remount()?;
        let text = fs::read_to_string(&path).map_err(io)?;
        if text != "kept" {
            return Err(format!("after a cut the file holds {text:?}, not the synced part alone"));
        }
        fs::remove_file(&path).map_err(io)
    }

    /// Bytes that a file could still take.
    pub fn free(&self) -> Result<u64, String> {
        let out = Command::new("stat").args(["-f", "-c", "%a %S"]).arg(&self.mount).output();
        let text = String::from_utf8_lossy(&out.map_err(|error| error.to_string())?.stdout).into_owned();
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [blocks, size] = numbers[..] else { return Err(format!("stat: {text}")) };
        Ok(blocks * size)
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // Lazily: a test that failed may leave files open.
        let _ = system("umount", &[&"-l", &self.mount]);
    }
}
