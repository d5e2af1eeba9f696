//! TLS as others judge it: testssl.sh, which tries what is known to go wrong, and curl.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CrlDistributionPoint, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256,
    SignatureAlgorithm,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Gateway, Upstream};
use crate::program::{directory, system};

/// A gateway for `localhost`, and the file with the authority that its certificate is of.
struct Site {
    authority: PathBuf,
    gateway: Gateway,
    folder: TempDir,
    _upstream: Upstream,
}

impl Site {
    fn start(algorithm: &'static SignatureAlgorithm) -> Self {
        let (folder, upstream) = (directory(), Upstream::start());
        let authority = write_certificates(folder.path(), algorithm);
        let own = directory();
        for name in ["tls.crt", "tls.key", "ca.pem"] {
            std::fs::copy(folder.path().join(name), own.path().join(name)).expect("it is copied");
        }
        let gateway = Gateway::start_in(
            own,
            &format!(
                "public_url: https://localhost\ntls: {{ certificates: [{{ cert: tls.crt, key: tls.key }}], client_ca: ca.pem }}\n\
                 upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, access: public, upstream: app }}]\n",
                upstream.address
            ),
        );
        Self { authority, gateway, folder, _upstream: upstream }
    }
}

/// A gateway over TLS for `localhost`; the authority that its certificate is of lies in its folder.
pub(crate) fn over_tls(yaml: &str) -> Gateway {
    let folder = directory();
    write_certificates(folder.path(), &PKCS_ECDSA_P256_SHA256);
    Gateway::start_in(
        folder,
        &format!("tls: {{ certificates: [{{ cert: tls.crt, key: tls.key }}] }}\n{yaml}"),
    )
}

/// Where the authority of such a gateway lies.
pub(crate) fn authority(gateway: &Gateway) -> PathBuf {
    gateway.directory().join("ca.pem")
}

/// As a careful operator has them: 90 days, the usages named, and a place for revocations.
pub(crate) fn write_certificates(folder: &Path, algorithm: &'static SignatureAlgorithm) -> PathBuf {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, "Test Root");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(params, key).expect("a certificate");

    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let revocations = vec!["http://ca.test/list.crl".to_owned()];
    params.crl_distribution_points = vec![CrlDistributionPoint { uris: revocations }];
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    let now = std::time::SystemTime::now();
    (params.not_before, params.not_after) = ((now - day).into(), (now + 89 * day).into());
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate_for(algorithm).expect("a key");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("it is written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("its mode is set");
        path
    };
    write("tls.crt", &certificate.pem());
    write("tls.key", &key.serialize_pem());
    write("ca.pem", &authority.pem())
}

/// What testssl.sh finds above "low".
fn findings(address: SocketAddr, authority: &Path, folder: &Path) -> Vec<String> {
    let report = folder.join("report.json");
    let mut command = system("testssl");
    command.args(["--quiet", "--color", "0", "--warnings", "off", "--severity", "MEDIUM", "--nodns", "none"]);
    command.arg("--add-ca").arg(authority).arg("--jsonfile").arg(&report);
    // What an application says in its headers is its own affair; the login page is ours.
    let page = format!("https://localhost:{}/.auth/login", address.port());
    let output = command.arg(page).output().expect("testssl runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("Rating (experimental)") || said.contains(" Done "),
        "it did not come to its end:\n{said}"
    );
    // That it looked at all: what is said of a sound server.
    for line in ["TLS 1.3    offered (OK)", "TLS 1.1    not offered", "Strict Transport Security    365 days"]
    {
        assert!(said.contains(line), "it does not say {line:?}:\n{said}");
    }
    let report = std::fs::read_to_string(&report).expect("it reports");
    let found: Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"));
    let is_fault = |finding: &&Value| {
        // WARN is for what it could not look at by itself, such as GOST.
        !["OK", "INFO", "LOW", "WARN", "DEBUG"].contains(&finding["severity"].as_str().unwrap_or_default())
    };
    found.as_array().expect("a list").iter().filter(is_fault).map(Value::to_string).collect()
}

#[test]
#[ignore = "heavy: two minutes for each kind of key"]
fn heavy_testssl_finds_nothing_above_low() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_RSA_SHA256] {
        let site = Site::start(algorithm);
        let found = findings(site.gateway.address, &site.authority, site.folder.path());
        assert!(found.is_empty(), "{algorithm:?}: {found:#?}");
        assert!(!site.gateway.log().contains("panicked"), "{}", site.gateway.log());
    }
}

#[test]
fn curl_believes_the_certificate_by_its_authority_alone() {
    let site = Site::start(&PKCS_ECDSA_P256_SHA256);
    let url = format!("https://localhost:{}/", site.gateway.address.port());
    let curl = |arguments: &[&str]| {
        let mut command = system("curl");
        command.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*"]).args(arguments);
        command.arg(&url).output().expect("curl runs")
    };
    let authority = site.authority.display().to_string();
    for version in [&["--tlsv1.2", "--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        let output = curl(&[&["--cacert", &authority], version].concat());
        assert_eq!(output.stdout, b"hello", "{version:?}: {output:?}");
    }
    let output = curl(&[]);
    assert_eq!(output.status.code(), Some(60), "nobody knows the authority: {output:?}");
}
