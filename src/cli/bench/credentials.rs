//! The key that every request of a bench carries.
//!
//! One for the whole process: a bench speaks to one server's books, and its sources write requests
//! into reused buffers far below whoever knows the folder. Before a key is read its place is held by
//! one that nobody has, of the same length, so that the floor carries the same bytes.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use super::BenchError;

const NOBODYS: &str = "authorization: Bearer mk_0000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n";

static LINE: OnceLock<String> = OnceLock::new();

/// The header line, with its end.
#[must_use]
pub fn line() -> &'static str {
    LINE.get().map_or(NOBODYS, String::as_str)
}

/// Takes the key in a file: one line. The first one stays.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path) -> Result<(), BenchError> {
    let token = fs::read_to_string(path).map_err(|source| BenchError::io("read the key file", source))?;
    let _ = LINE.set(format!("authorization: Bearer {}\r\n", token.trim()));
    Ok(())
}
