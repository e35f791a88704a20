//! Names of channels that could mean something else to a file system, a proxy or a log.

use std::io::{BufReader, Write};

use crate::process::Server;
use crate::raw::{Answer, connect, get, read};
use crate::scenario::run;

/// A target as bytes, and the status and the code of the answer to a publication. The code is empty if the
/// answer is not a problem document.
const TARGETS: &[(&[u8], u16, &str)] = &[
    // The way up.
    (b"/channels/..", 400, "invalid-name"),
    (b"/channels/../metrics", 400, "invalid-name"),
    (b"/channels/a/../../metrics", 400, "invalid-name"),
    (b"/channels/a/..", 400, "invalid-name"),
    (b"/channels/%2e%2e", 400, "invalid-name"),
    (b"/channels/%2E%2e/metrics", 400, "invalid-name"),
    (b"/channels/.%2e/a", 400, "invalid-name"),
    (b"/channels/a%2F..", 400, "invalid-name"),
    (b"/channels/a%2F..%2F..%2Fmetrics", 400, "invalid-name"),
    (b"/channels/%2F..", 400, "invalid-name"),
    (b"/channels/./a", 400, "invalid-name"),
    (b"/channels/a/.", 400, "invalid-name"),
    (b"/../channels/a", 404, "not-found"),
    (b"/./channels/a", 404, "not-found"),
    (b"/%63hannels/a", 404, "not-found"),
    (b"/CHANNELS/a", 404, "not-found"),
    // Escaped once, and not twice.
    (b"/channels/%252e%252e", 400, "invalid-name"),
    (b"/channels/%25%32%65", 400, "invalid-name"),
    // Empty parts.
    (b"/channels//", 400, "invalid-name"),
    (b"/channels//a", 400, "invalid-name"),
    (b"/channels/a//b", 400, "invalid-name"),
    (b"/channels/a/", 400, "invalid-name"),
    (b"/channels/%2F", 400, "invalid-name"),
    (b"//channels/a", 404, "not-found"),
    // Other separators, and the ends of texts and lines.
    (b"/channels/a\\b", 400, ""),
    (b"/channels/..\\..\\a", 400, ""),
    (b"/channels/a%5Cb", 400, "invalid-name"),
    (b"/channels/a%00", 400, "invalid-name"),
    (b"/channels/a%00.html", 400, "invalid-name"),
    (b"/channels/a\0b", 400, ""),
    (b"/channels/a%0Ab", 400, "invalid-name"),
    (b"/channels/a%0D%0AX:%20y", 400, "invalid-name"),
    (b"/channels/a%09b", 400, "invalid-name"),
    (b"/channels/a%7Fb", 400, "invalid-name"),
    (b"/channels/a;b=c", 400, "invalid-name"),
    (b"/channels/a+b", 400, "invalid-name"),
    (b"/channels/a%20b", 400, "invalid-name"),
    (b"/channels/*", 400, "invalid-name"),
    (b"/channels/%2A", 400, "invalid-name"),
    (b"/channels/{name}", 400, ""),
    (b"/channels/<script>", 400, ""),
    // Escapes that are not complete or not valid.
    (b"/channels/%", 400, "invalid-name"),
    (b"/channels/%2", 400, "invalid-name"),
    (b"/channels/%GG", 400, "invalid-name"),
    (b"/channels/%u002e", 400, "invalid-name"),
    // Not UTF-8: a lone byte, a cut sequence, a surrogate, a character beyond the last one.
    (b"/channels/%FF", 400, "invalid-name"),
    (b"/channels/%E2%82", 400, "invalid-name"),
    (b"/channels/%ED%A0%80", 400, "invalid-name"),
    (b"/channels/%F4%90%80%80", 400, "invalid-name"),
    (b"/channels/a\xFFb", 400, ""),
    (b"/channels/a\xC3\xA9b", 400, "invalid-name"),
    // Overlong forms of `.`, `/` and NUL.
    (b"/channels/%C0%AE%C0%AE", 400, "invalid-name"),
    (b"/channels/a%C0%AFb", 400, "invalid-name"),
    (b"/channels/a%E0%80%AFb", 400, "invalid-name"),
    (b"/channels/a%F0%80%80%AFb", 400, "invalid-name"),
    (b"/channels/a%C0%80b", 400, "invalid-name"),
    // Letters that look like others.
    (b"/channels/%D0%B0", 400, "invalid-name"),
    (b"/channels/%EF%BC%8F", 400, "invalid-name"),
    (b"/channels/%E2%80%AE", 400, "invalid-name"),
    // Valid, however odd.
    (b"/channels/a%2Fb", 201, ""),
    (b"/channels/%61", 201, ""),
    (b"/channels/...", 201, ""),
    (b"/channels/.a/b..", 201, ""),
    (b"/channels/-", 201, ""),
    (b"/channels/a:b~c", 201, ""),
    (b"/channels/channels/events", 201, ""),
    (b"/channels/a?event=%2e%2e/..", 201, ""),
    (b"/channels/a#b", 201, ""),
];

/// The names of all channels that the valid targets have made.
const CREATED: &[&str] = &["-", "...", ".a/b..", "a", "a/b", "a:b~c", "channels/events"];

fn publish(server: &Server, target: &[u8]) -> Answer {
    let address = server.address();
    let lines = format!(" HTTP/1.1\r\nHost: {address}\r\nContent-Length: 1\r\n\r\nx");
    let request = [b"POST ", target, lines.as_bytes()].concat();
    let mut socket = connect(address);
    socket.write_all(&request).unwrap();
    read(&mut BufReader::new(socket))
}

#[test]
fn a_name_is_taken_as_it_is_or_refused() {
    run(1, async {
        let server = Server::start(&[]);
        let long = [b"/channels/".as_slice(), &[b'n'; 10_000]].concat();
        let escaped = [b"/channels/".as_slice(), &b"%2e".repeat(3_400)].concat();
        let too_long = [b"/channels/".as_slice(), &[b'n'; 40_000]].concat();
        let deep = [b"/channels/".as_slice(), &b"../".repeat(3_000), b"a"].concat();
        let computed: &[(&[u8], u16, &str)] = &[
            (&long, 400, "invalid-name"),
            (&escaped, 400, "invalid-name"),
            (&deep, 400, "invalid-name"),
            (&too_long, 431, ""),
        ];
        let mut wrong = String::new();
        for (target, status, code) in TARGETS.iter().chain(computed) {
            let answer = publish(&server, target);
            let is_problem = !code.is_empty();
            let found = if is_problem {
                answer.json()["code"].clone()
            } else {
                "".into()
            };
            if answer.status != *status || found != *code {
                let target = target[..target.len().min(100)].escape_ascii();
                wrong += &format!("{target}: expected {status} {code}, not {answer:?}\n");
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
        let list = get(server.address(), "/channels?limit=1000").json();
        let names = list["channels"].as_array().unwrap().iter();
        let names: Vec<_> = names
            .map(|channel| channel["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, CREATED);
    });
}
