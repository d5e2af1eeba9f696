//! Another issuer: keys that sign, and a server that publishes their public halves, well or badly.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::Upstream;

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// Something that signs, and its public half as a JWK.
pub(crate) struct Signer {
    pub(crate) algorithm: &'static str,
    pub(crate) jwk: Value,
    sign: Sign,
}

impl Signer {
    pub(crate) fn ed25519(kid: &str) -> Self {
        let pair = Ed25519KeyPair::generate().expect("a key");
        let x = base64url(pair.public_key().as_ref());
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig", "x": x });
        Self { algorithm: "EdDSA", jwk, sign: Box::new(move |message| pair.sign(message).as_ref().to_vec()) }
    }

    pub(crate) fn p256(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (base64url(x), base64url(y));
        let jwk =
            json!({ "kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256", "x": x, "y": y });
        let sign = move |message: &[u8]| {
            pair.sign(&SystemRandom::new(), message).expect("it signs").as_ref().to_vec()
        };
        Self { algorithm: "ES256", jwk, sign: Box::new(sign) }
    }

    pub(crate) fn rsa(kid: &str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let n = base64url(pair.public_key().modulus().big_endian_without_leading_zero());
        let e = base64url(pair.public_key().exponent().big_endian_without_leading_zero());
        let jwk = json!({ "kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": n, "e": e });
        let sign = move |message: &[u8]| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).expect("it signs");
            signature
        };
        Self { algorithm: "RS256", jwk, sign: Box::new(sign) }
    }

    pub(crate) fn header(&self) -> Value {
        json!({ "alg": self.algorithm, "kid": self.jwk["kid"], "typ": "JWT" })
    }

    /// A token with a plain header.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_with(&self.header().to_string(), &claims.to_string())
    }

    /// A token with this header and these claims, to the letter.
    pub(crate) fn token_with(&self, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
        format!("{input}.{}", base64url(&self.sign(input.as_bytes())))
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        (self.sign)(message)
    }
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}

/// How an issuer answers.
#[derive(Clone)]
pub(crate) enum Manner {
    /// With its keys.
    Well,
    /// With these bytes, whatever it is asked.
    With(Vec<u8>),
    /// Not for so long, and then with its keys.
    After(Duration),
}

/// A server at `url` whose keys can be changed.
pub(crate) struct Idp {
    state: Arc<Mutex<State>>,
    server: Upstream,
    pub(crate) url: String,
}

struct State {
    keys: Vec<Value>,
    manner: Manner,
    name: String,
    url: String,
}

impl Idp {
    pub(crate) fn with(keys: &[&Signer]) -> Self {
        let state = Arc::new(Mutex::new(State {
            keys: Vec::new(),
            manner: Manner::Well,
            name: String::new(),
            url: String::new(),
        }));
        let answering = Arc::clone(&state);
        let server = Upstream::answering(move |request| answer(&answering, request));
        let url = format!("http://{}", server.address);
        {
            let mut state = state.lock().expect("no panic while it is held");
            (state.name, state.url) = (url.clone(), url.clone());
        }
        let idp = Self { state, server, url };
        idp.publish(keys);
        idp
    }

    /// These are its keys from now on.
    pub(crate) fn publish(&self, keys: &[&Signer]) {
        self.lock().keys = keys.iter().map(|signer| signer.jwk.clone()).collect();
    }

    pub(crate) fn answers(&self, manner: Manner) {
        self.lock().manner = manner;
    }

    /// What its OpenID configuration calls it.
    pub(crate) fn calls_itself(&self, name: &str) {
        self.lock().name = name.to_owned();
    }

    /// How often its keys were asked for.
    pub(crate) fn fetches(&self) -> usize {
        self.server.seen().iter().filter(|request| request.starts_with("GET /keys ")).count()
    }

    /// How often it was asked for anything.
    pub(crate) fn count(&self) -> usize {
        self.server.count()
    }

    /// Claims that are good for `alice` at `api`.
    pub(crate) fn claims(&self) -> Value {
        let now = now();
        json!({
            "iss": self.url, "aud": "api", "sub": "alice", "exp": now + 300, "iat": now,
            "email": "alice@idp.test", "name": "Alice of the IdP", "groups": ["staff", "admin"],
        })
    }

    /// `issuers` with this one alone.
    pub(crate) fn yaml(&self, more: &str) -> String {
        format!(
            "issuers:\n  - {{ issuer: \"{}\", audiences: [api], algorithms: [RS256, ES256, EdDSA], \
             claims: {{ roles: groups }}{more} }}\n",
            self.url
        )
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it is held")
    }
}

fn answer(state: &Mutex<State>, request: &str) -> Vec<u8> {
    let (manner, name, url, keys) = {
        let state = state.lock().expect("no panic while it is held");
        (state.manner.clone(), state.name.clone(), state.url.clone(), state.keys.clone())
    };
    match manner {
        Manner::Well => {}
        Manner::With(bytes) => return bytes,
        Manner::After(wait) => std::thread::sleep(wait),
    }
    let body = if request.starts_with("GET /.well-known/openid-configuration ") {
        json!({ "issuer": name, "jwks_uri": format!("{url}/keys") })
    } else {
        json!({ "keys": keys })
    };
    ok(&body.to_string())
}

/// A 200 with this body.
pub(crate) fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").into_bytes()
}
