//! The tasks that write or read the events of a store as lines of JSON.

use std::error::Error;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, Write};
use std::path::Path;

use tidings::store;

use super::of_export;
use super::progress::Progress;
use crate::output::{PlainJson, print, report};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

pub(super) fn export(file: &Path) -> Outcome {
    let mut output = Output::new(Progress::of("exporting", file));
    let exported = store::export(file, &mut output).map_err(of_export)?;
    output.finish()?;
    report(format_args!("{} entries exported", exported.entries));
    Ok(())
}

pub(super) fn salvage(file: &Path) -> Outcome {
    let mut output = Output::new(Progress::of("salvaging", file));
    let salvaged = store::salvage(file, &mut output).map_err(of_export)?;
    output.finish()?;
    report(format_args!(
        "{} entries salvaged, at least {} lost",
        salvaged.entries, salvaged.lost
    ));
    Ok(())
}

pub(super) fn import(file: &Path) -> Outcome {
    let mut input = Input {
        input: BufReader::new(io::stdin()),
        progress: Progress::of("importing", file),
    };
    let imported = store::import(file, &mut input)?;
    drop(input);
    print(format_args!(
        "{} entries of {} channels imported",
        imported.entries, imported.channels
    ))?;
    Ok(())
}

/// Standard output. On a terminal, the characters that control it are escaped.
struct Output {
    output: BufWriter<io::Stdout>,
    is_terminal: bool,
    /// The beginning of a line that is not complete, on a terminal.
    line: Vec<u8>,
    progress: Progress,
}

impl Output {
    fn new(progress: Progress) -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self {
            output: BufWriter::new(io::stdout()),
            is_terminal,
            line: Vec::new(),
            // The lines themselves show the progress there.
            progress: if is_terminal {
                Progress::none()
            } else {
                progress
            },
        }
    }

    fn finish(mut self) -> io::Result<()> {
        self.flush()
    }

    fn write_escaped(&mut self, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = String::from_utf8_lossy(&self.line);
                write!(self.output, "{}", PlainJson(&line))?;
                self.line.clear();
            }
        }
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.progress.count_lines(bytes);
        if self.is_terminal {
            self.write_escaped(bytes)?;
        } else {
            self.output.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Standard input, with the number of lines read from it as the progress.
struct Input {
    input: BufReader<io::Stdin>,
    progress: Progress,
}

impl Read for Input {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(bytes)?;
        self.progress
            .count_lines(bytes.get(..read).unwrap_or_default());
        Ok(read)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        let read = self.input.buffer().get(..count).unwrap_or_default();
        self.progress.count_lines(read);
        self.input.consume(count);
    }
}
