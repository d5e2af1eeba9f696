//! What of other issuers is taken, and as whom: with keys of every kind, and the clock as an argument.

use std::future::Future;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::authn::forged::Forged;
use crate::identity::{Credential, Principal, Role};

const NAME: &str = "https://idp.test";
const NOW: u64 = 1_800_000_000;

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// Something that signs, and its public half.
struct Signer {
    algorithm: SignatureAlgorithm,
    jwk: Value,
    sign: Sign,
}

impl Signer {
    fn new(algorithm: SignatureAlgorithm, kid: &str) -> Self {
        use SignatureAlgorithm as A;
        let (mut jwk, sign) = match algorithm {
            A::EdDsa => ed25519(),
            A::Es256 => ecdsa("P-256", EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)),
            A::Es384 => ecdsa("P-384", EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING)),
            A::Es512 => ecdsa("P-521", EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING)),
            A::Ps256 => rsa(&RSA_PSS_SHA256),
            A::Ps384 => rsa(&RSA_PSS_SHA384),
            A::Ps512 => rsa(&RSA_PSS_SHA512),
            A::Rs256 => rsa(&RSA_PKCS1_SHA256),
            A::Rs384 => rsa(&RSA_PKCS1_SHA384),
            A::Rs512 => rsa(&RSA_PKCS1_SHA512),
        };
        jwk["kid"] = kid.into();
        Self { algorithm, jwk, sign }
    }

    fn header(&self) -> Value {
        json!({ "alg": self.algorithm.as_str(), "kid": self.jwk["kid"], "typ": "at+jwt" })
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let input = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = URL_SAFE_NO_PAD.encode((self.sign)(input.as_bytes()));
        format!("{input}.{signature}")
    }
}

type Pair = (Value, Sign);

fn ed25519() -> Pair {
    let pair = Ed25519KeyPair::generate().expect("a key");
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(pair.public_key()) });
    (jwk, Box::new(move |message| pair.sign(message).as_ref().to_vec()))
}

fn ecdsa(curve: &str, pair: Result<EcdsaKeyPair, aws_lc_rs::error::Unspecified>) -> Pair {
    let pair = pair.expect("a key");
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    let jwk =
        json!({ "kty": "EC", "crv": curve, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) });
    let sign =
        move |message: &[u8]| pair.sign(&SystemRandom::new(), message).expect("signs").as_ref().to_vec();
    (jwk, Box::new(sign))
}

fn rsa(encoding: &'static dyn RsaEncoding) -> Pair {
    let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("a key");
    let public = pair.public_key();
    let jwk = json!({
        "kty": "RSA",
        "n": URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
        "e": URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
    });
    let sign = move |message: &[u8]| {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), message, &mut signature).expect("signs");
        signature
    };
    (jwk, Box::new(sign))
}

fn key_set(jwks: &[&Value], algorithms: &[SignatureAlgorithm]) -> KeySet {
    KeySet::parse(json!({ "keys": jwks }).to_string().as_bytes(), NAME, algorithms).expect("a set")
}

fn settings(keys: KeySet, algorithms: &[SignatureAlgorithm]) -> IssuerSettings {
    let path = |path: &str| path.parse().expect("a claim");
    IssuerSettings {
        audiences: vec!["api".to_owned(), "https://api.test".to_owned()],
        claims: ClaimNames {
            email: path("email"),
            name: path("name"),
            roles: Some(path("realm_access.roles")),
            username: path("sub"),
        },
        leeway: Duration::from_secs(30),
        required: Vec::new(),
        roles_prefix: String::new(),
        roles_separator: None,
        source: SourceSettings {
            algorithms: algorithms.to_vec(),
            issuer: NAME.to_owned(),
            location: Location::File(Arc::new(keys)),
            refresh: Duration::from_secs(900),
            tls: None,
        },
        username_prefix: String::new(),
    }
}

fn claims() -> Value {
    json!({
        "iss": NAME, "aud": "api", "sub": "alice", "exp": NOW + 60, "iat": NOW - 60, "nbf": NOW - 60,
        "email": "alice@example.com", "name": "Alice", "realm_access": { "roles": ["staff", "admin"] },
    })
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims();
    change(&mut claims);
    claims
}

fn verify(settings: &IssuerSettings, token: &str) -> Result<ForeignToken, ForeignFault> {
    let issuers = Issuers::default().renewed(vec![settings.clone()]);
    let token = Unverified::read(token.as_bytes()).ok_or(ForeignFault::Form("the payload"))?;
    let asker = Asker {
        client: [192, 0, 2, 1].into(),
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(NOW),
        patience: Duration::from_secs(10),
    };
    let forged = Forged::default();
    let look = forged.look(asker.client, None);
    let verifying = std::pin::pin!(issuers.verify(token, look, asker));
    match verifying.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(verified) => verified,
        Poll::Pending => panic!("nobody waits for keys that are in a file"),
    }
}

#[test]
fn every_algorithm_verifies_what_it_signed_and_nothing_else() {
    let signers: Vec<Signer> = SignatureAlgorithm::ALL.map(|algorithm| Signer::new(algorithm, "k")).into();
    for signer in &signers {
        let one = [signer.algorithm];
        let settings = settings(key_set(&[&signer.jwk], &one), &one);
        let good = signer.token(&signer.header(), &claims());
        assert!(verify(&settings, &good).is_ok(), "{:?}", signer.algorithm);
        // A bit of the signature, or of what was signed.
        let (input, signature) = good.rsplit_once('.').expect("three parts");
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        for bytes in [
            {
                bytes[3] ^= 1;
                bytes.clone()
            },
            Vec::new(),
            vec![0; bytes.len()],
            bytes[..bytes.len() - 1].to_vec(),
            [&bytes[..], &[0]].concat(),
        ] {
            let bad = format!("{input}.{}", URL_SAFE_NO_PAD.encode(bytes));
            assert_eq!(
                verify(&settings, &bad).err(),
                Some(ForeignFault::Signature),
                "{:?}",
                signer.algorithm
            );
        }
        for other in signers.iter().filter(|other| other.algorithm != signer.algorithm) {
            // Another algorithm in the header than the operator wants.
            let header = json!({ "alg": other.algorithm.as_str(), "kid": "k" });
            let token = signer.token(&header, &claims());
            assert_eq!(verify(&settings, &token).err(), Some(ForeignFault::Algorithm));
            // One that he wants, under the key of another one: RSA keys are good for several, and say so in vain.
            let both = [signer.algorithm, other.algorithm];
            let mut jwk = signer.jwk.clone();
            jwk["alg"] = signer.algorithm.as_str().into();
            let settings = super::tests::settings(key_set(&[&jwk], &both), &both);
            assert!(verify(&settings, &token).is_err(), "{:?} as {:?}", signer.algorithm, other.algorithm);
            assert!(verify(&settings, &good).is_ok());
        }
    }
}

#[test]
fn the_key_is_the_one_that_the_token_names_or_the_only_one() {
    let all = [SignatureAlgorithm::EdDsa, SignatureAlgorithm::Es256];
    let (one, two) =
        (Signer::new(SignatureAlgorithm::EdDsa, "one"), Signer::new(SignatureAlgorithm::EdDsa, "two"));
    let other = Signer::new(SignatureAlgorithm::Es256, "one");
    let named = |signer: &Signer, kid: Value| {
        let mut header = signer.header();
        header["kid"] = kid;
        if header["kid"].is_null() {
            header.as_object_mut().expect("an object").remove("kid");
        }
        signer.token(&header, &claims())
    };
    let settings = |keys: &[&Value]| self::settings(key_set(keys, &all), &all);
    let both = settings(&[&one.jwk, &two.jwk, &other.jwk]);
    for (signer, kid, fault) in [
        (&one, json!("one"), None),
        (&two, json!("two"), None),
        // The same name with another algorithm is another key.
        (&other, json!("one"), None),
        (&one, json!("two"), Some(ForeignFault::Signature)),
        (&one, json!("three"), Some(ForeignFault::Key)),
        (&one, json!(""), Some(ForeignFault::Key)),
        (&one, json!("one\0"), Some(ForeignFault::Key)),
        (&one, json!("../../dev/null"), Some(ForeignFault::Key)),
        (&one, json!(["one"]), Some(ForeignFault::Key)),
        (&one, json!({ "one": 1 }), Some(ForeignFault::Key)),
        (&one, json!(1), Some(ForeignFault::Key)),
        (&one, json!("one".repeat(100)), Some(ForeignFault::Key)),
        // Two could be meant.
        (&one, Value::Null, Some(ForeignFault::Key)),
        (&other, Value::Null, None),
    ] {
        let outcome = verify(&both, &named(signer, kid.clone()));
        assert_eq!(outcome.err(), fault, "{kid}");
    }
    assert!(verify(&settings(&[&one.jwk]), &named(&one, Value::Null)).is_ok());
}

#[test]
fn a_set_gives_the_keys_that_are_for_signatures_and_strong() {
    let all = SignatureAlgorithm::ALL;
    let rsa = Signer::new(SignatureAlgorithm::Rs256, "r").jwk;
    let ec = Signer::new(SignatureAlgorithm::Es256, "e").jwk;
    let ed = Signer::new(SignatureAlgorithm::EdDsa, "d").jwk;
    let with = |jwk: &Value, name: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk
    };
    let bytes = |length: usize| json!(URL_SAFE_NO_PAD.encode(vec![0xff; length]));
    let zero_in_front =
        [vec![0], URL_SAFE_NO_PAD.decode(rsa["n"].as_str().expect("n")).expect("base64")].concat();
    let short = URL_SAFE_NO_PAD.decode(ec["x"].as_str().expect("x")).expect("base64");
    for (good, jwk) in [
        (true, rsa.clone()),
        (true, ec.clone()),
        (true, ed.clone()),
        (true, with(&rsa, "use", json!("sig"))),
        (true, with(&rsa, "key_ops", json!(["verify", "sign", "made-up"]))),
        (true, with(&rsa, "alg", json!("PS384"))),
        (true, with(&ed, "alg", json!("Ed25519"))),
        (true, with(&rsa, "x5c", json!(["..."]))),
        (true, with(&rsa, "n", json!(URL_SAFE_NO_PAD.encode(zero_in_front)))),
        (false, with(&rsa, "use", json!("enc"))),
        (false, with(&rsa, "use", json!(["sig"]))),
        (false, with(&rsa, "key_ops", json!(["encrypt"]))),
        (false, with(&rsa, "key_ops", json!("verify"))),
        (false, with(&rsa, "alg", json!("RSA-OAEP-256"))),
        (false, with(&rsa, "alg", json!("HS256"))),
        (false, with(&rsa, "alg", json!("ES256"))),
        (false, with(&rsa, "alg", json!(1))),
        (false, with(&rsa, "kid", json!(["r"]))),
        (false, with(&rsa, "kty", json!("oct"))),
        (false, with(&rsa, "n", bytes(128))),
        (false, with(&rsa, "n", bytes(2000))),
        (false, with(&rsa, "n", json!(""))),
        (false, with(&rsa, "n", json!("AA"))),
        (false, with(&rsa, "n", json!(format!("{}=", rsa["n"].as_str().expect("n"))))),
        (false, with(&rsa, "e", json!("AQ"))),
        (false, with(&rsa, "e", json!("Ag"))),
        (false, with(&rsa, "e", json!(""))),
        (false, with(&rsa, "e", bytes(9))),
        (false, with(&ec, "crv", json!("P-384"))),
        (false, with(&ec, "crv", json!("secp256k1"))),
        (false, with(&ec, "y", bytes(32))),
        (false, with(&ec, "x", json!(URL_SAFE_NO_PAD.encode(&short[1..])))),
        (false, with(&ed, "crv", json!("Ed448"))),
        (false, with(&ed, "x", bytes(31))),
        (false, json!({ "kty": "oct", "k": "AAAA", "alg": "HS256" })),
        (false, json!({})),
        (false, json!(null)),
    ] {
        let set = key_set(&[&jwk], &all);
        assert_eq!(!set.is_empty(), good, "{jwk}");
        // What can't be used hides nothing beside it.
        assert!(key_set(&[&jwk, &ed], &all).find(Some("d"), SignatureAlgorithm::EdDsa).is_some(), "{jwk}");
    }
    let parse = |text: &str| KeySet::parse(text.as_bytes(), NAME, &all);
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "<html>"] {
        assert_eq!(parse(bad).err(), Some(InvalidKeySet::Form), "{bad}");
    }
    let many = json!({ "keys": vec![ed.clone(); 101] }).to_string();
    assert_eq!(parse(&many).err(), Some(InvalidKeySet::TooMany));
    assert_eq!(parse(r#"{"keys":[]}"#).map(|set| set.is_empty()), Ok(true));
}

#[test]
fn a_key_is_another_one_when_anything_of_it_is() {
    let all = SignatureAlgorithm::ALL;
    let (one, two) =
        (Signer::new(SignatureAlgorithm::EdDsa, "a").jwk, Signer::new(SignatureAlgorithm::EdDsa, "a").jwk);
    let mut renamed = one.clone();
    renamed["kid"] = "b".into();
    let ids = |jwk: &Value| key_set(&[jwk], &all).ids();
    assert_eq!(ids(&one), ids(&one));
    assert_ne!(ids(&one), ids(&two));
    assert_ne!(ids(&one), ids(&renamed));
    let elsewhere =
        KeySet::parse(json!({ "keys": [one] }).to_string().as_bytes(), "https://other.test", &all);
    assert_ne!(ids(&one), elsewhere.expect("a set").ids());
}

#[test]
fn claims_that_are_missing_wrong_or_out_of_time() {
    let all = [SignatureAlgorithm::EdDsa];
    let signer = Signer::new(SignatureAlgorithm::EdDsa, "k");
    let settings = settings(key_set(&[&signer.jwk], &all), &all);
    let without = |name: &str| with(|claims| drop(claims.as_object_mut().expect("an object").remove(name)));
    let set = |name: &str, value: Value| with(|claims| claims[name] = value);
    let form = ForeignFault::Form;
    for (claims, fault) in [
        (claims(), None),
        (set("aud", json!(["other", "api"])), None),
        (set("aud", json!(["https://api.test"])), None),
        (without("nbf"), None),
        (without("iat"), None),
        (set("exp", json!(NOW + 60)), None),
        (set("exp", json!((NOW - 29) as f64 + 0.5)), None),
        (set("nbf", json!(NOW + 30)), None),
        (set("nonce", json!("n")), None),
        (without("iss"), Some(form("its `iss`"))),
        (set("iss", json!("https://idp.test/")), Some(form("its `iss`"))),
        (set("iss", json!("https://IDP.test")), Some(form("its `iss`"))),
        (set("iss", json!([NAME])), Some(form("its `iss`"))),
        (without("aud"), Some(ForeignFault::Audience)),
        (set("aud", json!("other")), Some(ForeignFault::Audience)),
        (set("aud", json!("API")), Some(ForeignFault::Audience)),
        (set("aud", json!("api ")), Some(ForeignFault::Audience)),
        (set("aud", json!([])), Some(ForeignFault::Audience)),
        (set("aud", json!([["api"]])), Some(ForeignFault::Audience)),
        (set("aud", json!(["api", 1])), Some(ForeignFault::Audience)),
        (set("aud", json!({ "api": true })), Some(ForeignFault::Audience)),
        (set("aud", Value::Null), Some(ForeignFault::Audience)),
        (without("sub"), Some(form("its `sub`"))),
        (set("sub", json!("")), Some(form("its `sub`"))),
        (set("sub", json!(1)), Some(form("its `sub`"))),
        (set("sub", json!("a".repeat(256))), Some(form("its `sub`"))),
        (without("exp"), Some(form("no `exp`"))),
        (set("exp", json!(NOW - 30)), Some(ForeignFault::Expired)),
        (set("exp", json!(0)), Some(ForeignFault::Expired)),
        (set("exp", json!((NOW + 60).to_string())), Some(form("exp"))),
        (set("exp", json!(-1)), Some(form("exp"))),
        (set("exp", json!(1e300)), Some(form("exp"))),
        (set("exp", json!(u64::MAX)), Some(form("exp"))),
        (set("exp", Value::Null), Some(form("exp"))),
        (set("exp", json!([NOW + 60])), Some(form("exp"))),
        (set("nbf", json!(NOW + 31)), Some(ForeignFault::NotYet)),
        (set("nbf", json!("0")), Some(form("nbf"))),
        (set("iat", json!(NOW + 31)), Some(ForeignFault::NotYet)),
        (set("iat", json!(true)), Some(form("iat"))),
        (set("cnf", json!({ "jkt": "x" })), Some(ForeignFault::HolderOfKey)),
        (set("sub", json!("a@b")), Some(ForeignFault::Username("sub".to_owned()))),
        (set("sub", json!("a\nb")), Some(ForeignFault::Username("sub".to_owned()))),
        (set("sub", json!(" ")), Some(ForeignFault::Username("sub".to_owned()))),
    ] {
        let outcome = verify(&settings, &signer.token(&signer.header(), &claims));
        assert_eq!(outcome.err(), fault, "{claims}");
    }
}

#[test]
fn headers_that_bring_a_key_or_mean_something_else() {
    let all = [SignatureAlgorithm::EdDsa];
    let signer = Signer::new(SignatureAlgorithm::EdDsa, "k");
    let settings = settings(key_set(&[&signer.jwk], &all), &all);
    let outcome = |header: &Value| verify(&settings, &signer.token(header, &claims())).err();
    let with = |name: &str, value: Value| {
        let mut header = signer.header();
        header[name] = value;
        header
    };
    for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "application/jwt"] {
        assert_eq!(outcome(&with("typ", json!(typ))), None, "{typ}");
    }
    assert_eq!(outcome(&json!({ "alg": "EdDSA", "kid": "k" })), None);
    assert_eq!(outcome(&with("alg", json!("Ed25519"))), None);
    assert_eq!(outcome(&with("x5t", json!("a thumbprint"))), None, "it names a key and brings none");
    for typ in [
        json!("dpop+jwt"),
        json!("logout+jwt"),
        json!("secevent+jwt"),
        json!("JWE"),
        json!(""),
        json!(1),
        Value::Null,
    ] {
        assert_eq!(outcome(&with("typ", typ.clone())), Some(ForeignFault::Form("its `typ`")), "{typ}");
    }
    for name in ["b64", "crit", "enc", "jku", "jwk", "x5c", "x5u", "zip"] {
        for value in
            [json!(true), json!([]), signer.jwk.clone(), json!("https://idp.test/jwks.json"), Value::Null]
        {
            let fault = outcome(&with(name, value.clone()));
            assert!(matches!(fault, Some(ForeignFault::Form(_))), "{name}: {value}: {fault:?}");
        }
    }
    for alg in ["none", "None", "NONE", "nOnE", "HS256", "RS256", "eddsa", "", " EdDSA"] {
        assert_eq!(outcome(&with("alg", json!(alg))), Some(ForeignFault::Algorithm), "{alg}");
    }
    for alg in [json!(null), json!(1), json!(["EdDSA"]), json!({})] {
        assert_eq!(outcome(&with("alg", alg.clone())), Some(ForeignFault::Algorithm), "{alg}");
    }
    assert_eq!(outcome(&json!([])), Some(ForeignFault::Form("its header")));
}

#[test]
fn an_identity_is_read_from_the_claims_and_takes_nothing_that_could_be_two() {
    let all = [SignatureAlgorithm::EdDsa];
    let signer = Signer::new(SignatureAlgorithm::EdDsa, "k");
    let base = settings(key_set(&[&signer.jwk], &all), &all);
    let identity = |settings: &IssuerSettings, claims: &Value| {
        verify(settings, &signer.token(&signer.header(), claims)).expect("a good token").identity
    };
    let alice = identity(&base, &claims());
    assert_eq!((alice.username.as_str(), alice.name.as_str()), ("alice", "Alice"));
    assert_eq!(alice.email.as_ref().map(|email| email.as_str()), Some("alice@example.com"));
    assert_eq!(alice.roles.iter().map(Role::as_str).collect::<Vec<_>>(), ["admin", "staff"]);
    assert_eq!((alice.credential, alice.account(), alice.session), (Credential::Bearer, None, None));
    assert_eq!(alice.authenticated_at, SystemTime::UNIX_EPOCH, "nobody said when");
    let Principal::Foreign(foreign) = &alice.principal else { panic!("{alice:?}") };
    assert_eq!((foreign.issuer.as_str(), foreign.subject.as_str()), (NAME, "alice"));
    assert_eq!(vec![foreign.key], key_set(&[&signer.jwk], &all).ids());

    // Fresh is who has signed in, not whose token is new.
    for (auth_time, at) in [(json!(NOW - 10), NOW - 10), (json!(NOW + 29), NOW + 29), (json!(NOW + 31), 0)] {
        let identity = identity(&base, &with(|claims| claims["auth_time"] = auth_time));
        assert_eq!(identity.authenticated_at, SystemTime::UNIX_EPOCH + Duration::from_secs(at));
    }
    // Addresses that nobody has confirmed are none, and neither is what is no address.
    for (verified, kept) in [
        (json!(true), true),
        (json!("true"), true),
        (json!(false), false),
        (json!("false"), false),
        (json!(1), false),
    ] {
        let identity = identity(&base, &with(|claims| claims["email_verified"] = verified.clone()));
        assert_eq!(identity.email.is_some(), kept, "{verified}");
    }
    assert_eq!(identity(&base, &with(|claims| claims["email"] = json!("a@b@c"))).email, None);
    assert_eq!(identity(&base, &with(|claims| claims["name"] = json!("a\u{202e}b"))).name.as_str(), "");

    let roles = |settings: &IssuerSettings, value: Value| {
        let identity = identity(settings, &with(|claims| claims["realm_access"]["roles"] = value));
        identity.roles.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let separated = |separator| IssuerSettings { roles_separator: Some(separator), ..base.clone() };
    assert_eq!(roles(&base, json!("staff")), ["staff"]);
    assert!(roles(&base, json!("staff admin")).is_empty(), "it is one text, and no role");
    assert!(roles(&base, json!("staff,admin")).is_empty());
    assert_eq!(roles(&base, json!(["staff", "Domain admin", "a,admin", "", 1, ["admin"], null])), ["staff"]);
    assert_eq!(roles(&separated(Separator::Space), json!("staff  admin a,b")), ["admin", "staff"]);
    assert_eq!(roles(&separated(Separator::Comma), json!("staff, admin,Domain Users,,")), ["admin", "staff"]);
    assert_eq!(
        roles(&separated(Separator::Comma), json!(["staff", "a,admin"])),
        ["staff"],
        "a list is parted"
    );
    for none in [json!(null), json!(1), json!({ "admin": true }), json!("")] {
        assert!(roles(&base, none.clone()).is_empty(), "{none}");
    }
    let prefixed = IssuerSettings {
        roles_prefix: "idp:".to_owned(),
        username_prefix: "idp-".to_owned(),
        ..base.clone()
    };
    assert_eq!(roles(&prefixed, json!(["admin"])), ["idp:admin"]);
    assert_eq!(identity(&prefixed, &claims()).username.as_str(), "idp-alice");
    let nowhere =
        IssuerSettings { claims: ClaimNames { roles: None, ..base.claims.clone() }, ..base.clone() };
    assert!(roles(&nowhere, json!(["admin"])).is_empty());
}

#[test]
fn a_path_finds_claims_in_claims_and_names_with_dots() {
    let all = [SignatureAlgorithm::EdDsa];
    let signer = Signer::new(SignatureAlgorithm::EdDsa, "k");
    let base = settings(key_set(&[&signer.jwk], &all), &all);
    let named = |path: &str| {
        let claims = ClaimNames { username: path.parse().expect("a path"), ..base.claims.clone() };
        let settings = IssuerSettings { claims, ..base.clone() };
        let claims = with(|claims| {
            claims["https://example.com/name"] = json!("url");
            claims["a"] = json!({ "b.c": { "d": "dotted" }, "b": { "c": { "d": "deep" } }, "list": ["x"] });
        });
        verify(&settings, &signer.token(&signer.header(), &claims))
            .ok()
            .map(|token| token.identity.username.to_string())
    };
    for (path, found) in [
        ("sub", Some("alice")),
        ("https://example.com/name", Some("url")),
        ("a.b.c.d", Some("dotted")),
        ("a.b", None),
        ("a.list.0", None),
        ("a.list", None),
        ("b.c.d", None),
        ("missing", None),
    ] {
        assert_eq!(named(path).as_deref(), found, "{path}");
    }
}

#[test]
fn required_claims_have_one_of_their_values() {
    let all = [SignatureAlgorithm::EdDsa];
    let signer = Signer::new(SignatureAlgorithm::EdDsa, "k");
    let base = settings(key_set(&[&signer.jwk], &all), &all);
    let outcome = |value: Value, wanted: &[&str]| {
        let required =
            ("org.id".parse().expect("a path"), wanted.iter().map(|&one| one.to_owned()).collect());
        let settings = IssuerSettings { required: vec![required], ..base.clone() };
        let claims = with(|claims| claims["org"] = json!({ "id": value }));
        verify(&settings, &signer.token(&signer.header(), &claims)).err()
    };
    for good in [json!("blue"), json!("red"), json!(["x", "blue"])] {
        assert_eq!(outcome(good.clone(), &["blue", "red"]), None, "{good}");
    }
    assert_eq!(outcome(json!(true), &["true"]), None);
    assert_eq!(outcome(json!(7), &["7"]), None);
    for bad in [json!("Blue"), json!(null), json!([["blue"]]), json!({ "blue": 1 }), json!(""), json!([])] {
        assert_eq!(outcome(bad.clone(), &["blue"]), Some(ForeignFault::Claim("org.id".to_owned())), "{bad}");
    }
}

#[test]
fn a_flood_of_forged_tokens_costs_no_signature_after_the_first_few() {
    let all = [SignatureAlgorithm::Rs256];
    let signer = Signer::new(SignatureAlgorithm::Rs256, "k");
    let issuers = Issuers::default().renewed(vec![settings(key_set(&[&signer.jwk], &all), &all)]);
    let forged = Forged::default();
    let good = signer.token(&signer.header(), &claims());
    let (input, _) = good.rsplit_once('.').expect("three parts");
    let ask = |token: &str, client: [u8; 4]| {
        let token = Unverified::read(token.as_bytes()).expect("a form");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        let asker = Asker { client: client.into(), now, patience: Duration::ZERO };
        let look = forged.look(asker.client, None);
        let verifying = std::pin::pin!(issuers.verify(token, look, asker));
        let Poll::Ready(outcome) = verifying.poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it waits")
        };
        outcome.err()
    };
    let began = Instant::now();
    let faults: Vec<_> = (0..500_u64)
        .map(|number| {
            let signature = [number.to_be_bytes().as_slice(), &[7; 248]].concat();
            ask(&format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)), [192, 0, 2, 1])
        })
        .collect();
    let seen = faults.iter().filter(|fault| **fault == Some(ForeignFault::Signature)).count() as u64;
    // As many as a source may have in each second that this took.
    assert!((50..=50 * (1 + began.elapsed().as_secs())).contains(&seen), "{seen}");
    assert!(matches!(ask(&good, [192, 0, 2, 1]), None | Some(ForeignFault::Braked { .. })));
    assert_eq!(ask(&good, [192, 0, 2, 2]), None, "others are not braked");
}
