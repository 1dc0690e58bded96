//! The whole examination, and the machine that its parts are tested on.

use super::super::config_file::{Setting, Source};
use super::*;

/// A machine that says what the test wants: files under `proc/` and `sys/`.
pub(super) fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let machine = Machine { proc: folder.path().join("proc"), sys: folder.path().join("sys") };
    (folder, machine)
}

pub(super) fn settings(values: &[(&str, &str)]) -> Settings {
    let setting = |(key, value): &(&str, &str)| Setting {
        key: (*key).to_owned(),
        env: String::new(),
        values: vec![(*value).to_owned()],
        source: Source::Default,
        is_secret: false,
    };
    Settings { settings: values.iter().map(setting).collect(), files: Vec::new() }
}

#[test]
fn a_machine_that_says_nothing_is_not_called_well() {
    let (_folder, machine) = machine(&[]);
    let data = tempfile::tempdir().unwrap();
    let settings = settings(&[("data", data.path().to_str().unwrap()), ("segment_mib", "1")]);
    let findings = examine(&Subject::of(&settings, machine));
    for check in ["clock.hardware", "disk.filesystem", "limits.open_files", "limits.memory", "limits.kernel"] {
        let finding = findings.iter().find(|finding| finding.check == check).unwrap();
        assert_eq!(finding.verdict, Verdict::Warn, "{finding:?}");
    }
}

#[test]
fn what_is_not_well_says_why_and_what_to_do() {
    let findings = [
        Finding::ok("a.b", "so", "fine"),
        Finding::warn("c", "it matters", "not so fine", "mend it"),
        Finding::bad("d", "it matters more", "broken", "mend it now"),
    ];
    let expected = "\
ok    a.b  fine
warn  c    not so fine
      why: it matters
      do:  mend it
bad   d    broken
      why: it matters more
      do:  mend it now
1 ok, 1 to look at, 1 bad";
    assert_eq!(as_text(&findings), expected);
    let document: serde_json::Value = serde_json::from_str(&as_json(&findings)).unwrap();
    assert_eq!((&document["verdict"], &document["checks"][0]["do"]), (&json!("bad"), &serde_json::Value::Null));
    assert_eq!(worst(&findings[..2]), Verdict::Warn);
}

#[test]
fn books_that_cannot_be_read_are_bad_and_left_as_they_are() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("LOCK"), "").unwrap();
    let segment = data.path().join("journal-00000000000000000001.redb");
    std::fs::write(&segment, "not a journal").unwrap();
    let settings = settings(&[("data", data.path().to_str().unwrap()), ("segment_mib", "1")]);
    let findings = examine(&Subject::of(&settings, Machine::this()));
    let books = findings.iter().find(|finding| finding.check == "books.open").unwrap();
    assert_eq!(books.verdict, Verdict::Bad, "{books:?}");
    assert_eq!(std::fs::read(&segment).unwrap(), b"not a journal");
}
