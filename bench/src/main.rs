//! Measures tidings beside its peers.
//!
//! Every sample is taken by a process of its own, pinned to one core, and is CPU time, not wall
//! time. The contenders of a case take turns, so that what disturbs one disturbs all.
//!
//! A new bench is a module with `cases` (what is measured, and who takes part), `sample` (what
//! runs in the process of one contender) and `targets` (what the results must show).

mod decoder;
mod harness;
mod hub;
mod server;
mod sessions;

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
    /// Takes one sample and prints it: what the other commands start in processes of its own
    #[command(hide = true)]
    Sample {
        bench: Bench,
        #[command(flatten)]
        request: Request,
    },
    /// Sends a case's events to whoever connects, until its input ends
    #[command(hide = true)]
    Serve(sessions::Serving),
    /// Serves sessions that hear what it is told to publish, until its input ends
    #[command(hide = true)]
    Broadcast(server::Serving),
    /// The same, with a hub
    #[command(hide = true)]
    BroadcastHub(server::Serving),
}

#[derive(Args)]
struct Options {
    /// Run everything once and briefly: shows that it works, measures little
    #[arg(long)]
    quick: bool,
    /// How many samples to take of each contender; 7, or 3 of the server and the hub; with --quick 1, or 3 of sessions
    #[arg(long)]
    rounds: Option<usize>,
    /// Only the cases whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Where to write all samples
    #[arg(long, default_value = RESULTS)]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Bench {
    Decoder,
    Sessions,
    Server,
    Hub,
}

impl Bench {
    fn measure(self, options: &Options) -> harness::Result<Report> {
        let (mut cases, notes) = match self {
            Self::Decoder => (decoder::cases(), Vec::new()),
            Self::Sessions => sessions::cases(),
            Self::Server => server::cases(options.quick),
            Self::Hub => hub::cases(options.quick),
        };
        cases.retain(|case| case.name.contains(&options.only));
        let mut report = harness::compare(&self.name(), &cases, &options.plan(self))?;
        report.targets = match self {
            Self::Decoder => decoder::targets(&report),
            Self::Sessions => sessions::targets(&report),
            Self::Server => server::targets(&report, options.quick),
            Self::Hub => hub::targets(&report, options.quick),
        };
        report.table = match self {
            Self::Decoder | Self::Sessions => Table::Speedups,
            Self::Server | Self::Hub => Table::Costs,
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
        }
    }

    /// How many samples are enough for publishing; those over many sockets take seconds each.
    fn rounds(self) -> usize {
        match self {
            Self::Decoder | Self::Sessions => 7,
            Self::Server | Self::Hub => 3,
        }
    }

    /// How many samples are enough to see that it works. Those of sessions are to hold targets.
    fn quick_rounds(self) -> usize {
        match self {
            Self::Decoder | Self::Server | Self::Hub => 1,
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
            sessions::print_idle()?;
            check(&report)?;
        }
        Command::Server(options) => check(&report(Bench::Server, &options)?)?,
        Command::Hub(options) => check(&report(Bench::Hub, &options)?)?,
        Command::Broadcast(serving) => server::serve(&serving)?,
        Command::BroadcastHub(serving) => hub::serve(&serving)?,
        Command::Serve(serving) => sessions::serve(&serving)?,
        Command::Sample { bench, request } => {
            let sample = bench.sample(&request)?;
            println!("{}", serde_json::to_string(&sample)?);
        }
    }
    Ok(())
}

/// Measures, prints what came of it, and keeps the samples.
fn report(bench: Bench, options: &Options) -> harness::Result<Report> {
    let report = bench.measure(options)?;
    println!("{report}");
    std::fs::write(&options.out, serde_json::to_vec_pretty(&report)?)?;
    println!("All samples are in {}.", options.out.display());
    Ok(report)
}

/// Fails where a ratio is so far off that no noise explains it.
fn check(report: &Report) -> harness::Result<()> {
    let alarming = report.targets.iter().filter(|target| target.is_alarming());
    let alarming: Vec<&str> = alarming.map(|target| &*target.what).collect();
    if !alarming.is_empty() {
        return Err(format!("missed by far: {}", alarming.join("; ")).into());
    }
    Ok(())
}
