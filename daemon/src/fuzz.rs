//! What the fuzz targets in `daemon/fuzz` call: one function a decoder, which takes any bytes and panics where the decoder
//! breaks a promise. It is there with `--cfg fuzzing` only; `tests/fuzz` builds and runs the targets.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::config::ConfigFile;
use crate::flow::{Flows, KINDS, Means, Problem};
use crate::jeedom::Callback;
use crate::log::{Format, Log, LogLevel};
use crate::mirror::spool::read_whole;
use crate::mirror::spool::record::{self, Chunk, End, HEADER, MAGIC, TAIL};
use crate::multiplexer::protocol::audit;
use crate::net::proxy::{self, Version};
use crate::rpc::{Calls, Daemon, Limits};
use crate::store::Store;

/// One thread, as in the daemon, and one beside it that reads files.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    runtime.unwrap_or_else(|error| unreachable!("no runtime: {error}"))
});

/// A record as a file; in shared memory, where there is such a thing, as a file system would take most of the time.
static RECORD: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let dir = if memory.is_dir() { memory } else { std::env::temp_dir() };
    dir.join(format!("domoflux-fuzz-{}.rec", std::process::id()))
});

/// The PROXY header: whatever comes in pieces is read as what comes at once, and what was read can be written.
///
/// # Panics
///
/// If not.
pub fn proxy_header(bytes: &[u8]) {
    let whole = proxy::decode(bytes);
    let length = match whole {
        Ok(Some((_, length))) => length,
        _ => bytes.len(),
    };
    assert!(length <= bytes.len(), "{length} of {} bytes", bytes.len());
    assert!(whole != Ok(None) || bytes.len() < 4112, "more is waited for after {} bytes", bytes.len());
    // Every beginning of it is either waited on, or refused as the whole is.
    for cut in (0..length.min(300)).chain(length.saturating_sub(20)..length) {
        let part = proxy::decode(bytes.get(..cut).unwrap_or_default());
        assert!(part == Ok(None) || part == whole && whole.is_err(), "{cut} of {length}: {part:?} but {whole:?}");
    }
    let Ok(Some((header, _))) = whole else { return };
    assert_eq!(proxy::decode(bytes.get(..length).unwrap_or_default()), whole, "what follows the header changes it");
    let versions = [proxy::encode(Version::V1, header), proxy::encode(Version::V2, header), proxy::encode_datagram(header)];
    for encoded in versions {
        assert_eq!(proxy::decode(&encoded), Ok(Some((header, encoded.len()))), "{header:?} as {encoded:?}");
    }
}

/// Records of the spool: chunk by chunk, from their end, and as a file. Once as the bytes are, and once with checksums that
/// are right, so that what comes after the checksum is reached.
///
/// # Panics
///
/// If the three ways say different things of a record, or a chunk is not what was written.
pub fn spool_record(bytes: &[u8]) {
    one_record(bytes);
    one_record(&with_right_sums(bytes));
}

fn one_record(bytes: &[u8]) {
    let (data, ended) = chunks_of(bytes);
    let tail = bytes.get(bytes.len().saturating_sub(TAIL)..).unwrap_or_default();
    let by_tail = record::ends(tail);
    if let Some((end, played, 0)) = ended {
        assert_eq!(by_tail, Some((end, played)), "the tail says another end");
    }
    assert!(std::fs::write(&*RECORD, bytes).is_ok(), "cannot write {}", RECORD.display());
    let (read, read_end) = RUNTIME.block_on(read_whole(&RECORD));
    let _ = std::fs::remove_file(&*RECORD);
    assert!(read == data, "the reader has {} bytes, the chunks have {}", read.len(), data.len());
    assert_eq!(read_end.ok(), ended.map(|(end, _, _)| end), "the reader says another end");
}

/// The data of all chunks up to the first end, that end, whether it was played, and how many bytes follow; no end where
/// it can't be read on.
fn chunks_of(bytes: &[u8]) -> (Vec<u8>, Option<(End, bool, usize)>) {
    let mut data = Vec::new();
    let mut at = match record::begins(bytes) {
        Some(Ok(())) => MAGIC.len(),
        Some(Err(_)) | None => return (data, None),
    };
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Ok(Some((chunk, length))) = record::decode(rest) else { return (data, None) };
        assert!((HEADER..=rest.len()).contains(&length), "a chunk of {length} of {} bytes", rest.len());
        let mut again = Vec::new();
        record::encode(&chunk, &mut again);
        assert!(rest.get(..length) == Some(&again), "{chunk:?} is written as {again:?}");
        for cut in [0, 4, HEADER - 1, HEADER, length - 1] {
            let part = rest.get(..cut.min(length - 1)).unwrap_or_default();
            assert_eq!(record::decode(part), Ok(None), "{cut} of {length} bytes");
        }
        at += length;
        match chunk {
            Chunk::Data(more) => data.extend_from_slice(more),
            Chunk::End(end) => {
                let rest = bytes.get(at..).unwrap_or_default();
                let played = matches!(record::decode(rest), Ok(Some((Chunk::Played, _))));
                return (data, Some((end, played, rest.len() - if played { HEADER } else { 0 })));
            }
            Chunk::Opened { .. } | Chunk::Played => {}
        }
    }
}

/// The same chunks with the checksum that each should have.
fn with_right_sums(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let mut at = MAGIC.len();
    out.iter_mut().zip(MAGIC).for_each(|(byte, magic)| *byte = *magic);
    while let Some((header, rest)) = out.get_mut(at..).and_then(|rest| rest.split_at_mut_checked(HEADER)) {
        let &mut [a, b, c, d, ref mut sum @ .., kind] = header else { return out };
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let Some(payload) = rest.get(..length) else { return out };
        let mut crc = crc32fast::Hasher::new();
        crc.update(&[kind]);
        crc.update(payload);
        sum.copy_from_slice(&crc.finalize().to_le_bytes());
        at += HEADER + length;
    }
    out
}

/// A configuration file: it is read, or every problem has a place and a text that fits a line.
///
/// # Panics
///
/// If not, and if a flow of a file that was read can't be built.
pub fn config_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let lines = text.split('\n').count();
    let started = Instant::now();
    match ConfigFile::parse(text) {
        Ok(file) => file.flows.iter().for_each(|flow| {
            let kind = KINDS.iter().find(|kind| kind.name() == flow.kind);
            assert!(kind.is_some_and(|kind| kind.build(&flow.spec).is_ok()), "{flow:?}");
        }),
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                let (line, column) = problem.at;
                assert!((1..=lines).contains(&line) && (1..=text.len() + 1).contains(&column), "{problem:?} of {lines} lines");
                assert!(!problem.message.is_empty() && !problem.message.contains(['\n', '\r', '\x1b']), "{problem:?}");
                assert!(!problem.item.contains(['\n', '\r', '\x1b']), "{problem:?}");
            }
        }
    }
    assert!(started.elapsed().as_secs() < 5, "{} bytes take {:?}", bytes.len(), started.elapsed());
}

/// A spec, for every kind: it is a flow, or every problem has a pointer and a text that fits a line.
///
/// # Panics
///
/// If not.
pub fn flow_spec(bytes: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<Value>(bytes) else { return };
    for kind in KINDS {
        let Err(problems) = kind.build(&spec) else { continue };
        assert!(!problems.0.is_empty());
        for Problem { pointer, message, .. } in &problems.0 {
            assert!(pointer.is_empty() || pointer.starts_with('/'), "{pointer:?}: {message}");
            assert!(!message.is_empty() && !message.contains(['\n', '\r', '\x1b']), "{pointer:?}: {message:?}");
        }
        assert!(!problems.to_string().is_empty());
    }
}

/// A stream of a multiplexer's frames: the first byte chooses protocol and side, the second how the stream is cut. Where the
/// frames end does not depend on the cuts, and nothing is taken for a frame that is longer than allowed.
///
/// # Panics
///
/// If not, and if the protocol says of a frame what contradicts itself: see [`audit`].
pub fn protocol_frames(bytes: &[u8]) {
    let [choice, seed, bytes @ ..] = bytes else { return };
    audit::any(*choice, *seed, bytes);
}

/// The body of a call, as the API has it after HTTP and the token. The flows are shut down already: methods read their
/// parameters and look flows up, but nothing can be started.
///
/// # Panics
///
/// If the answer is not JSON, or an internal error.
pub fn api_call(bytes: &[u8]) {
    static API: LazyLock<(Calls, Log)> = LazyLock::new(|| {
        RUNTIME.block_on(async {
            let log = Log::start(LogLevel::None, Format::Text);
            let flows = Flows::new(Means::new(1 << 20, Store::in_memory(), None));
            flows.shut_down(std::future::ready(())).await;
            let stop = CancellationToken::new();
            stop.cancel(); // so that polls do not wait
            let callback = Callback::new(Arc::clone(&flows.means().events), flows.means().store.clone(), String::new());
            callback.stop(); // nothing is posted anywhere
            let daemon = Daemon {
                flows,
                callback,
                log: log.clone(),
                instance: "fuzz".to_owned(),
                state_dir: PathBuf::from("/nonexistent"),
                boot_id: "0".to_owned(),
                started_at: 0,
                started: Instant::now(),
                stop,
                metrics_public: false,
                wrong_file: crate::service::Wrong::default(),
            };
            (Calls::new(daemon, Limits::default()), log)
        })
    });
    let (calls, log) = &*API;
    let request = Request::post("/").header("content-type", "application/json").body(Full::new(Bytes::copy_from_slice(bytes)));
    let Ok(request) = request else { unreachable!("the request is always the same") };
    let (status, body) = RUNTIME.block_on(async {
        let (head, body) = calls.answer(request).await.into_parts();
        (head.status, body.collect().await.unwrap_or_default().to_bytes())
    });
    log.set_level(LogLevel::None); // a call may have set another one
    assert!(status.as_u16() < 500, "HTTP {status}");
    let answer: Value = serde_json::from_slice(&body).unwrap_or_else(|error| unreachable!("no JSON ({error}): {body:?}"));
    if answer.is_null() {
        return; // of a notification, which jsonrpsee does not carry out
    }
    let answers = if let Value::Array(answers) = answer { answers } else { vec![answer] };
    for answer in answers {
        let error = answer.get("error");
        assert!(error.is_some() != answer.get("result").is_some(), "{answer}");
        assert!(error.and_then(|e| e.get("code")) != Some(&Value::from(-32603)), "{answer}");
    }
}
