//! The reload of files while the server runs, at each SIGHUP.

use std::io;

use super::Args;
use super::app::App;

/// Reads the keys of tokens again, at each SIGHUP from now on. A broken file changes nothing.
#[cfg(unix)]
pub(super) fn on_hangup(app: &App, args: &Args) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    use tokio::task::spawn_blocking;

    let Some(path) = &args.token_key else {
        return Ok(());
    };
    let mut hangups = signal(SignalKind::hangup())?;
    let (app, path) = (app.clone(), path.clone());
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            let (app, path) = (app.clone(), path.clone());
            let reload = spawn_blocking(move || reload_keys(&app, &path));
            reload.await.unwrap_or_default();
        }
    });
    Ok(())
}

#[cfg(unix)]
fn reload_keys(app: &App, path: &std::path::Path) {
    let Some(auth) = &app.auth else {
        return;
    };
    match super::auth::reload(auth, path) {
        Ok(()) => tracing::info!("the keys of tokens are replaced"),
        Err(error) => tracing::error!(error, "the keys of tokens stay as they were"),
    }
}

/// This platform has no SIGHUP.
#[cfg(not(unix))]
pub(super) fn on_hangup(_: &App, _: &Args) -> io::Result<()> {
    Ok(())
}
