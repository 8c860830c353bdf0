//! `collab-model explore`: stateright's web explorer, in sentences, tables and charts.

use std::net::{TcpListener, ToSocketAddrs};
use std::process::ExitCode;

use crate::engine::Explorable;
use crate::engine::bounds::{Bounds, Visit};
use crate::engine::shown::Explorer;
use stateright::Model;

use super::refuse;

/// Opens a model in stateright's web explorer.
///
/// Click through what may happen: every action reads as a sentence, every state is a table, the way to it a
/// message-sequence chart. "Run to completion" searches all of it for violations.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    bounds: Bounds,
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:3000")]
    addr: String,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    if let Err(problem) = args.bounds.validate() {
        return refuse(&problem);
    }
    let addresses: Vec<_> = match args.addr.to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            return refuse(&format!("{} is no address to listen at, such as 127.0.0.1:3000: {error}", args.addr));
        }
    };
    // stateright panics where it cannot listen.
    let port = TcpListener::bind(&addresses[..]).and_then(|listener| listener.local_addr());
    let at = match port {
        Ok(at) => at,
        Err(error) => return refuse(&format!("cannot listen at {}: {error}; --addr names another", args.addr)),
    };
    println!("{}: http://{at}/", args.bounds.describe());
    println!("Stop it with Ctrl-C.");
    args.bounds.visit(Serve(at));
    ExitCode::SUCCESS
}

struct Serve(std::net::SocketAddr);

impl Visit for Serve {
    type Output = ();

    fn visit<M: Explorable>(self, model: M) {
        Explorer::new(model).checker().serve(self.0);
    }
}
