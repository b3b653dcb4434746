//! The servers that hold many connections at once, in one thread.

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::pattern::Verifier;
use crate::server::{End, Tally};

const SCRATCH: usize = 256 << 10;
/// Large enough for anything an echoing client sends at a time.
const ECHO: usize = 1024;

thread_local! {
    /// Shared by all connections, so that ten thousand of them cost no buffers.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// `echo` sends back what it reads; `count` answers at the end how many bytes there were; `mirror` only reads.
pub(crate) fn serve(mode: &str, listener: TcpListener, tally: &Arc<Tally>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(|e| e.to_string())?;
    listener.set_nonblocking(true).map_err(|e| e.to_string())?;
    LocalSet::new().block_on(&runtime, async {
        let listener = tokio::net::TcpListener::from_std(listener).map_err(|e| e.to_string())?;
        loop {
            let (stream, _) = listener.accept().await.map_err(|e| format!("accept: {e}"))?;
            let tally = Arc::clone(tally);
            tally.opened();
            if mode == "echo" {
                tokio::task::spawn_local(async move { tally.closed(echo(&stream, &tally).await) });
            } else {
                let answers = mode == "count";
                tokio::task::spawn_local(async move { tally.closed(read_all(&stream, &tally, answers).await) });
            }
        }
    })
}

async fn echo(stream: &TcpStream, tally: &Tally) -> Result<(), End> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; ECHO];
    loop {
        stream.readable().await?;
        let read = match stream.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
            Err(e) => return Err(e.into()),
        };
        tally.add(read);
        write_all(stream, &buffer[..read]).await?;
    }
}

async fn read_all(stream: &TcpStream, tally: &Tally, answers: bool) -> Result<(), End> {
    let mut verifier = Verifier::new(&tally.pattern);
    loop {
        stream.readable().await?;
        let read = BUFFER.with_borrow_mut(|buffer| {
            let read = stream.try_read(buffer)?;
            tally.add(read);
            verifier.take(&buffer[..read]).map_err(End::Wrong)?;
            Ok(read)
        });
        match read {
            Ok(0) if answers => return Ok(write_all(stream, &verifier.seen.to_le_bytes()).await?),
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(End::Broken(e)) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(end) => return Err(end),
        }
    }
}

pub(crate) async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
