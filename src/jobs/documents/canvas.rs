//! One page's marks, as the operators of a PDF content stream.
//!
//! All places and lengths are integers, hundredths of a point, from the lower left corner of the page: the same
//! input gives the same bytes on every machine.

use super::fonts::{Run, Weight, runs, width};

/// Hundredths of a point.
pub type Length = i32;

/// A point.
pub const POINT: Length = 100;

/// A font's size and weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Of the letters.
    pub size: Length,
    /// Of the strokes.
    pub weight: Weight,
}

impl Style {
    /// Ordinary letters.
    #[must_use]
    pub const fn regular(size: Length) -> Style {
        Style { size, weight: Weight::Regular }
    }

    /// Heavy ones.
    #[must_use]
    pub const fn bold(size: Length) -> Style {
        Style { size, weight: Weight::Bold }
    }

    /// How wide a text is.
    #[must_use]
    pub fn width(self, text: &str) -> Length {
        (i64::from(width(text, self.weight)) * i64::from(self.size) / 1000) as Length
    }
}

/// The operators of a page.
#[derive(Debug, Default)]
pub struct Canvas {
    /// As they go into the file.
    pub bytes: Vec<u8>,
    /// Fonts that were used, a bit each.
    pub faces: u32,
    font: Option<(usize, Length)>,
    is_text: bool,
}

const HEX: [u8; 16] = *b"0123456789ABCDEF";

/// What a full page takes.
const PAGE_BYTES: usize = 32 * 1024;

impl Canvas {
    /// An empty page.
    #[must_use]
    pub fn new() -> Canvas {
        Canvas { bytes: Vec::with_capacity(PAGE_BYTES), ..Canvas::default() }
    }

    /// Writes a text that begins at a place on its base line.
    pub fn text(&mut self, x: Length, y: Length, style: Style, text: &str) {
        let mut at = x;
        for run in runs(text, style.weight) {
            let is_plain = run.glyphs.iter().all(|glyph| glyph.x_offset == 0 && glyph.y_offset == 0);
            self.begin_text(run.face, style.size);
            if run.face < 3 && is_plain {
                self.place(at, y);
                self.bytes.push(b'<');
                run.glyphs.iter().for_each(|glyph| self.glyph(glyph.id));
                self.bytes.extend_from_slice(b">Tj\n");
                at += scaled(run.glyphs.iter().map(|glyph| glyph.advance).sum(), style.size);
            } else {
                at = self.shaped(&run, at, y, style.size);
            }
        }
    }

    /// Glyphs that stand for letters together: each at its own place, with the letters beside them for whoever copies.
    fn shaped(&mut self, run: &Run<'_>, x: Length, y: Length, size: Length) -> Length {
        self.bytes.extend_from_slice(b"/Span<</ActualText<FEFF");
        run.text.encode_utf16().for_each(|unit| self.glyph(unit));
        self.bytes.extend_from_slice(b">>>BDC\n");
        let mut at = 0;
        for glyph in &run.glyphs {
            self.place(x + scaled(at + glyph.x_offset, size), y + scaled(glyph.y_offset, size));
            self.bytes.push(b'<');
            self.glyph(glyph.id);
            self.bytes.extend_from_slice(b">Tj\n");
            at += glyph.advance;
        }
        self.bytes.extend_from_slice(b"EMC\n");
        x + scaled(at, size)
    }

    /// As [`Canvas::text`], but ending at a place.
    pub fn text_to(&mut self, x: Length, y: Length, style: Style, text: &str) {
        self.text(x - style.width(text), y, style, text);
    }

    /// A filled rectangle; grey from 0 (black) to 1000 (white).
    pub fn fill(&mut self, corner: (Length, Length), size: (Length, Length), grey: u32) {
        self.end_text();
        self.thousandths(grey);
        self.bytes.extend_from_slice(b" g ");
        self.rectangle(corner, size);
        self.bytes.extend_from_slice(b"f 0 g\n");
    }

    /// Draws a form of the page's resources at a place.
    pub fn form(&mut self, x: Length, y: Length, name: &str) {
        self.end_text();
        self.bytes.extend_from_slice(b"q 1 0 0 1 ");
        self.length(x);
        self.bytes.push(b' ');
        self.length(y);
        self.bytes.extend_from_slice(b" cm /");
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b" Do Q\n");
    }

    /// From here on one unit is that part of a length.
    pub fn scale(&mut self, length: Length, parts: usize) {
        let millionths = i64::from(length) * 10_000 / parts as i64;
        let unit = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
        self.bytes.extend_from_slice(format!("{unit} 0 0 {unit} 0 0 cm\n").as_bytes());
    }

    /// A rectangle of a path, to be filled.
    pub fn rectangle(&mut self, (x, y): (Length, Length), (width, height): (Length, Length)) {
        for length in [x, y, width, height] {
            self.length(length);
            self.bytes.push(b' ');
        }
        self.bytes.extend_from_slice(b"re\n");
    }

    /// Ends what is open.
    pub fn finish(&mut self) {
        self.end_text();
    }

    fn begin_text(&mut self, face: usize, size: Length) {
        if !self.is_text {
            self.bytes.extend_from_slice(b"BT\n");
            self.is_text = true;
            self.font = None;
        }
        if self.font != Some((face, size)) {
            self.bytes.extend_from_slice(b"/F");
            self.number(face as u32);
            self.bytes.push(b' ');
            self.length(size);
            self.bytes.extend_from_slice(b" Tf\n");
            self.font = Some((face, size));
            self.faces |= 1 << face;
        }
    }

    fn end_text(&mut self) {
        if self.is_text {
            self.bytes.extend_from_slice(b"ET\n");
            self.is_text = false;
        }
    }

    fn place(&mut self, x: Length, y: Length) {
        self.bytes.extend_from_slice(b"1 0 0 1 ");
        self.length(x);
        self.bytes.push(b' ');
        self.length(y);
        self.bytes.extend_from_slice(b" Tm ");
    }

    fn glyph(&mut self, id: u16) {
        for shift in [12, 8, 4, 0] {
            self.bytes.push(HEX[usize::from(id >> shift & 15)]);
        }
    }

    fn number(&mut self, number: u32) {
        let mut digits = [0; 10];
        let mut from = digits.len();
        let mut rest = number;
        while rest > 0 || from == digits.len() {
            from -= 1;
            digits[from] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        self.bytes.extend_from_slice(&digits[from..]);
    }

    /// Points, with two decimals where they are needed.
    fn length(&mut self, length: Length) {
        if length < 0 {
            self.bytes.push(b'-');
        }
        let length = length.unsigned_abs();
        self.number(length / 100);
        let part = length % 100;
        if part > 0 {
            self.bytes.extend_from_slice(&[b'.', b'0' + (part / 10) as u8]);
            if !part.is_multiple_of(10) {
                self.bytes.push(b'0' + (part % 10) as u8);
            }
        }
    }

    fn thousandths(&mut self, number: u32) {
        let text = format!("{}.{:03}", number / 1000, number % 1000);
        self.bytes.extend_from_slice(text.as_bytes());
    }
}

fn scaled(thousandths: i32, size: Length) -> Length {
    (i64::from(thousandths) * i64::from(size) / 1000) as Length
}

/// A text in lines of a width: broken at spaces, a word that is wider than a line inside itself.
#[must_use]
pub fn wrapped(text: &str, style: Style, width: Length) -> Vec<&str> {
    if style.width(text) <= width {
        return vec![text];
    }
    let mut lines = Vec::new();
    let (mut from, mut end, mut at) = (0, 0, 0);
    while at < text.len() {
        // The next word, with the spaces before it.
        let rest = &text[at..];
        let spaces = rest.len() - rest.trim_start_matches(' ').len();
        let word = rest[spaces..].find(' ').unwrap_or(rest.len() - spaces);
        let to = at + spaces + word;
        if style.width(&text[from..to]) <= width {
            (end, at) = (to, to);
        } else if end > from {
            lines.push(&text[from..end]);
            from = end + (text[end..].len() - text[end..].trim_start_matches(' ').len());
            (end, at) = (from, from);
        } else {
            // One word alone: as many of its letters as fit, one at least.
            let mut cut = from;
            for (place, letter) in text[from..to].char_indices() {
                let next = from + place + letter.len_utf8();
                if cut > from && style.width(&text[from..next]) > width {
                    break;
                }
                cut = next;
            }
            lines.push(&text[from..cut]);
            (from, end, at) = (cut, cut, cut);
        }
    }
    if from < text.len() {
        lines.push(&text[from..]);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style::regular(10 * POINT);

    #[test]
    fn lines_are_as_wide_as_they_may_be() {
        let text = "Repayment by upi of the instalment that fell due in May, reference 612100000001";
        let width = 150 * POINT;
        let lines = wrapped(text, STYLE, width);
        assert!(lines.len() > 1 && lines.iter().all(|line| STYLE.width(line) <= width), "{lines:?}");
        assert_eq!(lines.join(" "), text);
        assert_eq!(wrapped("short", STYLE, width), ["short"]);
        assert_eq!(wrapped("", STYLE, width), [""]);
    }

    #[test]
    fn a_long_word_is_broken_and_nothing_is_lost() {
        let text = format!("to {} end", "X".repeat(200));
        let lines = wrapped(&text, STYLE, 50 * POINT);
        assert!(lines.iter().all(|line| STYLE.width(line) <= 50 * POINT), "{lines:?}");
        assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
        // A width in which nothing fits ends, too.
        assert_eq!(wrapped("अआइ xy", STYLE, 1).concat().replace(' ', ""), "अआइxy");
    }

    #[test]
    fn marks_are_written_as_pdf_has_them() {
        let mut canvas = Canvas::default();
        canvas.text(1050, 205, STYLE, "A");
        canvas.fill((0, 0), (POINT, 7), 900);
        canvas.text_to(3000, -200, STYLE, "A");
        canvas.finish();
        let text = String::from_utf8(canvas.bytes).unwrap();
        let glyph = text.split(['<', '>']).nth(1).unwrap().to_owned();
        let x = 3000 - STYLE.width("A");
        let expected = format!(
            "BT\n/F0 10 Tf\n1 0 0 1 10.5 2.05 Tm <{glyph}>Tj\nET\n0.900 g 0 0 1 0.07 re\nf 0 g\nBT\n/F0 10 Tf\n1 0 0 1 {}.{:02} -2 Tm <{glyph}>Tj\nET\n",
            x / 100,
            x % 100
        );
        assert_eq!(text, expected);
        assert_eq!(canvas.faces, 1);
    }
}
