//! `domoflux demo`: a target, a mirror and a client of its own, so that a newcomer sees a mirror work.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Failure, live, runtime, say};
use crate::flow::{FlowSpec, Flows, Means};
use crate::log::{Format, Log, LogLevel};
use crate::net::budget;
use crate::store::Store;

/// Show a mirror at work with a target, a mirror and a client of its own; nothing else is needed.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Show what is logged meanwhile, too.
    #[arg(short, long)]
    verbose: bool,
}

const ID: &str = "demo";

/// How long each step may take before the demonstration counts as failed.
const STEP: Duration = Duration::from_secs(5);

/// What the mirror has got so far.
type Copy = Arc<Mutex<Vec<u8>>>;

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let _log = Log::start(if args.verbose { LogLevel::Debug } else { LogLevel::None }, Format::Text);
    runtime(1)?.block_on(show())
}

async fn show() -> Result<(), Failure> {
    let (target, _target_task) = target().await?;
    let (mirror, copy, mirror_task) = mirror().await?;
    let flows = Flows::new(Means::new(budget::DEFAULT_TOTAL, Store::in_memory(), None));
    let spec = json!({"listen": "127.0.0.1:0", "target": target.to_string(), "mirrors": [{"address": mirror.to_string()}]});
    let wanted = FlowSpec { id: ID.to_owned(), kind: "mirror".to_owned(), spec, enabled: true };
    flows.apply("cli", &wanted).await.map_err(|e| Failure::new(e.to_string()))?;
    let status = flows.status(ID).map_err(|e| Failure::new(e.to_string()))?;
    let listen = *status.listening.first().ok_or_else(|| Failure::new("the flow does not listen"))?;
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

    flows.shut_down(tokio::time::sleep(Duration::from_secs(2))).await;
    let counters = flows.counters(None).map_err(|e| Failure::new(e.to_string()))?;
    for counters in counters.values() {
        say(&format!("counters  {}", live::summary(&counters.values())))?;
    }
    Ok(())
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
