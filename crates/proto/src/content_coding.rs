//! The content codings that a `Content-Encoding` names.

/// The codings of a body, in the order in which the sender applied them, by their registered names.
///
/// The value may be a list, and header lines joined by `, ` are one. `identity` is no coding, and
/// neither is a name that is not registered: servers send `none`, `utf-8` and `chunked`.
///
/// ```
/// use tidings_proto::headers::content_codings;
///
/// assert!(content_codings("X-GZIP, none").eq(["gzip"]));
/// assert!(content_codings("utf-8").next().is_none());
/// ```
///
/// Spec: [HTTP Content Coding Registry](https://www.iana.org/assignments/http-parameters/http-parameters.xhtml#content-coding).
pub fn content_codings(content_encoding: &str) -> impl Iterator<Item = &'static str> + '_ {
    content_encoding.split(',').filter_map(registered)
}

fn registered(name: &str) -> Option<&'static str> {
    const NAMES: [(&str, &str); 12] = [
        ("aes128gcm", "aes128gcm"),
        ("br", "br"),
        ("compress", "compress"),
        ("dcb", "dcb"),
        ("dcz", "dcz"),
        ("deflate", "deflate"),
        ("exi", "exi"),
        ("gzip", "gzip"),
        ("pack200-gzip", "pack200-gzip"),
        ("x-compress", "compress"),
        ("x-gzip", "gzip"),
        ("zstd", "zstd"),
    ];
    let name = name.trim_matches([' ', '\t']);
    let found = NAMES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, registered)| *registered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registered_names_are_codings() {
        let check = |value: &str, expected: &[&str]| {
            let found: Vec<_> = content_codings(value).collect();
            assert_eq!(found, expected, "{value:?}");
        };
        check("gzip", &["gzip"]);
        check(" X-GZip\t", &["gzip"]);
        check("x-compress", &["compress"]);
        check("br,\tzstd", &["br", "zstd"]);
        check("identity, deflate, , none", &["deflate"]);
        check("gzip, gzip", &["gzip", "gzip"]);
        check(
            "aes128gcm,exi,pack200-gzip,dcb,dcz",
            &["aes128gcm", "exi", "pack200-gzip", "dcb", "dcz"],
        );
        for none in ["", ",", "identity", "none", "utf-8", "UTF-8", "chunked"] {
            check(none, &[]);
        }
        for none in ["*", "binary", "gzip;q=1", "gz ip", "\"gzip\"", "\u{e4}"] {
            check(none, &[]);
        }
    }
}
