//! Bearer tokens of the local issuer: JSON web tokens with a keyed hash (RFC 7519, HS256).
//!
//! A token names an identity and the time until which it holds. Only the holder of the key, which
//! the daemon keeps, can make one.

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use serde::{Deserialize, Serialize};

/// Seconds for which a token holds.
pub(super) const LIFETIME_SECONDS: u64 = 24 * 3600;

/// What the first part of each token says.
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// Makes tokens and judges them.
#[derive(Debug)]
pub struct Issuer {
    key: hmac::Key,
}

/// What a token says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    oid: String,
    appid: String,
    tid: String,
    iat: u64,
    exp: u64,
}

impl Issuer {
    /// With a secret that only the daemon knows.
    #[must_use]
    pub fn new(secret: &[u8]) -> Issuer {
        Issuer { key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// A token for an identity, at `now` in seconds since 1970.
    #[must_use]
    pub fn mint(&self, identity: &str, tenant: &str, now: u64) -> String {
        let claims = Claims {
            iss: "adit".to_owned(),
            aud: "https://management.core.windows.net/".to_owned(),
            sub: identity.to_owned(),
            oid: identity.to_owned(),
            appid: identity.to_owned(),
            tid: tenant.to_owned(),
            iat: now,
            exp: now.saturating_add(LIFETIME_SECONDS),
        };
        // Texts and numbers always serialise.
        let claims = serde_json::to_vec(&claims).unwrap_or_default();
        let header = BASE64URL_NOPAD.encode(HEADER.as_bytes());
        let signed = format!("{header}.{}", BASE64URL_NOPAD.encode(&claims));
        let tag = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
    }

    /// The identity of a token that holds at `now`.
    #[must_use]
    pub fn judge(&self, token: &str, now: u64) -> Option<String> {
        let (signed, tag) = token.rsplit_once('.')?;
        let tag = BASE64URL_NOPAD.decode(tag.as_bytes()).ok()?;
        hmac::verify(&self.key, signed.as_bytes(), &tag).ok()?;
        let (_, claims) = signed.split_once('.')?;
        let claims = BASE64URL_NOPAD.decode(claims.as_bytes()).ok()?;
        let claims: Claims = serde_json::from_slice(&claims).ok()?;
        (now < claims.exp).then_some(claims.sub)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_for_a_day_and_not_with_another_key() {
        let issuer = Issuer::new(b"secret");
        let token = issuer.mint("ci", "t", 1000);
        assert_eq!(issuer.judge(&token, 1000).as_deref(), Some("ci"));
        assert_eq!(issuer.judge(&token, 1000 + LIFETIME_SECONDS), None);
        assert_eq!(Issuer::new(b"other").judge(&token, 1000), None);
        for at in 0..token.len() {
            let mut bent = token.clone().into_bytes();
            bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
            let bent = String::from_utf8(bent).unwrap();
            // The last character has bits that no byte needs.
            if bent != token && at + 1 < token.len() {
                assert_eq!(issuer.judge(&bent, 1000), None, "byte {at}");
            }
        }
        for bad in ["", ".", "..", "a.b.c", "é.ü.ß"] {
            assert_eq!(issuer.judge(bad, 0), None);
        }
    }
}
