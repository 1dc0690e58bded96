//! What keys leave in a data folder: `keys.secret`, under which tokens are hashed, and `admin.key`,
//! the token of the first key.
//!
//! Promise: both are their owner's alone (0600) from their first byte on, and whole or not there. A
//! server whose books never had a key makes one before it says that it listens: it is never open to
//! whoever comes. The file is on disk before the key is in the books: a power cut in between leaves
//! a file that the next start writes anew, never a key that nobody has.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::domain::access::{KeyLimits, KeyTerms, Role, SCOPE_ALL};
use crate::engine::Core;
use crate::engine::command::{Command, NewApiKey, Origin};
use crate::engine::history::Reach;
use crate::engine::submit::Said;
use crate::engine::view::Reply;
use crate::http::gateway::token::{Secret, Tokens};

/// Name of the folder's secret.
const SECRET_FILE: &str = "keys.secret";

/// Name of the file with the first key's token: one line.
pub const ADMIN_FILE: &str = "admin.key";

/// Why keys could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// A file.
    #[error("could not {doing} {path}")]
    File {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The secret is not what was written there.
    #[error(
        "{0} is not 64 hexadecimal digits; without it no API key is known: bring it back from a backup, or remove it and make new keys"
    )]
    Malformed(PathBuf),
    /// The system has no randomness.
    #[error("could not draw a secret")]
    Random(#[source] io::Error),
    /// The books did not take the first key.
    #[error("could not make the first API key: {0}")]
    Refused(String),
}

/// The tokens of a folder; its secret is made where it is missing.
///
/// # Errors
/// [`KeyFileError`].
pub fn tokens_of(folder: &Path, core: &Core) -> Result<Tokens, KeyFileError> {
    let path = folder.join(SECRET_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => parse_hex(text.trim()).map(Tokens::new).ok_or(KeyFileError::Malformed(path)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if !core.keyring().is_empty() {
                tracing::error!(
                    path = %path.display(),
                    "keys.secret is gone: no API key made so far is accepted any more; make new ones with `munim keys create --data`"
                );
            }
            let mut secret = [0; 32];
            getrandom::fill(&mut secret).map_err(|error| KeyFileError::Random(io::Error::other(error)))?;
            let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            write_private(&path, &format!("{text}\n"))?;
            Ok(Tokens::new(secret))
        }
        Err(source) => Err(KeyFileError::File { doing: "read", path, source }),
    }
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    for (place, byte) in bytes.iter_mut().enumerate().filter(|_| is_hex) {
        *byte = u8::from_str_radix(&text[place * 2..place * 2 + 2], 16).ok()?;
    }
    is_hex.then_some(bytes)
}

/// Writes a file that only its owner may read, durably: beside its name, then renamed.
///
/// # Errors
/// [`KeyFileError::File`].
pub fn write_private(path: &Path, text: &str) -> Result<(), KeyFileError> {
    let write = || {
        let beside = path.with_extension("new");
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|source| KeyFileError::File { doing: "write", path: path.to_path_buf(), source })
}

/// Makes the first key of books that never had one, and leaves its token in `admin.key`. Returns
/// that file's path, or `None` when there was nothing to do. Waits until the key is on disk.
///
/// # Errors
/// [`KeyFileError`].
pub fn make_first_key(folder: &Path, core: &Core, tokens: &Tokens) -> Result<Option<PathBuf>, KeyFileError> {
    if !core.keyring().is_empty() {
        return Ok(None);
    }
    let secret = Secret::draw().map_err(KeyFileError::Random)?;
    let path = folder.join(ADMIN_FILE);
    let number = core.keyring().next_number();
    write_private(&path, &format!("{}\n", secret.token_of(number)))?;
    let terms = KeyTerms {
        name: "first admin".into(),
        role: Role::Admin,
        scopes: vec![SCOPE_ALL.into()],
        amount_limit: None,
        limits: KeyLimits::default(),
        expires_at: None,
        certificate: None,
    };
    let command = Command::MakeApiKey(Box::new(NewApiKey { terms, hash: tokens.hash(&secret) }));
    let pending = core.execute(&command, &Origin::default(), Reach::Disk);
    let pending = pending.map_err(|refused| KeyFileError::Refused(format!("{refused:?}")))?;
    match pending.said {
        Said::Now(Reply::ApiKey { key, .. }) => assert_eq!(key.number, number, "nobody else makes keys yet"),
        other => return Err(KeyFileError::Refused(format!("{other:?}"))),
    }
    if !core.watermark().wait_blocking(pending.as_of) {
        return Err(KeyFileError::Refused("the journal failed".into()));
    }
    Ok(Some(path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use super::*;
    use crate::disk::{Disk, FolderDisk};
    use crate::engine::clock::SystemTimeSource;
    use crate::engine::{Engine, EngineOptions};
    use crate::http::gateway::token::parse_token;

    fn open(folder: &Path) -> Arc<Engine> {
        let disk: Arc<dyn Disk> = Arc::new(FolderDisk::open(folder).unwrap());
        Engine::start(&disk, &EngineOptions::default(), Box::new(SystemTimeSource::default())).unwrap()
    }

    #[test]
    fn books_without_keys_get_an_admin_key_once() {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path());
        let tokens = tokens_of(folder.path(), engine.core()).unwrap();
        let path = make_first_key(folder.path(), engine.core(), &tokens).unwrap().expect("the books had no key");
        let line = fs::read_to_string(&path).unwrap();
        let (number, secret) = parse_token(line.strip_suffix('\n').unwrap()).unwrap();
        assert!(tokens.is_hash_of(&engine.core().keyring().get(number).unwrap().hash, &secret));
        for name in [SECRET_FILE, ADMIN_FILE] {
            let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert_eq!(make_first_key(folder.path(), engine.core(), &tokens).unwrap(), None);
        engine.shut_down();
        drop(engine);
        let engine = open(folder.path());
        let tokens = tokens_of(folder.path(), engine.core()).unwrap();
        assert_eq!(make_first_key(folder.path(), engine.core(), &tokens).unwrap(), None, "the journal has it");
        assert!(tokens.is_hash_of(&engine.core().keyring().get(number).unwrap().hash, &secret));
        engine.shut_down();
    }

    #[test]
    fn a_damaged_secret_is_refused_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path());
        for text in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
            fs::write(folder.path().join(SECRET_FILE), text).unwrap();
            assert!(matches!(tokens_of(folder.path(), engine.core()), Err(KeyFileError::Malformed(_))), "{text}");
            assert_eq!(fs::read_to_string(folder.path().join(SECRET_FILE)).unwrap(), text);
        }
        engine.shut_down();
    }
}
