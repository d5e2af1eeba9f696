//! Password hashes of other applications: read, verified once more, and replaced at the next login.
//!
//! Werkzeug's (`scrypt:N:r:p$salt$hex`, `pbkdf2:sha256:iterations$salt$hex` and the old
//! `sha256$salt$hex`, an HMAC keyed with the salt), Django's `pbkdf2_sha256$...`, bcrypt, passlib's and PHC
//! strings of scrypt and PBKDF2, and htpasswd's `$apr1$` and `{SHA}`. A hash is obeyed in its cost, so
//! a cost beyond the bounds is refused where it is read.
//!
//! Callers: `password::argon` for what is no Argon2. No new hash is ever made here.

use std::num::NonZero;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use md5::{Digest as _, Md5};

use super::argon::UnusableHash;

/// 1 GiB, in scrypt's own units of 128 bytes.
const SCRYPT_MEMORY: u64 = 1 << 23;
/// About ten seconds of work on one core of our day: `N * r * p`, iterations, and bcrypt's logarithm.
const SCRYPT_WORK: u64 = 1 << 25;
const PBKDF2_ITERATIONS: u32 = 50_000_000;
const BCRYPT_COST: u32 = 17;
/// bcrypt reads no further, and another password that goes on differently must not pass.
const BCRYPT_PASSWORD: usize = 72;
/// Salts and outputs are a few dozen bytes; what is longer is something else.
const LONGEST: usize = 512;

/// A stored hash of another application, understood.
pub(super) enum LegacyHash {
    /// htpasswd's MD5, a thousand times over.
    Apr1 { output: String, salt: String },
    /// As it is: the library reads it.
    Bcrypt(String),
    /// A digest of the password alone.
    Digest { algorithm: &'static digest::Algorithm, output: Vec<u8> },
    /// Keyed with the salt.
    Hmac { algorithm: hmac::Algorithm, output: Vec<u8>, salt: Vec<u8> },
    /// RFC 8018 §5.2.
    Pbkdf2 { algorithm: pbkdf2::Algorithm, iterations: NonZero<u32>, output: Vec<u8>, salt: Vec<u8> },
    /// RFC 7914.
    Scrypt { output: Vec<u8>, params: scrypt::Params, salt: Vec<u8> },
}

impl LegacyHash {
    /// Understands a hash in one of the formats.
    pub(super) fn parse(text: &str) -> Result<Self, UnusableHash> {
        let unknown = UnusableHash::UnknownFormat;
        if text.len() > LONGEST * 2 {
            return Err(unknown);
        }
        if let Some(digest) = text.strip_prefix("{SHA}") {
            let output = STANDARD.decode(digest).map_err(|_| unknown)?;
            return digest_of(&digest::SHA1_FOR_LEGACY_USE_ONLY, output);
        }
        let Some(fields) = text.strip_prefix('$') else { return Self::parse_plain(text) };
        let fields: Vec<&str> = fields.split('$').collect();
        match fields.as_slice() {
            ["2a" | "2b" | "2y", cost, _] => {
                let cost: u32 = cost.parse().map_err(|_| unknown)?;
                if cost > BCRYPT_COST {
                    return Err(UnusableHash::TooDear);
                }
                text.parse::<bcrypt::HashParts>().map_err(|_| unknown)?;
                Ok(Self::Bcrypt(text.to_owned()))
            }
            ["apr1", salt, output] if (1..=8).contains(&salt.len()) && output.len() == 22 => {
                Ok(Self::Apr1 { output: (*output).to_owned(), salt: (*salt).to_owned() })
            }
            ["scrypt", params, salt, output] => {
                let [log_n, r, p] = named(params, ["ln", "r", "p"]).ok_or(unknown)?;
                let n = 1_u64.checked_shl(log_n).ok_or(unknown)?;
                scrypt_of(n, r, p, phc_bytes(salt)?, phc_bytes(output)?)
            }
            [name @ ("pbkdf2" | "pbkdf2-sha1" | "pbkdf2-sha256" | "pbkdf2-sha512"), params, salt, output] => {
                let algorithm = match *name {
                    "pbkdf2-sha256" => pbkdf2::PBKDF2_HMAC_SHA256,
                    "pbkdf2-sha512" => pbkdf2::PBKDF2_HMAC_SHA512,
                    _ => pbkdf2::PBKDF2_HMAC_SHA1,
                };
                // passlib writes the number alone, PHC strings `i=600000` and perhaps a length that is told anyway.
                let first = params.split(',').next().unwrap_or_default();
                let iterations = first.strip_prefix("i=").unwrap_or(first);
                pbkdf2_of(algorithm, iterations, phc_bytes(salt)?, phc_bytes(output)?)
            }
            _ => Err(unknown),
        }
    }

    /// `method$salt$hash`, as Werkzeug and Django write it. A salt is used as the text that it is.
    fn parse_plain(text: &str) -> Result<Self, UnusableHash> {
        let unknown = UnusableHash::UnknownFormat;
        let (method, rest) = text.split_once('$').ok_or(unknown)?;
        if let Some(algorithm) = django_pbkdf2(method) {
            let fields: Vec<&str> = rest.split('$').collect();
            let [iterations, salt, output] = fields.as_slice() else { return Err(unknown) };
            let output = STANDARD.decode(output).map_err(|_| unknown)?;
            return pbkdf2_of(algorithm, iterations, salt.as_bytes().to_vec(), output);
        }
        match (method, rest.split('$').collect::<Vec<_>>().as_slice()) {
            // Django writes a name of its own in front of the usual text.
            ("bcrypt", ["", "2a" | "2b" | "2y", _, _]) => return Self::parse(rest),
            ("scrypt", [n, salt, r, p, output]) => {
                let number = |text: &str| text.parse::<u32>().map_err(|_| unknown);
                let output = STANDARD.decode(output).map_err(|_| unknown)?;
                return scrypt_of(
                    number(n)?.into(),
                    number(r)?,
                    number(p)?,
                    salt.as_bytes().to_vec(),
                    output,
                );
            }
            _ => {}
        }
        let (salt, output) = rest.split_once('$').ok_or(unknown)?;
        let output = hex(output).ok_or(unknown)?;
        let salt = salt.as_bytes().to_vec();
        let fields: Vec<&str> = method.split(':').collect();
        match fields.as_slice() {
            ["scrypt"] => scrypt_of(32768, 8, 1, salt, output),
            ["scrypt", n, r, p] => {
                let number = |text: &str| text.parse::<u32>().map_err(|_| unknown);
                scrypt_of(number(n)?.into(), number(r)?, number(p)?, salt, output)
            }
            ["pbkdf2", hash, iterations] => {
                let algorithm = match *hash {
                    "sha1" => pbkdf2::PBKDF2_HMAC_SHA1,
                    "sha256" => pbkdf2::PBKDF2_HMAC_SHA256,
                    "sha512" => pbkdf2::PBKDF2_HMAC_SHA512,
                    _ => return Err(unknown),
                };
                pbkdf2_of(algorithm, iterations, salt, output)
            }
            ["sha1"] if salt.is_empty() => digest_of(&digest::SHA1_FOR_LEGACY_USE_ONLY, output),
            ["sha256"] if salt.is_empty() => digest_of(&digest::SHA256, output),
            ["sha512"] if salt.is_empty() => digest_of(&digest::SHA512, output),
            ["sha1"] => hmac_of(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt, output),
            ["sha256"] => hmac_of(hmac::HMAC_SHA256, salt, output),
            ["sha512"] => hmac_of(hmac::HMAC_SHA512, salt, output),
            _ => Err(unknown),
        }
    }

    /// Whether this is the password, byte for byte: what other applications hashed was normalised by none of them.
    pub(super) fn matches(&self, password: &str) -> bool {
        let password = password.as_bytes();
        match self {
            Self::Apr1 { output, salt } => {
                let computed = apr1(password, salt.as_bytes());
                verify_slices_are_equal(computed.as_bytes(), output.as_bytes()).is_ok()
            }
            Self::Bcrypt(hash) => {
                // Some implementations end at a NUL; whose hash this is can't be told.
                let sound = password.len() <= BCRYPT_PASSWORD && !password.contains(&0);
                let matches = bcrypt::verify(if sound { password } else { b"" }, hash);
                sound && matches.unwrap_or(false)
            }
            Self::Digest { algorithm, output } => {
                verify_slices_are_equal(digest::digest(algorithm, password).as_ref(), output).is_ok()
            }
            Self::Hmac { algorithm, output, salt } => {
                hmac::verify(&hmac::Key::new(*algorithm, salt), password, output).is_ok()
            }
            Self::Pbkdf2 { algorithm, iterations, output, salt } => {
                pbkdf2::verify(*algorithm, *iterations, salt, password, output).is_ok()
            }
            Self::Scrypt { output, params, salt } => {
                let mut computed = vec![0; output.len()];
                scrypt::scrypt(password, salt, params, &mut computed)
                    .is_ok_and(|()| verify_slices_are_equal(&computed, output).is_ok())
            }
        }
    }

    /// For a report of what is still to be replaced.
    pub(super) fn scheme(&self) -> &'static str {
        match self {
            Self::Apr1 { .. } => "APR1",
            Self::Bcrypt(_) => "bcrypt",
            Self::Digest { .. } => "SHA",
            Self::Hmac { .. } => "HMAC-SHA",
            Self::Pbkdf2 { .. } => "PBKDF2",
            Self::Scrypt { .. } => "scrypt",
        }
    }
}

fn django_pbkdf2(method: &str) -> Option<pbkdf2::Algorithm> {
    match method {
        "pbkdf2_sha1" => Some(pbkdf2::PBKDF2_HMAC_SHA1),
        "pbkdf2_sha256" => Some(pbkdf2::PBKDF2_HMAC_SHA256),
        _ => None,
    }
}

fn digest_of(algorithm: &'static digest::Algorithm, output: Vec<u8>) -> Result<LegacyHash, UnusableHash> {
    let fits = output.len() == algorithm.output_len();
    fits.then_some(LegacyHash::Digest { algorithm, output }).ok_or(UnusableHash::UnknownFormat)
}

fn hmac_of(algorithm: hmac::Algorithm, salt: Vec<u8>, output: Vec<u8>) -> Result<LegacyHash, UnusableHash> {
    let fits = output.len() == algorithm.digest_algorithm().output_len() && salt.len() <= LONGEST;
    fits.then_some(LegacyHash::Hmac { algorithm, output, salt }).ok_or(UnusableHash::UnknownFormat)
}

fn pbkdf2_of(
    algorithm: pbkdf2::Algorithm,
    iterations: &str,
    salt: Vec<u8>,
    output: Vec<u8>,
) -> Result<LegacyHash, UnusableHash> {
    let iterations: NonZero<u32> = iterations.parse().map_err(|_| UnusableHash::UnknownFormat)?;
    if iterations.get() > PBKDF2_ITERATIONS {
        return Err(UnusableHash::TooDear);
    }
    // A short output would be met by many passwords.
    if !(16..=64).contains(&output.len()) || salt.len() > LONGEST {
        return Err(UnusableHash::UnknownFormat);
    }
    Ok(LegacyHash::Pbkdf2 { algorithm, iterations, output, salt })
}

fn scrypt_of(n: u64, r: u32, p: u32, salt: Vec<u8>, output: Vec<u8>) -> Result<LegacyHash, UnusableHash> {
    let unknown = UnusableHash::UnknownFormat;
    if !n.is_power_of_two() || n < 2 || r == 0 || p == 0 {
        return Err(unknown);
    }
    let memory = n.checked_mul(r.into()).filter(|memory| *memory <= SCRYPT_MEMORY);
    let work = memory.and_then(|memory| memory.checked_mul(p.into())).filter(|work| *work <= SCRYPT_WORK);
    work.ok_or(UnusableHash::TooDear)?;
    if !(16..=64).contains(&output.len()) || salt.len() > LONGEST {
        return Err(unknown);
    }
    let log_n = u8::try_from(n.trailing_zeros()).map_err(|_| unknown)?;
    let params = scrypt::Params::new(log_n, r, p).map_err(|_| unknown)?;
    Ok(LegacyHash::Scrypt { output, params, salt })
}

/// `ln=15,r=8,p=1`, in this order.
fn named<const N: usize>(params: &str, names: [&str; N]) -> Option<[u32; N]> {
    let mut pairs = params.split(',');
    let mut values = [0; N];
    for (value, name) in values.iter_mut().zip(names) {
        *value = pairs.next()?.strip_prefix(name)?.strip_prefix('=')?.parse().ok()?;
    }
    pairs.next().is_none().then_some(values)
}

/// Base64 without padding; passlib writes `.` for `+`.
fn phc_bytes(text: &str) -> Result<Vec<u8>, UnusableHash> {
    let decoded = STANDARD_NO_PAD.decode(text.replace('.', "+"));
    decoded.map_err(|_| UnusableHash::UnknownFormat)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// Apache's variant of the MD5 crypt of FreeBSD (`apr_md5_encode`): its own alphabet, its own order of bytes.
fn apr1(password: &[u8], salt: &[u8]) -> String {
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut outer = Md5::new().chain_update(password).chain_update(b"$apr1$").chain_update(salt);
    for chunk in password.chunks(16) {
        outer.update(&inner[..chunk.len()]);
    }
    let mut bits = password.len();
    while bits > 0 {
        let first = password.first().copied().unwrap_or_default();
        outer.update([if bits & 1 == 1 { 0 } else { first }]);
        bits >>= 1;
    }
    let mut digest = outer.finalize();
    for round in 0..1000 {
        let mut next = Md5::new();
        next.update(if round & 1 == 1 { password } else { &digest[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if round & 1 == 1 { &digest[..] } else { password });
        digest = next.finalize();
    }
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = String::with_capacity(22);
    let mut put = |value: u32, count: usize| {
        for at in 0..count {
            text.push(char::from(ALPHABET[(value >> (6 * at) & 63) as usize]));
        }
    };
    for [a, b, c] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        put(u32::from(digest[a]) << 16 | u32::from(digest[b]) << 8 | u32::from(digest[c]), 4);
    }
    put(digest[11].into(), 2);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by the libraries themselves: Werkzeug 0.9 to 3.1, Django, passlib, bcrypt, htpasswd and OpenSSL.
    const HASHES: &[(&str, &str, &str)] = &[
        (
            "werkzeug 3 scrypt",
            "correct h\u{f6}rse",
            "scrypt:1024:8:1$8L8esklgwhbDNg0o$f82fce97f1210ed91617e02790b90b37e86aecff1574bedc8f5519419553fa20ad2a54e68abf4a98d2c1c02d508519cf550f129c3a901eb7781f1a8c38ff5a7f",
        ),
        (
            "werkzeug 3 scrypt, its default cost",
            "correct h\u{f6}rse",
            "scrypt:32768:8:1$u3e3DHw3jh0IwEAB$1eca219d5ddb3c66a5d6ee6c56521989c2c34c4385eb037207ad9eb977e849bba8944dc22b02fb9757355958fae825c3d6b9515d4a7550dfc6404a90203bf168",
        ),
        (
            "werkzeug pbkdf2 sha256",
            "correct h\u{f6}rse",
            "pbkdf2:sha256:1000$9XjVdyzsjJlNQyIY$586ea5f2b8871aaeccfc6750b9b84dc81b78ef3e58eb02094a195b72c31b9525",
        ),
        (
            "werkzeug pbkdf2 sha1",
            "correct h\u{f6}rse",
            "pbkdf2:sha1:1000$7BKJpYpG$fb72c902cd2106d867b5f4d07d88cbc0837be529",
        ),
        (
            "werkzeug pbkdf2 sha512",
            "correct h\u{f6}rse",
            "pbkdf2:sha512:1000$eFsKM3ueCfK6GqLW$19bf852da2f93331014ba1611940162829fd0118b2d9ea966876524a14f0f4c90548a7c5d0b12366fcbacabaf6157e76834f249cc909ceaa17812d5f1c2e81cc",
        ),
        (
            "werkzeug 0.x sha256",
            "correct h\u{f6}rse",
            "sha256$Ab3dEf9h$a2b2b4616bc34ed7c1a181748826ef2f4cbfbe827b4d8c2fe873736a4c6bc309",
        ),
        ("werkzeug 0.x sha1", "correct h\u{f6}rse", "sha1$Ab3dEf9h$9e822bb2faa12ff694d1a7842d99a3757987a7da"),
        ("werkzeug 0.x without salt", "correct h\u{f6}rse", "sha1$$ac90ffe68953c56ec0a8a1d9a2b3287569fa96d6"),
        (
            "django",
            "correct h\u{f6}rse",
            "pbkdf2_sha256$1000$saltsaltsalt$Mdq+Zp5sq7VwpdVUlViJLnp0vEGqA5bVte+uiggJQH4=",
        ),
        ("django sha1", "correct h\u{f6}rse", "pbkdf2_sha1$1000$saltsaltsalt$htd1pCJCB5Nj3Tq08fdsgwAmMuM="),
        (
            "django bcrypt",
            "correct h\u{f6}rse",
            "bcrypt$$2b$04$bAejZJTx1PFFzTjxXApPPudn1QQgddhyo62Asurv0PHMBVt7GrrWG",
        ),
        (
            "django scrypt",
            "correct h\u{f6}rse",
            "scrypt$1024$saltsaltsalt$8$1$FestADiSD5xaWvKoweVrm3FcpVUpmRt7IRt3Eb/vTMqq2bct5tk064ALb7Zl4S8oyULo+Me4gfkBnWipwvfQvw==",
        ),
        ("bcrypt 2a", "correct h\u{f6}rse", "$2a$04$xQ3.aLOZbY3bNejjH8m4IebBZAvVmAkVzKKPEX2jdjweprLLwFS.."),
        ("bcrypt 2b", "correct h\u{f6}rse", "$2b$04$bAejZJTx1PFFzTjxXApPPudn1QQgddhyo62Asurv0PHMBVt7GrrWG"),
        ("bcrypt 2y", "correct h\u{f6}rse", "$2y$04$bAejZJTx1PFFzTjxXApPPudn1QQgddhyo62Asurv0PHMBVt7GrrWG"),
        (
            "passlib pbkdf2-sha256",
            "correct h\u{f6}rse",
            "$pbkdf2-sha256$1000$5VwrhdDaO2fsHaOU8v4fgw$fpsEPHuRp3C5JBh6ptaZaKBvvA0JC4wSng9VQHuf9V8",
        ),
        (
            "passlib pbkdf2-sha512",
            "correct h\u{f6}rse",
            "$pbkdf2-sha512$1000$/L/3HkPoXUvJec95D6F0Dg$7Ixc.XA/QwSbDcLAhLZa8/clPyPDWPDvA6ESLoZ/omXFS7w3zthDdIPJ15tN79bw3Srq3DHCF.rr2qpAi/GIYQ",
        ),
        (
            "passlib pbkdf2",
            "correct h\u{f6}rse",
            "$pbkdf2$1000$AEAIAYBQqjUGgLCWsjaG0A$yCvSXLeiQoGG9P0Whuvg9jZKsuQ",
        ),
        (
            "passlib scrypt",
            "correct h\u{f6}rse",
            "$scrypt$ln=10,r=8,p=1$OSdkDAFAqHUOASAkZIwx5g$8ofr9KCOqZc12XvTdrvWbgl0wmBLSJPKmao9vU8M0os",
        ),
        ("passlib apr1", "correct h\u{f6}rse", "$apr1$EwoLC9Sr$dcWZ9201irw3.lL/Yh8yb1"),
        ("openssl apr1", "correct h\u{f6}rse", "$apr1$EJvN0oR4$WjbJmqrIUmzAonTHAbaUL0"),
        ("htpasswd sha", "correct h\u{f6}rse", "{SHA}rJD/5olTxW7AqKHZorModWn6ltY="),
        (
            "openssl apr1, long",
            "a long password of more than sixteen bytes, to see all of the rounds",
            "$apr1$3sVzTJKe$c0U7HAMUaMFpYk.UosbGO/",
        ),
    ];

    #[test]
    fn what_the_libraries_made_is_verified() {
        for (name, password, text) in HASHES {
            let hash = LegacyHash::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(hash.matches(password), "{name}");
            assert!(!hash.matches(&format!("{password}x")), "{name}");
            assert!(!hash.matches(""), "{name}");
        }
    }

    #[test]
    fn what_costs_too_much_is_refused_where_it_is_read() {
        for text in [
            "scrypt:8388608:8:2$salt$aabbccddeeff00112233445566778899",
            "scrypt:16777216:8:1$salt$aabbccddeeff00112233445566778899",
            "$scrypt$ln=24,r=8,p=1$c2FsdHNhbHQ$qrvM3e7/ABEiM0RVZneImQ",
            "pbkdf2:sha256:4000000000$salt$aabbccddeeff00112233445566778899",
            "$2b$18$abcdefghijklmnopqrstuuH8R9SvYL5kyFAOtzIpxJnq1nRDdVhVW",
        ] {
            assert_eq!(LegacyHash::parse(text).err(), Some(UnusableHash::TooDear), "{text}");
        }
    }

    #[test]
    fn what_is_in_no_known_format_is_refused() {
        for text in [
            "",
            "secret",
            "plain$$secret",
            "md5$salt$5f4dcc3b5aa765d61d8327deb882cf99",
            "pbkdf2:sha256$salt$aabbccddeeff00112233445566778899",
            "pbkdf2:sha256:0$salt$aabbccddeeff00112233445566778899",
            "pbkdf2:sha256:1000$salt$aabb",
            "pbkdf2:sha256:1000$salt$xyz",
            "scrypt:32767:8:1$salt$aabbccddeeff00112233445566778899",
            "scrypt:0:8:1$salt$aabbccddeeff00112233445566778899",
            "$2b$10$short",
            "$2x$10$abcdefghijklmnopqrstuuH8R9SvYL5kyFAOtzIpxJnq1nRDdVhVW",
            "$apr1$$aaaaaaaaaaaaaaaaaaaaaa",
            "{SHA}short",
            "$1$salt$aaaaaaaaaaaaaaaaaaaaaa",
            "sha256$salt$aabb",
        ] {
            assert_eq!(LegacyHash::parse(text).err(), Some(UnusableHash::UnknownFormat), "{text}");
        }
    }

    #[test]
    fn bcrypt_never_takes_the_beginning_of_a_password_for_the_whole() {
        let long = "a".repeat(BCRYPT_PASSWORD);
        let hash = bcrypt::hash_with_result(&long, 4).expect("it hashes").to_string();
        let hash = LegacyHash::parse(&hash).expect("it is one");
        assert!(hash.matches(&long));
        assert!(!hash.matches(&format!("{long}b")));
        assert!(!hash.matches("a\0a"));
    }
}
