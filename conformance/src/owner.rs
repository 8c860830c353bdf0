//! The owner of a server that runs as a process beside the runner: whom hooks ask to end it and to start it again.
//!
//! Such a process is a child of the runner's, and only a parent learns of its child's end: therefore the hooks are commands
//! that ask, and the owner is a thread here that does it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::thread;

use crate::hooks::Hooks;

/// A server's program, at one address and with what it keeps.
pub trait Program: Send + 'static {
    /// Starts it.
    ///
    /// # Errors
    /// Why it cannot be.
    fn start(&mut self) -> io::Result<Child>;

    /// Throws away what it kept; it does not run.
    ///
    /// # Errors
    /// Why that cannot be.
    fn forget(&mut self) -> io::Result<()>;
}

/// A running server. It ends with this.
#[derive(Debug)]
pub struct Owner {
    door: SocketAddr,
}

struct Owned<P> {
    program: P,
    child: Child,
}

impl Owner {
    /// Starts a server. When it is ready is another question.
    ///
    /// # Errors
    /// Why it cannot be started.
    pub fn start(mut program: impl Program) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let door = listener.local_addr()?;
        let child = program.start()?;
        thread::spawn(move || own(Owned { program, child }, &listener));
        Ok(Self { door })
    }

    /// What scenarios may have done to it.
    pub fn hooks(&self) -> Hooks {
        let ask = |what: &str| {
            let port = self.door.port();
            format!("exec 3<>/dev/tcp/127.0.0.1/{port} && echo {what} >&3 && read -r done <&3 && [ \"$done\" = done ]")
        };
        Hooks::by(|what| vec!["bash".to_owned(), "-c".to_owned(), ask(what)])
    }

    /// Lets it end in order.
    ///
    /// # Errors
    /// Why it could not.
    pub fn end(&self) -> io::Result<()> {
        self.ask("end")
    }

    fn ask(&self, what: &str) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.door)?;
        writeln!(stream, "{what}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer == "done\n" { Ok(()) } else { Err(io::Error::other(answer)) }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Fails if it has ended already.
        let _ = self.ask("drop");
    }
}

fn own<P: Program>(mut owned: Owned<P>, door: &TcpListener) {
    for stream in door.incoming().flatten() {
        let (mut asked, mut answer) = (String::new(), &stream);
        let done = match BufReader::new(&stream).read_line(&mut asked) {
            Ok(_) => owned.carry_out(asked.trim()),
            Err(error) => Err(error),
        };
        // Whoever asked may have gone.
        let _ = match done {
            Ok(()) => writeln!(answer, "done"),
            Err(error) => writeln!(answer, "{error}"),
        };
        if matches!(asked.trim(), "end" | "drop") {
            return;
        }
    }
}

impl<P: Program> Owned<P> {
    fn carry_out(&mut self, what: &str) -> io::Result<()> {
        if matches!(what, "restart" | "end") {
            let told = Command::new("kill").arg(self.child.id().to_string()).status()?;
            if !told.success() {
                return Err(io::Error::other("it cannot be told to end"));
            }
        } else {
            self.child.kill()?;
        }
        self.child.wait()?;
        if matches!(what, "end" | "drop") {
            return Ok(());
        }
        if what == "reset" {
            self.program.forget()?;
        }
        self.child = self.program.start()?;
        Ok(())
    }
}

impl<P> Drop for Owned<P> {
    fn drop(&mut self) {
        // It has ended, or this ends it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
