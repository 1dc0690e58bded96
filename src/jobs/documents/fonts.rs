//! The fonts of documents: which characters they have, how wide they are, and what a PDF embeds.
//!
//! Promise: a text is drawn whole or refused. A character that no font has is named by [`undrawable`], never drawn as
//! an empty box.
//!
//! Letters of Indian scripts join and change places, so their texts are shaped; Latin ones are looked up. The files
//! stand in `data/fonts`, deflated, as a PDF takes them: they are inflated once, when they are first asked.

use std::io::Read;
use std::sync::OnceLock;

use rustybuzz::UnicodeBuffer;
use rustybuzz::ttf_parser::GlyphId;

/// How heavy letters are. What the bold font lacks is drawn by the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weight {
    /// Ordinary.
    #[default]
    Regular,
    /// Of headings.
    Bold,
}

/// A glyph at its place in a run. Units: thousandths of the font's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glyph {
    /// Its number in the font.
    pub id: u16,
    /// Where the next one begins.
    pub advance: i32,
    /// To the right of its place.
    pub x_offset: i32,
    /// Above its place.
    pub y_offset: i32,
}

/// A piece of text of one font.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run<'t> {
    /// Place in [`FACES`].
    pub face: usize,
    /// The text.
    pub text: &'t str,
    /// Its glyphs, from left to right.
    pub glyphs: Vec<Glyph>,
}

/// A font file, and how its texts are laid out.
struct Face {
    name: &'static str,
    packed: &'static [u8],
    is_shaped: bool,
}

const fn plain(name: &'static str, packed: &'static [u8]) -> Face {
    Face { name, packed, is_shaped: false }
}

const fn shaped(name: &'static str, packed: &'static [u8]) -> Face {
    Face { name, packed, is_shaped: true }
}

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("../../../data/fonts/", $name, ".ttf.z"))
    };
}

/// How many fonts there are.
pub const FACE_COUNT: usize = 12;

/// All fonts, the most used first. The second is bold.
static FACES: [Face; FACE_COUNT] = [
    plain("MNIMLA+NotoSans-Regular", file!("latin")),
    plain("MNIMLB+NotoSans-Bold", file!("latin-bold")),
    plain("MNIMLX+NotoSans-Regular", file!("latin-extended")),
    shaped("MNIMDE+NotoSansDevanagari", file!("devanagari")),
    shaped("MNIMBE+NotoSansBengali", file!("bengali")),
    shaped("MNIMGU+NotoSansGurmukhi", file!("gurmukhi")),
    shaped("MNIMGJ+NotoSansGujarati", file!("gujarati")),
    shaped("MNIMOR+NotoSansOriya", file!("oriya")),
    shaped("MNIMTA+NotoSansTamil", file!("tamil")),
    shaped("MNIMTE+NotoSansTelugu", file!("telugu")),
    shaped("MNIMKA+NotoSansKannada", file!("kannada")),
    shaped("MNIMML+NotoSansMalayalam", file!("malayalam")),
];

const BOLD: usize = 1;

/// A font that was asked.
pub struct Loaded {
    /// Its PostScript name, with the tag of a subset.
    pub name: &'static str,
    /// The file, deflated.
    pub packed: &'static [u8],
    /// Bytes of the file.
    pub bytes: usize,
    /// Advance of each glyph, thousandths of the size.
    pub widths: Vec<u16>,
    /// Which glyph is which character, by glyph; glyphs that only shaping knows have none.
    pub characters: Vec<(u16, char)>,
    /// Of the letters: left, bottom, right, top; thousandths.
    pub bounds: [i16; 4],
    /// Above the line, thousandths.
    pub ascent: i16,
    /// Below the line, negative.
    pub descent: i16,
    /// Whether its texts are shaped.
    is_shaped: bool,
    /// Glyph and advance of the first 256 characters; glyph 0: it has none.
    first: [(u16, u16); 256],
    /// Of the others, by character.
    others: Vec<(char, u16, u16)>,
    shaper: rustybuzz::Face<'static>,
}

static LOADED: [OnceLock<Loaded>; FACE_COUNT] = [const { OnceLock::new() }; FACE_COUNT];
static FILES: [OnceLock<Vec<u8>>; FACE_COUNT] = [const { OnceLock::new() }; FACE_COUNT];

/// A font, by its place.
pub fn face(place: usize) -> &'static Loaded {
    LOADED[place].get_or_init(|| {
        let bytes = FILES[place].get_or_init(|| inflated(FACES[place].packed));
        Loaded::read(&FACES[place], bytes)
    })
}

fn inflated(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(packed.len() * 3);
    let read = flate2::read::ZlibDecoder::new(packed).read_to_end(&mut bytes);
    read.expect("the fonts of this build were deflated by data/fonts/subset.py");
    bytes
}

impl Loaded {
    fn read(face: &Face, bytes: &'static [u8]) -> Loaded {
        let shaper = rustybuzz::Face::from_slice(bytes, 0).expect("the fonts of this build are TrueType");
        let em = shaper.units_per_em();
        let scale = |units: i32| units * 1000 / em;
        let advance = |id: u16| scale(shaper.glyph_hor_advance(GlyphId(id)).unwrap_or(0).into()) as u16;
        let widths: Vec<u16> = (0..shaper.number_of_glyphs()).map(advance).collect();
        let (mut first, mut others, mut characters) = ([(0, 0); 256], Vec::new(), Vec::new());
        let subtables = shaper.tables().cmap.into_iter().flat_map(|table| table.subtables);
        for subtable in subtables.filter(rustybuzz::ttf_parser::cmap::Subtable::is_unicode) {
            subtable.codepoints(|code| {
                let found = char::from_u32(code).zip(subtable.glyph_index(code)).filter(|(_, id)| id.0 != 0);
                let Some((character, GlyphId(id))) = found else { return };
                characters.push((id, character));
                match first.get_mut(code as usize) {
                    Some(entry) => *entry = (id, widths[usize::from(id)]),
                    None => others.push((character, id, widths[usize::from(id)])),
                }
            });
        }
        others.sort_unstable();
        others.dedup();
        // Where several characters look alike, the first stands for all.
        characters.sort_unstable();
        characters.dedup_by_key(|(id, _)| *id);
        let bounds = shaper.global_bounding_box();
        let bounds = [bounds.x_min, bounds.y_min, bounds.x_max, bounds.y_max].map(|units| scale(units.into()) as i16);
        Loaded {
            name: face.name,
            packed: face.packed,
            bytes: bytes.len(),
            characters,
            bounds,
            ascent: scale(shaper.ascender().into()) as i16,
            descent: scale(shaper.descender().into()) as i16,
            is_shaped: face.is_shaped,
            first,
            others,
            widths,
            shaper,
        }
    }

    /// Glyph and advance of a character.
    fn find(&self, character: char) -> Option<(u16, u16)> {
        let found = match self.first.get(character as usize) {
            Some(entry) => *entry,
            None => {
                let place = self.others.binary_search_by_key(&character, |(known, ..)| *known).ok()?;
                (self.others[place].1, self.others[place].2)
            }
        };
        (found.0 != 0).then_some(found)
    }

    /// The character that a glyph shows, where it is one.
    pub fn character(&self, id: u16) -> Option<char> {
        let place = self.characters.binary_search_by_key(&id, |(known, _)| *known).ok()?;
        Some(self.characters[place].1)
    }

    fn shape(&self, text: &str) -> (Vec<Glyph>, Option<char>) {
        let mut buffer = UnicodeBuffer::new();
        buffer.push_str(text);
        buffer.set_direction(rustybuzz::Direction::LeftToRight);
        buffer.guess_segment_properties();
        let made = rustybuzz::shape(&self.shaper, &[], buffer);
        let em = self.shaper.units_per_em();
        let scale = |units: i32| units * 1000 / em;
        let mut lost = None;
        let placed = made.glyph_infos().iter().zip(made.glyph_positions()).map(|(info, position)| {
            if info.glyph_id == 0 {
                lost = lost.or_else(|| text[info.cluster as usize..].chars().next());
            }
            Glyph {
                id: info.glyph_id as u16,
                advance: scale(position.x_advance),
                x_offset: scale(position.x_offset),
                y_offset: scale(position.y_offset),
            }
        });
        let glyphs = placed.collect();
        (glyphs, lost)
    }
}

/// What joins letters and is never a text of its own.
fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200C}' | '\u{200D}')
}

/// The font that draws a character after one of another font; `None` where none has it.
fn face_of(character: char, weight: Weight, before: Option<usize>) -> Option<usize> {
    let has = |place: usize| face(place).find(character).is_some();
    if is_joiner(character) {
        return before.filter(|place| FACES[*place].is_shaped && has(*place));
    }
    // Full stops and spaces of an Indian text are its own, so that its run is one.
    if let Some(before) = before.filter(|place| FACES[*place].is_shaped && has(*place)) {
        return Some(before);
    }
    if weight == Weight::Bold && has(BOLD) {
        return Some(BOLD);
    }
    if (character as u32) < 0x900 {
        return [0, 2].into_iter().find(|place| has(*place));
    }
    [0, 2].into_iter().chain(3..FACE_COUNT).find(|place| has(*place))
}

/// A text, run by run, and the first character of it that no font has.
fn split(text: &str, weight: Weight) -> (Vec<Run<'_>>, Option<char>) {
    let mut runs: Vec<Run<'_>> = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    let mut lost = None;
    let mut close = |from: usize, to: usize, place: usize, lost: &mut Option<char>| {
        if from < to {
            let text = &text[from..to];
            let loaded = face(place);
            let glyphs = if loaded.is_shaped {
                let (glyphs, missing) = loaded.shape(text);
                *lost = lost.or(missing);
                glyphs
            } else {
                let glyph = |(id, advance): (u16, u16)| Glyph { id, advance: advance.into(), x_offset: 0, y_offset: 0 };
                text.chars().filter_map(|character| loaded.find(character).map(glyph)).collect()
            };
            runs.push(Run { face: place, text, glyphs });
        }
    };
    for (at, character) in text.char_indices() {
        let found = face_of(character, weight, open.map(|(_, place)| place));
        lost = lost.or(if found.is_none() { Some(character) } else { None });
        match (open, found) {
            (Some((_, place)), Some(found)) if place == found => {}
            (open_run, found) => {
                if let Some((from, place)) = open_run {
                    close(from, at, place, &mut lost);
                }
                open = found.map(|place| (at, place));
            }
        }
    }
    if let Some((from, place)) = open {
        close(from, text.len(), place, &mut lost);
    }
    (runs, lost)
}

/// The first character of a text that documents cannot draw.
#[must_use]
pub fn undrawable(text: &str) -> Option<char> {
    // Most names are of the commonest font.
    let latin = face(0);
    if text.chars().all(|character| latin.find(character).is_some()) {
        return None;
    }
    split(text, Weight::Regular).1
}

/// A text that can be drawn: what no font has is written as its number, `[U+4E2D]`.
#[must_use]
pub fn drawable(text: &str) -> std::borrow::Cow<'_, str> {
    if undrawable(text).is_none() {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let mut bytes = [0; 4];
        match character {
            '\t' | '\n' | '\r' => out.push(' '),
            _ if is_joiner(character) || undrawable(character.encode_utf8(&mut bytes)).is_none() => out.push(character),
            _ => out.push_str(&format!("[U+{:04X}]", character as u32)),
        }
    }
    // Letters that are there one by one and cannot stand together: their numbers, then.
    if undrawable(&out).is_some() {
        out = text
            .chars()
            .map(|character| match character {
                ' '..='~' => character.to_string(),
                _ => format!("[U+{:04X}]", character as u32),
            })
            .collect();
    }
    out.into()
}

/// The runs of a text; what no font has is left out, so that a caller asks [`drawable`] first.
#[must_use]
pub fn runs(text: &str, weight: Weight) -> Vec<Run<'_>> {
    split(text, weight).0
}

/// Width of a text, in thousandths of its size.
#[must_use]
pub fn width(text: &str, weight: Weight) -> i32 {
    let main = face(if weight == Weight::Bold { BOLD } else { 0 });
    let mut sum = 0;
    for character in text.chars() {
        match main.find(character) {
            Some((_, advance)) => sum += i32::from(advance),
            // Another font: the sum over its runs.
            None => return runs(text, weight).iter().flat_map(|run| &run.glyphs).map(|glyph| glyph.advance).sum(),
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_and_what_is_refused() {
        for text in [
            "Asha Rao",
            "Zoë Müller-Straße",
            "₹ 1,00,000.00",
            "Nguyễn Văn Ā",
            "रवि कुमार",
            "রবি কুমার",
            "ਰਵੀ ਕੁਮਾਰ",
            "રવિ કુમાર",
            "ରବି କୁମାର",
            "ரவி குமார்",
            "రవి కుమార్",
            "ರವಿ ಕುಮಾರ್",
            "രവി കുമാർ",
            "क्\u{200D}ष and Rao",
        ] {
            assert_eq!(undrawable(text), None, "{text}");
        }
        for (text, character) in [
            ("李 Wei", '李'),
            ("محمد", 'م'),
            ("a\u{301}", '\u{301}'),
            ("a\tb", '\t'),
            ("x\u{202E}y", '\u{202E}'),
            ("😀", '😀'),
            ("a\u{200D}b", '\u{200D}'),
        ] {
            assert_eq!(undrawable(text), Some(character), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_shown_by_its_number() {
        assert_eq!(drawable("To 李 Wei\nnow"), "To [U+674E] Wei now");
        assert_eq!(drawable("रवि"), "रवि");
        for text in ["李", "a\u{301}\u{200D}", "\u{0}", "क\u{200D}\u{200D}李"] {
            assert_eq!(undrawable(&drawable(text)), None, "{text:?}");
        }
    }

    #[test]
    fn indian_letters_join_and_change_places() {
        // The sign of the short i is written before its letter: fewer glyphs or another order than characters.
        let made = runs("कि", Weight::Regular);
        assert_eq!(made.len(), 1);
        let alone = face(made[0].face).find('क').unwrap().0;
        assert_eq!(made[0].glyphs.last().map(|glyph| glyph.id), Some(alone), "{made:?}");
        let joined = runs("क्ष", Weight::Regular);
        assert_eq!(joined[0].glyphs.len(), 1, "{joined:?}");
    }

    #[test]
    fn widths_add_up() {
        assert_eq!(width("", Weight::Regular), 0);
        assert_eq!(width("11", Weight::Regular), 2 * width("9", Weight::Regular), "digits are of one width");
        assert!(width("Total", Weight::Bold) > width("Total", Weight::Regular));
        let mixed = width("A क", Weight::Regular);
        assert_eq!(mixed, width("A ", Weight::Regular) + width("क", Weight::Regular));
    }

    #[test]
    fn every_font_is_whole() {
        for place in 0..FACE_COUNT {
            let loaded = face(place);
            assert!(loaded.characters.len() > 60 && loaded.widths.len() > loaded.characters.len(), "{}", loaded.name);
            assert!(loaded.ascent > 0 && loaded.descent < 0, "{}", loaded.name);
        }
    }
}
