//! Files as the rules see them.
//!
//! Promise: every view of a file has the same bytes at the same places, so that a place in one is a
//! line in all: what a rule must not see is blanked with spaces, never cut out.

use std::fs;
use std::path::Path;

/// What stands above test code in a product file.
const TEST_MARK: &str = "#[cfg(test)]";

/// A text file of the repository.
pub struct Source {
    /// From the root, with `/`.
    pub path: String,
    /// As it is.
    pub text: String,
    /// Rust: comments and the insides of strings blanked. Others: as it is.
    pub masked: String,
    /// Rust: `masked` with everything under `#[cfg(test)]` blanked; nothing is left of test files.
    pub code: String,
    /// A file of `src/` that its parent declares under `#[cfg(test)]`.
    pub is_test_module: bool,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let is_rust = path.ends_with(".rs");
        let masked = if is_rust { mask(text) } else { text.to_owned() };
        let code = match is_rust {
            true if is_test_file(path) => blank(masked.clone(), 0, masked.len()),
            true => blank_tests(masked.clone()),
            false => masked.clone(),
        };
        Source { path: path.to_owned(), text: text.to_owned(), masked, code, is_test_module: false }
    }

    /// The line of a byte, counted from one.
    pub fn line(&self, at: usize) -> usize {
        self.text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// Whether it is Rust under `src/`.
    pub fn is_product(&self) -> bool {
        self.path.starts_with("src/") && self.path.ends_with(".rs")
    }
}

/// Every text file that people write, from the root of the repository.
pub fn read_repository() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for start in ["src", "tests", "benches", "docs", "systemd", ".ci"] {
        collect(&root.join(start), &mut paths);
    }
    let entries = fs::read_dir(root).expect("the root of the repository can be listed");
    paths.extend(entries.map(|entry| entry.expect("an entry can be read").path()).filter(|path| path.is_file()));
    paths.sort();
    // The lock file is cargo's, and names where it got things from.
    let kept = paths.into_iter().filter(|path| !path.ends_with("Cargo.lock") && !path.ends_with(".git"));
    let read = |path: std::path::PathBuf| {
        let text = String::from_utf8(fs::read(&path).expect("a file of the repository can be read")).ok()?;
        let name = path.strip_prefix(root).expect("it was found under the root").to_str()?.replace('\\', "/");
        Some(Source::new(&name, &text))
    };
    let mut sources: Vec<Source> = kept.filter_map(read).collect();
    blank_test_modules(&mut sources);
    sources
}

/// Treats the files of modules that are declared under `#[cfg(test)]` as what they are.
fn blank_test_modules(sources: &mut [Source]) {
    let mut tests: Vec<String> = Vec::new();
    for source in sources.iter().filter(|source| source.is_product()) {
        let stem = source.path.strip_suffix(".rs").expect("a product file is Rust");
        let folder = stem.strip_suffix("/mod").unwrap_or(stem);
        for (at, _) in source.masked.match_indices(TEST_MARK) {
            let item = source.masked[at + TEST_MARK.len()..].trim_start();
            let declared = item.split_once(';').and_then(|(head, _)| head.split_once("mod "));
            let Some((_, name)) = declared.filter(|(_, name)| name.chars().all(|c| c.is_alphanumeric() || c == '_'))
            else {
                continue;
            };
            tests.push(format!("{folder}/{name}.rs"));
            tests.push(format!("{folder}/{name}/"));
        }
    }
    let is_test = |path: &str| tests.iter().any(|test| path == test || (test.ends_with('/') && path.starts_with(test)));
    for source in sources.iter_mut().filter(|source| is_test(&source.path)) {
        source.is_test_module = true;
        source.code = blank(source.masked.clone(), 0, source.masked.len());
    }
}

fn collect(folder: &Path, paths: &mut Vec<std::path::PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() { collect(&path, paths) } else { paths.push(path) }
    }
}

/// Files that hold nothing but tests: `tests.rs` and `tests/` anywhere, and benches.
pub fn is_test_file(path: &str) -> bool {
    path.starts_with("benches/") || path.ends_with("/tests.rs") || path.split('/').any(|part| part == "tests")
}

/// Overwrites a range with spaces, line ends excepted.
fn blank(text: String, from: usize, to: usize) -> String {
    let mut bytes = text.into_bytes();
    bytes[from..to].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    String::from_utf8(bytes).expect("whole characters are blanked")
}

/// Blanks comments and the insides of strings.
fn mask(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let (from, to) = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => (at, find(bytes, at, b"\n")),
            b'/' if bytes.get(at + 1) == Some(&b'*') => (at, end_of_comment(bytes, at)),
            b'"' => (at + 1, end_of_string(bytes, at + 1)),
            b'r' if !is_word_before(bytes, at) || bytes[at - 1] == b'b' => match raw_string(bytes, at) {
                Some(inside) => inside,
                None => (at, at),
            },
            b'\'' => char_literal(bytes, at).unwrap_or((at, at)),
            _ => (at, at),
        };
        out[from..to].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        // A quote that ends what was blanked is stepped over with it.
        at = if to > at { to + usize::from(bytes[at] != b'/') } else { at + 1 };
    }
    String::from_utf8(out).expect("whole characters are blanked")
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_word_before(bytes: &[u8], at: usize) -> bool {
    at > 0 && is_word(bytes[at - 1])
}

fn find(bytes: &[u8], from: usize, needle: &[u8]) -> usize {
    bytes[from..].windows(needle.len()).position(|window| window == needle).map_or(bytes.len(), |place| from + place)
}

fn end_of_comment(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}

/// The inside of `r"…"` or `r#"…"#` that starts here.
fn raw_string(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    Some((open + 1, find(bytes, open + 1, &end)))
}

/// The inside of a character literal; `None` for a lifetime or a label.
fn char_literal(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    if bytes.get(at + 1) == Some(&b'\\') {
        let end = at + 3 + bytes.get(at + 3..)?.iter().position(|byte| *byte == b'\'')?;
        return Some((at + 1, end));
    }
    // One character is at most four bytes.
    let end = (at + 2..at + 6).find(|end| bytes.get(*end) == Some(&b'\''))?;
    let inside = std::str::from_utf8(bytes.get(at + 1..end)?).ok()?;
    (inside.chars().count() == 1).then_some((at + 1, end))
}

/// Blanks every item under `#[cfg(test)]`.
fn blank_tests(mut masked: String) -> String {
    let mut from = 0;
    while let Some(found) = masked[from..].find(TEST_MARK) {
        let start = from + found;
        let end = end_of_item(masked.as_bytes(), start + TEST_MARK.len());
        masked = blank(masked, start, end);
        from = end;
    }
    masked
}

/// The end of the item that starts here: its closing brace, or the semicolon where it has none.
fn end_of_item(bytes: &[u8], start: usize) -> usize {
    let is_use = bytes[start..].trim_ascii_start().starts_with(b"use ");
    let mut depth = 0;
    for (at, byte) in bytes.iter().enumerate().skip(start) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' => depth -= 1,
            b'}' => {
                depth -= 1;
                if depth == 0 && !is_use {
                    return at + 1;
                }
            }
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    bytes.len()
}

/// The place of the brace that closes the one at `open`.
pub fn closing_brace(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    code.len()
}

#[test]
fn comments_strings_and_tests_are_blanked_and_nothing_moves() {
    let text = "a(); // b\nlet s = \"c \\\" d\"; /* e /* f */ g */ h('\\'', '\"', 'x');\nlet r = br#\"i \" j\"#;\n\
        fn k<'l>() {}\n#[cfg(test)]\nmod tests {\n fn m() { n[0]; }\n}\nlet o = \"ए\";\n";
    let source = Source::new("src/engine/a.rs", text);
    let words: Vec<&str> =
        source.masked.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let expected = "a let s h let r br fn k l cfg test mod tests fn m n 0 let o";
    assert_eq!(words.join(" "), expected);
    assert!(!source.code.contains("fn m"));
    for view in [&source.masked, &source.code] {
        assert_eq!(view.len(), text.len());
        assert_eq!(view.matches('\n').count(), text.matches('\n').count());
    }
    assert_eq!(source.line(text.find("fn k").unwrap()), 4);
}
