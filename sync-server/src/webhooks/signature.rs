//! Signatures of what goes out, as the Standard Webhooks specification wants them: HMAC-SHA256 over id,
//! time and body. Knows no events and no network.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Bytes that a secret may have, as the specification recommends.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A key that a receiver shares with this server.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// A text is not a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret is whsec_ and then 24 to 64 random bytes in base64 (openssl rand -base64 32)")]
pub struct NotASecret;

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl FromStr for Secret {
    type Err = NotASecret;

    fn from_str(text: &str) -> Result<Self, NotASecret> {
        let encoded = text.strip_prefix("whsec_").ok_or(NotASecret)?;
        let key = STANDARD.decode(encoded).map_err(|_| NotASecret)?;
        if SECRET_BYTES.contains(&key.len()) { Ok(Self(key)) } else { Err(NotASecret) }
    }
}

/// The value of `webhook-signature`: one signature for each secret, so that a receiver may know the old
/// one or the new one while they are exchanged. `timestamp` is in seconds since the Unix epoch.
pub(super) fn sign(secrets: &[Secret], id: &str, timestamp: u64, body: &[u8]) -> String {
    let signatures: Vec<String> = secrets
        .iter()
        .filter_map(|Secret(key)| {
            // Fails for no length of key.
            let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
        })
        .collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the specification's reference libraries are tested with.
    #[test]
    fn the_specifications_example_gets_its_signature() {
        let secret: Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", br#"{"test": 2432232314}"#);
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let one = std::slice::from_ref(&secret);
        assert_eq!(sign(one, id, 1_614_265_330, body), expected);
        let new: Secret = format!("whsec_{}", STANDARD.encode([7; 32])).parse().unwrap();
        let both = sign(&[secret, new], id, 1_614_265_330, body);
        let parts: Vec<&str> = both.split(' ').collect();
        assert!(parts.len() == 2 && parts[0] == expected && parts[1].starts_with("v1,"), "{both}");
        assert_ne!(parts[0], parts[1]);
    }

    #[test]
    fn what_is_not_a_secret_is_refused_and_a_secret_is_never_printed() {
        let short = format!("whsec_{}", STANDARD.encode([1; 23]));
        let long = format!("whsec_{}", STANDARD.encode([1; 65]));
        let bare = STANDARD.encode([1; 32]);
        for text in ["", "whsec_", "whsec_!!!!", &short, &long, &bare] {
            assert_eq!(text.parse::<Secret>(), Err(NotASecret), "{text}");
        }
        let secret: Secret = format!("whsec_{}", STANDARD.encode([1; 24])).parse().unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}
