//! `Guarded`: a server with `--token-key`, and tokens of its keys.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tidings::client::Session;
use tidings_testkit::temp_dir::TempDir;
use tidings_testkit::timeout::timeout;

use crate::process::{LIMIT, Server};
use crate::raw::{Answer, request};
use crate::stream::{client, open_request};

/// The secrets of the keys `a` and `b`, which only tests know.
pub(crate) const SECRETS: [(&str, &[u8]); 2] = [
    ("a", b"the secret of the key a, 32 bytes"),
    ("b", b"the secret of the key b, 32 bytes"),
];

/// A server, and the file of its keys.
pub(crate) struct Guarded {
    pub(crate) server: Server,
    keys: PathBuf,
    _dir: TempDir,
}

impl Guarded {
    /// A server with the keys `a` and `b`, and these flags.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let dir = TempDir::in_memory();
        let keys = dir.join("keys.json");
        fs::write(&keys, key_set(&["a", "b"])).unwrap();
        let mut line = vec!["--token-key", keys.to_str().unwrap()];
        line.extend(flags);
        let server = Server::start(&line);
        Self {
            server,
            keys,
            _dir: dir,
        }
    }

    pub(crate) fn send(&self, method: &str, target: &str, token: &str, body: &str) -> Answer {
        let bearer = format!("Authorization: Bearer {token}");
        request(self.server.address(), method, target, &[&bearer], body)
    }

    pub(crate) async fn open(&self, target: &str, token: &str) -> Session {
        open_request(client().get(self.server.url(target)).bearer(token)).await
    }

    /// Replaces the file of the keys, and waits until the server has read it. Otherwise the next signal
    /// could be merged with this one, or this one could find the next file.
    pub(crate) async fn reload(&self, keys: &str) {
        let outcomes = ["keys of tokens are replaced", "stay as they were"];
        let reloads = || {
            let log = self.server.log();
            outcomes.map(|text| log.matches(text).count()).iter().sum()
        };
        let before: usize = reloads();
        fs::write(&self.keys, keys).unwrap();
        self.server.signal("HUP");
        let waits = async {
            while reloads() == before {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let read = timeout(LIMIT, waits).await;
        read.unwrap_or_else(|_| panic!("no reload: {}", self.server.log()));
    }

    /// Waits until the log contains this text so often.
    pub(crate) async fn logged(&self, text: &str, times: usize) {
        let waits = async {
            while self.server.log().matches(text).count() < times {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let found = timeout(LIMIT, waits).await;
        found.unwrap_or_else(|_| panic!("{text}: {}", self.server.log()));
    }
}

/// A set of these keys, without other members.
pub(crate) fn key_set(ids: &[&str]) -> String {
    let keys = SECRETS.iter().filter(|(id, _)| ids.contains(id));
    let keys: Vec<_> = keys
        .map(|(id, secret)| json!({"kty": "oct", "kid": id, "k": base64url(secret)}))
        .collect();
    json!({ "keys": keys }).to_string()
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// A token of the key with these claims, which lack only `exp`.
pub(crate) fn signed(key: &str, claims: &Value) -> String {
    signed_as(Some(key), key, claims)
}

/// A token of the key with this `kid`.
pub(crate) fn signed_as(kid: Option<&str>, key: &str, claims: &Value) -> String {
    let header = Header {
        kid: kid.map(str::to_owned),
        ..Header::new(Algorithm::HS256)
    };
    let secret = EncodingKey::from_secret(secret(key)).unwrap();
    encode(&header, claims, &secret).unwrap()
}

/// The JWK of this key without a `kid`.
pub(crate) fn unnamed_key(key: &str) -> Value {
    json!({"kty": "oct", "k": base64url(secret(key))})
}

fn secret(key: &str) -> &'static [u8] {
    SECRETS.iter().find(|(id, _)| *id == key).unwrap().1
}

/// A token of the key `a` for an hour.
pub(crate) fn token(subscribe: &[&str], publish: &[&str]) -> String {
    signed(
        "a",
        &json!({"exp": now() + 3_600, "subscribe": subscribe, "publish": publish}),
    )
}
