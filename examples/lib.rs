//! The Rust code of the README, of the pages in `docs/` and of the client's README, compiled by the doctests.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/testing.md")]
struct Testing;

#[cfg(doctest)]
#[doc = include_str!("../docs/browsers.md")]
struct Browsers;

#[cfg(doctest)]
#[doc = include_str!("../docs/from-axum-sse.md")]
struct FromAxumSse;

#[cfg(doctest)]
#[doc = include_str!("../docs/from-ktor.md")]
struct FromKtor;

#[cfg(doctest)]
#[doc = include_str!("../docs/from-reqwest-eventsource.md")]
struct FromReqwestEventsource;

#[cfg(doctest)]
#[doc = include_str!("../docs/synchronous.md")]
struct Synchronous;

#[cfg(doctest)]
#[doc = include_str!("../docs/lazy-streams.md")]
struct LazyStreams;

#[cfg(doctest)]
#[doc = include_str!("../crates/client/README.md")]
struct ClientReadme;

#[cfg(doctest)]
#[doc = include_str!("../docs/tokens.md")]
struct Tokens;
