//! Adapters that the judges of other projects run. This library holds their common parts: the loop
//! over a file of cases, errors on one line, and the contract service.

pub mod service;

use std::error::Error;
use std::io::{self, Write};
use std::iter::successors;
use std::{env, fs};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The error of a case, or of a program.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// An error and its causes on one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = successors(error.source(), |cause: &&dyn Error| (*cause).source());
    causes.fold(error.to_string(), |chain, cause| {
        format!("{chain}: {cause}")
    })
}

#[derive(Serialize)]
struct Line<T> {
    name: Value,
    #[serde(flatten)]
    answer: T,
}

#[derive(Serialize)]
struct Refusal {
    error: String,
}

/// Prints a line of JSON for each case of the file that the last argument names. A case that cannot
/// be answered gets an `error`, and the next case follows.
///
/// # Errors
/// If the file is not a JSON array, or standard output is closed.
pub fn answer_each<C: DeserializeOwned, A: Serialize>(
    answer: impl Fn(C) -> Result<A, BoxError>,
) -> Result<(), BoxError> {
    let path = env::args_os().next_back().unwrap_or_default();
    let cases: Vec<Value> = serde_json::from_slice(&fs::read(path)?)?;
    let mut out = io::stdout().lock();
    for case in cases {
        let name = case.get("name").cloned().unwrap_or_default();
        let answered = serde_json::from_value(case)
            .map_err(BoxError::from)
            .and_then(&answer);
        match answered {
            Ok(answer) => write_line(&mut out, &Line { name, answer })?,
            Err(error) => {
                let answer = Refusal {
                    error: error.to_string(),
                };
                write_line(&mut out, &Line { name, answer })?;
            }
        }
    }
    Ok(())
}

fn write_line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}
