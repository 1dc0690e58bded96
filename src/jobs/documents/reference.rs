//! What names a document: enough to make it again from the books, and the hash of what it says.
//!
//! The text of it stands in the QR code, in the file's properties, and is all that `munim verify document` believes
//! of a file before it asks the books:
//!
//! ```text
//! munim/1?kind=statement&id=acct_…&from=2026-04-01&to=2026-04-30&seq=184467&head=…&hash=…
//! ```
//!
//! `seq` is the newest entry that the document shows, `head` the hash of the journal's block that holds it, which
//! hashes all blocks before: a document of other books has another one.

use std::fmt;

use crate::domain::ids::Seq;
use crate::domain::time::Day;

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of an account of the ledger.
    Statement,
    /// Of a loan.
    LoanStatement,
    /// Rows of a loan, those to come included.
    Schedule,
    /// Key facts of a loan.
    KeyFacts,
    /// Of a payment.
    Receipt,
    /// Nothing is owed any more.
    NoDues,
    /// What a day came to.
    DaySlip,
}

/// Names of the kinds, in the payload and in file names.
pub const KINDS: [(Kind, &str); 7] = [
    (Kind::Statement, "statement"),
    (Kind::LoanStatement, "loan_statement"),
    (Kind::Schedule, "schedule"),
    (Kind::KeyFacts, "kfs"),
    (Kind::Receipt, "receipt"),
    (Kind::NoDues, "no_dues"),
    (Kind::DaySlip, "day_slip"),
];

impl Kind {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        KINDS[self as usize].1
    }

    /// The kind of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Kind> {
        KINDS.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }
}

/// Which document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// What it is.
    pub kind: Kind,
    /// What it is about: `acct_…`, `loan_…`, or a day.
    pub id: String,
    /// A part of that: the event of a receipt, the version of a schedule.
    pub part: Option<String>,
    /// First day, if bounded.
    pub from: Option<Day>,
    /// Last day, if bounded.
    pub to: Option<Day>,
    /// The newest entry that it shows.
    pub seq: Seq,
}

/// A reference, and what holds the document to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Which document.
    pub reference: Reference,
    /// Hash of the journal's block that holds its newest entry.
    pub head: [u8; 32],
    /// Hash of what it says.
    pub hash: [u8; 32],
}

/// What the text of a payload begins with; the number is that of its form.
const BEGINNING: &str = "munim/1?";

/// Bytes of a payload's text at most.
pub const PAYLOAD_BYTES_MAX: usize = 512;

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reference { kind, id, part, from, to, seq } = &self.reference;
        write!(f, "{BEGINNING}kind={}&id={id}", kind.name())?;
        if let Some(part) = part {
            write!(f, "&part={part}")?;
        }
        for (name, day) in [("from", from), ("to", to)] {
            if let Some(day) = day {
                write!(f, "&{name}={day}")?;
            }
        }
        write!(f, "&seq={seq}&head={}&hash={}", hex(&self.head), hex(&self.hash))
    }
}

/// Bytes as small hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8; 32]) -> String {
    blake3::Hash::from(*bytes).to_hex().to_string()
}

impl Payload {
    /// Reads a text; `None` where it is none of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Payload> {
        let rest = text.trim().strip_prefix(BEGINNING).filter(|rest| rest.len() <= PAYLOAD_BYTES_MAX)?;
        let (mut kind, mut id, mut part, mut from, mut to) = (None, None, None, None, None);
        let (mut seq, mut head, mut hash) = (None, None, None);
        let is_word = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        };
        for pair in rest.split('&') {
            let (name, value) = pair.split_once('=').filter(|(_, value)| is_word(value))?;
            let is_new = match name {
                "kind" => kind.replace(Kind::from_name(value)?).is_none(),
                "id" => id.replace(value.to_owned()).is_none(),
                "part" => part.replace(value.to_owned()).is_none(),
                "from" => from.replace(Day::parse(value)?).is_none(),
                "to" => to.replace(Day::parse(value)?).is_none(),
                "seq" => seq.replace(Seq(value.parse().ok()?)).is_none(),
                "head" => head.replace(blake3::Hash::from_hex(value).ok()?).is_none(),
                "hash" => hash.replace(blake3::Hash::from_hex(value).ok()?).is_none(),
                _ => false,
            };
            if !is_new {
                return None;
            }
        }
        let reference = Reference { kind: kind?, id: id?, part, from, to, seq: seq? };
        Some(Payload { reference, head: head?.into(), hash: hash?.into() })
    }
}

impl Reference {
    /// The name of its file: `statement-acct_….pdf`, with the days and the part that it has.
    #[must_use]
    pub fn file_name(&self, extension: &str) -> String {
        let mut name = format!("{}-{}", self.kind.name(), self.id);
        let days = [self.from, self.to].into_iter().flatten().map(|day| day.to_string());
        for part in self.part.iter().cloned().chain(days) {
            name.push('-');
            name.push_str(&part);
        }
        format!("{name}.{extension}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload() -> Payload {
        let reference = Reference {
            kind: Kind::Receipt,
            id: "loan_01".into(),
            part: Some("evt_02".into()),
            from: Day::parse("2026-04-01"),
            to: None,
            seq: Seq(7),
        };
        Payload { reference, head: [1; 32], hash: [0xAB; 32] }
    }

    #[test]
    fn a_payload_is_read_as_it_was_written() {
        let text = payload().to_string();
        assert!(
            text.starts_with("munim/1?kind=receipt&id=loan_01&part=evt_02&from=2026-04-01&seq=7&head=0101"),
            "{text}"
        );
        assert_eq!(Payload::parse(&text), Some(payload()));
        assert!(text.len() < PAYLOAD_BYTES_MAX);
        assert_eq!(payload().reference.file_name("pdf"), "receipt-loan_01-evt_02-2026-04-01.pdf");
        for (at, (kind, name)) in KINDS.iter().enumerate() {
            assert_eq!((*kind as usize, Kind::from_name(name)), (at, Some(*kind)));
        }
    }

    #[test]
    fn what_is_no_payload_is_refused() {
        let good = payload().to_string();
        for bad in [
            String::new(),
            good.replace("munim/1", "munim/2"),
            good.replace("kind=receipt", "kind=letter"),
            good.replace("&seq=7", ""),
            good.replace("&seq=7", "&seq=-7"),
            good.replace("loan_01", "../loan"),
            good.replace("hash=ab", "hash=xy"),
            format!("{good}&seq=8"),
            format!("{good}&colour=red"),
            format!("{good}{}", "0".repeat(PAYLOAD_BYTES_MAX)),
        ] {
            assert_eq!(Payload::parse(&bad), None, "{bad}");
        }
    }
}
