//! `RequestTemplate`: the parts of each request of a session, and where redirects lead it.

use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE,
    CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, COOKIE, Entry, HOST, HeaderMap, HeaderName,
    PROXY_AUTHORIZATION, TRANSFER_ENCODING,
};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use tidings_proto::EventId;
use tidings_proto::headers::{EVENT_STREAM, LAST_EVENT_ID, NO_CACHE};

use crate::Error;
use crate::attempt::Attempt;
use crate::credentials;
use crate::transport::TransportError;
use crate::url::{is_same_origin, resolve};

/// Headers that describe a body. A request without a body has none of them.
const OF_THE_BODY: [HeaderName; 5] = [
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_LOCATION,
    CONTENT_TYPE,
];

/// The `Accept` of a request that also accepts a response that is no stream.
const STREAM_OR_JSON: &str = "text/event-stream, application/json";

/// A header, unless its name or its value is invalid.
pub(crate) fn parse_header<N, V>(
    name: N,
    value: V,
) -> Result<(HeaderName, HeaderValue), http::Error>
where
    HeaderName: TryFrom<N, Error: Into<http::Error>>,
    HeaderValue: TryFrom<V, Error: Into<http::Error>>,
{
    let name = HeaderName::try_from(name).map_err(Into::into)?;
    let value = HeaderValue::try_from(value).map_err(Into::into)?;
    Ok((name, value))
}

#[derive(Clone)]
pub(crate) struct RequestTemplate {
    /// As the caller asked.
    pub(crate) method: Method,
    pub(crate) asked_url: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether the caller also accepts a response that is no stream.
    accepts_responses: bool,
    /// The headers of this attempt, if the `before_connect` hook has seen them.
    changed_headers: Option<HeaderMap>,
    /// Where the next request goes.
    target: Target,
    /// Where the last stream was open. Each attempt begins there.
    settled: Target,
}

#[derive(Clone)]
struct Target {
    /// The URL that the caller asked for. Credentials go to its origin alone.
    named_url: Uri,
    /// The named URL, or the URL that redirects led to.
    url: Uri,
    /// Whether a redirect has turned the request into a GET without a body.
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
    /// A request with these headers. A name and a password in the URL replace an `Authorization`.
    pub(crate) fn new(
        method: Method,
        url: Uri,
        mut headers: HeaderMap,
    ) -> Result<Self, http::Error> {
        let (url, authorization) = credentials::take_from(url)?;
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value);
        }
        let target = Target::named(url.clone());
        Ok(Self {
            method,
            asked_url: url,
            headers,
            body: Bytes::new(),
            accepts_responses: false,
            changed_headers: None,
            settled: target.clone(),
            target,
        })
    }

    /// Requests another URL.
    pub(crate) fn set_url(&mut self, url: Uri) {
        self.target = Target::named(url.clone());
        self.settled = self.target.clone();
        self.asked_url = url;
    }

    /// Also accepts a response that is no stream.
    pub(crate) fn accept_responses(&mut self) {
        self.accepts_responses = true;
    }

    /// Where the next request goes.
    pub(crate) fn url(&self) -> &Uri {
        &self.target.url
    }

    /// Begins another attempt. Forgets redirects that led to no stream, as the next may lead to
    /// another URL.
    pub(crate) fn begin(&mut self) {
        self.target = self.settled.clone();
    }

    /// The parts of the next attempt that the `before_connect` hook may change.
    pub(crate) fn attempt(&self, number: u32, last_error: Option<Error>) -> Attempt {
        Attempt {
            number,
            last_error,
            url: self.asked_url.clone(),
            headers: self.headers.clone(),
        }
    }

    /// Sends the attempt as the hook has changed it.
    ///
    /// # Errors
    /// A header that the hook set cannot be sent.
    pub(crate) fn change(&mut self, attempt: Attempt) -> Result<(), UnsendableHeader> {
        if attempt.headers.contains_key(LAST_EVENT_ID) {
            return Err(UnsendableHeader::LastEventId);
        }
        check_framing(&attempt.headers, &self.body)?;
        // While the caller asks for the same URL, the last redirect still applies.
        if attempt.url != self.target.named_url {
            self.target = Target::named(attempt.url);
        }
        self.changed_headers = Some(attempt.headers);
        Ok(())
    }

    /// Checks that every header can be sent as it is.
    pub(crate) fn check(&self) -> Result<(), UnsendableHeader> {
        check_framing(&self.headers, &self.body)
    }

    /// Whether the caller chooses the content codings of a response.
    pub(crate) fn sets_accept_encoding(&self) -> bool {
        self.sent_headers().contains_key(ACCEPT_ENCODING)
    }

    /// The headers of this attempt that are not the session's own.
    fn sent_headers(&self) -> &HeaderMap {
        self.changed_headers.as_ref().unwrap_or(&self.headers)
    }

    /// Continues at the URL that a redirect led to.
    ///
    /// # Errors
    /// The URL is invalid without its user information.
    pub(crate) fn follow(&mut self, url: Uri) -> Result<(), http::Error> {
        // A password in a redirect is not one of the caller's.
        (self.target.url, _) = credentials::take_from(url)?;
        Ok(())
    }

    /// The stream is open: later attempts begin at its URL.
    pub(crate) fn handle_open(&mut self) {
        self.settled = self.target.clone();
    }

    /// Whether a redirect has led to another URL than the caller named.
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
        // Without a length, servers and proxies answer 411, or wait for a body.
        let has_content = [Method::POST, Method::PUT, Method::PATCH].contains(request.method());
        let is_empty_content = has_content && request.body().is_empty();
        let headers = request.headers_mut();
        let is_named_origin = is_same_origin(url, named_url);
        for (name, value) in self.sent_headers() {
            let has_a_body = !became_get || !OF_THE_BODY.contains(name);
            if has_a_body && (is_named_origin || !is_for_named_origin(name, value)) {
                headers.append(name, value.clone());
            }
        }
        let accepted = match self.accepts_responses {
            true => STREAM_OR_JSON,
            false => EVENT_STREAM,
        };
        fill_in(headers, ACCEPT, accepted);
        fill_in(headers, CACHE_CONTROL, NO_CACHE);
        if is_empty_content {
            fill_in(headers, CONTENT_LENGTH, "0");
        }
        if let Some(id) = last_event_id {
            let Ok(id) = HeaderValue::from_bytes(id.as_bytes()) else {
                unreachable!("the state machine sends only an ID that a header can carry");
            };
            headers.insert(HeaderName::from_static(LAST_EVENT_ID), id);
        }
        request
    }

    /// Sends the next request to the URL that a redirect leads to, and all later ones once a stream is
    /// open there.
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
        self.follow(url)?;
        Ok(())
    }
}

// Shows neither the query nor the headers: both may hold secrets.
impl fmt::Debug for RequestTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestTemplate")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// Sends this header, unless the caller set another value.
fn fill_in(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    if let Entry::Vacant(header) = headers.entry(name) {
        header.insert(HeaderValue::from_static(value));
    }
}

/// Checks the headers that tell where the body ends: the transport would send others in their place,
/// or the server would wait for the rest of the body.
fn check_framing(headers: &HeaderMap, body: &Bytes) -> Result<(), UnsendableHeader> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(UnsendableHeader::TransferEncoding);
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).into_iter();
    match lengths.all(|length| *length == body.len().to_string()) {
        true => Ok(()),
        false => Err(UnsendableHeader::ContentLength),
    }
}

/// The error for a header that the caller set and that cannot be sent.
#[derive(Debug)]
pub(crate) enum UnsendableHeader {
    ContentLength,
    LastEventId,
    TransferEncoding,
}

impl fmt::Display for UnsendableHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ContentLength => "Content-Length differs from the length of the body",
            Self::LastEventId => {
                "Last-Event-ID is the session's own: set it by RequestBuilder::last_event_id"
            }
            Self::TransferEncoding => "Transfer-Encoding belongs to the transport",
        })
    }
}

impl StdError for UnsendableHeader {}

/// Whether a header goes only to the origin that the caller named.
fn is_for_named_origin(name: &HeaderName, value: &HeaderValue) -> bool {
    value.is_sensitive() || [AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION].contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(method: Method, url: &str) -> RequestTemplate {
        RequestTemplate::new(method, url.parse().unwrap(), HeaderMap::new()).unwrap()
    }

    #[test]
    fn credentials_go_only_to_the_named_origin() {
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
    fn a_redirect_from_https_to_http_is_refused() {
        let mut template = template(Method::GET, "https://a.test/");
        assert!(
            template
                .redirect(StatusCode::FOUND, "http://a.test/")
                .is_err()
        );
        assert!(template.redirect(StatusCode::FOUND, "//b.test/").is_ok());
    }
}
