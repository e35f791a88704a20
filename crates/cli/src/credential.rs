//! The token that `publish` and `listen` send, and how it is kept out of the list of processes.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tidings::client::SseClient;

use crate::tokens::MAX_TOKEN_BYTES;

/// The variable of the environment with a token.
const VARIABLE: &str = "TIDINGS_TOKEN";

/// The flag with a token.
const FLAG: &str = "--token";

/// The flags that name a token.
#[derive(Debug, clap::Args)]
pub(crate) struct CredentialArgs {
    /// Sends the token in this file, for a server with tokens. The file is read again for each connection.
    /// Without it, the variable TIDINGS_TOKEN is used.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Sends this token. For a moment, other users of this machine can see it in the list of processes:
    /// prefer `--token-file`, or the variable TIDINGS_TOKEN.
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<Secret>,
}

/// A token of the command line.
#[derive(Clone)]
struct Secret(String);

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    /// Accepts all text: an error of the command line would show it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl Secret {
    fn checked(&self) -> Result<String, String> {
        checked(&self.0)
            .map(str::to_owned)
            .map_err(|error| format!("{FLAG}: {error}"))
    }
}

/// Shows nothing of the token.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl CredentialArgs {
    /// The client, which sends the token with each request to the server that the user has named.
    ///
    /// # Errors
    /// There is a token, and it cannot be read or sent.
    pub(crate) fn authorize(&self, client: SseClient) -> Result<SseClient, String> {
        if let Some(path) = self.token_file.clone() {
            read_file(&path)?;
            return Ok(client.before_connect_with(path, async |path, mut attempt| {
                attempt.set_bearer(read_file(&path)?)?;
                Ok(attempt)
            }));
        }
        let token = match &self.token {
            Some(token) => Some(token.checked()?),
            None => from_environment()?,
        };
        match token {
            Some(token) => Ok(client.bearer(token)),
            None => Ok(client),
        }
    }

    /// Starts the program anew with the token of `--token` in the environment, which only the user can read.
    ///
    /// # Errors
    /// The token is not valid, or the program could not be started.
    #[cfg(unix)]
    pub(crate) fn hide_token(&self) -> Result<(), Box<dyn Error>> {
        use std::os::unix::process::CommandExt;

        let Some(token) = &self.token else {
            return Ok(());
        };
        let token = token.checked()?;
        let mut line = without_token(env::args_os()).into_iter();
        let mut command = std::process::Command::new(env::current_exe()?);
        if let Some(name) = line.next() {
            command.arg0(name);
        }
        // It returns only if it has failed.
        Err(command.args(line).env(VARIABLE, token).exec().into())
    }
}

fn from_environment() -> Result<Option<String>, String> {
    match env::var(VARIABLE) {
        Ok(token) => checked(&token)
            .map(|token| Some(token.to_owned()))
            .map_err(|error| format!("the variable {VARIABLE}: {error}")),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(format!("the variable {VARIABLE} is no token")),
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let read = || {
        let mut text = String::new();
        let limit = MAX_TOKEN_BYTES as u64 + 2;
        File::open(path)?.take(limit).read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|error: io::Error| format!("{}: {error}", path.display()))?;
    checked(&text)
        .map(str::to_owned)
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// The token, without the line end of a file.
fn checked(text: &str) -> Result<&str, String> {
    let token = text.trim();
    if token.is_empty() {
        return Err("there is no token".into());
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(format!("a token has at most {MAX_TOKEN_BYTES} bytes"));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("expected a token and nothing else".into());
    }
    Ok(token)
}

/// The command line without the flag and its value. Clap has accepted it, so the flag is not the value of
/// another one.
fn without_token(line: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut line = line;
    while let Some(argument) = line.next() {
        if argument == "--" {
            kept.push(argument);
            kept.extend(line);
            break;
        }
        if argument == FLAG {
            line.next();
        } else if !argument.as_encoded_bytes().starts_with(b"--token=") {
            kept.push(argument);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let kept = without_token(line.split(' ').map(OsString::from));
        let kept: Vec<_> = kept.iter().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(kept.join(" "), expected, "{line}");
    }

    #[test]
    fn the_flag_and_its_value_leave_the_command_line() {
        check("tidings listen URL", "tidings listen URL");
        check("tidings listen --token abc URL", "tidings listen URL");
        check(
            "tidings listen URL --token=abc --json",
            "tidings listen URL --json",
        );
        check(
            "tidings publish URL --token abc -- --token abc",
            "tidings publish URL -- --token abc",
        );
        check(
            "tidings listen --token-file f URL",
            "tidings listen --token-file f URL",
        );
        check("tidings listen --token", "tidings listen");
    }

    #[test]
    fn a_token_is_one_word_of_ascii() {
        assert_eq!(checked(" a.b.c\r\n"), Ok("a.b.c"));
        let long = "x".repeat(MAX_TOKEN_BYTES + 1);
        for text in ["", "\n", "a b", "a\nb", "\u{e4}", "a\0", &long] {
            let error = checked(text).unwrap_err();
            assert!(
                text.trim().is_empty() || !error.contains(text.trim()),
                "{error}"
            );
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let args = CredentialArgs {
            token_file: None,
            token: "hunter2".parse().ok(),
        };
        assert!(!format!("{args:?}").contains("hunter2"));
    }
}
