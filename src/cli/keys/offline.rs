//! Keys of a data folder that no server holds: the way back in when every token is lost.
//!
//! The books are opened, one command is decided, the journal's writer is stepped until it is on
//! disk, and that is all: nothing else of an engine runs, so no day rolls and no hold expires.

use std::path::Path;
use std::sync::Arc;

use clap::Parser;

use crate::disk::Disk;
use crate::domain::access::ApiKey;
use crate::domain::ids::Moment;
use crate::engine::clock::SystemTimeSource;
use crate::engine::command::{Command, Origin};
use crate::engine::history::Reach;
use crate::engine::recovery::{self, Parts};
use crate::engine::submit::Said;
use crate::engine::view::Reply;
use crate::http::gateway::token::Tokens;
use crate::journal::Step;

use super::super::folder::{EngineArgs, FolderError, open_to_look, open_to_write};
use super::KeysError;
use super::files::tokens_of;

/// All keys of a folder, by number, and what time it is by its clock. Changes no byte of it.
///
/// # Errors
/// [`KeysError`].
pub fn list(folder: &Path) -> Result<(Vec<ApiKey>, Moment), KeysError> {
    let core = open_to_look(folder)?.core;
    let keys = core.keyring().all().iter().map(|key| (***key).clone()).collect();
    Ok((keys, core.clock().now()))
}

/// A folder that is held, its books and its tokens.
#[derive(Debug)]
pub struct Desk {
    parts: Parts,
    /// The folder's tokens.
    pub tokens: Tokens,
}

/// Settings of the engine as the environment has them.
#[derive(Debug, Parser)]
struct Settings {
    #[command(flatten)]
    engine: EngineArgs,
}

impl Desk {
    /// Holds a folder and opens its books.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn open(folder: &Path) -> Result<Desk, KeysError> {
        let settings = Settings::try_parse_from(["munim"]).map_err(|error| FolderError::Setting(error.to_string()))?;
        let disk: Arc<dyn Disk> = open_to_write(folder, false)?;
        let options = settings.engine.options(folder)?;
        let parts = recovery::open(&disk, &options, Box::new(SystemTimeSource::default()))
            .map_err(|source| FolderError::Open { folder: folder.to_path_buf(), source: Box::new(source) })?;
        let tokens = tokens_of(folder, &parts.core)?;
        Ok(Desk { parts, tokens })
    }

    /// The key of a number.
    #[must_use]
    pub fn key(&self, number: u64) -> Option<ApiKey> {
        self.parts.core.keyring().get(number).map(|key| (**key).clone())
    }

    /// Decides a command about keys and waits until it is on disk; the key after it.
    ///
    /// # Errors
    /// [`KeysError::Refused`], or the journal does not take it.
    pub fn submit(&mut self, command: &Command) -> Result<ApiKey, KeysError> {
        let unwritten = |what: String| KeysError::Unwritten(what);
        let pending = self.parts.core.execute(command, &Origin::default(), Reach::Disk);
        let pending = pending.map_err(|refused| unwritten(format!("{refused:?}")))?;
        while !self.parts.core.watermark().covers(pending.as_of) {
            match self.parts.writer.step() {
                Step::Committed { .. } => {}
                Step::Idle | Step::Failed => return Err(unwritten(self.parts.core.journal().state().to_string())),
            }
        }
        match pending.said {
            Said::Now(Reply::ApiKey { key, .. }) => Ok(*key),
            Said::Now(Reply::Refused(reject)) => Err(KeysError::Refused {
                code: reject.code.name().into(),
                detail: crate::http::problem::reject_detail(reject).into_owned(),
            }),
            other => Err(unwritten(format!("{other:?}"))),
        }
    }
}
