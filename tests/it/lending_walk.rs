//! Lending from one end to the other with the real binary: the walk in the README, call by call as it is printed there,
//! and a small demo.
//!
//! The walk is the section [`SECTION`]: its `sh` blocks hold commands, and below a call, in lines that begin with `#>`,
//! the status and the shown part of its answer. A shown object may leave members out; a shown list may not; a text that
//! ends with … stands for any that begins so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::fire::server::{MUNIM, Place, Server};
use crate::fire::wire::{Answer, Client, Door, Request};

const SECTION: &str = "## Your first loan in ten calls";

/// What a block says.
#[derive(Debug)]
enum Line {
    /// `munim …`, as words.
    Munim(Vec<String>),
    /// `NAME=value`.
    Set(String, String),
    /// `curl …`, as words, and what it answers.
    Call(Vec<String>, Option<(u16, Value)>),
}

/// The words of a shell's line: quotes of both kinds, and nothing else that a shell knows.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut is_open) = (Vec::new(), String::new(), None, false);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (None, '\'' | '"') => (quote, is_open) = (Some(letter), true),
            (None, letter) if letter.is_whitespace() => {
                if is_open {
                    words.push(std::mem::take(&mut word));
                }
                is_open = false;
            }
            _ => {
                word.push(letter);
                is_open = true;
            }
        }
    }
    assert_eq!(quote, None, "an open quote in {line}");
    if is_open {
        words.push(word);
    }
    words
}

/// Whether all quotes of a command are closed and it does not go on in the next line.
fn is_whole(text: &str) -> bool {
    let mut quote = None;
    for letter in text.chars() {
        match quote {
            Some(open) if open == letter => quote = None,
            None if letter == '\'' || letter == '"' => quote = Some(letter),
            _ => {}
        }
    }
    quote.is_none() && !text.ends_with('\\')
}

fn read_walk() -> Vec<Line> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("a README");
    let section = readme.split_once(SECTION).expect("the README has the walk").1;
    let section = section.split("\n## ").next().expect("a section");
    let mut lines = Vec::new();
    for block in section.split("```sh\n").skip(1) {
        let block = block.split("```").next().expect("a block has an end");
        read_block(block, &mut lines);
    }
    lines
}

fn read_block(block: &str, lines: &mut Vec<Line>) {
    let (mut command, mut answer) = (String::new(), String::new());
    // An answer ends with the first line that is none.
    for line in block.lines().chain([""]) {
        if let Some(shown) = line.strip_prefix("#>") {
            answer.push_str(shown.trim());
            continue;
        }
        if !answer.is_empty() {
            let (status, body) = answer.split_once(' ').expect("a status and a body");
            let body = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in the answer {body}"));
            match lines.last_mut() {
                Some(Line::Call(_, shown)) => *shown = Some((status.parse().expect("a status"), body)),
                other => panic!("an answer below {other:?}"),
            }
            answer.clear();
        }
        if command.is_empty() && (line.is_empty() || line.starts_with('#')) {
            continue;
        }
        command.push_str(line);
        if !is_whole(&command) {
            command = command.trim_end_matches('\\').to_owned();
            continue;
        }
        let command = std::mem::take(&mut command);
        let words = words(&command);
        lines.push(match (words[0].as_str(), command.split_once('=')) {
            ("munim", _) => Line::Munim(words),
            ("curl", _) => Line::Call(words, None),
            (_, Some((name, _))) => Line::Set(name.to_owned(), words.join(" ")[name.len() + 1..].to_owned()),
            _ => panic!("what is {command}?"),
        });
    }
    assert!(command.is_empty(), "the block ends within {command}");
}

/// Whether a value is what is shown of it.
fn is_shown(shown: &Value, real: &Value) -> bool {
    match (shown, real) {
        (Value::Object(shown), Value::Object(real)) => {
            shown.iter().all(|(name, shown)| real.get(name).is_some_and(|real| is_shown(shown, real)))
        }
        (Value::Array(shown), Value::Array(real)) => {
            shown.len() == real.len() && shown.iter().zip(real).all(|(shown, real)| is_shown(shown, real))
        }
        (Value::String(shown), Value::String(real)) => match shown.strip_suffix('…') {
            Some(begin) => real.starts_with(begin),
            None => shown == real,
        },
        _ => shown == real,
    }
}

/// Somebody at a shell in a folder, with a server.
struct Walker {
    folder: PathBuf,
    server: Server,
    /// What was redirected into files: tokens.
    files: BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
}

impl Walker {
    /// Starts the server that the first command asks for; its address is taken from the system.
    fn start(folder: &Path, serve: &[String]) -> Walker {
        assert_eq!(serve[..2], ["munim", "serve"], "the walk begins with a server");
        let rest = serve[2..].iter().filter(|word| *word != "&").cloned().collect::<Vec<_>>();
        let flags: Vec<&str> = rest
            .chunks(2)
            .filter(|pair| !["--data", "--listen"].contains(&pair[0].as_str()))
            .flatten()
            .map(String::as_str)
            .collect();
        let place = Place::in_folder(folder, &flags);
        let server = Server::start(&place).expect("it starts");
        let (files, variables) = (BTreeMap::new(), BTreeMap::new());
        Walker { folder: folder.to_path_buf(), server, files, variables }
    }

    /// Runs `munim keys create … > file`.
    fn make_key(&mut self, words: &[String]) {
        assert_eq!(words[words.len() - 2], ">", "{words:?}");
        let mut arguments = words[1..words.len() - 2].to_vec();
        for at in 0..arguments.len() - 1 {
            match arguments[at].as_str() {
                "--url" => arguments[at + 1] = format!("http://{}", self.server.address),
                "--key-file" => arguments[at + 1] = self.folder.join("data/admin.key").display().to_string(),
                _ => {}
            }
        }
        let output = Command::new(MUNIM).args(&arguments).output().expect("it runs");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        let token = String::from_utf8(output.stdout).expect("text");
        self.files.insert(words[words.len() - 1].clone(), token.trim().to_owned());
    }

    /// A variable's value with what it takes out of a file.
    fn set(&mut self, name: String, value: &str) {
        let value = match value.split_once("$(cat ") {
            Some((before, file)) => {
                let file = file.trim_end_matches(')');
                format!("{before}{}", self.files.get(file).unwrap_or_else(|| panic!("nothing was written to {file}")))
            }
            None => value.to_owned(),
        };
        self.variables.insert(name, value);
    }

    fn call(&self, words: &[String]) -> Answer {
        let (mut method, mut path, mut key, mut token, mut body) = ("GET", String::new(), None, None, String::new());
        let (mut is_json, mut at) = (false, 1);
        while at < words.len() {
            let value = words.get(at + 1).map(String::as_str);
            match (words[at].as_str(), value) {
                ("-s", _) => {
                    at += 1;
                    continue;
                }
                ("-X", Some("POST")) => method = "POST",
                ("-d", Some(text)) => text.clone_into(&mut body),
                ("-H", Some(header)) => {
                    let header = header.strip_prefix('$').map_or(header, |name| self.variables[name].as_str());
                    match header.split_once(": ") {
                        Some(("Authorization", bearer)) => token = bearer.strip_prefix("Bearer ").map(str::to_owned),
                        Some(("Content-Type", kind)) => is_json = kind == "application/json",
                        Some(("Idempotency-Key", text)) => key = Some(text.to_owned()),
                        _ => panic!("what is the header {header}?"),
                    }
                }
                (url, _) => {
                    let below = url.strip_prefix("$API").unwrap_or_else(|| panic!("{url} does not begin with $API"));
                    assert!(self.variables["API"].ends_with("/v1"), "{}", self.variables["API"]);
                    path = format!("/v1{below}");
                    at += 1;
                    continue;
                }
            }
            at += 2;
        }
        assert_eq!(is_json, method == "POST", "{words:?}");
        let request = Request { method, path, key, is_minimal: false, body };
        let mut client = Client::through(&Door { address: self.server.address, token }).expect("a connection");
        client.call(&request).expect("an answer")
    }
}

#[test]
fn the_walk_in_the_readme_is_true() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut lines = read_walk().into_iter();
    let Some(Line::Munim(serve)) = lines.next() else { panic!("the walk begins with a server") };
    let mut walker = Walker::start(folder.path(), &serve);
    let mut calls = 0;
    for line in lines {
        match line {
            Line::Munim(words) => walker.make_key(&words),
            Line::Set(name, value) => walker.set(name, &value),
            Line::Call(words, shown) => {
                let answer = walker.call(&words);
                let (status, body) = shown.unwrap_or_else(|| panic!("no answer is shown for {words:?}"));
                assert_eq!(answer.status, status, "{words:?}: {}", answer.shown());
                assert!(is_shown(&body, &answer.json()), "{words:?}: shown is {body}, answered {}", answer.json());
                calls += 1;
            }
        }
    }
    assert_eq!(calls, 11, "ten calls, and a month between them");
    nobody_approves_what_he_asked_for(&walker);
}

/// What the walk says of two people and two keys.
fn nobody_approves_what_he_asked_for(walker: &Walker) {
    let token = walker.variables["MEERA"].strip_prefix("Authorization: Bearer ").map(str::to_owned);
    let mut meera = Client::through(&Door { address: walker.server.address, token }).expect("a connection");
    let mut post = |path: &str, key: &str, body: Value| {
        meera.call(&Request::post(path, Some(key), body.to_string())).expect("an answer")
    };
    let body = json!({"customer": "ext:RAVI", "product": "ext:SHOP", "principal": "60000", "external_id": "RAVI-2"});
    let asked = post("/v1/loans", "two-1", body);
    assert_eq!(asked.status, 201, "{}", asked.shown());
    let approved = post("/v1/loans/ext:RAVI-2/approve", "two-2", json!({}));
    assert_eq!((approved.status, approved.code().as_str()), (403, "same_identity"), "{}", approved.shown());
}

/// `munim demo` to its end; what it said, without what differs from run to run.
fn demo(data: &Path) -> String {
    let output = Command::new(MUNIM)
        .args(["demo", "--load-only", "--borrowers", "30", "--months", "4", "--data"])
        .arg(data)
        .output()
        .expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).expect("text");
    assert!(output.status.success(), "{}: {said}", output.status);
    said
}

/// The part of what the demo says that follows a heading, up to an empty line.
fn part<'s>(said: &'s str, heading: &str) -> &'s str {
    let after = said.split_once(heading).unwrap_or_else(|| panic!("no {heading} in {said}")).1;
    after.split("\n\n").next().unwrap_or_default()
}

#[test]
fn a_small_demo_is_whole_and_changes_nothing_when_it_is_run_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let first = demo(&data);
    assert!(first.contains("30 borrowers, 123 business days from 2026-07-01 on"), "{first}");
    let total = part(&first, "Trial balance").lines().last().expect("a total").to_owned();
    let sums: Vec<&str> = total.split_whitespace().collect();
    assert!(sums[0] == "total" && sums[1] == sums[2] && sums[1] != "0.00", "{total}");
    let portfolio = part(&first, "Portfolio on 2026-11-01").to_owned();
    // One of each kind is among the first borrowers, and one of them does not pay.
    assert!(portfolio.lines().any(|line| line.starts_with("npa") && !line.contains(" 0 ")), "{portfolio}");
    let place = Place { data: data.clone(), aside: folder.path().to_path_buf(), flags: Vec::new() };
    let verified = place.verify().expect("the books are whole");
    let again = demo(&data);
    assert!(again.contains("lending branch: already there"), "{again}");
    assert_eq!(part(&again, "Portfolio on 2026-11-01"), portfolio);
    assert_eq!(part(&again, "Trial balance").lines().last(), Some(total.as_str()));
    let head = |said: &str| said.lines().find(|line| line.starts_with("chain head")).map(str::to_owned);
    assert_eq!(head(&place.verify().expect("whole still")), head(&verified), "the second run wrote nothing");
}
