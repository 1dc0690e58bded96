//! Munim: the books of a small lender in one process.

pub mod cli;
pub mod config;
pub mod disk;
pub mod domain;
pub mod engine;
pub mod http;
pub mod jobs;
pub mod journal;
pub mod reconcile;
pub mod store;
pub mod telemetry;
