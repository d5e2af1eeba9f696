//! What has been tried on others who verify JWTs, tried on us: nothing of it reaches an upstream.
//!
//! The foreign keys are the test's own, so that a token may be odd in one thing alone and be signed
//! all the same; of our own keys only the public halves are known, as to anybody.

use std::cell::Cell;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::harness::{Connection, Gateway, Reply, Upstream};
use crate::idp::{Idp, Signer, base64url, now};

const REFUSED: &str = r#"Bearer realm="foregate", error="invalid_token""#;
const NONE: [&str; 9] = ["none", "None", "NONE", "nOnE", "none ", " none", "", "null", "HS0"];

struct Stage {
    gateway: Gateway,
    idp: Idp,
    /// Who is braked for his forgeries is another one each time.
    source: Cell<u16>,
    upstream: Upstream,
}

impl Stage {
    fn new(signers: &[&Signer], tokens: &str) -> Self {
        let upstream = Upstream::start();
        let idp = Idp::with(signers);
        let gateway = Gateway::start(&format!(
            "public_url: http://app.test\ntokens: {tokens}\n{}upstreams: {{ app: \"http://{}\" }}\n\
             routes: [{{ path: /**, upstream: app }}]\n",
            idp.yaml(""),
            upstream.address
        ));
        gateway.add_user("alice", &["staff"]);
        Self { gateway, idp, source: Cell::new(0), upstream }
    }

    fn show(&self, token: &[u8]) -> Reply {
        self.show_as(b"Bearer ", token)
    }

    fn show_as(&self, scheme: &[u8], token: &[u8]) -> Reply {
        self.source.set(self.source.get() + 1);
        let [high, low] = self.source.get().to_be_bytes();
        let mut connection = Connection::from([127, 1, high, low], self.gateway.address);
        connection.write(b"GET / HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\nauthorization: ");
        connection.write(scheme);
        connection.write(token);
        connection.write(b"\r\n\r\n");
        connection.reply(false)
    }

    /// That the upstream is reached by this one.
    fn takes(&self, what: &str, token: &str) {
        let before = self.upstream.count();
        let reply = self.show(token.as_bytes());
        assert_eq!((reply.status, self.upstream.count()), (200, before + 1), "{what}: {reply:?}");
    }

    /// That it is refused as a token, and nobody is reached.
    fn refuses(&self, what: &str, token: &str) {
        let before = self.upstream.count();
        let reply = self.show(token.as_bytes());
        let seen = (reply.status, reply.all("www-authenticate"), self.upstream.count());
        assert_eq!(seen, (401, vec![REFUSED], before), "{what}: {reply:?}\n{token}");
    }

    /// That nobody is reached, whichever part of us it was that minded.
    fn stops(&self, what: &str, token: &[u8]) {
        let before = self.upstream.count();
        let reply = self.show(token);
        assert!((400..500).contains(&reply.status), "{what}: {reply:?}");
        assert_eq!(self.upstream.count(), before, "{what}");
    }
}

fn parts(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap_or_else(|_| panic!("three parts: {token}"))
}

fn decoded(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).expect("base64url")
}

fn json_of(part: &str) -> Value {
    serde_json::from_slice(&decoded(part)).expect("JSON")
}

fn with(value: &Value, name: &str, member: Value) -> Value {
    let mut value = value.clone();
    value[name] = member;
    value
}

fn without(value: &Value, name: &str) -> Value {
    let mut value = value.clone();
    value.as_object_mut().expect("an object").remove(name);
    value
}

/// One value of DER.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..=127 => vec![tag, length as u8],
        128..=255 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [head, content.to_vec()].concat()
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let sign: &[u8] = if bytes[0] & 0x80 == 0 { &[] } else { &[0] };
    der(2, &[sign, bytes].concat())
}

fn pem(label: &str, der: &[u8], width: usize) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A public key in every form in which some library keeps it, and so in which it may be taken for a secret.
fn forms(jwk: &Value, set: &str) -> Vec<Vec<u8>> {
    let member = |name: &str| jwk[name].as_str().map(decoded).unwrap_or_default();
    let (raw, info): (Vec<u8>, Vec<u8>) = match jwk["kty"].as_str() {
        Some("RSA") => {
            let key = der(0x30, &[integer(&member("n")), integer(&member("e"))].concat());
            let algorithm =
                der(0x30, &[der(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]), der(5, &[])].concat());
            let info = der(0x30, &[algorithm, der(3, &[&[0], &key[..]].concat())].concat());
            (key, info)
        }
        Some("EC") => {
            let point = [vec![4], member("x"), member("y")].concat();
            let curve = [
                der(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]),
                der(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]),
            ];
            let info =
                der(0x30, &[der(0x30, &curve.concat()), der(3, &[&[0], &point[..]].concat())].concat());
            (point, info)
        }
        _ => {
            let x = member("x");
            let info = der(
                0x30,
                &[der(0x30, &der(6, &[0x2b, 0x65, 0x70])), der(3, &[&[0], &x[..]].concat())].concat(),
            );
            (x, info)
        }
    };
    let mut forms = vec![raw.clone(), info.clone(), member("n"), member("x"), member("y"), member("e")];
    for name in ["n", "x", "kid", "e"] {
        forms.extend(jwk[name].as_str().map(|text| text.as_bytes().to_vec()));
    }
    for (label, key) in
        [("PUBLIC KEY", &info), ("RSA PUBLIC KEY", &raw), ("EC PUBLIC KEY", &raw), ("CERTIFICATE", &info)]
    {
        for width in [64, 76, 10_000] {
            let pem = pem(label, key, width);
            forms.push(pem.trim_end().as_bytes().to_vec());
            forms.push(pem.replace('\n', "\r\n").into_bytes());
            forms.push(pem.replace('\n', "").into_bytes());
            forms.push(pem.into_bytes());
        }
    }
    forms.extend([STANDARD.encode(&info).into_bytes(), base64url(&info).into_bytes()]);
    forms.extend([jwk.to_string().into_bytes(), set.as_bytes().to_vec(), Vec::new(), vec![0], vec![0; 32]]);
    forms
}

/// Signs with a form of the public key as the secret, under every HMAC.
fn confused(header: &Value, payload: &str, secret: &[u8]) -> Vec<String> {
    let hmacs = [("HS256", Algorithm::HS256), ("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)];
    let sign = |(name, algorithm)| {
        let input =
            format!("{}.{payload}", base64url(with(header, "alg", json!(name)).to_string().as_bytes()));
        let key = EncodingKey::from_secret(secret);
        let signature = jsonwebtoken::crypto::sign(input.as_bytes(), &key, algorithm).expect("a signature");
        format!("{input}.{signature}")
    };
    hmacs.into_iter().map(sign).collect()
}

/// Signatures that are none, made of one that is.
fn spoilt(signature: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let zeros = |length: usize| vec![0; length];
    let flipped = |at: usize| {
        let mut bytes = signature.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let half = signature.len() / 2;
    vec![
        ("empty", Vec::new()),
        ("one zero", zeros(1)),
        ("zeros", zeros(signature.len())),
        ("ones", vec![0xff; signature.len()]),
        ("first bit", flipped(0)),
        ("last bit", flipped(signature.len() - 1)),
        ("cut by one", signature[..signature.len() - 1].to_vec()),
        ("cut at its front", signature[1..].to_vec()),
        ("half", signature[..half].to_vec()),
        ("halves exchanged", [&signature[half..], &signature[..half]].concat()),
        ("one more byte", [signature, &[0]].concat()),
        ("a zero in front", [&[0], signature].concat()),
        ("twice", [signature, signature].concat()),
        ("r and 0", [&signature[..half], &zeros(half)].concat()),
        ("0 and s", [&zeros(half), &signature[half..]].concat()),
        ("r = s = 1", [&zeros(half - 1)[..], &[1], &zeros(half - 1), &[1]].concat()),
        ("DER of zeros", der(0x30, &[integer(&[0]), integer(&[0])].concat())),
        ("DER", der(0x30, &[integer(&signature[..half]), integer(&signature[half..])].concat())),
    ]
}

#[test]
fn a_token_that_nobody_or_everybody_can_sign_is_none() {
    let signers = [Signer::rsa("r"), Signer::p256("e"), Signer::ed25519("d")];
    for (algorithm, signer) in ["RS256", "ES256", "EdDSA"].into_iter().zip(&signers) {
        let stage = Stage::new(&signers.each_ref(), &format!("{{ algorithm: {algorithm} }}"));
        let ours = stage.gateway.token("alice");
        let our_set = stage.gateway.get("/.auth/jwks.json", &[]);
        let theirs = signer.token(&stage.idp.claims());
        let their_set = json!({ "keys": [signer.jwk] }).to_string();
        let (our_key, our_set) = (our_set.json()["keys"][0].clone(), our_set.text());
        for (whose, good, jwk, set) in
            [("ours", &ours, &our_key, &our_set), ("theirs", &theirs, &signer.jwk, &their_set)]
        {
            stage.takes(whose, good);
            let [head, payload, signature] = parts(good);
            let header = json_of(head);
            for alg in NONE {
                let head = base64url(with(&header, "alg", json!(alg)).to_string().as_bytes());
                for signature in ["", signature, "AA"] {
                    stage.refuses(&format!("{whose}: alg {alg:?}"), &format!("{head}.{payload}.{signature}"));
                }
            }
            for alg in [json!(null), json!(0), json!(true), json!(["none", algorithm]), json!({ "none": 1 })]
            {
                let head = base64url(with(&header, "alg", alg.clone()).to_string().as_bytes());
                stage.refuses(&format!("{whose}: alg {alg}"), &format!("{head}.{payload}."));
            }
            let head_without = base64url(without(&header, "alg").to_string().as_bytes());
            stage.refuses("no alg", &format!("{head_without}.{payload}.{signature}"));
            for secret in forms(jwk, set) {
                for token in confused(&header, payload, &secret) {
                    stage
                        .refuses(&format!("{whose}: HMAC with {}", String::from_utf8_lossy(&secret)), &token);
                }
            }
            // The right key under the name of another algorithm, of its own family or not.
            for alg in [
                "RS256", "RS384", "RS512", "PS256", "PS384", "ES256", "ES384", "ES256K", "EdDSA", "Ed25519",
                "Ed448",
            ] {
                if alg != algorithm {
                    let head = base64url(with(&header, "alg", json!(alg)).to_string().as_bytes());
                    stage.refuses(&format!("{whose}: as {alg}"), &format!("{head}.{payload}.{signature}"));
                }
            }
            for (what, bytes) in spoilt(&decoded(signature)) {
                stage
                    .refuses(&format!("{whose}: {what}"), &format!("{head}.{payload}.{}", base64url(&bytes)));
            }
            stage.takes(whose, good);
        }
        // Each in the name of the other: our keys vouch for nobody of theirs, nor theirs for one of us.
        let (our_claims, their_claims) = (json_of(parts(&ours)[1]), json_of(parts(&theirs)[1]));
        for kid in [json_of(parts(&ours)[0])["kid"].clone(), signer.jwk["kid"].clone()] {
            for typ in ["at+jwt", "JWT"] {
                let header = json!({ "alg": signer.algorithm, "kid": kid, "typ": typ });
                let token = signer.token_with(&header.to_string(), &our_claims.to_string());
                stage.refuses("their key, our issuer", &token);
                let both = with(&their_claims, "iss", json!([stage.idp.url, our_claims["iss"]]));
                stage.refuses("both issuers", &signer.token_with(&header.to_string(), &both.to_string()));
            }
        }
        let crossed = format!("{}.{}.{}", parts(&ours)[0], parts(&theirs)[1], parts(&ours)[2]);
        stage.refuses("our signature, their claims", &crossed);
    }
}

#[test]
fn a_header_brings_no_key_and_names_none_but_by_our_table() {
    let (good, evil) = (Signer::ed25519("good"), Signer::ed25519("evil"));
    let trap = Idp::with(&[&evil]);
    let stage = Stage::new(&[&good], "{}");
    let claims = stage.idp.claims().to_string();
    stage.takes("the good one", &good.token_with(&good.header().to_string(), &claims));
    let url = format!("{}/keys", trap.url);
    // Signed by either: what is in the header must neither be believed nor be passed over.
    for signer in [&good, &evil] {
        for (name, value) in [
            ("jku", json!(url)),
            ("jku", json!(format!("{}/keys", stage.idp.url))),
            ("x5u", json!(url)),
            ("jwk", evil.jwk.clone()),
            ("jwk", good.jwk.clone()),
            ("x5c", json!(["MIIB"])),
            ("crit", json!([])),
            ("crit", json!(["exp"])),
            ("crit", json!(["b64"])),
            ("crit", json!("b64")),
            ("b64", json!(false)),
            ("b64", json!(true)),
            ("zip", json!("DEF")),
            ("enc", json!("A256GCM")),
        ] {
            for kid in ["good", "evil"] {
                let header = with(&with(&signer.header(), name, value.clone()), "kid", json!(kid));
                stage.refuses(&format!("{name}: {value}"), &signer.token_with(&header.to_string(), &claims));
            }
        }
        for kid in [
            json!("../../../../../../dev/null"),
            json!("/dev/null"),
            json!("file:///proc/sys/kernel/randomize_va_space"),
            json!("x' UNION SELECT 'AAAA' --"),
            json!("' OR 1=1 --"),
            json!("good\0"),
            json!("good\u{0}.pem"),
            json!("\u{0}"),
            json!("| sleep 10"),
            json!("${jndi:ldap://127.0.0.1/a}"),
            json!(url),
            json!(""),
            json!("GOOD"),
            json!(" good"),
            json!("*"),
            json!("g".repeat(5000)),
            json!(["good"]),
            json!({ "good": true }),
            json!(0),
            json!(null),
            json!(true),
        ] {
            let header = with(&signer.header(), "kid", kid.clone());
            stage.refuses(&format!("kid {kid}"), &signer.token_with(&header.to_string(), &claims));
        }
        let nameless = without(&signer.header(), "kid").to_string();
        let token = signer.token_with(&nameless, &claims);
        // Without a name it can be the only key alone.
        if signer.jwk == good.jwk {
            stage.takes("no kid", &token)
        } else {
            stage.refuses("no kid", &token)
        }
        for typ in ["dpop+jwt", "logout+jwt", "JOSE", "JOSE+JSON", "application/json", "at+jwt;x", "at+jwt "]
        {
            let header = with(&signer.header(), "typ", json!(typ));
            stage.refuses(&format!("typ {typ}"), &signer.token_with(&header.to_string(), &claims));
        }
    }
    assert_eq!(trap.count(), 0, "nobody goes where a token says");
    // An empty key under a name of the attacker's, as `kid: /dev/null` makes libraries read.
    for secret in [&b""[..], b"\n", &[0; 32]] {
        for token in
            confused(&with(&good.header(), "kid", json!("/dev/null")), &base64url(claims.as_bytes()), secret)
        {
            stage.refuses("an empty secret", &token);
        }
    }
}

#[test]
fn a_token_has_one_spelling_and_one_meaning() {
    let signer = Signer::p256("k");
    let stage = Stage::new(&[&signer], "{}");
    let claims = stage.idp.claims();
    let good = signer.token(&claims);
    let ours = stage.gateway.token("alice");
    for (whose, good) in [("ours", &ours), ("theirs", &good)] {
        stage.takes(whose, good);
        for number in 0..3 {
            let with_part = |part: &str| {
                let mut parts = parts(good);
                parts[number] = part;
                parts.join(".")
            };
            let part = parts(good)[number];
            let bytes = decoded(part);
            for (what, sloppy) in [
                ("padded", URL_SAFE.encode(&bytes)),
                ("with padding", format!("{part}=")),
                ("with more padding", format!("{part}====")),
                ("with one character more", format!("{part}A")),
                ("with a dot", format!("{part}.")),
                ("with %2e", format!("{part}%2e")),
                ("with a tilde", format!("{part}~")),
                ("empty", String::new()),
            ] {
                if sloppy != part {
                    stage.refuses(&format!("{whose}: part {number} {what}"), &with_part(&sloppy));
                }
            }
            for (what, byte) in [
                ("a blank", b' '),
                ("a tab", b'\t'),
                ("a comma", b','),
                ("é", 0xe9),
                ("a NUL", 0),
                ("a newline", b'\n'),
            ] {
                let mut token = with_part(part).into_bytes();
                token.insert(good.find('.').expect("a dot") + 2, byte);
                stage.stops(&format!("{whose}: {what}"), &token);
            }
            // The last character carries bits that no byte has: other ones decode to the same in sloppy libraries.
            if !bytes.len().is_multiple_of(3) {
                const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
                let last = part.bytes().last().expect("it has one");
                let at = ALPHABET.iter().position(|byte| *byte == last).expect("base64url");
                let other = char::from(ALPHABET[at ^ 1]);
                let malleable = format!("{}{other}", &part[..part.len() - 1]);
                stage.refuses(&format!("{whose}: part {number} malleable"), &with_part(&malleable));
            }
            let standard = part.replace('-', "+").replace('_', "/");
            if standard != part {
                stage.refuses(&format!("{whose}: part {number} of another alphabet"), &with_part(&standard));
            }
        }
        let [head, payload, signature] = parts(good);
        for (what, token) in [
            ("one part", head.to_owned()),
            ("two parts", format!("{head}.{payload}")),
            ("four parts", format!("{good}.")),
            ("five parts, as a JWE", format!("{good}.{signature}.{signature}")),
            ("five parts, most of them empty", format!("{head}....")),
            ("a dot in front", format!(".{good}")),
            ("dots", ".".repeat(20_000)),
            ("two dots", "..".to_owned()),
            ("half of it", good[..good.len() / 2].to_owned()),
            ("all but the end", good[..good.len() - 1].to_owned()),
            ("its own twice", format!("{good}{good}")),
            (
                "the JSON serialisation",
                json!({ "payload": payload, "signatures": [{ "protected": head, "signature": signature }] })
                    .to_string(),
            ),
            (
                "the flattened one",
                json!({ "payload": payload, "protected": head, "signature": signature }).to_string(),
            ),
        ] {
            stage.refuses(&format!("{whose}: {what}"), &token);
        }
        stage.takes(whose, good);
    }

    let header = signer.header().to_string();
    let text = claims.to_string();
    let open = &text[..text.len() - 1];
    let deep = |depth: usize| format!("{open},\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    for (what, header, payload) in [
        ("a doubled alg", r#"{"alg":"none","alg":"ES256","kid":"k"}"#.to_owned(), text.clone()),
        (
            "a doubled alg, the other way",
            r#"{"alg":"ES256","kid":"k","alg":"none"}"#.to_owned(),
            text.clone(),
        ),
        ("a doubled kid", r#"{"alg":"ES256","kid":"k","kid":"k"}"#.to_owned(), text.clone()),
        ("a doubled kid, escaped", r#"{"alg":"ES256","kid":"k","\u006bid":"k"}"#.to_owned(), text.clone()),
        ("a doubled sub", header.clone(), format!("{open},\"sub\":\"root\"}}")),
        ("a doubled exp", header.clone(), format!("{open},\"exp\":{}}}", now() + 60)),
        ("a doubled iss", header.clone(), format!("{open},\"iss\":\"{}\"}}", stage.idp.url)),
        ("a doubled aud, escaped", header.clone(), format!("{open},\"\\u0061ud\":\"api\"}}")),
        ("a doubled member deep down", header.clone(), format!("{open},\"x\":[{{\"a\":1,\"a\":1}}]}}")),
        ("something behind it", header.clone(), format!("{text}x")),
        ("two of it", header.clone(), format!("{text}{text}")),
        ("a byte order mark", header.clone(), format!("\u{feff}{text}")),
        ("a list", header.clone(), format!("[{text}]")),
        ("a text", header.clone(), json!(text).to_string()),
        ("half a character", header.clone(), format!("{open},\"x\":\"\\ud800\"}}")),
        ("a number that is none", header.clone(), format!("{open},\"x\":1e999}}")),
        ("a comment", header.clone(), format!("{open}/**/}}")),
        ("a comma too many", header.clone(), format!("{open},}}")),
        ("depth", header.clone(), deep(17)),
        ("great depth", header.clone(), deep(2500)),
        (
            "a deep header",
            format!(r#"{{"alg":"ES256","kid":"k","x":{}{}}}"#, "[".repeat(2000), "]".repeat(2000)),
            text.clone(),
        ),
        ("a JWT within", with(&signer.header(), "cty", json!("JWT")).to_string(), good.clone()),
        ("no payload", header.clone(), String::new()),
    ] {
        stage.refuses(what, &signer.token_with(&header, &payload));
    }
    stage.takes("depth that somebody may need", &signer.token_with(&header, &deep(10)));
    let invalid = [text.as_bytes(), b"\xff"].concat();
    let input = format!("{}.{}", base64url(header.as_bytes()), base64url(&invalid));
    stage
        .refuses("bytes that are no text", &format!("{input}.{}", base64url(&signer.sign(input.as_bytes()))));
}

#[test]
fn a_token_is_eight_kibibytes_at_most() {
    let signer = Signer::ed25519("k");
    let stage = Stage::new(&[&signer], "{}");
    let of_length = |length: usize| {
        let mut pad = length * 3 / 4 - 600;
        loop {
            let token = signer.token(&with(&stage.idp.claims(), "pad", json!("x".repeat(pad))));
            if token.len() >= length {
                return token;
            }
            pad += 1;
        }
    };
    let largest = of_length(8192);
    if largest.len() == 8192 {
        stage.takes("8 KiB", &largest);
    }
    stage.takes("less", &of_length(8000));
    for length in [8193, 8300, 12_000, 25_000] {
        stage.refuses("more", &of_length(length));
    }
    stage.stops("more than a head may have", of_length(40_000).as_bytes());
}

#[test]
fn claims_are_there_and_hold_by_a_clock_that_may_differ_by_half_a_minute() {
    let signer = Signer::ed25519("k");
    let stage = Stage::new(&[&signer], "{}");
    let claims = stage.idp.claims();
    for name in ["iss", "aud", "sub", "exp"] {
        stage.refuses(&format!("no {name}"), &signer.token(&without(&claims, name)));
        for value in [json!(null), json!({}), json!([]), json!(false), json!([[]]), json!("")] {
            stage.refuses(&format!("{name}: {value}"), &signer.token(&with(&claims, name, value.clone())));
        }
    }
    let now = now();
    for (name, value) in [
        ("aud", json!("ap")),
        ("aud", json!("api2")),
        ("aud", json!("API")),
        ("aud", json!("api,other")),
        ("aud", json!("*")),
        ("aud", json!(["other"])),
        ("aud", json!(["api", null])),
        ("iss", json!(format!("{}/", stage.idp.url))),
        ("iss", json!(stage.idp.url.to_uppercase())),
        ("iss", json!(format!("{}.evil.test", stage.idp.url))),
        ("iss", json!([stage.idp.url])),
        ("exp", json!(now - 40)),
        ("exp", json!(0)),
        ("exp", json!(-1)),
        ("exp", json!(-9_007_199_254_740_993_i64)),
        ("exp", json!(9_007_199_254_740_993_u64)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(1e300)),
        ("exp", json!((now + 300).to_string())),
        ("exp", json!([now + 300])),
        ("exp", json!((now + 300) * 1000)),
        ("nbf", json!(now + 60)),
        ("nbf", json!("soon")),
        ("nbf", json!(u64::MAX)),
        ("iat", json!(now + 60)),
        ("iat", json!(null)),
        ("sub", json!(7)),
        ("sub", json!("a\r\nremote-user: root")),
        ("sub", json!("a\u{0}")),
        ("sub", json!("x".repeat(300))),
    ] {
        stage.refuses(&format!("{name}: {value}"), &signer.token(&with(&claims, name, value.clone())));
    }
    for (name, value) in [
        ("exp", json!(now - 20)),
        ("exp", json!((now + 300) as f64 + 0.25)),
        ("nbf", json!(now + 20)),
        ("iat", json!(now + 20)),
        ("aud", json!(["other", "api"])),
        ("nonce", json!("of an ID token, whose audience is ours")),
    ] {
        stage.takes(&format!("{name}: {value}"), &signer.token(&with(&claims, name, value.clone())));
    }
    // Header injection by what is mapped.
    for (name, value) in
        [("email", json!("a@b\r\nremote-user: root")), ("name", json!("a\r\nremote-user: root"))]
    {
        stage.takes("an odd one is left out", &signer.token(&with(&claims, name, value)));
        let seen = stage.upstream.last().to_lowercase();
        assert_eq!(seen.matches("remote-user").count(), 1, "{seen}");
        assert!(seen.contains("remote-user: alice\r\n"), "{seen}");
    }
    stage.takes(
        "roles",
        &signer.token(&with(&claims, "groups", json!(["staff", "a,root", "root;x", "b root", ""]))),
    );
    assert!(
        stage.upstream.last().to_lowercase().contains("remote-groups: staff\r\n"),
        "{}",
        stage.upstream.last()
    );
}

#[test]
fn keys_of_another_instance_and_other_places_are_nothing_here() {
    let (ours, theirs) = (Signer::ed25519("k"), Signer::ed25519("k"));
    let stage = Stage::new(&[&ours], "{}");
    let other = Stage::new(&[&theirs], "{}");
    stage.refuses("another instance's", &other.gateway.token("alice"));
    stage.refuses("another issuer's", &theirs.token(&other.idp.claims()));
    stage.refuses("another issuer's key", &theirs.token(&stage.idp.claims()));
    let good = ours.token(&stage.idp.claims());
    stage.takes("the good one", &good);
    for scheme in [&b"Bearer"[..], b"Bearer Bearer ", b"Basic ", b"JWT ", b"Token ", b"DPoP ", b""] {
        let before = stage.upstream.count();
        let reply = stage.show_as(scheme, good.as_bytes());
        assert_eq!(
            (reply.status, stage.upstream.count()),
            (401, before),
            "{}",
            String::from_utf8_lossy(scheme)
        );
    }
    for scheme in [&b"bearer "[..], b"BEARER ", b"Bearer   "] {
        assert_eq!(stage.show_as(scheme, good.as_bytes()).status, 200, "{}", String::from_utf8_lossy(scheme));
    }
    let before = stage.upstream.count();
    let bearer = format!("Bearer {good}");
    let twice = [("authorization", bearer.as_str()), ("authorization", bearer.as_str())];
    assert_eq!(stage.gateway.get("/", &twice).status, 401);
    for target in [format!("/?access_token={good}"), format!("/?jwt={good}")] {
        assert_eq!(stage.gateway.get(&target, &[]).status, 401);
    }
    for cookie in [format!("access_token_cookie={good}"), format!("foregate={good}")] {
        assert_eq!(stage.gateway.get("/", &[("cookie", &cookie)]).status, 401);
    }
    assert_eq!(stage.upstream.count(), before);
}

#[test]
fn forged_signatures_are_looked_at_so_often_and_who_is_known_pays_nothing() {
    let signer = Signer::rsa("k");
    let stage = Stage::new(&[&signer], "{ algorithm: RS256 }");
    let known = signer.token(&stage.idp.claims());
    let ours = stage.gateway.token("alice");
    assert_eq!(stage.gateway.get("/", &[("authorization", &format!("Bearer {known}"))]).status, 200);
    let before = stage.upstream.count();
    for (whose, token) in [("theirs", &known), ("ours", &ours)] {
        let [head, payload, _] = parts(token);
        let mut connection = stage.gateway.connect();
        let began = Instant::now();
        let mut statuses = std::collections::BTreeMap::<u16, u64>::new();
        for number in 0..400_u64 {
            let forged = base64url(&[&number.to_be_bytes()[..], &[7; 248]].concat());
            connection.write(format!("GET / HTTP/1.1\r\nhost: app.test\r\nauthorization: Bearer {head}.{payload}.{forged}\r\n\r\n").as_bytes());
            let reply = connection.reply(false);
            if reply.status == 429 {
                assert_eq!(reply.header("retry-after"), Some("1"), "{reply:?}");
            }
            *statuses.entry(reply.status).or_default() += 1;
        }
        let seconds = began.elapsed().as_secs();
        let looked_at = statuses.get(&401).copied().unwrap_or_default();
        // As many as one source may have in each second that it took.
        assert!(looked_at <= 50 * (seconds + 2), "{whose}: {statuses:?} in {seconds} s");
        assert_eq!(
            statuses.values().sum::<u64>() - looked_at,
            statuses.get(&429).copied().unwrap_or_default()
        );
        // From the same place: what is known goes on. From another: what isn't, too.
        let bearer = format!("Bearer {known}");
        assert_eq!(stage.gateway.get("/", &[("authorization", &bearer)]).status, 200, "{whose}");
        let fresh = signer.token(&with(&stage.idp.claims(), "jti", json!(whose)));
        assert_eq!(stage.show(fresh.as_bytes()).status, 200, "{whose}");
    }
    assert_eq!(stage.upstream.count(), before + 4);
}
