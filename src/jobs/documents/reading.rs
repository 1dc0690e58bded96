//! What a PDF of ours says: its payload and its texts, read back from the file.
//!
//! Promise: nothing is believed. A file of any bytes is read without a panic, in time that grows with its length; what
//! is found is told apart from what the books say by whoever compares.
//!
//! Only what [`super::file`] writes is understood: objects in clear, texts as hexadecimal glyphs. A file that another
//! program has written anew shows no texts here, and that is an answer, too.

use std::collections::HashMap;

use super::canvas::Length;
use super::fonts::{FACE_COUNT, face};
use super::reference::{PAYLOAD_BYTES_MAX, Payload};

/// A text that a page shows: the page (from 1), and its place in hundredths of a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// From 1.
    pub page: usize,
    /// Above the lower edge.
    pub y: Length,
    /// From the left edge.
    pub x: Length,
    /// The letters.
    pub text: String,
}

/// The payload of a file: its property `Subject`; or of a text that holds nothing else, as a QR code's reader gives it.
#[must_use]
pub fn payload(bytes: &[u8]) -> Option<Payload> {
    if !bytes.starts_with(b"%PDF-") {
        let text = std::str::from_utf8(bytes.get(..bytes.len().min(2 * PAYLOAD_BYTES_MAX))?).ok()?;
        return Payload::parse(text);
    }
    let at = find(bytes, b"/Subject")? + b"/Subject".len();
    let rest = bytes.get(at..)?;
    let open = rest.iter().take(8).position(|byte| *byte == b'(')?;
    let text = rest.get(open + 1..)?;
    let close = text.iter().take(PAYLOAD_BYTES_MAX * 2).position(|byte| *byte == b')')?;
    Payload::parse(std::str::from_utf8(&text[..close]).ok()?)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Texts of all pages, in the order in which they are drawn.
#[must_use]
pub fn texts(bytes: &[u8]) -> Vec<Shown> {
    let mut shown = Vec::new();
    let (mut at, mut page) = (0, 0);
    while let Some(from) = bytes.get(at..).and_then(|rest| find(rest, b"stream\n")) {
        let start = at + from + b"stream\n".len();
        let end = bytes.get(start..).and_then(|rest| find(rest, b"\nendstream")).map_or(bytes.len(), |end| start + end);
        let stream = &bytes[start..end];
        // A page begins by drawing; a font is deflated, a map of characters begins with a comment.
        if find(stream, b"/Code Do").is_some() {
            page += 1;
            read_page(stream, page, &mut shown);
        }
        at = end + b"\nendstream".len();
    }
    shown
}

/// Reads the operators of a page, line by line as they were written.
fn read_page(stream: &[u8], page: usize, shown: &mut Vec<Shown>) {
    let mut font = 0;
    // The letters of a shaped run, which its glyphs do not tell.
    let mut spoken: Option<Shown> = None;
    for line in stream.split(|byte| *byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        if let Some(rest) = line.strip_prefix("/F").and_then(|rest| rest.strip_suffix(" Tf")) {
            font = rest.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(FACE_COUNT);
        } else if let Some(hex) =
            line.strip_prefix("/Span<</ActualText<FEFF").and_then(|rest| rest.strip_suffix(">>>BDC"))
        {
            let units: Vec<u16> = glyphs(hex).collect();
            spoken = Some(Shown { page, y: 0, x: 0, text: String::from_utf16_lossy(&units) });
        } else if line == "EMC" {
            shown.extend(spoken.take());
        } else if let Some((x, y, hex)) = placed(line) {
            match &mut spoken {
                // Its place is that of its first glyph.
                Some(run) if (run.x, run.y) == (0, 0) => (run.x, run.y) = (x, y),
                Some(_) => {}
                None => shown.push(Shown { page, y, x, text: letters(font, hex) }),
            }
        }
    }
}

/// The place and the glyphs of `1 0 0 1 x y Tm <…>Tj`.
fn placed(line: &str) -> Option<(Length, Length, &str)> {
    let rest = line.strip_prefix("1 0 0 1 ")?.strip_suffix(">Tj")?;
    let (place, hex) = rest.split_once(" Tm <")?;
    let (x, y) = place.split_once(' ')?;
    Some((length(x)?, length(y)?, hex))
}

/// Points with up to two decimals.
fn length(text: &str) -> Option<Length> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_negative = whole.starts_with('-');
    let whole: Length = whole.parse().ok()?;
    let part: Length = match part.len() {
        0 => 0,
        1 => part.parse::<Length>().ok()? * 10,
        2 => part.parse().ok()?,
        _ => return None,
    };
    let part = if is_negative { -part } else { part };
    whole.checked_mul(100)?.checked_add(part)
}

fn glyphs(hex: &str) -> impl Iterator<Item = u16> + '_ {
    let digits = hex.as_bytes().chunks_exact(4);
    digits.filter_map(|four| std::str::from_utf8(four).ok().and_then(|four| u16::from_str_radix(four, 16).ok()))
}

fn letters(font: usize, hex: &str) -> String {
    if font >= FACE_COUNT {
        return "?".repeat(hex.len() / 4);
    }
    let loaded = face(font);
    glyphs(hex).map(|glyph| loaded.character(glyph).unwrap_or('\u{FFFD}')).collect()
}

/// Texts as lines of a page: those of one height from left to right.
#[must_use]
pub fn lines(mut texts: Vec<Shown>) -> Vec<(usize, String)> {
    texts.sort_by_key(|text| (text.page, std::cmp::Reverse(text.y), text.x));
    let mut lines: Vec<(usize, Length, String)> = Vec::new();
    for Shown { page, y, text, .. } in texts {
        match lines.last_mut() {
            Some((last_page, last_y, line)) if (*last_page, *last_y) == (page, y) => {
                line.push_str("  ");
                line.push_str(&text);
            }
            _ => lines.push((page, y, text)),
        }
    }
    lines.into_iter().map(|(page, _, line)| (page, line)).collect()
}

/// How two files differ, for people: at most `count` sentences.
#[must_use]
pub fn differences(file: &[u8], books: &[u8], count: usize) -> Vec<String> {
    let (ours, theirs) = (lines(texts(books)), lines(texts(file)));
    if theirs.is_empty() {
        return vec!["the file holds no text as Munim writes it: another program has written it anew".to_owned()];
    }
    let mut said = Vec::new();
    // How often each line is left that the other has not.
    let mut left: HashMap<&(usize, String), usize> = HashMap::new();
    ours.iter().for_each(|line| *left.entry(line).or_default() += 1);
    for line in &theirs {
        match left.get_mut(line).filter(|count| **count > 0) {
            Some(count) => *count -= 1,
            None => said.push(format!("page {}, only in the file:  {}", line.0, line.1)),
        }
    }
    for line in ours.iter().filter(|line| left.get(line).is_some_and(|count| *count > 0)) {
        said.push(format!("page {}, only in the books: {}", line.0, line.1));
    }
    if said.is_empty() {
        let at = file.iter().zip(books).position(|(one, other)| one != other).unwrap_or(file.len().min(books.len()));
        said.push(format!("its texts are the same, but the file is another one from byte {at} on"));
    }
    said.truncate(count);
    said
}

#[cfg(test)]
mod tests {
    use super::super::file::pdf;
    use super::super::papers::account::statement;
    use super::super::papers::account::tests::{issue, statement_of};
    use super::*;

    fn made(name: &str) -> Vec<u8> {
        let of = super::super::papers::account::AccountStatement { name: Some(name.into()), ..statement_of(80) };
        pdf(statement(issue(), &of))
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let file = made("रवि कुमार");
        assert_eq!(file, made("रवि कुमार"), "the same content is the same bytes");
        let payload = payload(&file).expect("a payload");
        assert_eq!(payload.reference, issue().reference);
        let said = lines(texts(&file));
        for expected in [
            "रवि कुमार",
            "Lakshmi Finance",
            "Page 2 of ",
            "2026-10-01  Deposit & more 0  tr_0000000000001  100.00  1,100.00",
        ] {
            assert!(said.iter().any(|(_, line)| line.contains(expected)), "{expected} in {said:#?}");
        }
        assert!(said.iter().any(|(_, line)| line.contains(&super::super::reference::hex(&payload.hash))));
    }

    #[test]
    fn a_payload_alone_is_read_too() {
        let text = payload(&made("x")).unwrap().to_string();
        assert_eq!(payload(format!("{text}\n").as_bytes()).map(|read| read.to_string()), Some(text));
        assert_eq!(payload(b"hello"), None);
        assert_eq!(payload(b""), None);
        assert_eq!(payload(b"%PDF-1.7 /Subject (munim/1?kind"), None);
    }

    #[test]
    fn what_was_altered_is_said() {
        let books = made("Ravi Kumar");
        assert!(differences(&made("Ravi Kumat"), &books, 9).iter().any(|said| said.contains("Ravi Kumat")));
        let mut spoiled = books.clone();
        let end = spoiled.len() - 3;
        spoiled[end] = b' ';
        assert!(differences(&spoiled, &books, 9)[0].contains(&format!("byte {end}")));
        assert!(differences(b"%PDF-1.4 something else", &books, 9)[0].contains("another program"));
        assert!(differences(&books[..books.len() / 2], &books, 3).len() <= 3);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let whole = made("रवि");
        for cut in (0..whole.len()).step_by(997) {
            let _ = (payload(&whole[..cut]), texts(&whole[..cut]));
        }
        let mut bytes = whole;
        for place in (0..bytes.len()).step_by(13) {
            bytes[place] = bytes[place].wrapping_add(place as u8);
        }
        let _ = (payload(&bytes), lines(texts(&bytes)));
    }
}
