//! The real binary and its sockets: handed over, encrypted, given up in good order.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::fire::server::{MUNIM, Place, Server};
use crate::fire::wire::{Client, Door, Request};

/// A process that is gone with its test.
struct Process(Child);

impl Process {
    /// `munim serve` on `data`, with `listener` handed over as systemd does it.
    fn successor(data: &Path, listener: &TcpListener, manager: &Path) -> Process {
        let handed = OwnedFd::from(listener.try_clone().expect("a socket can be shared"));
        let child = Command::new("sh")
            .args(["-c", "exec 3<&0 </dev/null; LISTEN_PID=$$ exec \"$0\" \"$@\"", MUNIM, "serve", "--data"])
            .arg(data)
            .env("LISTEN_FDS", "1")
            .env("NOTIFY_SOCKET", manager)
            .env("RUNTIME_DIRECTORY", data.parent().expect("the folder has a parent"))
            .stdin(handed)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Process(child.expect("sh starts"))
    }

    /// SIGTERM; the exit status, once it has ended.
    fn end(mut self) -> Option<i32> {
        let asked = Command::new("kill").arg(self.0.id().to_string()).status().expect("kill runs");
        assert!(asked.success());
        self.0.wait().expect("it is ours").code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A key of books that nobody serves; its token.
fn make_key(data: &Path) -> String {
    let made = Command::new(MUNIM)
        .args(["keys", "create", "--name", "early", "--role", "officer", "--new-books", "--data"])
        .arg(data)
        .env("RUNTIME_DIRECTORY", data.parent().expect("the folder has a parent"))
        .output()
        .expect("munim runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).expect("a token is ASCII").trim().to_owned()
}

fn open_account(key: &str) -> Request {
    Request::post("/v1/accounts", Some(key), r#"{"currency":"INR","type":"asset"}"#)
}

#[test]
fn a_request_that_comes_between_two_processes_is_answered_by_the_second() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let manager_at = folder.path().join("manager");
    let manager = UnixDatagram::bind(&manager_at).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let door = Door { address, token: Some(make_key(&data)) };
    let mut said = String::new();
    for round in 0..3 {
        one_after_the_other(&data, &listener, &door, &manager_at, round);
        manager.set_nonblocking(true).unwrap();
        let mut bytes = [0; 4096];
        while let Ok(count) = manager.recv(&mut bytes) {
            said.push_str(&String::from_utf8_lossy(&bytes[..count]));
            said.push('\n');
        }
    }
    for word in ["READY=1", "STOPPING=1", "EXTEND_TIMEOUT_USEC="] {
        assert!(said.matches(word).count() >= 3, "{word} is missing in {said}");
    }
    // A manager that does not read keeps nobody waiting: its socket takes about ten messages.
    for round in 3..7 {
        one_after_the_other(&data, &listener, &door, &manager_at, round);
    }
}

/// A process, from a request that comes before it to an idle connection at its end.
fn one_after_the_other(data: &Path, listener: &TcpListener, door: &Door, manager: &Path, round: u32) {
    // Sent while nobody serves: the kernel takes the connection and the bytes.
    let mut early = Client::through(door).unwrap();
    early.send(&open_account(&format!("early-{round}"))).unwrap();
    let server = Process::successor(data, listener, manager);
    assert_eq!(early.receive().unwrap().status, 201, "round {round}");
    // An idle connection at the end is closed without a reset, and the process ends well.
    let mut idle = TcpStream::connect(door.address).unwrap();
    idle.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_ne!(idle.read(&mut [0; 4096]).unwrap(), 0);
    assert_eq!(server.end(), Some(0));
    assert_eq!(idle.read(&mut [0; 4096]).unwrap(), 0, "an end, not a reset");
}

#[test]
fn a_second_server_waits_for_the_folder_as_long_as_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let first = Server::start(&Place::in_folder(folder.path(), &[])).unwrap();
    let waiting = Place::in_folder(folder.path(), &["--wait-for-lock=60"]);
    let mut second = Server::spawn(&waiting).unwrap();
    first.client().unwrap().call(&open_account("while-two-want-it")).unwrap();
    first.kill9();
    second.wait_ready().unwrap();
    let again = second.client().unwrap().call(&open_account("while-two-want-it")).unwrap();
    assert!(again.is_replayed(), "the second has the books of the first");
}

#[test]
fn a_certificate_of_its_own_is_made_once_and_plain_http_is_not_answered() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut certificates = Vec::new();
    for _ in 0..2 {
        let child = Command::new(MUNIM)
            .args(["serve", "--listen", "127.0.0.1:0", "--tls-self-signed", "--data"])
            .arg(&data)
            .env("RUNTIME_DIRECTORY", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut process = Process(child.unwrap());
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on https://").unwrap_or_else(|| panic!("{line}"));
        let address: SocketAddr = address.trim().parse().unwrap();
        let mut plain = TcpStream::connect(address).unwrap();
        plain.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));
        certificates.push(std::fs::read(data.join("tls/cert.pem")).unwrap());
        assert_eq!(process.end(), Some(0));
    }
    assert_eq!(certificates[0], certificates[1]);
    let mode = std::fs::metadata(data.join("tls/key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_export_of_days_in_the_wrong_order_is_wrong_use() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let (status, said) = munim(&["export", "--data", data, "--from", "2026-12-02", "--to", "2026-12-01"]);
    assert!(status == Some(2) && said.contains("--from") && said.contains("--to"), "{status:?} {said}");
}

/// A command's exit status and what it wrote to stderr.
fn munim(args: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(MUNIM).args(args).stdin(Stdio::null()).output().unwrap();
    (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
}

#[test]
fn a_request_names_exactly_one_host() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&Place::in_folder(folder.path(), &[])).unwrap();
    let ask = |line: &str, headers: &str| {
        let mut stream = TcpStream::connect(server.door().address).unwrap();
        stream.write_all(format!("{line}\r\n{headers}connection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for (line, headers) in [
        ("GET /livez HTTP/1.1", ""),
        ("GET http://x/livez HTTP/1.1", ""),
        ("GET /livez HTTP/1.1", "host: x\r\nhost: x\r\n"),
        ("GET /livez HTTP/1.0", "host: x\r\nhost: y\r\n"),
        ("POST /v1/transfers HTTP/1.1", ""),
        ("GET /v1/accounts/x HTTP/1.1", "host: x\r\nHost: y\r\n"),
    ] {
        let answer = ask(line, headers);
        assert!(answer.starts_with("HTTP/1.") && answer.contains(" 400 Bad Request\r\n"), "{line}: {answer}");
        for part in ["\"code\":\"host_malformed\"", "request-id: req_", "server-timing: ", "application/problem+json"] {
            assert!(answer.contains(part), "{line}: {answer}");
        }
    }
    for (line, headers) in [("GET /livez HTTP/1.1", "host: x\r\n"), ("GET /livez HTTP/1.0", "")] {
        let answer = ask(line, headers);
        assert!(answer.contains(" 200 OK\r\n"), "{line}: {answer}");
    }
}

#[test]
fn what_cannot_run_leaves_no_folder_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, said) = munim(&["serve", "--data", &path("data"), "--listen", &address]);
    assert!(status == Some(3) && said.contains("could not listen"), "{status:?} {said}");
    assert!(!folder.path().join("data").exists());
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    for data in ["mistyped", "empty"] {
        for ask in [&["create", "--name", "x", "--role", "admin"][..], &["revoke", "key_0000000000001"]] {
            let (status, said) = munim(&[&["keys"], ask, &["--data", &path(data)]].concat());
            assert!(status == Some(3) && said.contains("there are no books in"), "{status:?} {said}");
        }
    }
    assert!(!folder.path().join("mistyped").exists());
    assert_eq!(std::fs::read_dir(folder.path().join("empty")).unwrap().count(), 0);
}

#[test]
fn commands_speak_tls_to_the_certificate_that_they_were_told_and_hide_their_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let child = Command::new(MUNIM)
        .args(["serve", "--listen", "127.0.0.1:0", "--tls-self-signed", "--data", &path("data")])
        .env("RUNTIME_DIRECTORY", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut process = Process(child.unwrap());
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}")).trim().to_owned();
    let (own, key) = (path("data/tls/cert.pem"), path("data/admin.key"));
    std::fs::write(path("a.csv"), "external_id,currency,type\nA,INR,asset\n").unwrap();
    let file = path("a.csv");
    let asks: [&[&str]; 5] = [
        &["keys", "create", "--name", "till", "--role", "cashier"],
        &["keys", "list"],
        &["clock", "accept"],
        &["import", "--retry-for", "0", &file],
        &["verify"],
    ];
    // Of another server of its own: the same names, another key.
    let other = path("other.pem");
    munim::http::self_signed::make_once(&folder.path().join("other"), &["127.0.0.1".into()]).unwrap();
    std::fs::copy(path("other/cert.pem"), &other).unwrap();
    for ask in asks {
        let with = |more: &[&str]| munim(&[ask, &["--key-file", &key][..], more].concat());
        let (status, said) = with(&["--url", &url, "--ca-file", &own]);
        assert_eq!(status, Some(0), "{ask:?}: {said}");
        let (status, said) = with(&["--url", &url, "--insecure"]);
        assert_eq!(status, Some(0), "{ask:?}: {said}");
        let (status, said) = with(&["--url", "http://192.0.2.1:7070"]);
        assert!(matches!(status, Some(2 | 3)) && said.contains("--insecure-http"), "{ask:?}: {status:?} {said}");
    }
    // A wrong certificate is the same one at the next try: nobody waits for a minute to be told.
    let (status, said) = munim(&["import", &file, "--url", &url, "--ca-file", &other]);
    let is_told = said.contains("could not believe") && said.contains("certificate") && said.contains("--ca-file");
    assert!(status == Some(3) && is_told && !said.contains("attempts"), "{status:?} {said}");
    let (status, said) = munim(&["clock", "accept", "--url", &url, "--ca-file", &own]);
    assert!(status == Some(3) && said.contains("401 unauthenticated"), "{status:?} {said}");
    assert_eq!(process.end(), Some(0));
}
