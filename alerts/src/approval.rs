//! Links that decide: whoever has one may approve of a reaction, without a login, until it expires.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::secret::Secret;

/// The signature of a link: 64 hexadecimal digits of the HMAC-SHA256 over what it is good for and until when, in seconds
/// since the Unix epoch.
pub fn sign_approval(key: &Secret, reaction: &str, expires: i64) -> String {
    let Some(mac) = mac(key, reaction, expires) else { return String::new() };
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a link was signed with this key for this reaction and this end. How long it takes says nothing of how much of the
/// signature is right; whether it has expired is the caller's to ask.
pub fn is_signed_approval(key: &Secret, reaction: &str, expires: i64, signature: &str) -> bool {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let digits: Option<Vec<u32>> = signature.as_bytes().iter().map(digit).collect();
    let Some(digits) = digits.filter(|digits| digits.len() % 2 == 0) else { return false };
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect();
    mac(key, reaction, expires).is_some_and(|mac| mac.verify_slice(&bytes).is_ok())
}

fn mac(key: &Secret, reaction: &str, expires: i64) -> Option<Hmac<Sha256>> {
    // A key of any length is one.
    let mut mac = <Hmac<Sha256>>::new_from_slice(key.reveal().as_bytes()).ok()?;
    mac.update(format!("approval\n{expires}\n{reaction}").as_bytes());
    Some(mac)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_signature_is_the_hmac_of_what_it_is_for() {
        // By `printf 'approval\n7\nretrain.e' | openssl dgst -sha256 -hmac key`.
        let expected = "0ca9a16032beba91838391187f006947a3476e0f25504bee1bdcbcc20808be75";
        assert_eq!(sign_approval(&Secret::new("key"), "retrain.e", 7), expected);
    }

    proptest! {
        #[test]
        fn no_other_key_reaction_end_or_signature_will_do(
            id in "[a-z.\n]{0,9}", other in "[a-z.\n0-9]{0,9}", expires in 0i64..99, end in 0i64..99, noise in "\\PC{0,70}",
        ) {
            let key = Secret::new("key");
            let signature = sign_approval(&key, &id, expires);
            prop_assert!(is_signed_approval(&key, &id, expires, &signature));
            prop_assert_eq!(is_signed_approval(&key, &other, end, &signature), (&id, expires) == (&other, end));
            prop_assert!(!is_signed_approval(&Secret::new("another"), &id, expires, &signature));
            prop_assert_eq!(is_signed_approval(&key, &id, expires, &noise), noise.eq_ignore_ascii_case(&signature));
            prop_assert!(!is_signed_approval(&key, &id, expires, &signature[2..]));
        }
    }
}
