//! The look-up: host, method and path to the first route that matches, without asking each of them.
//!
//! For every host that routes name there is a tree of path segments. A request walks the trees of
//! its own host, of the domains above it and of no host, and the route that stands first in the file
//! wins. The cost follows the length of the path, not the number of routes.
//!
//! Callers: `gate`. What a target's readings are, and what follows from a match, isn't known here.

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use super::{HostPattern, Route, Segment};

/// All routes, in the order of the file, with their index.
#[derive(Debug, Default)]
pub struct Table {
    any_host: Node,
    exact: HashMap<String, Node>,
    routes: Vec<Arc<Route>>,
    under: HashMap<String, Node>,
}

/// Why a route does not match a request: for `explain`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mismatch {
    /// It is for another host.
    Host,
    /// It is for other methods.
    Method,
    /// It is for another path.
    Path,
}

impl Mismatch {
    /// One clause for `explain`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "is for another host",
            Self::Method => "is for other methods",
            Self::Path => "is for another path",
        }
    }
}

/// One segment's place in a tree. The numbers are places in `routes`, ascending.
#[derive(Debug, Default)]
struct Node {
    any: Option<Box<Node>>,
    /// Routes that end in `/**` here: this path and everything below it.
    below: Vec<usize>,
    /// Routes that end exactly here.
    here: Vec<usize>,
    literals: HashMap<Box<str>, Node>,
}

impl Table {
    /// Builds the index; the order is the order of the file.
    pub fn new(routes: Vec<Route>) -> Self {
        let mut table = Self::default();
        for (place, route) in routes.into_iter().enumerate() {
            let mut node = match &route.host {
                None => &mut table.any_host,
                Some(HostPattern::Exact(host)) => table.exact.entry(host.clone()).or_default(),
                Some(HostPattern::Under(domain)) => table.under.entry(domain.clone()).or_default(),
            };
            for segment in &route.path.segments {
                node = match segment {
                    Segment::Any => node.any.get_or_insert_default(),
                    Segment::Literal(text) => node.literals.entry(text.as_str().into()).or_default(),
                };
            }
            if route.path.any_depth { &mut node.below } else { &mut node.here }.push(place);
            table.routes.push(Arc::new(route));
        }
        table
    }

    /// The first route for this host (lower case, without a port), method and decoded path.
    pub fn find(&self, host: &str, method: &Method, path: &str) -> Option<&Arc<Route>> {
        let mut first = usize::MAX;
        let mut walk = |tree: &Node| tree.find(segments(path), &self.routes, method, &mut first);
        walk(&self.any_host);
        if let Some(tree) = self.exact.get(host) {
            walk(tree);
        }
        if !self.under.is_empty() {
            let mut rest = host;
            while let Some((_, domain)) = rest.split_once('.') {
                if let Some(tree) = self.under.get(domain) {
                    walk(tree);
                }
                rest = domain;
            }
        }
        self.routes.get(first)
    }

    /// All routes, in the order of the file.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }
}

impl Route {
    /// Why this route is not for such a request; `None` where it is.
    pub fn mismatch(&self, host: &str, method: &Method, path: &str) -> Option<Mismatch> {
        if self.host.as_ref().is_some_and(|pattern| !pattern.matches(host)) {
            return Some(Mismatch::Host);
        }
        if !self.path.matches(path) {
            return Some(Mismatch::Path);
        }
        (!self.takes(method)).then_some(Mismatch::Method)
    }

    fn takes(&self, method: &Method) -> bool {
        self.methods.as_ref().is_none_or(|methods| listed(methods, method))
    }
}

/// Whether a list takes a method. A HEAD is a GET without the content (RFC 9110 §9.3.2): who may GET may
/// HEAD, and who may not must not be let in by a later route.
pub(super) fn listed(methods: &[Method], method: &Method) -> bool {
    methods.contains(method) || (method == Method::HEAD && methods.contains(&Method::GET))
}

impl HostPattern {
    /// Whether this host (lower case, without a port) is meant.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == host,
            Self::Under(domain) => host
                .strip_suffix(domain.as_str())
                .is_some_and(|front| front.len() > 1 && front.ends_with('.')),
        }
    }
}

impl super::PathPattern {
    /// Whether this decoded path is meant.
    pub fn matches(&self, path: &str) -> bool {
        let mut rest = segments(path);
        for segment in &self.segments {
            let matched = match (segment, rest.next()) {
                (Segment::Literal(text), Some(part)) => text == part,
                (Segment::Any, Some(part)) => !part.is_empty(),
                (_, None) => false,
            };
            if !matched {
                return false;
            }
        }
        self.any_depth || rest.next().is_none()
    }
}

impl Node {
    /// Lowers `first` to the first route below this node that takes the rest of the path.
    fn find<'a>(
        &self,
        mut rest: impl Iterator<Item = &'a str> + Clone,
        routes: &[Arc<Route>],
        method: &Method,
        first: &mut usize,
    ) {
        let mut note = |places: &[usize]| {
            let found = places
                .iter()
                .take_while(|&&place| place < *first)
                .find(|&&place| routes[place].takes(method));
            if let Some(&place) = found {
                *first = place;
            }
        };
        note(&self.below);
        let Some(segment) = rest.next() else {
            note(&self.here);
            return;
        };
        if let Some(child) = self.literals.get(segment) {
            child.find(rest.clone(), routes, method, first);
        }
        if let Some(child) = self.any.as_ref().filter(|_| !segment.is_empty()) {
            child.find(rest, routes, method, first);
        }
    }
}

/// `/a/b` has two, `/a/` has two of which the second is empty, `/` has none.
fn segments(path: &str) -> impl Iterator<Item = &str> + Clone {
    let path = path.strip_prefix('/').unwrap_or(path);
    let rest = (!path.is_empty()).then(|| path.split('/'));
    rest.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::Policy;
    use crate::route::Unauthenticated;

    fn route(host: Option<&str>, path: &str, methods: Option<&[Method]>) -> Route {
        Route {
            credentials: Default::default(),
            csrf: true,
            forward_authorization: false,
            headers: Vec::new(),
            host: host.map(|host| host.parse().expect("a host pattern")),
            identity_headers: Arc::default(),
            methods: methods.map(<[Method]>::to_vec),
            name: path.into(),
            path: path.parse().expect("a path pattern"),
            policy: Policy::Public,
            response_headers: Vec::new(),
            rewrite: None,
            token_endpoint: None,
            token_errors: Default::default(),
            token_locations: Default::default(),
            unauthenticated: Unauthenticated::Auto,
            upstream: None,
        }
    }

    fn found(table: &Table, host: &str, method: &Method, path: &str) -> Option<usize> {
        let found = table.find(host, method, path)?;
        table.routes().iter().position(|route| Arc::ptr_eq(route, found))
    }

    #[test]
    fn the_first_route_that_matches_decides() {
        let table = Table::new(vec![
            route(None, "/static/**", Some(&[Method::GET])),
            route(Some("app.test"), "/admin/*/edit", None),
            route(Some("*.app.test"), "/admin/**", None),
            route(None, "/admin/**", None),
            route(None, "/", None),
        ]);
        for (host, method, path, expected) in [
            ("app.test", Method::GET, "/static", Some(0)),
            ("app.test", Method::GET, "/static/", Some(0)),
            ("app.test", Method::GET, "/static/a/b", Some(0)),
            ("app.test", Method::HEAD, "/static/a", Some(0)),
            ("app.test", Method::POST, "/static/a", None),
            ("app.test", Method::GET, "/staticx", None),
            ("app.test", Method::GET, "/Static/a", None),
            ("app.test", Method::GET, "/admin/7/edit", Some(1)),
            ("app.test", Method::GET, "/admin//edit", Some(3)),
            ("app.test", Method::GET, "/admin/7/8/edit", Some(3)),
            ("sub.app.test", Method::GET, "/admin/7/edit", Some(2)),
            ("a.sub.app.test", Method::GET, "/admin", Some(2)),
            ("xapp.test", Method::GET, "/admin", Some(3)),
            ("app.test", Method::GET, "/", Some(4)),
            ("app.test", Method::GET, "/x", None),
        ] {
            assert_eq!(found(&table, host, &method, path), expected, "{method} {host}{path}");
        }
    }

    fn pattern() -> impl Strategy<Value = String> {
        let segment = prop::sample::select(vec!["a", "b", "*"]);
        (prop::collection::vec(segment, 0..4), any::<bool>()).prop_map(|(segments, deep)| {
            let tail = if deep { vec!["**"] } else { vec![] };
            format!("/{}", [segments, tail].concat().join("/"))
        })
    }

    proptest! {
        /// The index says what asking each route in turn says.
        #[test]
        fn the_index_agrees_with_asking_each_route(
            routes in prop::collection::vec(
                (prop::option::of(prop::sample::select(vec!["x.test", "*.test", "*.x.test"])), pattern(), any::<bool>()),
                1..12,
            ),
            host in prop::sample::select(vec!["x.test", "y.test", "a.x.test", "test"]),
            path in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", ""]), 0..5),
        ) {
            let routes: Vec<Route> = routes
                .iter()
                .map(|(host, path, all)| route(*host, path, (!all).then_some(&[Method::GET][..])))
                .collect();
            let path = format!("/{}", path.join("/"));
            let table = Table::new(routes.clone());
            for method in [Method::GET, Method::POST] {
                let asked = routes.iter().position(|route| route.mismatch(host, &method, &path).is_none());
                prop_assert_eq!(found(&table, host, &method, &path), asked, "{} {}{}", method, host, path);
            }
        }
    }
}
