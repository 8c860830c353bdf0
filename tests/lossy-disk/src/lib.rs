//! Stands in for the functions of the C library through which Rust's standard library changes files, once it is
//! preloaded (`LD_PRELOAD`). `kill -9` alone is too kind: what a process has written survives it, synced or not. So
//! everything that the process does to files below a directory is done, and written into a journal as well; from that
//! the test works out what a disk that lost power may hold. On demand, writing and syncing fail.
//!
//! Set in the environment:
//!
//! - `LOSSY_DISK_ROOT`: the directory, by an absolute path.
//! - `LOSSY_DISK_JOURNAL`: the journal, which must not be below it. `Journal::note` says what it holds.
//! - `LOSSY_DISK_FAULTS`: a file that says what fails, as long as it says so: lines of `write` or `sync` and the number
//!   of the error (`sync 5` is EIO, `write 28` ENOSPC). Half of a write that fails is done.
//! - `LOSSY_DISK_SYNC_US`: a sync does nothing but take up to so many microseconds. Without it, it is a real one.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use libc::{O_CREAT, O_DIRECTORY, O_TRUNC, mode_t, off64_t, size_t, ssize_t};

/// Bits of the flags in the note of an opening.
const CREATES: u64 = 1;
const TRUNCATES: u64 = 2;

struct Journal {
    root: Vec<u8>,
    faults: Option<CString>,
    sync_us: Option<u64>,
    file: c_int,
    /// Open files below the root.
    files: Mutex<BTreeSet<c_int>>,
    /// How many syncs have begun.
    syncs: AtomicU64,
}

/// The journal, if one is asked for.
fn journal() -> Option<&'static Journal> {
    static JOURNAL: OnceLock<Option<Journal>> = OnceLock::new();
    JOURNAL.get_or_init(Journal::open).as_ref()
}

fn set(name: &str) -> Option<Vec<u8>> {
    std::env::var_os(name).map(OsStringExt::into_vec)
}

impl Journal {
    fn open() -> Option<Self> {
        let (root, path) = (set("LOSSY_DISK_ROOT")?, CString::new(set("LOSSY_DISK_JOURNAL")?).ok()?);
        let faults = set("LOSSY_DISK_FAULTS").and_then(|path| CString::new(path).ok());
        let sync_us = std::env::var("LOSSY_DISK_SYNC_US").ok().and_then(|us| us.parse().ok());
        let flags = libc::O_WRONLY | O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
        // SAFETY: the path is a C string; `open` is not one of the functions that stand here.
        let file = unsafe { libc::open(path.as_ptr(), flags, 0o600) };
        assert!(file >= 0, "LOSSY_DISK_JOURNAL cannot be opened");
        Some(Self { root, faults, sync_us, file, files: Mutex::default(), syncs: AtomicU64::new(0) })
    }

    fn files(&self) -> MutexGuard<'_, BTreeSet<c_int>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn covers(&self, path: &CStr) -> bool {
        path.to_bytes().starts_with(&self.root)
    }

    /// Adds a note: what was done (one letter), to which open file, a number, bytes. In little endian: 1, 4, 8 bytes,
    /// the number of bytes in 4, the bytes.
    ///
    /// | letter | number | bytes | |
    /// |---|---|---|---|
    /// | `o` | 1 if it may be made, 2 if it is emptied | the path | opened |
    /// | `w` | offset | what was written | |
    /// | `t` | length | | cut or extended |
    /// | `s` | the sync's own | | a sync begins |
    /// | `e` | the sync's own | nothing, or one byte that says that it failed | it has ended |
    /// | `r` | | the paths, with a zero between them | renamed |
    /// | `x` | | the path | removed |
    /// | `m` | | the path | a directory was made |
    fn note(&self, letter: u8, file: c_int, number: u64, bytes: &[u8]) {
        let mut note = vec![letter];
        note.extend((file as u32).to_le_bytes());
        note.extend(number.to_le_bytes());
        note.extend((bytes.len() as u32).to_le_bytes());
        note.extend(bytes);
        // SAFETY: the pointer and the length are those of the vector.
        let written = unsafe { libc::write(self.file, note.as_ptr().cast(), note.len()) };
        assert!(written == note.len() as ssize_t, "LOSSY_DISK_JOURNAL cannot be written");
    }

    /// The number of the error that such an operation shall fail with.
    fn fault(&self, operation: &str) -> Option<c_int> {
        let path = self.faults.as_ref()?;
        let mut text = [0_u8; 256];
        // SAFETY: the path is a C string, and the length is that of the buffer.
        let length = unsafe {
            let file = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            if file < 0 {
                return None;
            }
            let length = libc::read(file, text.as_mut_ptr().cast(), text.len());
            // Not the one that stands here: it would wait for a lock that this thread may hold.
            real::<unsafe extern "C" fn(c_int) -> c_int>(c"close")(file);
            length
        };
        let text = std::str::from_utf8(text.get(..usize::try_from(length).ok()?)?).ok()?;
        text.lines().find_map(|line| line.strip_prefix(operation)?.trim().parse().ok())
    }

    fn sync(&self, file: c_int, real: impl FnOnce() -> c_int) -> c_int {
        let fault = self.fault("sync");
        // Unlike that of any other process that writes to the same journal.
        let number = u64::from(std::process::id()) << 32 | self.syncs.fetch_add(1, Ordering::Relaxed);
        // Others go on meanwhile, and what they write is not covered.
        self.note(b's', file, number, &[]);
        let result = match (fault, self.sync_us) {
            (Some(error), _) => fail(error),
            (None, Some(us)) => {
                std::thread::sleep(Duration::from_micros(random() % us.max(1)));
                0
            }
            (None, None) => real(),
        };
        let error = if result == 0 { 0 } else { std::io::Error::last_os_error().raw_os_error().unwrap_or(0) };
        self.note(b'e', file, number, if result == 0 { &[] } else { b"!" });
        if result == 0 { 0 } else { fail(error) }
    }
}

/// Sets the number of the error and answers what failed functions answer.
fn fail(error: c_int) -> c_int {
    // SAFETY: the location is this thread's.
    unsafe { *libc::__errno_location() = error };
    -1
}

/// Some number: how long a sync takes needs no seed, as it is no more than one of many things that the moment decides.
fn random() -> u64 {
    let mut bytes = [0_u8; 8];
    // SAFETY: the length is that of the buffer; if it stays unfilled, zeros do as well.
    unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    u64::from_le_bytes(bytes)
}

/// The function of this name behind the one that stands here.
///
/// # Safety
/// `F` must be the type of that function.
unsafe fn real<F: Copy>(name: &CStr) -> F {
    // SAFETY: the name is a C string.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    assert!(!found.is_null(), "{name:?} is not there");
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: a function's address, and of that function's type as the caller promises.
    unsafe { std::mem::transmute_copy(&found) }
}

// SAFETY of all that follow: they are called as the functions whose names they have, so every path is a C string and
// every buffer as long as it is said to be; they hand on to the real function what they were given, and the types
// that they look it up by are those of the system's headers.

/// Opens a file.
///
/// # Safety
/// As of the function of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: see above. What is passed without a mode leaves whatever is in its register, which is not read then.
    let (open, name) = unsafe {
        (real::<unsafe extern "C" fn(*const c_char, c_int, mode_t) -> c_int>(c"open64"), CStr::from_ptr(path))
    };
    // SAFETY: see above.
    let open = || unsafe { open(path, flags, mode) };
    let Some(journal) = journal().filter(|journal| journal.covers(name)) else { return open() };
    let mut files = journal.files();
    let file = open();
    if file >= 0 {
        files.insert(file);
        let is_made = flags & O_CREAT != 0 && flags & O_DIRECTORY == 0;
        let bits = u64::from(is_made) * CREATES + u64::from(flags & O_TRUNC != 0) * TRUNCATES;
        journal.note(b'o', file, bits, name.to_bytes());
    }
    file
}

/// Closes a file.
///
/// # Safety
/// As of the function of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn close(file: c_int) -> c_int {
    if let Some(journal) = journal() {
        journal.files().remove(&file);
    }
    // SAFETY: see above.
    unsafe { real::<unsafe extern "C" fn(c_int) -> c_int>(c"close")(file) }
}

/// Writes at an offset.
///
/// # Safety
/// As of the function of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(file: c_int, bytes: *const c_void, count: size_t, offset: off64_t) -> ssize_t {
    // SAFETY: see above.
    let pwrite = unsafe { real::<unsafe extern "C" fn(c_int, *const c_void, size_t, off64_t) -> ssize_t>(c"pwrite64") };
    // SAFETY: see above; `count` is only ever made smaller.
    let pwrite = |count| unsafe { pwrite(file, bytes, count, offset) };
    let Some(journal) = journal() else { return pwrite(count) };
    let files = journal.files();
    if !files.contains(&file) {
        drop(files);
        return pwrite(count);
    }
    let fault = journal.fault("write");
    let written = pwrite(if fault.is_some() { count / 2 } else { count });
    if let Ok(written) = usize::try_from(written) {
        // SAFETY: so much was just read from there.
        journal.note(b'w', file, offset as u64, unsafe { std::slice::from_raw_parts(bytes.cast(), written) });
    }
    fault.map_or(written, |error| fail(error) as ssize_t)
}

/// Cuts a file, or extends it.
///
/// # Safety
/// As of the function of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate64(file: c_int, length: off64_t) -> c_int {
    // SAFETY: see above.
    let truncate = || unsafe { real::<unsafe extern "C" fn(c_int, off64_t) -> c_int>(c"ftruncate64")(file, length) };
    let Some(journal) = journal() else { return truncate() };
    let files = journal.files();
    if !files.contains(&file) {
        drop(files);
        return truncate();
    }
    if let Some(error) = journal.fault("write") {
        return fail(error);
    }
    let result = truncate();
    if result == 0 {
        journal.note(b't', file, length as u64, &[]);
    }
    result
}

/// Makes a file durable.
///
/// # Safety
/// As of the function of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(file: c_int) -> c_int {
    // SAFETY: see above.
    synced(file, || unsafe { real::<unsafe extern "C" fn(c_int) -> c_int>(c"fsync")(file) })
}

/// Makes a file's content durable.
///
/// # Safety
/// As of the function of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(file: c_int) -> c_int {
    // SAFETY: see above.
    synced(file, || unsafe { real::<unsafe extern "C" fn(c_int) -> c_int>(c"fdatasync")(file) })
}

fn synced(file: c_int, real: impl FnOnce() -> c_int) -> c_int {
    match journal() {
        Some(journal) if journal.files().contains(&file) => journal.sync(file, real),
        _ => real(),
    }
}

/// Gives a file another name.
///
/// # Safety
/// As of the function of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: see above.
    let (names, rename) = unsafe {
        let rename = real::<unsafe extern "C" fn(*const c_char, *const c_char) -> c_int>(c"rename");
        ([CStr::from_ptr(from), CStr::from_ptr(to)], rename)
    };
    let Some(journal) = journal().filter(|journal| journal.covers(names[0])) else {
        // SAFETY: see above.
        return unsafe { rename(from, to) };
    };
    let _files = journal.files();
    if let Some(error) = journal.fault("write") {
        return fail(error);
    }
    // SAFETY: see above.
    let result = unsafe { rename(from, to) };
    if result == 0 {
        journal.note(b'r', 0, 0, &names.map(CStr::to_bytes).join(&0));
    }
    result
}

/// Removes a file.
///
/// # Safety
/// As of the function of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: see above.
    let unlink = unsafe { real::<unsafe extern "C" fn(*const c_char) -> c_int>(c"unlink") };
    // SAFETY: see above.
    named(b'x', path, || unsafe { unlink(path) })
}

/// Makes a directory.
///
/// # Safety
/// As of the function of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: see above.
    let mkdir = unsafe { real::<unsafe extern "C" fn(*const c_char, mode_t) -> c_int>(c"mkdir") };
    // SAFETY: see above.
    named(b'm', path, || unsafe { mkdir(path, mode) })
}

/// Does something to a name, and notes it down if that succeeded.
fn named(letter: u8, path: *const c_char, act: impl FnOnce() -> c_int) -> c_int {
    // SAFETY: see above.
    let name = unsafe { CStr::from_ptr(path) };
    let Some(journal) = journal().filter(|journal| journal.covers(name)) else { return act() };
    let _files = journal.files();
    let result = act();
    if result == 0 {
        journal.note(letter, 0, 0, name.to_bytes());
    }
    result
}
