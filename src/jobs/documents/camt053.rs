//! A statement as ISO 20022 camt.053.001.08: what programs of accountants and banks read.
//!
//! Opening balance + Σ of the entries = closing balance, credits positive. Its time is that of the newest entry that
//! it shows: the same statement is the same file.

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use super::papers::Issue;
use super::papers::account::{AccountLine, AccountStatement};
use crate::domain::money::{Currency, format_minor};

const NAMESPACE: &str = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08";

/// Characters of an account's name, by the schema.
const NAME_MAX: usize = 70;
/// Characters of one line of remittance information.
const REMITTANCE_MAX: usize = 140;

/// A part of the file: an element with a text, or with others in it.
enum Part {
    Text(&'static str, String),
    Amount(i128, Currency),
    Group(&'static str, Vec<Part>),
}

fn text(name: &'static str, value: impl Into<String>) -> Part {
    Part::Text(name, value.into())
}

fn group(name: &'static str, parts: Vec<Part>) -> Part {
    Part::Group(name, parts)
}

/// The file of a statement. `made_at` is the moment of its newest entry, RFC 3339.
#[must_use]
pub fn camt053(issue: &Issue, of: &AccountStatement, made_at: &str) -> Vec<u8> {
    let number = of.account.trim_start_matches("acct_");
    let id = format!("{number}-{}", issue.reference.seq);
    let first = issue.reference.from.or(of.lines.first().map(|line| line.date)).unwrap_or(issue.day);
    let last = issue.reference.to.unwrap_or(issue.day);
    let mut account =
        vec![group("Id", vec![group("Othr", vec![text("Id", of.account.as_str())])]), text("Ccy", of.currency.code())];
    if let Some(name) = &of.name {
        account.push(text("Nm", cut(name, NAME_MAX)));
    }
    account.push(group("Svcr", vec![group("FinInstnId", vec![text("Nm", cut(&issue.lender, REMITTANCE_MAX))])]));
    let mut statement = vec![
        text("Id", id.as_str()),
        text("CreDtTm", made_at),
        group("Acct", account),
        balance("OPBD", of, of.opening, &first.to_string()),
        balance("CLBD", of, of.closing, &last.to_string()),
    ];
    statement.extend(of.lines.iter().map(|line| entry(of, line)));
    let header = group("GrpHdr", vec![text("MsgId", id), text("CreDtTm", made_at)]);
    write(&[group("BkToCstmrStmt", vec![header, group("Stmt", statement)])])
}

/// Amount and side; credits are positive.
fn sided(of: &AccountStatement, amount: i128) -> [Part; 2] {
    let (debit, credit) = of.sides(amount);
    let side = if debit > 0 { "DBIT" } else { "CRDT" };
    [Part::Amount(debit.max(credit), of.currency), text("CdtDbtInd", side)]
}

fn balance(code: &'static str, of: &AccountStatement, amount: i128, day: &str) -> Part {
    let mut parts = vec![group("Tp", vec![group("CdOrPrtry", vec![text("Cd", code)])])];
    parts.extend(sided(of, amount));
    parts.push(group("Dt", vec![text("Dt", day)]));
    group("Bal", parts)
}

fn entry(of: &AccountStatement, line: &AccountLine) -> Part {
    let mut details = vec![group("Refs", vec![text("AcctSvcrRef", line.transfer.as_str())])];
    if let Some(description) = line.description.as_deref().filter(|words| !words.trim().is_empty()) {
        let letters: Vec<char> = description.chars().collect();
        let lines = letters.chunks(REMITTANCE_MAX).map(|piece| text("Ustrd", piece.iter().collect::<String>()));
        details.push(group("RmtInf", lines.collect()));
    }
    let mut parts = vec![text("NtryRef", line.transfer.as_str())];
    parts.extend(sided(of, line.amount));
    parts.extend([
        group("Sts", vec![text("Cd", "BOOK")]),
        group("BookgDt", vec![text("DtTm", line.booked_at.as_str())]),
        group("ValDt", vec![text("Dt", line.date.to_string())]),
        text("AcctSvcrRef", line.transfer.as_str()),
        group("BkTxCd", vec![group("Prtry", vec![text("Cd", "TRANSFER")])]),
        group("NtryDtls", vec![group("TxDtls", details)]),
    ]);
    group("Ntry", parts)
}

fn cut(words: &str, chars_max: usize) -> String {
    words.chars().take(chars_max).collect()
}

/// What XML 1.0 cannot hold becomes a full stop.
fn allowed(words: &str) -> String {
    let is_allowed = |letter: char| matches!(letter, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
    words.chars().map(|letter| if is_allowed(letter) { letter } else { '.' }).collect()
}

fn write(parts: &[Part]) -> Vec<u8> {
    let mut writer = Writer::new_with_indent(Vec::with_capacity(16 * 1024), b' ', 1);
    let declaration = writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
    let root = BytesStart::new("Document").with_attributes([("xmlns", NAMESPACE)]);
    let whole = declaration
        .and_then(|()| writer.write_event(Event::Start(root)))
        .and_then(|()| write_parts(&mut writer, parts))
        .and_then(|()| writer.write_event(Event::End(BytesEnd::new("Document"))));
    whole.expect("writing to memory cannot fail");
    let mut bytes = writer.into_inner();
    bytes.push(b'\n');
    bytes
}

fn write_parts(writer: &mut Writer<Vec<u8>>, parts: &[Part]) -> std::io::Result<()> {
    for part in parts {
        match part {
            Part::Text(name, value) => {
                writer.write_event(Event::Start(BytesStart::new(*name)))?;
                writer.write_event(Event::Text(BytesText::new(&allowed(value))))?;
                writer.write_event(Event::End(BytesEnd::new(*name)))?;
            }
            Part::Amount(amount, currency) => {
                let start = BytesStart::new("Amt").with_attributes([("Ccy", currency.code())]);
                writer.write_event(Event::Start(start))?;
                writer.write_event(Event::Text(BytesText::new(&format_minor(*amount, *currency))))?;
                writer.write_event(Event::End(BytesEnd::new("Amt")))?;
            }
            Part::Group(name, parts) => {
                writer.write_event(Event::Start(BytesStart::new(*name)))?;
                write_parts(writer, parts)?;
                writer.write_event(Event::End(BytesEnd::new(*name)))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;

    use super::super::papers::account::tests::{issue, statement_of};
    use super::*;

    /// Every element with a text, by its path, in order.
    fn read(bytes: &[u8]) -> Vec<(String, String)> {
        let mut reader = Reader::from_reader(bytes);
        let (mut path, mut found, mut words) = (Vec::new(), Vec::new(), String::new());
        loop {
            match reader.read_event().expect("well-formed XML") {
                Event::Start(start) => {
                    path.push(start.name().as_ref().to_owned());
                    words.clear();
                }
                Event::Text(text) => words.push_str(&text),
                Event::GeneralRef(name) => words.push_str(&format!("&{};", &*name)),
                Event::End(_) => {
                    if !words.trim().is_empty() {
                        found.push((path.join("/"), std::mem::take(&mut words)));
                    }
                    path.pop();
                }
                Event::Eof => return found,
                _ => {}
            }
        }
    }

    #[test]
    fn the_entries_lead_from_the_opening_to_the_closing_balance() {
        let of = statement_of(3);
        let bytes = camt053(&issue(), &of, "2026-11-01T10:00:00.000000Z");
        let found = read(&bytes);
        let of_path = |end: &str| -> Vec<&str> {
            found.iter().filter(|(path, _)| path.ends_with(end)).map(|(_, words)| words.as_str()).collect()
        };
        let paise = |words: &str| words.replace('.', "").parse::<i128>().unwrap();
        let signed = |place: &str| -> Vec<i128> {
            let amounts = of_path(&format!("{place}/Amt"));
            let sides = of_path(&format!("{place}/CdtDbtInd"));
            amounts
                .iter()
                .zip(sides)
                .map(|(amount, side)| if side == "CRDT" { paise(amount) } else { -paise(amount) })
                .collect()
        };
        let (balances, entries) = (signed("Bal"), signed("Ntry"));
        assert_eq!((balances.len(), entries.len()), (2, 3));
        assert_eq!(balances[0] + entries.iter().sum::<i128>(), balances[1]);
        assert_eq!(of_path("Tp/CdOrPrtry/Cd"), ["OPBD", "CLBD"]);
        assert_eq!(of_path("GrpHdr/MsgId")[0].len(), "0000000000007-184467".len());
        assert_eq!(of_path("RmtInf/Ustrd")[0], "Deposit &amp; more 0");
        assert_eq!(bytes, camt053(&issue(), &of, "2026-11-01T10:00:00.000000Z"), "no clock is asked");
    }

    #[test]
    fn long_and_strange_texts_fit() {
        let mut of = statement_of(1);
        of.name = Some("N".repeat(200));
        of.lines[0].description = Some(format!("{}\u{1}<b>", "é".repeat(300)));
        let found = read(&camt053(&issue(), &of, "2026-11-01T10:00:00Z"));
        let texts: Vec<_> = found.iter().filter(|(path, _)| path.ends_with("Ustrd")).collect();
        assert_eq!(texts.len(), 3);
        assert!(texts.iter().all(|(_, words)| words.replace("&lt;", "<").replace("&gt;", ">").chars().count() <= 140));
        assert!(texts[2].1.contains('.') && !texts[2].1.contains('\u{1}'));
        assert!(found.iter().any(|(path, words)| path.ends_with("Acct/Nm") && words.len() == 70));
    }
}
