//! A server that knows which requests will come, byte for byte, and what it answers to each.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::{Server, Talk, until};

/// A step: what comes, what is answered, and whether the server closes then.
pub(crate) type Step = (Vec<u8>, Vec<u8>, bool);

pub(crate) struct Dialogue {
    server: Server,
    got: Arc<Mutex<Vec<Vec<u8>>>>,
    expected: Vec<Vec<u8>>,
}

impl Dialogue {
    pub(crate) fn start(steps: Vec<Step>) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), steps)
    }

    pub(crate) fn start_at(address: SocketAddr, steps: Vec<Step>) -> Self {
        let got: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let expected = steps.iter().map(|(request, ..)| request.clone()).collect();
        let (kept, next) = (Arc::clone(&got), Mutex::new(0));
        let server = Server::start_at((address.ip(), address.port()), move |_, mut stream| {
            loop {
                let mut first = [0];
                let Ok(1) = stream.peek(&mut first) else { return };
                let step = {
                    let mut next = next.lock().unwrap();
                    *next += 1;
                    *next - 1
                };
                let Some((request, answer, closes)) = steps.get(step) else {
                    let (rest, _) = stream.receive_all();
                    return kept.lock().unwrap().push(rest);
                };
                let came = stream.receive(request.len());
                kept.lock().unwrap().push(came);
                stream.send(answer);
                if *closes {
                    return;
                }
            }
        });
        Self { server, got, expected }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// All requests have come, and nothing else.
    #[track_caller]
    pub(crate) fn is_over(&self) {
        let text = |all: &[Vec<u8>]| all.iter().map(|one| one.escape_ascii().to_string()).collect::<Vec<_>>();
        until("all requests come", || (self.got.lock().unwrap().len() >= self.expected.len()).then_some(()));
        assert_eq!(text(&self.got.lock().unwrap()), text(&self.expected));
    }
}
