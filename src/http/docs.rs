//! Pages for people: the whole API on one, and one behind the `type` of each problem document.
//!
//! All of it is made from the tables that the edge works by. No page needs a script, a font or any address
//! but its own server's: a branch without a line to the outside reads them just as well.

use std::fmt::Write as _;

use super::openapi::operations::{self, Gives, Parameter, Value, describe};
use super::openapi::{self, Need, Schema, example_of, schemas, words_of};
use super::problem::{Code, all_codes, reject_detail};
use super::router::{Class, ROUTES, Route};
use crate::domain::reject::Reject;

/// How the pages look.
pub const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--word:#2563c9}
@media(prefers-color-scheme:dark){:root{--word:#8ab4f8}}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem}
a{color:var(--word)}
nav ul{columns:3 14rem;list-style:none;padding:0;font-size:.9rem}
section{border-top:1px solid var(--line);margin-top:1.5rem}
h3 code{font-size:1.05rem}
code,pre{font-family:ui-monospace,monospace;font-size:.9em}
pre{background:var(--soft);border:1px solid var(--line);border-radius:4px;overflow:auto;padding:.6rem}
table{border-collapse:collapse;font-size:.92rem;width:100%}
td,th{border-bottom:1px solid var(--line);padding:.25rem .5rem;text-align:left;vertical-align:top}
.method{border:1px solid var(--line);border-radius:4px;padding:0 .4rem}
";

/// The whole API on one page.
#[must_use]
pub fn reference_page() -> String {
    let mut body = String::with_capacity(128 * 1024);
    body.push_str(
        "<p>The same as data: <a href=\"/openapi.json\">openapi.json</a>. All refusals: \
         <a href=\"/problems\">problems</a>. Messages: <a href=\"/proto/munim.v1.proto\">munim.v1.proto</a>.</p>\n\
         <p>Every POST that moves money needs an <code>Idempotency-Key</code>: send the same one again when you retry, \
         and the same answer comes back. Amounts are decimal strings. An answer leaves when all that it reveals is on \
         disk.</p>\n<nav>",
    );
    for tag in openapi::tags() {
        push(&mut body, format_args!("<h2>{tag}</h2>\n<ul>"));
        for route in of_tag(tag) {
            push(
                &mut body,
                format_args!(
                    "<li><a href=\"#{}\">{}</a></li>\n",
                    route.operation_id,
                    describe(route.operation).summary
                ),
            );
        }
        body.push_str("</ul>\n");
    }
    body.push_str("<h2>Objects</h2>\n<ul>");
    for schema in schemas::SCHEMAS {
        push(&mut body, format_args!("<li><a href=\"#{0}\">{0}</a></li>\n", schema.name));
    }
    body.push_str("</ul></nav>\n");
    for tag in openapi::tags() {
        for route in of_tag(tag) {
            push_route(&mut body, route);
        }
    }
    for schema in schemas::SCHEMAS {
        push_schema(&mut body, schema);
    }
    page("Munim: the API", &body)
}

fn of_tag(tag: &str) -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(move |route| describe(route.operation).tag == tag)
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string cannot fail");
}

fn push_route(out: &mut String, route: &Route) {
    let about = describe(route.operation);
    push(
        out,
        format_args!(
            "<section id=\"{}\"><h3><span class=\"method\">{}</span> <code>{}</code></h3>\n<p><b>{}.</b> {}</p>\n",
            route.operation_id,
            route.method,
            escaped(route.pattern),
            about.summary,
            escaped(about.about)
        ),
    );
    if route.class == Class::Money {
        out.push_str("<p>Needs an <code>Idempotency-Key</code>.</p>\n");
    }
    push_parameters(out, about.parameters);
    if let Some(body) = about.body {
        let text = format!("{:#}", example_of(body));
        push(out, format_args!("<p>Takes <a href=\"#{0}\">{0}</a>:</p>\n<pre>{1}</pre>\n", body.name, escaped(&text)));
    }
    let statuses: Vec<String> = about.statuses.iter().map(u16::to_string).collect();
    let gives = match about.gives {
        Gives::One(schema) => format!("<a href=\"#{0}\">{0}</a>", schema.name),
        Gives::Page(schema) => format!("a list of <a href=\"#{0}\">{0}</a>", schema.name),
        Gives::Text | Gives::Json => "a text".to_owned(),
    };
    let media = route.gives.join(", ");
    push(out, format_args!("<p>Answers {} with {gives} as {media}.</p>\n<p>Refuses with ", statuses.join(" or ")));
    let mut last = "";
    for code in operations::codes(route) {
        let facts = code.facts();
        if facts.name != last {
            push(out, format_args!("<a href=\"/problems/{0}\"><code>{0}</code></a> ({1}) ", facts.name, facts.status));
        }
        last = facts.name;
    }
    out.push_str("</p></section>\n");
}

fn push_parameters(out: &mut String, parameters: &[Parameter]) {
    if parameters.is_empty() {
        return;
    }
    out.push_str("<table><tr><th>query</th><th>value</th><th>what</th></tr>\n");
    for parameter in parameters {
        let value = match parameter.kind {
            Value::Flag => "true or false".to_owned(),
            Value::Date => "YYYY-MM-DD".to_owned(),
            Value::At => "YYYY-MM-DD or an instant".to_owned(),
            Value::Limit => "1 to 1000; 50 when absent".to_owned(),
            Value::Whole => "whole number".to_owned(),
            Value::Seq => "a seq".to_owned(),
            Value::Cursor => "an id".to_owned(),
            Value::Account => "acct_… or ext:…".to_owned(),
            Value::Entry => "je_…".to_owned(),
            Value::Named(prefix) => format!("{prefix}… or ext:…"),
            Value::Currency => "ISO 4217 code".to_owned(),
            Value::Text(like) => like.to_owned(),
            Value::OneOf(names) => names().join(", "),
            Value::Fields(row) => format!("fields of <a href=\"#{0}\">{0}</a>", row.name),
            Value::Expand(names) => names.join(", "),
        };
        push(
            out,
            format_args!(
                "<tr><td><code>{}</code></td><td>{value}</td><td>{}</td></tr>\n",
                parameter.name,
                escaped(parameter.about)
            ),
        );
    }
    out.push_str("</table>\n");
}

fn push_schema(out: &mut String, schema: &Schema) {
    push(out, format_args!("<section id=\"{0}\"><h3>{0}</h3>\n<p>{1}</p>\n", schema.name, escaped(schema.about)));
    if !schema.fields.is_empty() {
        out.push_str("<table><tr><th>field</th><th>value</th><th>there</th><th>what</th></tr>\n");
    }
    for field in schema.fields {
        let there = match field.need {
            Need::Always => "always",
            Need::OrNull => "or null",
            Need::Sometimes => "sometimes",
            Need::SometimesOrNull => "sometimes, or null",
        };
        let about = escaped(field.about);
        let words = escaped(&words_of(field.kind));
        push(
            out,
            format_args!(
                "<tr><td><code>{}</code></td><td>{words}</td><td>{there}</td><td>{about}</td></tr>\n",
                field.name
            ),
        );
    }
    if !schema.fields.is_empty() {
        out.push_str("</table>\n");
    }
    push(out, format_args!("<pre>{}</pre></section>\n", escaped(&format!("{:#}", example_of(schema)))));
}

/// The list of all codes.
#[must_use]
pub fn problems_page() -> Vec<u8> {
    let mut rows = String::new();
    let mut last = "";
    for code in all_codes() {
        let facts = code.facts();
        // A code with a second status for ids in the path has one page.
        if facts.name != last {
            push(
                &mut rows,
                format_args!("<li><a href=\"/problems/{0}\"><code>{0}</code></a> {1}</li>\n", facts.name, facts.title),
            );
        }
        last = facts.name;
    }
    page("Problems", &format!("<ul>\n{rows}</ul>")).into_bytes()
}

/// The page of one code, or `None` when there is no such code.
#[must_use]
pub fn problem_page(name: &str) -> Option<Vec<u8>> {
    let codes: Vec<Code> = all_codes().filter(|code| code.facts().name == name).collect();
    let facts = codes.first()?.facts();
    let mut body = format!("<p><code>{}</code></p>\n", facts.name);
    for code in &codes {
        let place = if codes.len() > 1 && code.facts().status == 404 { " (for an id in the path)" } else { "" };
        push(&mut body, format_args!("<p>Status {}{place}.</p>\n", code.facts().status));
        if let Code::Books(reject) = code {
            push(&mut body, format_args!("<p>{}</p>\n", escaped(&reject_detail(Reject::of(*reject)))));
        }
    }
    body.push_str(if facts.retryable {
        "<p>Retryable: the same request may succeed later.</p>"
    } else {
        "<p>Not retryable: the same request will be refused again.</p>"
    });
    body.push_str("\n<p>Routes that refuse with it: ");
    for route in ROUTES.iter().filter(|route| operations::codes(route).iter().any(|code| code.facts().name == name)) {
        push(&mut body, format_args!("<a href=\"/docs#{0}\"><code>{0}</code></a> ", route.operation_id));
    }
    body.push_str("</p>\n<p><a href=\"/problems\">All problems</a></p>");
    Some(page(facts.title, &body).into_bytes())
}

fn page(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><link rel=\"stylesheet\" href=\"/docs/style.css\"></head>\n\
         <body><h1>{title}</h1>\n{body}\n</body></html>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_page() {
        let list = String::from_utf8(problems_page()).unwrap();
        for code in all_codes() {
            let name = code.facts().name;
            assert!(list.contains(&format!("/problems/{name}\"")));
            let page = String::from_utf8(problem_page(name).unwrap()).unwrap();
            assert!(page.contains(&code.facts().status.to_string()), "{name}");
        }
        assert_eq!(problem_page("../secret"), None);
    }

    #[test]
    fn the_reference_shows_every_route_and_leads_nowhere_else() {
        let page = reference_page();
        for route in ROUTES {
            assert!(page.contains(&format!("<section id=\"{}\">", route.operation_id)), "{}", route.operation_id);
        }
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"));
        for target in page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(page.contains(&format!("id=\"{target}\"")), "{target}");
        }
    }
}
