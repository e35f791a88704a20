//! The page at `/`: its files are in the program, and it may use nothing else.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::app::App;

/// A file of the page.
#[derive(Debug, Clone, Copy)]
struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! file {
    ($path:literal, $name:literal, $kind:literal) => {
        File {
            path: $path,
            kind: $kind,
            text: include_str!(concat!("page/", $name)),
        }
    };
}

const FILES: [File; 8] = [
    file!("/", "index.html", "text/html; charset=utf-8"),
    file!("/page.css", "page.css", "text/css; charset=utf-8"),
    file!("/page.js", "page.js", "text/javascript; charset=utf-8"),
    file!(
        "/channels.js",
        "channels.js",
        "text/javascript; charset=utf-8"
    ),
    file!(
        "/session.js",
        "session.js",
        "text/javascript; charset=utf-8"
    ),
    file!("/stream.js", "stream.js", "text/javascript; charset=utf-8"),
    file!("/json.js", "json.js", "text/javascript; charset=utf-8"),
    file!("/page.svg", "page.svg", "image/svg+xml"),
];

/// What the page may do: nothing but use its own files and the server's routes.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn routes() -> Router<App> {
    FILES.into_iter().fold(Router::new(), |router, file| {
        let tag = file.tag();
        router.route(
            file.path,
            get(async move |headers: HeaderMap| file.response(&tag, &headers)),
        )
    })
}

/// Whether the page has a file at this path.
pub(super) fn is_file(path: &str) -> bool {
    FILES.iter().any(|file| file.path == path)
}

impl File {
    /// An entity tag, which differs if the text does.
    fn tag(self) -> String {
        let mut hasher = DefaultHasher::new();
        self.text.hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }

    /// The file, or 304 if the client has it.
    fn response(self, tag: &str, request: &HeaderMap) -> Response {
        let headers = [
            (CONTENT_TYPE, self.kind),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            // A client asks each time, so a new version of the program never meets an old file.
            (CACHE_CONTROL, "no-cache"),
            (ETAG, tag),
        ];
        if is_known(request, tag) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, self.text).into_response()
    }
}

/// Whether the client has a file of this tag, by [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#field.if-none-match).
fn is_known(request: &HeaderMap, tag: &str) -> bool {
    let values = request.get_all(IF_NONE_MATCH).iter();
    let mut tags = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    tags.any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(known: &[&'static str], file: File) -> StatusCode {
        let mut headers = HeaderMap::new();
        for value in known {
            headers.append(IF_NONE_MATCH, value.parse().unwrap());
        }
        file.response("\"a\"", &headers).status()
    }

    #[test]
    fn a_file_that_the_client_has_is_not_sent_again() {
        let file = FILES[0];
        assert_eq!(status(&[], file), StatusCode::OK);
        assert_eq!(status(&["\"b\""], file), StatusCode::OK);
        for known in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert_eq!(status(&[known], file), StatusCode::NOT_MODIFIED, "{known}");
        }
        assert_eq!(status(&["\"b\"", "\"a\""], file), StatusCode::NOT_MODIFIED);
    }

    #[test]
    fn each_file_has_a_tag_of_its_own() {
        let tags = FILES.map(File::tag);
        assert!((1..tags.len()).all(|n| !tags[..n].contains(&tags[n])));
    }

    #[test]
    fn the_page_names_no_outside_address() {
        for file in FILES {
            for found in file
                .text
                .match_indices("//")
                .map(|(at, _)| &file.text[at..])
            {
                // The namespace of SVG is a name, and no address that a browser asks.
                let is_namespace = found.starts_with("//www.w3.org/2000/svg\"");
                let is_comment = found.starts_with("// ") || found.starts_with("//\n");
                assert!(is_namespace || is_comment, "{}: {:.40}", file.path, found);
            }
        }
    }
}
