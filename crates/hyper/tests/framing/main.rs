//! The framing of response bodies: a table of cases, and hyper's own reading of the same bytes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod beside_hyper;
mod corpus;
mod pieces;
mod table;
