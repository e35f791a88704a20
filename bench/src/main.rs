//! Measures tidings beside its peers.
//!
//! A process of its own takes each sample, pinned to one core, and counts CPU time, not wall time. The
//! contenders of a case take turns, so that a disturbance affects all of them.
//!
//! A new bench is a module with `cases` (the measurements and their contenders), `sample` (the work of
//! one contender's process) and `targets` (the ratios that the results must reach).

mod decoder;
mod harness;
mod hub;
mod program;
mod resuming;
mod serve;
mod server;
mod sessions;
mod store;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::harness::{Plan, Report, Request, Sample, Table};

const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/results.json");

#[derive(Parser)]
#[command(about = "Measures tidings beside its peers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Chunks of bytes in, events out, without I/O
    Decoder(Options),
    /// Whole clients on a socket: the CPU time of an event, and the memory of an idle session
    Sessions(Options),
    /// Servers with many sessions: the CPU time of a delivery and of a heartbeat, and the memory of a session
    Server(Options),
    /// Hubs: the CPU time of a delivery and of a publish, and the memory of a channel
    Hub(Options),
    /// Logs on the disk: the time and the bytes of an event, of a replay, and of an open after a crash
    Store(Options),
    /// The program `tidings serve` beside nginx with Nchan: publications, fan-out and resumes over HTTP
    Serve(Options),
    /// Takes one sample and prints it; the other commands start it as a process
    #[command(hide = true)]
    Sample {
        bench: Bench,
        #[command(flatten)]
        request: Request,
    },
    /// Sends a case's events to each client, until its input ends
    #[command(hide = true)]
    SendEvents(sessions::Serving),
    /// Serves sessions and publishes to them on command, until its input ends
    #[command(hide = true)]
    Broadcast(server::Serving),
    /// The same, with a hub
    #[command(hide = true)]
    BroadcastHub(server::Serving),
    /// Appends to a store until it is killed
    #[command(hide = true)]
    FillStore(store::Filling),
}

#[derive(Args)]
struct Options {
    /// Run everything once and briefly: shows that it works, measures little
    #[arg(long)]
    quick: bool,
    /// Samples per contender. Default: 7; for server, hub, store and serve 3; with --quick 1, for sessions 3
    #[arg(long)]
    rounds: Option<usize>,
    /// Only the cases whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// The file for all samples
    #[arg(long, default_value = RESULTS)]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Bench {
    Decoder,
    Sessions,
    Server,
    Hub,
    Store,
    Serve,
}

impl Bench {
    fn measure(self, options: &Options) -> harness::Result<Report> {
        let (mut cases, notes) = match self {
            Self::Decoder => (decoder::cases(), Vec::new()),
            Self::Sessions => sessions::cases(),
            Self::Server => server::cases(options.quick),
            Self::Hub => hub::cases(options.quick),
            Self::Store => (store::cases(options.quick), Vec::new()),
            Self::Serve => serve::cases(options.quick),
        };
        cases.retain(|case| case.name.contains(&options.only));
        let mut report = harness::compare(&self.name(), &cases, &options.plan(self))?;
        report.targets = match self {
            Self::Decoder => decoder::targets(&report),
            Self::Sessions => sessions::targets(&report),
            Self::Server => server::targets(&report, options.quick),
            Self::Hub => hub::targets(&report, options.quick),
            Self::Store => store::targets(&report, options.quick),
            Self::Serve => serve::targets(&report, options.quick),
        };
        report.table = match self {
            Self::Decoder | Self::Sessions => Table::Speedups,
            Self::Server | Self::Hub | Self::Store | Self::Serve => Table::Costs,
        };
        report.notes = notes;
        Ok(report)
    }

    fn sample(self, request: &Request) -> harness::Result<Sample> {
        match self {
            Self::Decoder => decoder::sample(request),
            Self::Sessions => sessions::sample(request),
            Self::Server => server::sample(request),
            Self::Hub => hub::sample(request),
            Self::Store => store::sample(request),
            Self::Serve => serve::sample(request),
        }
    }

    /// The samples that suffice for publishing; a sample over many sockets takes seconds.
    fn rounds(self) -> usize {
        match self {
            Self::Decoder | Self::Sessions => 7,
            Self::Server | Self::Hub | Self::Store | Self::Serve => 3,
        }
    }

    /// The samples that show that a bench works. Those of `sessions` must also reach their targets.
    fn quick_rounds(self) -> usize {
        match self {
            Self::Decoder | Self::Server | Self::Hub | Self::Store | Self::Serve => 1,
            Self::Sessions => 3,
        }
    }

    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Options {
    fn plan(&self, bench: Bench) -> Plan {
        let (rounds, budget) = if self.quick {
            (bench.quick_rounds(), Duration::from_millis(5))
        } else {
            (bench.rounds(), Duration::from_millis(150))
        };
        Plan {
            rounds: self.rounds.unwrap_or(rounds).max(1),
            budget,
            quick: self.quick,
        }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> harness::Result<()> {
    match command {
        Command::Decoder(options) => report(Bench::Decoder, &options).map(|_| ())?,
        Command::Sessions(options) => {
            let report = report(Bench::Sessions, &options)?;
            program::run("idle_sessions", &[])?;
            check(&report)?;
        }
        Command::Server(options) => check(&report(Bench::Server, &options)?)?,
        Command::Hub(options) => {
            let report = report(Bench::Hub, &options)?;
            let quick: &[&str] = if options.quick { &["--quick"] } else { &[] };
            program::run("log_memory", quick)?;
            check(&report)?;
        }
        Command::Store(options) => {
            check(&report_in_clean_folder(Bench::Store, &options)?)?;
        }
        Command::Serve(options) => {
            serve::prepare()?;
            check(&report_in_clean_folder(Bench::Serve, &options)?)?;
        }
        Command::FillStore(filling) => store::fill(&filling)?,
        Command::Broadcast(serving) => server::serve(&serving)?,
        Command::BroadcastHub(serving) => hub::serve(&serving)?,
        Command::SendEvents(serving) => sessions::serve(&serving)?,
        Command::Sample { bench, request } => {
            let sample = bench.sample(&request)?;
            println!("{}", serde_json::to_string(&sample)?);
        }
    }
    Ok(())
}

/// Measures, prints the report, and keeps the samples.
fn report(bench: Bench, options: &Options) -> harness::Result<Report> {
    let report = bench.measure(options)?;
    println!("{report}");
    std::fs::write(&options.out, serde_json::to_vec_pretty(&report)?)?;
    println!("All samples are in {}.", options.out.display());
    Ok(report)
}

/// The same for a bench that writes files, which are removed.
fn report_in_clean_folder(bench: Bench, options: &Options) -> harness::Result<Report> {
    // An earlier run that was stopped may have left files.
    store::clean()?;
    let report = report(bench, options);
    store::clean()?;
    report
}

/// Fails if a ratio is so far off that noise cannot explain it.
fn check(report: &Report) -> harness::Result<()> {
    let alarming = report.targets.iter().filter(|target| target.is_alarming());
    let alarming: Vec<&str> = alarming.map(|target| &*target.what).collect();
    if !alarming.is_empty() {
        return Err(format!("missed by far: {}", alarming.join("; ")).into());
    }
    Ok(())
}
