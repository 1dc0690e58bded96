//! `munim verify document`: whether a document says what the books say.
//!
//! 1. The file's payload names the document: kind, id, days, the newest entry that it shows. Nothing else of the file
//!    is believed.
//! 2. The document is made again from the books as that entry left them, from the folder or by a server.
//! 3. The end of the chain tells books apart, the hash tells contents apart, and the bytes tell files apart: a file
//!    whose payload was kept and whose page was changed has another page than the books.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::config::{DOCUMENT_BYTES_MAX, LENDER_DEFAULT};
use crate::engine::history::ReadError;
use crate::http::documents::{Ask, DocumentError, Form, make};
use crate::jobs::documents::reading::{differences, payload};
use crate::jobs::documents::reference::{Payload, hex};

use super::ask::{AskArgs, Asker};
use super::folder::open_to_look;
use super::serve::lender_name;
use super::trust::TrustArgs;
use super::{EXIT_BAD, fail};

/// Differences that are shown.
const DIFFERENCES_MAX: usize = 20;

/// Arguments of `munim verify document`.
#[derive(Clone, Debug, Args)]
pub struct DocumentArgs {
    /// The PDF; or a text file with what its QR code says.
    pub file: PathBuf,
    /// The data folder; no server may hold it.
    #[arg(long, env = "MUNIM_DATA", required_unless_present = "url", conflicts_with = "url")]
    pub data: Option<PathBuf>,
    /// A running server.
    #[arg(long)]
    pub url: Option<String>,
    /// File with the bearer key for --url, one line.
    #[arg(long, value_name = "FILE", env = "MUNIM_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// What to believe about the server.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// The lender's name, as the server that made the document was started with; for --data.
    #[arg(long, env = "MUNIM_LENDER_NAME", value_name = "NAME", value_parser = lender_name, default_value = LENDER_DEFAULT)]
    pub lender_name: String,
    /// Write the document as the books have it into this file: to hold it beside a page of paper.
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug)]
enum Verdict {
    /// The file is the document of the books.
    Genuine(String),
    /// It is not, and why.
    Bad(Vec<String>),
}

/// Why nobody can tell.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error("could not read {0}")]
    File(PathBuf, #[source] std::io::Error),
    #[error("{0} has more than {DOCUMENT_BYTES_MAX} bytes: no document of ours is so large")]
    TooLarge(PathBuf),
    #[error("could not write {0}")]
    Written(PathBuf, #[source] std::io::Error),
    #[error(transparent)]
    Folder(#[from] super::folder::FolderError),
    #[error(transparent)]
    Ask(#[from] super::ask::AskError),
    #[error("could not make the document again: {0}")]
    Books(DocumentError),
    #[error("the server answered {0}: {1}")]
    Refused(u16, String),
}

/// Verifies a document; exit status 0 when the books say the same, 1 when not, 3 when nobody could tell.
#[must_use]
pub fn run(args: &DocumentArgs) -> ExitCode {
    let (text, status) = match verify(args) {
        Err(error) => return fail(&error),
        Ok(Verdict::Genuine(said)) => (said, ExitCode::SUCCESS),
        Ok(Verdict::Bad(said)) => {
            let lines: Vec<String> = said.iter().map(|line| format!("\n- {line}")).collect();
            (format!("THIS IS NOT WHAT THE BOOKS SAY:{}", lines.concat()), ExitCode::from(EXIT_BAD))
        }
    };
    // A closed stdout is no reason to say another exit status.
    let _ = writeln!(std::io::stdout(), "{text}");
    status
}

fn verify(args: &DocumentArgs) -> Result<Verdict, Unknown> {
    let file = read(&args.file)?;
    let bad = |said: &str| Ok(Verdict::Bad(vec![said.to_owned()]));
    let Some(claimed) = payload(&file) else {
        return bad("it names no document of ours: it has no payload, or one that was altered");
    };
    let made = match &args.url {
        Some(url) => asked(args, url, &claimed)?,
        None => rebuilt(args, &claimed)?,
    };
    let books = match made {
        Ok(books) => books,
        Err(said) => return Ok(Verdict::Bad(vec![said])),
    };
    if let Some(path) = &args.write {
        std::fs::write(path, &books).map_err(|error| Unknown::Written(path.clone(), error))?;
    }
    Ok(compare(&file, &claimed, &books))
}

fn read(path: &Path) -> Result<Vec<u8>, Unknown> {
    let unread = |error| Unknown::File(path.to_path_buf(), error);
    let file = std::fs::File::open(path).map_err(unread)?;
    let mut bytes = Vec::new();
    file.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() as u64 > DOCUMENT_BYTES_MAX { Err(Unknown::TooLarge(path.to_path_buf())) } else { Ok(bytes) }
}

/// The document as the folder has it; what the books do not have, in words.
fn rebuilt(args: &DocumentArgs, claimed: &Payload) -> Result<Result<Vec<u8>, String>, Unknown> {
    let parts = open_to_look(&args.data.clone().unwrap_or_default())?;
    let Some(ask) = Ask::of(&claimed.reference) else { return Ok(Err("it names nothing that there could be".into())) };
    match make(&parts.core, &ask, &args.lender_name, Form::Pdf) {
        Ok(made) => Ok(Ok(made.bytes)),
        Err(error @ (DocumentError::Read(ReadError::Moved) | DocumentError::JournalFailed)) => {
            Err(Unknown::Books(error))
        }
        Err(error @ DocumentError::Read(_)) => Err(Unknown::Books(error)),
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// The same by a server.
fn asked(args: &DocumentArgs, url: &str, claimed: &Payload) -> Result<Result<Vec<u8>, String>, Unknown> {
    let (url, key_file, trust) = (url.to_owned(), args.key_file.clone(), args.trust.clone());
    let asker = Asker::new(&AskArgs { url, key_file, trust, json: false })?;
    let answer = asker.get(&Ask::address(&claimed.reference))?;
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or("nothing that could be read").to_owned();
    match answer.status {
        200 => Ok(Ok(answer.body.to_vec())),
        404 | 409 | 422 => Ok(Err(format!("the books do not have it: {detail}"))),
        status => Err(Unknown::Refused(status, detail)),
    }
}

fn compare(file: &[u8], claimed: &Payload, books: &[u8]) -> Verdict {
    let Some(ours) = payload(books) else {
        return Verdict::Bad(vec!["what the books gave is no document".to_owned()]);
    };
    let mut said = Vec::new();
    if ours.reference != claimed.reference {
        said.push(format!("the newest entry that it shows is {}, not {}", ours.reference.seq, claimed.reference.seq));
    }
    if ours.head != claimed.head {
        said.push(format!(
            "it is of other books: up to entry {} its chain ends with {}, that of these with {}",
            claimed.reference.seq,
            hex(&claimed.head),
            hex(&ours.head)
        ));
    }
    if ours.hash != claimed.hash {
        let (theirs, ours) = (hex(&claimed.hash), hex(&ours.hash));
        said.push(format!("it claims the content {theirs}, the books say {ours}"));
    }
    let is_file = file.starts_with(b"%PDF-");
    if is_file && file != books {
        said.extend(differences(file, books, DIFFERENCES_MAX));
    }
    let name = claimed.reference.file_name("pdf");
    match (said.is_empty(), is_file) {
        (false, _) => Verdict::Bad(said),
        (true, true) => Verdict::Genuine(format!("genuine: {name}, as entry {} left the books", claimed.reference.seq)),
        (true, false) => Verdict::Genuine(format!(
            "the books have {name}, as entry {} left them; hold the page beside it (--write)",
            claimed.reference.seq
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::documents::file::pdf;
    use crate::jobs::documents::papers::account::statement;
    use crate::jobs::documents::papers::account::tests::{issue, statement_of};

    fn verdict(file: &[u8], books: &[u8]) -> Result<String, String> {
        match compare(file, &payload(file).expect("a payload"), books) {
            Verdict::Genuine(said) => Ok(said),
            Verdict::Bad(said) => Err(said.join("\n")),
        }
    }

    #[test]
    fn what_was_altered_and_what_is_of_other_books_is_told_apart() {
        let books = pdf(statement(issue(), &statement_of(5)));
        assert!(
            verdict(&books, &books).expect("genuine").starts_with("genuine: statement-acct_0000000000007-2026-10-01")
        );
        let code = payload(&books).expect("a payload").to_string();
        assert!(verdict(code.as_bytes(), &books).expect("its code").contains("--write"));
        let others =
            pdf(statement(crate::jobs::documents::papers::Issue { head: [8; 32], ..issue() }, &statement_of(5)));
        let said = verdict(&others, &books).expect_err("other books");
        assert!(said.contains("other books") && said.contains(&"08".repeat(32)), "{said}");
        let mut richer = statement_of(5);
        richer.closing += 1_000_000;
        let said = verdict(&pdf(statement(issue(), &richer)), &books).expect_err("another content");
        assert!(said.contains("claims the content") && said.contains("11,299.00"), "{said}");
        // The page changed, and the payload kept: a digit for another.
        let altered: Vec<u8> = {
            let (from, to) = (glyph_of('9'), glyph_of('8'));
            let text = String::from_utf8_lossy(&books);
            let at = text.find(&format!("{from}{}", glyph_of('.'))).expect("an amount");
            let mut altered = books.clone();
            let place = books.windows(8).position(|window| window == format!("{from}{}", glyph_of('.')).as_bytes());
            let place = place.unwrap_or(at);
            altered[place..place + 4].copy_from_slice(to.as_bytes());
            altered
        };
        let said = verdict(&altered, &books).expect_err("an altered page");
        assert!(said.contains("only in the file") && !said.contains("claims"), "{said}");
    }

    fn glyph_of(letter: char) -> String {
        let loaded = crate::jobs::documents::fonts::face(0);
        let (glyph, _) = loaded.characters.iter().find(|(_, known)| *known == letter).expect("a letter");
        format!("{glyph:04X}")
    }
}
