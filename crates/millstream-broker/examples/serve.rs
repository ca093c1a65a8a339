//! A broker in the foreground: `serve ADDRESS FOLDER`, until standard input ends.
//!
//! Prints the address as soon as it accepts connections; for trying things out and for tests that kill a broker. The whole
//! command line, with options and signals, is `millstream broker`.

use std::io::{self, Read};
use std::net::SocketAddr;

use millstream_broker::{Config, Listener, Server};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let listen: SocketAddr = args.next().ok_or("serve ADDRESS FOLDER")?.parse()?;
    let mut config = Config::new(args.next().ok_or("serve ADDRESS FOLDER")?);
    config.listeners = vec![Listener::at(listen)];
    let server = Server::start(config)?;
    println!("{}", server.address());
    io::stdin().read_to_end(&mut Vec::new())?;
    server.stop()?;
    Ok(())
}
