//! cli

pub mod demo_data;
