//! Puts the edge behind a listening socket.
//!
//! **Invariant:** until there is authentication and TLS, nothing but loopback is served.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::any;
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tower_service::Service;

use super::accept::{AcceptLimits, serve_across};
use super::gateway::Edge;
use super::router::ROUTES;

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
    let rare = rare(&edge);
    let service = service_fn(move |request: Request<Incoming>| {
        let (edge, mut rare) = (Arc::clone(&edge), rare.clone());
        async move {
            if is_busy(request.method(), request.uri().path()) {
                return Ok::<_, Infallible>(edge.handle(request).await.map(Either::Left));
            }
            let answer = rare.call(request.map(axum::body::Body::new)).await;
            answer.map(|answer| answer.map(Either::Right))
        }
    });
    serve_across(listener, runtimes, service, limits, shutdown).await;
    Ok(())
}

/// The routes that carry the load: they go straight to the edge. axum boxes the future and the body
/// of every request, which costs more than deciding a transfer does.
fn is_busy(method: &Method, path: &str) -> bool {
    match *method {
        Method::POST => path.starts_with("/v1/transfers"),
        Method::GET => path.starts_with("/v1/accounts/") || path.starts_with("/v1/transfers/"),
        _ => false,
    }
}

/// Every other route, through axum: the place for the layers that the rare routes may have.
fn rare(edge: &Arc<Edge>) -> Router {
    let patterns: BTreeSet<&str> = ROUTES.iter().map(|route| route.pattern).collect();
    let pass = |router: Router<Arc<Edge>>, pattern: &&str| router.route(pattern, any(pass));
    patterns.iter().fold(Router::new(), pass).fallback(pass_any).with_state(Arc::clone(edge))
}

async fn pass(State(edge): State<Arc<Edge>>, request: axum::extract::Request) -> axum::response::Response {
    edge.handle(request).await.map(axum::body::Body::new)
}

/// What axum does not know, the edge refuses in its own words.
async fn pass_any(state: State<Arc<Edge>>, request: axum::extract::Request) -> axum::response::Response {
    pass(state, request).await
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
