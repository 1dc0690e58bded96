//! An endpoint: what an owner has set up, as the books keep it and as it is used.

use serde::{Deserialize, Serialize};

use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::engine::feed::{EventKinds, Topic};
use crate::engine::objects::Object;

/// Version of a body.
const VERSION: u8 = 1;

/// Secrets at once: the one in use and those that were rotated away and are good still.
pub const SECRETS_MAX: usize = 3;

/// A secret, sealed as the books keep all that nobody may read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecret {
    /// Sealed bytes, base64.
    pub sealed: String,
    /// Its public half, for ed25519: shown to whoever asks.
    pub public: Option<String>,
    /// Microseconds since 1970 until which it signs still; `None` for the one in use.
    pub until: Option<i64>,
}

/// Whether an endpoint is sent anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointStatus {
    /// Events are sent as they come.
    Enabled,
    /// Its owner has stopped it; what comes meanwhile is sent when it goes on.
    Disabled,
    /// It answered 410: it wants no more.
    Gone,
}

impl EndpointStatus {
    /// The name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            EndpointStatus::Enabled => "enabled",
            EndpointStatus::Disabled => "disabled",
            EndpointStatus::Gone => "gone",
        }
    }
}

/// What the books keep of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointBody {
    /// Version of these fields.
    pub v: u8,
    /// Where to.
    pub url: String,
    /// For people, at most 500 characters.
    pub description: Option<String>,
    /// Kinds and patterns; everything of the books when absent.
    pub types: Option<Vec<String>>,
    /// Only what touches this account, by its internal number.
    pub account: Option<u32>,
    /// Only what happens to this loan.
    pub loan: Option<u32>,
    /// One at a time, and none before the one before it was taken.
    pub ordered: bool,
    /// Whether anything is sent.
    pub status: EndpointStatus,
    /// Events after this entry.
    pub after: u64,
    /// The one in use first.
    pub secrets: Vec<SealedSecret>,
}

impl EndpointBody {
    /// A new endpoint's.
    #[must_use]
    pub fn new(url: String, after: Seq, secret: SealedSecret) -> EndpointBody {
        EndpointBody {
            v: VERSION,
            url,
            description: None,
            types: None,
            account: None,
            loan: None,
            ordered: false,
            status: EndpointStatus::Enabled,
            after: after.0,
            secrets: vec![secret],
        }
    }

    /// Reads what the books keep; `None` when this version does not know it.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<EndpointBody> {
        serde_json::from_slice(body).ok().filter(|body: &EndpointBody| body.v == VERSION)
    }

    /// The bytes for the books.
    #[must_use]
    pub fn write(&self) -> Box<[u8]> {
        serde_json::to_vec(self).expect("strings and numbers become JSON").into()
    }

    /// What it wants. Never what is about keys and refusals: those who may see that look by themselves.
    #[must_use]
    pub fn topic(&self) -> Topic {
        let named = |types: &Vec<String>| {
            types.iter().filter_map(|name| EventKinds::named(name)).fold(EventKinds::NONE, EventKinds::or)
        };
        let books = EventKinds::of_the_books();
        let kinds = self.types.as_ref().map_or(books, |types| named(types).and(books));
        Topic { kinds, account: self.account.map(AccountNo), loan: self.loan }
    }

    /// The secrets that sign at a moment, the one in use first.
    pub fn signing(&self, now: Moment) -> impl Iterator<Item = &SealedSecret> {
        self.secrets.iter().filter(move |secret| secret.until.is_none_or(|until| now.0 < until))
    }
}

/// An endpoint as it stands.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its number.
    pub number: u32,
    /// Its version.
    pub version: u32,
    /// What it says.
    pub body: EndpointBody,
}

impl Endpoint {
    /// The endpoint that an object is; `None` when this version does not know it.
    #[must_use]
    pub fn of(object: &Object) -> Option<Endpoint> {
        let body = EndpointBody::read(&object.saved.body)?;
        Some(Endpoint { number: object.saved.number, version: object.saved.version, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_comes_back_and_another_version_does_not() {
        let secret = SealedSecret { sealed: "eA==".into(), public: None, until: None };
        let mut body = EndpointBody::new("https://a.example/x".into(), Seq(7), secret.clone());
        body.types = Some(vec!["loan.*".into(), "transfer.posted".into(), "api_key.created".into()]);
        assert_eq!(EndpointBody::read(&body.write()), Some(body.clone()));
        let topic = body.topic();
        let names = topic.kinds.names();
        assert!(
            names.contains(&"loan.repaid") && names.contains(&"transfer.posted") && !names.contains(&"api_key.created")
        );
        body.secrets.push(SealedSecret { until: Some(100), ..secret });
        assert_eq!((body.signing(Moment(99)).count(), body.signing(Moment(100)).count()), (2, 1));
        body.v = 2;
        assert_eq!(EndpointBody::read(&body.write()), None);
        assert_eq!(EndpointBody::read(b"{}"), None);
    }
}
