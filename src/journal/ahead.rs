//! Reading ahead: what a start has to read, one thread reads while another works on what it has.

use std::ops::ControlFlow;

use crossbeam::channel::bounded;

/// So many blocks are read before a thread is started for the rest: most starts have no more.
pub(super) const BLOCKS_BEFORE: usize = 512;

/// Blocks that are read and not taken yet.
const BLOCKS_AHEAD: usize = 64;

/// Runs `read` on a thread of its own, which hands over one thing after the other and stops when it is told to
/// break; `take` gets them in their order on this one, until it errs or breaks. The first error counts, in that order.
///
/// # Errors
/// What `take` or `read` says.
pub(super) fn ahead<T: Send, E: Send>(
    read: impl FnOnce(&mut dyn FnMut(T) -> ControlFlow<()>) -> Result<(), E> + Send,
    mut take: impl FnMut(T) -> Result<ControlFlow<()>, E>,
) -> Result<ControlFlow<()>, E> {
    std::thread::scope(|scope| {
        let (sender, taken) = bounded(BLOCKS_AHEAD);
        let reader = scope.spawn(move || {
            read(&mut |thing| match sender.send(thing) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            })
        });
        // Gone when this ends, so that the reader does not wait for ever.
        for thing in taken {
            if take(thing)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        match reader.join() {
            Ok(done) => done.map(|()| ControlFlow::Continue(())),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(to: u64, give: &mut dyn FnMut(u64) -> ControlFlow<()>) -> Result<(), String> {
        for number in 0..to {
            if give(number).is_break() {
                return Ok(());
            }
        }
        Err(format!("ends at {to}"))
    }

    #[test]
    fn all_come_in_their_order_and_the_first_error_counts() {
        let mut seen = Vec::new();
        let done = ahead(
            |give| count(1_000, give),
            |number| {
                seen.push(number);
                Ok(ControlFlow::Continue(()))
            },
        );
        assert_eq!(done, Err("ends at 1000".to_owned()));
        assert!(seen.into_iter().eq(0..1_000));
        let done = ahead(
            |give| count(1_000, give),
            |number| match number {
                500 => Err("enough".to_owned()),
                _ => Ok(ControlFlow::Continue(())),
            },
        );
        assert_eq!(done, Err("enough".to_owned()));
    }

    #[test]
    fn whoever_breaks_leaves_nobody_waiting() {
        let done = ahead(
            |give| count(u64::MAX, give),
            |number| Ok(if number == 700 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }),
        );
        assert_eq!(done, Ok(ControlFlow::Break(())));
    }
}
