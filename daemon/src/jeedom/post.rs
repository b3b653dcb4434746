//! One POST to a web server of this machine, and what came of it.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::PageUrl;
use crate::text::reason;

/// How long a POST may take in all.
const WITHIN: Duration = Duration::from_secs(10);

/// As much of an answer is read, in bytes: its head, and what its page prints. Nobody looks at it.
const MOST_HEAD: usize = 16 << 10;
const MOST_BODY: usize = 64 << 10;

/// Why events were not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotTaken {
    /// The key is not the one that Jeedom expects.
    #[error("Jeedom refuses the key (status {status}); if it was renewed, the plugin tells the new one within 5 minutes")]
    KeyRefused { status: u16 },
    /// The page answers with something else than "taken".
    #[error("the web server answers with status {status}; the log of Jeedom may say why")]
    Status { status: u16 },
    /// There is no answer that could be read.
    #[error("{0}")]
    NoAnswer(String),
}

/// Who takes events.
pub(super) trait Receiver: Send + Sync + 'static {
    /// Gives it a body; `Ok` once it has taken what is in there.
    fn post(&self, body: Vec<u8>) -> impl Future<Output = Result<(), NotTaken>> + Send;
}

impl Receiver for PageUrl {
    async fn post(&self, body: Vec<u8>) -> Result<(), NotTaken> {
        match self.ask(body, Instant::now() + WITHIN).await? {
            status if status.is_success() => Ok(()),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Err(NotTaken::KeyRefused { status: status.as_u16() }),
            status => Err(NotTaken::Status { status: status.as_u16() }),
        }
    }
}

impl PageUrl {
    async fn ask(&self, body: Vec<u8>, deadline: Instant) -> Result<StatusCode, NotTaken> {
        let stream = timeout_at(deadline, self.connect()).await.map_err(late)?.map_err(|e| NotTaken::NoAnswer(reason(&e)))?;
        let mut request = Request::post(self.path()).body(Full::new(Bytes::from(body))).map_err(|e| NotTaken::NoAnswer(e.to_string()))?;
        let heads = request.headers_mut();
        heads.insert(HOST, HeaderValue::from_str(self.authority()).map_err(|e| NotTaken::NoAnswer(e.to_string()))?);
        heads.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        heads.insert(USER_AGENT, HeaderValue::from_static(concat!("domoflux/", env!("CARGO_PKG_VERSION"))));
        heads.insert(CONNECTION, HeaderValue::from_static("close"));
        let (mut requests, connection) = http1::Builder::new()
            .max_buf_size(MOST_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| no_answer(&e))?;
        let asking = async {
            let mut answer = timeout_at(deadline, requests.send_request(request)).await.map_err(late)?.map_err(|e| no_answer(&e))?;
            // It is read so that the page can print to its end. What it has said is said by then.
            let _ = timeout_at(deadline, read(&mut answer)).await;
            Ok(answer.status())
        };
        let (mut asking, mut connection) = (std::pin::pin!(asking), std::pin::pin!(connection));
        tokio::select! {
            biased;
            asked = &mut asking => return asked,
            _ = &mut connection => {}
        }
        asking.await // what the connection has left
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::ErrorKind::AddrNotAvailable.into();
        for at in self.at() {
            match TcpStream::connect(at).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

async fn read(answer: &mut Response<Incoming>) {
    let mut left = MOST_BODY;
    while let Some(Ok(frame)) = answer.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

fn late(_: Elapsed) -> NotTaken {
    NotTaken::NoAnswer(format!("no answer within {} s", WITHIN.as_secs()))
}

/// hyper's own words are for programmers.
fn no_answer(error: &hyper::Error) -> NotTaken {
    let io = std::error::Error::source(error).and_then(|e| e.downcast_ref::<io::Error>());
    NotTaken::NoAnswer(match io {
        Some(error) => reason(error),
        None if error.is_parse() => "what it answers is no HTTP".to_owned(),
        None if error.is_incomplete_message() || error.is_closed() || error.is_canceled() => "the connection was closed without an answer".to_owned(),
        None => error.to_string(),
    })
}
