//! `Coding`: the content coding of a stream, chosen by the client's `Accept-Encoding`.

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue};

/// A coding that a stream can be sent in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Zstd,
    Gzip,
    Brotli,
}

impl Coding {
    /// The coding that the client prefers, or `None` for the plain stream.
    ///
    /// A client without `Accept-Encoding` gets the plain stream, and so does a client that refuses
    /// every coding and the plain stream too. Malformed entries are ignored. If a coding is named
    /// twice, its lower weight counts.
    ///
    /// Spec: [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3).
    pub(crate) fn negotiate(request: &HeaderMap) -> Option<Self> {
        let asked = Weights::of(request);
        let mut best = None;
        // A coding wins over the plain stream at the same weight. If `identity` is not named, it has
        // the lowest weight.
        let mut least = asked.identity.unwrap_or(0).max(1);
        for (coding, weight) in asked.codings() {
            if weight >= least {
                best = Some(coding);
                least = weight + 1;
            }
        }
        best
    }

    /// Sets `Content-Encoding`.
    pub(crate) fn describe(self, response: &mut HeaderMap) {
        let name = HeaderValue::from_static(self.name());
        response.insert(CONTENT_ENCODING, name);
    }

    /// Sets the `Vary` that makes the response depend on the request.
    pub(crate) fn vary(response: &mut HeaderMap) {
        response.append(VARY, HeaderValue::from_static("accept-encoding"));
    }

    fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
        }
    }
}

/// The weight that a client gives each coding, in thousandths. `None` if it does not name the coding.
#[derive(Default)]
struct Weights {
    zstd: Option<u16>,
    gzip: Option<u16>,
    brotli: Option<u16>,
    identity: Option<u16>,
    /// The weight of every coding that is not named: `*`.
    others: Option<u16>,
}

impl Weights {
    fn of(request: &HeaderMap) -> Self {
        let mut weights = Self::default();
        for value in request.get_all(ACCEPT_ENCODING) {
            for part in value.as_bytes().split(|byte| *byte == b',') {
                if let Some((name, weight)) = std::str::from_utf8(part).ok().and_then(weighted) {
                    weights.add(name, weight);
                }
            }
        }
        weights.identity = weights.identity.or(weights.others);
        weights
    }

    fn add(&mut self, name: &str, weight: u16) {
        let known = match name.to_ascii_lowercase().as_str() {
            "zstd" => &mut self.zstd,
            "gzip" | "x-gzip" => &mut self.gzip,
            "br" => &mut self.brotli,
            "identity" => &mut self.identity,
            "*" => &mut self.others,
            _ => return,
        };
        *known = Some(known.map_or(weight, |before| before.min(weight)));
    }

    /// The codings, the cheapest first. It is chosen among codings of the same weight.
    fn codings(&self) -> [(Coding, u16); 3] {
        [
            (Coding::Zstd, self.zstd),
            (Coding::Gzip, self.gzip),
            (Coding::Brotli, self.brotli),
        ]
        .map(|(coding, weight)| (coding, weight.or(self.others).unwrap_or(0)))
    }
}

/// The name and the weight of an entry such as `gzip` or `gzip;q=0.5`.
fn weighted(part: &str) -> Option<(&str, u16)> {
    let Some((name, parameter)) = part.split_once(';') else {
        return Some((trimmed(part), 1000));
    };
    let (key, value) = trimmed(parameter).split_once('=')?;
    let weight = key.eq_ignore_ascii_case("q").then(|| thousandths(value))?;
    Some((trimmed(name), weight?))
}

/// Without the spaces and tabs that HTTP allows around a token.
fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// A weight in thousandths. Its text is 0 to 1, with at most three digits after the point.
///
/// Spec: [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-12.4.2).
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_all(headers: &[&[u8]], expected: Option<Coding>) {
        let mut request = HeaderMap::new();
        for value in headers {
            let value = HeaderValue::from_bytes(value).unwrap();
            request.append(ACCEPT_ENCODING, value);
        }
        let shown: Vec<_> = headers.iter().map(|h| String::from_utf8_lossy(h)).collect();
        assert_eq!(Coding::negotiate(&request), expected, "{shown:?}");
    }

    fn check(header: &str, expected: Option<Coding>) {
        check_all(&[header.as_bytes()], expected);
    }

    const PLAIN: Option<Coding> = None;
    const ZSTD: Option<Coding> = Some(Coding::Zstd);
    const GZIP: Option<Coding> = Some(Coding::Gzip);
    const BROTLI: Option<Coding> = Some(Coding::Brotli);

    #[test]
    fn a_client_that_names_no_coding_of_ours_gets_the_plain_stream() {
        check_all(&[], PLAIN);
        check("", PLAIN);
        check(" , ,\t", PLAIN);
        check("identity", PLAIN);
        check("deflate, compress, dcb", PLAIN);
    }

    #[test]
    fn of_equal_weights_the_cheapest_coding_wins() {
        check("gzip, deflate, br, zstd", ZSTD);
        check("gzip, deflate, br", GZIP);
        check("br", BROTLI);
        check("br;q=0.3, gzip;q=0.3, zstd;q=0.3", ZSTD);
        check("*", ZSTD);
        check("identity, br", BROTLI);
        check("identity, *", ZSTD);
    }

    #[test]
    fn the_highest_weight_wins() {
        check("zstd;q=0.1, gzip;q=0.2, br;q=0.15", GZIP);
        check("zstd;q=0.999, br;q=1.000", BROTLI);
        check("zstd;q=0.001, identity;q=0", ZSTD);
        check("gzip;q=0.5, identity", PLAIN);
        check("gzip;q=0.5, identity;q=0.501", PLAIN);
        check("gzip;q=0.5, identity;q=0.5", GZIP);
        check("gzip;q=0.5", GZIP);
        check("gzip;q=0.5, *", ZSTD);
        check("zstd;q=0.5, gzip;q=0.5, *", BROTLI);
    }

    #[test]
    fn a_weight_of_zero_refuses_a_coding() {
        check("gzip;q=0", PLAIN);
        check("gzip;q=0.000", PLAIN);
        check("zstd;q=0, gzip", GZIP);
        check("*;q=0", PLAIN);
        check("gzip, *;q=0", GZIP);
        check("*, zstd;q=0", GZIP);
        check("*, zstd;q=0, gzip;q=0, br;q=0", PLAIN);
        check("gzip;q=0, gzip", PLAIN);
        check("gzip, GZIP;q=0", PLAIN);
    }

    #[test]
    fn a_client_that_refuses_everything_gets_the_plain_stream() {
        check("identity;q=0", PLAIN);
        check("identity;q=0, *;q=0", PLAIN);
        check("identity;q=0, deflate", PLAIN);
        check("identity;q=0, gzip", GZIP);
        check("identity;q=0, *", ZSTD);
    }

    #[test]
    fn case_spaces_and_tabs_are_ignored() {
        check("GZip", GZIP);
        check("X-GZIP", GZIP);
        check("\tbr ; Q=0.5 , ZSTD\t;\tq=0.25", BROTLI);
        check(",,br,,", BROTLI);
    }

    #[test]
    fn repeated_headers_count_as_one() {
        check_all(&[b"br;q=0.5", b"", b"gzip"], GZIP);
        check_all(&[b"gzip", b"gzip;q=0"], PLAIN);
    }

    #[test]
    fn malformed_entries_are_ignored() {
        for part in [
            "zstd;q=",
            "zstd;q",
            "zstd;",
            "zstd;q=2",
            "zstd;q=1.001",
            "zstd;q=0.1234",
            "zstd;q=-0",
            "zstd;q=+1",
            "zstd;q=1e0",
            "zstd;q=0.+1",
            "zstd;q=.5",
            "zstd;q= 1",
            "zstd;q=٣",
            "zstd;level=9",
            "zstd;q=1;q=1",
            "zstd zstd",
            "zst",
            "zstd2",
            "\"zstd\"",
        ] {
            check(&format!("{part}, gzip;q=0.1"), GZIP);
            check(part, PLAIN);
        }
        check_all(&[b"\xff, gzip"], GZIP);
        check_all(&[b"zstd\xff, \x80;q=1, br"], BROTLI);
        check("zstd;q=0.", PLAIN);
        check("zstd;q=1.", ZSTD);
    }
}
