//! The page about Events: of what each is sent, with what the code says of it.

use std::fmt::Write as _;

use anyhow::Result;
use osproxy_directives::operator::report::{EVENT_BURST, EVENT_REFILL, EVENT_SPACING, EventReason};

use crate::comments::comments;

pub(crate) fn page() -> Result<String> {
    let mut page = String::from(BEFORE);
    let about = comments("src/operator/report/reason.rs", "EventReason")?;
    for (title, of_directives) in [("About a directive", true), ("About the release", false)] {
        writeln!(page, "\n## {title}\n")?;
        page.push_str(if of_directives {
            "`kubectl events --for diag/NAME` shows them.\n\n"
        } else {
            "They stand at the release's Deployment, in its namespace, each once when it begins.\n\n"
        });
        page.push_str("| reason | type | when |\n|---|---|---|\n");
        for reason in EventReason::ALL {
            if reason.is_about_a_directive() == of_directives {
                let type_ = if reason.is_warning() {
                    "Warning"
                } else {
                    "Normal"
                };
                writeln!(
                    page,
                    "| `{}` | {type_} | {} |",
                    reason.word(),
                    about.of(&reason)?
                )?;
            }
        }
    }
    writeln!(
        page,
        "\n## How many\n\nAt most {} a second about directives. About one directive {EVENT_BURST} in a row, and then one more each {} min. What is beyond that is not sent, and counted in \
         `osproxy_directives_events_dropped_total`: the status says the same. No Event is sent again, and nothing depends on one.",
        1_000 / EVENT_SPACING.as_millis(),
        EVENT_REFILL.as_secs() / 60,
    )?;
    Ok(page)
}

const BEFORE: &str = "# Events

What is worth a word when it happens; what holds stands in the [conditions](conditions.md). A note names ids, revisions and times, and no selector value. This page is
made from the code.
";
