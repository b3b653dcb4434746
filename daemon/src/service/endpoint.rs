//! `endpoint.json`: where the API of an instance is, for the local programs that call it.
//!
//! Written when the API listens, removed at the stop. After a crash it stays behind; whoever reads it can tell, because
//! nobody has its process id, or whoever answers has another boot id.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

use crate::text::reason;

/// Below it, each instance has a directory, named like it.
const RUN: &str = "/run/domoflux";

/// The same for what lasts, where systemd runs the daemon.
const LIB: &str = "/var/lib/domoflux";

/// Where an API is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// The loopback address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// The daemon's process id.
    pub pid: u32,
    /// Differs at every start; `daemon.hello` has it, too.
    pub boot_id: String,
    /// The daemon's version.
    pub version: String,
    /// Its instance.
    #[serde(default)]
    pub instance: String,
    /// Where the token is.
    pub token_file: PathBuf,
}

/// What stands where an `endpoint.json` may be.
#[derive(Debug)]
pub enum Found {
    /// None.
    Nothing,
    /// One, that can't be read.
    Unreadable(io::Error),
    /// One.
    Endpoint(Box<Endpoint>),
}

impl Endpoint {
    /// This process's.
    pub fn of(address: SocketAddr, boot_id: &str, instance: &str, token_file: PathBuf) -> Self {
        Self {
            address: address.ip(),
            port: address.port(),
            pid: std::process::id(),
            boot_id: boot_id.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: instance.to_owned(),
            token_file,
        }
    }

    /// What stands in a directory.
    pub fn find(dir: &Path) -> Found {
        match std::fs::read_to_string(file_in(dir)) {
            Ok(text) => match serde_json::from_str(&text) {
                Ok(endpoint) => Found::Endpoint(Box::new(endpoint)),
                Err(error) => Found::Unreadable(error.into()),
            },
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Found::Nothing,
            Err(error) => Found::Unreadable(error),
        }
    }

    /// Writes it beside and renames, so that a reader never sees half of it.
    pub fn write(&self, dir: &Path) {
        let write = || {
            let beside = dir.join("endpoint.new");
            std::fs::write(&beside, serde_json::to_string(self)? + "\n")?;
            std::fs::rename(beside, file_in(dir))
        };
        if let Err(error) = write() {
            tracing::error!("cannot write {}: {}; nobody finds the API by it", file_in(dir).display(), reason(&error));
        }
    }

    /// Removes the one in a directory, if this start of the daemon wrote it.
    pub fn remove(dir: &Path, boot_id: &str) {
        if matches!(Self::find(dir), Found::Endpoint(endpoint) if endpoint.boot_id == boot_id) {
            let _ = std::fs::remove_file(file_in(dir));
        }
    }

    /// Whether a process has the id of the one that wrote it. Another one may have it by now.
    pub fn has_process(&self) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
    }
}

/// The file in a directory.
pub fn file_in(dir: &Path) -> PathBuf {
    dir.join("endpoint.json")
}

/// The first directory that a variable of systemd's names.
pub fn directory_from_env(variable: &str) -> Option<PathBuf> {
    let value = std::env::var_os(variable).filter(|value| !value.is_empty())?;
    let value = value.to_string_lossy();
    value.split(':').next().map(PathBuf::from)
}

/// Where a daemon writes it: in systemd's runtime directory; in that of its instance, where it may; else in its state
/// directory. A state directory that was asked for is the place by which such a daemon is found.
pub fn directory(instance: &str, state_dir: &Path, asked_for: bool) -> PathBuf {
    if let Some(dir) = directory_from_env("RUNTIME_DIRECTORY") {
        let _ = std::fs::create_dir_all(&dir);
        return dir;
    }
    let dir = Path::new(RUN).join(instance);
    if asked_for || prepare(&dir).is_err() {
        return state_dir.to_owned();
    }
    match Endpoint::find(&dir) {
        Found::Endpoint(other) if other.pid != std::process::id() && other.has_process() => {
            tracing::warn!("process {} has {}: this daemon's is in {}", other.pid, file_in(&dir).display(), state_dir.display());
            state_dir.to_owned()
        }
        _ => dir,
    }
}

/// Makes an instance's directory below [`RUN`], which all may enter, and says whether this process may write there.
fn prepare(dir: &Path) -> io::Result<()> {
    let root = Path::new(RUN);
    if std::fs::DirBuilder::new().mode(0o755).create(root).is_ok() {
        std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o755))?; // whatever the umask is
    }
    match std::fs::DirBuilder::new().mode(0o750).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    Ok(rustix::fs::access(dir, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Where a daemon of the instance may have written it, the likeliest first. `user` is the state directory of a daemon
/// that this user started by hand.
pub fn directories(instance: &str, user: Option<PathBuf>) -> Vec<PathBuf> {
    let places = [directory_from_env("RUNTIME_DIRECTORY"), Some(Path::new(RUN).join(instance)), Some(Path::new(LIB).join(instance)), user];
    places.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(boot_id: &str) -> Endpoint {
        Endpoint::of(([127, 0, 0, 1], 55172).into(), boot_id, "default", "/x/token".into())
    }

    #[test]
    fn a_start_removes_only_its_own() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Endpoint::find(dir.path()), Found::Nothing));
        endpoint("new").write(dir.path());
        Endpoint::remove(dir.path(), "old");
        assert!(matches!(Endpoint::find(dir.path()), Found::Endpoint(found) if found.boot_id == "new"));
        Endpoint::remove(dir.path(), "new");
        assert!(matches!(Endpoint::find(dir.path()), Found::Nothing));
        std::fs::write(file_in(dir.path()), "{").unwrap();
        assert!(matches!(Endpoint::find(dir.path()), Found::Unreadable(_)));
    }

    #[test]
    fn a_dead_daemons_process_is_known_to_be_gone() {
        let mut gone = endpoint("x");
        assert!(gone.has_process());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        gone.pid = child.id();
        assert!(!gone.has_process());
    }

    #[test]
    fn a_state_directory_that_was_asked_for_is_the_place() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(directory("default", dir.path(), true), dir.path());
    }
}
