//! Secrets: they come from files or the environment, and are never printed.

use std::fmt;
use std::path::PathBuf;

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file that holds nothing else; a line end at its end is ignored.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
}

/// A secret's value. Debug output shows that there is one, and no more.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret that is known already.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

impl SecretSource {
    /// Reads the secret.
    ///
    /// # Errors
    /// A sentence that says which file or variable is not there or empty.
    pub fn read(&self) -> Result<Secret, String> {
        let value = match self {
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("the secret's file {} cannot be read: {error}", path.display()))?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
            Self::Environment(name) => {
                std::env::var(name).map_err(|_| format!("the environment variable {name} is not set"))?
            }
        };
        if value.is_empty() {
            return Err(format!("the secret from {self} is empty"));
        }
        Ok(Secret(value))
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "file {}", path.display()),
            Self::Environment(name) => write!(formatter, "environment variable {name}"),
        }
    }
}
