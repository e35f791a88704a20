//! `shutdown_signal`: ready when the process is asked to end.

use std::future::Future;

use tokio::runtime::Handle;

/// Ready when the process is asked to end: by SIGTERM or Ctrl-C; on platforms without SIGTERM by Ctrl-C.
///
/// Pass it to [`Serve::drain_on`](crate::Serve::drain_on). Within a tokio runtime it listens from this call
/// on, otherwise from its first poll on. From then on neither signal ends the process by itself, so the code
/// that waits for it must end the process in bounded time, as a drain does.
///
/// # Cancel safety
/// If you drop it, it no longer listens, and the signals still do not end the process by themselves.
pub fn shutdown_signal() -> impl Future<Output = ()> + Send + 'static {
    // At once: a process may be asked to end as soon as it has reported that it runs.
    let signals = Handle::try_current().is_ok().then(Signals::listen);
    async move {
        signals.unwrap_or_else(Signals::listen).recv().await;
    }
}

#[cfg(unix)]
struct Signals {
    terminate: Option<tokio::signal::unix::Signal>,
    interrupt: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};

        let listen = |kind| {
            signal(kind)
                .inspect_err(|error| tracing::error!(%error, ?kind, "cannot listen for a signal"))
                .ok()
        };
        Self {
            terminate: listen(SignalKind::terminate()),
            interrupt: listen(SignalKind::interrupt()),
        }
    }

    async fn recv(mut self) {
        tokio::select! {
            Some(()) = recv(&mut self.terminate) => {}
            Some(()) = recv(&mut self.interrupt) => {}
            else => std::future::pending().await,
        }
    }
}

#[cfg(unix)]
async fn recv(signal: &mut Option<tokio::signal::unix::Signal>) -> Option<()> {
    signal.as_mut()?.recv().await
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> Self {
        Self
    }

    async fn recv(self) {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "cannot listen for Ctrl-C");
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_can_be_called_outside_of_a_runtime() {
        let signal = shutdown_signal();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        let waiting =
            async { tidings_testkit::timeout::timeout(Duration::from_millis(10), signal).await };
        runtime.block_on(waiting).unwrap_err();
    }
}
