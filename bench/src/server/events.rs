//! Owns the events: what a server publishes is what each session has to hear.

/// Of each event's data.
pub const DATA_BYTES: usize = 100;

/// The data of the nth event.
pub fn data(number: usize) -> String {
    let mut data = format!("{{\"number\":{number:010},\"text\":\"");
    while data.len() < DATA_BYTES - 2 {
        data.push('x');
    }
    data + "\"}"
}

/// The nth event as it is sent.
pub fn event(number: usize) -> String {
    format!("data: {}\n\n", data(number))
}

/// The nth event with an id, as a hub sends it: the id is as long as that of a hub, and is none.
pub fn event_with_id(number: usize) -> String {
    format!("id: {}\n{}", id(number), event(number))
}

pub fn id(number: usize) -> String {
    format!("{EPOCH}.{}.{CHECK}", number + 1)
}

const EPOCH: &str = "twelveletter";
const CHECK: &str = "four";

/// The event that is left without its id line, and what that says.
pub fn split_id(event: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let line = event.strip_prefix(b"id: ");
    let end = line.and_then(|line| memchr::memchr(b'\n', line));
    match line.zip(end) {
        Some((line, end)) => (Some(&line[..end]), &line[end + 1..]),
        None => (None, event),
    }
}
