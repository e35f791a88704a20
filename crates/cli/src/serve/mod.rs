//! `tidings serve`: a hub over HTTP.

mod accept;
mod app;
mod args;
mod auth;
mod batch;
mod body;
mod channels;
mod check_config;
mod end;
mod health;
mod https;
mod limits;
mod listed;
mod listen;
mod log;
mod logging;
mod name;
mod open_files;
mod origin;
mod page;
mod problem;
mod publish;
mod query;
mod reload;
mod samples;
#[cfg(unix)]
mod socket_file;
#[cfg(unix)]
mod socket_lock;
mod start;
mod subscribe;

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, Write};
use std::process;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use tidings::axum::{Drain, Serve, serve, shutdown_signal};
use tidings::hub::{Feed, FeedError, Hub};
use tidings::store::StoreLog;
use tokio::time::timeout;

use crate::tokens::Auth;

pub(crate) use args::Args;

use app::App;
use listen::Listen;
use reload::Hangups;

/// How long the hub and the store may take to end, each, after the connections have ended.
const END_TIME: Duration = Duration::from_secs(2);

pub(crate) async fn run(mut args: Args) -> Result<(), Box<dyn Error>> {
    if let Err(message) = args.check() {
        refuse(message);
    }
    if args.check_config {
        let report = check_config::check(&args).unwrap_or_else(|message| refuse(message));
        return Ok(io::stdout().lock().write_all(report.as_bytes())?);
    }
    let _log = logging::start(args.log_level);
    // Before the files and the store are opened, which may take long.
    let hangups = Hangups::listen()?;
    health::record_metrics()?;
    let allowed = open_files::allow(args.limits.max_connections);
    args.limits.fit(allowed);
    let auth = args.auth()?;
    let tls = args.tls.files().map(|files| files.open()).transpose()?;
    if args.exposes_tokens() {
        tracing::warn!(
            "tokens and events travel in clear text, as other machines reach this address without TLS"
        );
    }
    // Before the store is opened: a port that is taken must not cost a new file.
    match &args.listen {
        Listen::Tcp(address) => {
            let listener = listen::listen_on(*address).await?;
            let bound = Listen::Tcp(listener.local_addr()?);
            let server = Server::open(&args, &bound, auth).await?;
            hangups.reload(&server.app, tls.as_ref(), &args);
            let mut serve = serve(listener, server.router(&args))
                .max_connections_per_key(args.limits.max_connections_per_address, |peer| {
                    Some(limits::address_key(peer))
                });
            if let Some(tls) = &tls {
                serve = serve.tls(tls).http2(true);
            }
            server.run(serve, &args).await
        }
        #[cfg(unix)]
        Listen::Unix(path) => {
            let (file, listener) = socket_file::SocketFile::listen(path, args.socket_mode).await?;
            let ended = async {
                let server = Server::open(&args, &args.listen, auth).await?;
                hangups.reload(&server.app, None, &args);
                let serve = serve(listener, server.router(&args));
                server.run(serve, &args).await
            };
            let ended = ended.await;
            file.remove().await;
            ended
        }
        #[cfg(not(unix))]
        Listen::Unix(_) => Err("this platform has no Unix sockets".into()),
    }
}

/// Ends the program, as for a wrong flag.
fn refuse(message: String) -> ! {
    clap::Error::raw(clap::error::ErrorKind::ValueValidation, message + "\n").exit()
}

/// What the server consists of, beside its listener.
struct Server {
    hub: Hub,
    store: Option<StoreLog>,
    drain: Drain,
    app: App,
    greeting: String,
}

impl Server {
    async fn open(args: &Args, bound: &Listen, auth: Option<Auth>) -> Result<Self, Box<dyn Error>> {
        let limits = &args.limits;
        let (hub, store) = args
            .log
            .open(limits.hub(), limits.remembered_channels, args.demo)
            .await?;
        let drain = Drain::new().deadline(args.drain);
        let app = App::new(hub.clone(), drain.clone(), auth, args);
        Ok(Self {
            hub,
            store,
            drain,
            app,
            greeting: args.greeting(bound),
        })
    }

    fn router(&self, args: &Args) -> Router {
        app::router(&self.app, args)
    }

    /// Serves until a signal ends it, and then ends in order: the connections, the hub, the store.
    async fn run<L>(self, serve: Serve<L>, args: &Args) -> Result<(), Box<dyn Error>>
    where
        L: Listener<Addr: Clone + fmt::Debug + Sync + 'static>,
    {
        let limits = &args.limits;
        let mut serve = serve
            .drain(&self.drain)
            .read_deadline(limits.request_time)
            .write_deadline(limits.write_deadline)
            .max_head_bytes(limits.max_head_bytes())
            .max_headers(limits::MAX_HEADERS)
            .max_connections(limits.max_connections)
            .drain_on(end_requested());
        if let Some(max_lifetime) = limits.max_lifetime {
            serve = serve.max_lifetime(max_lifetime);
        }
        let mut out = io::stdout().lock();
        // A server whose output nobody reads is a server all the same.
        out.write_all(self.greeting.as_bytes())
            .and_then(|()| out.flush())
            .ok();
        drop(out);
        tracing::info!(listen = %args.listen, "the server is ready");
        if limits.is_cut_to_fit {
            tracing::info!(
                connections = limits.max_connections,
                "the system's limit of open files, `ulimit -n`, allows fewer connections than --max-connections"
            );
        }
        self.reach_log().await?;
        let samples = args.demo.then(|| samples::start(&self.hub));
        serve.await?;
        if let Some(mut samples) = samples {
            // Their last words are published before the hub ends.
            samples.shutdown().await;
        }
        self.end().await
    }

    /// Waits until the hub has read where its log ends. From then on, it stores events in the order in which
    /// they arrive, also those of the first batch.
    async fn reach_log(&self) -> Result<(), FeedError> {
        let mut any = self.hub.subscribe("any");
        any.resume(None);
        poll_fn(|cx| any.poll_open(cx)).await.map(drop)
    }

    async fn end(self) -> Result<(), Box<dyn Error>> {
        // Its connections have ended, so nobody publishes and nobody reads.
        if timeout(END_TIME, self.hub.drain()).await.is_err() {
            tracing::warn!("the hub does not end in time");
        }
        if let Some(store) = self.store {
            let closed = tokio::spawn(async move { store.close().await });
            match timeout(END_TIME, closed).await {
                Ok(closed) => closed??,
                Err(_) => {
                    // What is acknowledged is safe already. The end of the runtime could wait for the disk.
                    tracing::error!("the store does not close in time, as the disk is slow");
                    logging::finish();
                    process::exit(1);
                }
            }
        }
        tracing::info!("the server has ended");
        Ok(())
    }
}

/// Ready when the process is asked to end, from this call on. A second request ends the process at once.
fn end_requested() -> impl Future<Output = ()> + Send + 'static {
    let first = shutdown_signal();
    async {
        first.await;
        let second = shutdown_signal();
        tracing::info!("the server ends with its connections; a second signal ends it at once");
        tokio::spawn(async {
            second.await;
            tracing::warn!("the server ends at once, after a second signal");
            logging::finish();
            process::exit(1);
        });
    }
}
