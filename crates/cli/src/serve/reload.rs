//! The reload of files while the server runs, at each SIGHUP.

use std::io;

use tidings::axum::Tls;

use super::Args;
use super::app::App;

/// Reads the keys of tokens and the certificate again, at each SIGHUP from now on. A broken file changes
/// nothing.
#[cfg(unix)]
pub(super) fn on_hangup(app: &App, tls: Option<&Tls>, args: &Args) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    use tokio::task::spawn_blocking;

    let files = Files {
        keys: app.auth.as_ref().and(args.token_key.clone()),
        certificate: tls.cloned().zip(args.tls.files()),
    };
    // Also without files: otherwise the signal would end the process.
    let mut hangups = signal(SignalKind::hangup())?;
    let app = app.clone();
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            let (app, files) = (app.clone(), files.clone());
            let reload = spawn_blocking(move || files.reload(&app));
            reload.await.unwrap_or_default();
        }
    });
    Ok(())
}

/// The files that are read again.
#[cfg(unix)]
#[derive(Clone)]
struct Files {
    keys: Option<std::path::PathBuf>,
    certificate: Option<(Tls, super::https::CertificateFiles)>,
}

#[cfg(unix)]
impl Files {
    fn reload(&self, app: &App) {
        if self.keys.is_none() && self.certificate.is_none() {
            tracing::info!("there is nothing to reload: neither keys nor a certificate");
        }
        if let (Some(auth), Some(path)) = (&app.auth, &self.keys) {
            match super::auth::reload(auth, path) {
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

/// This platform has no SIGHUP.
#[cfg(not(unix))]
pub(super) fn on_hangup(_: &App, _: Option<&Tls>, _: &Args) -> io::Result<()> {
    Ok(())
}
