//! The server: a process of its own that writes prepared bytes as fast as the client reads them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use bytes::Bytes;
use clap::Args;

use crate::harness::{Result, another_core, pin_to};
use crate::sessions::traffic::Traffic;

/// The order for the process of a server.
#[derive(Args)]
pub struct Serving {
    case: String,
    core: usize,
    #[arg(long)]
    quick: bool,
}

/// A running server, which ends when this is dropped or this process ends.
pub struct Server {
    process: Child,
    pub url: String,
}

impl Server {
    /// Starts it on another core than the measured one, if the machine has one.
    pub fn start(traffic: Traffic, measured: usize, quick: bool) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["send-events", &traffic.name()])
            .arg(another_core(measured)?.to_string())
            .args(quick.then_some("--quick"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("the server has no output")?;
        let mut url = String::new();
        BufReader::new(output).read_line(&mut url)?;
        let url = url.trim_end().to_owned();
        Ok(Self { process, url })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server ends when its input is closed.
        self.process.wait().expect("it was started");
    }
}

/// Serves one connection after the other until its standard input is closed.
pub fn serve(serving: &Serving) -> Result<()> {
    pin_to(serving.core)?;
    let traffic = Traffic::named(&serving.case)?;
    let writes = traffic.writes(serving.quick);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("http://{}/events", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Err(error) = answer(stream, traffic.head(), &writes) {
                eprintln!("server: {error}");
            }
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn answer(mut stream: TcpStream, head: &[u8], writes: &[Bytes]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(&stream).lines();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    drop(lines);
    stream.write_all(head)?;
    writes.iter().try_for_each(|bytes| stream.write_all(bytes))
}
