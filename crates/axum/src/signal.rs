//! Owns `shutdown_signal`: when a process is asked to end.

/// Ready once the process is asked to end: by SIGTERM or Ctrl-C, where there is no SIGTERM by Ctrl-C.
///
/// For [`Serve::drain_on`](crate::Serve::drain_on). From its first poll on, neither ends the process
/// by itself any more, so what waits for this should end in bounded time, as a drain does.
///
/// # Cancel safety
/// Dropped, it listens no more; the process still does not end by itself.
pub async fn shutdown_signal() {
    #[cfg(unix)]
    tokio::select! {
        () = terminate() => {}
        () = ctrl_c() => {}
    }
    #[cfg(not(unix))]
    ctrl_c().await;
}

#[cfg(unix)]
async fn terminate() {
    use tokio::signal::unix::{SignalKind, signal};

    match signal(SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(error) => {
            tracing::error!(%error, "SIGTERM cannot be heard");
            std::future::pending().await
        }
    }
}

async fn ctrl_c() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::error!(%error, "Ctrl-C cannot be heard");
        std::future::pending().await
    }
}
