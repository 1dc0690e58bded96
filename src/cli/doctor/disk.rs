//! The disk: room, filesystem, and how long it takes to keep a promise.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Finding, Machine, Subject, syscalls};

const WHY_ROOM: &str =
    "segments of the journal are reserved ahead; without room for the next one postings answer 503 journal_full";
const WHY_SYNC: &str = "no transfer is acknowledged before a sync: one alone waits for two of them, many share one";
const WHY_FILESYSTEM: &str =
    "what the filesystem loses in a power cut, or only pretends to sync, no journal can bring back";

/// Segments for which there should be room: the active and the next one are always reserved.
const SEGMENTS_MIN: u64 = 2;
/// Room for less than so many segments is worth a look.
const SEGMENTS_LOW: u64 = 8;
/// Files that may still be made; the journal takes one per segment.
const FILES_LOW: u64 = 1_000;

/// Syncs that are measured: the median of 64 stands still to a few percent.
const SYNCS: u64 = 64;
/// Nobody waits longer for a measurement than this, however slow the disk is.
const MEASURED_FOR_MAX: Duration = Duration::from_secs(3);
/// The bytes of each: a page, which is what a small commit changes.
const PAGE: usize = 4096;

/// A flash disk without protected cache takes about 1 ms, one of a laptop 5 ms, a spinning one 10 ms.
const SYNC_SLOW: Duration = Duration::from_millis(5);
/// Beyond this a till feels every receipt.
const SYNC_BAD: Duration = Duration::from_millis(60);
/// Faster than any medium: the cable alone takes longer.
const SYNC_UNBELIEVABLE: Duration = Duration::from_micros(8);

pub(super) fn check(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = vec![room(subject)];
    findings.extend(filesystem(subject));
    findings.push(sync(&subject.place));
    findings
}

fn room(subject: &Subject<'_>) -> Finding {
    let check = "disk.room";
    let segment = subject.number("segment_mib").max(1) * 1024 * 1024;
    let room = match syscalls::room(&subject.place) {
        Ok(room) => room,
        Err(error) => return Finding::warn(check, WHY_ROOM, format!("could not ask: {error}"), "look at `df -h`"),
    };
    let fits = room.free_bytes / segment;
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let what = format!(
        "{:.1} GiB free of {:.1}: {fits} segments of {} MiB",
        gib(room.free_bytes),
        gib(room.total_bytes),
        segment >> 20
    );
    let todo = "make room or add a disk; `docs/runbook.md`, \"Full disk\"";
    // A server that holds the folder has reserved its two segments already.
    let needed = if subject.holder.is_some() { 1 } else { SEGMENTS_MIN };
    match room.free_files {
        Some(files) if files < FILES_LOW => {
            Finding::warn(check, WHY_ROOM, format!("only {files} more files may be made"), todo)
        }
        _ if fits < needed => Finding::bad(check, WHY_ROOM, what, todo),
        _ if fits < SEGMENTS_LOW => Finding::warn(check, WHY_ROOM, what, todo),
        _ => Finding::ok(check, WHY_ROOM, what),
    }
}

/// A line of /proc/self/mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    device: String,
    point: PathBuf,
    kind: String,
    options: Vec<String>,
}

/// The mount that a path lies on: the last of the longest mount points above it.
pub(super) fn mount_of(mountinfo: &str, path: &Path) -> Option<Mount> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let (device, point, own) = (left.get(2)?, left.get(4)?, left.get(5)?);
        let (kind, shared) = (right.first()?, right.get(2)?);
        let options = own.split(',').chain(shared.split(',')).map(str::to_owned).collect();
        // The kernel writes a space in a path as \040.
        let point = PathBuf::from(point.replace("\\040", " "));
        Some(Mount { device: (*device).to_owned(), point, kind: (*kind).to_owned(), options })
    });
    mounts.filter(|mount| path.starts_with(&mount.point)).max_by_key(|mount| mount.point.components().count())
}

fn filesystem(subject: &Subject<'_>) -> Vec<Finding> {
    let mountinfo = subject.machine.proc("self/mountinfo").unwrap_or_default();
    let Some(mount) = mount_of(&mountinfo, &subject.place) else {
        let todo = "look at `findmnt -T DIR`";
        return vec![Finding::warn("disk.filesystem", WHY_FILESYSTEM, "the kernel does not say which it is", todo)];
    };
    let mut findings = vec![kind(&mount), options(&mount)];
    findings.extend(device(&subject.machine, &mount));
    findings
}

fn kind(mount: &Mount) -> Finding {
    let check = "disk.filesystem";
    let what = format!("{} at {}", mount.kind, mount.point.display());
    let todo = "put the data folder on ext4 or xfs on a disk of this machine";
    match mount.kind.as_str() {
        "ext4" | "ext3" | "xfs" => Finding::ok(check, WHY_FILESYSTEM, what),
        "tmpfs" | "ramfs" | "devtmpfs" => {
            Finding::bad(check, WHY_FILESYSTEM, format!("{what}: gone after a restart of the machine"), todo)
        }
        "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "sshfs" | "fuse.sshfs" | "virtiofs" => {
            Finding::bad(check, WHY_FILESYSTEM, format!("{what}: locks and syncs depend on another machine"), todo)
        }
        "vfat" | "exfat" | "ntfs" | "ntfs3" | "fuseblk" | "msdos" => {
            Finding::bad(check, WHY_FILESYSTEM, format!("{what}: no journal of its own, no reserved space"), todo)
        }
        "overlay" | "aufs" => Finding::warn(
            check,
            WHY_FILESYSTEM,
            format!("{what}: a container's own layer"),
            "mount a volume for the data folder",
        ),
        "btrfs" | "zfs" | "f2fs" | "bcachefs" => {
            let todo = "works; if the sync below is slow, use ext4 or xfs, or `chattr +C` on the empty folder (btrfs)";
            Finding::warn(check, WHY_FILESYSTEM, format!("{what}: copies what it overwrites, which costs syncs"), todo)
        }
        _ => Finding::warn(check, WHY_FILESYSTEM, format!("{what}: not one that we have tried"), todo),
    }
}

fn options(mount: &Mount) -> Finding {
    let check = "disk.mount_options";
    let has = |name: &str| mount.options.iter().any(|option| option == name);
    let shown = mount.options.join(",");
    if has("ro") {
        let todo = "an error of the disk may have done that: look at `dmesg`, then `fsck`, then `mount -o remount,rw`";
        return Finding::bad(check, WHY_FILESYSTEM, "mounted read-only", todo);
    }
    let loose = ["nobarrier", "barrier=0", "data=writeback", "eatmydata"];
    if let Some(option) = loose.iter().find(|option| has(option)) {
        let todo = format!("take `{option}` out of /etc/fstab and mount it again");
        return Finding::bad(
            check,
            WHY_FILESYSTEM,
            format!("mounted with {option}: a power cut may lose synced bytes"),
            todo,
        );
    }
    if has("sync") {
        let todo = "take `sync` out of /etc/fstab: the journal syncs what needs it";
        return Finding::warn(check, WHY_SYNC, "mounted with sync: every write waits", todo);
    }
    Finding::ok(check, WHY_FILESYSTEM, shown)
}

/// What the device below says of itself; nothing where the filesystem has no single one.
fn device(machine: &Machine, mount: &Mount) -> Option<Finding> {
    let check = "disk.device";
    let node = machine.sys.join("dev/block").join(&mount.device).canonicalize().ok()?;
    // A partition has no queue of its own: its disk's folder is the one above.
    let disk =
        [Some(node.as_path()), node.parent()].into_iter().flatten().find(|folder| folder.join("queue").is_dir())?;
    let queue = |name: &str| super::read(&disk.join("queue").join(name));
    let name = disk.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let cache = queue("write_cache").unwrap_or_else(|| "unknown".into());
    let has_fua = queue("fua").as_deref() == Some("1");
    let what = format!("{name}: write cache is {cache}{}", if has_fua { ", writes may pass it (FUA)" } else { "" });
    let why = "a volatile cache is emptied at each sync: fast only where the disk protects it against power cuts";
    if queue("rotational").as_deref() == Some("1") {
        let todo =
            "works, at some hundred single transfers a second; a flash disk with power-loss protection does thousands";
        return Some(Finding::warn(check, why, format!("{what}; it spins, or says so"), todo));
    }
    Some(Finding::ok(check, why, what))
}

/// Measures a page's way to the disk, in a file of its own.
fn sync(place: &Path) -> Finding {
    let check = "disk.sync";
    let path = place.join(format!(".munim-doctor-{}", std::process::id()));
    let measured = measure(&path);
    // Made by us a moment ago; where it cannot be removed the next line says why the folder is no good.
    let _ = std::fs::remove_file(&path);
    match measured {
        Ok(taken) => judge(taken),
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            Finding::bad(check, WHY_SYNC, "not measured: the disk is full", "`docs/runbook.md`, \"Full disk\"")
        }
        Err(error) => {
            let todo = "let the server's user own the folder: `chown -R munim: DIR`, and look at `dmesg` for errors of the disk";
            Finding::bad(
                check,
                WHY_SYNC,
                format!("could not write and sync a file in {}: {error}", place.display()),
                todo,
            )
        }
    }
}

fn measure(path: &Path) -> io::Result<Vec<Duration>> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    // Written once first: the journal too writes over what it has reserved and filled.
    for page in 0..SYNCS {
        write_page(&file, page)?;
    }
    file.sync_all()?;
    let started = Instant::now();
    let mut taken = Vec::new();
    for page in 0..SYNCS {
        let begun = Instant::now();
        write_page(&file, page)?;
        file.sync_data()?;
        taken.push(begun.elapsed());
        if started.elapsed() > MEASURED_FOR_MAX {
            break;
        }
    }
    Ok(taken)
}

fn write_page(file: &File, page: u64) -> io::Result<()> {
    file.write_all_at(&[page as u8; PAGE], page * PAGE as u64)
}

fn judge(mut taken: Vec<Duration>) -> Finding {
    let check = "disk.sync";
    taken.sort_unstable();
    let (median, worst) = (taken[taken.len() / 2], taken[taken.len() - 1]);
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let what = format!("4 KiB and fdatasync: {:.2} ms, the slowest of {} {:.2} ms", ms(median), taken.len(), ms(worst));
    let todo = "`docs/runbook.md`, \"Slow disk\"";
    match median {
        _ if median < SYNC_UNBELIEVABLE => {
            let todo = "ask who runs the host or the controller whether its cache survives a power cut";
            Finding::warn(check, WHY_SYNC, format!("{what}: faster than a disk can be"), todo)
        }
        _ if median > SYNC_BAD => Finding::bad(check, WHY_SYNC, what, todo),
        _ if median > SYNC_SLOW => Finding::warn(check, WHY_SYNC, what, todo),
        _ => Finding::ok(check, WHY_SYNC, what),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Bad, Ok as Well, Warn};
    use super::*;

    const MOUNTS: &str = "\
21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,errors=remount-ro
22 21 0:20 / /run rw,nosuid - tmpfs tmpfs rw,size=10%
23 21 8:1 / /srv/my\\040books ro,noatime - xfs /dev/sda1 rw";

    #[test]
    fn a_path_lies_on_the_deepest_mount_above_it() {
        let kind = |path: &str| mount_of(MOUNTS, Path::new(path)).unwrap().kind;
        assert_eq!(
            [kind("/"), kind("/runner"), kind("/run/munim"), kind("/srv/my books/a")],
            ["ext4", "ext4", "tmpfs", "xfs"]
        );
    }

    #[test]
    fn filesystems_that_lose_or_lie_are_bad() {
        let mount = |kind: &str, options: &str| Mount {
            device: "8:1".into(),
            point: "/srv".into(),
            kind: kind.into(),
            options: options.split(',').map(str::to_owned).collect(),
        };
        for (name, verdict) in
            [("ext4", Well), ("tmpfs", Bad), ("nfs4", Bad), ("vfat", Bad), ("btrfs", Warn), ("new", Warn)]
        {
            assert_eq!(kind(&mount(name, "rw")).verdict, verdict, "{name}");
        }
        for (text, verdict) in [("rw,relatime", Well), ("rw,ro", Bad), ("rw,nobarrier", Bad), ("rw,sync", Warn)] {
            assert_eq!(options(&mount("ext4", text)).verdict, verdict, "{text}");
        }
    }

    #[test]
    fn the_median_of_the_syncs_is_judged_not_the_slowest() {
        for (median_us, verdict) in [(1, Warn), (150, Well), (5_000, Well), (9_000, Warn), (80_000, Bad)] {
            let mut taken = vec![Duration::from_micros(median_us); 9];
            taken.push(Duration::from_secs(1));
            assert_eq!(judge(taken).verdict, verdict, "{median_us}");
        }
    }

    #[test]
    fn measuring_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        assert_ne!(sync(folder.path()).what, "");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
