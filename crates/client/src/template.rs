//! Owns `RequestTemplate`: what each request of a session is made from, and where it leads.

use std::fmt;

use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_LOCATION, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, PROXY_AUTHORIZATION,
};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use tidings_proto::EventId;
use tidings_proto::headers::{EVENT_STREAM, LAST_EVENT_ID, NO_CACHE};

use crate::attempt::Attempt;
use crate::credentials;
use crate::transport::TransportError;
use crate::url::{is_same_origin, resolve};

/// Headers that say what a body is, and go with it.
const OF_THE_BODY: [HeaderName; 5] = [
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_LOCATION,
    CONTENT_TYPE,
];

#[derive(Clone)]
pub(crate) struct RequestTemplate {
    /// As the caller asks.
    pub(crate) method: Method,
    pub(crate) asked_url: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The headers of this attempt, where the caller has changed them.
    changed_headers: Option<HeaderMap>,
    /// Where the next request goes.
    target: Target,
    /// Where the last stream was: each attempt begins there.
    settled: Target,
}

#[derive(Clone)]
struct Target {
    /// The URL that the caller asks for: credentials are for its origin alone.
    named_url: Uri,
    /// That, or where redirects have led to.
    url: Uri,
    /// A redirect has made a GET of it, which has no body.
    became_get: bool,
}

impl Target {
    fn named(url: Uri) -> Self {
        Self {
            named_url: url.clone(),
            url,
            became_get: false,
        }
    }
}

impl RequestTemplate {
    pub(crate) fn new(method: Method, url: Uri) -> Self {
        let (url, authorization) = credentials::take_from(url);
        let authorization = authorization.map(|value| (AUTHORIZATION, value));
        let target = Target::named(url.clone());
        Self {
            method,
            asked_url: url,
            headers: authorization.into_iter().collect(),
            body: Bytes::new(),
            changed_headers: None,
            settled: target.clone(),
            target,
        }
    }

    /// Asks for another URL.
    pub(crate) fn set_url(&mut self, url: Uri) {
        self.target = Target::named(url.clone());
        self.settled = self.target.clone();
        self.asked_url = url;
    }

    /// Where the next request goes.
    pub(crate) fn url(&self) -> &Uri {
        &self.target.url
    }

    /// Another attempt begins: redirects that led to no stream are forgotten, as the next may lead
    /// elsewhere.
    pub(crate) fn begin(&mut self) {
        self.target = self.settled.clone();
    }

    /// What the caller may change of the next attempt.
    pub(crate) fn attempt(&self, number: u32) -> Attempt {
        Attempt {
            number,
            url: self.asked_url.clone(),
            headers: self.headers.clone(),
        }
    }

    /// The attempt is as the caller has changed it.
    pub(crate) fn change(&mut self, attempt: Attempt) {
        // As long as the caller asks for the same URL, the last redirect counts.
        if attempt.url != self.target.named_url {
            self.target = Target::named(attempt.url);
        }
        self.changed_headers = Some(attempt.headers);
    }

    /// Goes on where a transport was redirected to.
    pub(crate) fn follow(&mut self, url: Uri) {
        // What a server says is nobody's password.
        (self.target.url, _) = credentials::take_from(url);
    }

    /// The stream is open: where redirects have led to is kept.
    pub(crate) fn handle_open(&mut self) {
        self.settled = self.target.clone();
    }

    /// Whether a redirect has led elsewhere than the caller said.
    pub(crate) fn is_redirected(&self) -> bool {
        self.target.url != self.target.named_url
    }

    pub(crate) fn request(&self, last_event_id: Option<&EventId>) -> Request<Bytes> {
        let Target {
            named_url,
            url,
            became_get,
        } = &self.target;
        let mut request = Request::default();
        if *became_get {
            *request.method_mut() = Method::GET;
        } else {
            *request.method_mut() = self.method.clone();
            *request.body_mut() = self.body.clone();
        }
        *request.uri_mut() = url.clone();
        let headers = request.headers_mut();
        let is_named_origin = is_same_origin(url, named_url);
        for (name, value) in self.changed_headers.as_ref().unwrap_or(&self.headers) {
            let has_a_body = !became_get || !OF_THE_BODY.contains(name);
            if has_a_body && (is_named_origin || !is_for_named_origin(name, value)) {
                headers.append(name, value.clone());
            }
        }
        headers.insert(ACCEPT, HeaderValue::from_static(EVENT_STREAM));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(NO_CACHE));
        headers.remove(LAST_EVENT_ID);
        let id = last_event_id.and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok());
        if let Some(id) = id {
            headers.insert(HeaderName::from_static(LAST_EVENT_ID), id);
        }
        request
    }

    /// Lets the next request go where a redirect leads, and all after it once a stream is open
    /// there.
    ///
    /// Spec: [HTTP-redirect fetch](https://fetch.spec.whatwg.org/#http-redirect-fetch).
    pub(crate) fn redirect(&mut self, status: StatusCode, to: &str) -> Result<(), TransportError> {
        let from = &self.target.url;
        let url = resolve(from, to)?;
        let downgrades = from.scheme_str() == Some("https") && url.scheme_str() == Some("http");
        if downgrades {
            return Err("an https URL redirects to http".into());
        }
        self.target.became_get |= match status {
            StatusCode::SEE_OTHER => self.method != Method::HEAD,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            _ => false,
        };
        self.follow(url);
        Ok(())
    }
}

// Neither the query nor the headers: both may hold secrets.
impl fmt::Debug for RequestTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestTemplate")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// Whether a header is for the origin that the caller named, and for no other.
fn is_for_named_origin(name: &HeaderName, value: &HeaderValue) -> bool {
    value.is_sensitive() || [AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION].contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(method: Method, url: &str) -> RequestTemplate {
        RequestTemplate::new(method, url.parse().unwrap())
    }

    #[test]
    fn credentials_go_only_to_the_origin_that_was_named() {
        let mut template = template(Method::GET, "http://a.test/");
        template
            .headers
            .insert(AUTHORIZATION, HeaderValue::from_static("secret"));
        template
            .headers
            .insert(COOKIE, HeaderValue::from_static("secret"));
        template
            .headers
            .insert(HOST, HeaderValue::from_static("secret"));
        template
            .headers
            .insert("x-mine", HeaderValue::from_static("1"));
        let mut key = HeaderValue::from_static("secret");
        key.set_sensitive(true);
        template.headers.insert("x-key", key);
        for (location, secrets) in [
            ("/x", 4),
            ("http://b.test/", 0),
            ("/y", 0),
            ("https://a.test/", 0),
        ] {
            template.redirect(StatusCode::FOUND, location).unwrap();
            let request = template.request(None);
            let sent = request
                .headers()
                .values()
                .filter(|value| *value == "secret")
                .count();
            assert_eq!(sent, secrets, "{location}");
            assert!(request.headers().contains_key("x-mine"));
            assert!(!request.headers().contains_key("referer"));
        }
    }

    #[test]
    fn a_redirect_may_turn_a_post_into_a_get() {
        for (status, method) in [
            (301, "GET"),
            (302, "GET"),
            (303, "GET"),
            (307, "POST"),
            (308, "POST"),
        ] {
            let mut template = template(Method::POST, "http://a.test/");
            template.body = "prompt".into();
            template
                .redirect(StatusCode::from_u16(status).unwrap(), "/b")
                .unwrap();
            let request = template.request(None);
            assert_eq!(request.method(), method, "{status}");
            assert_eq!(request.body().is_empty(), method == "GET", "{status}");
        }
    }

    #[test]
    fn nothing_leads_from_https_to_http() {
        let mut template = template(Method::GET, "https://a.test/");
        assert!(
            template
                .redirect(StatusCode::FOUND, "http://a.test/")
                .is_err()
        );
        assert!(template.redirect(StatusCode::FOUND, "//b.test/").is_ok());
    }
}
