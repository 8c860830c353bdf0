//! Servers that are recorded, and whether their traces are explained: shared by the tests that start one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use collab_engine::server::trace::Observer;
use collab_engine::trace::record::Recorder;
use collab_engine::trace::validate::{Explained, validate_files};

/// The trace of one server in this process.
pub(crate) struct Traced {
    recorder: Arc<Recorder>,
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Traced {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trace");
        Self { recorder: Arc::new(Recorder::open(&path).unwrap()), path, _dir: dir }
    }

    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.recorder) as Arc<dyn Observer>
    }
}

impl Drop for Traced {
    /// Whatever the test was about: what the server did must be explained.
    fn drop(&mut self) {
        self.recorder.flush();
        if !std::thread::panicking() {
            explained(&[&self.path]);
        } else if let Err((unexplained, story)) = validate_files(&[&self.path]) {
            // The test fails already: this may be why.
            eprintln!("{unexplained}\n{story}");
        }
    }
}

/// The traces of servers on one store, one after the other, must be explained.
pub(crate) fn explained<P: AsRef<Path>>(paths: &[P]) -> Explained {
    validate_files(paths).unwrap_or_else(|(unexplained, story)| panic!("{unexplained}\n{story}"))
}
