//! The spare capacity of a queue: little of it, so that the memory of a log follows what it holds.

use std::collections::VecDeque;

/// Queues of at most this capacity do not shrink.
const MIN_SHRINK: usize = 16;

/// Makes room for one more item. A full queue grows by an eighth, not to twice its size.
pub(super) fn grow<T>(queue: &mut VecDeque<T>) {
    if queue.len() == queue.capacity() {
        queue.reserve_exact((queue.len() / 8).max(2));
    }
}

/// Frees the capacity of a queue that is less than half full.
pub(super) fn shrink<T>(queue: &mut VecDeque<T>) {
    let (length, capacity) = (queue.len(), queue.capacity());
    if length == 0 || (capacity > MIN_SHRINK && length < capacity / 2) {
        // The rest must suffice for a while, so that shrinking is rare.
        queue.shrink_to(length + length / 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_has_little_spare_capacity() {
        let mut queue = VecDeque::new();
        let check = |queue: &VecDeque<usize>, most: usize| {
            assert!(
                queue.capacity() <= most,
                "{} of {}",
                queue.len(),
                queue.capacity()
            );
        };
        for n in 0..10_000 {
            grow(&mut queue);
            queue.push_back(n);
            check(&queue, n + 1 + (n / 8).max(2));
        }
        while queue.pop_front().is_some() {
            shrink(&mut queue);
            check(&queue, (2 * queue.len() + 1).max(MIN_SHRINK));
        }
        assert_eq!(queue.capacity(), 0);
    }

    #[test]
    fn a_queue_that_stays_about_as_long_rarely_allocates() {
        let mut queue: VecDeque<usize> = VecDeque::new();
        let mut allocations = 0;
        for n in 0..100_000 {
            let before = queue.capacity();
            grow(&mut queue);
            queue.push_back(n);
            if queue.len() > 100 + n % 10 {
                queue.pop_front();
                shrink(&mut queue);
            }
            allocations += usize::from(queue.capacity() != before);
        }
        assert!(allocations < 50, "{allocations}");
    }
}
