//! `munim verify`: what it says, with which exit status, and that it changes no byte; and what a server says that
//! verifies itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use munim::cli::hooks::books;
use munim::http::gateway::token::Tokens;
use munim::http::hooks::VerifyReport;

use crate::http_edge::Server;

/// Every file under a folder with its bytes.
fn bytes_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(files) = std::fs::read_dir(folder) else { return BTreeMap::new() };
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.expect("a folder that can be read");
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        (entry.file_name().to_string_lossy().into_owned(), bytes)
    };
    files.map(file).collect()
}

/// Exit status, and all that was said.
fn verify(folder: &Path) -> (Option<i32>, String) {
    let before = (folder.exists(), bytes_of(folder));
    let output = Command::new(env!("CARGO_BIN_EXE_munim"))
        .args(["verify", "--data"])
        .arg(folder)
        .output()
        .expect("the command runs");
    assert!(before == (folder.exists(), bytes_of(folder)), "verify changed {}", folder.display());
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).expect("text"))
}

#[test]
fn a_folder_without_books_is_no_good_books() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    for name in ["empty", "random", "locked"] {
        std::fs::create_dir(place(name)).unwrap();
    }
    for file in ["notes.txt", "journal-1.redb", "journal-next.redb", "journal-00000000000000000001.redb.bak"] {
        std::fs::write(place("random").join(file), "nothing of ours").unwrap();
    }
    // What a first start leaves that was cut short, or a folder that was cleaned out.
    std::fs::write(place("locked").join("LOCK"), "").unwrap();
    std::fs::write(place("file"), "no folder").unwrap();
    for (name, told) in [
        ("empty", "there are no books in"),
        ("random", "there are no books in"),
        ("locked", "there are no books in"),
        ("missing", "No such file"),
        ("file", "Not a directory"),
    ] {
        let (status, said) = verify(&place(name));
        assert_eq!(status, Some(3), "{name}: {said}");
        assert!(said.contains(told) && said.contains(name), "{name}: {said}");
    }
}

#[tokio::test]
async fn the_exit_status_tells_whole_books_from_bad_ones() {
    let server = Server::start();
    server.open_account("A", "").await;
    let folder = server.stop();
    assert_eq!(verify(folder.path()).0, Some(0), "whole books");
    let segment = folder.path().join("journal-00000000000000000001.redb");
    let (whole, manifest) = (std::fs::read(&segment).unwrap(), folder.path().join("MANIFEST"));
    // The journal is gone and the store remembers it.
    let listed = std::fs::read(&manifest).unwrap();
    std::fs::remove_file(&segment).unwrap();
    std::fs::remove_file(&manifest).unwrap();
    let (status, said) = verify(folder.path());
    assert_eq!((status, said.contains("the journal is gone")), (Some(1), true), "{said}");
    std::fs::write(&manifest, listed).unwrap();
    let (status, said) = verify(folder.path());
    assert_eq!(status, Some(1), "{said}");
    std::fs::write(&segment, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(verify(folder.path()).0, Some(1), "half a segment");
    std::fs::write(&segment, whole).unwrap();
    assert_eq!(verify(folder.path()).0, Some(0), "whole again");
}

#[tokio::test]
async fn a_file_that_is_in_no_place_of_the_journal_is_named() {
    let server = Server::start();
    server.open_account("A", "").await;
    let folder = server.stop();
    let name = |seq: u64| format!("journal-{seq:020}.redb");
    std::fs::copy(folder.path().join(name(1)), folder.path().join(name(99_999))).unwrap();
    let (status, said) = verify(folder.path());
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(&format!("{} is in no place of the journal", name(99_999))), "{said}");
    std::fs::remove_file(folder.path().join(name(99_999))).unwrap();
    assert_eq!(verify(folder.path()).0, Some(0));
}

/// What a running server finds out about its own books.
fn verify_live(server: &Server) -> VerifyReport {
    let verifier = books(server.engine(), Tokens::new([7; 32]), None).verifier;
    verifier.verify(&|_| {}).expect("it can look")
}

#[tokio::test]
async fn a_server_counts_its_accounts_and_names_a_segment_that_is_gone() {
    let server = Server::start();
    for name in ["A", "B"] {
        server.open_account(name, "").await;
    }
    for key in ["1", "2", "3"] {
        let body = r#"{"debit_account":"ext:A","credit_account":"ext:B","amount":"5"}"#;
        assert_eq!(server.post("/v1/transfers", key, body).await.brief(), "201");
    }
    let report = verify_live(&server);
    assert_eq!(report.detail, "2 accounts agree with the journal and the chain is whole.");
    let journal = server.engine().core().journal();
    journal.request_roll();
    server.open_account("C", "").await;
    let sealed = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        loop {
            if let Some(segment) = journal.segments().into_iter().find(|segment| segment.is_sealed) {
                return segment;
            }
            tokio::task::yield_now().await;
        }
    });
    let sealed = sealed.await.expect("a segment is sealed behind a roll");
    // Opened, so that the walk can still read it; what a next start would need is its name.
    assert!(verify_live(&server).ok);
    let folder = server.folder().expect("a server that runs has its folder");
    std::fs::remove_file(folder.join(&sealed.file)).unwrap();
    let report = verify_live(&server);
    assert_eq!((report.ok, report.first_bad_seq), (false, Some(sealed.first_seq.0)), "{}", report.detail);
    assert_eq!(report.detail, format!("{} with seq={} is missing", sealed.file, sealed.first_seq));
}
