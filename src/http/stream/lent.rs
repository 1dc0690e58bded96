//! What the edge lends to those who work after the answer: events as JSON, and what is sealed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::domain::ids::Seq;
use crate::engine::Core;
use crate::engine::feed::EventKind;
use crate::engine::history::Located;
use crate::jobs::webhooks::Hooks;

use super::super::gateway::secrets::Secrets;
use super::super::render::{write_event, write_quoted_moment, write_sequence};

/// The field for which secrets of webhooks are sealed.
pub const WEBHOOK_SECRET: &str = "webhook_secret";

/// Lends both.
#[derive(Debug)]
pub struct Lent {
    secrets: Secrets,
}

impl Lent {
    /// With the secrets of a data folder.
    #[must_use]
    pub fn with(secrets: Secrets) -> Lent {
        Lent { secrets }
    }
}

impl Hooks for Lent {
    fn write_event(&self, core: &Core, located: &Located, kind: EventKind, out: &mut Vec<u8>) {
        write_event(out, core, located, kind);
    }

    fn write_test(&self, core: &Core, id: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"specversion\":\"1.0\",\"id\":\"");
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(format!("\",\"source\":\"urn:munim:books:{:016x}\"", core.journal().id()).as_bytes());
        out.extend_from_slice(b",\"type\":\"webhook.test\",\"time\":");
        write_quoted_moment(out, core.clock().now());
        out.extend_from_slice(b",\"datacontenttype\":\"application/json\",\"sequence\":\"");
        write_sequence(out, Seq::NONE);
        out.extend_from_slice(b"\",\"data\":{\"object\":\"test\"}}");
    }

    fn unseal(&self, sealed: &str) -> Option<String> {
        let bytes = STANDARD.decode(sealed).ok()?;
        self.secrets.open(WEBHOOK_SECRET, &bytes)
    }
}
