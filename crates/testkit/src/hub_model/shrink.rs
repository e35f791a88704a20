//! `shrink`: the reduction of a failing list of steps to a short one.

use super::Failed;

/// Leaves out halves of the list, then quarters, and finally single items, as long as the rest still
/// fails in some way. Returns the shortest list that fails, and its failure.
pub(super) fn shrink<T: Clone>(
    list: Vec<T>,
    failed: Failed,
    fails: impl Fn(&[T]) -> Option<Failed>,
) -> (Vec<T>, Failed) {
    let (mut list, mut failed) = (list, failed);
    let mut length = list.len().div_ceil(2);
    while length > 0 {
        let mut start = 0;
        let mut has_shrunk = false;
        while start < list.len() {
            let end = (start + length).min(list.len());
            let rest = [&list[..start], &list[end..]].concat();
            match fails(&rest) {
                Some(still) => {
                    (list, failed, has_shrunk) = (rest, still, true);
                }
                None => start = end,
            }
        }
        if !has_shrunk || length > 1 {
            length /= 2;
        }
    }
    (list, failed)
}
