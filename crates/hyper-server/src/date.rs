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
    append(head, second);
}

fn append(head: &mut Vec<u8>, second: u64) {
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
    fn a_date_is_that_of_its_second() {
        for (second, expected) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_778, "Sun, 06 Nov 1994 08:49:38 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            let mut head = Vec::new();
            append(&mut head, second);
            assert_eq!(head, expected.as_bytes());
        }
    }
}
