//! Argon2id in PHC strings (RFC 9106): making and verifying, with one kept block of memory. Hashes of other
//! applications are verified too, and are never made.
//!
//! Callers: the threads of `password::pool`. Nothing here knows of queues.

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::PasswordSettings;
use super::legacy::LegacyHash;

/// Bytes of a new salt and of a new hash.
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// A stored hash is obeyed in its cost, so the cost has a bound: 1 GiB, and about ten seconds of work.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_WORK_KIB: u64 = 10 * 1024 * 1024;

/// Why a stored hash can't be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnusableHash {
    /// The cost it asks for is over the bound.
    #[error("the hash asks for more than 1 GiB of memory or 10 s of work")]
    TooDear,
    /// It is in no format that is known here.
    #[error(
        "the hash is in no known format: expected Argon2, bcrypt, Werkzeug's, Django's or passlib's scrypt or PBKDF2, or htpasswd's"
    )]
    UnknownFormat,
}

/// A stored hash, understood.
pub(super) enum StoredHash {
    Argon(ArgonHash),
    Legacy(LegacyHash),
}

impl StoredHash {
    /// Reads a hash in any of the formats that are verified.
    pub(super) fn parse(text: &str) -> Result<Self, UnusableHash> {
        // Django writes its own name in front of Argon2's.
        let phc = text.strip_prefix("argon2$argon2").map(|rest| format!("$argon2{rest}"));
        match parse(phc.as_deref().unwrap_or(text)) {
            Ok(hash) => Ok(Self::Argon(hash)),
            Err(UnusableHash::TooDear) => Err(UnusableHash::TooDear),
            Err(UnusableHash::UnknownFormat) => LegacyHash::parse(text).map(Self::Legacy),
        }
    }

    /// In one word.
    pub(super) fn scheme(&self) -> &'static str {
        match self {
            Self::Argon(ArgonHash { algorithm: Algorithm::Argon2i, .. }) => "Argon2i",
            Self::Argon(_) => "Argon2id",
            Self::Legacy(hash) => hash.scheme(),
        }
    }
}

/// A PHC string of Argon2, understood.
pub(super) struct ArgonHash {
    algorithm: Algorithm,
    output: Output,
    params: Params,
    salt: Salt,
    version: Version,
}

/// Reads a PHC string of Argon2id or Argon2i.
fn parse(text: &str) -> Result<ArgonHash, UnusableHash> {
    let hash = PasswordHash::new(text).map_err(|_| UnusableHash::UnknownFormat)?;
    let algorithm = match hash.algorithm.as_str() {
        "argon2id" => Algorithm::Argon2id,
        "argon2i" => Algorithm::Argon2i,
        _ => return Err(UnusableHash::UnknownFormat),
    };
    let version = match hash.version {
        None | Some(0x13) => Version::V0x13,
        Some(0x10) => Version::V0x10,
        Some(_) => return Err(UnusableHash::UnknownFormat),
    };
    let params = Params::try_from(&hash).map_err(|_| UnusableHash::UnknownFormat)?;
    if params.m_cost() > MAX_MEMORY_KIB
        || u64::from(params.m_cost()) * u64::from(params.t_cost()) > MAX_WORK_KIB
    {
        return Err(UnusableHash::TooDear);
    }
    let (Some(salt), Some(output)) = (hash.salt, hash.hash) else {
        return Err(UnusableHash::UnknownFormat);
    };
    Ok(ArgonHash { algorithm, output, params, salt, version })
}

/// What comparing gave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Outcome {
    /// The hash is of today's parameters.
    pub(super) current: bool,
    /// It may have cost more than a hash of today does.
    pub(super) dear: bool,
    /// The password is the hash's.
    pub(super) matches: bool,
}

/// Hashes and verifies; keeps its memory between two hashes, for allocating 19 MiB anew each time
/// leaves the process several times as large.
pub(super) struct Hasher {
    memory: Vec<Block>,
    params: Params,
    /// What an unknown user's password is compared with, so that it costs what a known one's does.
    decoy: String,
}

impl Hasher {
    pub(super) fn new(settings: &PasswordSettings) -> Self {
        let params =
            Params::new(settings.memory_kib, settings.iterations, settings.parallelism, Some(HASH_BYTES))
                .expect("the configuration holds the costs within Argon2's own bounds");
        let mut hasher =
            Self { memory: vec![Block::new(); params.block_count()], params, decoy: String::new() };
        hasher.decoy = hasher.hash("nobody has this account");
        hasher
    }

    /// A new PHC string with a salt of its own.
    pub(super) fn hash(&mut self, password: &str) -> String {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).expect("the operating system gives random bytes");
        let mut output = [0; HASH_BYTES];
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone());
        argon
            .hash_password_into_with_memory(
                normalised(password).as_bytes(),
                &salt,
                &mut output,
                &mut self.memory,
            )
            .expect("the parameters, the salt and the length are within Argon2's bounds");
        PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&self.params).expect("three numbers fit a PHC string"),
            salt: Some(Salt::new(&salt).expect("16 bytes make a salt")),
            hash: Some(Output::new(&output).expect("32 bytes make a hash")),
        }
        .to_string()
    }

    /// Compares a password with a stored hash.
    ///
    /// Without a hash, or with one that can't be used, it does the same work and says no. After a wrong
    /// password for a cheaper hash it does the rest of today's work, or a quick answer would tell that
    /// the account exists. For a dearer hash see `Passwords`.
    pub(super) fn verify(&mut self, stored: Option<&str>, password: &str) -> Outcome {
        let hash = match stored.and_then(|text| StoredHash::parse(text).ok()) {
            Some(StoredHash::Argon(hash)) => hash,
            Some(StoredHash::Legacy(hash)) if spellings(password).any(|password| hash.matches(&password)) => {
                return Outcome { current: false, dear: true, matches: true };
            }
            // After a wrong password for another application's hash the whole of today's work is done, too: most of
            // them cost next to nothing.
            other => {
                let decoy = parse(&self.decoy).expect("our own hash can be read");
                self.spelling(&decoy, password);
                return Outcome { current: true, dear: other.is_some(), matches: false };
            }
        };
        let of_today = matches!(hash.algorithm, Algorithm::Argon2id)
            && hash.params.m_cost() == self.params.m_cost()
            && hash.params.t_cost() == self.params.t_cost()
            && hash.params.p_cost() == self.params.p_cost()
            && hash.output.len() == HASH_BYTES;
        let spelling = self.spelling(&hash, password);
        let matches = spelling.is_some();
        // Ours are of the normal form, the first; what matches in another is another application's.
        let current = of_today && spelling.is_none_or(|spelling| spelling == 0);
        if let Some(params) = (!matches).then(|| rest_of_work(&hash.params, &self.params)).flatten() {
            let decoy = parse(&self.decoy).expect("our own hash can be read");
            self.spelling(&ArgonHash { params, ..decoy }, password);
        }
        Outcome { current, dear: work(&hash.params) > work(&self.params), matches }
    }

    /// Which of the password's spellings a hash is of. Where it is of none, each has cost its work, for an
    /// unknown account as for a known one.
    fn spelling(&mut self, hash: &ArgonHash, password: &str) -> Option<usize> {
        spellings(password).position(|password| self.matches(hash, password.as_bytes()))
    }

    fn matches(&mut self, hash: &ArgonHash, password: &[u8]) -> bool {
        let argon = Argon2::new(hash.algorithm, hash.version, hash.params.clone());
        let mut output = vec![0; hash.output.len()];
        let needed = hash.params.block_count();
        let mut larger = Vec::new();
        let memory = if needed <= self.memory.len() {
            &mut self.memory[..needed]
        } else {
            larger.resize(needed, Block::new());
            &mut larger[..]
        };
        argon
            .hash_password_into_with_memory(password, hash.salt.as_ref(), &mut output, memory)
            .is_ok_and(|()| verify_slices_are_equal(&output, hash.output.as_bytes()).is_ok())
    }
}

/// What is left of today's work (memory times passes) after a cheaper hash. All of it on top would be
/// too slow instead of too quick, and tell as much.
fn rest_of_work(spent: &Params, today: &Params) -> Option<Params> {
    let rest = work(today).checked_sub(work(spent)).filter(|rest| *rest > 0)?;
    let passes = rest.div_ceil(today.m_cost().into());
    let (memory, passes) = (u32::try_from(rest / passes).ok()?, u32::try_from(passes).ok()?);
    // Less than the least that Argon2 does is not worth measuring.
    Params::new(memory, passes, today.p_cost(), Some(HASH_BYTES)).ok()
}

/// Memory times passes.
fn work(params: &Params) -> u64 {
    u64::from(params.m_cost()) * u64::from(params.t_cost())
}

/// As it is hashed (RFC 8265 §4.2.1, OpaqueString): every blank is the usual one, and composed (NFC).
fn normalised(password: &str) -> Zeroizing<String> {
    if password.is_ascii() {
        return Zeroizing::new(password.to_owned());
    }
    let blank = |c: char| if is_blank(c) { ' ' } else { c };
    Zeroizing::new(password.chars().map(blank).nfc().collect())
}

/// A space separator (general category Zs) of any script.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

/// What a hash may have been made of: the normal form, and what was typed where that is something else.
fn spellings(password: &str) -> impl Iterator<Item = Zeroizing<String>> {
    let normal = normalised(password);
    let typed = (*normal != password).then(|| Zeroizing::new(password.to_owned()));
    std::iter::once(normal).chain(typed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn hasher() -> Hasher {
        hasher_of(64, 1)
    }

    fn hasher_of(memory_kib: u32, iterations: u32) -> Hasher {
        Hasher::new(&PasswordSettings {
            iterations,
            memory_kib,
            min_length: 8,
            min_score: 0,
            parallelism: 1,
            workers: 1,
        })
    }

    /// What this thread has used: another program that has the machine for a while doesn't count.
    fn processor_time() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(time).expect("a time since the thread began")
    }

    /// Whether it matches, and whether it is of today.
    fn compare(hasher: &mut Hasher, hash: &str, password: &str) -> (bool, bool) {
        let outcome = hasher.verify(Some(hash), password);
        (outcome.matches, outcome.current)
    }

    #[test]
    fn a_hash_verifies_its_own_password_alone() {
        let mut hasher = hasher();
        let hash = hasher.hash("correct horse");
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        assert_eq!(compare(&mut hasher, &hash, "correct horse"), (true, true));
        assert_eq!(compare(&mut hasher, &hash, "correct horse "), (false, true));
        assert_ne!(hash, hasher.hash("correct horse"), "each has its own salt");
    }

    #[test]
    fn composed_and_decomposed_spellings_are_one_password() {
        let mut hasher = hasher();
        let hash = hasher.hash("cafe\u{301} noir");
        assert_eq!(compare(&mut hasher, &hash, "caf\u{e9} noir"), (true, true));
    }

    #[test]
    fn any_blank_is_the_usual_one_and_any_script_is_taken() {
        let mut hasher = hasher();
        let hash = hasher.hash("caf\u{e9}\u{a0}noir\u{3000}\u{1f642}");
        assert_eq!(compare(&mut hasher, &hash, "cafe\u{301} noir \u{1f642}"), (true, true));
        assert_eq!(compare(&mut hasher, &hash, "cafe noir \u{1f642}"), (false, true));
        for (kept, form) in [("\u{200d}", "a joiner is no blank"), ("\t", "nor is a tab")] {
            assert_eq!(*normalised(kept), kept, "{form}");
        }
    }

    #[test]
    fn hashes_of_other_applications_are_of_what_was_typed_there() {
        let mut hasher = hasher();
        let (typed, normal) = ("cafe\u{301}\u{a0}noir", "caf\u{e9} noir");
        for of in [typed, normal] {
            // Argon2id of today's parameters, but of bytes that we would have normalised.
            let salt = b"saltsaltsaltsalt";
            let mut output = [0; HASH_BYTES];
            let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, hasher.params.clone());
            argon.hash_password_into(of.as_bytes(), salt, &mut output).expect("sound parameters");
            let params = ParamsString::try_from(&hasher.params).expect("parameters");
            let hash = PasswordHash {
                algorithm: Algorithm::Argon2id.ident(),
                version: Some(Version::V0x13.into()),
                params,
                salt: Some(Salt::new(salt).expect("a salt")),
                hash: Some(Output::new(&output).expect("a hash")),
            }
            .to_string();
            assert_eq!(compare(&mut hasher, &hash, typed), (true, of == normal), "argon2id of {of:?}");
            let legacy = format!("sha256$salt${}", hex_hmac(b"salt", of.as_bytes()));
            assert_eq!(compare(&mut hasher, &legacy, typed), (true, false), "another of {of:?}");
        }
    }

    /// As Werkzeug made `sha256$salt$hex`: an HMAC under the salt.
    fn hex_hmac(salt: &[u8], password: &[u8]) -> String {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, salt);
        let tag = aws_lc_rs::hmac::sign(&key, password);
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn other_parameters_verify_and_ask_for_a_new_hash() {
        let reference = hasher_of(256, 2).hash("password");
        assert_eq!(compare(&mut hasher(), &reference, "password"), (true, false));
    }

    #[test]
    fn what_a_cheaper_hash_spares_is_done_after_it() {
        let params = |(memory, passes)| Params::new(memory, passes, 1, None).expect("sound parameters");
        let cases = [
            // Spent, today's, the rest.
            ((8, 1), (1024, 1), Some((1016, 1))),
            ((1024, 1), (1024, 2), Some((1024, 1))),
            ((512, 1), (1024, 3), Some((853, 3))),
            ((2048, 1), (1024, 3), Some((1024, 1))),
            ((1024, 2), (1024, 2), None),
            ((2048, 1), (1024, 2), None),
            ((2048, 2), (1024, 2), None),
            ((1020, 1), (1024, 1), None),
        ];
        for (spent, today, expected) in cases {
            let rest = rest_of_work(&params(spent), &params(today));
            let rest = rest.map(|rest| (rest.m_cost(), rest.t_cost()));
            assert_eq!(rest, expected, "{spent:?} of {today:?}");
        }
    }

    #[test]
    fn a_wrong_password_for_a_cheaper_hash_is_no_quicker_than_an_unknown_user() {
        let mut today = hasher_of(8192, 2);
        let mut time = |stored: Option<&str>| -> Duration {
            let began = processor_time();
            assert!(!today.verify(stored, "wrong").matches);
            processor_time() - began
        };
        for (memory, passes) in [(8, 1), (8192, 1), (4096, 2)] {
            let hash = hasher_of(memory, passes).hash("right");
            let (mut unknown, mut known) = (Duration::MAX, Duration::MAX);
            for _ in 0..15 {
                unknown = unknown.min(time(None));
                known = known.min(time(Some(&hash)));
            }
            assert!(known > unknown * 3 / 4, "{memory} KiB, {passes} passes: {known:?} of {unknown:?}");
        }
    }

    #[test]
    fn the_reference_vector_of_rfc_9106_style_phc_strings_verifies() {
        // From the reference implementation's own test suite (test.c, Argon2id, v=19, m=2^8, t=2, p=1).
        let hash = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        assert_eq!(compare(&mut hasher(), hash, "password"), (true, false));
        assert_eq!(compare(&mut hasher(), hash, "passwore"), (false, false));
    }

    #[test]
    fn what_can_not_be_used_is_refused_and_never_matches() {
        let dear = "$argon2id$v=19$m=2097152,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        assert_eq!(parse(dear).err(), Some(UnusableHash::TooDear));
        for bad in ["", "secret", "$argon2d$v=19$m=64,t=1,p=1$c29tZXNhbHQ$aaaaaaaaaaaaaaaa", "$2b$10$abc"] {
            assert_eq!(parse(bad).err(), Some(UnusableHash::UnknownFormat), "{bad}");
            assert!(!hasher().verify(Some(bad), bad).matches, "{bad}");
        }
        assert!(!hasher().verify(None, "").matches);
    }
}
