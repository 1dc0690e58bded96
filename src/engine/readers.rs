//! Threads for reads that may wait or walk: how many at once, and how many may wait for a place.
//!
//! A read begins on an async worker, in memory. What is not there goes to a thread that may wait for the
//! disk; what walks far goes to one of very few, so that it can never take the processors from those who
//! post. Both lines are bounded: beyond them a read is refused at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::{DISK_READS_MAX, DISK_READS_WAITING_MAX, FAR_READS_WAITING_MAX};

use super::history::Reach;
use super::view::Unavailable;

/// Both kinds of places.
#[derive(Debug)]
pub struct Readers {
    disk: Line,
    far: Line,
}

/// Places, and the line before them.
#[derive(Debug)]
struct Line {
    places: Arc<Semaphore>,
    /// Reads in a place or in the line.
    inside: AtomicUsize,
    inside_max: usize,
}

impl Readers {
    /// So many far reads run at once; reads that only wait for the disk have places of their own.
    #[must_use]
    pub fn new(far_max: usize) -> Readers {
        Readers {
            disk: Line::new(DISK_READS_MAX, DISK_READS_WAITING_MAX),
            far: Line::new(far_max, FAR_READS_WAITING_MAX),
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
        let (_inside, place) = line.enter().await?;
        // The place goes along: a caller who leaves does not stop the thread.
        on_disk_thread(move || {
            let done = work();
            drop(place);
            done
        })
        .await
    }
}

impl Line {
    fn new(places: usize, waiting_max: usize) -> Line {
        Line { places: Arc::new(Semaphore::new(places)), inside: AtomicUsize::new(0), inside_max: places + waiting_max }
    }

    async fn enter(&self) -> Result<(Inside<'_>, OwnedSemaphorePermit), Unavailable> {
        let before = self.inside.fetch_add(1, Ordering::AcqRel);
        let inside = Inside(&self.inside);
        if before >= self.inside_max {
            return Err(Unavailable::Overloaded("history"));
        }
        let place = Arc::clone(&self.places).acquire_owned().await;
        Ok((inside, place.expect("the places are never closed")))
    }
}

/// One more in a line, until dropped: also when the caller goes away while it waits.
struct Inside<'a>(&'a AtomicUsize);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
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
        let Poll::Ready(Ok(first)) = pin!(line.enter()).poll(&mut context) else { panic!("there is a place") };
        let (mut second, third) = (Box::pin(line.enter()), Box::pin(line.enter()));
        let mut third = third;
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(third.as_mut().poll(&mut context).is_pending());
        let Poll::Ready(refused) = pin!(line.enter()).poll(&mut context) else {
            panic!("nobody waits beyond the line")
        };
        assert_eq!(refused.err(), Some(Unavailable::Overloaded("history")));
        drop(third);
        drop(first);
        assert!(matches!(second.as_mut().poll(&mut context), Poll::Ready(Ok(_))), "a place that is left is free");
        assert_eq!(line.inside.load(Ordering::Relaxed), 0);
    }
}
