//! What a theme may be, what it may not, and what it looks like.

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;

use super::*;
use crate::response::{Asker, Problem};

fn files(files: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
}

fn faults(of: &[(&str, &str)]) -> Vec<String> {
    let faults = Theme::parse(files(of)).expect_err("a faulty theme");
    let place = |fault: &ThemeFault| {
        fault.place.map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default()
    };
    faults.iter().map(|fault| format!("{}{}: {}", fault.file, place(fault), fault.message)).collect()
}

/// A page with this theme, in this language.
async fn page(of: &[(&str, &str)], language: &'static str) -> (HeaderMap, String) {
    let theme = Theme::parse(files(of)).unwrap_or_else(|faults| panic!("{faults:?}"));
    let look = Look { theme: Arc::new(theme), ..Look::default() };
    let pages = Pages::new(PageSettings { prefix: "/.auth".into(), look });
    let headers = [("accept", "text/html"), ("accept-language", language)];
    let headers = headers
        .into_iter()
        .map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value)));
    let asker = Asker::new(&Method::GET, &headers.collect(), HeaderValue::from_static("id-1"));
    let (parts, body) = Problem::not_found().respond(&asker, &pages).into_parts();
    assert_eq!(parts.status, StatusCode::NOT_FOUND);
    let bytes = body.collect().await.expect("a body").to_bytes();
    (parts.headers, String::from_utf8(bytes.into()).expect("UTF-8"))
}

#[test]
fn what_is_written_out_is_a_theme() {
    let ours = Theme::built_in();
    assert!(
        ours.iter().any(|(name, _)| name == "login.html")
            && ours.iter().any(|(name, _)| name == "texts/de.ftl")
    );
    let files = ours.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    assert!(Theme::parse(files).is_ok_and(|theme| theme.has_pages()));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (theme, expected) in [
        (&[("logn.html", "")][..], vec!["logn.html: means nothing in a theme"]),
        (&[("form.js", "")], vec!["form.js: means nothing in a theme"]),
        (&[("texts/fr.ftl", "")], vec!["texts/fr.ftl: means nothing in a theme"]),
        (&[("assets/a.html", "")], vec!["assets/a.html: is of no kind that is served"]),
        (&[("assets/a/b.png", "")], vec!["assets/a/b.png: is of no kind that is served"]),
        (&[("login.html", "a\n{% if %}")], vec!["login.html:2:1: can't be parsed: unexpected end of block"]),
        (
            &[("login.html", "a\n b {{ t(\"no-such\") }}")],
            vec!["login.html:2:7: there is no message `no-such`"],
        ),
        (&[("extra.css", "a{}\n</style><script>")], vec!["extra.css:2:1: `</` or `<!--` in a style"]),
        (
            &[("texts/en.ftl", "no-such = x")],
            vec!["texts/en.ftl:1:1: there is no message `no-such` to be replaced"],
        ),
        (
            &[("texts/de.ftl", "# x\nlogin-remember = { $duration } lang")],
            vec!["texts/de.ftl:2:1: the message `login-remember` is given no `$duration`"],
        ),
        (&[("texts/de.ftl", "login-remember = {")], vec!["texts/de.ftl:1:19: is no Fluent: "]),
        (
            &[("base.html", "x\n{{ nothing }}")],
            vec!["base.html:2:1: the page of a problem can't be rendered with it: undefined value"],
        ),
        (
            &[(
                "login.html",
                "{% extends \"base.html\" %}\n{% block main %}{{ view.nothing }}{% endblock %}",
            )],
            vec!["login.html:2:1: the login page can't be rendered with it: undefined value"],
        ),
        (
            &[(
                "login.html",
                "{% extends \"base.html\" %}{% block main %}<form method=\"post\">{% endblock %}",
            )],
            vec!["login.html: the form of the login page has no token, and would be refused"],
        ),
        (
            &[(
                "login.html",
                "{% extends \"base.html\" %}{% block main %}<p>{{ view.csrf_token }}</p><FORM METHOD=post></FORM>{% endblock %}",
            )],
            vec!["login.html: the form of the login page has no token, and would be refused"],
        ),
        (
            &[("mail.txt", "x\n{{ view.gretting }}")],
            vec!["mail.txt:2:1: a mail can't be rendered with it: undefined value"],
        ),
        (
            &[("mail.txt", "{{ view.greeting }}")],
            vec!["mail.txt: a mail made with it does not say what is to be opened"],
        ),
        (
            &[("mail.html", "{% if view.buttons %}{{ view.buttons[0].url }}{% endif %}")],
            vec!["mail.html: a mail made with it does not say what is to be opened"],
        ),
        (
            &[("mail.txt", "a\n{{ view.buttons[0].url }}")],
            vec!["mail.txt:2:1: a mail can't be rendered with it: undefined value"],
        ),
        (&[("mail.html", "{{ t(\"no-such\") }}")], vec!["mail.html:1:4: there is no message `no-such`"]),
    ] {
        let found = faults(theme);
        let alike = |(found, expected): (&String, &&str)| found.starts_with(*expected);
        assert!(
            found.len() == expected.len() && found.iter().zip(&expected).all(alike),
            "{found:?} for {expected:?}"
        );
    }
}

#[tokio::test]
async fn single_files_take_the_place_of_ours() {
    let theme = [
        ("extra.css", "h1 { color: red; }"),
        ("texts/de.ftl", "problem-not-found-title = Nix da"),
        (
            "problem.html",
            "{% extends \"base.html\" %}{% block main %}<h1>{{ t(view.title) }}!</h1>{% endblock %}",
        ),
    ];
    let (headers, german) = page(&theme, "de").await;
    assert!(german.contains("<h1>Nix da!</h1>") && german.contains("h1 { color: red; }"), "{german}");
    let style =
        german.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next()).expect("a style");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, style.as_bytes());
    let digest = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest);
    let policy = headers["content-security-policy"].to_str().expect("ASCII");
    assert!(policy.contains(&format!("'sha256-{digest}'")) && policy.contains("img-src data:;"), "{policy}");
    let (_, english) = page(&theme, "en").await;
    assert!(english.contains("<h1>Page not found!</h1>"), "{english}");
    let (headers, _) = page(&[("assets/a.png", "x")], "en").await;
    let policy = headers["content-security-policy"].to_str().expect("ASCII");
    assert!(policy.contains("img-src data: 'self'; font-src 'self'"), "{policy}");
}

#[test]
fn a_login_page_may_have_no_form_that_posts() {
    for main in
        ["<a href=\"/other\">Sign in</a>", "<form><input name=\"search\"></form><a href=\"/other\">SSO</a>"]
    {
        let login = format!("{{% extends \"base.html\" %}}{{% block main %}}{main}{{% endblock %}}");
        assert!(Theme::parse(files(&[("login.html", &login)])).is_ok(), "{main}");
    }
}

#[test]
fn mails_are_themed_each_template_by_itself() {
    let theme = Theme::parse(files(&[(
        "mail.txt",
        "{{ view.greeting }} {{ lang }}\n{% for button in view.buttons %}{{ button.url }}{% endfor %}\n",
    )]));
    let look = Look { theme: Arc::new(theme.expect("a theme")), ..Look::default() };
    let letters = Letters::new(&look);
    let letter = pages::letters::Letter {
        after: Vec::new(),
        before: Vec::new(),
        buttons: vec![pages::letters::Button { label: "Go".into(), url: "https://a.test/<&".into() }],
        by_hand: String::new(),
        footer: String::new(),
        greeting: "Hallo".into(),
        language: Language::German,
        site: "a.test".into(),
        subject: "S".into(),
    };
    assert_eq!(letters.text(&letter), "Hallo de\nhttps://a.test/<&\n");
    assert!(letters.html(&letter).contains("https://a.test/&lt;&amp;"), "ours, escaped");
}

#[tokio::test]
async fn a_page_that_fails_with_a_theme_comes_as_ours() {
    // Sound for the page that is tried: with the status of another it fails.
    let problem = "{% extends \"base.html\" %}{% block main %}{{ view.status and view.nothing if view.request_id == \"id-1\" }}{% endblock %}";
    let (_, html) = page(&[("problem.html", problem)], "en").await;
    assert!(html.contains("<h1>Page not found</h1>"), "{html}");
}
