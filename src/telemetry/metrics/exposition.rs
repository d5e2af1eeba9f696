//! The figures as text: OpenMetrics 1.0, or Prometheus' own format 0.0.4 where that is not asked for.
//!
//! Callers: `admin` asks for the text at each scrape.

use std::fmt;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use prometheus_client::collector::Collector as Encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::{
    BUCKETS, ConnectionRefused, Decided, Handshake, Kind, Login, Metrics, Reload, RouteFigures, Row, Stripe,
    UpstreamOutcome, process,
};

/// How the text is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exposition {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4, which everything reads.
    Prometheus,
}

impl Exposition {
    /// What `Accept` asks for: OpenMetrics where it is named and not liked less than plain text.
    pub fn accepted(accept: &str) -> Self {
        let (mut open, mut plain) = (0.0_f32, 0.0_f32);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse);
            // A quality that is no number is none.
            let quality = quality.unwrap_or(0.0);
            if name.eq_ignore_ascii_case("application/openmetrics-text") {
                open = open.max(quality);
            } else if name.eq_ignore_ascii_case("text/plain") {
                plain = plain.max(quality);
            }
        }
        if open > 0.0 && open >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

impl Metrics {
    /// All figures as they are now.
    pub fn expose(&self, exposition: Exposition) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut written = String::new();
        // Writing to memory doesn't fail.
        let _ = text::encode(&mut written, &registry);
        match exposition {
            Exposition::OpenMetrics => written,
            Exposition::Prometheus => plain(&written),
        }
    }
}

impl Encode for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut write = Writer(encoder);
        self.requests(&mut write)?;
        self.fixed(&mut write)?;
        self.configuration(&mut write)?;
        self.collected(&mut write)?;
        for process::Figure { help, kind, name, value } in process::figures() {
            write.rows(name, help, kind, &Row::alone(value))?;
        }
        let lost = Row::alone(crate::telemetry::audit::lost() as f64);
        write.rows(
            "foregate_audit_lost",
            "Events missing in the file of the audit trail",
            Kind::Counter,
            &lost,
        )?;
        let build = vec![Row { labels: vec![("version", env!("CARGO_PKG_VERSION").to_owned())], value: 1.0 }];
        write.rows("foregate_build_info", "Which build this is", Kind::Gauge, &build)
    }
}

impl Metrics {
    /// What has the name of a route, an upstream or a fault.
    fn requests(&self, write: &mut Writer<'_>) -> fmt::Result {
        let routes = self.0.routes.collect();
        write.family(
            "foregate_requests",
            "Requests answered, by the route that decided and the class of the status",
            MetricType::Counter,
            |family| {
                for (name, figures) in &routes {
                    for (at, class) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().enumerate() {
                        let sum = sum(figures.iter().map(|figures| &figures.statuses[at]));
                        counter(family, &[("route", &**name), ("status_class", class)], sum)?;
                    }
                }
                Ok(())
            },
        )?;
        write.family(
            "foregate_request_duration_seconds",
            "Time from the head of a request to the head of its answer",
            MetricType::Histogram,
            |family| {
                routes.iter().try_for_each(|(name, figures)| {
                    histogram(family, &[("route", &**name)], figures.iter().map(|figures| &**figures))
                })
            },
        )?;
        write.family(
            "foregate_upstream_requests",
            "Requests sent to an upstream, by what became of them",
            MetricType::Counter,
            |family| {
                for (name, figures) in self.0.upstreams.collect() {
                    for (at, outcome) in UpstreamOutcome::WORDS.iter().enumerate() {
                        let sum = sum(figures.iter().map(|figures| &figures.0[at]));
                        counter(family, &[("upstream", &*name), ("outcome", outcome)], sum)?;
                    }
                }
                Ok(())
            },
        )?;
        write.family(
            "foregate_unsound_requests",
            "Requests refused because they could not be read without doubt",
            MetricType::Counter,
            |family| {
                self.0.unsound.collect().iter().try_for_each(|(code, figures)| {
                    counter(family, &[("code", &**code)], sum(figures.iter().map(|figures| &**figures)))
                })
            },
        )
    }

    /// What has fixed labels, or none.
    fn fixed(&self, write: &mut Writer<'_>) -> fmt::Result {
        let total = |of: fn(&Stripe) -> &AtomicU64| sum(self.0.stripes.iter().map(of));
        let open = |of: fn(&Stripe) -> &AtomicI64| {
            let open: i64 = self.0.stripes.iter().map(|stripe| of(stripe).load(Ordering::Relaxed)).sum();
            // The stripes are not read in one moment: what is closed meanwhile may be seen before it is opened.
            Row::alone(open.max(0) as f64)
        };
        write.words(
            "foregate_decisions",
            "Decisions on requests and sub-requests",
            ("decision", Decided::WORDS),
            |word| sum(self.0.stripes.iter().map(|stripe| &stripe.decisions[word])),
        )?;
        write.words(
            "foregate_logins",
            "Names and passwords checked, at the login page, the token endpoint and for Basic",
            ("outcome", Login::WORDS),
            |word| sum(self.0.stripes.iter().map(|stripe| &stripe.logins[word])),
        )?;
        write.alone(
            "foregate_cache_hits",
            "Credentials found in the cache",
            total(|stripe| &stripe.cache_hits),
        )?;
        write.alone(
            "foregate_cache_misses",
            "Credentials that had to be verified anew",
            total(|stripe| &stripe.cache_misses),
        )?;
        write.rows(
            "foregate_connections",
            "Open connections of clients",
            Kind::Gauge,
            &open(|s| &s.connections),
        )?;
        write.words(
            "foregate_connections_refused",
            "Connections turned away",
            ("reason", ConnectionRefused::WORDS),
            |word| sum(self.0.stripes.iter().map(|stripe| &stripe.connections_refused[word])),
        )?;
        write.rows("foregate_tunnels", "Open upgraded connections", Kind::Gauge, &open(|s| &s.tunnels))?;
        write.words("foregate_tls_handshakes", "TLS handshakes", ("outcome", Handshake::WORDS), |word| {
            sum(self.0.stripes.iter().map(|stripe| &stripe.handshakes[word]))
        })
    }

    /// The reading of the configuration.
    fn configuration(&self, write: &mut Writer<'_>) -> fmt::Result {
        let value = |of: &AtomicU64| Row::alone(of.load(Ordering::Relaxed) as f64);
        write.words(
            "foregate_config_reloads",
            "Configurations read while serving",
            ("outcome", Reload::WORDS),
            |word| self.0.reloads[word].load(Ordering::Relaxed),
        )?;
        write.rows(
            "foregate_config_last_reload_successful",
            "Whether the configuration that was read last holds",
            Kind::Gauge,
            &value(&self.0.last_reload_ok),
        )?;
        write.rows(
            "foregate_config_last_reload_success_timestamp_seconds",
            "When the configuration was read that holds",
            Kind::Gauge,
            &value(&self.0.last_reload),
        )
    }

    /// What others make at this moment.
    fn collected(&self, write: &mut Writer<'_>) -> fmt::Result {
        // Not while the lock is held: they may take their time.
        let collectors = self.0.collectors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        collectors.iter().try_for_each(|(name, collector)| {
            let name = format!("foregate_{name}");
            write.rows(&name, collector.help, collector.kind, &(collector.rows)())
        })
    }
}

/// The crate's encoder, with the few shapes that figures have here.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn family(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        rows: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        rows(&mut self.0.encode_descriptor(name, help, None, kind)?)
    }

    /// A counter without labels.
    fn alone(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family(name, help, MetricType::Counter, |family| {
            family.encode_counter::<NoLabelSet, _, u64>(&value, None)
        })
    }

    /// A counter for each word of a fixed set.
    fn words(
        &mut self,
        name: &str,
        help: &str,
        (label, words): (&str, &[&str]),
        value: impl Fn(usize) -> u64,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Counter, |family| {
            words.iter().enumerate().try_for_each(|(at, word)| counter(family, &[(label, *word)], value(at)))
        })
    }

    fn rows(&mut self, name: &str, help: &str, kind: Kind, rows: &[Row]) -> fmt::Result {
        let metric_type = match kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
        };
        self.family(name, help, metric_type, |family| {
            rows.iter().try_for_each(|Row { labels, value }| {
                let labels: Vec<(&str, &str)> =
                    labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let write = |row: &mut MetricEncoder<'_>| match kind {
                    Kind::Counter => row.encode_counter::<NoLabelSet, _, f64>(value, None),
                    Kind::Gauge => row.encode_gauge(value),
                };
                // Without labels there are no braces.
                if labels.is_empty() { write(family) } else { write(&mut family.encode_family(&labels)?) }
            })
        })
    }
}

fn counter(family: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
    family.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

fn histogram<'f>(
    family: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    figures: impl Iterator<Item = &'f RouteFigures> + Clone,
) -> fmt::Result {
    let bounds = BUCKETS.into_iter().chain([f64::INFINITY]).enumerate();
    let bucket =
        |(at, bound)| (bound, sum(figures.clone().map(|figures: &RouteFigures| &figures.buckets[at])));
    let buckets: Vec<(f64, u64)> = bounds.map(bucket).collect();
    // The sum of what is shown, so that it agrees with the buckets while others count.
    let count = buckets.iter().map(|(_, count)| count).sum();
    let seconds = sum(figures.map(|figures| &figures.nanos)) as f64 / 1e9;
    family.encode_family(labels)?.encode_histogram::<NoLabelSet>(seconds, count, &buckets, None)
}

fn sum<'c>(counters: impl Iterator<Item = &'c AtomicU64>) -> u64 {
    counters.fold(0, |sum, counter| sum.wrapping_add(counter.load(Ordering::Relaxed)))
}

/// OpenMetrics in Prometheus' own format: there a counter's family is called as its rows are, and
/// there is no last line.
fn plain(open: &str) -> String {
    let mut plain = String::with_capacity(open.len() + 1024);
    let mut help = None;
    for line in open.lines() {
        if line.starts_with("# HELP ") {
            // How the family is called depends on its kind, which comes with the next line.
            help = Some(line);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let help = help.take().and_then(|help| help.splitn(4, ' ').nth(3)).unwrap_or_default();
            plain += &format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
        } else if line != "# EOF" {
            plain += line;
            plain.push('\n');
        }
    }
    plain
}
