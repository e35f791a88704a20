//! The reload of files while the server runs, at each SIGHUP.

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use tidings::axum::Tls;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Args;
use super::app::App;
use super::auth;
use super::https::CertificateFiles;

/// A reload that takes longer is reported in the log.
const SLOW: Duration = Duration::from_secs(10);

/// Receives the SIGHUPs from the time at which it is made. Before that, a SIGHUP ends the process.
pub(super) struct Hangups {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Hangups {
    pub(super) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        let signal = signal(SignalKind::hangup())?;
        Ok(Self { signal })
    }

    async fn next(&mut self) -> Option<()> {
        self.signal.recv().await
    }
}

/// This platform has no SIGHUP.
#[cfg(not(unix))]
impl Hangups {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    async fn next(&mut self) -> Option<()> {
        None
    }
}

impl Hangups {
    /// Reads the keys of tokens and the certificate again, at each SIGHUP. A broken file changes nothing.
    ///
    /// One reload runs at a time. All signals that arrive meanwhile cause one more reload after it.
    pub(super) fn reload(mut self, app: &App, tls: Option<&Tls>, args: &Args) {
        let files = Files {
            keys: app.auth.as_ref().and(args.token_key.clone()),
            certificate: tls.cloned().zip(args.tls.files()),
        };
        let app = app.clone();
        tokio::spawn(async move {
            while self.next().await.is_some() {
                run(files.clone(), app.clone()).await;
            }
        });
    }
}

/// Runs a reload on a thread of its own, for which the end of the process does not wait: a file system may
/// never answer.
async fn run(files: Files, app: App) {
    let (done, mut is_done) = oneshot::channel::<()>();
    let thread = thread::Builder::new().name("reload".to_owned());
    let started = thread.spawn(move || {
        files.reload(&app);
        drop(done);
    });
    if let Err(error) = started {
        tracing::error!(%error, "the files are not read again");
    }
    if timeout(SLOW, &mut is_done).await.is_err() {
        tracing::warn!("the files are still being read; until that ends, nothing is replaced");
        is_done.await.unwrap_or_default();
    }
}

/// The files that are read again.
#[derive(Clone)]
struct Files {
    keys: Option<PathBuf>,
    certificate: Option<(Tls, CertificateFiles)>,
}

impl Files {
    fn reload(&self, app: &App) {
        if self.keys.is_none() && self.certificate.is_none() {
            tracing::info!("there is nothing to reload: neither keys nor a certificate");
        }
        if let (Some(auth), Some(path)) = (&app.auth, &self.keys) {
            match auth::reload(auth, path) {
                Ok(()) => tracing::info!("the keys of tokens are replaced"),
                Err(error) => tracing::error!(error, "the keys of tokens stay as they were"),
            }
        }
        if let Some((tls, files)) = &self.certificate {
            match files.reload(tls) {
                Ok(()) => tracing::info!("the certificate is replaced"),
                Err(error) => tracing::error!(error, "the certificate stays as it was"),
            }
        }
    }
}
