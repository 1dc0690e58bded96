//! Documents: what is handed to people (PDF) and to banks (camt.053, MT940).
//!
//! Promise: the same content gives the same bytes, for ever, so that `munim verify document` can make a document again
//! from the books and compare. Nothing here reads the books: makers take plain figures and give bytes.
//!
//! 1. [`reference`]: which document, and what holds it to the books.
//! 2. [`content`]: what it says.
//! 3. [`papers`]: one maker for each kind: figures in, content out.
//! 4. [`fonts`], [`canvas`], [`code`], [`layout`], [`file`]: from content to a PDF.
//! 5. [`money`]: digits in Indian groups.
//! 6. [`reading`]: what a file of ours says, and how two differ.
//! 7. [`camt053`] and [`mt940`]: statements for other programs.

pub mod camt053;
pub mod canvas;
pub mod code;
pub mod content;
pub mod file;
pub mod fonts;
pub mod layout;
pub mod money;
pub mod mt940;
pub mod papers;
pub mod reading;
pub mod reference;
