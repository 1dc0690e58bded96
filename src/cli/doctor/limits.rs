//! What the kernel allows: open files, locked memory, memory of the group, huge pages, its own age.

use std::path::Path;

use super::{Finding, Machine, Subject};
use crate::config::FEED_FOLLOWERS_MAX;

const WHY_FILES: &str =
    "each connection is an open file, each segment of the journal too; beyond the limit nobody can connect";
const WHY_MEMORY: &str = "the kernel ends a server that needs more than this, without notice";
const WHY_HUGE: &str = "the kernel stops the server for milliseconds to put huge pages together, and memory grows";
const WHY_KERNEL: &str = "before 4.16 a failed sync could be reported to nobody; old kernels get no repairs";

/// Open files beside the connections: segments, the store, logs, sockets that listen.
const FILES_BESIDE: u64 = 256;

/// Resident bytes beside the caches: the program, redb's pages, buffers of connections, some hundred
/// thousand accounts (300 MB for a million).
const MEMORY_BESIDE_BYTES: u64 = 256 * 1024 * 1024;

pub(super) fn check(subject: &Subject<'_>) -> Vec<Finding> {
    let limits = subject.machine.proc(format!("{}/limits", subject.process())).unwrap_or_default();
    let whose = if subject.holder.is_some() { "the server" } else { "this shell" };
    let connections = subject.number("connections_max");
    let machine = &subject.machine;
    let needed =
        (subject.number("block_cache_mib") + subject.number("text_cache_mib")) * 1024 * 1024 + MEMORY_BESIDE_BYTES;
    let mut findings = vec![open_files(&limits, whose, connections), locked_memory(machine, &limits, whose)];
    findings.push(memory(machine, &subject.process(), needed));
    findings.extend(huge_pages(machine));
    findings.push(kernel(machine));
    findings
}

/// A limit of /proc/PID/limits as (soft, hard); `u64::MAX` is unlimited.
fn limit(limits: &str, name: &str) -> Option<(u64, u64)> {
    let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
    let mut words =
        rest.split_whitespace().map(|word| if word == "unlimited" { Some(u64::MAX) } else { word.parse().ok() });
    Some((words.next()??, words.next()??))
}

fn open_files(limits: &str, whose: &str, connections: u64) -> Finding {
    let check = "limits.open_files";
    // The feed writes to a follower by a second handle of his socket.
    let followers = connections.min(FEED_FOLLOWERS_MAX as u64);
    let needed = connections + followers + FILES_BESIDE;
    let todo = "set LimitNOFILE= in the unit (the shipped one does), or `ulimit -n` in the shell that starts it";
    let Some((soft, hard)) = limit(limits, "Max open files") else {
        return Finding::warn(check, WHY_FILES, "the kernel did not say", todo);
    };
    let what = format!(
        "{whose} may open {soft} files, up to {hard} if it asks; --connections-max {connections} wants {needed}, \
         {followers} of them for followers of events"
    );
    // The server raises its own limit to the hard one when it starts.
    match hard {
        _ if hard >= needed => Finding::ok(check, WHY_FILES, what),
        _ if hard < 2 * FILES_BESIDE => Finding::bad(check, WHY_FILES, what, todo),
        _ => Finding::warn(check, WHY_FILES, what, todo),
    }
}

/// Munim locks no memory; what counts is that the books are not swapped out to a slow disk.
fn locked_memory(machine: &Machine, limits: &str, whose: &str) -> Finding {
    let check = "limits.swap";
    let why = "a balance that lies in swap is a disk read in the middle of a transfer";
    let locked = match limit(limits, "Max locked memory") {
        Some((u64::MAX, _)) => "any amount of memory".to_owned(),
        Some((soft, _)) => format!("{} KiB", soft / 1024),
        None => "an unknown amount of memory".to_owned(),
    };
    let swaps = machine.proc("swaps").unwrap_or_default();
    // The first line is the heading.
    let disks: Vec<&str> = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    let on_disk: Vec<&str> = disks.into_iter().filter(|name| !name.contains("zram")).collect();
    if on_disk.is_empty() {
        return Finding::ok(
            check,
            why,
            format!("nothing is swapped to a disk; {whose} may lock {locked} and needs none"),
        );
    }
    let todo = "set MemorySwapMax=0 in the unit (the shipped one does), or `swapoff -a`";
    Finding::warn(check, why, format!("there is swap on {}; {whose} may lock {locked}", on_disk.join(", ")), todo)
}

fn memory(machine: &Machine, process: &str, needed: u64) -> Finding {
    let check = "limits.memory";
    let mib = |bytes: u64| bytes >> 20;
    let available = machine.proc("meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?.to_owned();
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    });
    let group = group_limit(machine, process);
    let (bound, of) = match (group, available) {
        (Some(group), Some(available)) if group < available => (group, "the control group"),
        (Some(group), None) => (group, "the control group"),
        (_, Some(available)) => (available, "the machine"),
        (None, None) => return Finding::warn(check, WHY_MEMORY, "the kernel did not say", "look at `free -m`"),
    };
    let what = format!(
        "{} MiB by {of}; caches and program want {} MiB, accounts beside them 300 MiB a million",
        mib(bound),
        mib(needed)
    );
    let todo = "raise MemoryMax=, or lower --block-cache-mib and --text-cache-mib";
    match bound {
        _ if bound < needed => Finding::bad(check, WHY_MEMORY, what, todo),
        _ if bound < needed * 2 => Finding::warn(check, WHY_MEMORY, what, todo),
        _ => Finding::ok(check, WHY_MEMORY, what),
    }
}

/// The least memory.max of a process's control group and those above it.
fn group_limit(machine: &Machine, process: &str) -> Option<u64> {
    let groups = machine.proc(format!("{process}/cgroup"))?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    let levels = Path::new(&path).ancestors().filter_map(|level| {
        // `max` is no number and no limit.
        machine.sys(Path::new("fs/cgroup").join(level).join("memory.max"))?.parse().ok()
    });
    levels.min()
}

fn huge_pages(machine: &Machine) -> Option<Finding> {
    let text = machine.sys("kernel/mm/transparent_hugepage/enabled")?;
    let chosen =
        text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']')).unwrap_or("unknown");
    let what = format!("transparent huge pages: {chosen}");
    Some(match chosen {
        "always" => {
            let todo = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, and transparent_hugepage=madvise on the kernel's command line";
            Finding::warn("limits.huge_pages", WHY_HUGE, what, todo)
        }
        _ => Finding::ok("limits.huge_pages", WHY_HUGE, what),
    })
}

fn kernel(machine: &Machine) -> Finding {
    let release = machine.proc("sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let todo = "install the distribution's current kernel and restart the machine";
    match version {
        (0, _) => {
            Finding::warn("limits.kernel", WHY_KERNEL, "the kernel does not say its version", "look at `uname -r`")
        }
        _ if version < (4, 16) => Finding::bad("limits.kernel", WHY_KERNEL, format!("Linux {release}"), todo),
        _ if version < (5, 10) => Finding::warn("limits.kernel", WHY_KERNEL, format!("Linux {release}"), todo),
        _ => Finding::ok("limits.kernel", WHY_KERNEL, format!("Linux {release}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{self, Bad, Ok as Well, Warn};
    use super::super::tests::machine;
    use super::*;

    const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units
Max open files            256                  1024                 files
Max locked memory         unlimited            unlimited            bytes";

    #[test]
    fn open_files_are_compared_with_the_connections() {
        assert_eq!(limit(LIMITS, "Max open files"), Some((256, 1024)));
        assert_eq!(limit(LIMITS, "Max locked memory"), Some((u64::MAX, u64::MAX)));
        for (connections, verdict) in [(100, Well), (384, Well), (385, Warn)] {
            assert_eq!(open_files(LIMITS, "x", connections).verdict, verdict, "{connections}");
        }
        assert_eq!(open_files(&LIMITS.replace("1024", "256 "), "x", 385).verdict, Bad);
        assert_eq!(open_files("", "x", 1).verdict, Warn);
    }

    #[test]
    fn the_least_limit_of_the_groups_above_counts() {
        let (_folder, machine) = machine(&[
            ("proc/7/cgroup", "0::/system.slice/munim.service\n"),
            ("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:   1048576 kB\n"),
            ("sys/fs/cgroup/system.slice/munim.service/memory.max", "max\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "300000000\n"),
        ]);
        assert_eq!(group_limit(&machine, "7"), Some(300_000_000));
        for (needed, verdict) in [(100_000_000, Well), (200_000_000, Warn), (300_000_001, Bad)] {
            assert_eq!(memory(&machine, "7", needed).verdict, verdict, "{needed}");
        }
        assert_eq!(memory(&machine, "8", 1 << 29).verdict, Well, "the machine's own, where there is no group");
    }

    #[test]
    fn swap_huge_pages_and_old_kernels_are_told() {
        let verdict = |files: &[(&str, &str)], check: fn(&Machine) -> Verdict| {
            let (_folder, machine) = machine(files);
            check(&machine)
        };
        let swap = |machine: &Machine| locked_memory(machine, LIMITS, "x").verdict;
        assert_eq!(verdict(&[("proc/swaps", "Filename Type\n")], swap), Well);
        assert_eq!(verdict(&[("proc/swaps", "Filename Type\n/dev/zram0 partition\n")], swap), Well);
        assert_eq!(verdict(&[("proc/swaps", "Filename Type\n/dev/sda2 partition\n")], swap), Warn);
        let huge = |machine: &Machine| huge_pages(machine).map_or(Bad, |finding| finding.verdict);
        let path = "sys/kernel/mm/transparent_hugepage/enabled";
        assert_eq!(verdict(&[(path, "always [madvise] never")], huge), Well);
        assert_eq!(verdict(&[(path, "[always] madvise never")], huge), Warn);
        for (release, expected) in [("6.1.0-18-amd64", Well), ("5.4.0", Warn), ("4.15.1", Bad), ("", Warn)] {
            assert_eq!(verdict(&[("proc/sys/kernel/osrelease", release)], |machine| kernel(machine).verdict), expected);
        }
    }
}
