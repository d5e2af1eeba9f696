//! `tls`: what files it takes, what it says of others, and who may ask for a certificate.

use super::{parse, sound, told, with};

/// A key and a certificate in a folder, named by absolute paths.
fn with_certificate(names: &[&str]) -> (tempfile::TempDir, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let (cert, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    std::fs::write(&cert, made.cert.pem()).expect("it is written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("it is written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, mode).expect("the mode is set");
    (folder, cert.display().to_string(), key.display().to_string())
}

/// The one fault of a file with this `tls`, without the lines that show the place.
#[track_caller]
fn fault_of(tls: &str) -> (String, String) {
    let faults = parse(&with(tls)).map(drop).expect_err(tls);
    let mut faults = faults.iter();
    let fault = faults.next().expect("there is one");
    assert!(faults.next().is_none(), "{tls}: more than one fault");
    let (line, column) = fault.position().expect("it has a place");
    (format!("{line}:{column} {}", fault.message()), fault.expected().unwrap_or_default().to_owned())
}

#[test]
fn a_certificate_that_cannot_be_served_is_told_with_its_place() {
    let (folder, cert, key) = with_certificate(&["a.test"]);
    let (_other_folder, other, _) = with_certificate(&["b.test"]);
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("it is written");
        path.display().to_string()
    };
    let locked =
        write("locked", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let damaged = write("damaged", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    let lying = write("lying", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let empty = write("empty", "");
    let pair = |cert: &str, key: &str| {
        fault_of(&format!("tls:\n  certificates:\n    - cert: {cert}\n      key: {key}"))
    };
    let missing = "/nonexistent/tls.crt";
    for ((told, help), place, says, cure) in [
        (pair(missing, &key), "3:13", "there is no file `/nonexistent/tls.crt`", "in PEM"),
        (pair("/", &key), "3:13", "is a directory", "in PEM"),
        (pair(&key, &key), "3:13", "holds a key and no certificate", "in PEM"),
        (pair(&empty, &key), "3:13", "holds no certificate", "in PEM"),
        (pair(&damaged, &key), "3:13", "no PEM", "in PEM"),
        (pair(&lying, &key), "3:13", "in place of an X.509 certificate", "in PEM"),
        (pair(&cert, &cert), "4:12", "holds a certificate and no private key", "private key in PEM"),
        (pair(&cert, &empty), "4:12", "holds no private key", "private key in PEM"),
        (pair(&cert, &locked), "4:12", "is encrypted", "openssl pkey"),
        (pair(&other, &key), "4:12", "the key is not that of the certificate", "DNS:b.test"),
        (
            fault_of(&format!("tls: {{ certificates: [{{ key: {key} }}] }}")),
            "1:25",
            "`cert` is missing",
            "in PEM",
        ),
        (
            fault_of(&format!("tls: {{ certificates: [{{ cert: {cert} }}] }}")),
            "1:25",
            "`key` is missing",
            "in PEM",
        ),
        (fault_of("tls: { certificates: [] }"), "1:22", "can't be an empty list", "cert: tls.crt"),
    ] {
        assert!(told.starts_with(place) && told.contains(says) && help.contains(cure), "{told} | {help}");
    }
    let tls = format!("tls:\n  certificates: [{{ cert: {cert}, key: {key} }}]\n");
    for (more, place, says) in [
        ("  client_ca: /nonexistent/ca.pem", "3:14", "there is no file"),
        ("  redirect_from: 80", "3:18", "can't be `80`"),
        ("  redirect_from: 127.0.0.1:8080", "3:18", "can't be `127.0.0.1:8080`"),
        ("  hsts: forever", "3:9", "can't be `forever`"),
        ("  client_headers: { X-Cert: '{sbject}' }", "3:29", "can't be `{sbject}`"),
        ("  client_headers: { Remote-User: '{subject}' }", "3:3", "is an identity header"),
        ("public_url: http://a.test", "3:13", "can't be `http://a.test`"),
    ] {
        let (told, _) = fault_of(&format!("{tls}{more}"));
        assert!(told.starts_with(place) && told.contains(says), "{told}");
    }
    assert_eq!(sound(&with(&tls)).public_url.to_string(), "https://127.0.0.1:8080");
}

#[test]
fn a_certificate_that_browsers_will_refuse_is_warned_of() {
    let (_folder, cert, key) = with_certificate(&["a.test", "127.0.0.1"]);
    let (_other_folder, other, other_key) = with_certificate(&["a.test"]);
    let warnings = |text: &str| {
        let told = sound(&with(text)).warnings;
        told.iter().map(|warning| warning.message().to_owned()).collect::<Vec<_>>()
    };
    let tls = |head: &str| format!("{head}tls: {{ certificates: [{{ cert: {cert}, key: {key} }}] }}");
    assert_eq!(warnings(&tls("")), Vec::<String>::new());
    assert_eq!(
        warnings(&tls("public_url: https://b.test\n")),
        ["no certificate is for `b.test`, the host of `public_url`"]
    );
    assert_eq!(
        warnings(&tls("listen: unix:/run/a.sock\npublic_url: https://a.test\n")),
        ["`tls` is of no use: only Unix sockets are listened on"]
    );
    let two = format!(
        "tls: {{ certificates: [{{ cert: {cert}, key: {key} }}, {{ cert: {other}, key: {other_key} }}] }}"
    );
    assert_eq!(warnings(&two), ["an earlier certificate is for `a.test`, too, and is shown for it"]);
    for (from, until, says) in
        [(2000, 2001, "has expired: it held until 2001-"), (4000, 4001, "does not hold yet: from 4000-")]
    {
        let made = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(from, 1, 2);
        params.not_after = rcgen::date_time_ymd(until, 1, 2);
        let pem = params.self_signed(&made).expect("a certificate").pem();
        std::fs::write(&cert, &pem).expect("it is written");
        std::fs::write(&key, made.serialize_pem()).expect("it is written");
        let told = warnings(&tls(""));
        assert!(told.len() == 1 && told[0].contains(says), "{told:?}");
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&key, mode).expect("the mode is set");
    let told = warnings(&tls(""));
    assert!(
        told.contains(&"everybody on this machine may use the key: its mode is 644".to_owned()),
        "{told:?}"
    );
}

#[test]
fn a_certificate_can_be_required_only_where_one_is_asked_for() {
    let route = |rest: &str| format!("upstreams: {{ app: http://a:1 }}\nroutes: [{{ path: /, {rest} }}]\n");
    told(
        &route("require: { client_certificate: true }"),
        &[
            "foregate.yaml:2:32: nobody is asked for a certificate: `tls.client_ca` is not set",
            "    2 | routes: [{ path: /, require: { client_certificate: true } }]",
            "      |                                ^^^^^^^^^^^^^^^^^^ set it to a file with the certificates of your authorities",
        ],
    );
    sound(&route("require: { client_certificate: false }"));
    let (_folder, cert, key) = with_certificate(&["127.0.0.1"]);
    let tls = format!("tls: {{ certificates: [{{ cert: {cert}, key: {key} }}], client_ca: {cert} }}\n");
    let policy = |rest: &str| sound(&format!("{tls}{}", route(rest))).routes[0].policy.clone();
    assert!(matches!(policy("require: { client_certificate: true }"), crate::policy::Policy::Require(_)));
    for alone in ["client_certificate: { subjects: [robot], sans: ['*.a.test'] }", "networks: [10.0.0.0/8]"] {
        let policy = policy(&format!("access: public, require: {{ {alone} }}"));
        assert!(matches!(policy, crate::policy::Policy::PublicIf(_)), "{policy:?}");
    }
    for not_alone in ["client_certificate: true, roles: [a]", "client_certificate: false", "roles: []"] {
        let text = format!("{tls}{}", route(&format!("access: public, require: {{ {not_alone} }}")));
        let faults = parse(&text).map(drop).expect_err(not_alone).to_string();
        assert!(faults.contains("`access: public` lets everybody in, and `require` does not"), "{faults}");
    }
    for faulty in ["maybe", "{ subjects: [''] }", "{ sans: ['*'] }", "{ subject: [a] }"] {
        let text = format!("{tls}{}", route(&format!("require: {{ client_certificate: {faulty} }}")));
        assert!(parse(&text).is_err(), "{faulty}");
    }
}

#[test]
fn a_route_cannot_change_what_is_told_of_a_certificate() {
    let (_folder, cert, key) = with_certificate(&["127.0.0.1"]);
    let tls = format!(
        "tls: {{ certificates: [{{ cert: {cert}, key: {key} }}], client_headers: {{ Robot: '{{subject}}' }} }}\n"
    );
    for (name, is_told) in
        [("robot", true), ("X-Client-Cert-Subject", true), ("SSL_Client_Verify", true), ("X-Robot", false)]
    {
        let text = format!(
            "{tls}upstreams: {{ app: http://a:1 }}\nroutes: [{{ path: /, upstream: app, headers: {{ {name}: root }} }}]\n"
        );
        match parse(&text) {
            Ok(_) => assert!(!is_told, "{name}"),
            Err(faults) => {
                let faults = faults.to_string();
                assert!(is_told && faults.contains(&format!("a route can't change `{name}`")), "{faults}");
            }
        }
    }
}
