//! Compiles the Rust of the pages in `docs/`.

#[cfg(doctest)]
#[doc = include_str!("../docs/from-axum-sse.md")]
struct FromAxumSse;

#[cfg(doctest)]
#[doc = include_str!("../docs/from-ktor.md")]
struct FromKtor;

#[cfg(doctest)]
#[doc = include_str!("../docs/from-reqwest-eventsource.md")]
struct FromReqwestEventsource;
