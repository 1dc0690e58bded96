//! A statement as SWIFT MT940: what older programs of accountants read.
//!
//! One message holds 2,000 characters: a longer statement is several pages, whose balances between are `:62M:` and
//! `:60M:`. Texts are of SWIFT's character set x; what is outside becomes a full stop. Lines end with CR LF, a message
//! with a hyphen.

use super::papers::Issue;
use super::papers::account::{AccountLine, AccountStatement};
use crate::domain::money::format_minor;
use crate::domain::time::Day;

/// Characters of a message at most, its end included.
const MESSAGE_MAX: usize = 2_000;
/// Characters of an amount, its comma included.
const AMOUNT_MAX: usize = 15;
/// Lines of `:86:`, and characters of each.
const INFORMATION: (usize, usize) = (6, 65);
/// What the last lines of a message take: the closing balance, and the hyphen.
const END_MAX: usize = 5 + 1 + 6 + 3 + AMOUNT_MAX + 2 + 3;

/// An amount that the format cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MT940 holds amounts of 15 characters: a balance or a line is larger")]
pub struct AmountTooLong;

/// The file of a statement.
///
/// # Errors
/// [`AmountTooLong`].
pub fn mt940(issue: &Issue, of: &AccountStatement) -> Result<Vec<u8>, AmountTooLong> {
    let first = issue.reference.from.or(of.lines.first().map(|line| line.date)).unwrap_or(issue.day);
    let last = issue.reference.to.unwrap_or(issue.day);
    let mut out = Vec::new();
    let (mut page, mut balance, mut on) = (1, of.opening, first);
    let mut message = begin(issue, of, page, balance_line("60F", of, balance, on)?);
    for line in &of.lines {
        let lines = line_of(of, line)?;
        if message.len() + lines.len() + END_MAX > MESSAGE_MAX {
            message.push_str(&balance_line("62M", of, balance, on)?);
            end(&mut out, &message);
            page += 1;
            message = begin(issue, of, page, balance_line("60M", of, balance, on)?);
        }
        message.push_str(&lines);
        (balance, on) = (line.balance, line.date);
    }
    message.push_str(&balance_line("62F", of, of.closing, last)?);
    end(&mut out, &message);
    Ok(out)
}

/// Reference, account, number of the statement and page, opening balance.
fn begin(issue: &Issue, of: &AccountStatement, page: usize, opening: String) -> String {
    let reference = issue.reference.seq.0 % 10_u64.pow(16);
    // A number that grows from day to day: the day of the year.
    let number = issue.day.date().day_of_year();
    let account = characters(&of.account);
    format!(":20:{reference}\r\n:25:{account}\r\n:28C:{number}/{}\r\n{opening}", page % 100_000)
}

fn end(out: &mut Vec<u8>, message: &str) {
    debug_assert!(message.is_ascii() && message.len() + 3 <= MESSAGE_MAX, "a page ends before it is too long");
    out.extend_from_slice(message.as_bytes());
    out.extend_from_slice(b"-\r\n");
}

/// Without its sign, with a comma that is always there.
fn amount(of: &AccountStatement, minor: i128) -> Result<String, AmountTooLong> {
    let text = format_minor(minor.abs(), of.currency);
    let text = if text.contains('.') { text.replace('.', ",") } else { format!("{text},") };
    if text.len() > AMOUNT_MAX { Err(AmountTooLong) } else { Ok(text) }
}

fn side(of: &AccountStatement, minor: i128) -> char {
    if of.sides(minor).0 > 0 { 'D' } else { 'C' }
}

fn short_date(day: Day) -> String {
    let date = day.date();
    format!("{:02}{:02}{:02}", date.year().rem_euclid(100), date.month(), date.day())
}

fn balance_line(tag: &str, of: &AccountStatement, minor: i128, on: Day) -> Result<String, AmountTooLong> {
    let (side, amount) = (side(of, minor), amount(of, minor)?);
    Ok(format!(":{tag}:{side}{}{}{amount}\r\n", short_date(on), of.currency.code()))
}

/// `:61:` and `:86:` of a line. Value date, entry date, side, amount, "transfer", no reference of the customer's, ours.
fn line_of(of: &AccountStatement, line: &AccountLine) -> Result<String, AmountTooLong> {
    let (side, amount) = (side(of, line.amount), amount(of, line.amount)?);
    let entered = line.booked_on.date();
    let entered = format!("{:02}{:02}", entered.month(), entered.day());
    let ours = line.transfer.trim_start_matches("tr_");
    let mut lines = format!(":61:{}{entered}{side}{amount}NTRFNONREF//{ours}\r\n", short_date(line.date));
    if let Some(words) = line.description.as_deref().filter(|words| !words.trim().is_empty()) {
        lines.push_str(":86:");
        let words = characters(words);
        for piece in words.as_bytes().chunks(INFORMATION.1).take(INFORMATION.0) {
            // A line that begins with a colon or a hyphen would be a field or the message's end.
            let mut piece = String::from_utf8_lossy(piece).into_owned();
            if piece.starts_with([':', '-']) {
                piece.replace_range(..1, ".");
            }
            lines.push_str(&piece);
            lines.push_str("\r\n");
        }
    }
    Ok(lines)
}

/// A text in SWIFT's character set x.
fn characters(words: &str) -> String {
    let is_x = |letter: char| letter.is_ascii_alphanumeric() || "/-?:().,'+ ".contains(letter);
    words.chars().map(|letter| if is_x(letter) { letter } else { '.' }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::papers::account::tests::{issue, statement_of};
    use super::*;

    fn messages(of: &AccountStatement) -> Vec<String> {
        let text = String::from_utf8(mt940(&issue(), of).unwrap()).unwrap();
        assert!(text.ends_with("\r\n-\r\n"), "{text}");
        text.split_terminator("\r\n-\r\n").map(str::to_owned).collect()
    }

    fn field<'m>(message: &'m str, tag: &str) -> &'m str {
        let line = message.split("\r\n").find_map(|line| line.strip_prefix(&format!(":{tag}:")));
        line.unwrap_or_else(|| panic!("no :{tag}: in {message}"))
    }

    /// Credits positive.
    fn signed(side: &str, amount: &str) -> i128 {
        let paise: i128 = amount.replace(',', "").parse().unwrap();
        if side == "C" { paise } else { -paise }
    }

    fn balance(line: &str) -> i128 {
        assert_eq!(&line[7..10], "INR");
        signed(&line[..1], &line[10..])
    }

    #[test]
    fn a_short_statement_is_one_message() {
        let made = messages(&statement_of(2));
        assert_eq!(made.len(), 1);
        let text = &made[0];
        assert_eq!(field(text, "20"), "184467");
        assert_eq!(field(text, "25"), "acct.0000000000007");
        assert_eq!(field(text, "28C"), "305/1");
        assert_eq!(field(text, "60F"), "C261001INR1000,00");
        assert_eq!(field(text, "61"), "2610011002C100,00NTRFNONREF//0000000000001");
        assert_eq!(field(text, "86"), "Deposit . more 0");
        assert_eq!(field(text, "62F"), "C261031INR1099,50");
    }

    #[test]
    fn a_long_one_is_pages_whose_balances_meet() {
        let of = statement_of(60);
        let made = messages(&of);
        assert!(made.len() > 2);
        let mut before = None;
        let mut lines = 0;
        for (place, text) in made.iter().enumerate() {
            assert!(text.len() + 5 <= MESSAGE_MAX, "{}", text.len());
            let (open, close) =
                (if place == 0 { "60F" } else { "60M" }, if place + 1 == made.len() { "62F" } else { "62M" });
            let (open, close) = (field(text, open), field(text, close));
            assert!(before.is_none_or(|before: String| before == open), "page {place}");
            let sum: i128 = text
                .split("\r\n")
                .filter_map(|line| line.strip_prefix(":61:"))
                .map(|line| {
                    lines += 1;
                    signed(&line[10..11], line[11..].split('N').next().unwrap())
                })
                .sum();
            assert_eq!(balance(open) + sum, balance(close), "page {place}");
            assert_eq!(field(text, "28C"), format!("305/{}", place + 1));
            before = Some(close.to_owned());
        }
        assert_eq!(lines, 60);
    }

    #[test]
    fn texts_are_of_the_character_set_and_lines_are_short() {
        let mut of = statement_of(1);
        let words = format!("रवि {}-{}:x\r\n:62F:C", "a".repeat(61), "b".repeat(64));
        of.lines[0].description = Some(words + &"c".repeat(500));
        let made = messages(&of);
        let text = made[0].split(":86:").nth(1).unwrap().split(":62F:C261031").next().unwrap();
        let lines: Vec<&str> = text.trim_end().split("\r\n").collect();
        assert_eq!(lines.len(), 6);
        assert!(lines.iter().all(|line| line.len() <= 65 && !line.starts_with([':', '-'])), "{lines:?}");
        assert!(lines[0].starts_with("... "), "{}", lines[0]);
    }

    #[test]
    fn an_amount_that_does_not_fit_is_refused() {
        let mut of = statement_of(1);
        of.opening = 99_999_999_999_999;
        assert!(mt940(&issue(), &of).is_ok());
        of.opening = 100_000_000_000_000;
        assert_eq!(mt940(&issue(), &of), Err(AmountTooLong));
    }
}
