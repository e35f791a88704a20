//! The names of the compared servers.

/// `SseRequest::open` on hyper's connection.
pub const ON_HYPER: &str = "tidings on hyper";
/// A router's `sse` route, run by `tidings_axum::serve`.
pub const SERVE: &str = "tidings serve";
/// The same router, run by `axum::serve`.
pub const ON_AXUM: &str = "tidings on axum::serve";
/// axum's `Sse` on axum's own server.
pub const AXUM_SSE: &str = "axum Sse on axum::serve";
/// axum's `Sse` on hyper's connection.
pub const AXUM_SSE_ON_HYPER: &str = "axum Sse on hyper";
/// A body of a few lines on hyper's connection.
pub const HAND_WRITTEN: &str = "hand-written body";
/// A loop over epoll that writes prepared bytes, with almost no HTTP.
pub const BARE: &str = "bare epoll";

pub const ALL: [&str; 7] = [
    ON_HYPER,
    SERVE,
    ON_AXUM,
    AXUM_SSE,
    AXUM_SSE_ON_HYPER,
    HAND_WRITTEN,
    BARE,
];
