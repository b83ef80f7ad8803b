//! The key of keyed hashes: it comes from a file or the environment, and is never printed.

use std::fmt;
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Where the key is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeySource {
    /// A file that holds nothing else; a line end at its end is ignored.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
}

/// A key that is too easily guessed hides nothing.
const MIN_KEY_BYTES: usize = 16;
/// A key file has a few dozen bytes; a larger one is somebody's mistake.
const MAX_KEY_BYTES: usize = 4096;

impl KeySource {
    /// Reads what the key is made from.
    ///
    /// # Errors
    /// A sentence that says which file or variable is not there or too short, and nothing of what it holds.
    pub(super) fn read(&self) -> Result<KeyBytes, String> {
        let mut key = match self {
            Self::File(path) => bounded(path).map_err(|error| format!("{self} cannot be read: {error}"))?,
            Self::Environment(name) => {
                std::env::var_os(name).ok_or_else(|| format!("{self} is not set"))?.into_encoded_bytes()
            }
        };
        while key.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
            key.pop();
        }
        if !(MIN_KEY_BYTES..=MAX_KEY_BYTES).contains(&key.len()) {
            let wrong = if key.len() < MIN_KEY_BYTES { "short" } else { "long" };
            return Err(format!(
                "the key in {self} is too {wrong}; allowed are {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes"
            ));
        }
        Ok(KeyBytes(key))
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "the file {}", path.display()),
            // Somebody may have written the key in the place of its name.
            Self::Environment(_) => formatter.write_str("the environment variable that is named here"),
        }
    }
}

/// One byte more than a key may have is enough to tell that it is too long.
fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_KEY_BYTES as u64 + 3).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a key is made from. It cannot be printed.
pub(super) struct KeyBytes(Vec<u8>);

impl KeyBytes {
    /// The key; None for a length that HMAC does not take, and it takes any.
    pub(super) fn key(&self) -> Option<HmacKey> {
        Hmac::new_from_slice(&self.0).ok().map(HmacKey)
    }
}

/// The key, ready to be used. Debug output shows that there is one, and no more.
#[derive(Clone)]
pub(super) struct HmacKey(Hmac<Sha256>);

impl HmacKey {
    /// What stands for a value: the first 16 bytes of its HMAC-SHA256, as 32 hexadecimal digits. Nobody without the key
    /// can tell the value, and equal values stay equal.
    pub(super) fn pseudonym(&self, value: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(value.as_bytes());
        mac.finalize().into_bytes().iter().take(16).fold(String::with_capacity(32), |mut text, byte| {
            // Writing to a String never fails.
            write!(text, "{byte:02x}").ok();
            text
        })
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HmacKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_the_beginning_of_the_hmac() {
        let file = std::env::temp_dir().join(format!("driftline-key-{}", std::process::id()));
        std::fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
        let key = KeySource::File(file.clone()).read().ok().unwrap().key().unwrap();
        // printf 123-45-6789 | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
        assert_eq!(key.pseudonym("123-45-6789"), "c5e5fd81ed3e05504b23ff6146781b13");
        assert_eq!(format!("{key:?}"), "HmacKey(…)");
        std::fs::write(&file, "hunter2\n").unwrap();
        let error = KeySource::File(file.clone()).read().err().unwrap();
        assert!(error.contains("is too short") && !error.contains("hunter2"), "{error}");
        std::fs::remove_file(&file).unwrap();
        assert!(KeySource::File(file).read().err().unwrap().contains("cannot be read"));
        assert!(KeySource::Environment("DRIFTLINE_NO_SUCH".to_owned()).read().err().unwrap().contains("is not set"));
    }
}
