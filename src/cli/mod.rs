//! The commands.

pub mod bench;
pub mod demo_data;
pub mod import;
