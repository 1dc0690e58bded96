//! Between the model's plain words and the engine's types.
#![allow(clippy::ref_option, reason = "commands keep plain optional texts")]

use munim::domain::access::{ApiKey, KeyLimits, KeyTerms, Role, SCOPE_ALL};
use munim::domain::account::{AccountType, BalanceRule, Status};
use munim::domain::entry::{AccountCold, TransferCold};
use munim::domain::ids::{AccountNo, Moment, Seq};
use munim::domain::money::{Currency, Decimal};
use munim::domain::reject::Reject;
use munim::domain::time::Day;
use munim::domain::transfer::{AccountRef, HoldTerms, NewTransfer};
use munim::engine::command::{AccountChange, Batch, BatchItem, Command, NewAccount, NewApiKey};
use munim::engine::view::{AccountView, BatchReply, Reply, TransferView};

use super::model::{self, AccountSaid, Ask, BatchSaid, Item, KeyAsk, KeySaid, Pairs, Said, Texts, TransferSaid};

fn boxed(text: &Option<String>) -> Option<Box<str>> {
    text.as_deref().map(Into::into)
}

fn metadata(pairs: &Pairs) -> munim::domain::entry::Metadata {
    pairs.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect()
}

fn account(new: &model::NewAccount) -> NewAccount {
    NewAccount {
        currency: Currency::from_code(new.currency.0).expect("a known currency"),
        account_type: AccountType::from_number(new.kind).expect("a known type"),
        code: new.code,
        balance_rule: BalanceRule::from_number(new.rule).expect("a known rule"),
        external_id: boxed(&new.external),
        name: boxed(&new.name),
        metadata: metadata(&new.pairs),
    }
}

fn side(no: Option<u32>) -> AccountRef {
    no.map_or(AccountRef::Unknown, |no| AccountRef::No(AccountNo(no)))
}

fn cold((external, description, pairs): &Texts) -> TransferCold {
    TransferCold { external_id: boxed(external), description: boxed(description), metadata: metadata(pairs) }
}

fn transfer(new: &model::NewTransfer) -> NewTransfer {
    NewTransfer {
        debit: side(new.debit),
        credit: side(new.credit),
        same_text: new.debit == new.credit,
        amount: Decimal::parse(&new.amount),
        code: new.code,
        effective: new.effective.map(Day),
        hold: match new.hold {
            None => HoldTerms::Post,
            Some(None) => HoldTerms::Hold,
            Some(Some(us)) => HoldTerms::HoldFor { us },
        },
        cold: new.texts.as_ref().map(|texts| Box::new(cold(texts))),
    }
}

fn amount(text: &Option<String>) -> Option<Option<Decimal>> {
    text.as_deref().map(Decimal::parse)
}

/// The command that a model's question is.
pub fn to_command(ask: &Ask) -> Command {
    match ask {
        Ask::Open(new) => Command::OpenAccount(Box::new(account(new))),
        Ask::OpenMany(many) => Command::OpenAccounts(many.iter().map(account).collect()),
        Ask::Change { account, name, pairs, status, expected } => Command::ChangeAccount(Box::new(AccountChange {
            account: AccountNo(*account),
            name: name.as_ref().map(boxed),
            metadata: pairs.as_ref().map(metadata),
            status: status.map(|status| Status::from_number(status).expect("a known status")),
            expected: expected.map(|(version, seq)| vec![(version, seq.map(Seq))]),
        })),
        Ask::Transfer(new) => Command::Transfer(transfer(new)),
        Ask::Batch { atomic, minimal, items } => {
            let item = |item: &Item| match item {
                Item::New(new) => BatchItem::New(transfer(new)),
                Item::Post(seq, text) => BatchItem::Post { transfer: seq.map(Seq), amount: amount(text) },
                Item::Void(seq) => BatchItem::Void { transfer: seq.map(Seq) },
            };
            Command::Batch(Batch { atomic: *atomic, minimal: *minimal, items: items.iter().map(item).collect() })
        }
        Ask::Post(seq, text) => Command::PostHold { transfer: Seq(*seq), amount: amount(text) },
        Ask::Void(seq) => Command::VoidHold { transfer: Seq(*seq) },
        Ask::Reverse(seq, reason) => Command::Reverse { transfer: Seq(*seq), reason: boxed(reason) },
        Ask::Close(through) => Command::ClosePeriod { through: Day(*through) },
        Ask::Reopen(through, reason) => {
            Command::ReopenPeriod { through: Day(*through), reason: reason.as_str().into() }
        }
        Ask::AcceptClock => Command::AcceptClock,
        Ask::Key(ask) => key_command(*ask),
    }
}

fn key_command(ask: KeyAsk) -> Command {
    match ask {
        KeyAsk::Make { role, is_all, expires, hash } => {
            let terms = KeyTerms {
                name: format!("key {hash}").into(),
                role: Role::from_number(role).expect("a known role"),
                scopes: vec![if is_all { SCOPE_ALL.into() } else { "accounts:read".into() }],
                amount_limit: is_all.then_some(u64::from(hash)),
                limits: KeyLimits { rate_per_s: u32::from(hash), burst: 1, concurrency: 0 },
                expires_at: expires.map(Moment),
                certificate: (!is_all).then_some([hash; 32]),
            };
            Command::MakeApiKey(Box::new(NewApiKey { terms, hash: [hash; 32] }))
        }
        KeyAsk::Rotate { number, hash, overlap } => {
            Command::RotateApiKey { number, hash: [hash; 32], overlap_us: overlap }
        }
        KeyAsk::Revoke(number) => Command::RevokeApiKey { number },
        KeyAsk::Note(suppressed) => {
            Command::NoteRefusal { operation: "close_period".into(), code: "forbidden".into(), suppressed }
        }
    }
}

/// An API key in plain words.
pub fn from_key(key: &ApiKey) -> KeySaid {
    KeySaid {
        number: key.number,
        role: key.terms.role as u8,
        is_all: key.terms.scopes.iter().any(|scope| &**scope == SCOPE_ALL),
        expires: key.terms.expires_at.map(|at| at.0),
        hash: key.hash[31],
        old: key.old.map(|(hash, until)| (hash[31], until.0)),
        made: key.made_at.0,
        rotated: key.rotated_at.map(|at| at.0),
        revoked: key.revoked_at.map(|at| at.0),
        last_seq: key.last_seq.0,
    }
}

/// Bytes of metadata in a command: what makes records long.
pub fn text_bytes(ask: &Ask) -> usize {
    let pairs = |pairs: &Pairs| pairs.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    let texts = |new: &model::NewTransfer| new.texts.as_ref().map_or(0, |texts| pairs(&texts.2));
    match ask {
        Ask::Transfer(new) => texts(new),
        Ask::Batch { items, .. } => {
            items.iter().map(|item| if let Item::New(new) = item { texts(new) } else { 0 }).sum()
        }
        _ => 0,
    }
}

fn said_no(reject: &Reject) -> model::No {
    (reject.code.name(), reject.account.map(|no| no.0))
}

fn said_pairs(metadata: &munim::domain::entry::Metadata) -> Pairs {
    metadata.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

fn said_text(text: &Option<Box<str>>) -> Option<String> {
    text.as_deref().map(str::to_owned)
}

/// A transfer's view in plain words.
pub fn from_transfer(view: &TransferView) -> TransferSaid {
    TransferSaid {
        seq: view.seq.map_or(0, |seq| seq.0),
        voucher: view.voucher.map_or(0, |seq| seq.0),
        sides: (view.debit.0, view.credit.0),
        amount: view.amount,
        currency: view.currency.code(),
        status: view.status.name(),
        code: view.code,
        effective: view.effective_date.0,
        created: view.created_at.0,
        expires: view.expires_at.map(|at| at.0),
        posted: view.posted_amount,
        resolved: view.resolved_at.map(|at| at.0),
        reversed_by: view.reversed_by.map(|seq| seq.0),
        reverses: view.reverses.map(|seq| seq.0),
        texts: view
            .cold
            .as_ref()
            .map(|cold| (said_text(&cold.external_id), said_text(&cold.description), said_pairs(&cold.metadata))),
    }
}

/// An account's row and texts in plain words.
pub fn from_account(view: &AccountView) -> AccountSaid {
    let AccountView { no, account, code, cold } = view;
    let cold: &AccountCold = cold;
    AccountSaid {
        no: no.map_or(u32::MAX, |no| no.0),
        sums: [account.debits_posted, account.credits_posted, account.debits_pending, account.credits_pending]
            .map(i128::from),
        currency: account.currency.code(),
        kind: account.account_type as u8,
        rule: account.balance_rule as u8,
        code: *code,
        status: account.status as u8,
        version: account.version,
        last_seq: account.last_seq.0,
        created: cold.created_at.0,
        external: said_text(&cold.external_id),
        name: said_text(&cold.name),
        pairs: said_pairs(&cold.metadata),
    }
}

fn said_batch(reply: &BatchReply) -> BatchSaid {
    BatchSaid {
        accepted: reply.accepted,
        items: reply.items,
        ids: reply.ids.clone(),
        ends: (reply.first, reply.last),
        rejected: reply.rejected.iter().map(|(index, reject)| (*index, said_no(reject))).collect(),
    }
}

/// A reply in plain words.
pub fn from_reply(reply: &Reply, dry: bool) -> Said {
    match reply {
        Reply::Refused(reject) => Said::Refused(said_no(reject)),
        Reply::BatchRefused(items) => {
            Said::BatchRefused(items.iter().map(|(index, reject)| (*index, said_no(reject))).collect())
        }
        _ if dry => Said::Dry,
        Reply::Transfer { view, created } => Said::Transfer(Box::new(from_transfer(view)), *created),
        Reply::Account { view, created } => Said::Account(Box::new(from_account(view)), *created),
        Reply::Accounts(reply) => Said::Accounts(said_batch(reply)),
        Reply::Batch(reply) => Said::Batch(said_batch(reply)),
        Reply::Periods(periods) => {
            let event = periods.events.first().expect("the reply shows the event");
            assert_eq!(periods.closed_through, event.through);
            Said::Periods {
                seq: event.seq.0,
                at: event.at.0,
                through: event.through.map(|day| day.0),
                reason: said_text(&event.reopened_because),
            }
        }
        Reply::ClockAccepted => Said::Clock,
        Reply::ApiKey { key, created } => Said::Key(Box::new(from_key(key)), *created),
        Reply::Noted => Said::Noted,
        Reply::Customer { .. } | Reply::Product { .. } | Reply::Loan { .. } | Reply::BusinessDay { .. } => {
            unreachable!("the scripts have no lending; tests/sim/loans.rs has")
        }
        Reply::Object { .. } | Reply::Jobs(_) => unreachable!("the scripts set nothing up"),
    }
}
