//! A connection that becomes something else: after `101 Switching Protocols` its socket is given away.
//!
//! Whoever answers 101 puts an [`Upgrade`] into the answer; the connection keeps it, lets hyper finish the
//! answer, takes the socket back and goes on with what the upgrade says, in the same task and the same place
//! among the connections.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::socket::Socket;

/// What goes on then; it ends with the connection.
pub type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Says when the server leaves.
pub type Leaving = watch::Receiver<bool>;

type Begin = Box<dyn FnOnce(Socket, Leaving) -> Serving + Send>;

/// What a connection becomes. Shared, as what travels in an answer's extensions must be; begun once.
#[derive(Clone)]
pub struct Upgrade(Arc<Mutex<Option<Begin>>>);

impl std::fmt::Debug for Upgrade {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Upgrade")
    }
}

impl Upgrade {
    /// The connection goes on with this.
    #[must_use]
    pub fn to(begin: impl FnOnce(Socket, Leaving) -> Serving + Send + 'static) -> Upgrade {
        Upgrade(Arc::new(Mutex::new(Some(Box::new(begin)))))
    }

    /// Begins; `None` when it was begun already.
    #[must_use]
    pub fn begin(&self, socket: Socket, leaving: Leaving) -> Option<Serving> {
        let begin = self.0.lock().take()?;
        Some(begin(socket, leaving))
    }
}
