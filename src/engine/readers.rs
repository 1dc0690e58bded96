//! Threads for reads that may wait or walk, and for answers that are long: how many at once, and how many
//! may wait for a place.
//!
//! A read begins on an async worker, in memory. What is not there goes to a thread that may wait for the
//! disk; what walks far, or has many rows, goes to one of very few, so that it can never take the
//! processors from those who post. All lines are bounded: beyond them a read is refused at once.
//!
//! A long answer keeps its place until it is bytes: it is read, rendered and compressed there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::{DISK_READS_MAX, DISK_READS_WAITING_MAX, FAR_READS_WAITING_MAX, LONG_ANSWERS_WAITING_MAX};

use super::history::Reach;
use super::view::Unavailable;

/// All kinds of places.
#[derive(Debug)]
pub struct Readers {
    disk: Arc<Line>,
    far: Arc<Line>,
    long: Arc<Line>,
}

/// Places, and the line before them.
#[derive(Debug)]
struct Line {
    places: Arc<Semaphore>,
    places_max: usize,
    /// Whoever is in a place or in the line.
    inside: AtomicUsize,
    inside_max: usize,
    /// Pieces of work begun since the start.
    begun: AtomicU64,
}

/// How full a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineLoad {
    /// Pieces of work that run at once.
    pub places: usize,
    /// In a place or waiting for one.
    pub inside: usize,
    /// One more than this is refused.
    pub inside_max: usize,
    /// Pieces of work begun since the start.
    pub begun: u64,
}

/// A place in a line; given back when dropped.
#[derive(Debug)]
pub struct Place {
    // In this order: the place is free before the line is shorter.
    _permit: OwnedSemaphorePermit,
    inside: Inside,
}

impl Readers {
    /// So many far reads, and as many long answers, are made at once; reads that only wait for the disk
    /// have places of their own.
    #[must_use]
    pub fn new(far_max: usize) -> Readers {
        Readers {
            disk: Line::new(DISK_READS_MAX, DISK_READS_WAITING_MAX),
            far: Line::new(far_max, FAR_READS_WAITING_MAX),
            long: Line::new(far_max, LONG_ANSWERS_WAITING_MAX),
        }
    }

    /// Runs a read of this reach on a thread that may wait.
    ///
    /// # Errors
    /// [`Unavailable::Overloaded`] when the line is full; nothing was done then.
    pub async fn run<T: Send + 'static>(
        &self,
        reach: Reach,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let line = if reach == Reach::Far { &self.far } else { &self.disk };
        let mut place = Some(line.enter("history").await?);
        run_at(&mut place, work).await
    }

    /// A place for a long answer.
    ///
    /// # Errors
    /// [`Unavailable::Overloaded`] when the line is full; nothing was done then.
    pub async fn long_place(&self) -> Result<Place, Unavailable> {
        self.long.enter("long answers").await
    }

    /// As [`Readers::long_place`], for the answer to a command that is done: it is never refused.
    pub async fn long_place_for_done(&self) -> Place {
        self.long.wait(Inside::one(&self.long)).await
    }

    /// How full the line of long answers is.
    #[must_use]
    pub fn long_load(&self) -> LineLoad {
        let Line { places_max, inside, inside_max, begun, .. } = &*self.long;
        LineLoad {
            places: *places_max,
            inside: inside.load(Ordering::Acquire),
            inside_max: *inside_max,
            begun: begun.load(Ordering::Acquire),
        }
    }
}

impl Line {
    fn new(places: usize, waiting_max: usize) -> Arc<Line> {
        Arc::new(Line {
            places: Arc::new(Semaphore::new(places)),
            places_max: places,
            inside: AtomicUsize::new(0),
            inside_max: places + waiting_max,
            begun: AtomicU64::new(0),
        })
    }

    async fn enter(self: &Arc<Line>, what: &'static str) -> Result<Place, Unavailable> {
        let inside = Inside::one(self);
        if inside.before >= self.inside_max {
            return Err(Unavailable::Overloaded(what));
        }
        Ok(self.wait(inside).await)
    }

    async fn wait(&self, inside: Inside) -> Place {
        let permit = Arc::clone(&self.places).acquire_owned().await;
        Place { _permit: permit.expect("the places are never closed"), inside }
    }
}

/// One more in a line, until dropped: also when the caller goes away while it waits.
#[derive(Debug)]
struct Inside {
    line: Arc<Line>,
    before: usize,
}

impl Inside {
    fn one(line: &Arc<Line>) -> Inside {
        let before = line.inside.fetch_add(1, Ordering::AcqRel);
        Inside { line: Arc::clone(line), before }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.line.inside.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Does a piece of work on a thread of its own, if there is a place, which stays with it: a caller who
/// leaves does not stop the thread. Without a place the work is short, and done here.
///
/// # Errors
/// [`Unavailable::HistoryUnreadable`] when the thread panicked.
pub async fn run_at<T: Send + 'static>(
    place: &mut Option<Place>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unavailable> {
    let Some(taken) = place.take() else { return Ok(work()) };
    taken.inside.line.begun.fetch_add(1, Ordering::AcqRel);
    let (done, taken) = on_disk_thread(move || (work(), taken)).await?;
    *place = Some(taken);
    Ok(done)
}

/// Runs something that may wait for the disk away from the async workers.
///
/// # Errors
/// [`Unavailable::HistoryUnreadable`] when it panicked.
pub async fn on_disk_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Unavailable> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Unavailable::HistoryUnreadable(format!("a reading thread failed: {error}")))
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn far_reads_wait_in_line_and_beyond_it_are_refused() {
        let line = Line::new(1, 2);
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(first)) = pin!(line.enter("history")).poll(&mut context) else { panic!("there is a place") };
        let (mut second, third) = (Box::pin(line.enter("history")), Box::pin(line.enter("history")));
        let mut third = third;
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(third.as_mut().poll(&mut context).is_pending());
        let Poll::Ready(refused) = pin!(line.enter("history")).poll(&mut context) else {
            panic!("nobody waits beyond the line")
        };
        assert_eq!(refused.err(), Some(Unavailable::Overloaded("history")));
        drop(third);
        drop(first);
        assert!(matches!(second.as_mut().poll(&mut context), Poll::Ready(Ok(_))), "a place that is left is free");
        assert_eq!(line.inside.load(Ordering::Relaxed), 0);
    }
}
