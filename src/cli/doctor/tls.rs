//! TLS: can the certificate be read, does the key belong to it, and for how long does it hold?

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{Finding, Subject, files};

const CHECK: &str = "tls.certificate";
const WHY: &str =
    "clients refuse a certificate that is out of time, and a server whose key does not fit does not start";

/// Days before the end from which on somebody should act: a month's holiday lies between.
const DAYS_LOW: i64 = 30;

/// A certificate and its key in the data folder, where no flag names others.
const OWN: (&str, &str) = ("tls/cert.pem", "tls/key.pem");

pub(super) fn check(subject: &Subject<'_>) -> Vec<Finding> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
    let named = |key: &str| subject.settings.first(key).map(PathBuf::from);
    let (certificate, key) = match (named("tls_cert"), named("tls_key")) {
        (None, None) => (subject.data.join(OWN.0), subject.data.join(OWN.1)),
        (Some(certificate), Some(key)) => (certificate, key),
        (one, _) => {
            let missing = if one.is_some() { "--tls-key" } else { "--tls-cert" };
            return vec![Finding::bad(CHECK, WHY, format!("{missing} is not given"), "give both, or neither")];
        }
    };
    if subject.settings.first("tls_cert").is_none() && !certificate.exists() {
        return vec![Finding::ok(CHECK, WHY, "none is given: plain HTTP on loopback, a self-signed one elsewhere")];
    }
    let mut findings = vec![pair(&certificate, &key, now_s)];
    findings.extend(files::secret(&key));
    findings
}

fn pair(certificate: &Path, key: &Path, now_s: i64) -> Finding {
    let todo = "`docs/runbook.md`, \"Certificate expired\"";
    match read(certificate, key) {
        Err(what) => Finding::bad(CHECK, WHY, what, todo),
        Ok(times) => judge(times, now_s, &certificate.display().to_string()),
    }
}

/// The time in which every certificate of the chain holds, seconds since 1970.
fn read(certificate: &Path, key: &Path) -> Result<(i64, i64), String> {
    let shown = certificate.display();
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| format!("could not read the certificate {shown}: {error}"))?;
    let secret = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| format!("could not read the key {}: {error}", key.display()))?;
    let mut times: Option<(i64, i64)> = None;
    for part in &chain {
        let (_, parsed) = x509_parser::parse_x509_certificate(part)
            .map_err(|error| format!("{shown} holds something that is no certificate: {error}"))?;
        let validity = parsed.validity();
        let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        times = Some(times.map_or((from, to), |(other_from, other_to)| (from.max(other_from), to.min(other_to))));
    }
    let times = times.ok_or_else(|| format!("there is no certificate in {shown}"))?;
    let provider = rustls::crypto::ring::default_provider();
    match CertifiedKey::from_der(chain, secret, &provider) {
        Ok(_) => Ok(times),
        Err(error) => Err(format!("the key {} does not fit the certificate {shown}: {error}", key.display())),
    }
}

fn judge((from, to): (i64, i64), now_s: i64, shown: &str) -> Finding {
    let date = |second| jiff::Timestamp::from_second(second).map_or_else(|_| "?".to_owned(), |time| time.to_string());
    let days = (to - now_s).div_euclid(86_400);
    let todo = "`docs/runbook.md`, \"Certificate expired\"";
    match days {
        _ if now_s < from => {
            Finding::bad(CHECK, WHY, format!("{shown} holds only from {}", date(from)), "check the clock first")
        }
        _ if now_s >= to => Finding::bad(CHECK, WHY, format!("{shown} has expired at {}", date(to)), todo),
        _ if days < DAYS_LOW => Finding::warn(CHECK, WHY, format!("{shown} expires in {days} days"), todo),
        _ => Finding::ok(CHECK, WHY, format!("{shown} and its key fit; it expires in {days} days")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Bad, Ok as Well, Warn};
    use super::*;

    /// A certificate that holds in 2026, with its key.
    fn made(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        let paths = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        std::fs::write(&paths.0, certificate.pem()).unwrap();
        std::fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }

    #[test]
    fn a_certificate_is_judged_by_its_days() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = made(folder.path(), "one");
        let at = |date: &str| date.parse::<jiff::Timestamp>().unwrap().as_second();
        let table = [
            ("2025-12-31T23:59:59Z", Bad),
            ("2026-01-01T00:00:00Z", Well),
            ("2026-12-01T00:00:00Z", Well),
            ("2026-12-03T00:00:00Z", Warn),
            ("2027-01-01T00:00:00Z", Bad),
        ];
        for (now, verdict) in table {
            let finding = pair(&certificate, &key, at(now));
            assert_eq!(finding.verdict, verdict, "{now}: {finding:?}");
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_bad() {
        let folder = tempfile::tempdir().unwrap();
        let ((one, _), (_, other)) = (made(folder.path(), "one"), made(folder.path(), "other"));
        let finding = pair(&one, &other, 1_780_000_000);
        assert_eq!(finding.verdict, Bad);
        assert!(finding.what.contains("does not fit"), "{finding:?}");
        let missing = pair(&one, &folder.path().join("none"), 1_780_000_000);
        assert!(missing.what.starts_with("could not read the key"), "{missing:?}");
    }
}
