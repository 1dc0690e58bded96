//! `munim demo-data`: invents the books in `data/demo/`, one month of one small branch.
//!
//! Promise: the same seed gives the same bytes for ever: own dice, integers only, no clock, no hash
//! order. A test regenerates the committed files and compares them.
//!
//! 1. [`books`]: the chart, drawers, banks, and some hundreds of borrowers with their accounts.
//! 2. [`month`]: October 2026 day by day, transfers in the order in which a branch would post them.
//! 3. [`voucher`]: the file of transfers, which refuses to let cash go below zero.
//!
//! [`branch`] is beside that: no file, but a lending branch that asks the server for everything, by the same dice.

pub mod books;
pub mod branch;
pub mod month;
pub mod names;
pub mod random;
pub mod voucher;

use std::path::{Path, PathBuf};

use random::Dice;

/// The seed of the committed files.
pub const DEMO_SEED: u64 = 202_610;

/// The committed accounts of the demo branch, as `munim demo` loads them.
pub const DEMO_ACCOUNTS_CSV: &str = include_str!("../../../data/demo/accounts.csv");

/// The committed month of the demo branch, as `munim demo` loads it after the accounts.
pub const DEMO_TRANSFERS_CSV: &str = include_str!("../../../data/demo/transfers.csv");

/// Flags of the hidden command `munim demo-data`.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoDataArgs {
    /// Seed of the invented month.
    #[arg(long, default_value_t = DEMO_SEED)]
    pub seed: u64,
    /// Folder that gets accounts.csv and transfers.csv.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Both files as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoData {
    /// `accounts.csv`.
    pub accounts: String,
    /// `transfers.csv`.
    pub transfers: String,
}

/// Invents the demo books of a seed.
#[must_use]
pub fn generate(seed: u64) -> DemoData {
    let mut dice = Dice::new(seed);
    let mut loans = books::loans(&mut dice);
    let mut accounts = String::new();
    books::write_accounts(&loans, &mut dice, &mut accounts);
    DemoData { accounts, transfers: month::write_month(&mut loans, &mut dice) }
}

/// Writes both files into a folder, which is created where it is missing.
///
/// # Errors
/// Whatever the file system says.
pub fn run(args: &DemoDataArgs) -> std::io::Result<()> {
    write_files(&generate(args.seed), &args.out)
}

fn write_files(data: &DemoData, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("accounts.csv"), &data.accounts)?;
    std::fs::write(folder.join("transfers.csv"), &data.transfers)
}

#[cfg(test)]
mod tests;
