//! Invents commands with many collisions, and moves the clocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use munim::engine::clock::TimeSource;

use super::disk::Dice;
use super::model::{Ask, Item, KeyAsk, Model, NewAccount, NewTransfer, Pairs, Texts};

/// Idempotency keys in use.
pub const KEYS: u8 = 40;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// Both clocks of the machine, moved by hand. They stand still by themselves.
#[derive(Clone, Debug)]
pub struct Hands {
    wall: Arc<AtomicI64>,
    monotonic: Arc<AtomicI64>,
}

impl Default for Hands {
    fn default() -> Hands {
        // 2026-11-21.
        Hands { wall: Arc::new(AtomicI64::new(1_795_219_200_000_000)), monotonic: Arc::default() }
    }
}

impl TimeSource for Hands {
    fn wall_us(&self) -> i64 {
        self.wall.load(Ordering::SeqCst)
    }
    fn monotonic_us(&self) -> i64 {
        self.monotonic.load(Ordering::SeqCst)
    }
}

impl Hands {
    /// Time passes on both clocks.
    pub fn pass(&self, us: i64) {
        self.wall.fetch_add(us, Ordering::SeqCst);
        self.monotonic.fetch_add(us, Ordering::SeqCst);
    }

    /// A step as between two commands; often none.
    pub fn drift(&self, dice: &mut Dice) {
        let us = [0, 0, 1, 1_000, 1_000_000, 60_000_000, 600_000_000, HOUR][dice.below(8) as usize];
        self.pass(us);
    }

    /// A jump: of the wall clock alone, or of both.
    pub fn leap(&self, dice: &mut Dice) {
        let by = [HOUR, -HOUR, HOUR + 1, -5 * DAY, 365 * DAY, -365 * DAY][dice.below(6) as usize];
        match dice.below(4) {
            0 => {
                self.wall.fetch_add(by, Ordering::SeqCst);
            }
            1 => self.pass(DAY),
            _ => self.pass(6 * HOUR),
        }
    }

    /// The machine starts anew: the wall clock is mostly right again.
    pub fn restart(&self) {
        let monotonic = self.monotonic.load(Ordering::SeqCst);
        if monotonic % 3 != 0 {
            self.wall.store(1_795_219_200_000_000 + monotonic, Ordering::SeqCst);
        }
    }
}

/// Invents commands by a seed.
#[derive(Debug)]
pub struct Inventor {
    dice: Dice,
    key: u8,
}

impl Inventor {
    pub fn new(seed: u64) -> Inventor {
        Inventor { dice: Dice::new(seed), key: 0 }
    }

    /// Fresh keys are used in turn; after a crash the turn starts over, at keys that may be known.
    pub fn reset_keys(&mut self) {
        self.key = 0;
    }

    /// The next command, its key and fingerprint, and whether it is a dry run.
    pub fn invent(&mut self, model: &Model, today: u16) -> (Ask, Option<(u8, u8)>, bool) {
        let ask = self.ask(model, today);
        let key = match self.dice.below(10) {
            0..4 => None,
            4..6 => Some((self.dice.below(u64::from(KEYS)) as u8, self.dice.below(2) as u8)),
            _ => {
                self.key = (self.key + 1) % KEYS;
                Some((self.key, 0))
            }
        };
        (ask, key, self.dice.chance(3))
    }

    fn ask(&mut self, model: &Model, today: u16) -> Ask {
        let accounts = model.accounts();
        let is_many = self.dice.chance(30);
        if accounts < 3 || (accounts < 10 && self.dice.chance(5)) {
            if is_many {
                return Ask::OpenMany((0..=self.dice.below(3)).map(|_| self.account()).collect());
            }
            return Ask::Open(self.account());
        }
        match self.dice.below(100) {
            0..41 => Ask::Transfer(self.transfer(accounts, today)),
            41..45 => Ask::Key(self.key_ask(model)),
            45..62 => {
                let items = (0..=self.dice.below(12)).map(|_| self.item(model, accounts, today)).collect();
                Ask::Batch { atomic: self.dice.chance(40), minimal: self.dice.chance(30), items }
            }
            62..70 => Ask::Post(self.target(model), self.post_amount()),
            70..75 => Ask::Void(self.target(model)),
            75..82 => Ask::Reverse(self.target(model), self.dice.chance(50).then(|| "a mistake".to_owned())),
            82..91 => self.change(model, accounts),
            91..94 => Ask::Close((today + 1).saturating_sub(self.dice.below(7) as u16)),
            94..97 => Ask::Reopen(today.saturating_sub(self.dice.below(7) as u16), "an audit".to_owned()),
            97 => Ask::AcceptClock,
            _ => Ask::Open(self.account()),
        }
    }

    fn key_ask(&mut self, model: &Model) -> KeyAsk {
        let keys = model.keys().len() as u64;
        let hash = self.dice.below(250) as u8;
        let number = 1 + self.dice.below(keys + 1);
        match self.dice.below(8) {
            0..3 => KeyAsk::Make {
                role: [0, 3, 4, 4][self.dice.below(4) as usize],
                is_all: self.dice.chance(70),
                expires: self
                    .dice
                    .chance(40)
                    .then(|| model.last_moment() + [-1, 60_000_000, DAY][self.dice.below(3) as usize]),
                hash,
            },
            3..5 => KeyAsk::Rotate { number, hash, overlap: [0, 1, HOUR][self.dice.below(3) as usize] },
            5 | 6 => KeyAsk::Revoke(number),
            _ => KeyAsk::Note(u32::from(hash)),
        }
    }

    fn account(&mut self) -> NewAccount {
        let currency =
            [("INR", 2), ("INR", 2), ("INR", 2), ("INR", 2), ("JPY", 0), ("KWD", 3)][self.dice.below(6) as usize];
        NewAccount {
            currency,
            kind: self.dice.below(5) as u8,
            rule: [0, 0, 0, 0, 1, 2][self.dice.below(6) as usize],
            code: [0, 1010, 2020][self.dice.below(3) as usize],
            external: self.dice.chance(50).then(|| format!("A{}", self.dice.below(12))),
            name: self.dice.chance(50).then(|| format!("Drawer {}", self.dice.below(100))),
            pairs: self.pairs(2),
        }
    }

    fn side(&mut self, accounts: u32) -> Option<u32> {
        match self.dice.below(60) {
            0 => None,
            1 => Some(accounts + self.dice.below(3) as u32),
            // Two busy ones, so that balances and chains grow.
            2..25 => Some(self.dice.below(2) as u32),
            _ => Some(self.dice.below(u64::from(accounts)) as u32),
        }
    }

    fn transfer(&mut self, accounts: u32, today: u16) -> NewTransfer {
        let (debit, credit) = (self.side(accounts), self.side(accounts));
        let is_dated = self.dice.chance(25);
        NewTransfer {
            debit,
            credit: if credit == debit && self.dice.chance(90) { debit.map(|no| (no + 1) % accounts) } else { credit },
            amount: self.amount(),
            code: self.dice.below(3) as u32,
            effective: is_dated.then(|| (today + 2).saturating_sub(self.dice.below(8) as u16)),
            hold: match self.dice.below(10) {
                0 => Some(None),
                1..4 => Some(Some([1, 1_000_000, 60_000_000, HOUR, DAY][self.dice.below(5) as usize])),
                _ => None,
            },
            texts: self.dice.chance(25).then(|| self.texts()),
        }
    }

    fn amount(&mut self) -> String {
        match self.dice.below(40) {
            0 => "0".to_owned(),
            1 => "0.00".to_owned(),
            2 => "0.001".to_owned(),
            3 => "1e3".to_owned(),
            4 => "-1".to_owned(),
            5 => "9223372036854775807".to_owned(),
            6 => "92233720368547758.07".to_owned(),
            7 => "92233720368547758.08".to_owned(),
            8..15 => format!("{}.{:02}", self.dice.below(1000), self.dice.below(100)),
            _ => format!("{}", 1 + self.dice.below(500)),
        }
    }

    fn post_amount(&mut self) -> Option<String> {
        self.dice.chance(50).then(|| self.amount())
    }

    fn texts(&mut self) -> Texts {
        let external = self.dice.chance(50).then(|| format!("T{}", self.dice.below(30)));
        let description = self.dice.chance(50).then(|| format!("rent {}", self.dice.below(100)));
        let pairs = if self.dice.chance(6) { full_pairs(self.dice.chance(30)) } else { self.pairs(3) };
        (external, description, pairs)
    }

    fn pairs(&mut self, most: u64) -> Pairs {
        (0..self.dice.below(most + 1)).map(|at| (format!("k{at}"), format!("v{}", self.dice.below(9)))).collect()
    }

    fn item(&mut self, model: &Model, accounts: u32, today: u16) -> Item {
        match self.dice.below(10) {
            0 => Item::Post(self.maybe_target(model), self.post_amount()),
            1 => Item::Void(self.maybe_target(model)),
            _ => Item::New(self.transfer(accounts, today)),
        }
    }

    fn maybe_target(&mut self, model: &Model) -> Option<u64> {
        (!self.dice.chance(10)).then(|| self.target(model))
    }

    /// A transfer to do something with: mostly an open hold or a recent one.
    fn target(&mut self, model: &Model) -> u64 {
        let last = model.last_seq();
        if self.dice.chance(60) {
            let holds = model.open_holds();
            if !holds.is_empty() {
                return holds[self.dice.below(holds.len() as u64) as usize].0;
            }
        }
        match self.dice.below(10) {
            0 => last + 1000,
            1..5 => last.saturating_sub(self.dice.below(10)),
            _ => self.dice.below(last + 1),
        }
    }

    fn change(&mut self, model: &Model, accounts: u32) -> Ask {
        let account = self.dice.below(u64::from(accounts) + 1) as u32;
        let now = model.account(account);
        let expected = self.dice.chance(20).then(|| {
            let (version, seq) = now.map_or((1, 1), |said| (said.version, said.last_seq));
            (version + self.dice.below(2) as u32, self.dice.chance(50).then_some(seq))
        });
        Ask::Change {
            account,
            name: self.dice.chance(30).then(|| self.dice.chance(70).then(|| "Renamed".to_owned())),
            pairs: self.dice.chance(30).then(|| if self.dice.chance(10) { full_pairs(false) } else { self.pairs(3) }),
            // Mostly opened again, or nothing would move for long.
            status: self.dice.chance(70).then(|| [0, 0, 0, 0, 1, 2][self.dice.below(6) as usize]),
            expected,
        }
    }
}

/// As much metadata as is allowed: 27 KB in ASCII, 108 KB in the widest characters.
pub fn full_pairs(is_wide: bool) -> Pairs {
    let letter = if is_wide { "𝄞" } else { "x" };
    (0..50).map(|at| (format!("{at:02}{}", letter.repeat(38)), letter.repeat(500))).collect()
}
