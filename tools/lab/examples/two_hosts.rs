//! A client and a server on a cable, kept until standard input ends, with the commands by which
//! a person enters each: `cargo run -p lab --example two_hosts`.

use std::error::Error;
use std::io;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};

use lab::backend::HttpServer;
use lab::client::{Dial, http_get};
use lab::{Host, HostPlan, Namespace, sandbox};

fn main() -> Result<(), Box<dyn Error>> {
    if let Err(error) = sandbox::enter() {
        eprintln!("NOT RUN: {error}");
        return Ok(());
    }
    let address = Ipv4Addr::new(10, 0, 0, 2);
    let server = Namespace::create("server")?;
    let client =
        Host::create(&HostPlan::new("client", Ipv4Addr::new(10, 0, 0, 1), 24), &server, "lan")?;
    client.peer().add_address(address, 24)?;
    let http = HttpServer::start(&server, SocketAddrV4::new(address, 80), "blue")?;
    let response = client.run(|| http_get(&Dial::to(http.address()), "/"))??;
    println!("GET http://{}/ from client:\n{}", http.address(), response.body);
    println!("enter the client: {}", client.namespace().enter_command());
    println!("enter the server: {}", server.enter_command());
    println!("(until standard input ends)");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
