//! Owns content codings: which of them a client asks for, and how a response names its own.

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
    /// The one that the client likes best, or `None` for the plain stream.
    ///
    /// A client that asks for nothing gets the plain stream, and so does one that refuses even
    /// that. What is malformed is passed over, and of what is named twice the lower weight counts.
    ///
    /// Spec: [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3).
    pub(crate) fn negotiate(request: &HeaderMap) -> Option<Self> {
        let asked = Weights::of(request);
        let mut best = None;
        // What is named beats the plain stream at the same weight; unnamed, that comes last.
        let mut least = asked.identity.unwrap_or(0).max(1);
        for (coding, weight) in asked.codings() {
            if weight >= least {
                best = Some(coding);
                least = weight + 1;
            }
        }
        best
    }

    /// Says in a response's head what its body comes in, and that this depends on the request.
    pub(crate) fn describe(coding: Option<Self>, response: &mut HeaderMap) {
        response.append(VARY, HeaderValue::from_static("accept-encoding"));
        if let Some(coding) = coding {
            let name = HeaderValue::from_static(coding.name());
            response.insert(CONTENT_ENCODING, name);
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
        }
    }
}

/// How much a client likes each coding, in thousandths; `None` where it says nothing.
#[derive(Default)]
struct Weights {
    zstd: Option<u16>,
    gzip: Option<u16>,
    brotli: Option<u16>,
    identity: Option<u16>,
    /// Of all that is not named.
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

    /// The cheapest first: of those that are liked the same it is taken.
    fn codings(&self) -> [(Coding, u16); 3] {
        [
            (Coding::Zstd, self.zstd),
            (Coding::Gzip, self.gzip),
            (Coding::Brotli, self.brotli),
        ]
        .map(|(coding, weight)| (coding, weight.or(self.others).unwrap_or(0)))
    }
}

/// `gzip` or `gzip;q=0.5`.
fn weighted(part: &str) -> Option<(&str, u16)> {
    let Some((name, parameter)) = part.split_once(';') else {
        return Some((trimmed(part), 1000));
    };
    let (key, value) = trimmed(parameter).split_once('=')?;
    let weight = key.eq_ignore_ascii_case("q").then(|| thousandths(value))?;
    Some((trimmed(name), weight?))
}

/// Without the blanks that HTTP allows.
fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// A weight: 0 or 1, with at most three digits behind the point.
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
    fn who_asks_for_nothing_gets_the_plain_stream() {
        check_all(&[], PLAIN);
        check("", PLAIN);
        check(" , ,\t", PLAIN);
        check("identity", PLAIN);
        check("deflate, compress, dcb", PLAIN);
    }

    #[test]
    fn of_what_is_liked_the_same_the_cheapest_is_taken() {
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
    fn what_has_no_weight_is_refused() {
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
    fn who_refuses_everything_gets_the_plain_stream() {
        check("identity;q=0", PLAIN);
        check("identity;q=0, *;q=0", PLAIN);
        check("identity;q=0, deflate", PLAIN);
        check("identity;q=0, gzip", GZIP);
        check("identity;q=0, *", ZSTD);
    }

    #[test]
    fn case_and_blanks_do_not_matter() {
        check("GZip", GZIP);
        check("X-GZIP", GZIP);
        check("\tbr ; Q=0.5 , ZSTD\t;\tq=0.25", BROTLI);
        check(",,br,,", BROTLI);
    }

    #[test]
    fn repeated_headers_are_one() {
        check_all(&[b"br;q=0.5", b"", b"gzip"], GZIP);
        check_all(&[b"gzip", b"gzip;q=0"], PLAIN);
    }

    #[test]
    fn what_is_malformed_is_passed_over() {
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
