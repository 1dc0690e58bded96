//! The edge: from sockets to commands and back.

pub mod accept;
