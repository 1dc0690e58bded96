//! Positions of a loan in the books, by role, and what has to be posted to get from one state of them to another.

/// What an account is to a loan. Debit is positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Role {
    /// Cash and bank, all that came in less all that went out.
    Settlement,
    /// Principal outstanding.
    Principal,
    /// Interest accrued and not received.
    InterestReceivable,
    /// Fees due, with their tax.
    FeeReceivable,
    /// Tax that a borrower kept back and paid to the state.
    TdsReceivable,
    /// Paid by the borrower, not yet used.
    Advance,
    /// Collected for others.
    ThirdPartyPayable,
    /// Tax on fees.
    GstPayable,
    /// Interest of a non-performing loan that was not received: no income.
    InterestSuspense,
    /// Interest earned.
    InterestIncome,
    /// Fees earned.
    FeeIncome,
    /// Penal charges, when received. There is no receivable of them: before, they are in no book.
    PenalIncome,
    /// Given up.
    WriteOff,
    /// Received after that.
    Recovery,
}

/// How many roles there are.
pub const ROLE_COUNT: usize = 14;

/// All roles, in the order of their numbers.
pub const ROLES: [Role; ROLE_COUNT] = [
    Role::Settlement,
    Role::Principal,
    Role::InterestReceivable,
    Role::FeeReceivable,
    Role::TdsReceivable,
    Role::Advance,
    Role::ThirdPartyPayable,
    Role::GstPayable,
    Role::InterestSuspense,
    Role::InterestIncome,
    Role::FeeIncome,
    Role::PenalIncome,
    Role::WriteOff,
    Role::Recovery,
];

/// Signed paise by role; the sum is always zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Positions([i64; ROLE_COUNT]);

impl Positions {
    /// Paise of a role, debit positive.
    #[must_use]
    pub fn of(&self, role: Role) -> i64 {
        self.0[role as usize]
    }

    /// Zero, unless something is wrong with this program.
    #[must_use]
    pub fn sum(&self) -> i64 {
        self.0.iter().sum()
    }

    /// By the number of the role.
    #[must_use]
    pub fn raw(&self) -> &[i64; ROLE_COUNT] {
        &self.0
    }

    /// Positions as [`Positions::raw`] gave them, from bytes; `None` where they do not sum to zero.
    #[must_use]
    pub fn from_raw(raw: [i64; ROLE_COUNT]) -> Option<Positions> {
        let sum: i128 = raw.iter().map(|amount| i128::from(*amount)).sum();
        (sum == 0).then_some(Positions(raw))
    }

    /// What has to be added to others to get these, by the number of the role; the sum is zero again.
    #[must_use]
    pub fn minus(&self, others: &Positions) -> [i64; ROLE_COUNT] {
        std::array::from_fn(|role| self.0[role] - others.0[role])
    }

    /// The only way in which positions change. A negative amount goes the other way.
    pub(super) fn shift(&mut self, debit: Debit, credit: Credit, amount: i64) {
        self.0[debit.0 as usize] += amount;
        self.0[credit.0 as usize] -= amount;
    }
}

/// The side of a movement that is debited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debit(pub Role);

/// The side of a movement that is credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit(pub Role);

/// A leg to post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    /// Debited.
    pub debit: Role,
    /// Credited.
    pub credit: Role,
    /// Paise, more than 0.
    pub amount: i64,
}

/// What has to be posted so that positions go from `before` to `after`: fewer legs than roles that differ.
///
/// 1. Differences, in the order of the roles: to be debited, to be credited.
/// 2. Equal amounts face each other.
/// 3. What is left is paired in order, the smaller amount of each pair used up.
#[must_use]
pub fn movements(before: &Positions, after: &Positions) -> Vec<Movement> {
    debug_assert_eq!(before.sum(), 0, "positions balance before");
    debug_assert_eq!(after.sum(), 0, "positions balance after");
    let differences = ROLES.map(|role| (role, after.of(role) - before.of(role)));
    let mut debits: Vec<(Role, i64)> = differences.into_iter().filter(|(_, amount)| *amount > 0).collect();
    let credits = differences.into_iter().filter(|(_, amount)| *amount < 0);
    let mut credits: Vec<(Role, i64)> = credits.map(|(role, amount)| (role, -amount)).collect();
    let mut legs = Vec::with_capacity(debits.len() + credits.len());
    debits.retain(|(debit, amount)| {
        let Some(at) = credits.iter().position(|(_, credited)| credited == amount) else { return true };
        legs.push(Movement { debit: *debit, credit: credits.remove(at).0, amount: *amount });
        false
    });
    let mut facing = credits.into_iter();
    let mut credit = facing.next();
    for (debit, mut left) in debits {
        while let (true, Some((role, available))) = (left > 0, credit) {
            let amount = left.min(available);
            legs.push(Movement { debit, credit: role, amount });
            left -= amount;
            credit = if available > amount { Some((role, available - amount)) } else { facing.next() };
        }
        debug_assert_eq!(left, 0, "what is debited is credited");
    }
    legs
}
