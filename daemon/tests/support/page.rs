//! The page of a web server that is called back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::{Server, until};

/// Keeps what is posted, and answers with what the test says.
pub(crate) struct Page {
    server: Server,
    posts: Arc<Mutex<Vec<Post>>>,
    answer: Arc<Mutex<Vec<u8>>>,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) head: String,
    pub(crate) body: Value,
}

pub(crate) const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

impl Page {
    /// One that takes everything.
    pub(crate) fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into())
    }

    pub(crate) fn start_at(at: SocketAddr) -> Self {
        let (posts, answer) = (Arc::<Mutex<Vec<Post>>>::default(), Arc::new(Mutex::new(TAKEN.as_bytes().to_vec())));
        let (kept, say) = (Arc::clone(&posts), Arc::clone(&answer));
        let server = Server::start_at((at.ip(), at.port()), move |_, mut stream| {
            let Some(post) = read(&mut stream) else { return };
            // The answer is decided on together with the post: a test that changes it knows for which it counts.
            let answer = {
                let mut posts = kept.lock().unwrap();
                posts.push(post);
                say.lock().unwrap().clone()
            };
            let _ = stream.write_all(&answer);
            if answer.is_empty() {
                let _ = stream.read(&mut [0]); // says nothing, until the other side has had enough
            }
        });
        Self { server, posts, answer }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/core/php/jeeDomoflux.php", self.server.address)
    }

    /// From now on it answers with this; with nothing, it hangs.
    pub(crate) fn answers(&self, answer: impl Into<Vec<u8>>) {
        let _decided = self.posts.lock().unwrap();
        *self.answer.lock().unwrap() = answer.into();
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }

    /// All events so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.posts().iter().flat_map(|post| post.body["events"].as_array().unwrap().clone()).collect()
    }

    /// Waits until an event is there; all of them so far.
    #[track_caller]
    pub(crate) fn got(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Vec<Value> {
        until(what, || Some(self.events()).filter(|events| events.iter().any(&is_it)))
    }
}

fn read(stream: &mut TcpStream) -> Option<Post> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Post { head, body: serde_json::from_slice(&body).unwrap() })
}
