//! Who may do what: API keys, their roles and scopes, and the rule of four eyes.
//!
//! A key may do what its role allows **and** one of its scopes covers. Nothing here knows a token:
//! a key is known by a keyed hash, and whoever holds the token is whoever holds the key.

use super::ids::{Moment, Seq};
use super::money::{Currency, Minor};
use super::reject::{Reject, RejectCode};

/// What the holder of a key does for a living. Stored by number: append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// Moves money, takes what borrowers pay, and looks things up.
    Cashier = 0,
    /// Also opens and changes accounts, takes applications and pays loans out.
    Officer = 1,
    /// Also reverses, approves loans, changes what was agreed, closes days and periods, and looks after the clock.
    Manager = 2,
    /// Reads everything and changes nothing.
    Auditor = 3,
    /// Everything, keys included.
    Admin = 4,
    /// A program: like a manager, without the periods.
    System = 5,
}

/// Roles with their names in the API, in order of their numbers.
pub const ROLES: [(Role, &str); 6] = [
    (Role::Cashier, "cashier"),
    (Role::Officer, "officer"),
    (Role::Manager, "manager"),
    (Role::Auditor, "auditor"),
    (Role::Admin, "admin"),
    (Role::System, "system"),
];

/// What an operation asks of whoever calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need<'a> {
    /// The operation's id, e.g. `create_transfer`.
    pub operation: &'a str,
    /// The collection that it works on, e.g. `transfers`.
    pub resource: &'a str,
    /// Whether it changes the books.
    pub is_change: bool,
}

impl Role {
    /// The name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        ROLES[self as usize].1
    }

    /// The role of a name, or `None`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Role> {
        ROLES.iter().find(|(_, known)| *known == name).map(|(role, _)| *role)
    }

    /// A number read from disk, or `None` when this version does not know it.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Role> {
        ROLES.get(usize::from(number)).map(|(role, _)| *role)
    }

    /// Whether the role as such may do it.
    #[must_use]
    pub fn allows(self, need: &Need<'_>) -> bool {
        match self {
            Role::Admin => return true,
            Role::Auditor => return !need.is_change,
            _ => {}
        }
        let has_rank = |ranks: &[Role]| ranks.contains(&self);
        match (need.resource, need.is_change) {
            ("api_keys", _) => false,
            ("transfers", true) if need.operation == "reverse_transfer" => has_rank(&[Role::Manager, Role::System]),
            (_, false) | ("transfers", true) => true,
            ("customers" | "accounts", true) => has_rank(&[Role::Officer, Role::Manager, Role::System]),
            // Where the books are told to whom is for those who see to keys, and for programs.
            ("webhook_endpoints" | "sync_targets", true) => has_rank(&[Role::System]),
            ("clock" | "loan_products" | "business_day" | "jobs", true) => has_rank(&[Role::Manager, Role::System]),
            ("periods", true) => has_rank(&[Role::Manager]),
            ("loans", true) => match need.operation {
                "create_repayment" | "create_prepayment" | "foreclose_loan" | "recover_loan" | "cancel_loan" => {
                    has_rank(&[Role::Cashier, Role::Officer, Role::Manager, Role::System])
                }
                "create_loan" | "issue_kfs" | "accept_kfs" | "disburse_loan" | "create_loan_charge"
                | "refund_advance" | "close_loan" | "pause_loan" | "watch_loan" => {
                    has_rank(&[Role::Officer, Role::Manager, Role::System])
                }
                // Approving, and whatever changes what was agreed or undoes what happened.
                _ => has_rank(&[Role::Manager, Role::System]),
            },
            // A collection that nobody has thought about is an admin's.
            (_, true) => false,
        }
    }
}

/// The scope that covers everything.
pub const SCOPE_ALL: &str = "*";

/// Whether a scope covers an operation: `*`, `<resource>:read`, `<resource>:write`, or the operation's id.
#[must_use]
pub fn scope_covers(scope: &str, need: &Need<'_>) -> bool {
    match scope.split_once(':') {
        Some((resource, "read")) => resource == need.resource && !need.is_change,
        Some((resource, "write")) => resource == need.resource && need.is_change,
        Some(_) => false,
        None => scope == SCOPE_ALL || scope == need.operation,
    }
}

/// How often and how many at once; 0 stands for the server's own limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Requests a second, over time.
    pub rate_per_s: u32,
    /// Requests at once, after a pause.
    pub burst: u32,
    /// Requests in flight.
    pub concurrency: u32,
}

/// What a key is for; never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTerms {
    /// For people: whose key, or which program's. 1–200 characters.
    pub name: Box<str>,
    /// What its role allows …
    pub role: Role,
    /// … and one of these covers.
    pub scopes: Vec<Box<str>>,
    /// Greatest single amount, in whole units of its currency.
    pub amount_limit: Option<u64>,
    /// How often.
    pub limits: KeyLimits,
    /// From then on it is no key any more.
    pub expires_at: Option<Moment>,
    /// SHA-256 of the client certificate without which it is no key.
    pub certificate: Option<[u8; 32]>,
}

impl KeyTerms {
    /// Whether the key may do it.
    #[must_use]
    pub fn allows(&self, need: &Need<'_>) -> bool {
        self.role.allows(need) && self.scopes.iter().any(|scope| scope_covers(scope, need))
    }

    /// Whether it can make keys, if nothing else stands in the way.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.role == Role::Admin && self.scopes.iter().any(|scope| &**scope == SCOPE_ALL)
    }
}

/// A new key, as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyMade {
    /// Its number: one more than the key before; the first is 1.
    pub number: u64,
    /// The key that made it; 0 for somebody at the machine itself.
    pub made_by: u64,
    /// What it is for.
    pub terms: KeyTerms,
    /// Keyed hash of its token.
    pub hash: [u8; 32],
}

/// A changed key, as the journal has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiKeyChanged {
    /// Which.
    pub number: u64,
    /// How.
    pub change: KeyChange,
}

/// What can happen to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// It has a new token; the old one is good until then.
    Rotated { hash: [u8; 32], old_until: Moment },
    /// It is no key any more.
    Revoked,
}

/// A holder of a key asked for what he may not do. Who and in which request stands in the record's trailer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRefused {
    /// What was asked for.
    pub operation: Box<str>,
    /// What he was told.
    pub code: Box<str>,
    /// Refusals of the same key before this one that were counted and not noted.
    pub suppressed: u32,
}

/// A key as it stands: the fold of its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its number.
    pub number: u64,
    /// The key that made it.
    pub made_by: u64,
    /// What it is for.
    pub terms: KeyTerms,
    /// Keyed hash of its token.
    pub hash: [u8; 32],
    /// The token before that, and until when it is good.
    pub old: Option<([u8; 32], Moment)>,
    /// When it was made.
    pub made_at: Moment,
    /// When it got its token, if that is not its first.
    pub rotated_at: Option<Moment>,
    /// When it was revoked.
    pub revoked_at: Option<Moment>,
    /// Its newest entry.
    pub last_seq: Seq,
}

impl ApiKey {
    /// The key that an entry makes.
    #[must_use]
    pub fn made(entry: &ApiKeyMade, seq: Seq, at: Moment) -> ApiKey {
        ApiKey {
            number: entry.number,
            made_by: entry.made_by,
            terms: entry.terms.clone(),
            hash: entry.hash,
            old: None,
            made_at: at,
            rotated_at: None,
            revoked_at: None,
            last_seq: seq,
        }
    }

    /// The key after a change.
    #[must_use]
    pub fn changed(&self, change: KeyChange, seq: Seq, at: Moment) -> ApiKey {
        assert!(seq > self.last_seq, "entries of a key are applied in order of seq");
        let mut after = ApiKey { last_seq: seq, ..self.clone() };
        match change {
            KeyChange::Rotated { hash, old_until } => {
                after.old = (old_until > at).then_some((self.hash, old_until));
                after.hash = hash;
                after.rotated_at = Some(at);
            }
            KeyChange::Revoked => {
                after.old = None;
                after.revoked_at = Some(at);
            }
        }
        after
    }

    /// Whether it is a key at that moment: not revoked, not expired.
    #[must_use]
    pub fn is_usable(&self, now: Moment) -> bool {
        self.revoked_at.is_none() && self.terms.expires_at.is_none_or(|end| now < end)
    }

    /// Whether its tokens depend on what time it is.
    #[must_use]
    pub fn has_deadline(&self) -> bool {
        self.terms.expires_at.is_some() || self.old.is_some()
    }
}

/// Refuses what lies above the limit of a key, in whole units of a currency.
///
/// # Errors
/// `amount_limit_exceeded`.
pub fn check_amount(limit: Option<u64>, amount: Minor, currency: Currency) -> Result<(), Reject> {
    let Some(limit) = limit else { return Ok(()) };
    let minor = u128::from(limit) * 10u128.pow(u32::from(currency.exponent()));
    if u128::from(amount) <= minor { Ok(()) } else { Err(Reject::of(RejectCode::AmountLimitExceeded)) }
}

/// Who made something that somebody else has to approve: the number of a key, 0 where no keys exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maker(pub u64);

/// Who approves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checker(pub u64);

/// The rule of four eyes: nobody approves what he made himself. Where no keys exist nobody can be
/// told from anybody, and the rule does not hold.
///
/// # Errors
/// `same_identity`.
pub fn check_approval(maker: Maker, checker: Checker) -> Result<(), Reject> {
    if maker.0 == checker.0 && maker.0 != 0 { Err(Reject::of(RejectCode::SameIdentity)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need<'a>(operation: &'a str, resource: &'a str, is_change: bool) -> Need<'a> {
        Need { operation, resource, is_change }
    }

    #[test]
    fn roles_allow_what_the_table_says() {
        let table = [
            (need("create_transfer", "transfers", true), "cashier officer manager admin system"),
            (need("reverse_transfer", "transfers", true), "manager admin system"),
            (need("get_account", "accounts", false), "cashier officer manager auditor admin system"),
            (need("create_account", "accounts", true), "officer manager admin system"),
            (need("close_period", "periods", true), "manager admin"),
            (need("accept_clock", "clock", true), "manager admin system"),
            (need("create_repayment", "loans", true), "cashier officer manager admin system"),
            (need("create_loan", "loans", true), "officer manager admin system"),
            (need("approve_loan", "loans", true), "manager admin system"),
            (need("settle_loan", "loans", true), "manager admin system"),
            (need("pause_loan", "loans", true), "officer manager admin system"),
            (need("create_loan_product", "loan_products", true), "manager admin system"),
            (need("close_business_day", "business_day", true), "manager admin system"),
            (need("create_api_key", "api_keys", true), "admin"),
            (need("list_api_keys", "api_keys", false), "auditor admin"),
            (need("create_novelty", "novelties", true), "admin"),
        ];
        for (need, expected) in table {
            let allowed: Vec<&str> =
                ROLES.iter().filter(|(role, _)| role.allows(&need)).map(|(_, name)| *name).collect();
            assert_eq!(allowed.join(" "), expected, "{need:?}");
        }
    }

    #[test]
    fn roles_are_numbered_in_the_order_of_their_table() {
        for (number, (role, name)) in ROLES.iter().enumerate() {
            assert_eq!(*role as usize, number);
            assert_eq!((Role::from_number(number as u8), Role::from_name(name)), (Some(*role), Some(*role)));
        }
        assert_eq!(Role::from_number(ROLES.len() as u8), None);
    }

    #[test]
    fn scopes_cover_all_a_collection_or_one_operation() {
        let post = need("create_transfer", "transfers", true);
        let get = need("get_transfer", "transfers", false);
        for (scope, covers) in [
            ("*", (true, true)),
            ("transfers:write", (true, false)),
            ("transfers:read", (false, true)),
            ("create_transfer", (true, false)),
            ("accounts:write", (false, false)),
            ("transfers", (false, false)),
            ("transfers:*", (false, false)),
            ("", (false, false)),
        ] {
            assert_eq!((scope_covers(scope, &post), scope_covers(scope, &get)), covers, "{scope}");
        }
    }

    #[test]
    fn an_amount_is_held_against_whole_units_of_its_currency() {
        let currency = |code| Currency::from_code(code).expect("a known currency");
        for (limit, amount, code, is_within) in [
            (Some(100), 10_000, "INR", true),
            (Some(100), 10_001, "INR", false),
            (Some(100), 100, "JPY", true),
            (Some(100), 101, "JPY", false),
            (Some(100), 100_001, "KWD", false),
            (Some(u64::MAX), u64::MAX, "INR", true),
            (Some(0), 1, "JPY", false),
            (None, u64::MAX, "INR", true),
        ] {
            assert_eq!(check_amount(limit, amount, currency(code)).is_ok(), is_within, "{limit:?} {amount} {code}");
        }
    }

    #[test]
    fn nobody_approves_what_he_made_himself() {
        assert_eq!(check_approval(Maker(7), Checker(7)), Err(Reject::of(RejectCode::SameIdentity)));
        assert_eq!(check_approval(Maker(7), Checker(8)), Ok(()));
        assert_eq!(check_approval(Maker(0), Checker(8)), Ok(()));
        assert_eq!(check_approval(Maker(7), Checker(0)), Ok(()));
        assert_eq!(check_approval(Maker(0), Checker(0)), Ok(()), "where no keys exist nobody is told from anybody");
    }

    #[test]
    fn a_rotated_key_keeps_its_old_token_until_it_is_over() {
        let terms = KeyTerms {
            name: "till".into(),
            role: Role::Cashier,
            scopes: vec![SCOPE_ALL.into()],
            amount_limit: None,
            limits: KeyLimits::default(),
            expires_at: Some(Moment(1_000)),
            certificate: None,
        };
        let made = ApiKey::made(&ApiKeyMade { number: 1, made_by: 0, terms, hash: [1; 32] }, Seq(5), Moment(10));
        assert!(made.is_usable(Moment(999)) && !made.is_usable(Moment(1_000)));
        let rotated = made.changed(KeyChange::Rotated { hash: [2; 32], old_until: Moment(30) }, Seq(6), Moment(20));
        assert_eq!((rotated.hash, rotated.old), ([2; 32], Some(([1; 32], Moment(30)))));
        let at_once = made.changed(KeyChange::Rotated { hash: [2; 32], old_until: Moment(20) }, Seq(6), Moment(20));
        assert_eq!(at_once.old, None);
        let revoked = rotated.changed(KeyChange::Revoked, Seq(7), Moment(25));
        assert_eq!((revoked.old, revoked.is_usable(Moment(26))), (None, false));
    }
}
