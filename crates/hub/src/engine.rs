//! Parts for the engine of a [`Log`](crate::Log): rules that all logs keep alike.
//!
//! A program that uses a hub needs none of them. An engine passes the [`Selection`] of a question's patterns
//! its [`Channels`], and makes its pages with a [`PageBuilder`].

mod channels;
mod loss;
mod page_builder;
mod selection;

pub use channels::Channels;
pub use loss::{Loss, Removed};
pub use page_builder::PageBuilder;
pub use selection::Selection;

/// The maximum number of entries or channels that one look at a log examines: 8,192. A look at more would
/// hold up others.
pub const MAX_LOOKS: usize = 8_192;

/// The maximum number of channels below the names of patterns whose entries an engine merges: 256. Of more
/// channels, it searches the log for the entries.
pub const MAX_MERGED: usize = 256;
