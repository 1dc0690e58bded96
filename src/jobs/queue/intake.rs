//! Births out of the journal: each job once, whenever the process ends.
//!
//! Promise: the position and the jobs born up to it are one transaction. So a kill at any moment neither loses a birth
//! nor takes one in twice, and a job's number, made of its birth, is the same if births are ever taken in again.
//!
//! 1. A thread of its own asks [`Births`] for what comes after the position; that may read the disk.
//! 2. It hands a page to the clerk and waits for the commit: there is never more than one page on the way.
//! 3. It goes on until a page does not move the position, then waits to be woken, or for [`JOBS_INTAKE_POLL`].

use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};

use super::desk::{Ask, Board, IntakeAnswer};
use super::job::Birth;
use crate::config::{JOBS_INTAKE_PAGE, JOBS_INTAKE_POLL};
use crate::domain::ids::Seq;

/// Where births come from: the journal, as the queue sees it.
pub trait Births: Send + Sync + 'static {
    /// Births of durable entries after `seq`, in order of seq and index, and the seq up to which they are complete.
    ///
    /// About `max` of them; all births of one entry come together, so that there may be up to 255 more. The second
    /// value is at least the seq of the last birth, and moves on over entries without births.
    ///
    /// # Errors
    /// What stopped it, for the operator; it is asked again after a while.
    fn after(&self, seq: Seq, max: usize) -> Result<(Vec<Birth>, Seq), String>;
}

/// What is wrong with a page of births, if anything is: it must not be taken in.
pub(super) fn fault_of(births: &[Birth], after: Seq, through: Seq) -> Option<String> {
    let mut last = (after, u8::MAX);
    for birth in births {
        let place = (birth.seq, birth.index);
        if place <= last || birth.seq > through {
            return Some(format!(
                "birth {}:{} is out of order: after {}:{}, through {through}",
                place.0, place.1, last.0, last.1
            ));
        }
        last = place;
    }
    (through < after).then(|| format!("births end at {through}, but have been taken in up to {after}"))
}

/// Longest wait after an error of the journal.
const TROUBLE_WAIT_MAX: Duration = Duration::from_secs(30);

/// Takes births in until the clerk is gone or `woken` is closed.
pub(super) fn run(births: &dyn Births, start: Seq, clerk: &Sender<Ask>, woken: &Receiver<()>, board: &Board) {
    let mut position = start;
    let mut wait = JOBS_INTAKE_POLL;
    loop {
        match take_page(births, &mut position, clerk, board) {
            Step::More => {
                wait = JOBS_INTAKE_POLL;
                // Whoever drains the queue must not wait for a long intake.
                if woken.try_recv().is_err_and(|error| error.is_disconnected()) {
                    return;
                }
                continue;
            }
            Step::Rest => wait = JOBS_INTAKE_POLL,
            Step::Trouble => wait = (wait * 2).min(TROUBLE_WAIT_MAX),
            Step::End => return,
        }
        match woken.recv_timeout(wait) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

enum Step {
    /// There may be more at once.
    More,
    /// All births have been taken in, or there is no room for more.
    Rest,
    /// The journal or the queue's file is in trouble.
    Trouble,
    /// Nobody takes births in any more.
    End,
}

fn take_page(births: &dyn Births, position: &mut Seq, clerk: &Sender<Ask>, board: &Board) -> Step {
    let page = births
        .after(*position, JOBS_INTAKE_PAGE)
        .and_then(|(page, through)| fault_of(&page, *position, through).map_or(Ok((page, through)), Err));
    let (page, through) = match page {
        Ok((page, through)) => {
            board.say_intake(None);
            if page.is_empty() && through == *position {
                return Step::Rest;
            }
            (page, through)
        }
        Err(why) => {
            board.say_intake(Some(why));
            return Step::Trouble;
        }
    };
    let (reply, answer) = crossbeam::channel::bounded(1);
    if clerk.send(Ask::Births { births: page, after: *position, through, reply }).is_err() {
        return Step::End;
    }
    match answer.recv() {
        Ok(IntakeAnswer::At(seq)) => {
            *position = seq;
            Step::More
        }
        Ok(IntakeAnswer::Full) => Step::Rest,
        // The commit failed, or the clerk is at its end; the next send tells which.
        Err(_) => Step::Trouble,
    }
}
