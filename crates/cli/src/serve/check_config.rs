//! `--check-config`: what the server would do with these flags and files.

use std::fs;
use std::path::Path;

use super::Args;
use super::listen::{self, Listen};

/// Checks the files that the flags name, and returns what the server would do. It binds no address, and opens
/// no file for writing.
///
/// # Errors
/// What the server would not start with.
pub(super) fn check(args: &Args) -> Result<String, String> {
    let files = args.tls.files();
    if let Some(files) = &files {
        files.open()?;
    }
    args.auth()?;
    let mut lines = vec![match (&args.listen, &files) {
        (Listen::Tcp(address), Some(_)) => format!("listens on https://{address}"),
        (Listen::Tcp(address), None) => format!("listens on http://{address}"),
        (Listen::Unix(path), _) => {
            check_folder(path)?;
            #[cfg(unix)]
            super::socket_file::check(path)?;
            format!("listens on {}", args.listen)
        }
    }];
    if let Some(files) = &files {
        let certificate = listen::quoted(&files.certificate().display().to_string());
        lines.push(format!("uses the certificate {certificate}"));
    }
    lines.push(match &args.token_key {
        Some(path) => format!("requires tokens, signed by a key of {}", path.display()),
        None => "requires no tokens".to_owned(),
    });
    lines.push(match args.log.store() {
        None => "keeps the events in memory".to_owned(),
        Some(path) => {
            check_folder(path)?;
            let state = store_state(path)?;
            format!("keeps the events in {}, {state}", path.display())
        }
    });
    lines.push("the configuration is valid".to_owned());
    Ok(lines.join("\n") + "\n")
}

fn check_folder(path: &Path) -> Result<(), String> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    if folder.is_dir() {
        return Ok(());
    }
    let shown = path.display();
    Err(format!("the folder of {shown} does not exist"))
}

/// Reads no more than whether the file is there: another server may use it.
fn store_state(path: &Path) -> Result<&'static str, String> {
    match fs::metadata(path) {
        Ok(file) if file.is_file() => {
            let opened = fs::File::open(path);
            opened.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            Ok("which exists")
        }
        Ok(_) => Err(format!("{} is no file", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok("a new file"),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}
