//! The file with the process id of a supervisor. Its lock says that the supervisor lives.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::supervise::SuperviseError;
use crate::text::reason;

/// How often the file is opened again because it was removed meanwhile, as by a supervisor that ends.
const TRIES: usize = 100;

/// A process id file that this process has locked. Removed at the end.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    locked: File,
}

impl PidFile {
    /// Makes the file, or takes the one that a supervisor has left that was killed. Nothing else is written to: a link in
    /// a directory where others may write would lead root to any file.
    pub(super) fn take(path: &Path) -> Result<Self, SuperviseError> {
        for _ in 0..TRIES {
            let file = open(path).map_err(|error| cannot_write(path, &error))?;
            if let Some(mut taken) = Self::lock(path, file)? {
                let written = taken.locked.set_len(0).and_then(|()| writeln!(taken.locked, "{}", std::process::id()));
                return written.map(|()| taken).map_err(|error| cannot_write(path, &error.into()));
            }
        }
        Err(cannot_write(path, &Refusal::Removed))
    }

    /// Locks the file that was opened at `path`. There is none if it was removed in between, as by a supervisor that ends:
    /// the lock of a file that nobody finds keeps nobody out.
    fn lock(path: &Path, file: File) -> Result<Option<Self>, SuperviseError> {
        let meta = file.metadata().map_err(|error| cannot_write(path, &error.into()))?;
        if !meta.is_file() {
            return Err(cannot_write(path, &Refusal::NoFile));
        }
        if meta.nlink() > 1 {
            return Err(cannot_write(path, &Refusal::HardLink));
        }
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(SuperviseError::Running { path: path.to_owned() });
        }
        let taken = Self { path: path.to_owned(), locked: file };
        Ok(taken.is_at_its_path().then_some(taken))
    }

    /// Whether it is this file that is found by its path.
    fn is_at_its_path(&self) -> bool {
        let place = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
        let (at_path, locked) = (std::fs::symlink_metadata(&self.path).map(place), self.locked.metadata().map(place));
        matches!((at_path, locked), (Ok(at_path), Ok(locked)) if at_path == locked)
    }
}

impl Drop for PidFile {
    /// While it is locked. Another supervisor's file, which is there if somebody has removed this one, stays.
    fn drop(&mut self) {
        if self.is_at_its_path() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Why a path can't have the process id.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("it is a symbolic link, which is not followed: remove it, or choose another --pid-file")]
    Link,
    #[error("it is not a regular file: choose another --pid-file")]
    NoFile,
    #[error("it has another name, too, and what is there would be lost: remove it, or choose another --pid-file")]
    HardLink,
    #[error("it is removed again and again: choose another --pid-file")]
    Removed,
    #[error("{}", reason(.0))]
    System(#[from] io::Error),
}

/// Opens the file itself, never what a link leads to, and without waiting for the other end of a pipe.
fn open(path: &Path) -> Result<File, Refusal> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o644).custom_flags(flags).open(path);
    opened.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::LOOP) if path.is_symlink() => Refusal::Link,
        Some(Errno::ISDIR | Errno::NXIO) => Refusal::NoFile,
        _ => Refusal::System(error),
    })
}

fn cannot_write(path: &Path, why: &Refusal) -> SuperviseError {
    SuperviseError::System { what: format!("cannot write {}", path.display()), reason: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path) -> String {
        PidFile::take(path).map(drop).unwrap_err().to_string()
    }

    #[test]
    fn it_has_one_supervisor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        std::fs::write(&path, "1234567 of a supervisor that was killed").unwrap();
        let taken = PidFile::take(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        assert!(matches!(PidFile::take(&path), Err(SuperviseError::Running { .. })));
        drop(taken);
        assert!(!path.exists());
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (path, precious) = (dir.path().join("pid"), dir.path().join("precious"));
        std::fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, &path).unwrap();
        assert!(refused(&path).contains("pid: it is a symbolic link, which is not followed"), "{}", refused(&path));
        std::fs::remove_file(&path).unwrap();
        std::fs::hard_link(&precious, &path).unwrap();
        assert!(refused(&path).contains("it has another name"), "{}", refused(&path));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(dir.path().join("nothing"), &path).unwrap();
        assert!(refused(&path).contains("symbolic link"), "{}", refused(&path));
        assert!(!dir.path().join("nothing").exists());
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
        // A directory on the way may be one, as /var/run is.
        let link = dir.path().join("run");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        drop(PidFile::take(&link.join("other")).unwrap());
    }

    #[test]
    fn only_a_regular_file_will_do() {
        let dir = tempfile::tempdir().unwrap();
        assert!(refused(dir.path()).contains("not a regular file"), "{}", refused(dir.path()));
        assert!(refused(Path::new("/dev/null")).contains("not a regular file"));
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(refused(&pipe).contains("not a regular file"), "{}", refused(&pipe)); // and does not wait for a reader
    }

    #[test]
    fn a_file_that_is_not_its_own_any_more_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let first = PidFile::take(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!first.is_at_its_path());
        let second = PidFile::take(&path).unwrap();
        drop(first);
        assert!(second.is_at_its_path(), "the first has removed the file of the second");
        assert!(matches!(PidFile::take(&path), Err(SuperviseError::Running { .. })));
    }

    #[test]
    fn the_lock_of_a_file_that_was_removed_since_it_was_opened_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let first = PidFile::take(&path).unwrap();
        let (second, third) = (open(&path).unwrap(), open(&path).unwrap());
        drop(first);
        assert!(PidFile::lock(&path, second).unwrap().is_none(), "its file is gone");
        let fourth = PidFile::take(&path).unwrap();
        assert!(PidFile::lock(&path, third).unwrap().is_none(), "another one has the path");
        assert!(fourth.is_at_its_path());
    }
}
