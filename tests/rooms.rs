//! The house rules that a compiler doesn't know: imports point down, every room says what it is for,
//! and each library stays in the room that it was let into.

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms from the top down. A room may import those of lower lines, never along its own.
const LINES: [&[&str]; 9] = [
    &["main"],
    &["cli"],
    &["gateway"],
    &["config"],
    &["portal", "subrequest", "proxy", "admin"],
    &["gate", "account"],
    &["authn", "mail", "request", "route"],
    &["password", "policy", "store"],
    &["identity"],
];

/// Leaves: for every line down to this one, and importing nothing of ours.
const LEAVES: [&str; 2] = ["response", "telemetry"];
const LOWEST_WITH_LEAVES: usize = 6;

/// Which rooms may name a library; each could be replaced there.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("argon2", &["password/argon.rs"]),
    ("csv", &["cli/user"]),
    ("fluent_bundle", &["response/texts", "response/theme.rs"]),
    ("h2", &["proxy/streams.rs", "proxy/body/request.rs"]),
    ("hyper", &["gateway", "portal", "proxy", "admin", "cli/demo"]),
    ("indicatif", &["cli/user/import/report.rs"]),
    ("jsonwebtoken", &["authn/bearer.rs", "authn/bearer"]),
    ("lettre", &["mail.rs", "mail"]),
    ("listenfd", &["gateway/listener.rs"]),
    ("minijinja", &["response/pages", "response/theme.rs", "cli/demo"]),
    ("moka", &["authn/cache.rs", "authn/forged.rs"]),
    ("prometheus_client", &["telemetry/metrics"]),
    ("proxy_header", &["gateway/proxy_protocol.rs"]),
    ("reqwest", &["authn/issuer"]),
    // For keys that no client chooses.
    ("rustc_hash", &["proxy.rs", "telemetry/metrics"]),
    ("rustls", &["authn/issuer", "config/tls.rs", "gateway/tls", "proxy/tls.rs"]),
    ("rustls_native_certs", &["proxy/tls.rs"]),
    ("saphyr_parser", &["config/file.rs", "cli/user/import/authelia.rs"]),
    ("sd_notify", &["gateway/notify.rs"]),
    ("serde_yaml", &["config/file.rs"]),
    // `store.rs` names the room of that name.
    ("sled", &["store.rs", "store/sled"]),
    ("tokio_rustls", &["gateway/tls", "proxy/tls.rs", "proxy/wire.rs"]),
    ("unic_langid", &["response/texts.rs", "response/texts"]),
    ("unicode_security", &["identity/confusable.rs"]),
    ("utoipa", &["portal", "response/problem.rs"]),
    ("x509_parser", &["identity/certificate.rs", "proxy/tls.rs"]),
];

struct File {
    /// Below `src`, with `/`.
    path: String,
    text: String,
}

impl File {
    /// The first part of its path: the room that it belongs to.
    fn room(&self) -> &str {
        self.path.split('/').next().expect("a path has a part").trim_end_matches(".rs")
    }

    fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }

    /// The text without comments, up to the tests, which may look anywhere.
    fn code(&self) -> String {
        let code = self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
    }
}

fn files() -> Vec<File> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut files) = (vec![source.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src can be read") {
            let path: PathBuf = entry.expect("src can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file is text");
                let path =
                    path.strip_prefix(&source).expect("below src").to_string_lossy().replace('\\', "/");
                files.push(File { path, text });
            }
        }
    }
    assert!(files.len() > 50, "only {} files were found", files.len());
    files
}

fn line_of(room: &str) -> usize {
    let line = LINES.iter().position(|line| line.contains(&room));
    line.unwrap_or_else(|| panic!("`{room}` stands in no line of tests/rooms.rs"))
}

/// Names that follow `prefix` in a text.
fn names_after<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(prefix).map(move |(at, _)| {
        let rest = &text[at + prefix.len()..];
        &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())]
    })
}

#[test]
fn imports_point_down() {
    let mut faults = Vec::new();
    for file in files().iter().filter(|file| !file.is_test() && file.path != "lib.rs") {
        let room = file.room();
        let code = file.code();
        for other in names_after(&code, "crate::").filter(|other| *other != room && !other.is_empty()) {
            let allowed = if LEAVES.contains(&room) {
                false
            } else if LEAVES.contains(&other) {
                line_of(room) <= LOWEST_WITH_LEAVES
            } else {
                line_of(room) < line_of(other)
            };
            if !allowed {
                faults.push(format!("{} imports {other}", file.path));
            }
        }
    }
    assert!(faults.is_empty(), "imports that do not point down:\n{}", faults.join("\n"));
}

#[test]
fn only_the_composition_reads_the_configuration() {
    for file in files().iter().filter(|file| !["cli", "gateway", "config", "lib"].contains(&file.room())) {
        assert!(!file.code().contains("crate::config"), "{} imports config", file.path);
    }
}

#[test]
fn every_file_says_what_it_is_for_and_who_calls_it() {
    let mut faults = Vec::new();
    for file in files() {
        let header: String = file.text.lines().take_while(|line| line.starts_with("//!")).collect();
        let needs_callers = !file.is_test() && !["main.rs", "lib.rs"].contains(&&*file.path);
        if header.is_empty() || (needs_callers && !header.contains("Callers:")) {
            faults.push(file.path);
        }
    }
    assert!(faults.is_empty(), "no header, or one that does not name the callers:\n{}", faults.join("\n"));
}

#[test]
fn each_library_stays_in_its_rooms() {
    let mut faults = Vec::new();
    for file in files().iter().filter(|file| !file.is_test()) {
        let code = file.code();
        for &(library, homes) in LIBRARIES {
            let names = code.match_indices(&format!("{library}::")).any(|(at, _)| {
                // `crate::store::sled::…` is a room of ours.
                let before = &code[..at];
                let outermost = before.ends_with("use ::") || !before.ends_with("::");
                outermost && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
            });
            if names && !homes.iter().any(|home| file.path.starts_with(home)) {
                faults.push(format!("{} names {library}", file.path));
            }
        }
    }
    assert!(faults.is_empty(), "libraries outside of their rooms:\n{}", faults.join("\n"));
}

#[test]
fn nothing_is_unsafe_and_nothing_is_unfinished() {
    for file in files() {
        let code = file.code();
        for word in ["unsafe ", "todo!(", "unimplemented!(", "dbg!("] {
            assert!(!code.contains(word), "{} holds `{word}`", file.path);
        }
    }
}
