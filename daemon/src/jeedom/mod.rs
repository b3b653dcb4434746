//! The callback to Jeedom: what happens is posted to a page of its web server, so that nobody has to ask every second.
//!
//! It is a reader of [`crate::flow::Events`] like any other: a cursor that moves once the web server has taken what was
//! posted. Nothing is queued for it, so a web server that is down costs no memory, and nothing ever waits for it.

mod callback;
mod deliver;
mod place;
mod post;

pub use callback::{Callback, CallbackStatus, SetError};
pub use place::{Key, PageUrl, WrongPlace};
