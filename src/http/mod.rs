//! The edge: from sockets to commands and back.
//!
//! A request meets these files in this order: `accept` (sockets), `tls` and
//! `self_signed`, `peer` (who is there), `server` (which sockets may be plain),
//! `gateway` (the stages of a request), `router` (all routes), `negotiate`, `body`, `idempotency`,
//! `query` and `json` (bytes → command), `resources` (one handler per route), `render` and `reply`
//! (view → bytes), `problem` (refusals), `timing` and `request_id` (headers of every answer).
//! Beside them: `budget` (what each route may take), `hooks` (what the edge lets others do), `operations` (background work), `proto`
//! (transfers as protobuf), `stream` (who follows the books), `lending` (what a loan's history says: schedules, statements, derivations, key facts, reports), `documents` (the same as PDF), `fields` (parts of answers, ids that become objects), `compress` and `cors`,
//! `openapi` (what all routes take and give, as data) and `docs` (that data and the problems as pages).
//!
//! **Invariant:** the edge decides nothing about money; what it refuses it refuses by shape.

pub mod accept;
pub mod body;
pub mod budget;
pub mod compress;
pub mod cors;
mod docs;
pub mod documents;
mod fields;
pub mod gateway;
pub mod hooks;
pub mod idempotency;
pub mod json;
mod lending;
mod negotiate;
pub mod openapi;
pub mod operations;
pub mod peer;
pub mod problem;
pub mod proto;
pub mod query;
pub mod render;
pub mod reply;
pub mod request_id;
pub mod resources;
pub mod router;
pub mod self_signed;
pub mod server;
pub mod stream;
pub mod timing;
pub mod tls;

pub use gateway::{Books, Edge, EdgeOptions};
pub use server::{ServeError, serve};
