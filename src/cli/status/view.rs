//! What `status` shows: a function of the objects and the time.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cli::standing::{Seen, Standing, judge};
use crate::cli::table::Table;
use crate::cli::terminal::{Look, Tone, plain, wrap};
use crate::operator::report::rfc3339;
use crate::resource::format_duration;

/// Everything that is shown, in the order in which it is.
#[derive(Debug)]
pub(super) struct Overview {
    now_secs: u64,
    seen: Vec<Seen>,
    fleet: Option<Value>,
    /// The one namespace that was looked at.
    namespace: Option<String>,
}

impl Overview {
    /// What `objects` and the fleet's own report come to at `now_secs`.
    pub(super) fn new(objects: &[Value], mut fleet: Option<Value>, now_secs: u64) -> Self {
        // Who wrote which member of it is nobody's question here, and is longer than the rest.
        if let Some(meta) = fleet
            .as_mut()
            .and_then(|fleet| fleet["metadata"].as_object_mut())
        {
            meta.remove("managedFields");
        }
        let mut seen: Vec<Seen> = objects
            .iter()
            .filter_map(|object| judge(object, now_secs))
            .collect();
        seen.sort_by_key(|seen| {
            let end = seen.window.map_or(u64::MAX, |(_, end)| end);
            (
                seen.standing,
                end,
                seen.namespace.clone(),
                seen.name.clone(),
            )
        });
        Self {
            now_secs,
            seen,
            fleet,
            namespace: None,
        }
    }

    /// Where only one namespace was looked at: which.
    pub(super) fn of_namespace(self, namespace: Option<String>) -> Self {
        Self { namespace, ..self }
    }

    /// The same at any time, as long as nothing but time has passed.
    pub(super) fn timeless(&self) -> String {
        let mut machine = self.machine();
        machine["time"] = Value::Null;
        machine["fleet"]["metadata"] = Value::Null;
        for directive in machine["directives"].as_array_mut().into_iter().flatten() {
            directive["leftSeconds"] = Value::Null;
        }
        machine.to_string()
    }

    /// What stands above one of several screens, so that it is seen how old each is.
    pub(super) fn as_of(&self, look: Look) -> String {
        let text = format!("As of {}", rfc3339(self.now_secs));
        look.paint(Tone::Faint, &text) + "\n\n"
    }

    /// For people.
    pub(super) fn text(&self, look: Look) -> String {
        let mut table = Table::new(&["NAME", "LEFT", "LEVEL", "SAMPLE", "APPLIED", "TARGET"]);
        for seen in self.of(&[Standing::On]) {
            let tone = self.tone(seen);
            table.row([
                (Tone::Plain, id(seen)),
                (tone, self.left(seen)),
                (Tone::Plain, level(seen)),
                (Tone::Plain, seen.sample.clone()),
                (applied_tone(seen), seen.applied.clone().unwrap_or_default()),
                (Tone::Plain, seen.target.clone()),
            ]);
            if let Some(by) = by(seen) {
                table.below(Tone::Faint, by);
            }
            if let Some((reason, message)) = &seen.why {
                table.below(Tone::Bad, format!("{reason}: {message}"));
            }
        }
        let mut out = if table.is_empty() {
            self.nothing()
        } else {
            table.print(look)
        };
        let mut others = Table::new(&["NOT ON", "WHY"]);
        for seen in self.of(&[
            Standing::Pending,
            Standing::Scheduled,
            Standing::Suspended,
            Standing::Refused,
        ]) {
            others.row([(Tone::Plain, id(seen)), self.why(seen)]);
        }
        if !others.is_empty() {
            out += "\n";
            out += &others.print(look);
        }
        out += &self.foot(look);
        out
    }

    /// One line a directive, with everything in it; on a terminal that is too narrow for that, a paragraph.
    pub(super) fn wide(&self, look: Look) -> String {
        let header = [
            "NAME", "STATE", "LEFT", "LEVEL", "SAMPLE", "APPLIED", "TARGET", "ENDS", "BY",
            "COMMENT", "WHY",
        ];
        let mut table = Table::new(&header);
        for seen in self
            .seen
            .iter()
            .filter(|seen| seen.standing != Standing::Ended)
        {
            let why = seen.why.as_ref();
            let why = why.map(|(reason, message)| format!("{reason}: {message}"));
            let why = match seen.standing {
                Standing::Scheduled => (Tone::Plain, Some(self.starts(seen))),
                _ => (Tone::Bad, why),
            };
            let end = seen.window.map(|(_, end)| rfc3339(end));
            // Until it has begun, what is left of its time is all of it.
            let left = (seen.standing != Standing::Scheduled).then(|| self.left(seen));
            table.row([
                (Tone::Plain, id(seen)),
                (self.tone(seen), seen.standing.word().to_owned()),
                (Tone::Plain, left.unwrap_or_default()),
                (Tone::Plain, level(seen)),
                (Tone::Plain, seen.sample.clone()),
                (applied_tone(seen), seen.applied.clone().unwrap_or_default()),
                (Tone::Plain, seen.target.clone()),
                (Tone::Plain, end.unwrap_or_default()),
                (Tone::Plain, seen.created_by.clone()),
                (Tone::Plain, seen.comment.clone()),
                (why.0, why.1.unwrap_or_default()),
            ]);
        }
        let mut out = if table.is_empty() {
            self.nothing()
        } else {
            table.print(look)
        };
        out += &self.foot(look);
        out
    }

    /// For machines. Members are only ever added.
    pub(super) fn machine(&self) -> Value {
        let directives: Vec<Value> = self.seen.iter().map(|seen| self.directive(seen)).collect();
        json!({
            "time": rfc3339(self.now_secs),
            "directives": directives,
            "fleet": self.fleet,
        })
    }

    fn directive(&self, seen: &Seen) -> Value {
        let time = |secs: Option<u64>| secs.map(rfc3339);
        let why = seen.why.as_ref();
        json!({
            "namespace": seen.namespace,
            "name": seen.name,
            "state": seen.standing.word(),
            "starts": time(seen.window.map(|(start, _)| start)),
            "ends": time(seen.window.map(|(_, end)| end)),
            "leftSeconds": self.left_secs(seen),
            "level": seen.level,
            "sample": seen.sample,
            "target": seen.target,
            "ringBuffer": seen.ring_buffer,
            "capture": seen.capture,
            "applied": seen.applied,
            "createdBy": seen.created_by,
            "comment": seen.comment,
            "reason": why.map(|(reason, _)| reason),
            "message": why.map(|(_, message)| message),
        })
    }

    fn of<'s>(&'s self, standings: &'s [Standing]) -> impl Iterator<Item = &'s Seen> {
        let wanted = move |seen: &&Seen| standings.contains(&seen.standing);
        self.seen.iter().filter(wanted)
    }

    fn nothing(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("Nothing is on in namespace {}.\n", plain(namespace)),
            None => "Nothing is on.\n".to_owned(),
        }
    }

    /// How many have ended, and what the fleet and the operator say.
    fn foot(&self, look: Look) -> String {
        let ended = self.of(&[Standing::Ended]).count();
        let mut out = String::new();
        match ended {
            0 => {}
            1 => out += "\n1 directive has ended.\n",
            many => {
                let _ = writeln!(out, "\n{many} directives have ended.");
            }
        }
        out += "\n";
        for (title, (tone, text)) in [
            ("Fleet:", self.fleet_line()),
            ("Operator:", self.operator_line()),
        ] {
            let text = wrap(&text, 10, look.width);
            let _ = writeln!(out, "{title:<10}{}", look.paint(tone, &text));
        }
        out
    }

    fn fleet_line(&self) -> (Tone, String) {
        let Some(fleet) = &self.fleet else {
            return unknown();
        };
        let count = |member: &str| {
            fleet["status"]["proxies"][member]
                .as_i64()
                .unwrap_or_default()
        };
        let (reporting, applied) = (count("reporting"), count("applied"));
        let (lagging, rejecting) = (count("lagging"), count("rejecting"));
        if reporting == 0 {
            return (Tone::Doubtful, "no proxy reports".to_owned());
        }
        let mut text = format!("{applied} of {reporting} proxies that report are current");
        let current = condition(fleet, "ProxiesCurrent");
        if current.is_some_and(|current| current["reason"] == "Pending") {
            text += "; the others may still be in time";
            return (Tone::Doubtful, text);
        }
        for (many, what) in [(lagging, "behind"), (rejecting, "refusing the document")] {
            if many > 0 {
                let _ = write!(text, ", {many} {what}");
            }
        }
        let worst = fleet["status"]["worst"].as_array().into_iter().flatten();
        let names: Vec<String> = worst
            .filter_map(|proxy| proxy["instance"].as_str().map(plain))
            .take(3)
            .collect();
        if lagging + rejecting > 0 && !names.is_empty() {
            let _ = write!(text, ": {}", names.join(", "));
        }
        let tone = if lagging + rejecting > 0 {
            Tone::Bad
        } else {
            Tone::Good
        };
        (tone, text)
    }

    fn operator_line(&self) -> (Tone, String) {
        let Some(fleet) = &self.fleet else {
            return unknown();
        };
        let ready = condition(fleet, "Ready");
        let text = |value: &Value| value.as_str().map(plain).unwrap_or_default();
        let leader = text(&fleet["status"]["leader"]);
        let Some(ready) = ready else {
            return unknown();
        };
        let leads = if leader.is_empty() {
            "nobody leads".to_owned()
        } else {
            format!("{leader} leads")
        };
        let message = text(&ready["message"]);
        let tone = if ready["status"] == "True" {
            Tone::Good
        } else {
            Tone::Bad
        };
        (tone, format!("{leads}; {message}"))
    }

    fn why(&self, seen: &Seen) -> (Tone, String) {
        let because = match &seen.why {
            Some((reason, message)) => format!(" ({reason}): {message}"),
            None => String::new(),
        };
        match seen.standing {
            Standing::Refused => (Tone::Bad, format!("Refused{because}")),
            Standing::Pending => (Tone::Doubtful, format!("Pending{because}")),
            Standing::Scheduled => (Tone::Plain, format!("Scheduled: {}", self.starts(seen))),
            _ if seen.why.is_some() => (Tone::Bad, format!("{}{because}", seen.standing.word())),
            _ => (Tone::Plain, seen.standing.word().to_owned()),
        }
    }

    fn starts(&self, seen: &Seen) -> String {
        let start = seen.window.map_or(0, |(start, _)| start);
        let left = format_duration(start.saturating_sub(self.now_secs));
        format!("starts {} (in {left})", rfc3339(start))
    }

    fn left_secs(&self, seen: &Seen) -> Option<u64> {
        let (_, end) = seen.window?;
        Some(end.saturating_sub(self.now_secs))
    }

    fn left(&self, seen: &Seen) -> String {
        self.left_secs(seen)
            .map(format_duration)
            .unwrap_or_default()
    }

    fn tone(&self, seen: &Seen) -> Tone {
        const SOON_SECS: u64 = 120;
        match seen.standing {
            Standing::On if self.left_secs(seen) < Some(SOON_SECS) => Tone::Doubtful,
            Standing::On => Tone::Good,
            Standing::Refused => Tone::Bad,
            Standing::Pending => Tone::Doubtful,
            Standing::Scheduled | Standing::Suspended | Standing::Ended => Tone::Plain,
        }
    }
}

fn condition<'f>(fleet: &'f Value, type_: &str) -> Option<&'f Value> {
    let conditions = fleet["status"]["conditions"].as_array()?;
    conditions.iter().find(|found| found["type"] == type_)
}

fn id(seen: &Seen) -> String {
    format!("{}/{}", seen.namespace, seen.name)
}

/// The level, and what is kept besides.
fn level(seen: &Seen) -> String {
    let mut text = seen.level.clone();
    for (given, mark) in [(seen.ring_buffer, "+ring"), (seen.capture, "+capture")] {
        if given {
            text += mark;
        }
    }
    text
}

fn applied_tone(seen: &Seen) -> Tone {
    if seen.why.is_some() {
        Tone::Bad
    } else {
        Tone::Plain
    }
}

/// Who made it and why.
fn by(seen: &Seen) -> Option<String> {
    match (seen.created_by.as_str(), seen.comment.as_str()) {
        ("", "") => None,
        (by, "") => Some(format!("by {by}")),
        ("", why) => Some(why.to_owned()),
        (by, why) => Some(format!("by {by}: {why}")),
    }
}

fn unknown() -> (Tone, String) {
    (
        Tone::Faint,
        "unknown: no DiagnosticsFleet can be read".to_owned(),
    )
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
