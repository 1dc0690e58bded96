//! Pages behind the `type` of problem documents: what each code means, from the same table.

use super::problem::{Code, all_codes, reject_detail};
use crate::domain::reject::Reject;

/// The list of all codes.
#[must_use]
pub fn problems_page() -> Vec<u8> {
    let mut rows = String::new();
    let mut last = "";
    for code in all_codes() {
        let facts = code.facts();
        // A code with a second status for ids in the path has one page.
        if facts.name != last {
            rows.push_str(&format!(
                "<li><a href=\"/problems/{0}\"><code>{0}</code></a> {1}</li>\n",
                facts.name, facts.title
            ));
        }
        last = facts.name;
    }
    page("Problems", &format!("<ul>\n{rows}</ul>"))
}

/// The page of one code, or `None` when there is no such code.
#[must_use]
pub fn problem_page(name: &str) -> Option<Vec<u8>> {
    let codes: Vec<Code> = all_codes().filter(|code| code.facts().name == name).collect();
    let facts = codes.first()?.facts();
    let mut body = format!("<p><code>{}</code></p>\n", facts.name);
    for code in &codes {
        let place = if codes.len() > 1 && code.facts().status == 404 { " (for an id in the path)" } else { "" };
        body.push_str(&format!("<p>Status {}{place}.</p>\n", code.facts().status));
        if let Code::Books(reject) = code {
            body.push_str(&format!("<p>{}</p>\n", escaped(&reject_detail(Reject::of(*reject)))));
        }
    }
    body.push_str(if facts.retryable {
        "<p>Retryable: the same request may succeed later.</p>"
    } else {
        "<p>Not retryable: the same request will be refused again.</p>"
    });
    Some(page(facts.title, &body))
}

fn page(title: &str, body: &str) -> Vec<u8> {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body><h1>{title}</h1>\n{body}\n</body></html>\n"
    )
    .into_bytes()
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
}
