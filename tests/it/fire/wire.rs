//! A blocking HTTP/1.1 client over `std::net`: one connection, kept alive, no pool, no retry.
//!
//! Promise: it never repeats a request by itself, so that a recorded history says exactly what was sent,
//! and an answer is given back only when its last byte arrived.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long one answer may take: a hanging server fails the test instead of hanging it.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is sent.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub key: Option<String>,
    pub is_minimal: bool,
    pub body: String,
}

impl Request {
    pub fn get(path: impl Into<String>) -> Request {
        Request { method: "GET", path: path.into(), key: None, is_minimal: false, body: String::new() }
    }

    pub fn post(path: impl Into<String>, key: Option<&str>, body: impl Into<String>) -> Request {
        let key = key.map(str::to_owned);
        Request { method: "POST", path: path.into(), key, is_minimal: false, body: body.into() }
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The greatest seq that the answer reveals.
    pub fn as_of(&self) -> Option<u64> {
        self.header("as-of-seq")?.parse().ok()
    }

    pub fn is_replayed(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }

    /// The body as JSON; `null` where it is none, so that a check names the field that it misses.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The problem's or the reply's `code`.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Milliseconds of one stage of `Server-Timing`.
    pub fn stage_ms(&self, stage: &str) -> Option<f64> {
        let text = self.header("server-timing")?;
        let entry = text.split(", ").find(|entry| entry.split(';').next() == Some(stage))?;
        entry.split(';').find_map(|part| part.strip_prefix("dur="))?.parse().ok()
    }

    /// Status and body, for messages.
    pub fn shown(&self) -> String {
        let body = String::from_utf8_lossy(&self.body);
        format!("{} {}", self.status, body.chars().take(400).collect::<String>())
    }
}

/// Where a server listens, and the token of a key that it knows.
#[derive(Clone, Debug)]
pub struct Door {
    pub address: SocketAddr,
    pub token: Option<String>,
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    door: Door,
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects as somebody without a key.
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        Client::through(&Door { address, token: None })
    }

    pub fn through(door: &Door) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&door.address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { door: door.clone(), stream: BufReader::new(stream) })
    }

    /// Sends and waits for the answer.
    pub fn call(&mut self, request: &Request) -> io::Result<Answer> {
        self.send(request)?;
        self.receive()
    }

    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.call(&Request::get(path))
    }

    pub fn send(&mut self, request: &Request) -> io::Result<()> {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.path, self.door.address);
        if let Some(token) = &self.door.token {
            text.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        if let Some(key) = &request.key {
            text.push_str(&format!("Idempotency-Key: {key}\r\n"));
        }
        if request.is_minimal {
            text.push_str("Prefer: return=minimal\r\n");
        }
        if request.method != "GET" {
            text.push_str("Content-Type: application/json\r\n");
            text.push_str(&format!("Content-Length: {}\r\n", request.body.len()));
        }
        text.push_str("\r\n");
        text.push_str(&request.body);
        self.stream.get_mut().write_all(text.as_bytes())
    }

    pub fn receive(&mut self) -> io::Result<Answer> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|text| text.parse().ok()).ok_or_else(|| broken(&first))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| broken(&line))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        let length: usize = answer.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        answer.body = vec![0; length];
        self.stream.read_exact(&mut answer.body)?;
        Ok(answer)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 || !line.ends_with('\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

fn broken(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {line:?}"))
}
