//! cli

pub mod demo_data;
pub mod import;
