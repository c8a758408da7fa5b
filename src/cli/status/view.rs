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
}

impl Overview {
    /// What `objects` and the fleet's own report come to at `now_secs`.
    pub(super) fn new(objects: &[Value], fleet: Option<Value>, now_secs: u64) -> Self {
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
        }
    }

    /// The same at any time, as long as nothing but time has passed.
    pub(super) fn timeless(&self) -> String {
        let mut machine = self.machine();
        machine["time"] = Value::Null;
        for directive in machine["directives"].as_array_mut().into_iter().flatten() {
            directive["leftSeconds"] = Value::Null;
        }
        machine.to_string()
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
            "Nothing is on.\n".to_owned()
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

    /// One line a directive, with everything in it.
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
            let end = seen.window.map(|(_, end)| rfc3339(end));
            table.row([
                (Tone::Plain, id(seen)),
                (self.tone(seen), seen.standing.word().to_owned()),
                (Tone::Plain, self.left(seen)),
                (Tone::Plain, level(seen)),
                (Tone::Plain, seen.sample.clone()),
                (applied_tone(seen), seen.applied.clone().unwrap_or_default()),
                (Tone::Plain, seen.target.clone()),
                (Tone::Plain, end.unwrap_or_default()),
                (Tone::Plain, seen.created_by.clone()),
                (Tone::Plain, seen.comment.clone()),
                (Tone::Bad, why.unwrap_or_default()),
            ]);
        }
        let mut out = if table.is_empty() {
            "Nothing is on.\n".to_owned()
        } else {
            // One line each, whatever the width.
            table.print(Look {
                width: None,
                ..look
            })
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
        let ready = fleet["status"]["conditions"]
            .as_array()
            .and_then(|conditions| conditions.iter().find(|c| c["type"] == "Ready"));
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
            Standing::Scheduled => {
                let start = seen.window.map_or(0, |(start, _)| start);
                let left = format_duration(start.saturating_sub(self.now_secs));
                (
                    Tone::Plain,
                    format!("Scheduled: starts {} (in {left})", rfc3339(start)),
                )
            }
            _ => (Tone::Plain, seen.standing.word().to_owned()),
        }
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
