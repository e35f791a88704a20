//! `contract-service`: the client behind the REST interface of LaunchDarkly's sse-contract-tests.

use std::env;
use std::io::{self, Write};

use tidings_conformance::BoxError;
use tidings_conformance::service::serve;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

/// The port that the harness uses by default.
const PORT: u16 = 8000;

fn main() -> Result<(), BoxError> {
    let port = match env::var("PORT") {
        Ok(port) => port.parse().map_err(|error| format!("PORT: {error}"))?,
        Err(env::VarError::NotPresent) => PORT,
        Err(error) => return Err(format!("PORT: {error}").into()),
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(run(port));
    // Does not wait for a name lookup that hangs.
    runtime.shutdown_background();
    Ok(served?)
}

async fn run(port: u16) -> io::Result<()> {
    // Only this machine may reach it: it sends requests to any URL that a caller names.
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    writeln!(io::stdout(), "listening on http://{address}")?;
    serve(listener).await
}
