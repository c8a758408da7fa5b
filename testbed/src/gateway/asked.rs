//! What was asked.

use std::collections::BTreeMap;
use std::time::Instant;

use http::request::Parts;
use hyper::body::Bytes;

/// The resource that rules are about as a rule.
const RESOURCE: &str = "diagnosticsdirectives";

/// One request, as the journal keeps it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Asked {
    /// Its place in the journal.
    pub number: usize,
    /// When it arrived.
    pub at: Instant,
    /// `GET`, `PATCH` and so on.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, decoded.
    pub query: BTreeMap<String, String>,
    /// What the client says in `Authorization`.
    pub authorization: String,
    /// What it sent.
    pub body: String,
    /// The status of the answer; none while there is none. A client that has gone meanwhile never got it.
    pub status: Option<u16>,
}

impl Asked {
    pub(super) fn new(head: &Parts, body: &Bytes) -> Self {
        let authorization = head.headers.get(http::header::AUTHORIZATION);
        Self {
            number: 0,
            at: Instant::now(),
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: query(head.uri.query().unwrap_or_default()),
            authorization: authorization
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned(),
            body: String::from_utf8_lossy(body).into_owned(),
            status: None,
        }
    }

    /// A list of directives, any page of it.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.is_collection() && !self.query.contains_key("watch")
    }

    /// A further page of a list.
    #[must_use]
    pub fn is_next_page(&self) -> bool {
        self.is_list() && self.query.contains_key("continue")
    }

    /// The start of a watch on directives.
    #[must_use]
    pub fn is_watch(&self) -> bool {
        self.is_collection() && self.query.contains_key("watch")
    }

    /// The start of a watch on anything.
    pub(super) fn streams(&self) -> bool {
        self.method == "GET" && self.query.contains_key("watch")
    }

    /// The writing of a directive's status.
    #[must_use]
    pub fn is_status(&self) -> bool {
        self.method == "PATCH" && self.path.contains(RESOURCE) && self.path.ends_with("/status")
    }

    /// The sending of an Event.
    #[must_use]
    pub fn is_event(&self) -> bool {
        self.method != "GET" && self.path.contains("/events")
    }

    /// A look at a CustomResourceDefinition.
    #[must_use]
    pub fn is_definition(&self) -> bool {
        self.method == "GET" && self.path.contains("/customresourcedefinitions/")
    }

    /// The value of a part of the query, and nothing where it is not there.
    #[must_use]
    pub fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    fn is_collection(&self) -> bool {
        self.method == "GET" && self.path.ends_with(&format!("/{RESOURCE}"))
    }
}

fn query(text: &str) -> BTreeMap<String, String> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

/// Percent-decoding, with `+` for a blank.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'%')
            .then(|| std::str::from_utf8(after.get(..2)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = if escaped.is_some() {
            &after[2..]
        } else {
            after
        };
        let plain = if first == b'+' { b' ' } else { first };
        bytes.push(escaped.unwrap_or(plain));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, uri: &str) -> Asked {
        let request = http::Request::builder().method(method).uri(uri);
        let (head, ()) = request.body(()).unwrap().into_parts();
        Asked::new(&head, &Bytes::new())
    }

    #[test]
    fn a_request_is_told_by_what_it_asks_for() {
        let all = "/apis/osproxy.io/v1alpha1/diagnosticsdirectives";
        let list = asked("GET", &format!("{all}?limit=500"));
        assert!(list.is_list() && !list.is_next_page() && !list.is_watch());
        let page = asked("GET", &format!("{all}?limit=500&continue=a%3Db%25"));
        assert!(page.is_list() && page.is_next_page());
        assert_eq!(page.parameter("continue"), "a=b%");
        let watch = asked("GET", &format!("{all}?&watch=true&resourceVersion=7"));
        assert!(watch.is_watch() && !watch.is_list());
        assert_eq!(watch.parameter("resourceVersion"), "7");
        let one = "/apis/osproxy.io/v1alpha1/namespaces/a/diagnosticsdirectives/b";
        assert!(!asked("GET", one).is_list());
        assert!(asked("PATCH", &format!("{one}/status?force=true")).is_status());
        assert!(asked("POST", "/apis/events.k8s.io/v1/namespaces/a/events").is_event());
    }

    #[test]
    fn what_is_not_escaped_stays() {
        assert_eq!(decoded("a%2Fb%zz%4"), "a/b%zz%4");
    }
}
