//! Writing a trace while the server runs.
//!
//! Whoever tells of an event encodes it where it happens and appends the line to a bounded buffer; a thread of its own
//! writes that out. The lines have one order, which is that in which the events were told. The server never waits for
//! the disk: if the buffer is full or a write fails, the trace ends there and says so, and the server goes on.

// A file, a thread and a clock are what this module is for.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::warn;

use super::format::Event;
use crate::server::trace::{Event as Told, Observer};

/// Most bytes that wait to be written.
const BUFFER_BYTES_MAX: usize = 64 << 20;

/// How long lines are collected before they are written: a killed process loses no more than that.
const COLLECTED_FOR: Duration = Duration::from_millis(5);

/// With so many bytes collected the thread does not wait any longer.
const COLLECTED_BYTES: usize = 1 << 20;

thread_local! {
    /// Where a line is encoded, so that none is allocated.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes what it is told to a file.
pub struct Recorder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Rung when there is something to write, and when there is no more to come.
    filled: Condvar,
    /// Rung when everything is written.
    emptied: Condvar,
    bytes_max: usize,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// The number of the next line.
    next: u64,
    /// Bytes taken out and not yet written.
    is_writing: bool,
    /// Nothing is taken any more.
    is_closed: bool,
    /// Nothing is written any more.
    has_failed: bool,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Recorder {
    /// Records into a file: behind what it holds, or into a new one that only its owner may read. For what clients say,
    /// their secrets included, is in it.
    ///
    /// # Errors
    /// The file cannot be written, or the thread not started.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        end_last_line(&mut file)?;
        Self::into(file, BUFFER_BYTES_MAX)
    }

    /// Records into anything, with at most so many bytes waiting.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn into(to: impl io::Write + Send + 'static, bytes_max: usize) -> io::Result<Self> {
        let (filled, emptied) = Default::default();
        let shared = Arc::new(Shared { queue: Mutex::default(), filled, emptied, bytes_max });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("trace".to_owned()).spawn(move || for_thread.write_out(to))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Waits until everything that was told is in the file.
    pub fn flush(&self) {
        let mut queue = self.shared.lock();
        while !queue.has_failed && (queue.is_writing || !queue.bytes.is_empty()) {
            queue = self.shared.emptied.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn record(&self, event: &Event<'_>) {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            // Nothing in an event cannot be written; if it could, a hole would be worse than an end.
            match serde_json::to_writer(&mut *scratch, event) {
                Ok(()) => self.shared.push(scratch),
                Err(error) => self.shared.give_up(&format!("an event cannot be written: {error}")),
            }
        });
    }
}

impl Observer for Recorder {
    fn observe(&self, event: &Told<'_>) {
        super::tell::tell(event, |event| self.record(event));
    }
}

/// Keeps what it is told as lines in memory, without a thread: for a simulation, which has none.
#[derive(Default)]
pub struct Lines(Mutex<Queue>);

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl Lines {
    /// The lines so far, with what ends each.
    pub fn bytes(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Lines {
    fn observe(&self, event: &Told<'_>) {
        super::tell::tell(event, |event| {
            // Nothing in an event cannot be written; if it could, the line that is missing would be noticed.
            let event = serde_json::to_vec(event).unwrap_or_default();
            self.lock().append(&event);
        });
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.filled.notify_all();
        if let Some(thread) = self.thread.take() {
            // It has said itself what went wrong.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Bytes are appended as whole lines or not at all: a poisoned lock holds whole lines.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a line with this event, an object of one field.
    fn push(&self, event: &[u8]) {
        let mut queue = self.lock();
        if queue.is_closed {
            return;
        }
        if queue.bytes.len() + event.len() > self.bytes_max {
            drop(queue);
            return self.give_up("the disk does not keep up");
        }
        let was_empty = queue.bytes.is_empty();
        queue.append(event);
        drop(queue);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Ends the trace: one last line says why.
    fn give_up(&self, why: &str) {
        let mut queue = self.lock();
        if queue.is_closed {
            return;
        }
        warn!(why, "the trace is incomplete: nothing more is recorded");
        if let Ok(event) = serde_json::to_vec(&Event::Lost { why: why.into() }) {
            queue.append(&event);
        }
        queue.is_closed = true;
        drop(queue);
        self.filled.notify_all();
    }

    fn write_out(&self, mut to: impl io::Write) {
        let mut taken = Vec::new();
        while self.take(&mut taken) {
            let written = to.write_all(&taken).and_then(|()| to.flush());
            taken.clear();
            let mut queue = self.lock();
            queue.is_writing = false;
            if let Err(error) = written {
                warn!(%error, "the trace is incomplete: it cannot be written");
                (queue.is_closed, queue.has_failed) = (true, true);
                queue.bytes = Vec::new();
            }
            let is_done = queue.has_failed || queue.bytes.is_empty();
            let has_failed = queue.has_failed;
            drop(queue);
            if is_done {
                self.emptied.notify_all();
            }
            if has_failed {
                return;
            }
        }
    }

    /// Waits for lines and takes them. False if there is nothing more to come.
    fn take(&self, taken: &mut Vec<u8>) -> bool {
        let mut queue = self.lock();
        while queue.bytes.is_empty() {
            if queue.is_closed {
                return false;
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if !queue.is_closed && queue.bytes.len() < COLLECTED_BYTES {
            drop(queue);
            std::thread::sleep(COLLECTED_FOR);
            queue = self.lock();
        }
        std::mem::swap(&mut queue.bytes, taken);
        queue.is_writing = true;
        true
    }
}

impl Queue {
    fn append(&mut self, event: &[u8]) {
        let inner = event.strip_prefix(b"{").unwrap_or(event);
        // A vector takes everything.
        let _ = write!(self.bytes, "{{\"n\":{},", self.next);
        self.bytes.extend_from_slice(inner);
        self.bytes.push(b'\n');
        self.next += 1;
    }
}

/// A process that was killed may have left a piece of a line.
fn end_last_line(file: &mut File) -> io::Result<()> {
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes nothing until it is let, and then at most so many bytes.
    struct Disk {
        written: Arc<Mutex<Vec<u8>>>,
        gate: std::sync::mpsc::Receiver<()>,
        room: usize,
    }

    impl io::Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Once nobody holds the other end, everything is let through.
            let _ = self.gate.recv();
            let mut written = self.written.lock().unwrap();
            let taken = bytes.len().min(self.room - written.len());
            written.extend_from_slice(&bytes[..taken]);
            if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(written: &Mutex<Vec<u8>>) -> Vec<String> {
        String::from_utf8(written.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_disk_that_does_not_keep_up_ends_the_trace_and_nobody_waits() {
        let (open, gate) = std::sync::mpsc::channel();
        let written = Arc::default();
        let recorder = Recorder::into(Disk { written: Arc::clone(&written), gate, room: usize::MAX }, 1000).unwrap();
        for _ in 0..1000 {
            recorder.observe(&Told::Stopping);
        }
        drop(open);
        recorder.flush();
        let lines = lines(&written);
        assert!(lines.len() < 1000);
        let last = lines.last().unwrap();
        assert_eq!(last, &format!("{{\"n\":{},\"lost\":{{\"why\":\"the disk does not keep up\"}}}}", lines.len() - 1));
    }

    #[test]
    fn a_full_disk_ends_the_trace_and_nobody_waits() {
        let (open, gate) = std::sync::mpsc::channel();
        let written = Arc::default();
        let recorder = Recorder::into(Disk { written: Arc::clone(&written), gate, room: 100 }, 1 << 20).unwrap();
        drop(open);
        for _ in 0..1000 {
            recorder.observe(&Told::Stopping);
        }
        recorder.flush();
        drop(recorder);
        assert_eq!(written.lock().unwrap().len(), 100);
    }

    #[test]
    fn what_was_told_is_written_behind_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trace");
        std::fs::write(&path, "{\"n\":0,\"tra").unwrap();
        let recorder = Recorder::open(&path).unwrap();
        recorder.observe(&Told::Stopping);
        recorder.observe(&Told::Stopped);
        drop(recorder);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"n\":0,\"tra\n{\"n\":0,\"stopping\":{}}\n{\"n\":1,\"stopped\":{}}\n");
    }
}
