//! Who a client is, proved by a signed token: JSON Web Tokens (RFC 7519) with HS256 or EdDSA
//! (Ed25519), against a JSON Web Key Set (RFC 7517) in a file that may change while the server runs.
//!
//! A token names its user in `sub` and its end in `exp`; `roles` maps spaces to roles, `*` standing
//! for all others. A key fixes its algorithm, whatever the token says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use syncline_engine::clock::Timestamp;
use syncline_engine::codes::Code;
use syncline_engine::hub::{AuthenticateError, Authenticator, Credentials};
use syncline_engine::ids::UserId;
use syncline_engine::policy::Role;

/// How often the file is looked at for a change.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A key set has one key, or a few while they are changed.
const KEYS_MAX: usize = 64;
/// A longer token is not looked at.
const TOKEN_BYTES_MAX: usize = 8 << 10;
/// Clocks differ a little between machines.
const LEEWAY_MS: u64 = 5_000;

/// The keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The file cannot be read.
    #[error("cannot read the keys in {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a JSON Web Key Set.
    #[error("{} is not a JSON Web Key Set: {source}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// There is no key, or there are too many.
    #[error("{} must have 1 to {KEYS_MAX} keys, not {count}", path.display())]
    Count {
        /// Which file.
        path: PathBuf,
        /// How many it has.
        count: usize,
    },
    /// A key is of another kind.
    #[error("key {index} in {} is neither symmetric (oct) nor Ed25519 (OKP)", path.display())]
    Kind {
        /// Which file.
        path: PathBuf,
        /// Which key, from 0.
        index: usize,
    },
}

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

/// Checks tokens against the keys in a file.
pub struct Tokens {
    path: PathBuf,
    audience: Option<String>,
    keys: RwLock<Arc<Vec<Key>>>,
}

// Keys are secrets.
impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("path", &self.path).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    #[serde(default)]
    nbf: u64,
    #[serde(default)]
    roles: BTreeMap<String, Role>,
}

impl Tokens {
    /// Reads the keys. With an `audience`, tokens must be made for it (`aud`).
    ///
    /// # Errors
    /// [`KeysError`] if the file cannot be read or is not a set of keys of the right kinds.
    pub fn read(path: &Path, audience: Option<String>) -> Result<Self, KeysError> {
        let keys = RwLock::new(Arc::new(read_keys(path)?));
        Ok(Self { path: path.to_owned(), audience, keys })
    }

    /// Reads the keys again whenever the file has changed, for as long as somebody else holds this.
    /// A file that cannot be used is reported, and the keys stay as they were.
    pub async fn follow(self: Arc<Self>) {
        let mut seen = modified(&self.path);
        let this = Arc::downgrade(&self);
        drop(self);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(tokens) = this.upgrade() else { return };
            let now = modified(&tokens.path);
            if now == seen {
                continue;
            }
            seen = now;
            match read_keys(&tokens.path) {
                Ok(keys) => {
                    tracing::info!(count = keys.len(), "keys read again");
                    *tokens.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
                }
                Err(error) => tracing::error!(%error, "the keys stay as they were"),
            }
        }
    }

    fn claims(&self, token: &str) -> Result<Claims, AuthenticateError> {
        let header = decode_header(token).map_err(|_| refused("the token is malformed"))?;
        let keys = Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner));
        let fits = |key: &&Key| {
            key.algorithm == header.alg
                && header.kid.as_ref().is_none_or(|id| key.id.as_ref() == Some(id))
        };
        for key in keys.iter().filter(fits) {
            let mut validation = Validation::new(key.algorithm);
            // By the hub's clock, below.
            validation.validate_exp = false;
            validation.validate_nbf = false;
            validation.required_spec_claims = ["sub", "exp"].map(str::to_owned).into();
            match &self.audience {
                Some(audience) => {
                    validation.set_audience(&[audience]);
                    validation.required_spec_claims.insert("aud".to_owned());
                }
                None => validation.validate_aud = false,
            }
            if let Ok(token) = decode::<Claims>(token, &key.decoding, &validation) {
                return Ok(token.claims);
            }
        }
        Err(refused("the token is not signed by a key of this server, or is not made for it"))
    }
}

fn refused(message: impl Into<String>) -> AuthenticateError {
    AuthenticateError { code: Code::Unauthenticated, message: message.into() }
}

impl Authenticator for Tokens {
    fn authenticate(
        &self,
        now: Timestamp,
        claimed: &str,
        token: Option<&str>,
    ) -> Result<Credentials, AuthenticateError> {
        let token = token.ok_or_else(|| refused("this server asks for a token"))?;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(refused("the token is too long"));
        }
        let claims = self.claims(token)?;
        if claims.sub != claimed {
            return Err(refused("the token is another user's"));
        }
        let user = UserId::new(&claims.sub).map_err(|error| refused(error.to_string()))?;
        if claims.nbf.saturating_mul(1_000) > now.0.saturating_add(LEEWAY_MS) {
            return Err(refused("the token is not valid yet"));
        }
        let expires = Timestamp(claims.exp.saturating_mul(1_000));
        if expires <= now {
            let message = "the token has expired; give a new one".to_owned();
            return Err(AuthenticateError { code: Code::TokenExpired, message });
        }
        let expires = Some(expires);
        Ok(Credentials { user, expires, roles: claims.roles, believed: false })
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

fn read_keys(path: &Path) -> Result<Vec<Key>, KeysError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| KeysError::Unreadable { path: path.to_owned(), source })?;
    let set: JwkSet = serde_json::from_str(&text)
        .map_err(|source| KeysError::Malformed { path: path.to_owned(), source })?;
    let count = set.keys.len();
    if count == 0 || count > KEYS_MAX {
        return Err(KeysError::Count { path: path.to_owned(), count });
    }
    set.keys
        .iter()
        .enumerate()
        .map(|(index, jwk)| {
            key(jwk).ok_or_else(|| KeysError::Kind { path: path.to_owned(), index })
        })
        .collect()
}

fn key(jwk: &Jwk) -> Option<Key> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::OctetKey(_) => Algorithm::HS256,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        AlgorithmParameters::OctetKeyPair(_)
        | AlgorithmParameters::EllipticCurve(_)
        | AlgorithmParameters::RSA(_) => return None,
    };
    let decoding = DecodingKey::from_jwk(jwk).ok()?;
    Some(Key { id: jwk.common.key_id.clone(), algorithm, decoding })
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::{Value, json};

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);
    const SECRET: &str = "c2VjcmV0IG9mIDMyIGJ5dGVzIGZvciB0aGlzIHRlc3Q";
    /// The key pair of RFC 8037, appendix A.
    const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const PRIVATE: [u8; 32] = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c,
        0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae,
        0x7f, 0x60,
    ];

    fn keys() -> Value {
        json!({"keys": [
            {"kty": "oct", "kid": "one", "k": SECRET},
            {"kty": "OKP", "kid": "two", "crv": "Ed25519", "x": PUBLIC},
        ]})
    }

    fn tokens(dir: &tempfile::TempDir, audience: Option<&str>) -> Tokens {
        let path = dir.path().join("keys.json");
        std::fs::write(&path, keys().to_string()).unwrap();
        Tokens::read(&path, audience.map(str::to_owned)).unwrap()
    }

    fn private() -> EncodingKey {
        // PKCS#8 of an Ed25519 key (RFC 8410): a fixed prefix and the seed.
        let mut der = vec![48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];
        der.extend(PRIVATE);
        EncodingKey::from_ed_der(&der)
    }

    fn sign(algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
        let key = if algorithm == Algorithm::EdDSA {
            private()
        } else {
            EncodingKey::from_base64_secret(&format!("{}=", SECRET.replace('_', "/"))).unwrap()
        };
        encode(&header, claims, &key).unwrap()
    }

    fn code(result: Result<Credentials, AuthenticateError>) -> Code {
        result.expect_err("it is refused").code
    }

    #[test]
    fn both_kinds_of_keys_prove_a_user_and_the_roles() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = tokens(&dir, None);
        let claims = json!({"sub": "ada", "exp": 1_700_000_060, "roles": {"town": "moderator"}});
        for (algorithm, kid) in [
            (Algorithm::HS256, Some("one")),
            (Algorithm::HS256, None),
            (Algorithm::EdDSA, Some("two")),
        ] {
            let token = sign(algorithm, kid, &claims);
            let credentials = tokens.authenticate(NOW, "ada", Some(&token)).unwrap();
            assert_eq!(credentials.user.as_str(), "ada");
            assert_eq!(credentials.expires, Some(Timestamp(1_700_000_060_000)));
            assert_eq!(credentials.role_in("town"), Some(&Role::Moderator));
            let expired = Timestamp(1_700_000_060_000);
            assert_eq!(code(tokens.authenticate(expired, "ada", Some(&token))), Code::TokenExpired);
            assert_eq!(code(tokens.authenticate(NOW, "eve", Some(&token))), Code::Unauthenticated);
        }
        assert_eq!(code(tokens.authenticate(NOW, "ada", None)), Code::Unauthenticated);
    }

    #[test]
    fn what_is_not_signed_by_the_key_of_its_kind_proves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = tokens(&dir, None);
        let claims = json!({"sub": "ada", "exp": 1_700_000_060});
        let refused = |token: &str| code(tokens.authenticate(NOW, "ada", Some(token)));
        // The public key as a symmetric secret: the classic confusion of algorithms.
        let header = Header { kid: Some("two".to_owned()), ..Header::new(Algorithm::HS256) };
        let confused = EncodingKey::from_secret(PUBLIC.as_bytes());
        assert_eq!(refused(&encode(&header, &claims, &confused).unwrap()), Code::Unauthenticated);
        let right = sign(Algorithm::HS256, Some("one"), &claims);
        assert_eq!(refused(&right[..right.len() - 2]), Code::Unauthenticated);
        assert_eq!(
            refused(&sign(Algorithm::HS256, Some("old"), &claims)),
            Code::Unauthenticated,
            "a key that is gone"
        );
        let (head, rest) = right.split_once('.').unwrap();
        let (body, _) = rest.split_once('.').unwrap();
        assert_eq!(refused(&format!("{head}.{body}.")), Code::Unauthenticated);
        let none = "eyJhbGciOiJub25lIn0";
        assert_eq!(refused(&format!("{none}.{body}.")), Code::Unauthenticated);
        let endless = json!({"sub": "ada"});
        assert_eq!(refused(&sign(Algorithm::HS256, None, &endless)), Code::Unauthenticated);
        let later = json!({"sub": "ada", "exp": 1_700_000_060, "nbf": 1_700_000_030});
        assert_eq!(refused(&sign(Algorithm::HS256, None, &later)), Code::Unauthenticated);
        assert_eq!(refused(&"x".repeat(10_000)), Code::Unauthenticated);
    }

    #[test]
    fn a_token_for_somebody_else_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = tokens(&dir, Some("town"));
        for (audience, fits) in
            [(json!("town"), true), (json!("city"), false), (json!(null), false)]
        {
            let claims = json!({"sub": "ada", "exp": 1_700_000_060, "aud": audience});
            let token = sign(Algorithm::HS256, None, &claims);
            assert_eq!(tokens.authenticate(NOW, "ada", Some(&token)).is_ok(), fits, "{audience}");
        }
    }

    #[test]
    fn a_key_file_that_cannot_be_used_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Tokens::read(&path, None).expect_err("it cannot be used").to_string()
        };
        assert!(read("{").contains("JSON Web Key Set"));
        assert!(read(r#"{"keys": []}"#).contains("not 0"));
        let rsa = r#"{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}"#;
        assert!(read(rsa).contains("key 0"));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Tokens::read(&path, None), Err(KeysError::Unreadable { .. })));
    }
}
