//! Many sockets in one thread, with as little between them and the kernel as there can be: both ends share the processors
//! with what is measured.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// Events taken at once.
const EVENTS: usize = 256;

pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

/// What a socket is watched for; errors and ends show as reads.
#[derive(Clone, Copy)]
pub(crate) enum Interest {
    Read,
    Write,
}

impl From<Interest> for epoll::EventFlags {
    fn from(interest: Interest) -> Self {
        match interest {
            Interest::Read => Self::IN,
            Interest::Write => Self::OUT,
        }
    }
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS) })
    }

    pub(crate) fn add(&self, socket: impl AsFd, token: usize) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, epoll::EventData::new_u64(token as u64), Interest::Read.into())?)
    }

    pub(crate) fn change(&self, socket: impl AsFd, token: usize, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, socket, epoll::EventData::new_u64(token as u64), interest.into())?)
    }

    /// The tokens of the sockets that are ready, none when `limit` is over.
    pub(crate) fn wait(&mut self, limit: Option<Duration>, tokens: &mut Vec<usize>) -> io::Result<()> {
        let limit = limit.map(|l| Timespec { tv_sec: l.as_secs().cast_signed(), tv_nsec: l.subsec_nanos().into() });
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        tokens.clear();
        tokens.extend(self.events.iter().map(|event| event.data.u64() as usize));
        Ok(())
    }
}
