//! The questions of a hub to its log, answered from the disk.

mod channels;
mod entries;
mod index_walk;
mod locate;
mod page;
mod selected;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use tidings_hub::engine::Selection;
use tidings_hub::{ChannelName, Located, LogFuture, Page, Scope, Start, StoredChannel};

use self::channels::ChannelSearch;
pub(crate) use self::entries::Order;
use self::locate::Search;
use crate::readers::ask;
use crate::shared::Shared;

/// The maximum size of the bodies that one look examines, in bytes. The last one may exceed it.
const MAX_LOOK_BYTES: usize = 4 << 20;

pub(crate) fn ends(shared: &Arc<Shared>) -> LogFuture<'_, Vec<(ChannelName, u64)>> {
    Box::pin(ask(shared, |snapshot| snapshot.ends()))
}

pub(crate) fn channel<'a>(
    shared: &'a Arc<Shared>,
    name: &'a ChannelName,
) -> LogFuture<'a, Option<StoredChannel>> {
    Box::pin(async move {
        loop {
            // Registered before the look, so a change after the look still wakes it.
            let changed = shared.changed.notified();
            let name = name.clone();
            let found = ask(shared, move |snapshot| snapshot.channel(&name)).await?;
            match found {
                Some(found) => return Ok(found),
                None => changed.await,
            }
        }
    })
}

pub(crate) fn channels<'a>(
    shared: &'a Arc<Shared>,
    after: Option<&'a ChannelName>,
    limit: usize,
) -> LogFuture<'a, Vec<StoredChannel>> {
    let mut search = ChannelSearch::new(after, limit);
    Box::pin(async move {
        loop {
            let changed = shared.changed.notified();
            let from = search.clone();
            let look = ask(shared, move |snapshot| snapshot.channels(&from)).await?;
            match look {
                Some((_, page)) if !page.is_empty() => return Ok(page),
                Some((Some(next), _)) => search = next,
                Some((None, page)) => return Ok(page),
                None => changed.await,
            }
        }
    })
}

pub(crate) fn locate<'a>(
    shared: &'a Arc<Shared>,
    start: Start,
    scope: Scope<'a>,
) -> LogFuture<'a, Located> {
    let mut search = Search::new(start, Selection::new(scope.patterns), scope.newest);
    Box::pin(async move {
        loop {
            let from = search.clone();
            let look = ask(shared, move |snapshot| {
                let mut search = from.clone();
                let located = search.look(snapshot)?;
                Ok((search, located))
            });
            match look.await? {
                (_, Some(located)) => return Ok(located),
                (next, None) => search = next,
            }
        }
    })
}

pub(crate) fn read<'a>(
    shared: &'a Arc<Shared>,
    after: u64,
    limit: usize,
    scope: Scope<'a>,
) -> LogFuture<'a, Page> {
    let selection = Selection::new(scope.patterns);
    let newest = scope.newest.clone();
    Box::pin(ask(shared, move |snapshot| {
        snapshot.verify(&newest)?;
        snapshot.page(after, limit, &selection, newest.seq)
    }))
}
