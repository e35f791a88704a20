//! The measuring method: processes, rounds, medians and the report.

use std::fmt;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// One task that several contenders perform.
pub struct Case {
    pub name: String,
    /// The unit that a sample counts, or the unit of its cost.
    pub unit: &'static str,
    /// The contender that the others are compared with.
    pub baseline: &'static str,
    pub contenders: Vec<&'static str>,
    /// The contenders that cannot run on this machine.
    pub absent: Vec<&'static str>,
}

#[derive(Clone, Copy)]
pub struct Plan {
    /// Samples per contender of a case, taken in turns.
    pub rounds: usize,
    /// The CPU time of one sample.
    pub budget: Duration,
    /// Whether a pass may do less than for publishing.
    pub quick: bool,
}

/// The order for the process of one contender.
#[derive(Args, Clone)]
pub struct Request {
    pub case: String,
    pub contender: String,
    pub budget_micros: u64,
    pub core: usize,
    #[arg(long)]
    pub quick: bool,
}

/// One process's measurement.
#[derive(Serialize, Deserialize)]
pub struct Sample {
    /// The cost: nanoseconds, or bytes of memory.
    pub cost: u64,
    /// A part of the cost, if known.
    #[serde(default)]
    pub part: Option<Part>,
    /// The work done for that cost, such as bytes read.
    pub units: u64,
    /// The result of the work. All contenders of a case must have the same; otherwise they did not do
    /// the same work. `None` for a contender that does other work.
    pub tally: Option<Tally>,
}

/// A part of a cost in nanoseconds.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub enum Part {
    /// The part of CPU time in user mode.
    UserMode(u64),
    /// The CPU time of the measured program, where the cost is wall time.
    Program(u64),
}

impl Part {
    fn nanos(self) -> u64 {
        match self {
            Self::UserMode(nanos) | Self::Program(nanos) => nanos,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::UserMode(_) => "user",
            Self::Program(_) => "CPU",
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub events: u64,
    pub data_bytes: u64,
    /// Covers the data and its order; 0 where no contender could leave any out.
    pub checksum: u32,
}

impl Sample {
    /// Repeats the work until the budget is spent. The first pass warms up and is not counted.
    pub fn take(
        request: &Request,
        units: u64,
        mut pass: impl FnMut() -> Option<Tally>,
    ) -> Result<Self> {
        pin_to(request.core)?;
        let tally = pass();
        let mut sample = Self {
            cost: 0,
            part: None,
            units: 0,
            tally,
        };
        let begin = cpu_ns();
        while sample.cost < request.budget_micros * 1000 {
            assert_eq!(pass(), tally, "passes differ");
            sample.units += units;
            sample.cost = cpu_ns() - begin;
        }
        Ok(sample)
    }

    #[allow(clippy::cast_precision_loss, reason = "no sample is that large")]
    fn cost_per_unit(&self) -> f64 {
        self.cost as f64 / self.units as f64
    }

    #[allow(clippy::cast_precision_loss, reason = "no sample is that large")]
    fn part_per_unit(&self) -> Option<f64> {
        Some(self.part?.nanos() as f64 / self.units as f64)
    }
}

/// Restricts this process to a core. Call it before any thread starts: threads and child processes
/// inherit the restriction.
pub fn pin_to(core: usize) -> rustix::io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores)
}

/// The CPU time of this process on all its threads, in user and kernel mode.
#[allow(
    clippy::cast_sign_loss,
    reason = "a process has not run for negative time"
)]
pub fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Takes all samples of all cases.
pub fn compare(bench: &str, cases: &[Case], plan: &Plan) -> Result<Report> {
    let core = last_core()?;
    let cases = cases
        .iter()
        .map(|case| {
            eprintln!("{bench}: {}", case.name);
            compare_contenders(bench, case, plan, core)
        })
        .collect::<Result<_>>()?;
    Ok(Report {
        bench: bench.to_owned(),
        cpu: cpu_model().unwrap_or_default(),
        rounds: plan.rounds,
        cases,
        table: Table::default(),
        targets: Vec::new(),
        notes: Vec::new(),
    })
}

fn compare_contenders(bench: &str, case: &Case, plan: &Plan, core: usize) -> Result<CaseReport> {
    let mut contenders: Vec<ContenderReport> = case
        .contenders
        .iter()
        .map(|name| ContenderReport::new(name))
        .collect();
    let mut agreed: Option<(&str, Tally)> = None;
    for _ in 0..plan.rounds {
        for report in &mut contenders {
            let contender = report.name;
            if case.absent.contains(&contender) {
                continue;
            }
            let sample = sample_in_process(
                bench,
                &Request {
                    case: case.name.clone(),
                    contender: contender.to_owned(),
                    budget_micros: u64::try_from(plan.budget.as_micros())?,
                    core,
                    quick: plan.quick,
                },
            )?;
            report.cost_per_unit.push(sample.cost_per_unit());
            report.part_per_unit.extend(sample.part_per_unit());
            report.part = sample.part.map(Part::label);
            if let Some(tally) = sample.tally {
                let (first, expected) = *agreed.get_or_insert((contender, tally));
                if tally != expected {
                    let name = &case.name;
                    return Err(format!(
                        "{name}: {contender} came to {tally:?}, but {first} to {expected:?}"
                    )
                    .into());
                }
            }
        }
    }
    Ok(CaseReport {
        name: case.name.clone(),
        unit: case.unit,
        baseline: case.baseline,
        tally: agreed.map(|(_, tally)| tally),
        contenders,
    })
}

fn sample_in_process(bench: &str, request: &Request) -> Result<Sample> {
    let output = Command::new(std::env::current_exe()?)
        .args(["sample", bench, &request.case, &request.contender])
        .args([request.budget_micros.to_string(), request.core.to_string()])
        .args(request.quick.then_some("--quick"))
        // Otherwise a proxy from the environment would be measured too.
        .env("NO_PROXY", "*")
        .env("no_proxy", "*")
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{}: {} failed", request.case, request.contender).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The last core this process may use: interrupts prefer the first.
fn last_core() -> Result<usize> {
    let allowed = sched_getaffinity(None)?;
    (0..CpuSet::MAX_CPU)
        .rfind(|&core| allowed.is_set(core))
        .ok_or_else(|| "there is no core to run on".into())
}

/// Another core than the measured one, if the machine has one.
pub fn another_core(core: usize) -> Result<usize> {
    let allowed = sched_getaffinity(None)?;
    let mut others = (0..CpuSet::MAX_CPU).filter(|&other| other != core);
    Ok(others.find(|&other| allowed.is_set(other)).unwrap_or(core))
}

fn cpu_model() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(": ")?.1.to_owned())
}

/// The results of one bench.
#[derive(Serialize)]
pub struct Report {
    bench: String,
    cpu: String,
    rounds: usize,
    cases: Vec<CaseReport>,
    #[serde(skip)]
    pub table: Table,
    pub targets: Vec<Target>,
    /// Notes for the reader of the report.
    pub notes: Vec<String>,
}

/// The kind of table that shows the cases.
#[derive(Clone, Copy, Default)]
pub enum Table {
    /// The speed as a multiple of the baseline's.
    #[default]
    Speedups,
    /// The cost of a unit.
    Costs,
}

#[derive(Serialize)]
struct CaseReport {
    name: String,
    unit: &'static str,
    baseline: &'static str,
    /// The result of one pass over the input.
    tally: Option<Tally>,
    contenders: Vec<ContenderReport>,
}

#[derive(Serialize)]
struct ContenderReport {
    name: &'static str,
    /// One number for each round.
    cost_per_unit: Vec<f64>,
    /// The name of the part, if one is known.
    part: Option<&'static str>,
    /// One number for each round, if known.
    part_per_unit: Vec<f64>,
}

impl ContenderReport {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            cost_per_unit: Vec::new(),
            part: None,
            part_per_unit: Vec::new(),
        }
    }
}

/// A ratio that the results must reach.
#[derive(Serialize)]
pub struct Target {
    pub what: String,
    pub wanted: Wanted,
    /// The bound beyond which noise cannot explain a miss: the bench fails.
    pub alarm: Option<Wanted>,
    pub found: Spread,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn is_met(&self) -> bool {
        self.wanted.holds(self.found)
    }

    pub fn is_alarming(&self) -> bool {
        self.alarm.is_some_and(|alarm| !alarm.holds(self.found))
    }
}

impl Wanted {
    fn holds(self, found: Spread) -> bool {
        match self {
            Self::AtLeast(least) => found.median >= least,
            Self::AtMost(most) => found.median <= most,
        }
    }
}

/// The median, minimum and maximum over several rounds.
#[derive(Clone, Copy, Serialize)]
pub struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            values.get(middle.checked_sub(1)?)?.midpoint(values[middle])
        } else {
            values[middle]
        };
        Some(Self {
            median,
            min: *values.first()?,
            max: *values.last()?,
        })
    }
}

impl Report {
    /// The speed of one contender as a multiple of the other's, compared within each round, as both ran
    /// under the same conditions there. `None` if either took no part.
    pub fn speedup(&self, case: &str, contender: &str, other: &str) -> Option<Spread> {
        let case = self.case(case)?;
        case.speedup(contender, other)
    }

    /// A contender's time for a unit in one case as a multiple of its time in another.
    pub fn slowdown(&self, contender: &str, case: &str, than: &str) -> Option<Spread> {
        let rounds = self.case(case)?.rounds_of(contender)?;
        let others = self.case(than)?.rounds_of(contender)?;
        Spread::of(rounds.iter().zip(others).map(|(ns, other)| ns / other))
    }

    /// The same of a part of the cost: how often one contender's fits into the other's.
    pub fn part_speedup(&self, case: &str, contender: &str, other: &str) -> Option<Spread> {
        let case = self.case(case)?;
        let part = |name| Some(&case.contender(name)?.part_per_unit);
        let (parts, others) = (part(contender)?, part(other)?);
        Spread::of(parts.iter().zip(others).map(|(ns, other)| other / ns))
    }

    /// The cost of a unit.
    pub fn cost(&self, case: &str, contender: &str) -> Option<Spread> {
        let rounds = self.case(case)?.rounds_of(contender)?;
        Spread::of(rounds.iter().copied())
    }

    fn case(&self, name: &str) -> Option<&CaseReport> {
        self.cases.iter().find(|case| case.name == name)
    }

    /// All contenders, in the order of their first appearance.
    fn contenders(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for contender in self.cases.iter().flat_map(|case| &case.contenders) {
            if !names.contains(&contender.name) {
                names.push(contender.name);
            }
        }
        names
    }
}

impl CaseReport {
    fn speedup(&self, contender: &str, other: &str) -> Option<Spread> {
        let rounds = self.rounds_of(contender)?;
        let others = self.rounds_of(other)?;
        Spread::of(rounds.iter().zip(others).map(|(ns, other)| other / ns))
    }

    fn rounds_of(&self, contender: &str) -> Option<&[f64]> {
        Some(&self.contender(contender)?.cost_per_unit)
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.contenders.iter().map(|report| report.name)
    }

    fn contender(&self, name: &str) -> Option<&ContenderReport> {
        self.contenders.iter().find(|report| report.name == name)
    }

    fn write_cost(&self, f: &mut fmt::Formatter<'_>, contender: &str) -> fmt::Result {
        let rounds = |report: &ContenderReport| {
            let part = Spread::of(report.part_per_unit.iter().copied());
            let cost = Spread::of(report.cost_per_unit.iter().copied())?;
            Some((cost, report.part.zip(part)))
        };
        let Some((cost, part)) = self.contender(contender).and_then(rounds) else {
            return write!(f, " |");
        };
        let Spread { median, min, max } = cost;
        write!(f, " {median:.0} ({min:.0}–{max:.0})")?;
        if let Some((label, Spread { median, .. })) = part {
            write!(f, ", {median:.0} {label}")?;
        }
        write!(f, " |")
    }
}

/// Two tables in Markdown: the cases, and the targets.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, rounds, .. } = self;
        writeln!(f, "{}, {cpu}, {rounds} rounds.", self.bench)?;
        match self.table {
            Table::Speedups => self.write_speedups(f)?,
            Table::Costs => self.write_costs(f)?,
        }

        writeln!(f, "\n| target | wanted | found | |\n|---|---|---|---|")?;
        for target in &self.targets {
            let Target { what, wanted, .. } = target;
            write!(f, "| {what} | {wanted} |")?;
            write_cell(f, Some(target.found))?;
            writeln!(f, " {} |", if target.is_met() { "met" } else { "missed" })?;
        }
        for note in &self.notes {
            writeln!(f, "\n{note}")?;
        }
        Ok(())
    }
}

impl Report {
    fn write_speedups(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Times as fast as the baseline: median (min–max).\n")?;

        let contenders = self.contenders();
        write!(f, "| case | unit | baseline, ns a unit |")?;
        for name in &contenders {
            write!(f, " {name} |")?;
        }
        writeln!(f, "\n|---|---|---|{}", "---|".repeat(contenders.len()))?;
        for case in &self.cases {
            write!(f, "| {} | {} |", case.name, case.unit)?;
            let baseline = case.rounds_of(case.baseline).unwrap_or_default();
            write_cell(f, Spread::of(baseline.iter().copied()))?;
            for name in &contenders {
                if case.rounds_of(name).is_some_and(<[f64]>::is_empty) {
                    write!(f, " absent |")?;
                } else {
                    write_cell(f, case.speedup(name, case.baseline))?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }

    /// One table for adjacent cases with the same contenders.
    fn write_costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "What a unit costs: median (min–max).")?;
        let is_alike = |a: &CaseReport, b: &CaseReport| a.names().eq(b.names());
        for cases in self.cases.chunk_by(is_alike) {
            write_costs_of(f, cases)?;
        }
        Ok(())
    }
}

/// One column per case, as each case has its own unit.
fn write_costs_of(f: &mut fmt::Formatter<'_>, cases: &[CaseReport]) -> fmt::Result {
    write!(f, "\n| |")?;
    for case in cases {
        write!(f, " {}, {} |", case.name, case.unit)?;
    }
    writeln!(f, "\n|---|{}", "---|".repeat(cases.len()))?;
    for name in cases.iter().take(1).flat_map(CaseReport::names) {
        write!(f, "| {name} |")?;
        for case in cases {
            case.write_cost(f, name)?;
        }
        writeln!(f)?;
    }
    Ok(())
}

fn write_cell(f: &mut fmt::Formatter<'_>, spread: Option<Spread>) -> fmt::Result {
    match spread {
        Some(spread) => write!(f, " {spread} |"),
        None => write!(f, " |"),
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, min, max } = self;
        write!(f, "{median:.2} ({min:.2}–{max:.2})")
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(ratio) => write!(f, "≥ {ratio}"),
            Self::AtMost(ratio) => write!(f, "≤ {ratio}"),
        }
    }
}
