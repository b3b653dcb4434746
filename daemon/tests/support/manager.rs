//! A service manager's side of `sd_notify`: it hears what the daemon says.

use std::os::unix::net::UnixDatagram;

use tempfile::TempDir;

use super::until;

/// A socket for `NOTIFY_SOCKET`, with all that was said to it.
pub(crate) struct ServiceManager {
    dir: TempDir,
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl ServiceManager {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { dir, socket, heard: Vec::new() }
    }

    /// What `NOTIFY_SOCKET` has to be.
    pub(crate) fn address(&self) -> String {
        self.dir.path().join("notify").to_str().unwrap().to_owned()
    }

    /// All messages so far.
    pub(crate) fn heard(&mut self) -> &[String] {
        let mut data = [0; 4096];
        while let Ok(n) = self.socket.recv(&mut data) {
            self.heard.push(String::from_utf8(data[..n].to_vec()).unwrap());
        }
        &self.heard
    }

    /// Waits for a message with this line after the first `from` ones; the message and its number.
    #[track_caller]
    pub(crate) fn hears(&mut self, line: &str, from: usize) -> (usize, String) {
        until(&format!("the daemon tells {line:?}"), || {
            let mut heard = self.heard().iter().enumerate().skip(from);
            heard.find(|(_, text)| text.lines().any(|l| l == line)).map(|(i, text)| (i, text.clone()))
        })
    }

    /// Waits until so many messages are this one.
    #[track_caller]
    pub(crate) fn hears_often(&mut self, text: &str, times: usize) {
        until(&format!("the daemon tells {text:?} {times} times"), || {
            (self.heard().iter().filter(|heard| *heard == text).count() >= times).then_some(())
        });
    }
}
