//! Datagrams, many in one system call. None is merged with another, split or cut short on the way.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrLike, SockaddrStorage, recvmmsg, sendmmsg};
use rustix::net::addr::SocketAddrArg;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags};

/// Room for one datagram: the length field of UDP has 16 bits.
const SLOT: usize = 1 << 16;
/// Datagrams received in one system call: while there are few, and in a burst.
const FEW: usize = 8;
const MANY: usize = 32;

/// A datagram of a [`Batch`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    len: usize,
    /// Who sent it; unspecified for a connected socket.
    pub(crate) from: SocketAddr,
    /// Which of our addresses it was sent to, if the socket tells.
    pub(crate) to: Option<IpAddr>,
}

/// What one system call received.
#[derive(Debug)]
pub(crate) struct Batch {
    buffer: Vec<u8>,
    arrived: Vec<Arrived>,
    slots: usize,
    drops: Option<u32>,
}

impl Batch {
    /// A batch in a scratch buffer.
    pub(crate) fn new(buffer: Vec<u8>) -> Self {
        Self { buffer, arrived: Vec::new(), slots: FEW, drops: None }
    }

    /// The scratch buffer, to be given back.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// The datagrams, in the order in which they came.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = (Arrived, &[u8])> {
        self.arrived
            .iter()
            .zip(self.buffer.chunks(SLOT))
            .map(|(&at, slot)| (at, slot.get(..at.len).unwrap_or_default()))
    }

    /// How many datagrams the kernel has dropped since the socket was made because its buffer was full, if it said so.
    pub(crate) fn drops(&self) -> Option<u32> {
        self.drops
    }

    /// Receives what has come. The answer is whether the socket has been emptied.
    pub(crate) fn receive(&mut self, socket: impl AsFd) -> io::Result<bool> {
        let space = nix::cmsg_space!(libc::in6_pktinfo, libc::in_pktinfo, u32);
        self.fill(socket, space, address)
    }

    /// The same for a connected socket, which needs not be told who sends.
    pub(crate) fn receive_connected(&mut self, socket: impl AsFd) -> io::Result<bool> {
        let space = nix::cmsg_space!(u32);
        self.fill(socket, space, |(): &()| None)
    }

    fn fill<S: SockaddrLike + Copy>(&mut self, socket: impl AsFd, space: Vec<u8>, sender: fn(&S) -> Option<SocketAddr>) -> io::Result<bool> {
        self.arrived.clear();
        self.drops = None;
        if self.buffer.len() < self.slots * SLOT {
            // Zeroed by the kernel, page by page as datagrams come: what is not used costs nothing.
            self.buffer = vec![0; self.slots * SLOT];
        }
        let slots = self.slots;
        // New ones for each call: nix does not set the length of the control buffers anew.
        let mut headers = MultiHeaders::<S>::preallocate(slots, Some(space));
        let mut parts: Vec<_> = self.buffer.chunks_mut(SLOT).take(slots).map(|slot| [IoSliceMut::new(slot)]).collect();
        for message in recvmmsg(socket.as_fd().as_raw_fd(), &mut headers, parts.iter_mut(), MsgFlags::MSG_DONTWAIT, None)? {
            let mut arrived = Arrived { len: message.bytes, from: NOBODY, to: None };
            arrived.from = message.address.as_ref().and_then(sender).unwrap_or(NOBODY);
            for control in message.cmsgs().into_iter().flatten() {
                match control {
                    ControlMessageOwned::Ipv4PacketInfo(info) => arrived.to = Some(IpAddr::from(info.ipi_spec_dst.s_addr.to_ne_bytes())),
                    ControlMessageOwned::Ipv6PacketInfo(info) => arrived.to = Some(IpAddr::from(info.ipi6_addr.s6_addr)),
                    ControlMessageOwned::RxqOvfl(drops) => self.drops = Some(drops),
                    _ => {}
                }
            }
            self.arrived.push(arrived);
        }
        let emptied = self.arrived.len() < slots;
        self.slots = if emptied { self.slots } else { MANY };
        Ok(emptied)
    }
}

const NOBODY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 0));

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = || storage.as_sockaddr_in().map(|v4| SocketAddrV4::from(*v4).into());
    v4().or_else(|| storage.as_sockaddr_in6().map(|v6| SocketAddrV6::from(*v6).into()))
}

/// How sending ended: how many datagrams went, and why the next one did not. The kernel swallows the reason when it has
/// sent some of several.
pub(crate) type Sent = (usize, Option<io::Error>);

const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// Sends on a connected socket, each datagram behind `head`, until one can't be sent.
pub(crate) fn send_on(socket: impl AsFd, head: &[u8], datagrams: &[&[u8]]) -> Sent {
    in_turn(datagrams, |rest| match rest {
        [one] if head.is_empty() => rustix::net::send(&socket, one, SEND).map(|_| 1),
        [one] => {
            let parts = [IoSlice::new(head), IoSlice::new(one)];
            rustix::net::sendmsg(&socket, &parts, &mut SendAncillaryBuffer::default(), SEND).map(|_| 1)
        }
        many => {
            let parts: Vec<_> = many.iter().map(|one| [IoSlice::new(head), IoSlice::new(one)]).collect();
            let mut controls: Vec<_> = many.iter().map(|_| SendAncillaryBuffer::default()).collect();
            let mut messages: Vec<_> = parts.iter().zip(&mut controls).map(|(parts, control)| MMsgHdr::new(parts, control)).collect();
            rustix::net::sendmmsg(&socket, &mut messages, SEND)
        }
    })
}

/// Sends to a client, with `from` as the sender's address where the socket has several, until one can't be sent.
pub(crate) fn send_from(socket: impl AsFd, from: Option<IpAddr>, to: SocketAddr, datagrams: &[&[u8]]) -> Sent {
    let Some(from) = from else {
        let any = to.as_any();
        return in_turn(datagrams, |rest| {
            if let [one] = rest {
                return rustix::net::sendto(&socket, one, SEND, &to).map(|_| 1);
            }
            let parts: Vec<_> = rest.iter().map(|one| [IoSlice::new(one)]).collect();
            let mut controls: Vec<_> = rest.iter().map(|_| SendAncillaryBuffer::default()).collect();
            let with_control = parts.iter().zip(&mut controls);
            let mut messages: Vec<_> = with_control.map(|(parts, control)| MMsgHdr::new_with_addr(&any, parts, control)).collect();
            rustix::net::sendmmsg(&socket, &mut messages, SEND)
        });
    };
    let (v4, v6);
    let (control, space) = match from {
        IpAddr::V4(ip) => {
            let ip = libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) };
            v4 = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: ip, ipi_addr: libc::in_addr { s_addr: 0 } };
            (ControlMessage::Ipv4PacketInfo(&v4), nix::cmsg_space!(libc::in_pktinfo))
        }
        IpAddr::V6(ip) => {
            v6 = libc::in6_pktinfo { ipi6_ifindex: 0, ipi6_addr: libc::in6_addr { s6_addr: ip.octets() } };
            (ControlMessage::Ipv6PacketInfo(&v6), nix::cmsg_space!(libc::in6_pktinfo))
        }
    };
    let controls = [control];
    in_turn(datagrams, |rest| {
        let parts: Vec<_> = rest.iter().map(|one| [IoSlice::new(one)]).collect();
        let to = vec![Some(SockaddrStorage::from(to)); rest.len()];
        let mut headers = MultiHeaders::preallocate(rest.len(), Some(space.clone()));
        sendmmsg(
            socket.as_fd().as_raw_fd(),
            &mut headers,
            &parts,
            to,
            controls,
            MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
        )
        .map(Iterator::count)
    })
}

fn in_turn<E: Into<io::Error>>(datagrams: &[&[u8]], mut send: impl FnMut(&[&[u8]]) -> Result<usize, E>) -> Sent {
    let mut sent = 0;
    while let Some(rest @ [_, ..]) = datagrams.get(sent..) {
        let some = rest.get(..MANY).unwrap_or(rest);
        match send(some) {
            Ok(n) if n < some.len() => return (sent + n, None),
            Ok(n) => sent += n,
            Err(error) => return (sent, Some(error.into())),
        }
    }
    (sent, None)
}
