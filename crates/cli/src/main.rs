//! The `tidings` command: a server of event channels, its clients, and a demo.

mod cacert;
mod credential;
mod demo;
mod direct;
mod listen;
mod output;
mod publish;
mod serve;
mod store;
mod target;
mod tokens;

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

/// Server-Sent Events from a terminal.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Args>),
    Publish(publish::Args),
    Listen(listen::Args),
    Store(store::Args),
    Token(tokens::TokenArgs),
    Key(tokens::KeyArgs),
    Demo(demo::Args),
}

/// How long a server that has ended waits for a reader of its last line.
const REPORT_TIME: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::report(format_args!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run_and_report(cli));
    // A thread that reads the terminal, or a file system that does not answer, must not delay the end.
    runtime.shutdown_background();
    code
}

async fn run_and_report(cli: Cli) -> ExitCode {
    let is_server = matches!(cli.command, Command::Serve(_));
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has closed it.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            let text = output::Plain(&chain(&*error)).to_string();
            if is_server {
                output::report_within(REPORT_TIME, text);
            } else {
                output::report(text);
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    #[cfg(unix)]
    if let Command::Publish(publish::Args { target, .. })
    | Command::Listen(listen::Args { target, .. }) = &cli.command
    {
        target.credential.hide_token()?;
    }
    match cli.command {
        Command::Serve(args) => serve::run(*args).await,
        Command::Publish(args) => publish::run(args).await,
        Command::Listen(args) => listen::run(args).await,
        Command::Store(args) => store::run(args).await,
        Command::Token(args) => tokens::issue_token(args),
        Command::Key(args) => tokens::make_key(args),
        Command::Demo(args) => demo::run(args).await,
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// An error and its causes on one line.
fn chain(error: &dyn Error) -> String {
    std::iter::successors(error.source(), |cause: &&dyn Error| (*cause).source())
        .fold(error.to_string(), |chain, cause| {
            format!("{chain}: {cause}")
        })
}
