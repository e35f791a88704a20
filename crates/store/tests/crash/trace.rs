//! `Trace`: the system calls of a process, as strace has written them.

use std::collections::HashMap;
use std::path::Path;
use std::{fs, str};

/// The calls that change files, or the table of open files.
pub(crate) const CALLS: &str = "trace=openat,open,creat,close,dup,dup2,dup3,fcntl,lseek,write,pwrite64,writev,\
    pwritev,pwritev2,ftruncate,truncate,fallocate,fsync,fdatasync,sync_file_range,sync,syncfs,rename,renameat,\
    renameat2,unlink,unlinkat,link,linkat,symlink,symlinkat,mkdir,mkdirat,rmdir,sendfile,copy_file_range,\
    exit_group";

#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) calls: Vec<Call>,
    /// The begins and ends of the calls, in their order.
    pub(crate) moments: Vec<Moment>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Moment {
    Begin(usize),
    End(usize),
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) args: Vec<Arg>,
    /// The value that it returned; -1 for an error; `None` if the process ended before.
    pub(crate) result: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Arg {
    Bytes(Vec<u8>),
    Word(String),
}

impl Call {
    pub(crate) fn bytes(&self, at: usize) -> &[u8] {
        match &self.args[at] {
            Arg::Bytes(bytes) => bytes,
            Arg::Word(_) => panic!("a text was expected: {self:?}"),
        }
    }

    pub(crate) fn word(&self, at: usize) -> &str {
        match &self.args[at] {
            Arg::Word(word) => word,
            Arg::Bytes(_) => panic!("a word was expected: {self:?}"),
        }
    }

    pub(crate) fn number(&self, at: usize) -> i64 {
        self.word(at).parse().unwrap()
    }

    /// Whether it succeeded, or may have.
    pub(crate) fn is_ok(&self) -> bool {
        self.result.is_none_or(|result| result >= 0)
    }

    pub(crate) fn has_succeeded(&self) -> bool {
        self.result.is_some_and(|result| result >= 0)
    }
}

impl Trace {
    pub(crate) fn read(path: &Path) -> Self {
        Self::parse(&fs::read(path).unwrap())
    }

    pub(crate) fn parse(text: &[u8]) -> Self {
        let mut trace = Self {
            calls: Vec::new(),
            moments: Vec::new(),
        };
        // The calls that have begun, by the number of the thread.
        let mut begun = HashMap::new();
        for line in text.split(|byte| *byte == b'\n') {
            trace.add(line, &mut begun);
        }
        trace
    }

    fn add(&mut self, line: &[u8], begun: &mut HashMap<Vec<u8>, usize>) {
        let Some(space) = line.iter().position(|byte| *byte == b' ') else {
            return;
        };
        let thread = line[..space].to_vec();
        let rest = line[space..].trim_ascii_start();
        if rest.starts_with(b"+++") || rest.starts_with(b"---") {
            return;
        }
        if rest.starts_with(b"<... ") {
            let at = begun.remove(&thread).unwrap();
            self.calls[at].result = result(rest);
            self.moments.push(Moment::End(at));
            return;
        }
        let at = self.calls.len();
        let open = rest.iter().position(|byte| *byte == b'(').unwrap();
        let name = str::from_utf8(&rest[..open]).unwrap().to_owned();
        let (args, after) = arguments(&rest[open + 1..]);
        self.moments.push(Moment::Begin(at));
        let is_begun = after.starts_with(b"<unfinished");
        let result = if is_begun { None } else { result(after) };
        self.calls.push(Call { name, args, result });
        if is_begun {
            begun.insert(thread, at);
        } else {
            self.moments.push(Moment::End(at));
        }
    }
}

/// The number after the last ` = `; `None` if the thread has ended before. Then strace writes `?`, or an
/// error without a name.
fn result(text: &[u8]) -> Option<i64> {
    let at = text.windows(3).rposition(|window| window == b" = ")?;
    let number = &text[at + 3..];
    if number.starts_with(b"-1 (errno ") {
        return None;
    }
    let end = number.iter().position(|byte| *byte == b' ');
    let number = str::from_utf8(&number[..end.unwrap_or(number.len())]).unwrap();
    number.parse().ok()
}

/// The arguments of a call, and the text after them.
fn arguments(mut text: &[u8]) -> (Vec<Arg>, &[u8]) {
    let mut args = Vec::new();
    loop {
        text = text.trim_ascii_start();
        match text {
            [b')', rest @ ..] => return (args, rest),
            [b'<', ..] | [] => return (args, text),
            [b',', rest @ ..] => text = rest,
            [b'"', rest @ ..] => {
                let length = rest.iter().position(|byte| *byte == b'"').unwrap();
                args.push(Arg::Bytes(unescape(&rest[..length])));
                text = &rest[length + 1..];
                assert!(!text.starts_with(b"..."), "strace has cut a text short");
            }
            _ => {
                let length = word_length(text);
                let word = str::from_utf8(&text[..length]).unwrap();
                args.push(Arg::Word(word.trim_end().to_owned()));
                text = &text[length..];
            }
        }
    }
}

/// The length of an argument that is no text: up to the comma or parenthesis after it.
fn word_length(text: &[u8]) -> usize {
    let mut depth = 0;
    let end = text.iter().position(|byte| {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' if depth == 0 => return true,
            b')' | b']' | b'}' => depth -= 1,
            b',' | b'<' if depth == 0 => return true,
            _ => {}
        }
        false
    });
    end.unwrap_or(text.len())
}

/// The bytes of `\x68\x69`.
fn unescape(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        _ => panic!("{byte} is no hexadecimal digit"),
    };
    let bytes = text.chunks_exact(4);
    assert!(bytes.remainder().is_empty());
    bytes
        .map(|escape| digit(escape[2]) << 4 | digit(escape[3]))
        .collect()
}

#[test]
fn calls_are_read_with_their_begins_and_ends() {
    let text = r#"7  openat(AT_FDCWD, "\x61\x62", O_RDWR|O_CREAT, 0644) = 5
8 pwrite64(5, "\x00\xff", 2, 4096 <unfinished ...>
7  fcntl(5, F_SETLK, {l_type=F_RDLCK, l_whence=SEEK_SET, l_start=1, l_len=1}) = 0
8 <... pwrite64 resumed>) = 2
7 unlink("\x61") = -1 ENOENT (No such file or directory)
7 fsync(5 <unfinished ...>
7 +++ killed by SIGKILL +++
"#;
    let path = std::env::temp_dir().join(format!("tidings-trace-{}", std::process::id()));
    fs::write(&path, text).unwrap();
    let trace = Trace::read(&path);
    fs::remove_file(&path).unwrap();
    let names: Vec<_> = trace
        .calls
        .iter()
        .map(|call| (&call.name[..], call.result))
        .collect();
    let expected = [
        ("openat", Some(5)),
        ("pwrite64", Some(2)),
        ("fcntl", Some(0)),
        ("unlink", Some(-1)),
        ("fsync", None),
    ];
    assert_eq!(names, expected);
    assert_eq!(trace.calls[1].bytes(1), [0, 255]);
    assert_eq!(trace.calls[1].number(3), 4096);
    assert_eq!(trace.calls[2].args.len(), 3);
    let moments = format!("{:?}", &trace.moments[2..6]);
    assert_eq!(moments, "[Begin(1), Begin(2), End(2), End(1)]");
}
