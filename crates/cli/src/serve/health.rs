//! What a supervisor asks: whether the server is alive and ready, and its metrics.

use std::sync::OnceLock;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

use super::app::App;
use super::auth::Caller;
use super::logging;
use super::problem::Problem;

/// The metrics of this process, which all its parts record to.
static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// How often the recorded values of histograms are counted. They are in memory until then.
const UPKEEP: Duration = Duration::from_secs(5);

/// The limits of the buckets of each histogram, of bytes and of entries.
const BUCKETS: [f64; 12] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
];

/// Records the metrics from now on.
pub(super) fn record_metrics() -> Result<(), BuildError> {
    let builder = PrometheusBuilder::new().set_buckets(&BUCKETS)?;
    let handle = builder.install_recorder()?;
    let handle = METRICS.get_or_init(|| handle);
    // Known before the first session, so that an alert sees a zero.
    for gauge in ["tidings_server_sessions", "tidings_hub_subscriptions"] {
        metrics::gauge!(gauge).increment(0.0);
    }
    tokio::spawn(async {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            handle.run_upkeep();
        }
    });
    Ok(())
}

pub(super) async fn is_alive() -> impl IntoResponse {
    ([(CACHE_CONTROL, "no-store")], "ok\n")
}

pub(super) async fn is_ready(State(app): State<App>) -> impl IntoResponse {
    if app.drain.is_started() {
        let detail = "the server is shutting down";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", detail);
        return ([(CACHE_CONTROL, "no-store")], problem).into_response();
    }
    ([(CACHE_CONTROL, "no-store")], "ready\n").into_response()
}

pub(super) async fn metrics(
    State(app): State<App>,
    caller: Caller,
) -> Result<impl IntoResponse, Problem> {
    caller.check_metrics()?;
    #[expect(clippy::cast_precision_loss, reason = "there are fewer connections")]
    let connections = app.drain.open_connections() as f64;
    metrics::gauge!("tidings_serve_connections").set(connections);
    metrics::counter!("tidings_serve_log_lines_lost_total").absolute(logging::lost_lines());
    let text = METRICS.get().map(PrometheusHandle::render);
    let headers = [
        (CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, text.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tidings::axum::Drain;
    use tidings::hub::Hub;

    use super::*;
    use crate::serve::Args;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        args: Args,
    }

    #[tokio::test]
    async fn a_server_that_drains_is_alive_and_not_ready() {
        let args = Flags::parse_from(["test"]).args;
        let drain = Drain::new();
        let app = App::new(Hub::in_memory(), drain.clone(), None, &args);
        let status = async || is_ready(State(app.clone())).await.into_response().status();
        assert_eq!(status().await, StatusCode::OK);
        drain.start();
        assert_eq!(status().await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(is_alive().await.into_response().status(), StatusCode::OK);
    }
}
