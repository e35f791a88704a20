//! `tidings listen`: the events of a stream, over reconnections.

mod indent;
mod notes;
mod printer;

use std::error::Error;
use std::time::Duration;

use tidings::Reconnect;
use tidings::client::RequestBuilder;

use crate::target::{Target, failure};
use notes::Notes;
use printer::{Form, Printer};

/// How long the server may take for a connection.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// The largest event: that of a server of tidings with the largest body, and its type.
const MAX_EVENT: usize = 65 << 20;
/// How long the server may take for the head of its answer.
const RESPONSE_TIME: Duration = Duration::from_secs(30);

/// Prints the events of a channel, and resumes after the last one whenever the connection is lost.
///
/// It ends when the channel ends, after `--count` events, or when the server refuses the request. Lost events
/// and reconnections are reported on standard error.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) target: Target,

    /// Prints each event as a line of JSON: `{"id":…,"event":…,"data":…}`, with `channel` if the ID names it,
    /// and with `gap` if it reports lost events.
    #[arg(long)]
    json: bool,

    /// Resumes after the event with this ID.
    #[arg(long, value_name = "ID")]
    last_event_id: Option<String>,

    /// Where to begin without a last event ID: `earliest`, `latest`, an ID, or a time such as
    /// `2026-11-28T10:00:00Z`. [default: latest]
    #[arg(long, value_name = "START")]
    from: Option<String>,

    /// Begins with this many of the newest events, if there is no last event ID.
    #[arg(long, value_name = "COUNT", conflicts_with = "from")]
    last: Option<u16>,

    /// Ends after this many events.
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,

    /// How long the server may be silent before the connection counts as lost; 0s is no limit. A server of
    /// tidings sends a heartbeat each 15 seconds.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    idle_timeout: Duration,
}

pub(crate) async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let mut left = args.count.unwrap_or(u64::MAX);
    if left == 0 {
        return Ok(());
    }
    let printer = Printer::new(Form::of(args.json));
    let opened = request(args)?.open().await;
    let mut session = opened.map_err(|error| failure(&error))?;
    loop {
        let next = session.try_next().await;
        let Some(event) = next.map_err(|error| failure(&error))? else {
            return Ok(());
        };
        let gap = printer::gap(&event);
        printer.print(&event, gap.as_ref())?;
        match gap {
            Some(gap) => notes::report_gap(&gap),
            None if left == 1 => return Ok(()),
            None => left -= 1,
        }
    }
}

fn request(args: Args) -> Result<RequestBuilder, String> {
    let Args { target, .. } = &args;
    let notes = Notes::default();
    let client = target
        .credential
        .authorize(target.client())?
        .reconnect(Reconnect::persistent())
        .connect_timeout(CONNECT_TIME)
        .response_timeout(RESPONSE_TIME)
        .max_event_bytes(MAX_EVENT)
        .skip_large_events(true)
        // A gap stays an event, so that it is printed in its place.
        .gaps(false)
        .dedupe(true)
        .on_lifecycle(move |step| notes.report(step));
    let mut request = client.get(&target.url);
    if !args.idle_timeout.is_zero() {
        request = request.idle_timeout(args.idle_timeout);
    }
    if let Some(id) = args.last_event_id {
        request = request.last_event_id(id);
    }
    if let Some(from) = args.from {
        request = request.query("from", from);
    }
    if let Some(last) = args.last {
        request = request.query("last", last.to_string());
    }
    Ok(request)
}
