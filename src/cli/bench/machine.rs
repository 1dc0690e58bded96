//! What a figure was measured on: the machine, the processes, the disk.
//!
//! Promise: nothing here fails a run. What cannot be found out is `unknown` or absent.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Clock ticks of /proc: the kernel shows 100 a second to every program, whatever it uses inside.
const TICKS_PER_SECOND: u64 = 100;
/// Zeros are given back to the disk in holes of this size when a segment is sealed (`disk::real`); smaller runs of them stay.
const PIECE_BYTES: usize = 64 << 10;

/// Processor time of a process, to 10 ms.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime {
    /// In its own code.
    pub user: Duration,
    /// In the kernel on its behalf.
    pub system: Duration,
}

impl CpuTime {
    /// The time used since `before`.
    #[must_use]
    pub fn since(self, before: CpuTime) -> CpuTime {
        CpuTime { user: self.user.saturating_sub(before.user), system: self.system.saturating_sub(before.system) }
    }
}

/// Where figures come from.
#[derive(Clone, Debug)]
pub struct Machine {
    /// As the processor calls itself.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// Kernel release.
    pub kernel: String,
    /// Commit of the code: of the build where the build said it, else of the folder we stand in.
    pub commit: String,
}

impl Machine {
    /// Looks around.
    #[must_use]
    pub fn look() -> Self {
        let unknown = || "unknown".to_owned();
        let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        });
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned());
        Machine {
            cpu: cpu.unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.unwrap_or_else(|_| unknown()),
            commit: option_env!("MUNIM_COMMIT").map(str::to_owned).or_else(commit_here).unwrap_or_else(unknown),
        }
    }
}

fn commit_here() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

/// Type of the file system that holds `folder`, as in the mount table.
#[must_use]
pub fn filesystem_of(folder: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let kind_of = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let mount = Path::new(before.split(' ').nth(4)?).to_owned();
        let kind = after.split(' ').next()?.to_owned();
        folder.starts_with(&mount).then(|| (mount.as_os_str().len(), kind))
    };
    mounts.lines().filter_map(kind_of).max_by_key(|(depth, _)| *depth).map_or("unknown".to_owned(), |(_, kind)| kind)
}

/// Processor time that process `pid` has used.
#[must_use]
pub fn cpu_time(pid: u32) -> Option<CpuTime> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold spaces: count from its end.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut next = || {
        let ticks: u64 = fields.next()?.parse().ok()?;
        Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    };
    Some(CpuTime { user: next()?, system: next()? })
}

/// Resident memory of process `pid`, bytes.
#[must_use]
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Bytes that the files of a folder occupy on disk: allocated blocks, sub-folders included.
#[must_use]
pub fn allocated_bytes(folder: &Path) -> u64 {
    // st_blocks counts 512 bytes whatever the file system's block is.
    sum_of_files(folder, &|_, meta| meta.blocks() * 512)
}

/// Bytes of the 64 KiB pieces of a folder's files that hold anything, sub-folders included: what they occupy once sealed,
/// without the space that the journal and the store fill with zeros ahead of their need. A run that is shorter than a
/// segment would otherwise be charged for whole segments, or for none.
#[must_use]
pub fn written_bytes(folder: &Path) -> u64 {
    sum_of_files(folder, &|path, _| pieces_with_content(path).unwrap_or(0))
}

fn sum_of_files(folder: &Path, bytes_of: &dyn Fn(&Path, &fs::Metadata) -> u64) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => sum_of_files(&entry.path(), bytes_of),
        Ok(meta) if meta.is_file() => bytes_of(&entry.path(), &meta),
        _ => 0,
    };
    entries.flatten().map(size).sum()
}

fn pieces_with_content(path: &Path) -> std::io::Result<u64> {
    let mut file = fs::File::open(path)?;
    let mut buffer = vec![0; PIECE_BYTES * 16];
    let mut bytes = 0;
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read(&mut buffer[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        let pieces = buffer[..filled].chunks(PIECE_BYTES);
        bytes +=
            pieces.filter(|piece| piece.iter().any(|byte| *byte != 0)).map(|piece| piece.len() as u64).sum::<u64>();
        if filled < buffer.len() {
            return Ok(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_time_and_a_file_system() {
        let pid = std::process::id();
        assert!(resident_bytes(pid).unwrap() > 100_000);
        assert!(cpu_time(pid).is_some());
        assert_ne!(filesystem_of(Path::new(".")), "unknown");
        assert!(allocated_bytes(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) > 10_000);
        assert!(Machine::look().cores >= 1);
    }

    #[test]
    fn pieces_of_zeros_were_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = vec![0; 30 * PIECE_BYTES + 10];
        bytes[5] = 1;
        bytes[17 * PIECE_BYTES] = 1;
        bytes[30 * PIECE_BYTES + 9] = 1;
        fs::create_dir(folder.path().join("inner")).unwrap();
        fs::write(folder.path().join("inner/file"), &bytes).unwrap();
        assert_eq!(written_bytes(folder.path()), 2 * PIECE_BYTES as u64 + 10);
        assert!(allocated_bytes(folder.path()) >= 30 * PIECE_BYTES as u64);
    }
}
