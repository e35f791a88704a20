//! The events that a server publishes and each session must receive.

/// The size of each event's data, in bytes.
pub const DATA_BYTES: usize = 100;

/// The data of the nth event.
pub fn data(number: usize) -> String {
    let mut data = format!("{{\"number\":{number:010},\"text\":\"");
    while data.len() < DATA_BYTES - 2 {
        data.push('x');
    }
    data + "\"}"
}

/// The nth event in its wire form.
pub fn event(number: usize) -> String {
    format!("data: {}\n\n", data(number))
}

/// The nth event with an ID, as a hub sends it: the ID is as long as a hub's, but not a position.
pub fn event_with_id(number: usize) -> String {
    format!("id: {}\n{}", id(number), event(number))
}

pub fn id(number: usize) -> String {
    format!("{EPOCH}.{}.{CHECK}", number + 1)
}

const EPOCH: &str = "twelveletter";
const CHECK: &str = "four";

/// An event's ID, and the event without its `id` line.
pub fn split_id(event: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let line = event.strip_prefix(b"id: ");
    let end = line.and_then(|line| memchr::memchr(b'\n', line));
    match line.zip(end) {
        Some((line, end)) => (Some(&line[..end]), &line[end + 1..]),
        None => (None, event),
    }
}
