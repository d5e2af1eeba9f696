//! Pages in the operator's look and in the person's language.

use std::fs;
use std::path::Path;

use crate::browser::NAVIGATION;
use crate::harness::{Gateway, Upstream, run, wait_until};
use tempfile::TempDir;

const LOOK: &str = "portal:\n\
    \x20 title: { en: Come in, de: Herein }\n\
    \x20 theme: theme\n\
    \x20 logo: logo.svg\n\
    \x20 color: \"#ffcc00\"\n\
    \x20 message: Down on <Sunday>\n\
    \x20 footer: [{ text: Imprint, url: \"https://example.com/imprint\" }, Example Ltd]\n";

fn write(folder: &Path, name: &str, content: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
    fs::write(path, content).expect("it is written");
}

fn start(upstream: &Upstream) -> Gateway {
    let directory = tempfile::tempdir().expect("a folder");
    write(directory.path(), "logo.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>");
    write(directory.path(), "theme/extra.css", "main { border: 3px dashed red; }");
    write(directory.path(), "theme/texts/de.ftl", "login-submit = Rein da");
    write(directory.path(), "theme/assets/hill.svg", "<svg/>");
    Gateway::start_in(directory, &yaml(upstream))
}

fn yaml(upstream: &Upstream) -> String {
    format!(
        "{LOOK}upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, access: public, upstream: app }}]\n",
        upstream.address
    )
}

fn login(gateway: &Gateway, language: &str) -> String {
    let headers = [NAVIGATION, &[("accept-language", language)]].concat();
    gateway.get("/.auth/login", &headers).text()
}

#[test]
fn a_page_is_in_the_operators_look_and_the_persons_language() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let (english, german) = (login(&gateway, "en"), login(&gateway, "de-CH"));
    for part in [
        "<img class=\"logo\" src=\"data:image/svg+xml;base64,",
        "--accent: #ffcc00",
        "--on-accent: #000000",
        "border: 3px dashed red",
        "Down on &lt;Sunday&gt;",
        "<a href=\"https://example.com/imprint\">Imprint</a>",
        "<span>Example Ltd</span>",
    ] {
        assert!(english.contains(part) && german.contains(part), "{part}: {english}");
    }
    assert!(english.contains("<h1>Come in</h1>") && english.contains(">Sign in</button>"), "{english}");
    assert!(german.contains("<h1>Herein</h1>") && german.contains(">Rein da</button>"), "{german}");
    assert!(german.contains("<html lang=\"de\">"), "{german}");

    let asset = gateway.get("/.auth/theme/hill.svg", &[]);
    assert_eq!((asset.status, asset.header("content-type")), (200, Some("image/svg+xml")));
    assert!(asset.header("content-security-policy").is_some_and(|policy| policy.contains("sandbox")));
    let tag = asset.header("etag").expect("a tag").to_owned();
    let again = gateway.get("/.auth/theme/hill.svg", &[("if-none-match", &tag)]);
    assert_eq!((again.status, again.text().as_str()), (304, ""));
    for nothing in ["/.auth/theme/", "/.auth/theme/extra.css", "/.auth/theme/other.svg"] {
        assert_eq!(gateway.get(nothing, &[]).status, 404, "{nothing}");
    }
}

#[test]
fn a_choice_of_language_is_remembered_and_hidden_from_applications() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let chosen = gateway.get("/.auth/login?lang=de", NAVIGATION);
    let set = chosen.all("set-cookie").into_iter().find(|cookie| cookie.starts_with("foregate-language="));
    assert_eq!(
        set,
        Some("foregate-language=de; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"),
        "{chosen:?}"
    );
    let cookie = ("cookie", "a=b; foregate-language=de");
    let page = gateway.get("/.auth/nothing", &[NAVIGATION, &[cookie]].concat());
    assert!(page.text().contains("Seite nicht gefunden"), "{page:?}");
    gateway.get("/", &[cookie]);
    assert!(upstream.last().contains("cookie: a=b\r\n"), "{}", upstream.last());
    let json = gateway.get("/.auth/nothing", &[("accept", "application/json"), cookie]);
    assert_eq!(json.json()["title"], "Page not found", "programs read English");
}

#[test]
fn a_theme_that_changes_is_in_force_by_itself_and_a_faulty_one_is_refused() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let theme = gateway.directory().join("theme");
    write(&theme, "texts/en.ftl", "login-submit = Open up");
    wait_until(|| login(&gateway, "en").contains(">Open up</button>"), || gateway.log());
    write(
        &theme,
        "login.html",
        "{% extends \"base.html\" %}\n{% block main %}\n{{ t(\"login-submt\") }}\n{% endblock %}",
    );
    let check = gateway.command(&["check"], "");
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert_eq!(check.status.code(), Some(2), "{said}");
    assert!(
        said.contains("theme/login.html:3:4: there is no message `login-submt`")
            && said.contains("    3 | {{ t(\"login-submt\") }}"),
        "{said}"
    );
    gateway.wait_for_log("there is no message `login-submt`");
    assert!(login(&gateway, "en").contains(">Open up</button>"), "the good one stays");
}

#[test]
fn ours_is_written_out_to_begin_with() {
    let directory = TempDir::new().expect("a folder");
    let folder = directory.path().join("theme");
    let folder = folder.to_str().expect("UTF-8");
    let mut export = crate::harness::foregate();
    let written = run(export.args(["theme", "export", folder]), "");
    assert_eq!(written.status.code(), Some(0), "{written:?}");
    assert!(
        fs::read_to_string(format!("{folder}/login.html")).is_ok_and(|text| text.contains("view.username"))
    );
    let mut export = crate::harness::foregate();
    let again = run(export.args(["theme", "export", folder]), "");
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    let upstream = Upstream::start();
    fs::write(directory.path().join("logo.svg"), "<svg/>").expect("it is written");
    let gateway = Gateway::start_in(directory, &yaml(&upstream));
    assert!(login(&gateway, "de").contains(">Anmelden</button>"), "all of it together is a theme");
}
