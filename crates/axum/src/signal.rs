//! Owns `shutdown_signal`: when a process is asked to end.

use std::future::Future;

use tokio::runtime::Handle;

/// Ready once the process is asked to end: by SIGTERM or Ctrl-C, where there is no SIGTERM by Ctrl-C.
///
/// For [`Serve::drain_on`](crate::Serve::drain_on). It listens from this call on, within a tokio
/// runtime, and else from its first poll on. From then on neither ends the process by itself any
/// more, so what waits for this should end in bounded time, as a drain does.
///
/// # Cancel safety
/// Dropped, it listens no more; the process still does not end by itself.
pub fn shutdown_signal() -> impl Future<Output = ()> + Send + 'static {
    // At once, as a process may be asked to end as soon as it says that it has begun.
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
            let heard = signal(kind);
            heard
                .inspect_err(|error| tracing::error!(%error, ?kind, "a signal cannot be heard"))
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
            tracing::error!(%error, "Ctrl-C cannot be heard");
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_may_be_called_before_there_is_a_runtime() {
        let signal = shutdown_signal();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        let heard = runtime
            .block_on(async { tokio::time::timeout(Duration::from_millis(10), signal).await });
        heard.unwrap_err();
    }
}
