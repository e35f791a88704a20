//! A server of one page, which receives the lines that the page posts.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use crate::DEADLINE;
use crate::output::Line;

pub(crate) struct PageServer {
    address: SocketAddr,
    posted: Receiver<Line>,
}

impl PageServer {
    pub(crate) fn start(page: impl Into<String>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("the port's number");
        let (sender, posted) = channel();
        let page: Arc<str> = page.into().into();
        thread::spawn(move || {
            // One thread per connection: browsers also open connections that they never use.
            while let Ok((socket, _)) = listener.accept() {
                let (page, sender) = (Arc::clone(&page), sender.clone());
                thread::spawn(move || answer(&socket, &page, &sender));
            }
        });
        Self { address, posted }
    }

    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn posted(self) -> Receiver<Line> {
        self.posted
    }
}

/// Answers one request per connection.
fn answer(mut socket: &TcpStream, page: &str, sender: &Sender<Line>) -> io::Result<()> {
    socket.set_read_timeout(Some(DEADLINE))?;
    let (request_line, body) = read_request(BufReader::new(socket))?;
    let (status, page) = if request_line.starts_with("POST /report ") {
        // The test may have ended.
        sender.send((Instant::now(), body)).ok();
        ("204 No Content", "")
    } else if request_line.starts_with("GET /?") {
        ("200 OK", page)
    } else {
        ("404 Not Found", "")
    };
    write!(
        socket,
        "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{page}",
        page.len()
    )
}

fn read_request(mut request: impl BufRead) -> io::Result<(String, String)> {
    let mut request_line = String::new();
    request.read_line(&mut request_line)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        request.read_line(&mut header)?;
        let Some((name, value)) = header.split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = String::new();
    request.take(length).read_to_string(&mut body)?;
    Ok((request_line, body))
}
