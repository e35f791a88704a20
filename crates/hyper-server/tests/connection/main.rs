//! Connections over pipes in memory: which responses leave hyper, and what their clients receive.

mod conditions;
mod keep_alive;
mod like_hyper;
mod support;
mod wire;
mod writes;
