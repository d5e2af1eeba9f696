//! A person's browser without scripts: keeps cookies, reads forms, sends them, follows nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::harness::{Gateway, PASSWORD, Reply};

/// What a browser sends along with a navigation.
pub(crate) const NAVIGATION: &[(&str, &str)] = &[
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];

/// One browser with its cookies, on one gateway.
pub(crate) struct Browser<'a> {
    cookies: RefCell<BTreeMap<String, String>>,
    gateway: &'a Gateway,
}

impl<'a> Browser<'a> {
    /// Without cookies.
    pub(crate) fn new(gateway: &'a Gateway) -> Self {
        Self { cookies: RefCell::default(), gateway }
    }

    /// The same browser, when the gateway was started anew.
    pub(crate) fn on(cookies: BTreeMap<String, String>, gateway: &'a Gateway) -> Self {
        Self { cookies: RefCell::new(cookies), gateway }
    }

    /// What it keeps when its gateway ends.
    pub(crate) fn into_cookies(self) -> BTreeMap<String, String> {
        self.cookies.into_inner()
    }

    /// Its `Cookie` header.
    pub(crate) fn cookies(&self) -> String {
        let cookies = self.cookies.borrow();
        cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// The value of one cookie.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.borrow().get(name).cloned()
    }

    /// Puts a cookie there, as whoever has another host of the domain can.
    pub(crate) fn plant(&self, name: &str, value: &str) {
        self.cookies.borrow_mut().insert(name.to_owned(), value.to_owned());
    }

    /// Opens a page.
    pub(crate) fn open(&self, target: &str) -> Reply {
        self.send("GET", target, &[], b"")
    }

    /// Sends a form to where it wants to go.
    pub(crate) fn submit(&self, form: &Form) -> Reply {
        self.submit_with(form, &[])
    }

    /// As `submit`, with further headers.
    pub(crate) fn submit_with(&self, form: &Form, headers: &[(&str, &str)]) -> Reply {
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend(headers);
        self.send("POST", &form.action, &all, form.encoded().as_bytes())
    }

    /// Signs in by the form; gives the answer to it.
    pub(crate) fn sign_in(&self, login: &str) -> Reply {
        let page = self.open("/.auth/login");
        self.submit(&Form::read(&page).with("username", login).with("password", PASSWORD))
    }

    /// Any request, with the cookies that it has; those that are set are kept.
    pub(crate) fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let cookies = self.cookies();
        let mut all = NAVIGATION.to_vec();
        if !cookies.is_empty() {
            all.push(("cookie", &cookies));
        }
        all.extend(headers);
        let reply = self.gateway.request(method, target, &all, body);
        for set in reply.all("set-cookie") {
            let (name, rest) = set.split_once('=').expect("a cookie has a name");
            let value = rest.split(';').next().unwrap_or_default();
            let ends = rest.to_lowercase().contains("max-age=0");
            let mut cookies = self.cookies.borrow_mut();
            if ends {
                cookies.remove(name);
            } else {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        reply
    }
}

/// The form of a page.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub(crate) action: String,
    pub(crate) fields: Vec<(String, String)>,
}

impl Form {
    /// The one form of this page, with what its fields hold.
    pub(crate) fn read(page: &Reply) -> Self {
        Self::beginning(page, "<form ")
    }

    /// The form of this page that goes there.
    pub(crate) fn to(page: &Reply, action: &str) -> Self {
        Self::beginning(page, &format!(r#"<form method="post" action="{action}""#))
    }

    fn beginning(page: &Reply, tag: &str) -> Self {
        let html = page.text();
        let start = html.find(tag).unwrap_or_else(|| panic!("no {tag} in {page:?}: {html}"));
        let form = &html[start..html[start..].find("</form>").map_or(html.len(), |end| start + end)];
        let tag = &form[..form.find('>').expect("a tag ends")];
        assert!(tag.contains(r#"method="post""#), "{tag}");
        let inputs = form.match_indices("<input ").map(|(at, _)| &form[at..]);
        let inputs = inputs.map(|input| &input[..input.find('>').expect("a tag ends")]);
        let fields = inputs.filter(|input| !input.contains("checkbox") || input.contains(" checked"));
        let fields = fields.filter_map(|input| {
            Some((attribute(input, "name")?, attribute(input, "value").unwrap_or_default()))
        });
        Self {
            action: attribute(tag, "action").expect("a form says where it goes"),
            fields: fields.collect(),
        }
    }

    /// With this field set to this.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What a field holds.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// As it goes over the wire.
    pub(crate) fn encoded(&self) -> String {
        serde_urlencoded::to_string(&self.fields).expect("texts")
    }
}

/// An attribute's value, its entities read.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let start = tag.find(&format!(r#" {name}=""#))? + name.len() + 3;
    let value = &tag[start..start + tag[start..].find('"')?];
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#x27;", "'"), ("&#x2f;", "/")];
    let value = entities.iter().fold(value.to_owned(), |value, (entity, is)| value.replace(entity, is));
    Some(value.replace("&amp;", "&"))
}
