//! What a browser is called in a list of sessions: "Firefox" on "Linux", read off `User-Agent`.
//!
//! A browser says many names of others for compatibility, so the order of the tables decides: who
//! builds on another stands before it. What is in no table is shown as it was written.
//!
//! Callers: whoever shows sessions.

/// Marks in a user agent and the browser that they mean.
const BROWSERS: [(&str, &str); 21] = [
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("OPT/", "Opera"),
    ("Vivaldi/", "Vivaldi"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("YaBrowser/", "Yandex Browser"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    // The name that Safari shares with everybody counts only beside its own version.
    ("Version/", "Safari"),
    ("curl/", "curl"),
    ("Wget/", "Wget"),
    ("python-requests/", "Python"),
    ("python-httpx/", "Python"),
    ("git/", "Git"),
];

/// Marks in a user agent and the system that they mean.
const SYSTEMS: [(&str, &str); 10] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Macintosh", "macOS"),
    ("FreeBSD", "FreeBSD"),
    ("OpenBSD", "OpenBSD"),
    ("Linux", "Linux"),
];

/// What is known of a browser by its own words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Device<'a> {
    /// A program of ours to name, and the system where it says which.
    Known {
        /// Such as `Firefox`.
        browser: &'static str,
        /// Such as `Linux`.
        system: Option<&'static str>,
    },
    /// It said nothing.
    Silent,
    /// As written.
    Unknown(&'a str),
}

impl<'a> Device<'a> {
    /// Reads a user agent.
    pub fn of(user_agent: &'a str) -> Self {
        let user_agent = user_agent.trim();
        if user_agent.is_empty() {
            return Self::Silent;
        }
        let find = |table: &[(&str, &'static str)]| {
            table.iter().find(|(mark, _)| user_agent.contains(mark)).map(|(_, name)| *name)
        };
        let safari = |browser: &&str| *browser != "Safari" || user_agent.contains("Safari/");
        match find(&BROWSERS).filter(safari) {
            Some(browser) => Self::Known { browser, system: find(&SYSTEMS) },
            None => Self::Unknown(user_agent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_and_systems() {
        let mac = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) ";
        let win = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) ";
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 ";
        let android = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) ";
        let linux = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0";
        for (user_agent, browser, system) in [
            (linux.to_owned(), "Firefox", "Linux"),
            (format!("{mac}Version/18.1 Safari/605.1.15"), "Safari", "macOS"),
            (format!("{mac}Chrome/131.0.0.0 Safari/537.36"), "Chrome", "macOS"),
            (format!("{win}Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0"), "Edge", "Windows"),
            (format!("{win}Chrome/131.0.0.0 Safari/537.36 OPR/116.0.0.0"), "Opera", "Windows"),
            (format!("{phone}Version/18.1 Mobile/15E148 Safari/604.1"), "Safari", "iPhone"),
            (format!("{phone}CriOS/131.0 Mobile/15E148 Safari/604.1"), "Chrome", "iPhone"),
            (format!("{android}Chrome/131.0.0.0 Mobile Safari/537.36"), "Chrome", "Android"),
            (
                format!("{android}SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36"),
                "Samsung Internet",
                "Android",
            ),
        ] {
            let expected = Device::Known { browser, system: Some(system) };
            assert_eq!(Device::of(&user_agent), expected, "{user_agent}");
        }
        assert_eq!(Device::of("curl/8.11.0"), Device::Known { browser: "curl", system: None });
        assert_eq!(Device::of("backup-job 1.2"), Device::Unknown("backup-job 1.2"));
        assert_eq!(Device::of("Foo Version/1"), Device::Unknown("Foo Version/1"));
        assert_eq!(Device::of(" "), Device::Silent);
    }
}
