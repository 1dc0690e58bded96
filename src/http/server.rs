//! Puts the edge behind its listening sockets.
//!
//! **Invariant:** beyond loopback nothing is served in the clear, unless the operator said so.

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
use hyper::header::{HOST, HeaderMap};
use hyper::service::service_fn;
use hyper::{Method, Request, Version};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower_service::Service;

use super::accept::{AcceptLimits, Listener, serve_across};
use super::gateway::Edge;
use super::peer::Peer;
use super::problem::{Code, Outcome, Problem};
use super::router::ROUTES;

/// Why a socket is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is reachable from outside, and what is spoken there can be read by everybody.
    #[error("could not serve {0}: plain HTTP is spoken on loopback addresses only, unless --insecure-http is given")]
    NotLoopback(SocketAddr),
    /// The system refused.
    #[error("could not read the address of the listening socket")]
    Address(#[source] io::Error),
}

/// Who may be spoken to in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    /// Processes of this machine.
    Loopback,
    /// Everybody, by the operator's word: where something else encrypts.
    Everywhere,
}

/// Serves `listeners` on `runtimes` in turn until `shutdown` says `true` and the last connection has ended.
///
/// # Errors
/// [`ServeError`], before anything is accepted.
///
/// # Panics
/// If `runtimes` is empty.
pub async fn serve(
    listeners: Vec<Listener>,
    plain: Plain,
    runtimes: Vec<Handle>,
    edge: Arc<Edge>,
    limits: AcceptLimits,
    shutdown: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    for listener in &listeners {
        let address = listener.socket.local_addr().map_err(ServeError::Address)?;
        let is_local = address.ip().to_canonical().is_loopback();
        if listener.tls.is_none() && !is_local && plain == Plain::Loopback {
            return Err(ServeError::NotLoopback(address));
        }
    }
    let rare = rare(&edge);
    let make = move |peer: Arc<Peer>| {
        let (edge, rare) = (Arc::clone(&edge), rare.clone());
        service_fn(move |mut request: Request<Incoming>| {
            let (edge, peer) = (Arc::clone(&edge), Arc::clone(&peer));
            let host = check_host(request.version(), request.headers());
            let rare = (!is_busy(request.method(), request.uri().path())).then(|| rare.clone());
            async move {
                if let Err(problem) = host {
                    return Ok::<_, Infallible>(
                        edge.refuse(&request.into_parts().0, &peer, &problem).map(Either::Left),
                    );
                }
                let Some(mut rare) = rare else {
                    return Ok(edge.handle(request, &peer).await.map(Either::Left));
                };
                request.extensions_mut().insert(peer);
                let answer = rare.call(request.map(axum::body::Body::new)).await;
                answer.map(|answer| answer.map(Either::Right))
            }
        })
    };
    let mut loops = JoinSet::new();
    for listener in listeners {
        loops.spawn(serve_across(listener, runtimes.clone(), make.clone(), limits.clone(), shutdown.clone()));
    }
    while loops.join_next().await.is_some() {}
    Ok(())
}

/// Whom a request is for must not depend on who reads it on the way: HTTP/1.1 names exactly one host (RFC 9112, 3.2),
/// the other versions at most one.
///
/// # Errors
/// `host_malformed`.
fn check_host(version: Version, headers: &HeaderMap) -> Outcome<()> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_11 => {
            Err(Problem::new(Code::HostMalformed, "Send the name of the server that you ask, in one `Host`."))
        }
        (_, Some(_)) => Err(Problem::new(Code::HostMalformed, "Send one `Host`: two may mean two servers.")),
        _ => Ok(()),
    }
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

async fn pass(State(edge): State<Arc<Edge>>, mut request: axum::extract::Request) -> axum::response::Response {
    let peer = request.extensions_mut().remove::<Arc<Peer>>().expect("it was put there with the request");
    edge.handle(request, &peer).await.map(axum::body::Body::new)
}

/// What axum does not know, the edge refuses in its own words.
async fn pass_any(state: State<Arc<Edge>>, request: axum::extract::Request) -> axum::response::Response {
    pass(state, request).await
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::super::self_signed::make_once;
    use super::super::tls::TlsFront;
    use super::*;

    #[test]
    fn nothing_is_served_in_the_clear_beyond_loopback_unless_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let front = TlsFront::open(make_once(folder.path(), &[]).unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_stop, stopped) = watch::channel(true);
            let serve_at = async |address: &str, tls: bool, plain: Plain| {
                let socket = TcpListener::bind(address).await.unwrap();
                let listener = Listener { socket, tls: tls.then(|| Arc::clone(&front)) };
                let runtimes = vec![Handle::current()];
                serve(vec![listener], plain, runtimes, Edge::new(), AcceptLimits::default(), stopped.clone()).await
            };
            let open = serve_at("0.0.0.0:0", false, Plain::Loopback).await;
            assert!(matches!(open, Err(ServeError::NotLoopback(_))));
            assert!(serve_at("127.0.0.1:0", false, Plain::Loopback).await.is_ok());
            assert!(serve_at("0.0.0.0:0", true, Plain::Loopback).await.is_ok());
            assert!(serve_at("0.0.0.0:0", false, Plain::Everywhere).await.is_ok());
        });
    }
}
