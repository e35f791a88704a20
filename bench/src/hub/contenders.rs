//! The names of the contenders.

pub use crate::server::contenders::{AXUM_SSE, AXUM_SSE_ON_HYPER, BARE};

/// `SseRequest::forward` of a subscription, on hyper's connection.
pub const ON_HYPER: &str = "hub on hyper";
/// The same, with `writev(false)`: hyper copies everything it writes into one slice.
pub const ONE_SLICE: &str = "hub on hyper, one slice";
/// A router's handler that forwards a subscription, run by `tidings_axum::serve`.
pub const SERVE: &str = "hub on serve";
/// A body on hyper's connection that only returns the bytes of a subscription.
pub const TAPE_BODY: &str = "tape body";
