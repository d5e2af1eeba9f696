//! Accounts brought along from elsewhere and taken out again: files of every kind, good and bad.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Gateway, PASSWORD, Upstream, foregate, run};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// A configuration, a store that nobody has open, and files to import.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        folder.file(
            "foregate.yaml",
            "listen: 127.0.0.1:0\nstore: sled:./data\npassword: { argon2: { memory: 7MiB, iterations: 1 } }\n\
             upstreams: { app: \"http://127.0.0.1:9\" }\nroutes: [{ path: /**, upstream: app }]\n",
        );
        folder
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).expect("it is written");
        path.to_str().expect("text").to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Output {
        run(foregate().arg("--config").arg(self.path("foregate.yaml")).args(arguments), "")
    }

    /// Imports a file with this content; gives exit code, standard output and standard error.
    fn import(
        &self,
        name: &str,
        content: impl AsRef<[u8]>,
        options: &[&str],
    ) -> (Option<i32>, String, String) {
        let file = self.file(name, content);
        let output = self.command(&[&["user", "import", &file], options].concat());
        (output.status.code(), stdout(&output), stderr(&output))
    }

    fn names(&self) -> Vec<String> {
        names(&stdout(&self.command(&["user", "export"])))
    }
}

fn names(export: &str) -> Vec<String> {
    let name = |line: &str| {
        let account: Value = serde_json::from_str(line).expect("a line is JSON");
        account["username"].as_str().expect("a name").to_owned()
    };
    export.lines().map(name).collect()
}

/// A hash of `PASSWORD` as another application would have it.
fn sha256_hash() -> String {
    // HMAC-SHA-256 keyed with the salt, as old Werkzeug made it.
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"salt");
    let tag = aws_lc_rs::hmac::sign(&key, PASSWORD.as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256$salt${hex}")
}

#[test]
fn what_is_imported_signs_in_and_comes_out_as_it_went_in() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, "");
    let hash = sha256_hash();
    let file = gateway.directory().join("users.csv");
    let content = format!(
        "\u{feff}Username,email,name,roles,password_hash,disabled\r\n\
         alice,Alice@example.com,\"Liddell, \"\"Alice\"\"\",staff; admin,{hash},\r\n\
         \r\n\
         zoë,,,,{hash},1\r\n\
         bob,\\N,,,,no\r\n"
    );
    std::fs::write(&file, content).expect("it is written");
    let file = file.to_str().expect("text");
    let output = gateway.command(&["user", "import", file], "");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stdout(&output), "", "there is no data to print");
    let told = stderr(&output);
    assert!(told.contains("3 accounts imported.") && told.contains("1 account without a password"), "{told}");

    let schemes = || -> Value {
        serde_json::from_str(&stdout(&gateway.command(&["user", "schemes", "--json"], ""))).expect("JSON")
    };
    assert_eq!(schemes(), json!({"accounts": 3, "without_password": 1, "schemes": {"HMAC-SHA": 2}}));
    let exported = stdout(&gateway.command(&["user", "export"], ""));
    assert_eq!(
        exported.lines().next().expect("a line"),
        format!(
            r#"{{"username":"alice","email":"Alice@example.com","name":"Liddell, \"Alice\"","roles":["admin","staff"],"password_hash":"{hash}","disabled":false}}"#
        )
    );

    assert_eq!(gateway.sign_in_with("alice", "wrong password").status, 401);
    gateway.sign_in("ALICE@example.com");
    assert_eq!(gateway.sign_in_with("zoë", PASSWORD).status, 401, "disabled as it came");
    assert_eq!(gateway.sign_in_with("bob", "none").status, 401);
    assert_eq!(
        schemes(),
        json!({"accounts": 3, "without_password": 1, "schemes": {"Argon2id": 1, "HMAC-SHA": 1}})
    );
    let table = gateway.command(&["user", "schemes"], "");
    assert_eq!(
        stdout(&table),
        "SCHEME      ACCOUNTS\nArgon2id           1\nHMAC-SHA           1\nno password        1\n"
    );
    assert!(stderr(&table).contains("1 not on Argon2id yet"), "{table:?}");
    let shown = stdout(&gateway.command(&["user", "show", "zoë"], ""));
    assert!(shown.contains("Password  set (HMAC-SHA)\n"), "{shown}");
    assert!(!gateway.log().contains(&hash), "{}", gateway.log());

    // Whoever still waits comes along, too.
    let waiting = gateway.directory().join("waiting.jsonl");
    let line = r#"{"username":"wanda","email":"w@example.com","awaits":["confirmation","approval"],"language":"de-AT"}"#;
    std::fs::write(&waiting, line).expect("it is written");
    let output = gateway.command(&["user", "import", waiting.to_str().expect("text")], "");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let exported = stdout(&gateway.command(&["user", "export", "--format", "csv"], ""));
    assert!(
        exported.starts_with("username,email,name,roles,password_hash,disabled,awaits,language\n"),
        "{exported}"
    );
    assert!(exported.contains("\nwanda,w@example.com,,,,false,approval;confirmation,de-AT\n"), "{exported}");

    // Out of the running server and into the store of another, in both formats, and out again.
    for format in ["jsonl", "csv"] {
        let first = stdout(&gateway.command(&["user", "export", "--format", format], ""));
        let folder = Folder::new();
        let (code, _, told) = folder.import(&format!("again.{format}"), &first, &[]);
        assert_eq!(code, Some(0), "{told}");
        let second = stdout(&folder.command(&["user", "export", "--format", format]));
        assert_eq!(first, second);
    }
}

#[test]
fn a_faulty_line_is_told_by_its_number_and_nothing_is_imported() {
    let folder = Folder::new();
    assert_eq!(folder.import("one.csv", "username,email\nold,old@example.com\n", &[]).0, Some(0));
    let hash = sha256_hash();
    let csv = format!(
        "username,email,password_hash,disabled,roles,name\n\
         good,,{hash},,,\n\
         \n\
         a@b,,,,,\n\
         GOOD,,,,,\n\
         x,nonsense,,perhaps,a|b,\"two\nlines\"\n\
         y,OLD@example.com,,,,\n\
         Old,,,,,\n\
         h,,hunter2,,,\n\
         d,,pbkdf2:sha256:4000000000$salt$aabbccddeeff00112233445566778899,,,\n\
         too,few\n\
         ,,,,,"
    );
    let expected: &[(u64, &[&str])] = &[
        (4, &["a username has 1 to 128 characters"]),
        (5, &["the username stands on line 2 already"]),
        (
            6,
            &[
                "`disabled` has to be true or false",
                "an e-mail address looks like",
                "a role has",
                "a display name has",
            ],
        ),
        (8, &["another account has this e-mail address already"]),
        (9, &["another account has this username already"]),
        (10, &["the hash is in no known format"]),
        (11, &["more than 1 GiB of memory or 10 s of work"]),
        (12, &["there are 2 columns, and the first line names 6"]),
        (13, &["there is no username"]),
    ];
    for options in [&[][..], &["--dry-run"], &["--dry-run", "--json"], &["--json"]] {
        let (code, out, told) = folder.import("faulty.csv", &csv, options);
        assert_eq!(code, Some(1), "{told}");
        assert_eq!(folder.names(), ["old"], "nothing was imported");
        assert!(!told.contains("hunter2") && !out.contains("hunter2"), "{told}{out}");
        let lines: Vec<(u64, String)> = if options.contains(&"--json") {
            let report: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"));
            assert_eq!(
                (&report["imported"], &report["lines"], &report["skipped"]),
                (&json!(0), &json!(10), &json!(0))
            );
            let rejected = report["rejected"].as_array().expect("a list").iter();
            rejected.map(|one| (one["line"].as_u64().expect("a number"), one["reason"].to_string())).collect()
        } else {
            assert_eq!(out, "");
            told.lines()
                .filter_map(|line| line.strip_prefix("line ")?.split_once(": "))
                .map(|(line, reason)| (line.parse().expect("a number"), reason.to_owned()))
                .collect()
        };
        assert_eq!(lines.len(), expected.len(), "{told}{out}");
        for ((line, reason), (number, says)) in lines.iter().zip(expected) {
            assert_eq!(line, number, "{reason}");
            assert!(says.iter().all(|says| reason.contains(says)), "{line}: {reason}");
        }
        assert!(
            told.contains("9 of 10 lines") && told.contains("--partial") && told.contains("--skip-existing"),
            "{told}"
        );
    }

    let (code, out, told) = folder.import("faulty.csv", &csv, &["--partial", "--dry-run", "--json"]);
    assert_eq!((code, folder.names().len()), (Some(0), 1), "{told}");
    assert!(out.contains("\"imported\":0") && out.contains("\"dry_run\":true"), "{out}");
    let (code, _, told) = folder.import("faulty.csv", &csv, &["--partial"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("1 account imported; 9 lines were rejected."), "{told}");
    assert_eq!(folder.names(), ["good", "old"]);
    // Once more: with nothing left to import it has failed, unless those that are there may be.
    assert_eq!(folder.import("faulty.csv", &csv, &["--partial"]).0, Some(1));
    let (code, out, _) = folder.import("faulty.csv", &csv, &["--partial", "--skip-existing", "--json"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("\"imported\":0,\"skipped\":2"), "{out}");
}

#[test]
fn a_file_that_is_something_else_says_what_was_expected() {
    let folder = Folder::new();
    let long = "x".repeat(200_000);
    let open_quote = format!("username,name\nalice,\"Alice\nbob,Bob\n{long}");
    let cases: &[(&str, &[u8], &str)] = &[
        (
            "empty.csv",
            b"",
            "line 1: the file is empty: expected username,email,name,roles,password_hash,disabled",
        ),
        (
            "headless.csv",
            b"alice,alice@example.com,$2b$10$secret\n",
            "doesn't name the columns: expected username,",
        ),
        (
            "german.csv",
            b"username;email\nalice;a@example.com\n",
            "separated by semicolons; commas are expected",
        ),
        (
            "unknown.csv",
            b"username,passwort_hash,$2b$10$secret,age\n",
            "unknown column `passwort_hash` (did you mean `password_hash`?), number 3, `age`",
        ),
        ("twice.csv", b"username,email,EMAIL\n", "the column `email` is there twice"),
        ("nameless.csv", b"email,name\n", "there is no column `username`"),
        ("wide.csv", b"\xff\xfeu\0s\0e\0r\0", "the file is UTF-16; save it as UTF-8"),
        ("wide.jsonl", b"\xff\xfe{\0\n", "the file is UTF-16; save it as UTF-8"),
        (
            "quote.csv",
            open_quote.as_bytes(),
            "line 2: the quote that opens here is not closed within 65536 bytes",
        ),
        ("long.jsonl", long.as_bytes(), "line 1: the line is longer than 65536 bytes"),
        ("list.yml", b"users: [alice]\n", "line 1: expected a name for each person under `users:`"),
        ("other.yml", b"upstreams: { a: b }\n", "line 1: expected `users:` alone"),
        ("torn.yml", b"users:\n  a: {b\n", "this is not YAML"),
        (
            "alias.yml",
            b"users:\n  a: &x { password: y }\n  b: { password: *x }\n",
            "an alias (`*name`) is not taken here",
        ),
    ];
    for (name, content, says) in cases {
        let (code, out, told) = folder.import(name, content, &[]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{name}: {told}");
        assert!(told.contains(says) && told.contains(name), "{name}: {told}");
        assert!(!told.contains("secret"), "{told}");
    }
    assert!(folder.names().is_empty());
    let (code, _, told) = folder.import("users.txt", "", &[]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("--format"), "{told}");
    let output = folder.command(&["user", "import", "/nowhere.csv"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let output =
        folder.command(&["user", "import", folder.0.path().to_str().expect("text"), "--format", "csv"]);
    assert!(output.status.code() == Some(1) && stderr(&output).contains("no regular file"), "{output:?}");
}

#[test]
fn a_quote_that_is_not_closed_is_told_with_the_line_where_it_opens() {
    let folder = Folder::new();
    for (content, says) in [
        (
            "username,name,email\nalice,\"Alice, of\nthe West\",\"a@example.com\nbob,Bob,\n",
            "line 3: the quote that opens here is never closed",
        ),
        (
            "username,name\nalice,\"Alice\nbob,\"Bob\",x\ncarol,Carol\n",
            "the quote that opens on line 2 is closed on line 3: is one missing between them?",
        ),
    ] {
        let (code, _, told) = folder.import("quote.csv", content, &[]);
        assert!(code == Some(1) && told.contains(says), "{told}");
    }
    let fine = "username,name\r\nalice,\"A \"\"x\"\", B\"\r\n\"bob\",\"\"";
    let (code, _, told) = folder.import("fine.csv", fine, &[]);
    assert_eq!((code, folder.names().join(" ").as_str()), (Some(0), "alice bob"), "{told}");
}

#[test]
fn json_lines_an_authelia_users_file_and_htpasswd_are_read() {
    let folder = Folder::new();
    let hash = sha256_hash();
    let (code, out, told) = folder.import(
        "users.jsonl",
        format!(
            "\u{feff}{{\"username\":\"alice\",\"roles\":[\"a\",\"b\"],\"password_hash\":\"{hash}\"}}\r\n\n\
             {{\"username\":\"bob\",\"email\":null,\"disabled\":true}}\n\
             {{\"username\":\"bob\"\n\
             [\"bob\"]\n\
             {{\"username\":7}}\n\
             {{\"username\":\"x\",\"rolles\":[]}}\n\
             {{\"username\":\"x\",\"username\":\"y\"}}\n\
             {{\"username\":\"z\",\"roles\":\"{hash}\",\"disabled\":0}}\n"
        ),
        &["--partial", "--json"],
    );
    assert_eq!(code, Some(0), "{told}");
    let report: Value = serde_json::from_str(&out).expect("JSON");
    let reasons: Vec<_> = report["rejected"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| format!("{}: {}", one["line"], one["reason"].as_str().expect("a text")))
        .collect();
    assert_eq!(
        reasons,
        [
            "4: the line is not JSON: it ends too early",
            "5: the line is no JSON object",
            "6: `username` has to be a string; there is no username",
            "7: unknown member `rolles` (did you mean `roles`?); known are username, email, name, roles, password_hash, disabled, awaits, language",
            "8: the member `username` is there twice",
            "9: `roles` has to be a list of strings; `disabled` has to be true or false",
        ]
    );

    let authelia = format!(
        "---\nusers:\n  john:\n    disabled: false\n    displayname: 'John Doe'\n    password: '{hash}' # none\n    \
         email: john@example.com\n    groups:\n      - admins\n      - dev\n    phone_number: '1'\n    address: {{ street: x }}\n  \
         harry: {{ password: \"{hash}\", disabled: true, groups: [] }}\n  \
         odd: {{ password: {{}}, groups: x, colour: red }}\n  mail@example.com: {{}}\n"
    );
    let (code, out, told) = folder.import("users_database.yml", authelia, &["--partial", "--json"]);
    assert_eq!(code, Some(0), "{told}");
    let report: Value = serde_json::from_str(&out).expect("JSON");
    let rejected = report["rejected"].to_string();
    assert!(
        rejected.contains("`password` has to be one text; `groups` has to be a list; unknown key `colour`"),
        "{rejected}"
    );
    assert_eq!(
        (&report["imported"], &report["rejected"][0]["line"], &report["rejected"][1]["line"]),
        (&json!(2), &json!(14), &json!(15)),
        "{rejected}"
    );

    let htpasswd = format!(
        "# people\ncarol:{{SHA}}rJD/5olTxW7AqKHZorModWn6ltY=\n\ndave:{hash}:a comment\nerin\nfrank:\ngina:plain\n"
    );
    let (code, out, told) = folder.import(".htpasswd", htpasswd, &["--partial", "--json"]);
    assert_eq!(code, Some(0), "{told}");
    let report: Value = serde_json::from_str(&out).expect("JSON");
    let lines: Vec<_> =
        report["rejected"].as_array().expect("a list").iter().map(|one| one["line"].as_u64()).collect();
    assert_eq!(lines, [Some(5), Some(6), Some(7)], "{out}");

    assert_eq!(folder.names(), ["alice", "bob", "carol", "dave", "harry", "john"]);
    let john: Value =
        serde_json::from_str(&stdout(&folder.command(&["user", "show", "john", "--json"]))).expect("JSON");
    assert_eq!(
        (&john["name"], &john["email"], &john["roles"], &john["disabled"]),
        (&json!("John Doe"), &json!("john@example.com"), &json!(["admins", "dev"]), &json!(false))
    );
    let harry: Value =
        serde_json::from_str(&stdout(&folder.command(&["user", "show", "harry", "--json"]))).expect("JSON");
    assert_eq!(harry["disabled"], json!(true));
}

#[test]
fn an_export_into_a_file_is_nobody_elses_to_read_and_is_whole_or_not_there() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    assert_eq!(
        folder.import("users.csv", format!("username,password_hash\nalice,{}\n", sha256_hash()), &[]).0,
        Some(0)
    );
    let file = folder.file("out.jsonl", "older, and readable by all");
    let output = folder.command(&["user", "export", "--output", &file]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), ""), "{output:?}");
    assert_eq!(std::fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    assert_eq!(names(&std::fs::read_to_string(&file).expect("text")), ["alice"]);
    let output =
        folder.command(&["user", "export", "--output", folder.path("no/such").to_str().expect("text")]);
    assert!(
        output.status.code() == Some(1) && stderr(&output).contains("no/such can't be written"),
        "{output:?}"
    );
    let output = folder.command(&["user", "export", "--format", "csv"]);
    assert!(
        stdout(&output).starts_with("username,email,name,roles,password_hash,disabled\nalice,"),
        "{output:?}"
    );
    let left: Vec<_> = std::fs::read_dir(folder.0.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name.to_string_lossy().ends_with(".tmp"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// So many accounts as CSV.
fn many(count: usize) -> String {
    let hash = sha256_hash();
    let mut csv = "username,email,name,roles,password_hash\n".to_owned();
    for n in 0..count {
        csv += &format!("user{n},user{n}@example.com,User Number {n},staff,{hash}\n");
    }
    csv
}

#[test]
fn an_import_that_is_killed_leaves_whole_accounts_and_goes_on_where_it_was() {
    const COUNT: usize = 20_000;
    let folder = Folder::new();
    let file = folder.file("many.csv", many(COUNT));
    let mut child = foregate()
        .arg("--config")
        .arg(folder.path("foregate.yaml"))
        .args(["user", "import", &file, "--partial"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    // The size of the log says that it is in the middle of it.
    let log = folder.path("data/db");
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::fs::metadata(&log).map_or(0, |found| found.len()) < 2_000_000 {
        assert!(Instant::now() < deadline, "nothing was imported");
        assert!(child.try_wait().expect("a child").is_none(), "it was over too soon");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");

    let before = folder.names().len();
    assert!(before > 0 && before < COUNT, "{before}");
    let output = folder.command(&["user", "import", &file, "--skip-existing", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(
        (report["imported"].as_u64(), report["skipped"].as_u64()),
        (Some((COUNT - before) as u64), Some(before as u64))
    );
    assert_eq!(folder.names().len(), COUNT);
}

#[test]
fn people_sign_in_while_thousands_are_imported_through_the_server() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(upstream.address, "");
    gateway.add_user("first", &[]);
    let file = gateway.directory().join("many.csv");
    std::fs::write(&file, many(10_000)).expect("it is written");
    let mut child = foregate()
        .arg("--config")
        .arg(&gateway.config)
        .args(["user", "import", "--json"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut logins = 0;
    while child.try_wait().expect("a child").is_none() {
        gateway.sign_in("first");
        logins += 1;
    }
    let output = child.wait_with_output().expect("its output");
    assert!(stdout(&output).contains("\"imported\":10000,\"skipped\":0"), "{output:?}");
    assert!(logins > 3, "{logins} logins");
    gateway.sign_in("user9999@example.com");
}

#[test]
#[ignore = "measures, for minutes"]
fn a_hundred_thousand_accounts() {
    let count = std::env::var("COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(100_000);
    let folder = Folder::new();
    let file = folder.file("many.csv", many(count));
    for options in [&["--dry-run"][..], &[], &["--skip-existing"]] {
        let started = Instant::now();
        let mut command = std::process::Command::new("/usr/bin/env");
        command.arg(env!("CARGO_BIN_EXE_foregate")).arg("--config").arg(folder.path("foregate.yaml"));
        let output = run(command.args(["user", "import", &file]).args(options), "");
        assert!(output.status.success(), "{output:?}");
        let took = started.elapsed();
        writeln!(std::io::stderr(), "{options:?}: {took:?}: {}", stderr(&output).trim()).expect("stderr");
    }
    let started = Instant::now();
    assert_eq!(folder.names().len(), count);
    let size = size(&folder.path("data"));
    writeln!(std::io::stderr(), "export: {:?}; the store has {size} bytes", started.elapsed())
        .expect("stderr");
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries.map(|entry| entry.metadata().expect("a file").len()).sum()
}

#[test]
fn one_damaged_account_hides_no_other_and_is_told_with_its_key() {
    let folder = Folder::new();
    for name in ["alice", "Bob", "carol"] {
        let email = format!("{}@example.com", name.to_lowercase());
        let email = if name == "Bob" { &["--email", &email][..] } else { &[] };
        let hash = sha256_hash();
        let added = folder.command(&[&["user", "add", name, "--password-hash", &hash], email].concat());
        assert!(added.status.success(), "{added:?}");
    }
    let id = {
        let db = sled::open(folder.path("data")).expect("an engine");
        let entry = db.get("Nbob").expect("a read").expect("an entry");
        let row = [b"U", &entry[..]].concat();
        assert!(db.insert(row, b"?").expect("a row").is_some());
        db.flush().expect("a flush");
        entry.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let file = folder.path("users.jsonl");
    let file = file.to_str().expect("a path");
    for (arguments, shown) in [
        (&["user", "list"][..], &["alice", "carol"][..]),
        (&["user", "list", "--json"], &["alice", "carol"]),
        (&["user", "export"], &["alice", "carol"]),
        (&["user", "export", "--format", "csv"], &["alice", "carol"]),
        (&["user", "export", "--output", file], &[]),
        (&["user", "schemes"], &["2"]),
    ] {
        let output = folder.command(arguments);
        let (out, told) = (stdout(&output), stderr(&output));
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(shown.iter().all(|name| out.contains(name)) && !out.contains("bob"), "{arguments:?}: {out}");
        assert_eq!(told.matches("account `bob` (key ").count(), 1, "{arguments:?}: {told}");
        assert!(told.replace('-', "").contains(&id) && told.contains("1 account was left out"), "{told}");
    }
    assert_eq!(names(&std::fs::read_to_string(file).expect("the others are in it")), ["alice", "carol"]);

    // Without a backup it can be taken away, and its name and address are free again.
    let shown = folder.command(&["user", "show", "Bob"]);
    assert!(
        !shown.status.success() && stderr(&shown).contains("foregate user delete Bob --yes"),
        "{shown:?}"
    );
    let gone = folder.command(&["user", "delete", "bob@example.com", "--yes"]);
    assert!(gone.status.success(), "{gone:?}");
    let added = folder.command(&[
        "user",
        "add",
        "bob",
        "--email",
        "bob@example.com",
        "--password-hash",
        &sha256_hash(),
    ]);
    assert!(added.status.success(), "{added:?}");
    assert_eq!(folder.names(), ["alice", "bob", "carol"]);
    let db = sled::open(folder.path("data")).expect("an engine");
    for (table, left) in [("U", 3), ("N", 3), ("E", 1)] {
        assert_eq!(db.scan_prefix(table).count(), left, "{table}");
    }
}
