//! `listen`: its output, and its requests.

mod reconnection;
mod redirects;
mod requests;
mod responses;

use std::process::Command;

use serde_json::{Value, json};

use crate::process::Process;

/// The program. Its connections follow one another without a wait.
struct Listen {
    process: Process,
}

impl Listen {
    fn to(url: &str) -> Self {
        Self::with(url, &[("SSE_INITIAL_DELAY_MS", "0")])
    }

    /// With only these variables in its environment.
    fn with(url: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_listen"));
        let command = command.arg(url).env_clear();
        let process = Process::start(command.envs(environment.iter().copied()));
        Self { process }
    }

    async fn expect(&mut self, line: Value) {
        let printed = self.process.line().await.expect("another line");
        let printed: Value = serde_json::from_str(&printed).expect("a line of JSON");
        assert_eq!(printed, line);
    }

    async fn expect_open(&mut self) {
        self.expect(json!({ "t": "open" })).await;
    }

    async fn expect_event(&mut self, data: &str, id: &str) {
        self.expect(json!({ "t": "event", "event": "message", "data": data, "id": id }))
            .await;
    }

    /// A lost connection after which it reconnects.
    async fn expect_loss(&mut self) {
        self.expect(json!({ "t": "error", "fatal": false })).await;
    }

    /// A failure after which it ends.
    async fn expect_failure(mut self) {
        self.expect(json!({ "t": "error", "fatal": true })).await;
        assert!(self.process.end().await.success());
    }
}
