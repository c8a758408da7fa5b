//! What `proxies` shows: a function of what is reported and the time.

use serde_json::{Value, json};

use crate::cli::table::Table;
use crate::cli::terminal::{Look, Tone, plain};
use crate::fleet::{FleetView, Standing, Target};
use crate::operator::report::rfc3339;
use crate::resource::format_duration;

/// The proxies that are shown, and how many there are.
#[derive(Debug)]
pub(super) struct Proxies {
    rows: Vec<Row>,
    reporting: u64,
    applied: u64,
    now_secs: u64,
}

#[derive(Debug)]
struct Row {
    instance: String,
    standing: &'static str,
    version: String,
    revision: i64,
    /// By how many revisions it is behind the last publication; none where that is not known.
    behind: Option<i64>,
    publication: Option<String>,
    clock_ahead_ms: Option<i64>,
    refusal: Option<String>,
}

const CURRENT: &str = "Applied";

impl Proxies {
    /// Those that a `DiagnosticsFleet` names.
    pub(super) fn reported(fleet: &Value, now_secs: u64) -> Self {
        let status = &fleet["status"];
        let target = status["revision"].as_i64();
        let count = |member: &str| status["proxies"][member].as_u64().unwrap_or_default();
        let worst = status["worst"].as_array().into_iter().flatten();
        let rows = worst.map(|proxy| {
            let text = |member: &str| proxy[member].as_str().map(plain);
            let revision = proxy["revision"].as_i64().unwrap_or_default();
            Row {
                instance: text("instance").unwrap_or_default(),
                standing: match proxy["standing"].as_str() {
                    Some("Rejecting") => "Rejecting",
                    Some("Lagging") => "Lagging",
                    Some(CURRENT) => CURRENT,
                    _ => "Unknown",
                },
                version: text("version").unwrap_or_default(),
                revision,
                behind: target.map(|target| (target - revision).max(0)),
                publication: text("publicationTime"),
                clock_ahead_ms: proxy["clockAheadMilliseconds"].as_i64(),
                refusal: text("refusal"),
            }
        });
        Self {
            rows: rows.collect(),
            reporting: count("reporting"),
            applied: count("applied"),
            now_secs,
        }
    }

    /// All of them, by their own records: the worst first, then by name.
    pub(super) fn recorded(view: &FleetView, target: Target, now_secs: u64) -> Self {
        let mut proxies: Vec<_> = view.proxies().collect();
        proxies.sort_by_key(|proxy| (proxy.standing(target), proxy.instance.clone()));
        let rows = proxies.into_iter().map(|proxy| {
            let standing = match proxy.standing(target) {
                Standing::Rejecting => "Rejecting",
                Standing::Unknown => "Unknown",
                Standing::Lagging => "Lagging",
                Standing::Applied => CURRENT,
            };
            let record = proxy.record.as_ref();
            let unreadable = record.err().map(|why| why.slug().to_owned());
            let refused = record.ok().and_then(|record| record.refused.as_ref());
            let revision = record.map_or(0, |record| record.revision);
            let known = !target.absence_will_do && standing != CURRENT;
            Row {
                instance: proxy.instance.clone(),
                standing,
                version: record
                    .map(|record| record.version.clone())
                    .unwrap_or_default(),
                revision,
                behind: known.then(|| (target.revision - revision).max(0)),
                publication: record
                    .ok()
                    .and_then(|record| record.publication_secs)
                    .map(rfc3339),
                clock_ahead_ms: record.ok().and_then(|record| record.clock_ahead_ms),
                refusal: unreadable.or(refused.map(|refused| refused.reason.clone())),
            }
        });
        let counts = view.counts(target);
        let whole = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Self {
            rows: rows.collect(),
            reporting: whole(counts.reporting),
            applied: whole(counts.applied),
            now_secs,
        }
    }

    /// Whether every proxy that reports is current.
    pub(super) fn are_current(&self) -> bool {
        self.applied == self.reporting
    }

    /// For people.
    pub(super) fn text(&self, look: Look) -> String {
        let header = [
            "INSTANCE",
            "STANDING",
            "VERSION",
            "REVISION",
            "BEHIND",
            "PUBLISHED",
            "CLOCK",
            "REFUSAL",
        ];
        let mut table = Table::new(&header);
        for row in &self.rows {
            let tone = if row.standing == CURRENT {
                Tone::Good
            } else {
                Tone::Bad
            };
            let plain = |text: Option<String>| (Tone::Plain, text.unwrap_or_default());
            table.row([
                plain(Some(row.instance.clone())),
                (tone, row.standing.to_owned()),
                plain(Some(row.version.clone())),
                plain(Some(row.revision.to_string())),
                plain(row.behind.map(|behind| behind.to_string())),
                plain(row.publication.as_deref().map(|time| self.ago(time))),
                plain(row.clock_ahead_ms.map(|ms| format!("{ms:+}ms"))),
                (Tone::Bad, row.refusal.clone().unwrap_or_default()),
            ]);
        }
        let mut out = if table.is_empty() {
            String::new()
        } else {
            table.print(look) + "\n"
        };
        let sum = match (self.reporting, self.applied) {
            (0, _) => "No proxy reports.\n".to_owned(),
            (all, applied) if all == applied => {
                format!("Every proxy that reports is current: {all}.\n")
            }
            (all, applied) => format!("{applied} of {all} proxies that report are current.\n"),
        };
        out += &sum;
        out
    }

    /// For machines.
    pub(super) fn machine(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "instance": row.instance,
                    "standing": row.standing,
                    "version": row.version,
                    "revision": row.revision,
                    "behind": row.behind,
                    "publicationTime": row.publication,
                    "clockAheadMilliseconds": row.clock_ahead_ms,
                    "refusal": row.refusal,
                })
            })
            .collect();
        json!({ "reporting": self.reporting, "applied": self.applied, "proxies": rows })
    }

    fn ago(&self, time: &str) -> String {
        let at =
            crate::resource::parse_time(time).and_then(|time| u64::try_from(time.as_second()).ok());
        let passed = at.map(|at| self.now_secs.saturating_sub(at));
        passed.map_or_else(
            || time.to_owned(),
            |secs| format!("{} ago", format_duration(secs)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22T14:00:00Z
    const NOW: u64 = 1_795_356_000;

    const PIPE: Look = Look {
        width: None,
        colour: false,
        terminal: false,
    };

    #[test]
    fn records_are_shown_the_worst_first() {
        let mut view = FleetView::default();
        for (name, record) in [
            (
                "edge-1",
                r#"{"version":"0.1.0","revision":812,"publication_secs":1795355940,"clock_ahead_ms":-3}"#,
            ),
            ("edge-2", r#"{"version":"0.1.0","revision":800}"#),
            (
                "edge-3",
                r#"{"version":"0.1.0","revision":790,"refused":{"reason":"unknown_member","revision":812}}"#,
            ),
            ("edge-4", "?"),
        ] {
            view.set(name, record.as_bytes(), 1, 900);
        }
        let proxies = Proxies::recorded(&view, Target::published(812), NOW);
        let expected = "\
INSTANCE  STANDING   VERSION  REVISION  BEHIND  PUBLISHED  CLOCK  REFUSAL
edge-3    Rejecting  0.1.0    790       22      -          -      unknown_member
edge-4    Unknown    -        0         812     -          -      record_form
edge-2    Lagging    0.1.0    800       12      -          -      -
edge-1    Applied    0.1.0    812       -       1m ago     -3ms   -

1 of 4 proxies that report are current.
";
        assert_eq!(proxies.text(PIPE), expected);
        assert!(!proxies.are_current());
        assert_eq!(proxies.machine()["proxies"][0]["behind"], 22);
    }

    #[test]
    fn what_the_operator_reported_is_shown_as_it_is() {
        let fleet = json!({"status": {
            "revision": 812,
            "proxies": {"reporting": 4, "applied": 3, "rejecting": 0, "lagging": 1},
            "worst": [{"instance": "edge-2", "standing": "Lagging", "version": "0.1.0", "revision": 800}],
        }});
        let text = Proxies::reported(&fleet, NOW).text(PIPE);
        assert!(
            text.contains("\nedge-2    Lagging   0.1.0    800       12      -"),
            "{text}"
        );
        assert!(
            text.ends_with("\n3 of 4 proxies that report are current.\n"),
            "{text}"
        );
        let none = Proxies::reported(&json!({}), NOW);
        assert_eq!(none.text(PIPE), "No proxy reports.\n");
        assert!(none.are_current());
    }
}
