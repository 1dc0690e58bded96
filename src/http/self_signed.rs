//! A certificate of our own for the first run, until somebody brings a better one.
//!
//! Promise: made once and kept, so that a client that has noted its fingerprint recognises us for
//! ever; the key is readable for its owner only from its first byte on.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use super::tls::{TlsError, TlsFiles};

/// Names by which every machine knows itself.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The pair in `folder`; made there for this machine's own names and `names` (host names or
/// addresses) where it is missing.
///
/// # Errors
/// [`TlsError::Write`], [`TlsError::Make`].
pub fn make_once(folder: &Path, names: &[String]) -> Result<TlsFiles, TlsError> {
    let files = TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem"), client_ca: None };
    if files.cert.exists() && files.key.exists() {
        return Ok(files);
    }
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| TlsError::Write(folder.to_owned(), error))?;
    let mut all: Vec<String> = OWN_NAMES.map(str::to_owned).to_vec();
    all.extend(names.iter().filter(|name| !OWN_NAMES.contains(&name.as_str())).cloned());
    let mut params = CertificateParams::new(all).map_err(TlsError::Make)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "munim");
    let key = KeyPair::generate().map_err(TlsError::Make)?;
    let cert = params.self_signed(&key).map_err(TlsError::Make)?;
    // The key first: a certificate without one would be taken for a whole pair after a power cut.
    write_new(&files.key, key.serialize_pem().as_bytes()).map_err(|error| TlsError::Write(files.key.clone(), error))?;
    write_new(&files.cert, cert.pem().as_bytes()).map_err(|error| TlsError::Write(files.cert.clone(), error))?;
    Ok(files)
}

/// Writes beside the name and renames: the file is there whole or not at all.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_pair_is_made_once_and_its_key_is_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("tls");
        let files = make_once(&place, &["branch-7.example".to_owned(), "10.1.2.3".to_owned()]).unwrap();
        for (path, mode) in [(&place, 0o700), (&files.key, 0o600), (&files.cert, 0o600)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
        }
        let before = fs::read(&files.cert).unwrap();
        assert_eq!(make_once(&place, &[]).unwrap(), files);
        assert_eq!(fs::read(&files.cert).unwrap(), before);
    }

    #[test]
    fn half_a_pair_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let files = make_once(folder.path(), &[]).unwrap();
        fs::remove_file(&files.cert).unwrap();
        make_once(folder.path(), &[]).unwrap();
        assert!(super::super::tls::TlsFront::open(files).is_ok());
    }
}
