//! Following the books: events as they become durable, by Server-Sent Events and WebSocket, and commands that
//! come one after another on a WebSocket.
//!
//! - [`feed`]: one thread renders each event once, into a ring that all followers share;
//! - [`follower`]: a place in the journal that moves on through the ring, or, behind it, through the journal;
//! - [`lane`]: how a follower who has everything hears of what comes;
//! - [`sse`]: a follower as the body of an answer;
//! - [`pipe`]: a socket, and what waits to be sent on it;
//! - `commands`: transfers from a queue (cargo feature `bridges`);
//! - [`websocket`]: a connection that carries commands and followed events.
//!
//! Promise: whoever follows sees every event of his topic once and in order, or is told where he lags and reads
//! on from there; no writer ever waits for one who reads.

#[cfg(feature = "bridges")]
pub mod commands;
pub mod feed;
pub mod follower;
pub mod lane;
pub mod lent;
pub mod pipe;
pub mod sse;
pub mod websocket;
