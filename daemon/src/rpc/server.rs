//! The HTTP side of the API, on hyper with an accept loop of our own: bounded in connections, time and bytes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT_LANGUAGE, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use jsonrpsee::Methods;
use jsonrpsee::server::{BatchRequestConfig, Server, ServerConfig, ServerHandle, StopHandle, stop_channel};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tower::Service;

use crate::i18n::Language;

use super::{Daemon, Token, auth, method_table, metrics};

/// What callers may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at the same time. One more takes the place of the oldest that has not shown the token yet.
    pub connections: usize,
    /// The largest body, in bytes.
    pub body: usize,
    /// How long the head of a request may take.
    pub head_within: Duration,
    /// How long its body may take.
    pub body_within: Duration,
    /// Calls in one batch.
    pub batch: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 64, body: 1 << 20, head_within: Duration::from_secs(10), body_within: Duration::from_secs(10), batch: 50 }
    }
}

struct Api {
    daemon: Daemon,
    token: Token,
    limits: Limits,
    calls: Calls,
}

/// Answers the bodies of calls, with jsonrpsee.
pub(crate) struct Calls {
    methods: Methods,
    config: ServerConfig,
    stop: StopHandle,
    _stops_when_dropped: ServerHandle,
}

/// Answers calls until the daemon stops.
pub async fn serve(listener: TcpListener, daemon: Daemon, token: Token, limits: Limits) {
    let stopping = daemon.stop.clone();
    let calls = Calls::new(daemon.clone(), limits);
    let api = Arc::new(Api { daemon, token, limits, calls });
    let callers = Arc::new(Callers::default());
    loop {
        let stream = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    // Out of descriptors, say: pause, so that nothing spins.
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            },
        };
        callers.admit(&api, stream);
    }
    // Calls under way are answered: the one that asked for the stop is among them.
    let _ = tokio::time::timeout(Duration::from_secs(1), callers.gone()).await;
}

/// The connections there are, oldest first.
#[derive(Default)]
struct Callers {
    list: Mutex<VecDeque<Caller>>,
    one_gone: tokio::sync::Notify,
}

struct Caller {
    task: AbortHandle,
    /// It has shown the token.
    trusted: Arc<AtomicBool>,
}

impl Callers {
    fn admit(self: &Arc<Self>, api: &Arc<Api>, stream: TcpStream) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|caller| !caller.task.is_finished());
        if list.len() >= api.limits.connections {
            let oldest = list.iter().position(|caller| !caller.trusted.load(Ordering::Relaxed));
            match oldest.and_then(|i| list.remove(i)) {
                Some(caller) => caller.task.abort(),
                None => return, // all of them are in use by those who may: this one is closed
            }
        }
        let trusted = Arc::new(AtomicBool::new(false));
        let (api, ours, callers) = (Arc::clone(api), Arc::clone(&trusted), Arc::clone(self));
        let task = tokio::spawn(async move {
            converse(api, stream, ours).await;
            callers.one_gone.notify_waiters();
        });
        list.push_back(Caller { task: task.abort_handle(), trusted });
    }

    async fn gone(&self) {
        loop {
            let one_gone = self.one_gone.notified();
            if self.list.lock().unwrap_or_else(PoisonError::into_inner).iter().all(|c| c.task.is_finished()) {
                return;
            }
            let _ = tokio::time::timeout(Duration::from_millis(50), one_gone).await;
        }
    }
}

async fn converse(api: Arc<Api>, stream: TcpStream, trusted: Arc<AtomicBool>) {
    let _ = stream.set_nodelay(true);
    let stopping = api.daemon.stop.clone();
    let limits = api.limits;
    let service = service_fn(move |request| {
        let (api, trusted) = (Arc::clone(&api), Arc::clone(&trusted));
        async move { Ok::<_, Infallible>(answer(&api, request, &trusted).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_within)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // An error here is the caller's: a head that is too slow, too long, or no HTTP.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stopping.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn answer(api: &Api, request: Request<Incoming>, trusted: &AtomicBool) -> Response<Full<Bytes>> {
    if !auth::is_local(request.headers()) {
        return refuse(
            StatusCode::FORBIDDEN,
            "this API answers local programs only: the Host must be a loopback name, and there must be no Origin",
        );
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/healthz") => return text(StatusCode::OK, "ok\n".into()),
        (&Method::GET, "/metrics") if api.daemon.metrics_public || api.token.is_in(request.headers()) => {
            return text(StatusCode::OK, metrics::render(&api.daemon));
        }
        (&Method::GET, "/metrics") | (&Method::POST, "/") => {}
        (_, "/" | "/metrics" | "/healthz") => {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "calls are POST requests to /; GET has /healthz and /metrics");
        }
        _ => return refuse(StatusCode::NOT_FOUND, "there is nothing here: calls are POST requests to /"),
    }
    if !api.token.is_in(request.headers()) {
        return refuse(
            StatusCode::UNAUTHORIZED,
            "the token is missing or wrong: send the content of the token file as `Authorization: Bearer <token>`",
        );
    }
    trusted.store(true, Ordering::Relaxed);
    call(api, request).await
}

/// Reads the body, bounded in size and time, and hands the call to jsonrpsee.
async fn call(api: &Api, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let Limits { body: most, body_within, .. } = api.limits;
    let too_large = || refuse(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body has more than {most} bytes"));
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|n| n > most as u64) {
        return too_large();
    }
    let (mut head, body) = request.into_parts();
    // Whoever has the token need not say what it sends; jsonrpsee would refuse PHP's default.
    let language = head.headers.get(ACCEPT_LANGUAGE).and_then(|v| v.to_str().ok()).map(Language::wanted).unwrap_or_default();
    head.extensions.insert(language);
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = match tokio::time::timeout(body_within, Limited::new(body, most).collect()).await {
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, &format!("the body did not arrive within {} s", body_within.as_secs())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return too_large(),
        Ok(Err(error)) => return refuse(StatusCode::BAD_REQUEST, &format!("the body can't be read: {error}")),
        Ok(Ok(body)) => body.to_bytes(),
    };
    api.calls.answer(Request::from_parts(head, Full::new(body))).await
}

impl Calls {
    pub(crate) fn new(daemon: Daemon, limits: Limits) -> Self {
        let (stop, handle) = stop_channel();
        let config = ServerConfig::builder()
            .max_request_body_size(limits.body as u32)
            .max_response_body_size(8 << 20)
            .max_connections(u32::MAX >> 4)
            .set_batch_request_config(BatchRequestConfig::Limit(limits.batch))
            .http_only()
            .build();
        Self { methods: method_table(daemon).finish(), config, stop, _stops_when_dropped: handle }
    }

    /// The answer to a call, or to a batch of them.
    pub(crate) async fn answer(&self, request: Request<Full<Bytes>>) -> Response<Full<Bytes>> {
        let mut service = Server::builder()
            .set_config(self.config.clone())
            .to_service_builder()
            .build(self.methods.clone(), self.stop.clone());
        let answer = match service.call(request).await {
            Ok(answer) => answer,
            Err(error) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        };
        let (head, body) = answer.into_parts();
        match body.collect().await {
            Ok(body) => Response::from_parts(head, Full::new(body.to_bytes())),
            Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Refuses a request before it is a call. The connection is closed: what follows on it can't be trusted.
fn refuse(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    let mut response = text(status, format!("{}\n", serde_json::json!({ "error": why })));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
