//! A target of ledger sync: what an operator has set up, as the books keep it, and where its URL leads.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::ids::{AccountNo, Seq};
use crate::engine::feed::{EventKinds, Topic};
use crate::engine::objects::Object;

use super::super::outbound::guard::{Destination, Guard, Refused};

/// Version of a body.
const VERSION: u8 = 1;

/// How a peer is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// `POST` of CloudEvents batches.
    Http,
    /// AMQP 0.9.1: persistent messages, publisher confirms.
    Amqp,
    /// MQTT 5, `QoS` 1.
    Mqtt,
}

/// All kinds, by their names in the API.
pub const TARGET_KINDS: [(TargetKind, &str); 3] =
    [(TargetKind::Http, "http"), (TargetKind::Amqp, "amqp"), (TargetKind::Mqtt, "mqtt")];

impl TargetKind {
    /// The name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TargetKind::Http => "http",
            TargetKind::Amqp => "amqp",
            TargetKind::Mqtt => "mqtt",
        }
    }

    /// Whether this program can speak it: brokers are the cargo feature `bridges`.
    #[must_use]
    pub fn is_built(self) -> bool {
        self == TargetKind::Http || cfg!(feature = "bridges")
    }

    /// Schemes of its URLs, each with how the guard knows it and with its usual port.
    fn schemes(self) -> [(&'static str, &'static str, u16); 2] {
        match self {
            TargetKind::Http => [("https://", "https://", 443), ("http://", "http://", 80)],
            TargetKind::Amqp => [("amqps://", "https://", 5671), ("amqp://", "http://", 5672)],
            TargetKind::Mqtt => [("mqtts://", "https://", 8883), ("mqtt://", "http://", 1883)],
        }
    }
}

/// What the books keep of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetBody {
    /// Version of these fields.
    pub v: u8,
    /// How it is spoken to.
    pub kind: TargetKind,
    /// Where it is; names no user.
    pub url: String,
    /// Who we are there.
    pub username: Option<String>,
    /// How we prove it: sealed bytes, base64.
    pub sealed_password: Option<String>,
    /// AMQP: where to publish; the default exchange when absent.
    pub exchange: Option<String>,
    /// AMQP: under which key; the event's kind when absent.
    pub routing_key: Option<String>,
    /// MQTT: where to publish.
    pub topic: Option<String>,
    /// For people, at most 500 characters.
    pub description: Option<String>,
    /// Kinds and patterns; everything of the books when absent.
    pub types: Option<Vec<String>>,
    /// Only what touches this account, by its internal number.
    pub account: Option<u32>,
    /// Only what happens to this loan.
    pub loan: Option<u32>,
    /// Whether anything is sent.
    pub is_enabled: bool,
    /// Events after this entry.
    pub after: u64,
}

impl TargetBody {
    /// A new target's.
    #[must_use]
    pub fn new(kind: TargetKind, url: String, after: Seq) -> TargetBody {
        TargetBody {
            v: VERSION,
            kind,
            url,
            username: None,
            sealed_password: None,
            exchange: None,
            routing_key: None,
            topic: None,
            description: None,
            types: None,
            account: None,
            loan: None,
            is_enabled: true,
            after: after.0,
        }
    }

    /// Reads what the books keep; `None` when this version does not know it.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<TargetBody> {
        serde_json::from_slice(body).ok().filter(|body: &TargetBody| body.v == VERSION)
    }

    /// The bytes for the books.
    #[must_use]
    pub fn write(&self) -> Box<[u8]> {
        serde_json::to_vec(self).expect("strings and numbers become JSON").into()
    }

    /// What it wants. Never what is about keys and refusals: those who may see that look by themselves.
    #[must_use]
    pub fn events(&self) -> Topic {
        let named = |types: &Vec<String>| {
            types.iter().filter_map(|name| EventKinds::named(name)).fold(EventKinds::NONE, EventKinds::or)
        };
        let books = EventKinds::of_the_books();
        let kinds = self.types.as_ref().map_or(books, |types| named(types).and(books));
        Topic { kinds, account: self.account.map(AccountNo), loan: self.loan }
    }

    /// What belongs to another kind than its own, or is missing: the field, and what is wrong.
    ///
    /// # Errors
    /// A field's name and a sentence for whoever set it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let kind = self.kind;
        if !kind.is_built() {
            let detail = format!(
                "This program was built without `{}`: the cargo feature `bridges` has it. Targets of kind `http` work.",
                kind.name()
            );
            return Err(("kind", detail));
        }
        let wrong = |field: &'static str| Err((field, format!("A target of kind `{}` has none.", kind.name())));
        if kind != TargetKind::Amqp && self.exchange.is_some() {
            return wrong("exchange");
        }
        if kind != TargetKind::Amqp && self.routing_key.is_some() {
            return wrong("routing_key");
        }
        match &self.topic {
            Some(_) if kind != TargetKind::Mqtt => return wrong("topic"),
            None if kind == TargetKind::Mqtt => return Err(("topic", "A target of kind `mqtt` needs one.".into())),
            // Wildcards are for those who subscribe (MQTT 5, 4.7.1).
            Some(topic) if topic.contains(['+', '#', '\0']) => {
                return Err(("topic", "`+` and `#` are for subscribers.".into()));
            }
            _ => {}
        }
        if kind == TargetKind::Amqp && self.exchange.is_none() && self.routing_key.is_none() {
            let detail = "The default exchange delivers to the queue that the key names: give one of both.";
            return Err(("routing_key", detail.into()));
        }
        if kind != TargetKind::Http && self.username.is_none() && self.sealed_password.is_some() {
            return Err(("username", "A broker takes no password without one.".into()));
        }
        Ok(())
    }
}

/// Where a target's URL leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whom to connect to, judged by its URL.
    pub destination: Destination,
    /// AMQP: the virtual host.
    pub virtual_host: String,
}

/// Why a URL leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// It has another scheme than its kind's.
    Scheme([&'static str; 2]),
    /// In the clear, which the operator does not allow.
    Clear,
    /// A broker's URL has no more than a host, a port and, for AMQP, one virtual host.
    Path,
    /// The guard says no.
    Refused(Refused),
}

impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoPlace::Scheme([secret, clear]) => write!(f, "it begins with {secret} or {clear}"),
            NoPlace::Clear => f.write_str("only encrypted URLs are allowed here (--outbound-http allows others)"),
            NoPlace::Path => f.write_str("a broker's URL is a host and a port, and for amqp one virtual host"),
            NoPlace::Refused(refused) => write!(f, "{refused}"),
        }
    }
}

/// Where a URL leads, as far as a URL alone can say it: brokers are judged by the rules of all calls to others.
///
/// # Errors
/// [`NoPlace`].
pub fn place_of(guard: &Guard, kind: TargetKind, url: &str) -> Result<Place, NoPlace> {
    let schemes = kind.schemes();
    let found = schemes.iter().find_map(|(scheme, known, port)| Some((url.strip_prefix(scheme)?, known, port)));
    let (rest, known, port) = found.ok_or(NoPlace::Scheme([schemes[0].0, schemes[1].0]))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if kind == TargetKind::Http {
        let target = guard.check_url(url).map_err(refusal)?;
        return Ok(Place { destination: target.destination, virtual_host: String::new() });
    }
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let port = if has_port { String::new() } else { format!(":{port}") };
    let target = guard.check_url(&format!("{known}{authority}{port}/")).map_err(refusal)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let virtual_host = match path {
        "" | "%2f" | "%2F" => "/".to_owned(),
        _ if kind == TargetKind::Mqtt || path.len() > 255 || !path.bytes().all(is_plain) => return Err(NoPlace::Path),
        path => path.to_owned(),
    };
    Ok(Place { destination: target.destination, virtual_host })
}

fn refusal(refused: Refused) -> NoPlace {
    match refused {
        // The scheme was one of the kind's: what is left is that it is not secret.
        Refused::Scheme(_) => NoPlace::Clear,
        refused => NoPlace::Refused(refused),
    }
}

/// A target as it stands.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its number.
    pub number: u32,
    /// Its version.
    pub version: u32,
    /// What it says.
    pub body: TargetBody,
}

impl Target {
    /// The target that an object is; `None` when this version does not know it.
    #[must_use]
    pub fn of(object: &Object) -> Option<Target> {
        let body = TargetBody::read(&object.saved.body)?;
        Some(Target { number: object.saved.number, version: object.saved.version, body })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::outbound::guard::{GuardSettings, Host, Scheme};
    use super::*;

    #[test]
    fn a_body_comes_back_and_another_version_does_not() {
        let mut body = TargetBody::new(TargetKind::Amqp, "amqps://a.example/books".into(), Seq(7));
        body.types = Some(vec!["transfer.*".into(), "api_key.created".into()]);
        assert_eq!(TargetBody::read(&body.write()), Some(body.clone()));
        let names = body.events().kinds.names();
        assert!(names.contains(&"transfer.posted") && !names.contains(&"api_key.created"));
        body.v = 2;
        assert_eq!(TargetBody::read(&body.write()), None);
        assert_eq!(TargetBody::read(b"{}"), None);
    }

    #[test]
    fn urls_lead_to_what_the_guard_allows_and_nowhere_else() {
        let strict = Guard::new(GuardSettings::default()).unwrap();
        let open = Guard::new(GuardSettings { allow_http: true, ..GuardSettings::default() }).unwrap();
        let place = |guard, kind, url| {
            place_of(guard, kind, url).map(|place| {
                let Destination { scheme, port, .. } = place.destination;
                (scheme, port, place.virtual_host)
            })
        };
        let (amqp, mqtt, http) = (TargetKind::Amqp, TargetKind::Mqtt, TargetKind::Http);
        for (kind, url, expected) in [
            (amqp, "amqps://mq.example", (Scheme::Https, 5671, "/")),
            (amqp, "amqps://mq.example:9000/books", (Scheme::Https, 9000, "books")),
            (amqp, "amqps://mq.example/%2f", (Scheme::Https, 5671, "/")),
            (mqtt, "mqtts://mq.example", (Scheme::Https, 8883, "/")),
            (mqtt, "mqtts://[2606:4700::1111]", (Scheme::Https, 8883, "/")),
            (http, "https://mq.example/a?b=c", (Scheme::Https, 443, "")),
        ] {
            let (scheme, port, virtual_host) = expected;
            assert_eq!(place(&strict, kind, url), Ok((scheme, port, virtual_host.to_owned())), "{url}");
        }
        assert_eq!(place(&open, mqtt, "mqtt://mq.example"), Ok((Scheme::Http, 1883, "/".into())));
        let named = place_of(&strict, amqp, "amqps://MQ.example.").unwrap().destination.host;
        assert_eq!(named, Host::Name("mq.example".into()));
        for (kind, url, expected) in [
            (amqp, "amqp://mq.example", NoPlace::Clear),
            (http, "http://mq.example/", NoPlace::Clear),
            (amqp, "mqtts://mq.example", NoPlace::Scheme(["amqps://", "amqp://"])),
            (amqp, "amqps://mq.example/a/b", NoPlace::Path),
            (amqp, "amqps://mq.example/a?heartbeat=0", NoPlace::Path),
            (mqtt, "mqtts://mq.example/topic", NoPlace::Path),
            (mqtt, "mqtts://user:pass@mq.example", NoPlace::Refused(Refused::Userinfo)),
            (amqp, "amqps://mq.example:22", NoPlace::Refused(Refused::Port(22))),
            (amqp, "amqps://", NoPlace::Refused(Refused::Host)),
        ] {
            assert_eq!(place_of(&strict, kind, url), Err(expected), "{url}");
        }
        let inside = place_of(&strict, amqp, "amqps://127.0.0.1:5671");
        assert!(matches!(inside, Err(NoPlace::Refused(Refused::Address(..)))), "{inside:?}");
    }

    #[test]
    fn what_a_kind_does_not_have_is_refused_and_so_is_a_kind_that_is_not_built() {
        let body = |kind| TargetBody::new(kind, "https://a.example/".into(), Seq(0));
        let field = |body: &TargetBody| body.check().err().map(|(field, _)| field);
        let http = body(TargetKind::Http);
        assert_eq!(field(&http), None);
        assert_eq!(field(&TargetBody { topic: Some("a".into()), ..http.clone() }), Some("topic"));
        assert_eq!(field(&TargetBody { exchange: Some("a".into()), ..http.clone() }), Some("exchange"));
        assert_eq!(field(&TargetBody { routing_key: Some("a".into()), ..http }), Some("routing_key"));
        let (amqp, mqtt) = (body(TargetKind::Amqp), body(TargetKind::Mqtt));
        if !cfg!(feature = "bridges") {
            assert_eq!((field(&amqp), field(&mqtt)), (Some("kind"), Some("kind")));
            return;
        }
        assert_eq!((field(&amqp), field(&mqtt)), (Some("routing_key"), Some("topic")));
        assert_eq!(field(&TargetBody { exchange: Some("books".into()), ..amqp.clone() }), None);
        let wild = TargetBody { topic: Some("books/#".into()), ..mqtt.clone() };
        assert_eq!(field(&wild), Some("topic"));
        let fit = TargetBody { topic: Some("books".into()), ..mqtt };
        assert_eq!(field(&fit), None);
        assert_eq!(field(&TargetBody { sealed_password: Some("x".into()), ..fit }), Some("username"));
    }
}
