//! What the kernel knows of bytes that were written: whether they have left, and whether the peer has them.

use std::io;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use socket2::SockRef;
use tokio::net::TcpStream;

/// After both sides have sent FIN: whether the peer's kernel has acknowledged everything up to ours. `None`: not yet.
///
/// The peer's FIN alone is no proof. One that accepts and closes at once sends its FIN, and answers our bytes with a
/// reset a moment later. When all is acknowledged the kernel forgets the peer, and a reset leaves an error behind.
pub(crate) fn is_acknowledged(stream: &TcpStream) -> Option<io::Result<()>> {
    if let Some(error) = stream.take_error().transpose() {
        return Some(error.and_then(Err));
    }
    if stream.peer_addr().is_ok() {
        return None;
    }
    // It may have come between the two questions.
    Some(stream.take_error().and_then(|error| error.map_or(Ok(()), Err)))
}

/// Whether everything that was written has been sent. A reset overtakes what has not.
pub(crate) fn is_sent(stream: &TcpStream) -> bool {
    // From now on the kernel calls the socket writable when nothing is left unsent.
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(1);
    let mut fds = [PollFd::new(stream, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (ours, listener.accept().await.unwrap().0)
    }

    async fn answer(stream: &TcpStream) -> io::Result<()> {
        loop {
            match is_acknowledged(stream) {
                Some(answer) => return answer,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    #[tokio::test]
    async fn a_peer_that_read_and_closed_has_acknowledged_and_one_that_only_closed_has_not() {
        for reads in [true, false] {
            let (mut ours, mut theirs) = pair().await;
            if !reads {
                drop(theirs);
                assert_eq!(ours.read(&mut [0; 9]).await.unwrap(), 0);
                ours.write_all(b"too late").await.unwrap();
                let _ = ours.shutdown().await;
                assert!(answer(&ours).await.is_err());
                continue;
            }
            ours.write_all(b"in time").await.unwrap();
            ours.shutdown().await.unwrap();
            assert!(is_acknowledged(&ours).is_none());
            assert_eq!(theirs.read_to_end(&mut Vec::new()).await.unwrap(), 7);
            drop(theirs);
            answer(&ours).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_a_peer_has_no_room_for_is_not_sent() {
        let (mut ours, mut theirs) = pair().await;
        SockRef::from(&theirs).set_recv_buffer_size(4096).unwrap();
        ours.write_all(b"little").await.unwrap();
        assert!(is_sent(&ours));
        let mut written = 6;
        while let Ok(Ok(n)) = tokio::time::timeout(Duration::from_millis(100), ours.write(&[7; 9000])).await {
            written += n;
        }
        assert!(!is_sent(&ours));
        let mut got = vec![0; written];
        theirs.read_exact(&mut got).await.unwrap();
        while !is_sent(&ours) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
