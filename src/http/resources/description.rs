//! What the binary says about itself: the OpenAPI document, the pages, the protobuf file.
//!
//! None of them changes while the process runs: each is made and compressed once, on a thread that may
//! take its time, and its tag is a hash of its bytes.

use std::sync::OnceLock;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderValue;

use crate::domain::ids::Seq;

use super::super::body::Payload;
use super::super::compress::{Coding, encode, encode_page, with_suffix};
use super::super::gateway::Call;
use super::super::negotiate::accepted_coding;
use super::super::problem::{Code, Outcome, Problem};
use super::super::reply::Reply;
use super::super::{docs, openapi, proto};
use super::Operation;
use super::answer::not_modified;

/// A text in every coding.
#[derive(Debug)]
struct Page {
    content_type: &'static str,
    plain: Bytes,
    packed: Vec<(Coding, Bytes)>,
    etag: String,
}

static OPENAPI: OnceLock<Page> = OnceLock::new();
static DOCS: OnceLock<Page> = OnceLock::new();
static STYLE: OnceLock<Page> = OnceLock::new();
static PROTO: OnceLock<Page> = OnceLock::new();

/// `GET /openapi.json`, `/docs`, `/docs/style.css`, `/proto/munim.v1.proto`
pub async fn get(call: &mut Call<'_>) -> Outcome<Reply> {
    let (place, make): (&'static OnceLock<Page>, fn() -> Page) = match call.route.operation {
        Operation::GetOpenapi => (&OPENAPI, || Page::of("application/json", openapi::served())),
        Operation::GetDocs => (&DOCS, || Page::of("text/html; charset=utf-8", docs::reference_page())),
        Operation::GetDocsStyle => (&STYLE, || Page::of("text/css; charset=utf-8", docs::STYLE.to_owned())),
        _ => (&PROTO, || Page::of("text/plain; charset=utf-8", proto::SCHEMA.to_owned())),
    };
    let page = match place.get() {
        Some(page) => page,
        None => tokio::task::spawn_blocking(move || place.get_or_init(make))
            .await
            .map_err(|_| Problem::new(Code::Overloaded, "No thread is free to make the page. Ask again."))?,
    };
    if let Some(mut reply) = not_modified(call, &page.etag, Seq::NONE) {
        reply.as_of = None;
        return Ok(reply);
    }
    let liked = accepted_coding(&call.head.headers);
    let packed = page.packed.iter().find(|(coding, _)| Some(*coding) == liked);
    let body = packed.map_or(&page.plain, |(_, bytes)| bytes).clone();
    let mut reply = Reply::of(StatusCode::OK, HeaderValue::from_static(page.content_type), Payload::Whole(Some(body)));
    reply.coding = packed.map(|(coding, _)| *coding);
    reply.varies_by_coding = true;
    reply.etag = Some(match reply.coding {
        Some(coding) => with_suffix(&page.etag, coding.name()),
        None => page.etag.clone(),
    });
    Ok(reply)
}

impl Page {
    fn of(content_type: &'static str, text: String) -> Page {
        let plain = Bytes::from(text);
        let pack = |coding| match coding {
            Coding::Brotli => encode_page(&plain),
            coding => encode(coding, &plain),
        };
        // What cannot be compressed is sent as it is.
        let packed = [Coding::Zstd, Coding::Gzip, Coding::Brotli].into_iter();
        let packed = packed.filter_map(|coding| Some((coding, Bytes::from(pack(coding).ok()?)))).collect();
        let etag = format!("\"{}\"", &blake3::hash(&plain).to_hex()[..16]);
        Page { content_type, plain, packed, etag }
    }
}
