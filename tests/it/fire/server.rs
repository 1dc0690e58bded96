//! `munim serve` as a child process: started, waited for, killed.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use super::wire::{Client, Door};

/// How long a start may take before the test fails.
const START_MAX: Duration = Duration::from_mins(1);

/// The binary under test.
pub const MUNIM: &str = env!("CARGO_BIN_EXE_munim");

/// Where one server lives.
#[derive(Clone, Debug)]
pub struct Place {
    /// The data folder.
    pub data: PathBuf,
    /// Log and storage-failure marker; outside the data folder, since a power cut takes that away.
    pub aside: PathBuf,
    /// Flags of `munim serve` besides `--data` and `--listen`.
    pub flags: Vec<String>,
}

impl Place {
    pub fn in_folder(folder: &Path, flags: &[&str]) -> Place {
        let data = folder.join("data");
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Place { data, aside: folder.to_path_buf(), flags }
    }

    pub fn log(&self) -> PathBuf {
        self.aside.join("server.log")
    }

    /// The log's lines that nobody may expect: errors and panics.
    pub fn alarms(&self) -> Vec<String> {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let is_alarm = |line: &&str| line.contains("ERROR") || line.contains("panicked at");
        text.lines().filter(is_alarm).map(str::to_owned).collect()
    }

    /// `munim verify` of the folder: what it said, or why it is not content.
    pub fn verify(&self) -> Result<String, String> {
        let out = Command::new(MUNIM)
            .args(["verify", "--data"])
            .arg(&self.data)
            .env("RUNTIME_DIRECTORY", &self.aside)
            .output()
            .map_err(|error| format!("could not run verify: {error}"))?;
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        if out.status.success() { Ok(said) } else { Err(format!("verify: {}: {said}", out.status)) }
    }

    /// Segment files of the journal.
    pub fn segments(&self) -> usize {
        count_segments(&self.data)
    }
}

fn count_segments(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let mut count = 0;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            count += count_segments(&entry.path());
        } else if name.starts_with("journal-") && name.ends_with(".redb") {
            count += 1;
        }
    }
    count
}

/// A process that has been started and may not listen yet.
#[derive(Debug)]
pub struct Server {
    child: Child,
    stdout: Receiver<String>,
    /// Where it listens; unspecified until [`Server::wait_ready`].
    pub address: SocketAddr,
    data: PathBuf,
    token: Option<String>,
}

impl Server {
    /// Starts the process; does not wait for it.
    pub fn spawn(place: &Place) -> Result<Server, String> {
        let log = OpenOptions::new().create(true).append(true).open(place.log());
        let log: File = log.map_err(|error| format!("could not open the log: {error}"))?;
        let mut child = Command::new(MUNIM)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(&place.data)
            .args(&place.flags)
            .env("RUNTIME_DIRECTORY", &place.aside)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("could not start munim: {error}"))?;
        let (sender, stdout) = mpsc::channel();
        let pipe = child.stdout.take().expect("stdout is piped");
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        Ok(Server { child, stdout, address, data: place.data.clone(), token: None })
    }

    /// Starts the process and waits until it serves.
    pub fn start(place: &Place) -> Result<Server, String> {
        let mut server = Server::spawn(place)?;
        server.wait_ready().map_err(|error| {
            let log = fs::read_to_string(place.log()).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(15).collect();
            format!("{error}; the log's end, newest first: {tail:#?}")
        })?;
        Ok(server)
    }

    /// Waits for the line that names the address, then for `/readyz`.
    pub fn wait_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_MAX;
        while self.address.port() == 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.stdout.recv_timeout(left).map_err(|_| "munim ended or said no address".to_owned())?;
            if let Some(text) = line.strip_prefix("listening on http://") {
                self.address = text.trim().parse().map_err(|_| format!("no address: {line}"))?;
            }
        }
        // Made before the address is said.
        let token = fs::read_to_string(self.data.join("admin.key")).map_err(|error| format!("admin.key: {error}"))?;
        self.token = Some(token.trim().to_owned());
        while Instant::now() < deadline {
            let answer = self.client()?.get("/readyz").map_err(|error| format!("readyz: {error}"))?;
            if answer.status == 200 {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        Err("never ready".into())
    }

    /// Its address, with the first key.
    pub fn door(&self) -> Door {
        Door { address: self.address, token: self.token.clone() }
    }

    pub fn client(&self) -> Result<Client, String> {
        Client::through(&self.door()).map_err(|error| format!("connect: {error}"))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and waits until the process is gone.
    pub fn kill9(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
