//! What the kernel says about this process, read from `/proc/self` when somebody asks.
//!
//! A file that cannot be read leaves its metrics out; a scrape never fails for it.

use std::fs;

use super::families::{self, Family, Reading};

/// Ticks of `/proc/self/stat` in a second: a constant of the kernel's interface (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Adds everything that could be read.
pub(super) fn read_into(readings: &mut Vec<Reading>) {
    let mut add = |family: &'static Family, value: Option<f64>| {
        readings.extend(value.map(|value| Reading::of(family, value)));
    };
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
    add(&families::CPU_SECONDS, cpu_seconds(&stat));
    add(&families::RESIDENT_BYTES, number_after(&status, "VmRSS:").map(|kib| kib * 1024.0));
    add(&families::THREADS, number_after(&status, "Threads:"));
    add(&families::MAX_FDS, number_after(&limits, "Max open files"));
    // The directory that is being read is one of them.
    let open = fs::read_dir("/proc/self/fd").map(|entries| entries.count().saturating_sub(1) as f64);
    add(&families::OPEN_FDS, open.ok());
    let started = || Some(number_after(&boot, "btime")? + field(&stat, 21)? / TICKS_PER_SECOND);
    add(&families::START_TIME, started());
}

/// A field of `/proc/self/stat`, counted from 0. The name in field 1 may hold spaces and brackets.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split_ascii_whitespace().nth(number - 2)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 13)? + field(stat, 14)?) / TICKS_PER_SECOND)
}

/// The first number after a word at the beginning of a line.
fn number_after(text: &str, word: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(word))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_do_not_move_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 12345 1000 200 rest";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(field(stat, 21), Some(12345.0));
        assert_eq!(number_after("Name: x\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12.0));
        assert_eq!(cpu_seconds(""), None);
    }

    #[test]
    fn this_process_has_memory_threads_and_files() {
        let mut readings = Vec::new();
        read_into(&mut readings);
        for family in [&families::RESIDENT_BYTES, &families::THREADS, &families::OPEN_FDS, &families::START_TIME] {
            let found = readings.iter().find(|reading| std::ptr::eq(reading.family, family));
            assert!(found.is_some_and(|reading| reading.value >= 1.0), "{}", family.name);
        }
    }
}
