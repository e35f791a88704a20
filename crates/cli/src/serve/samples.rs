//! The channels that `--demo` fills: a clock, orders, chat rooms, and answers that arrive word by word.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use tidings::hub::{Channel, ChannelStatus, Hub, PublishError};
use tidings::{Event, EventName};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

const SECOND: Duration = Duration::from_secs(1);
const BETWEEN_ANSWERS: Duration = Duration::from_secs(15);

/// Fills the channels until what it returns is dropped. A failed publication is logged, and the next one is
/// tried.
pub(super) fn start(hub: &Hub) -> JoinSet<()> {
    let mut samples = JoinSet::new();
    samples.spawn(clock(hub.clone()));
    samples.spawn(orders(hub.clone()));
    samples.spawn(answers(hub.clone()));
    for (room, lines) in ROOMS {
        samples.spawn(chat(hub.clone(), room, lines));
    }
    samples
}

async fn publish(hub: &Hub, channel: &str, event: Event) {
    if let Err(error) = hub.publish(channel, event).await {
        tracing::debug!(channel, %error, "a sample was not published");
    }
}

fn json_event(name: EventName, data: &impl Serialize) -> Event {
    let Ok(data) = serde_json::to_string(data) else {
        unreachable!("samples are text, numbers and lists of them")
    };
    Event::new(data).event(name)
}

/// A wait of a random time in this range, in milliseconds.
async fn pause(milliseconds: std::ops::Range<u64>) {
    sleep(Duration::from_millis(fastrand::u64(milliseconds))).await;
}

/// The time of day, each second.
async fn clock(hub: Hub) {
    const TICK: EventName = EventName::from_static("tick");
    let mut seconds = interval(SECOND);
    loop {
        seconds.tick().await;
        let time = format!("{:.0}", Timestamp::now());
        publish(&hub, "demo/clock", Event::new(time).event(TICK)).await;
    }
}

// ---- Orders

const PLACED: EventName = EventName::from_static("placed");
const PAID: EventName = EventName::from_static("paid");
const SHIPPED: EventName = EventName::from_static("shipped");

/// How many orders wait at most. Then the first is shipped.
const OPEN_ORDERS: usize = 5;

const CUSTOMERS: &[&str] = &[
    "Ada", "Björn", "Chiara", "Dmitri", "Élodie", "Farah", "Kenta",
];
const GOODS: &[(&str, u32)] = &[
    ("green tea", 450),
    ("teapot", 2900),
    ("espresso beans", 1290),
    ("oat biscuits", 325),
    ("honey", 780),
];

/// Orders of a shop, as JSON: each is placed, then paid, then shipped.
async fn orders(hub: Hub) {
    let mut open: VecDeque<(u32, EventName)> = VecDeque::new();
    let mut last = 1000;
    loop {
        let is_new = open.is_empty() || (open.len() < OPEN_ORDERS && fastrand::bool());
        let event = if is_new {
            last += 1;
            open.push_back((last, PAID));
            json_event(PLACED, &order(last))
        } else {
            advance(&mut open)
        };
        publish(&hub, "demo/orders", event).await;
        pause(800..3_000).await;
    }
}

/// An order, with its fields in this order.
#[derive(Debug, Serialize)]
struct Order {
    order: u32,
    customer: &'static str,
    items: Vec<Item>,
    total: String,
}

#[derive(Debug, Serialize)]
struct Item {
    name: &'static str,
    quantity: u32,
    price: String,
}

fn order(number: u32) -> Order {
    let goods: Vec<(&str, u32, u32)> = fastrand::choose_multiple(GOODS, fastrand::usize(1..=3))
        .into_iter()
        .map(|&(name, cents)| (name, fastrand::u32(1..=4), cents))
        .collect();
    let total: u32 = goods
        .iter()
        .map(|(_, quantity, cents)| quantity * cents)
        .sum();
    let item = |(name, quantity, cents)| Item {
        name,
        quantity,
        price: euros(cents),
    };
    Order {
        order: number,
        customer: fastrand::choice(CUSTOMERS).copied().unwrap_or_default(),
        items: goods.into_iter().map(item).collect(),
        total: euros(total),
    }
}

fn euros(cents: u32) -> String {
    format!("{}.{:02} EUR", cents / 100, cents % 100)
}

/// The next step of the first order.
fn advance(open: &mut VecDeque<(u32, EventName)>) -> Event {
    let Some((order, step)) = open.pop_front() else {
        unreachable!("an order is placed if there is none")
    };
    if step == PAID {
        open.push_back((order, SHIPPED));
    }
    json_event(step, &json!({"order": order}))
}

// ---- Chat rooms

type Lines = &'static [(&'static str, &'static str)];

const ROOMS: [(&str, Lines); 2] = [
    (
        "rooms/lobby",
        &[
            ("Mia", "Good morning!"),
            ("Jonas", "Morning. Is anyone else from the late shift here?"),
            ("Aiko", "I am. The coffee is ready ☕"),
            ("Mia", "You are my favourite person today."),
            ("Jonas", "Lunch at twelve? The noodle place has a new menu."),
            ("Aiko", "Yes, please. 🍜"),
            ("Priya", "Count me in. I bring the book I promised."),
            ("Mia", "Perfect, see you there."),
        ],
    ),
    (
        "rooms/rust",
        &[
            (
                "Lena",
                "The borrow checker and I have reached an agreement.",
            ),
            ("Tom", "Which is?"),
            ("Lena", "It is right, and I clone less."),
            (
                "Sam",
                "Has anyone measured the new build? Mine went from 41 s to 29 s.",
            ),
            ("Tom", "34 s here, on a rather old laptop."),
            (
                "Lena",
                "My connection dropped for a minute. Did I miss anything?",
            ),
            (
                "Sam",
                "No: your client resumed where it stopped. Scroll up 🙂",
            ),
        ],
    ),
];

/// A conversation, again and again.
async fn chat(hub: Hub, room: &str, lines: Lines) {
    const CHAT: EventName = EventName::from_static("chat");
    for &(from, text) in lines.iter().cycle() {
        publish(
            &hub,
            room,
            json_event(CHAT, &json!({"from": from, "text": text})),
        )
        .await;
        pause(1_500..6_000).await;
    }
}

// ---- Answers

const TOKEN: EventName = EventName::from_static("token");
const DONE: EventName = EventName::from_static("done");
const INTERRUPTED: EventName = EventName::from_static("interrupted");

const ANSWERS: &[&str] = &[
    "Server-Sent Events are a response that does not end: the server writes an event whenever there is one, and \
     the browser reads it at once. Each event has an ID, and a client that reconnects names the last one, so it \
     receives what it missed.",
    "The tide follows the moon. Its gravity pulls the near side of the sea more than the earth, and the earth \
     more than the far side, so that the water stands high on both sides, about twice a day.",
    "To cook rice, rinse it until the water is clear. Add one and a half cups of water for each cup of rice, bring \
     it to the boil, cover it, and leave it on low heat for twelve minutes. Then wait ten minutes more, and do \
     not lift the lid.",
    "A lighthouse keeper once wrote down every ship that passed. Nobody ever read the books, until a storm took \
     the harbour's own records. Then they knew, from one patient man, that no ship was missing.",
];

/// Answers, each in a channel of its own that ends with it: `demo/answer/1`, `demo/answer/2`, ….
async fn answers(hub: Hub) {
    let mut pace = interval(BETWEEN_ANSWERS);
    let mut number = 0;
    loop {
        pace.tick().await;
        let channel = loop {
            number += 1;
            if let Some(channel) = fresh(&hub, number).await {
                break channel;
            }
        };
        if let Err(error) = answer(&channel).await {
            tracing::debug!(channel = %channel.name(), %error, "a sample was not published");
        }
    }
}

/// The channel of this answer, unless the log of an earlier server has it. If that server was killed in the
/// middle of the answer, this ends it.
async fn fresh(hub: &Hub, number: u64) -> Option<Channel> {
    let Ok(channel) = hub.channel(format!("demo/answer/{number}")) else {
        unreachable!("it is a valid name")
    };
    // If the log fails, so does the answer.
    match channel.state().await.map(|state| state.status) {
        Ok(ChannelStatus::Ended) => None,
        Ok(ChannelStatus::Open) => {
            drop(channel.producer(Event::new("The server ended.").event(INTERRUPTED)));
            None
        }
        Ok(ChannelStatus::Unknown) | Err(_) => Some(channel),
    }
}

async fn answer(channel: &Channel) -> Result<(), PublishError> {
    let producer = channel.producer(Event::new("The server ends.").event(INTERRUPTED))?;
    let text = fastrand::choice(ANSWERS).copied().unwrap_or_default();
    let mut tokens = 0;
    for token in text.split_inclusive(' ') {
        producer.publish(Event::new(token).event(TOKEN)).await?;
        tokens += 1;
        pause(40..220).await;
    }
    let done = json!({"tokens": tokens, "reason": "complete"});
    producer.publish(json_event(DONE, &done)).await?;
    producer.finish().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for an event of this name.
    async fn wait_for(hub: &Hub, channel: &str, name: &str) {
        let mut events = hub.subscribe(channel).last(1_000).resume_after(None);
        while let Some(batch) = events.next().await {
            let events = batch.unwrap().to_events();
            if events.iter().any(|event| event.event_type() == name) {
                return;
            }
        }
        panic!("{channel} ended without {name}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_channel_is_filled() {
        let hub = Hub::in_memory();
        let samples = start(&hub);
        for (channel, name) in [
            ("demo/clock", "tick"),
            ("demo/orders", "shipped"),
            ("rooms/lobby", "chat"),
            ("rooms/rust", "chat"),
            ("demo/answer/1", "done"),
            ("demo/answer/2", "token"),
        ] {
            wait_for(&hub, channel, name).await;
        }
        let first = hub.channel("demo/answer/1").unwrap();
        assert_eq!(first.state().await.unwrap().status, ChannelStatus::Ended);
        drop(samples);
        hub.drain().await;
    }

    #[tokio::test(start_paused = true)]
    async fn answers_of_an_earlier_server_are_kept_and_ended() {
        let hub = Hub::in_memory();
        hub.publish("demo/answer/1", Event::new("Once "))
            .await
            .unwrap();
        let _samples = start(&hub);
        wait_for(&hub, "demo/answer/1", "interrupted").await;
        wait_for(&hub, "demo/answer/2", "done").await;
    }

    #[test]
    fn the_first_order_is_paid_and_then_shipped() {
        let mut open = VecDeque::from([(1, PAID), (2, PAID)]);
        let mut steps = Vec::new();
        while !open.is_empty() {
            let event = advance(&mut open);
            steps.push(format!("{} {}", event.event_type(), event.text()));
        }
        let expected = [
            "paid {\"order\":1}",
            "paid {\"order\":2}",
            "shipped {\"order\":1}",
            "shipped {\"order\":2}",
        ];
        assert_eq!(steps, expected);
    }
}
