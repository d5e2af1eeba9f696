//! How a mail looks: plain text, and HTML of tables and inline styles, which mail programs of any age show.
//!
//! Nothing is loaded from anywhere. The dark colours are for programs that know `prefers-color-scheme`; the
//! others turn light ones dark by themselves, which these bear. Every word is escaped, whoever chose it.
//!
//! Callers: `compose`.

use super::Language;
use crate::response::look::MailColors;

/// A mail, said in its language.
pub(super) struct Letter {
    /// Below the buttons, with less weight.
    pub(super) after: Vec<String>,
    pub(super) before: Vec<String>,
    /// Labels and addresses; the first is what most people want.
    pub(super) buttons: Vec<(String, String)>,
    pub(super) by_hand: String,
    pub(super) footer: String,
    pub(super) greeting: String,
    pub(super) language: Language,
    pub(super) site: String,
    pub(super) subject: String,
}

const STYLE: &str = "\
:root { color-scheme: light dark; supported-color-schemes: light dark; }
@media (prefers-color-scheme: dark) {
  .ground { background: #101413 !important; }
  .sheet { background: #191e1d !important; border-color: #2c3432 !important; }
  .ink { color: #e9edeb !important; }
  .soft { color: #a5b0ac !important; }
  .line { border-color: #2c3432 !important; }
  .button { background: GROUND !important; color: INK !important; }
  .other { color: TEXT !important; border-color: #77827e !important; }
}
@media (max-width: 480px) { .sheet { padding: 28px 22px !important; } }
";

const FONT: &str =
    "font-family:-apple-system,BlinkMacSystemFont,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif";

impl Letter {
    /// For programs that show no HTML, and for people who prefer it so.
    pub(super) fn text(&self) -> String {
        let mut parts = vec![self.greeting.clone()];
        parts.extend(self.before.iter().cloned());
        // On a line of its own, so that nothing behind it is taken for a part of it.
        parts.extend(self.buttons.iter().map(|(label, url)| format!("{label}:\n{url}")));
        parts.extend(self.after.iter().cloned());
        parts.push(format!("-- \n{}", self.footer));
        parts.join("\n\n") + "\n"
    }

    /// For everybody else.
    pub(super) fn html(&self, colors: &MailColors) -> String {
        let (language, subject) = (self.language.tag(), escaped(&self.subject));
        let [_, ground] = &colors.button;
        let ([_, on], [_, text]) = (&colors.on_button, &colors.text);
        let style = STYLE.replace("GROUND", ground).replace("INK", on).replace("TEXT", text);
        let (site, footer) = (escaped(&self.site), escaped(&self.footer));
        let mut body = paragraph(&self.greeting);
        body.extend(self.before.iter().map(|text| paragraph(text)));
        body.push_str(&self.buttons(colors));
        body.extend(self.after.iter().map(|text| aside(text)));
        body.push_str(&self.by_hand());
        format!(
            r#"<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>{subject}</title>
<style>
{style}</style>
</head>
<body class="ground" style="margin:0;padding:0;background:#f4f3ef;-webkit-text-size-adjust:100%">
<table role="presentation" class="ground" width="100%" cellpadding="0" cellspacing="0" border="0" style="background:#f4f3ef">
<tr><td align="center" style="padding:32px 12px">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="max-width:560px">
<tr><td class="soft" style="padding:0 4px 14px;{FONT};font-size:15px;line-height:22px;font-weight:600;color:#59625e">{site}</td></tr>
<tr><td class="sheet" style="padding:36px;background:#ffffff;border:1px solid #dedcd4;border-radius:16px;overflow-wrap:anywhere">
<h1 class="ink" style="margin:0 0 20px;{FONT};font-size:23px;line-height:29px;font-weight:650;letter-spacing:-0.2px;color:#1b211f">{subject}</h1>
{body}</td></tr>
<tr><td class="soft" style="padding:18px 4px 0;{FONT};font-size:13px;line-height:20px;color:#59625e">{footer}</td></tr>
</table>
</td></tr>
</table>
</body>
</html>
"#
        )
    }

    fn buttons(&self, colors: &MailColors) -> String {
        let ([ground, _], [on, _], [text, _]) = (&colors.button, &colors.on_button, &colors.text);
        let mut html = String::new();
        for (number, (label, url)) in self.buttons.iter().enumerate() {
            let (label, url) = (escaped(label), escaped(url));
            let (class, colours) = match number {
                0 => ("button", format!("background:{ground};color:{on};border:1px solid transparent")),
                _ => ("other", format!("color:{text};border:1px solid #86867d")),
            };
            html.push_str(&format!(
                r#"<p style="margin:24px 0 0"><a class="{class}" href="{url}" style="display:inline-block;padding:13px 26px;{colours};border-radius:10px;{FONT};font-size:16px;line-height:22px;font-weight:600;text-decoration:none">{label}</a></p>
"#
            ));
        }
        html
    }

    /// The addresses written out: some programs show no buttons, and some people don't trust them.
    fn by_hand(&self) -> String {
        if self.buttons.is_empty() {
            return String::new();
        }
        let urls = self.buttons.iter().map(|(_, url)| format!("<br>{}", escaped(url)));
        let (by_hand, urls) = (escaped(&self.by_hand), urls.collect::<String>());
        format!(
            r#"<p class="soft line" style="margin:28px 0 0;padding:18px 0 0;border-top:1px solid #dedcd4;{FONT};font-size:13px;line-height:20px;color:#59625e">{by_hand}<span style="word-break:break-all">{urls}</span></p>
"#
        )
    }
}

fn paragraph(text: &str) -> String {
    let text = escaped(text);
    format!(
        r#"<p class="ink" style="margin:0 0 14px;{FONT};font-size:16px;line-height:25px;color:#1b211f">{text}</p>
"#
    )
}

fn aside(text: &str) -> String {
    let text = escaped(text);
    format!(
        r#"<p class="soft" style="margin:20px 0 0;{FONT};font-size:15px;line-height:23px;color:#59625e">{text}</p>
"#
    )
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::look::Look;

    fn letter(word: &str) -> Letter {
        Letter {
            after: vec![word.to_owned()],
            before: vec![word.to_owned()],
            buttons: vec![(word.to_owned(), word.to_owned())],
            by_hand: word.to_owned(),
            footer: word.to_owned(),
            greeting: word.to_owned(),
            language: Language::English,
            site: word.to_owned(),
            subject: word.to_owned(),
        }
    }

    #[test]
    fn no_word_becomes_markup() {
        let html = letter("<img src=x onerror=\"'&\">").html(&Look::default().mail_colors());
        assert!(!html.contains("<img") && !html.contains("onerror=\""), "{html}");
        assert!(html.contains("&lt;img src=x onerror=&quot;&#39;&amp;&quot;&gt;"), "{html}");
    }

    #[test]
    fn nothing_is_loaded_from_anywhere() {
        let html = letter("word").html(&Look::default().mail_colors());
        for tag in ["<img", "<link", "<script", "url(", "@import", "src=", "http"] {
            assert!(!html.contains(tag), "{tag} in {html}");
        }
    }
}
