//! The parameters in the query of a request.

use std::borrow::Cow;

/// The values of the parameters of this name, in their order.
pub(super) fn all<'a>(
    query: Option<&'a str>,
    name: &'static str,
) -> impl Iterator<Item = Cow<'a, str>> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.filter_map(move |(known, value)| (known == name).then_some(value))
}

/// The value of the parameter of this name. Of several, the last counts.
pub(super) fn last<'a>(query: Option<&'a str>, name: &'static str) -> Option<Cow<'a, str>> {
    all(query, name).last()
}
