//! A log file that others empty, cut, rename or remove when they like, as Jeedom does: each line goes to the file that
//! has the name at that moment.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;

use rustix::fs::OFlags;

use crate::text::reason;

/// What a new file allows: a host in the daemon's group may read and empty it.
const MODE: u32 = 0o660;

/// The file, and whether standard error has been told that it can't be written.
pub(super) struct LogFile {
    path: PathBuf,
    open: Option<File>,
    told: bool,
}

impl LogFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: None, told: false }
    }

    /// Appends a line. Where that is not possible, gives what standard error should have in its place: the line, and
    /// before it, once, the reason.
    pub(super) fn line(&mut self, line: &str) -> Result<(), String> {
        match self.append(line) {
            Ok(()) => {
                self.told = false;
                Ok(())
            }
            Err(error) => {
                self.open = None;
                if std::mem::replace(&mut self.told, true) {
                    return Err(line.to_owned());
                }
                Err(format!(
                    "cannot write the log file {}: {}; standard error has the log meanwhile\n{line}",
                    self.path.display(),
                    reason(&error)
                ))
            }
        }
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        let mut file = match self.open.take().filter(|file| self.has_the_name(file)) {
            Some(file) => file,
            None => self.reopen()?,
        };
        file.write_all(line.as_bytes())?;
        self.open = Some(file);
        Ok(())
    }

    /// Whether the open file is still the one of that name. One that was emptied is: appending goes on at its new end.
    fn has_the_name(&self, file: &File) -> bool {
        match (file.metadata(), std::fs::symlink_metadata(&self.path)) {
            (Ok(file), Ok(named)) => (file.dev(), file.ino()) == (named.dev(), named.ino()),
            _ => false,
        }
    }

    /// Opens the file, or makes it. Who may write its folder may put something else in its place: nothing but a file is
    /// taken, so that no link leads elsewhere and no pipe holds the log up.
    fn reopen(&self) -> io::Result<File> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut how = OpenOptions::new();
        how.append(true).custom_flags(flags.bits().cast_signed());
        let file = match how.open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let new = how.create_new(true).mode(MODE).open(&self.path)?;
                new.set_permissions(Permissions::from_mode(MODE))?; // whatever the umask is
                new
            }
            other => other?,
        };
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> (tempfile::TempDir, PathBuf, LogFile) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("domoflux_daemon");
        let log = LogFile::new(path.clone());
        (dir, path, log)
    }

    fn read(path: &PathBuf) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn makes_the_file_for_its_group() {
        let (_dir, path, mut log) = log();
        log.line("one\n").unwrap();
        assert_eq!(read(&path), "one\n");
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o660);
    }

    #[test]
    fn goes_on_after_it_was_emptied_removed_renamed_and_replaced() {
        let (dir, path, mut log) = log();
        log.line("one\n").unwrap();
        std::fs::write(&path, "").unwrap();
        log.line("two\n").unwrap();
        assert_eq!(read(&path), "two\n");
        std::fs::remove_file(&path).unwrap();
        log.line("three\n").unwrap();
        assert_eq!(read(&path), "three\n");
        let old = dir.path().join("old");
        std::fs::rename(&path, &old).unwrap();
        log.line("four\n").unwrap();
        assert_eq!((read(&old), read(&path)), ("three\n".to_owned(), "four\n".to_owned()));
        std::fs::write(&old, "cut\n").unwrap();
        std::fs::rename(&old, &path).unwrap();
        log.line("five\n").unwrap();
        assert_eq!(read(&path), "cut\nfive\n");
    }

    #[test]
    fn follows_no_link_and_takes_no_pipe() {
        let (dir, path, mut log) = log();
        let other = dir.path().join("other");
        std::fs::write(&other, "").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        let said = log.line("one\n").unwrap_err();
        assert!(said.starts_with("cannot write the log file ") && said.ends_with("\none\n"), "{said}");
        assert_eq!(log.line("two\n").unwrap_err(), "two\n");
        assert_eq!(read(&other), "");
        std::fs::remove_file(&path).unwrap();
        log.line("three\n").unwrap();
        assert_eq!(read(&path), "three\n");
        std::fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let said = log.line("four\n").unwrap_err();
        assert!(said.starts_with("cannot write the log file "), "{said}");
    }

    #[test]
    fn a_folder_that_is_not_there_leaves_the_log_to_standard_error_until_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("log");
        let mut log = LogFile::new(folder.join("x"));
        assert!(log.line("one\n").unwrap_err().contains("no such file or directory"));
        assert_eq!(log.line("two\n").unwrap_err(), "two\n");
        std::fs::create_dir(&folder).unwrap();
        log.line("three\n").unwrap();
        assert_eq!(read(&folder.join("x")), "three\n");
    }
}
