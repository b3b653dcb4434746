//! A target, a mirror and a client, so that a newcomer sees a mirror work.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{STEP, end, start};
use crate::cli::{Failure, say};

/// What the mirror has got so far.
type Copy = Arc<Mutex<Vec<u8>>>;

pub(super) async fn show() -> Result<(), Failure> {
    let (target, _target_task) = target().await?;
    let (mirror, copy, mirror_task) = mirror().await?;
    let spec = json!({"listen": "127.0.0.1:0", "target": target.to_string(), "mirrors": [{"address": mirror.to_string()}]});
    let (flows, listen) = start("mirror", spec).await?;
    say(&format!(
        "target    {target} answers every line in capitals\nmirror    {mirror} only reads\ndomoflux  {listen} relays to the target and copies to the mirror\n"
    ))?;

    for line in ["hello", "the alarm panel reports"] {
        let answer = talk(listen, line).await?;
        say(&format!("client    sent {line:?}, the target answered {answer:?}"))?;
    }
    let expected = b"hello\nthe alarm panel reports\n";
    wait_for(&copy, expected.len()).await?;
    let got = String::from_utf8_lossy(&copy.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
    if got.as_bytes() != expected {
        return Err(Failure::new(format!("the mirror got {got:?}")));
    }
    say(&format!("mirror    got {got:?}\n"))?;

    mirror_task.abort();
    let _ = mirror_task.await;
    let line = "nobody mirrors this";
    let answer = talk(listen, line).await?;
    say(&format!(
        "mirror    is down now\nclient    sent {line:?}, the target answered {answer:?}: the stream does not care\n"
    ))?;

    end(&flows, "mirror").await
}

/// A device that answers every line in capitals.
async fn target() -> Result<(SocketAddr, JoinHandle<()>), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let _ = write.write_all(format!("{}\n", line.to_uppercase()).as_bytes()).await;
                }
            });
        }
    });
    Ok((address, task))
}

/// A receiver that keeps what it gets, connections one after the other.
async fn mirror() -> Result<(SocketAddr, Copy, JoinHandle<()>), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let copy = Copy::default();
    let kept = Arc::clone(&copy);
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut got = Vec::new();
            let _ = stream.read_to_end(&mut got).await;
            kept.lock().unwrap_or_else(PoisonError::into_inner).extend(got);
        }
    });
    Ok((address, copy, task))
}

/// Sends a line as a client would, and reads the answer.
async fn talk(to: SocketAddr, line: &str) -> Result<String, Failure> {
    let conversation = async {
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(format!("{line}\n").as_bytes()).await?;
        stream.shutdown().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer.trim_end().to_owned())
    };
    let answer = tokio::time::timeout(STEP, conversation).await;
    Ok(answer.map_err(|_| Failure::new("no answer came through the mirror"))??)
}

async fn wait_for(copy: &Copy, len: usize) -> Result<(), Failure> {
    let arrived = async {
        while copy.lock().unwrap_or_else(PoisonError::into_inner).len() < len {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(STEP, arrived).await.map_err(|_| Failure::new("the mirror did not get its copy"))
}
