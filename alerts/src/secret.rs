//! Secrets: they come from files or the environment, and are never printed.

use std::fmt;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

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

/// Values that nobody is to read, so that they are taken out of what others say: some servers repeat what they were sent.
#[derive(Clone, Default)]
pub struct Withheld(Vec<String>);

impl Withheld {
    /// Shorter ones are no secrets, and would be found everywhere.
    const SHORTEST: usize = 6;
    /// A part of an address that is at least so long may be a key.
    const SHORTEST_PART: usize = 16;

    /// Adds one.
    pub fn add(&mut self, value: &str) {
        if value.len() >= Self::SHORTEST {
            // As it stands, and as JSON has it.
            let quoted = serde_json::Value::from(value).to_string();
            self.0.push(value.to_owned());
            self.0.push(quoted.trim_matches('"').to_owned());
        }
    }

    /// Adds an address, which may be a webhook's secret: whole, from its path on, and each long part of it.
    pub(crate) fn add_address(&mut self, url: &str) {
        let path = url.split_once("://").and_then(|(_, rest)| Some(&rest[rest.find('/')?..]));
        let parts = path.unwrap_or_default().split(['/', '?', '&', '=']);
        let parts = parts.filter(|part| part.len() >= Self::SHORTEST_PART);
        [url].into_iter().chain(path).chain(parts).for_each(|value| self.add(value));
        let login = url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next()?.rsplit_once('@'));
        if let Some((user, password)) = login.and_then(|(login, _)| login.split_once(':')) {
            // As the address has it, and as the header does that is made of it.
            self.add(password);
            self.add(&unescaped(password));
            self.add(&STANDARD.encode(format!("{}:{}", unescaped(user), unescaped(password))));
        }
    }

    /// A text without them.
    pub fn out_of(&self, text: &str) -> String {
        let mut values: Vec<&String> = self.0.iter().collect();
        // A part of another goes after it.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.into_iter().fold(text.to_owned(), |text, value| text.replace(value.as_str(), "…"))
    }
}

/// A part of an address, without its `%41`.
fn unescaped(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl fmt::Debug for Withheld {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Withheld(…)")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_repeat_is_taken_out_of_what_they_say() {
        let mut withheld = Withheld::default();
        withheld.add("pa\"55word");
        withheld.add("short");
        withheld.add_address("http://u:pa5%255word@example.com/");
        withheld.add_address("https://hooks.example.com/services/T0/B0/0123456789abcdef");
        for (said, left) in [
            ("no such user, with pa\"55word", "no such user, with …"),
            (r#"{"password": "pa\"55word"}"#, r#"{"password": "…"}"#),
            ("no /services/T0/B0/0123456789abcdef here", "no … here"),
            ("https://hooks.example.com/services/T0/B0/0123456789abcdef is gone", "… is gone"),
            ("0123456789abcdef is revoked", "… is revoked"),
            ("a short word", "a short word"),
            ("Basic dTpwYTUlNXdvcmQ= is wrong", "Basic … is wrong"),
            ("u:pa5%5word is wrong", "u:… is wrong"),
        ] {
            assert_eq!(withheld.out_of(said), left);
        }
        assert_eq!(format!("{withheld:?}"), "Withheld(…)");
    }
}
