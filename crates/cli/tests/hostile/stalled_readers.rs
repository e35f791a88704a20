//! Readers that stall on a busy channel: what they cost, until the write deadline ends them.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use tidings_testkit::property::steps;
use tidings_testkit::timeout::timeout;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::crowd::gather;
use crate::process::{LIMIT, Server};
use crate::publisher::Publisher;
use crate::scenario::run;
use crate::subscriber::Subscriber;
use crate::watch::{await_connections, await_sessions, memory, metric};

/// How many readers stall, unless `TIDINGS_TEST_STEPS` says otherwise.
const STALLED: u64 = 200;

/// The digits of an event.
const EVENT_BYTES: usize = 8_000;

/// The events before and while readers stall: 4.8 MB, as much as the kernel would keep for each reader.
const EVENTS: u64 = 600;

/// The most memory of the server that a stalled reader may cost.
const COST: u64 = 192 * 1024;

/// The most bytes that may wait in its socket: 128 KiB that are not sent, and what its own buffer holds.
const COST_IN_SOCKET: u64 = 512 * 1024;

/// The bytes that wait in the sockets of the server's connections, as the kernel counts them.
fn bytes_in_sockets(server: &Server) -> u64 {
    let port = format!("{:04X}", server.address().port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table
        .lines()
        .skip(1)
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    let of_server = rows.filter(|row| row[1].ends_with(&port));
    let waiting = of_server.map(|row| row[4].split_once(':').unwrap().0);
    waiting
        .map(|bytes| u64::from_str_radix(bytes, 16).unwrap())
        .sum()
}

/// The memory of all TCP sockets of this machine, in bytes.
fn socket_memory() -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("TCP: "))
        .unwrap();
    let (_, pages) = line.split_once("mem ").unwrap();
    pages.trim().parse::<u64>().unwrap() * 4096
}

/// The memory of the server without the tapes of the hub, which all subscribers share.
fn memory_without_tapes(server: &Server) -> u64 {
    memory(server).saturating_sub(metric(server, "tidings_hub_tape_bytes"))
}

/// Reads until the server has ended the stream. Returns how many bytes there were.
async fn drain(mut socket: TcpStream) -> io::Result<u64> {
    let mut total = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match socket.read(&mut buffer).await? {
            0 => return Ok(total),
            count => total += count as u64,
        }
    }
}

#[test]
fn stalled_readers_cost_little_until_they_are_ended_and_delay_nobody() {
    let count = steps(STALLED);
    run(count, async {
        let server = Server::start(&["--retain-bytes", "4MiB", "--write-deadline", "20s"]);
        let address = server.address();
        let mut publisher = Publisher::connect(address, "/channels/a")
            .await
            .width(EVENT_BYTES);
        // The hub has all its memory before the first measurement.
        for number in 0..EVENTS {
            publisher.publish(number).await;
        }
        let mut reader = Subscriber::open(address, "/channels/a", None, 0)
            .await
            .unwrap();
        let alone = memory_without_tapes(&server);
        let size = usize::try_from(count).unwrap();
        let stalled = gather(address, "/channels/a", size).await;
        await_sessions(&server, count + 1).await;
        let (idle, sockets) = (memory_without_tapes(&server), socket_memory());

        let reads = tokio::spawn(async move {
            for number in 0..EVENTS {
                assert_eq!(reader.next().await.unwrap().number, number);
            }
            reader
        });
        for number in 0..EVENTS {
            publisher.publish(number).await;
        }
        let reader = timeout(LIMIT, reads).await.unwrap().unwrap();
        let busy = memory_without_tapes(&server);
        let (waiting, kernel) = (bytes_in_sockets(&server), socket_memory());
        let each = |bytes: u64| bytes / count;
        eprintln!(
            "each of {count}: {} bytes idle, {} bytes stalled; in its socket {} bytes; all sockets of the \
             machine: {} bytes more for each",
            each(idle.saturating_sub(alone)),
            each(busy.saturating_sub(alone)),
            each(waiting),
            each(kernel.saturating_sub(sockets)),
        );
        assert_eq!(metric(&server, "tidings_server_sessions"), count + 1);
        assert!(each(busy.saturating_sub(alone)) < COST);
        assert!(each(waiting) < COST_IN_SOCKET);

        // They are ended, although they still do not read. The attentive reader is not.
        drop(publisher);
        await_sessions(&server, 1).await;
        await_connections(&server, 1).await;
        let freed = Instant::now();
        while bytes_in_sockets(&server) > 0 {
            assert!(freed.elapsed() < LIMIT, "the sockets keep their bytes");
            sleep(Duration::from_millis(50)).await;
        }
        for one in stalled {
            // The stream was cut, and has no proper end.
            let read = timeout(LIMIT, drain(one.into_socket())).await.unwrap();
            assert!(read.is_err() || read.is_ok_and(|bytes| bytes > 0));
        }
        drop(reader);
        await_sessions(&server, 0).await;
    });
}
