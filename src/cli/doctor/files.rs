//! The folder: who may read it, who holds it, and what an earlier run left to say.

use std::fs::{File, TryLockError};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::super::folder::marker_of;
use super::{Finding, Machine, Subject, read};

const WHY_SECRET: &str = "whoever reads this file is the server's administrator, or can make keys that pass for ours";
const WHY_FOLDER: &str = "the journal is everybody's money and every customer's name in plain bytes";

/// RuntimeDirectory= of systemd/munim.service.
const UNIT_RUNTIME: &str = "/run/munim";

/// Files of the data folder that only their owner may read.
const SECRETS: [&str; 3] = ["admin.key", "keys.secret", "tls/key.pem"];

pub(super) fn check(subject: &Subject<'_>) -> Vec<Finding> {
    if !subject.data.is_dir() {
        let what =
            format!("{} does not exist; its place {} was checked", subject.data.display(), subject.place.display());
        return vec![Finding::ok("folder.exists", "the first start makes it", what)];
    }
    let mut findings = vec![folder(&subject.data)];
    findings.extend(SECRETS.iter().filter_map(|name| secret(&subject.data.join(name))));
    findings.extend(owners(&subject.data));
    findings.push(held(subject));
    findings.extend(left_behind(&subject.data));
    findings
}

fn mode_of(path: &Path) -> Option<u32> {
    Some(std::fs::metadata(path).ok()?.permissions().mode() & 0o7777)
}

fn folder(data: &Path) -> Finding {
    let check = "folder.mode";
    let Some(mode) = mode_of(data) else {
        return Finding::bad(
            check,
            WHY_FOLDER,
            "could not look at the folder",
            "run this as the server's user or as root",
        );
    };
    let what = format!("{} has mode {mode:04o}", data.display());
    let todo = format!("chmod 0700 {}", data.display());
    match mode {
        _ if mode & 0o002 != 0 => Finding::bad(check, WHY_FOLDER, format!("{what}: anybody may change it"), todo),
        _ if mode & 0o007 != 0 => {
            Finding::warn(check, WHY_FOLDER, format!("{what}: anybody on this machine may look in"), todo)
        }
        _ => Finding::ok(check, WHY_FOLDER, what),
    }
}

/// A file that must be its owner's alone; nothing where it does not exist.
pub(super) fn secret(path: &Path) -> Option<Finding> {
    let mode = mode_of(path)?;
    let what = format!("{} has mode {mode:04o}", path.display());
    Some(if mode & 0o077 != 0 {
        let todo = format!("chmod 0600 {}, and replace what is in it: others may have read it", path.display());
        Finding::bad("folder.secret", WHY_SECRET, what, todo)
    } else {
        Finding::ok("folder.secret", WHY_SECRET, what)
    })
}

/// Files of another owner than the folder's: the server could not write them.
fn owners(data: &Path) -> Option<Finding> {
    let why = "a file that root made in the folder stops the server, which is not root";
    let owner = std::fs::metadata(data).ok()?.uid();
    let entries = std::fs::read_dir(data).ok()?.flatten();
    let strangers: Vec<String> = entries
        .filter(|entry| entry.metadata().is_ok_and(|metadata| metadata.uid() != owner))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    Some(if strangers.is_empty() {
        Finding::ok("folder.owner", why, format!("all files belong to the folder's owner (uid {owner})"))
    } else {
        let todo = format!("chown -R {owner}: {}", data.display());
        Finding::bad("folder.owner", why, format!("not the folder's owner's: {}", strangers.join(", ")), todo)
    })
}

fn held(subject: &Subject<'_>) -> Finding {
    let why = "one process at a time has the folder; a second one would be refused with exit status 3";
    let is_held = File::open(subject.data.join("LOCK"))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)));
    let what = match subject.holder {
        _ if !is_held => "nobody holds the folder".to_owned(),
        Some(pid) => {
            let name = subject.machine.proc(format!("{pid}/comm")).unwrap_or_default();
            format!("process {pid} ({name}) holds the folder")
        }
        None => "another process holds the folder".to_owned(),
    };
    Finding::ok("folder.holder", why, what)
}

/// The process that has the folder's lock for writing, as far as the kernel shows it.
pub(super) fn holder(machine: &Machine, data: &Path) -> Option<u32> {
    let lock = std::fs::metadata(data.join("LOCK")).ok()?;
    let (major, minor) = (lock.dev() >> 8 & 0xfff, lock.dev() & 0xff | lock.dev() >> 12 & 0xfff_ff00);
    let place = format!("{major:02x}:{minor:02x}:{}", lock.ino());
    holder_of(&machine.proc("locks")?, &place)
}

fn holder_of(locks: &str, place: &str) -> Option<u32> {
    // `1: FLOCK  ADVISORY  WRITE 1234 fe:00:131 0 EOF`; a waiter has `->` before FLOCK.
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_ours = words.get(1) == Some(&"FLOCK") && words.get(3) == Some(&"WRITE") && words.get(5) == Some(&place);
        is_ours.then(|| words[4].parse().ok()).flatten().filter(|pid| *pid > 0)
    })
}

/// What an earlier run noted for the next one.
fn left_behind(data: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let marker: PathBuf = marker_of(data);
    // The shipped unit has a runtime directory of its own, which this shell's environment does not name.
    let of_unit = marker.file_name().map(|name| Path::new(UNIT_RUNTIME).join(name));
    let noted = read(&marker).or_else(|| read(&of_unit?));
    if let Some(cause) = noted {
        let todo = "check the disk (`dmesg`, `smartctl -a`), run `munim verify --data DIR`, then `munim serve --accept-storage-failure` once";
        let why =
            "after a failed sync the kernel may have dropped what was written: the server does not start by itself";
        findings.push(Finding::bad(
            "folder.storage_failure",
            why,
            format!("the storage failed in this boot: {cause}"),
            todo,
        ));
    }
    if let Some(cause) = read(&data.join("store.damaged")) {
        let todo = "nothing: the next start moves the store away and rebuilds it; if it happens again, check the disk";
        findings.push(Finding::warn(
            "folder.store_damaged",
            "the store is a convenience, the journal is the record",
            cause,
            todo,
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Bad, Ok as Well, Warn};
    use super::*;

    #[test]
    fn a_secret_that_others_may_read_is_bad() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.key");
        assert!(secret(&path).is_none());
        std::fs::write(&path, "mk_").unwrap();
        for (mode, verdict) in [(0o600, Well), (0o400, Well), (0o640, Bad), (0o604, Bad)] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(secret(&path).unwrap().verdict, verdict, "{mode:o}");
        }
    }

    #[test]
    fn a_folder_that_others_may_change_is_bad() {
        let outer = tempfile::tempdir().unwrap();
        for (mode, verdict) in [(0o700, Well), (0o750, Well), (0o755, Warn), (0o777, Bad)] {
            std::fs::set_permissions(outer.path(), PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(folder(outer.path()).verdict, verdict, "{mode:o}");
        }
    }

    #[test]
    fn the_holder_is_the_one_who_locks_for_writing() {
        let locks = "1: POSIX  ADVISORY  WRITE 1 fe:00:131 0 EOF\n\
                     2: FLOCK  ADVISORY  READ  2 fe:00:131 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 3 fe:00:131 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 4 fe:00:1310 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE 5 fe:00:131 0 EOF";
        assert_eq!(holder_of(locks, "fe:00:131"), Some(5));
        assert_eq!(holder_of(locks, "fe:00:99"), None);
    }

    #[test]
    fn this_process_is_seen_holding_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let _held = crate::disk::FolderDisk::open(folder.path()).unwrap();
        // A sandbox may hide /proc/locks; what it shows must be true.
        if let Some(pid) = holder(&Machine::this(), folder.path()) {
            assert_eq!(pid, std::process::id());
        }
    }
}
