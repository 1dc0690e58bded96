//! reconcile

pub mod export;
