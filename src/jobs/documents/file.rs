//! A document as a PDF file (ISO 32000-1): objects, fonts, properties.
//!
//! Promise: the same document is the same bytes. There is no clock and no randomness; the file's id is the hash of its
//! content; what is written into it was deflated before the build, so that no library's version shows. What is not a
//! font is not compressed, which costs some kilobytes and lets a file be compared line by line.
//!
//! Objects: 1 the catalogue, 2 the pages, 3 properties, 4 the QR code; then five for each font that is used, at places
//! of its own; then two for each page.

use std::sync::OnceLock;

use pdf_writer::types::{CidFontType, FontFlags, SystemInfo, UnicodeCmap};
use pdf_writer::{Chunk, Filter, Finish, Name, Pdf, Rect, Ref, Str, TextStr};

use super::canvas::Canvas;
use super::code::code;
use super::content::Document;
use super::fonts::{FACE_COUNT, face};
use super::layout::{CODE_SIDE, PAGE, pages};

const CATALOGUE: i32 = 1;
const PAGES: i32 = 2;
const PROPERTIES: i32 = 3;
const CODE: i32 = 4;
const FONTS: i32 = 5;
const FIRST_PAGE: i32 = FONTS + 5 * FACE_COUNT as i32;

/// Adobe's name for "the glyphs of this font".
const SYSTEM: SystemInfo<'static> = SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };

/// What wrote it; without a version, so that a newer one writes the same file.
pub const PRODUCER: &str = "Munim";

/// The objects of each font; made when it is first used.
static FONT_OBJECTS: [OnceLock<Chunk>; FACE_COUNT] = [const { OnceLock::new() }; FACE_COUNT];

/// The file of a document. Characters that no font has are written as their numbers.
#[must_use]
pub fn pdf(mut document: Document) -> Vec<u8> {
    document.make_drawable();
    let payload = document.payload();
    let pages = pages(&document, &payload);
    let text = payload.to_string();
    let faces = pages.iter().fold(0, |faces, page| faces | page.faces);
    let mut pdf = Pdf::new();
    pdf.set_version(1, 7);
    pdf.catalog(Ref::new(CATALOGUE)).pages(Ref::new(PAGES)).lang(TextStr("en-IN"));
    let page_refs = (0..pages.len() as i32).map(|place| Ref::new(FIRST_PAGE + 2 * place));
    pdf.pages(Ref::new(PAGES)).kids(page_refs).count(pages.len() as i32);
    pdf.document_info(Ref::new(PROPERTIES))
        .title(TextStr(&document.title))
        .author(TextStr(&document.lender))
        .subject(TextStr(&text))
        .producer(TextStr(PRODUCER));
    write_code(&mut pdf, &text);
    for place in (0..FACE_COUNT).filter(|place| faces & (1 << place) != 0) {
        pdf.extend(FONT_OBJECTS[place].get_or_init(|| font_objects(place)));
    }
    for (place, page) in pages.iter().enumerate() {
        write_page(&mut pdf, place as i32, page);
    }
    let id = payload.hash[..16].to_vec();
    pdf.set_file_id((id.clone(), id));
    pdf.finish()
}

/// The QR code, once for all pages.
fn write_code(pdf: &mut Pdf, text: &str) {
    // A payload has some 250 bytes, and a code of level M holds 2,331.
    let squares = code(text, CODE_SIDE).unwrap_or_default();
    let mut form = pdf.form_xobject(Ref::new(CODE), &squares);
    let side = points(CODE_SIDE);
    form.bbox(Rect::new(0.0, 0.0, side, side));
    form.resources();
}

fn write_page(pdf: &mut Pdf, place: i32, canvas: &Canvas) {
    let (page_ref, content_ref) = (Ref::new(FIRST_PAGE + 2 * place), Ref::new(FIRST_PAGE + 2 * place + 1));
    let mut page = pdf.page(page_ref);
    page.parent(Ref::new(PAGES)).contents(content_ref);
    page.media_box(Rect::new(0.0, 0.0, points(PAGE.0), points(PAGE.1)));
    let mut resources = page.resources();
    resources.x_objects().pair(Name(b"Code"), Ref::new(CODE));
    let mut fonts = resources.fonts();
    for place in (0..FACE_COUNT).filter(|place| canvas.faces & (1 << place) != 0) {
        fonts.pair(Name(format!("F{place}").as_bytes()), Ref::new(FONTS + 5 * place as i32));
    }
    fonts.finish();
    resources.finish();
    page.finish();
    pdf.stream(content_ref, &canvas.bytes);
}

fn points(length: i32) -> f32 {
    length as f32 / 100.0
}

/// A font: Type0 over a CIDFontType2, with its file, its widths, and the characters of its glyphs.
fn font_objects(place: usize) -> Chunk {
    let loaded = face(place);
    let at = |object: i32| Ref::new(FONTS + 5 * place as i32 + object);
    let name = Name(loaded.name.as_bytes());
    let mut chunk = Chunk::new();
    chunk
        .type0_font(at(0))
        .base_font(name)
        .encoding_predefined(Name(b"Identity-H"))
        .descendant_font(at(1))
        .to_unicode(at(4));
    let mut font = chunk.cid_font(at(1));
    font.subtype(CidFontType::Type2).base_font(name).system_info(SYSTEM).font_descriptor(at(2)).default_width(0.0);
    font.cid_to_gid_map_predefined(Name(b"Identity"));
    font.widths().consecutive(0, loaded.widths.iter().map(|width| f32::from(*width)));
    font.finish();
    let [left, bottom, right, top] = loaded.bounds.map(f32::from);
    chunk
        .font_descriptor(at(2))
        .name(name)
        .flags(FontFlags::SYMBOLIC)
        .bbox(Rect::new(left, bottom, right, top))
        .italic_angle(0.0)
        .ascent(loaded.ascent.into())
        .descent(loaded.descent.into())
        .cap_height(714.0)
        .stem_v(80.0)
        .font_file2(at(3));
    let mut file = chunk.stream(at(3), loaded.packed);
    file.filter(Filter::FlateDecode);
    file.pair(Name(b"Length1"), loaded.bytes as i32);
    file.finish();
    let mut characters = UnicodeCmap::new(Name(b"Munim-Characters"), SYSTEM);
    for (glyph, character) in &loaded.characters {
        characters.pair(*glyph, *character);
    }
    let characters = characters.finish();
    chunk.cmap(at(4), characters.as_slice());
    chunk
}
