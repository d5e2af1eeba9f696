//! Figures for Prometheus: counted while requests are served, put together when somebody asks.
//!
//! Nobody waits for anybody while counting. What has fixed labels is kept in stripes, one for each
//! thread, each on cache lines of its own; what has labels from the configuration (routes, upstreams)
//! is kept once for each name and thread, and each thread keeps the handles that it has looked up.
//! A scrape adds the stripes up. The one lock is taken where a thread sees a name for the first time.
//!
//! Labels come from the configuration and from fixed sets of words alone: no client can make a row.
//!
//! Callers: `gateway` makes it and hands it to `authn` and `proxy`, which count; `admin` shows it.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use std::{array, collections::BTreeMap};

mod exposition;
mod family;
mod process;

pub use exposition::Exposition;
use family::{Family, Handles, Names};

/// The route that is named where the portal answered, or a sub-request was refused before it was decided.
pub const PORTAL: &str = "(portal)";
/// The route that is named where none was found: no route, a request that could not be understood, or a client that left
/// before anything was decided.
pub const NO_ROUTE: &str = "(none)";

/// Upper bounds of the buckets of durations, in seconds. The last one is infinity, and not listed.
const BUCKETS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// The same in nanoseconds, as they are compared.
const BUCKETS_NANOS: [u64; BUCKETS.len()] = {
    let mut nanos = [0; BUCKETS.len()];
    let mut at = 0;
    while at < nanos.len() {
        nanos[at] = (BUCKETS[at] * 1e9) as u64;
        at += 1;
    }
    nanos
};

/// Threads that count without sharing a cache line; with more, some share.
const STRIPES: usize = 32;

/// A fixed set of words that a label can be.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $word:ident => $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum $name { $($(#[$doc])* $word,)+ }

        impl $name {
            const WORDS: &[&str] = &[$($text),+];
            const COUNT: usize = Self::WORDS.len();
        }
    };
}

words! {
    /// What the gate said, also to the sub-requests of other proxies.
    Decided {
        /// Forwarded, or a sub-request's 200.
        Allow => "allow",
        /// To the login page.
        Login => "login",
        /// A 401.
        Unauthorized => "unauthorized",
        /// Signed in, and not permitted.
        Forbidden => "forbidden",
        /// No route.
        NotFound => "not_found",
        /// Readings of the target that disagree.
        BadRequest => "bad_request",
        /// Too many failed logins.
        Limited => "limited",
        /// An unsafe request that another site made a browser send.
        CrossSite => "cross_site",
        /// A failure of ours.
        Error => "error",
    }
}

words! {
    /// What became of a name and a password, at whichever door.
    Login {
        /// They were right.
        Ok => "ok",
        /// They were not.
        Failed => "failed",
        /// Too many have failed before.
        Limited => "limited",
        /// Too many wait to be hashed.
        Busy => "busy",
        /// They were right, and the account is not confirmed or not let in yet.
        Waiting => "waiting",
        /// The store failed.
        Error => "error",
    }
}

words! {
    /// Why a connection was turned away.
    ConnectionRefused {
        /// `limits.connections` is reached.
        Limit => "limit",
        /// One source has as many as it may.
        PerSource => "per_source",
        /// It did not begin with the PROXY header that was expected.
        ProxyHeader => "proxy_header",
    }
}

words! {
    /// What became of a request at its upstream.
    UpstreamOutcome {
        /// The head of an answer came, with whatever status.
        Answered => "answered",
        /// The checks say that every server is down.
        Unhealthy => "unhealthy",
        /// No server could be connected to.
        Unreachable => "unreachable",
        /// The head of the answer did not come in time.
        TimedOut => "timed_out",
        /// The connection broke, or the answer was not sound.
        Failed => "failed",
    }
}

words! {
    /// What became of a TLS handshake.
    Handshake {
        /// Done.
        Ok => "ok",
        /// A side did not agree, or the client went away.
        Failed => "failed",
        /// It took too long.
        TimedOut => "timed_out",
        /// Too many were under way.
        Busy => "busy",
    }
}

words! {
    /// What became of a configuration that was read while serving.
    Reload {
        /// It holds.
        Ok => "ok",
        /// It is faulty, and changed nothing.
        Failed => "failed",
    }
}

/// Whether the rows of a collector can only grow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Only grows: its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One row that a collector gives. Labels have to come from the configuration or from a fixed set.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Names and values, the same names in the same order in each row of a collector.
    pub labels: Vec<(&'static str, String)>,
    /// In base units: seconds, bytes.
    pub value: f64,
}

impl Row {
    /// The only row of a figure without labels.
    pub fn alone(value: f64) -> Vec<Self> {
        vec![Self { labels: Vec::new(), value }]
    }
}

type Rows = Arc<dyn Fn() -> Vec<Row> + Send + Sync>;

#[derive(Clone)]
struct Collector {
    help: &'static str,
    kind: Kind,
    rows: Rows,
}

/// The figures. Clones are the same.
#[derive(Clone)]
pub struct Metrics(Arc<Shared>);

struct Shared {
    collectors: Mutex<BTreeMap<&'static str, Collector>>,
    last_reload: AtomicU64,
    last_reload_ok: AtomicU64,
    reloads: [AtomicU64; Reload::COUNT],
    routes: Family<RouteFigures>,
    stripes: [Stripe; STRIPES],
    unsound: Family<AtomicU64>,
    upstreams: Family<UpstreamFigures>,
}

/// What one thread counts under fixed labels. Aligned, so that no two threads write to one cache line.
#[derive(Default)]
#[repr(align(128))]
struct Stripe {
    cache_hits: AtomicU64,
    cache_misses: AtomicU64,
    /// Opened less closed: negative where those of another thread are closed here.
    connections: AtomicI64,
    connections_refused: [AtomicU64; ConnectionRefused::COUNT],
    decisions: [AtomicU64; Decided::COUNT],
    handshakes: [AtomicU64; Handshake::COUNT],
    logins: [AtomicU64; Login::COUNT],
    tunnels: AtomicI64,
}

/// What one thread counts for one route.
#[derive(Default)]
#[repr(align(128))]
struct RouteFigures {
    buckets: [AtomicU64; BUCKETS.len() + 1],
    nanos: AtomicU64,
    /// By the first digit of the status, from 1 on.
    statuses: [AtomicU64; 5],
}

#[derive(Default)]
#[repr(align(128))]
struct UpstreamFigures([AtomicU64; UpstreamOutcome::COUNT]);

/// Adds one. Nothing is ordered by a figure.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Which stripe is this thread's.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    MINE.with(|mine| *mine)
}

impl Metrics {
    /// All at zero. `now` counts as the time when the configuration was read.
    pub fn new(now: SystemTime) -> Self {
        Self(Arc::new(Shared {
            collectors: Mutex::default(),
            last_reload: AtomicU64::new(unix_seconds(now)),
            last_reload_ok: AtomicU64::new(1),
            reloads: Default::default(),
            routes: Family::new(Names::Listed),
            stripes: array::from_fn(|_| Stripe::default()),
            unsound: Family::new(Names::Fixed),
            upstreams: Family::new(Names::Listed),
        }))
    }

    /// Which routes and upstreams there are: each has its rows from now on, at zero. The rows of those
    /// that have gone go too; requests that are still under way on them are not counted any more.
    pub fn configure<'n>(
        &self,
        routes: impl IntoIterator<Item = &'n str>,
        upstreams: impl IntoIterator<Item = &'n str>,
    ) {
        self.0.routes.keep([PORTAL, NO_ROUTE].into_iter().chain(routes));
        self.0.upstreams.keep(upstreams);
    }

    /// Figures that are made when they are asked for. The name has no prefix of ours, and a counter's no
    /// `_total`. A second one under the same name takes the place of the first.
    pub fn set_collector(
        &self,
        name: &'static str,
        help: &'static str,
        kind: Kind,
        rows: impl Fn() -> Vec<Row> + Send + Sync + 'static,
    ) {
        let collector = Collector { help, kind, rows: Arc::new(rows) };
        self.0.collectors.lock().unwrap_or_else(PoisonError::into_inner).insert(name, collector);
    }

    /// The counting of one thread.
    pub fn thread(&self) -> ThreadMetrics {
        ThreadMetrics {
            metrics: self.clone(),
            routes: Handles::default(),
            unsound: Handles::default(),
            upstreams: Handles::default(),
        }
    }

    /// A credential was found in the cache, as good or as bad.
    pub fn cache_hit(&self) {
        count(&self.mine().cache_hits);
    }

    /// A credential was not found in the cache.
    pub fn cache_missed(&self) {
        count(&self.mine().cache_misses);
    }

    /// A connection has taken its place. It counts as long as the value lives.
    pub fn connection(&self) -> Open {
        Open::new(self, |stripe| &stripe.connections)
    }

    /// A connection was turned away.
    pub fn connection_refused(&self, why: ConnectionRefused) {
        count(&self.mine().connections_refused[why as usize]);
    }

    /// The gate has decided.
    pub fn decided(&self, decided: Decided) {
        count(&self.mine().decisions[decided as usize]);
    }

    /// A TLS handshake has ended.
    pub fn handshake(&self, outcome: Handshake) {
        count(&self.mine().handshakes[outcome as usize]);
    }

    /// A name and a password were checked.
    pub fn login(&self, outcome: Login) {
        count(&self.mine().logins[outcome as usize]);
    }

    /// The configuration was read again.
    pub fn reloaded(&self, outcome: Reload, now: SystemTime) {
        count(&self.0.reloads[outcome as usize]);
        let ok = outcome == Reload::Ok;
        self.0.last_reload_ok.store(ok.into(), Ordering::Relaxed);
        if ok {
            self.0.last_reload.store(unix_seconds(now), Ordering::Relaxed);
        }
    }

    /// A tunnel has begun. It counts as long as the value lives.
    pub fn tunnel(&self) -> Open {
        Open::new(self, |stripe| &stripe.tunnels)
    }

    fn mine(&self) -> &Stripe {
        &self.0.stripes[stripe()]
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// Something that is open, and counts as long as this lives.
#[derive(Debug)]
pub struct Open {
    gauge: fn(&Stripe) -> &AtomicI64,
    metrics: Metrics,
}

impl Open {
    fn new(metrics: &Metrics, gauge: fn(&Stripe) -> &AtomicI64) -> Self {
        gauge(metrics.mine()).fetch_add(1, Ordering::Relaxed);
        Self { gauge, metrics: metrics.clone() }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        (self.gauge)(self.metrics.mine()).fetch_sub(1, Ordering::Relaxed);
    }
}

/// The counting of one thread, with the handles that it has looked up.
pub struct ThreadMetrics {
    metrics: Metrics,
    routes: Handles<RouteFigures>,
    unsound: Handles<AtomicU64>,
    upstreams: Handles<UpstreamFigures>,
}

impl ThreadMetrics {
    /// The head of an answer is there, `duration` after the request's. `route` is the name of one that
    /// is configured, or `PORTAL`, or `NO_ROUTE`.
    pub fn answered(&self, route: &str, status: u16, duration: Duration) {
        self.routes.with(&self.metrics.0.routes, route, |figures| {
            let class = usize::from(status / 100).clamp(1, 5) - 1;
            count(&figures.statuses[class]);
            let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
            count(&figures.buckets[BUCKETS_NANOS.partition_point(|&bound| bound < nanos)]);
            figures.nanos.fetch_add(nanos, Ordering::Relaxed);
        });
    }

    /// A request was refused before anybody asked what it wants. `code` is the problem's.
    pub fn unsound(&self, code: &'static str) {
        self.unsound.with(&self.metrics.0.unsound, code, count);
    }

    /// A request was sent to its upstream, or could not be.
    pub fn upstream(&self, upstream: &str, outcome: UpstreamOutcome) {
        self.upstreams
            .with(&self.metrics.0.upstreams, upstream, |figures| count(&figures.0[outcome as usize]));
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
