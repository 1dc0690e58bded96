//! Which folder imports which, and which crates it names.
//!
//! Arrows are found in the text, not by the compiler: `crate::x`, `crate::{x, y}` and chains of
//! `super::` that end at the root. The table is `FOLDERS` in `tidy.rs`.

use super::source::{Source, closing_brace};
use super::{FOLDERS, Folder};

/// Crates that every folder but `domain` may name.
const EVERYWHERE: [&str; 2] = ["tracing", "thiserror"];

/// Crates whose names the rule looks for: the dependencies. Read from Cargo.toml when the tests are built.
const MANIFEST: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));

/// A dependency as Cargo.toml has it.
pub struct Dependency {
    pub name: String,
    /// A comment stands right above it.
    pub has_reason: bool,
}

/// All dependencies of a manifest, development ones too.
pub fn dependencies(manifest: &str) -> Vec<Dependency> {
    let mut found: Vec<Dependency> = Vec::new();
    let mut is_dependency = false;
    let mut has_reason = false;
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            is_dependency = line.ends_with("dependencies]");
            has_reason = false;
        } else if line.starts_with('#') {
            has_reason = true;
        } else if line.is_empty() {
            has_reason = false;
        } else if let (true, Some((name, _))) = (is_dependency, line.split_once('=')) {
            let name = name.trim().to_owned();
            if !found.iter().any(|dependency| dependency.name == name) {
                found.push(Dependency { name, has_reason });
            }
            has_reason = false;
        }
    }
    found
}

/// The folder of `src/` that a file is in; `main` and `lib` are folders of one file.
fn folder_of(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    let first = inside.split('/').next().unwrap_or(inside);
    first.strip_suffix(".rs").unwrap_or(first)
}

fn folder(source: &Source) -> Result<&'static Folder, Vec<(usize, String)>> {
    let name = folder_of(&source.path);
    FOLDERS.iter().find(|folder| folder.name == name).ok_or_else(|| vec![(1, format!("{name} is in no table"))])
}

/// The rule `imports`.
pub fn check_folders(source: &Source) -> Vec<(usize, String)> {
    if !source.is_product() {
        return Vec::new();
    }
    let folder = match folder(source) {
        Ok(folder) => folder,
        Err(finding) => return finding,
    };
    let may = |to: &str| to == folder.name || folder.imports.iter().any(|allowed| *allowed == "*" || *allowed == to);
    let arrows = folders_named(source, &source.code).into_iter().filter(|(_, to)| !may(to));
    arrows.map(|(line, to)| (line, format!("{} may not import {to}", folder.name))).collect()
}

/// Every folder of ours that a view of a file names, with the line.
pub fn folders_named(source: &Source, view: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for root in ["crate::", "munim::"] {
        for at in starts_of(view, root) {
            found.extend(first_words(view, at + root.len()).into_iter().map(|word| (source.line(at), word)));
        }
    }
    let depth = depth(&source.path);
    for at in starts_of(view, "super::") {
        // Chains are read from their first link.
        if view[..at].ends_with("super::") {
            continue;
        }
        let links = view[at..].split("super::").take_while(|between| between.is_empty()).count();
        if links >= depth {
            let words = first_words(view, at + links * "super::".len());
            found.extend(words.into_iter().map(|word| (source.line(at), word)));
        }
    }
    found
}

/// How many `super` lead from a file's own module to the root.
fn depth(path: &str) -> usize {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    let parts = inside.split('/').count();
    if inside.ends_with("mod.rs") || ["lib.rs", "main.rs"].contains(&inside) { parts - 1 } else { parts }
}

/// Places of a word that is not the tail of a longer one or of a path.
fn starts_of(view: &str, word: &str) -> Vec<usize> {
    let is_start = |at: &usize| {
        let before = view[..*at].chars().next_back();
        // `self::super::x` and `super::super::x` are paths to a parent all the same.
        let is_path = view[..*at].ends_with("::") && word != "super::";
        !is_path && !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.' || c == '$')
    };
    view.match_indices(word).map(|(at, _)| at).filter(is_start).collect()
}

/// The word at a place, or the first words of all items of the `{group}` there.
fn first_words(view: &str, at: usize) -> Vec<String> {
    let rest = &view[at..];
    if !rest.starts_with('{') {
        return vec![word_of(rest)];
    }
    let inside = &view[at + 1..closing_brace(view, at)];
    let mut items = vec![String::new()];
    let mut level = 0;
    for c in inside.chars() {
        match c {
            '{' => level += 1,
            '}' => level -= 1,
            ',' if level == 0 => {
                items.push(String::new());
                continue;
            }
            _ => {}
        }
        items.last_mut().expect("there is always one item").push(c);
    }
    items.iter().map(|item| word_of(item.trim())).filter(|word| !word.is_empty()).collect()
}

fn word_of(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Places where a view names a crate: `name::…`, `name!`, or `use name` alone.
pub fn places_of(view: &str, crate_name: &str) -> Vec<usize> {
    let is_named = |at: &usize| {
        let rest = &view[at + crate_name.len()..];
        let is_used = view[..*at].ends_with("use ") && (rest.starts_with(';') || rest.starts_with(" as "));
        rest.starts_with("::") || is_used
    };
    starts_of(view, crate_name).into_iter().filter(is_named).collect()
}

/// The rule `crates`.
pub fn check_crates(source: &Source) -> Vec<(usize, String)> {
    if !source.is_product() {
        return Vec::new();
    }
    let folder = match folder(source) {
        Ok(folder) => folder,
        Err(finding) => return finding,
    };
    let everywhere: &[&str] = if folder.name == "domain" { &[] } else { &EVERYWHERE };
    let allowed: Vec<&str> = folder.names.iter().chain(everywhere).copied().collect();
    let mut findings = Vec::new();
    for dependency in dependencies(MANIFEST) {
        let name = dependency.name.replace('-', "_");
        // A module of the file's own may have the name of a crate.
        if allowed.contains(&"*") || allowed.contains(&name.as_str()) || source.code.contains(&format!("mod {name};")) {
            continue;
        }
        for at in places_of(&source.code, &name) {
            let after = at + name.len() + 2;
            let parts = if after < source.code.len() { first_words(&source.code, after) } else { Vec::new() };
            let is_part = |part: &String| allowed.contains(&format!("{name}::{part}").as_str());
            if parts.is_empty() || !parts.iter().all(is_part) {
                let what = format!("{} may not name {name}::{}", folder.name, parts.join(","));
                findings.push((source.line(at), what));
            }
        }
    }
    findings
}
