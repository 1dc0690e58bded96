//! Puts the edge behind a listening socket.
//!
//! **Invariant:** until there is authentication and TLS, nothing but loopback is served.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::accept::{AcceptLimits, serve_across};
use super::gateway::Edge;

/// Why an address is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is reachable from outside.
    #[error("could not serve {0}: only loopback addresses are served until there is authentication")]
    NotLoopback(SocketAddr),
    /// The system refused.
    #[error("could not read the address of the listening socket")]
    Address(#[source] io::Error),
}

/// Serves `listener` on `runtimes` in turn until `shutdown` says `true` and the last connection has ended.
///
/// # Errors
/// [`ServeError`], before anything is accepted.
///
/// # Panics
/// If `runtimes` is empty.
pub async fn serve(
    listener: TcpListener,
    runtimes: Vec<Handle>,
    edge: Arc<Edge>,
    limits: AcceptLimits,
    shutdown: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Address)?;
    if !address.ip().to_canonical().is_loopback() {
        return Err(ServeError::NotLoopback(address));
    }
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = Arc::clone(&edge).handle(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    serve_across(listener, runtimes, service, limits, shutdown).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_served() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_stop, stopped) = watch::channel(true);
            let serve_at = async |address: &str| {
                let listener = TcpListener::bind(address).await.unwrap();
                let runtimes = vec![Handle::current()];
                serve(listener, runtimes, Edge::new(), AcceptLimits::default(), stopped.clone()).await
            };
            assert!(matches!(serve_at("0.0.0.0:0").await, Err(ServeError::NotLoopback(_))));
            assert!(serve_at("127.0.0.1:0").await.is_ok());
        });
    }
}
