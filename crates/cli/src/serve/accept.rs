//! Whether a client prefers JSON to a stream of events, by its `Accept`.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// Whether the client gives `application/json` a higher weight than `text/event-stream`.
///
/// The most specific media range decides about each of the two, as RFC 9110 has it. A range that is not valid
/// is ignored.
pub(super) fn prefers_json(headers: &HeaderMap) -> bool {
    weight(headers, "application", "json") > weight(headers, "text", "event-stream")
}

/// The weight of a media type, from 0 to 1,000.
fn weight(headers: &HeaderMap, kind: &str, subtype: &str) -> u16 {
    let lines = headers.get_all(ACCEPT).iter();
    let ranges = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    let mut best = (0, 0);
    for (specificity, weight) in ranges.filter_map(|range| matching(range, kind, subtype)) {
        best = best.max((specificity, weight));
    }
    best.1
}

/// How specific the range is and its weight, if it has the media type.
fn matching(range: &str, kind: &str, subtype: &str) -> Option<(u8, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let (range_kind, range_subtype) = parts.next()?.split_once('/')?;
    let specificity = match (range_kind, range_subtype) {
        ("*", "*") => 1,
        (range_kind, "*") if range_kind.eq_ignore_ascii_case(kind) => 2,
        (range_kind, range_subtype)
            if range_kind.eq_ignore_ascii_case(kind)
                && range_subtype.eq_ignore_ascii_case(subtype) =>
        {
            3
        }
        _ => return None,
    };
    let weight = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let weight = weight.map_or(Some(1_000), parse_weight)?;
    Some((specificity, weight))
}

/// A weight has a digit before the point and up to three after it, and is at most 1.
fn parse_weight(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(accept: &[&'static str], expected: bool) {
        let mut headers = HeaderMap::new();
        for line in accept {
            headers.append(ACCEPT, HeaderValue::from_static(line));
        }
        assert_eq!(prefers_json(&headers), expected, "{accept:?}");
    }

    #[test]
    fn a_client_that_names_only_json_prefers_it() {
        check(&["application/json"], true);
        check(&["Application/JSON; charset=utf-8"], true);
        check(&["text/html, application/json"], true);
        check(&["application/*"], true);
        check(&["application/json;q=0.1"], true);
        check(&["application/json, */*;q=0.5"], true);
        check(&["text/html", "application/json"], true);
        check(&["application/json, text/event-stream;q=0"], true);
        check(&["application/json, text/event-stream;q=0.9"], true);
        check(
            &["text/event-stream;q=0.001, application/json;q=0.002"],
            true,
        );
    }

    #[test]
    fn any_other_client_receives_the_stream() {
        check(&[], false);
        check(&[""], false);
        check(&["*/*"], false);
        check(&["text/event-stream"], false);
        check(&["text/html,*/*;q=0.8"], false);
        check(&["application/json, text/event-stream"], false);
        check(&["application/json, */*"], false);
        check(&["application/json;q=0.9, text/*"], false);
        check(&["application/json;q=0.9, text/event-stream"], false);
        check(&["application/json;q=0, */*"], false);
        check(&["application/*, application/json;q=0"], false);
        check(&["application/jsonl"], false);
    }

    #[test]
    fn a_weight_that_is_not_valid_is_no_range() {
        for accept in [
            "application/json;q=2",
            "application/json;q=1.001",
            "application/json;q=",
            "application/json;q=0.0001",
            "application/json;q=-1",
            "application/json;q=0.+1",
        ] {
            check(&[accept], false);
        }
    }
}
