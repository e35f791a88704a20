//! The value of a `Date` header, formatted once a second.

use std::cell::Cell;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use httpdate::HttpDate;

/// The length of a date, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
const LENGTH: usize = 29;

type CachedDate = (u64, [u8; LENGTH]);

thread_local! {
    /// The date of the last head that this thread has written, and its second.
    static CACHED: Cell<Option<CachedDate>> = const { Cell::new(None) };
}

/// Appends the date of now.
#[allow(
    clippy::disallowed_methods,
    reason = "the date of a response is the time at which its head is written"
)]
pub(crate) fn append_now(head: &mut Vec<u8>) {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let second = since_epoch.unwrap_or_default().as_secs();
    let cached = CACHED.get().filter(|(cached, _)| *cached == second);
    let (_, date) = cached.unwrap_or_else(|| {
        let date = (second, format(second));
        CACHED.set(Some(date));
        date
    });
    head.extend_from_slice(&date);
}

fn format(second: u64) -> [u8; LENGTH] {
    let mut date = [0; LENGTH];
    let time = HttpDate::from(UNIX_EPOCH + Duration::from_secs(second));
    if write!(&mut date[..], "{time}").is_err() {
        unreachable!("a date has {LENGTH} bytes");
    }
    date
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_the_second_in_which_it_is_appended() {
        let before = SystemTime::now() - Duration::from_secs(1);
        for _ in 0..2 {
            let mut head = Vec::new();
            append_now(&mut head);
            let date = httpdate::parse_http_date(str::from_utf8(&head).unwrap()).unwrap();
            assert!(before <= date && date <= SystemTime::now());
        }
        assert_eq!(&format(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
