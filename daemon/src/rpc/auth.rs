//! Who may call: whoever has the token, from no web page.

use std::fmt;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST, ORIGIN};

use crate::text::reason;

/// The environment variable that has the token, where no file shall.
const VARIABLE: &str = "DOMOFLUX_TOKEN";

/// The shortest token that is taken from outside, in characters.
const SHORTEST: usize = 16;

/// The secret that protects the API. It is never printed.
#[derive(Clone)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file can't be used.
    #[error("token file {path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The token is too short to protect anything.
    #[error("the token in {place} has fewer than {SHORTEST} characters: use a longer one")]
    Short {
        /// Where it is from.
        place: String,
    },
    /// No randomness.
    #[error("cannot make a token: {0}")]
    Random(String),
}

impl Token {
    /// The token of the environment or of the file, which is made if it does not exist. With `for_group`, the file's
    /// group may read it, else its user only; a mode that is neither was given on purpose and stays.
    pub fn load_or_create(file: &Path, for_group: bool) -> Result<Self, TokenError> {
        let mode = if for_group { 0o640 } else { 0o600 };
        match Self::load(file) {
            // An empty file is what a power cut may leave of one that was just made.
            Err(_) if std::env::var_os(VARIABLE).is_none() && std::fs::metadata(file).map_or(0, |f| f.len()) == 0 => Self::create(file, mode),
            other => {
                let now = std::fs::metadata(file).map(|f| f.permissions().mode() & 0o777);
                if now.is_ok_and(|now| now != mode && matches!(now, 0o600 | 0o640)) {
                    let _ = std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode));
                }
                other
            }
        }
    }

    /// The token of the environment, or of the file.
    pub fn load(file: &Path) -> Result<Self, TokenError> {
        let (text, place) = match std::env::var(VARIABLE) {
            Ok(text) => (text, VARIABLE.to_owned()),
            Err(_) => {
                let text = std::fs::read_to_string(file).map_err(|e| TokenError::File { path: file.to_owned(), reason: reason(&e) })?;
                (text, file.display().to_string())
            }
        };
        let text = text.trim();
        if text.len() < SHORTEST { Err(TokenError::Short { place }) } else { Ok(Self(text.to_owned())) }
    }

    /// A token that is written nowhere.
    pub fn unwritten() -> Result<Self, TokenError> {
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes).map_err(|e| TokenError::Random(e.to_string()))?;
        let mut text = String::with_capacity(64);
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self(text))
    }

    /// Written beside the file and renamed: there is never half of one.
    fn create(file: &Path, mode: u32) -> Result<Self, TokenError> {
        let token = Self::unwritten()?;
        let beside = file.with_extension("new");
        let write = || {
            let _ = std::fs::remove_file(&beside);
            let mut new = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
            new.write_all(token.0.as_bytes())?;
            new.sync_all()?;
            std::fs::rename(&beside, file)
        };
        write().map_err(|e| TokenError::File { path: file.to_owned(), reason: reason(&e) })?;
        Ok(token)
    }

    /// The secret itself, for who has to take it out of a text.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }

    /// The value of an `Authorization` header that carries it.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether the request carries it. How long this takes says nothing about how much of it was right.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        let Some(given) = headers.get(AUTHORIZATION).and_then(|v| v.as_bytes().strip_prefix(b"Bearer ")) else { return false };
        let wanted = self.0.as_bytes();
        given.len() == wanted.len() && given.iter().zip(wanted).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }
}

/// Whether the request is one that no web page can make: addressed to loopback by name, and without an origin.
pub(super) fn is_local(headers: &HeaderMap) -> bool {
    let hosts: Vec<_> = headers.get_all(HOST).iter().collect();
    let [host] = hosts.as_slice() else { return false };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() && (!name.contains(':') || name.ends_with(']')) => name,
        _ => host,
    };
    matches!(name.to_ascii_lowercase().as_str(), "127.0.0.1" | "localhost" | "[::1]") && !headers.contains_key(ORIGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(hyper::header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_loopback_names_and_no_origin() {
        for host in ["127.0.0.1", "127.0.0.1:55170", "localhost:1", "LocalHost", "[::1]", "[::1]:55170"] {
            assert!(is_local(&headers(&[(HOST, host)])), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "127.0.0.1:x", "localhost@evil", "", "10.0.0.1:55170"] {
            assert!(!is_local(&headers(&[(HOST, host)])), "{host}");
        }
        assert!(!is_local(&headers(&[])));
        assert!(!is_local(&headers(&[(HOST, "localhost"), (ORIGIN, "http://localhost")])));
        assert!(!is_local(&headers(&[(HOST, "localhost"), (ORIGIN, "null")])));
        let mut two = headers(&[(HOST, "localhost")]);
        two.append(HOST, "evil.example".parse().unwrap());
        assert!(!is_local(&two));
    }

    #[test]
    fn a_token_is_made_once_private_and_compared_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let mode = || std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        let token = Token::load_or_create(&file, false).unwrap();
        assert_eq!(mode(), 0o600);
        assert_eq!(Token::load_or_create(&file, true).unwrap().0, token.0);
        assert_eq!(mode(), 0o640);
        assert_eq!(Token::load_or_create(&file, false).unwrap().0, token.0);
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(Token::load_or_create(&file, true).unwrap().0, token.0);
        assert_eq!(mode(), 0o400, "a mode of the operator's own is changed");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(token.is_in(&headers(&[(AUTHORIZATION, &token.bearer())])));
        for wrong in ["", "Bearer ", "Bearer x", &token.bearer()[..70], &format!("{}0", token.bearer()), &token.0] {
            assert!(!token.is_in(&headers(&[(AUTHORIZATION, wrong)])), "{wrong}");
        }
        assert!(!format!("{token:?}").contains(&token.0));
        std::fs::write(&file, "short").unwrap();
        assert!(matches!(Token::load_or_create(&file, false), Err(TokenError::Short { .. })));
    }
}
