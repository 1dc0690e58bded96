//! redb's code over bytes that may have rotted.
//!
//! redb asserts on pages that make no sense. [`guarded`] turns such a panic into an error, so that
//! damage is reported like any other. Some of redb's destructors assert a second time while the
//! first panic unwinds; Rust then ends the process, and nothing can be caught. For that case the
//! panic hook says before the end which file it was and what to do, and leaves a mark by which the
//! next start knows that the file must not be opened as it is.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::path::PathBuf;
use std::sync::{Once, OnceLock};

/// redb asserted on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asserted;

thread_local! {
    /// The file that redb works on in this thread.
    static FILE: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Panics since the guard began.
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// Where a file is marked as one that ends the process: its name and the mark's path.
static MARK: OnceLock<(&'static str, PathBuf)> = OnceLock::new();

/// From now on a file of that name which ends the process gets a mark at `path`. The first call counts.
pub fn mark_damage_of(file: &'static str, path: PathBuf) {
    let _ = MARK.set((file, path));
}

/// Runs redb's code on `file` and turns its panics into an error.
///
/// # Errors
/// [`Asserted`]; the log has the assertion.
pub fn guarded<T>(file: &str, work: impl FnOnce() -> T) -> Result<T, Asserted> {
    install();
    let outer = FILE.with(|current| current.replace(Some(file.to_owned())));
    PANICS.set(0);
    let result = catch_unwind(AssertUnwindSafe(work)).map_err(|_| Asserted);
    FILE.with(|current| *current.borrow_mut() = outer);
    result
}

/// A database of redb whose end is guarded: it writes to its file when it is dropped, and may assert then.
#[derive(Debug)]
pub struct Guarded<T> {
    file: String,
    /// `None` only while it is dropped.
    value: Option<T>,
}

impl<T> Guarded<T> {
    /// Guards the end of `value`, which works on `file`.
    pub fn new(file: &str, value: T) -> Guarded<T> {
        Guarded { file: file.to_owned(), value: Some(value) }
    }

    /// The file was given another name.
    pub fn rename(&mut self, file: &str) {
        file.clone_into(&mut self.file);
    }
}

impl<T> std::ops::Deref for Guarded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("it is taken out only by its drop")
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        let value = self.value.take();
        // The log has the assertion; the file keeps its last commit either way.
        let _ = guarded(&self.file, || drop(value));
    }
}

fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let file = FILE.with(|current| current.try_borrow().ok().and_then(|file| file.clone()));
            match file {
                None => before(info),
                Some(file) => report(&file, info),
            }
        }));
    });
}

fn report(file: &str, info: &PanicHookInfo<'_>) {
    let before = PANICS.replace(PANICS.get() + 1);
    let cause = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    if before == 0 {
        tracing::error!(file, cause, place, "the database asserted on a damaged page");
        return;
    }
    // The process ends when this hook returns, so nothing here may wait or fail loudly.
    eprintln!("munim: {file} is damaged: the database asserted on a page and could not be stopped in order ({cause})");
    if let Some((name, path)) = MARK.get()
        && *name == file
    {
        match std::fs::write(path, format!("{cause} ({place})\n")) {
            Ok(()) => eprintln!("munim: {file} is rebuilt from the journal at the next start"),
            Err(error) => eprintln!("munim: move {file} away and start again ({}: {error})", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_under_the_guard_is_an_error_and_the_guard_ends_with_it() {
        assert_eq!(guarded("one.redb", || 7), Ok(7));
        let asserted = guarded("one.redb", || -> u8 { panic!("a page makes no sense") });
        assert_eq!(asserted, Err(Asserted));
        assert!(FILE.with(|file| file.borrow().is_none()));
        let nested = guarded("one.redb", || guarded("two.redb", || -> u8 { panic!("again") }));
        assert_eq!(nested, Ok(Err(Asserted)));
    }
}
