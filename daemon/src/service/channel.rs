//! The supervisor's end of what [`super::Notify`] says: a datagram socket with a name in the abstract name space, so
//! that nothing has to be removed. Anybody on the machine may write to it; the kernel tells who did.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt::set_socket_passcred};
use rustix::process::Pid;
use tokio::io::Interest;
use tokio::net::UnixDatagram;

/// The longest message that is read, in bytes. Those of a daemon have a hundred or so.
const LONGEST: usize = 4096;

/// Where a daemon says how it goes.
pub(super) struct Channel {
    socket: UnixDatagram,
    name: String,
}

impl Channel {
    pub(super) fn open() -> io::Result<Self> {
        let name = format!("domoflux-{}-{:016x}", std::process::id(), fastrand::u64(..));
        let socket = std::os::unix::net::UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        socket.set_nonblocking(true)?;
        set_socket_passcred(&socket, true)?;
        Ok(Self { socket: UnixDatagram::from_std(socket)?, name })
    }

    /// What `NOTIFY_SOCKET` has to be.
    pub(super) fn address(&self) -> String {
        format!("@{}", self.name)
    }

    /// The next message of a process.
    pub(super) async fn hear(&self, from: Pid) -> io::Result<String> {
        loop {
            self.socket.readable().await?;
            match self.socket.try_io(Interest::READABLE, || receive(&self.socket)) {
                Ok((sender, text)) if sender == Some(from) => return Ok(text),
                Ok(_) => {} // somebody else's
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn receive(socket: &UnixDatagram) -> io::Result<(Option<Pid>, String)> {
    let mut data = [0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut data)], &mut control, RecvFlags::empty())?;
    let sender = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(who) => Some(who.pid),
        _ => None,
    });
    let text = data.get(..received.bytes).map(String::from_utf8_lossy).unwrap_or_default();
    Ok((sender, text.into_owned()))
}

/// What a message has for a name.
pub(super) fn value<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_hears_the_process_that_is_meant_and_no_other() {
        let channel = Channel::open().unwrap();
        let to = SocketAddr::from_abstract_name(&channel.name).unwrap();
        let ours = std::os::unix::net::UnixDatagram::unbound().unwrap();
        ours.send_to_addr(b"WATCHDOG=1\nSTATUS=a=b", &to).unwrap();
        let heard = channel.hear(rustix::process::getpid()).await.unwrap();
        assert_eq!((value(&heard, "WATCHDOG"), value(&heard, "STATUS"), value(&heard, "WATCH")), (Some("1"), Some("a=b"), None));
        ours.send_to_addr(b"WATCHDOG=1", &to).unwrap();
        let other = channel.hear(Pid::INIT);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(100), other).await.is_err());
    }
}
