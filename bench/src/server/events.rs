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
