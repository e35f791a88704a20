//! `tidings demo`: a server and a client in one process, over real sockets.

mod listener;
mod routes;

use std::error::Error;

use tidings::axum::serve;
use tokio::net::TcpListener;

use crate::output::Output;
use listener::Listener;
use routes::Pace;

/// Runs a server on a free port and reads its events; fails unless each arrives once and in order.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Do not wait between events.
    #[arg(long)]
    fast: bool,
}

pub(crate) async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let output = Output::new();
    let pace = if args.fast { Pace::FAST } else { Pace::SHOWN };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    output.title(format_args!("serving on {url}"))?;
    let server = tokio::spawn(serve(listener, routes::router(pace)).into_future());
    let received = Listener::new(url, &output).read_all().await?;
    server.abort();
    output.note(format_args!(
        "{received} events received, each once and in order"
    ))?;
    Ok(())
}
