//! The edge: from sockets to commands and back.
//!
//! A request meets these files in this order: `accept` (sockets), `server` (loopback only),
//! `gateway` (the stages of a request), `router` (all routes), `negotiate`, `body`, `idempotency`,
//! `query` and `json` (bytes → command), `resources` (one handler per route), `render` and `reply`
//! (view → bytes), `problem` (refusals), `timing` and `request_id` (headers of every answer).
//! Beside them: `budget` (what each route may take), `hooks` (what the edge lets others do), `operations` (background work), `docs` (pages).
//!
//! **Invariant:** the edge decides nothing about money; what it refuses it refuses by shape.

pub mod accept;
pub mod body;
pub mod budget;
mod docs;
pub mod gateway;
pub mod hooks;
pub mod idempotency;
pub mod json;
mod negotiate;
pub mod operations;
pub mod problem;
pub mod query;
pub mod render;
pub mod reply;
pub mod request_id;
pub mod resources;
pub mod router;
pub mod server;
pub mod timing;

pub use gateway::{Books, Edge};
pub use server::{ServeError, serve};
