//! The page about reasons: every slug that status, Events, metrics and logs share, with what the code says of it.

use std::fmt::{Debug, Write as _};

use anyhow::Result;
use osproxy_directives::operator::observe;
use osproxy_directives::{document, etcd, fleet, resource};

use crate::comments::{Comments, comments};

pub(crate) fn page() -> Result<String> {
    let mut page = String::from(BEFORE);

    page.push_str("\n## Why a resource is refused\n\n");
    page.push_str("The reason of the condition `Accepted`, and of the Event `Rejected`. The message names the field and says what is allowed.\n\n");
    page.push_str("| reason | slug | what is wrong |\n|---|---|---|\n");
    let about = comments("src/resource/refusal.rs", "Reason")?;
    for reason in resource::Reason::ALL {
        let (word, slug) = (reason.condition_reason(), reason.slug());
        writeln!(page, "| `{word}` | `{slug}` | {} |", about.of(&reason)?)?;
    }
    page.push_str("| `RefusedByDecoder` | the decoder's | The proxies' own decoder refused the mapped entry; its slug stands in the message. |\n");

    page.push_str("\n## Why a document is refused\n\n");
    page.push_str("In a store's `status().refused`, and in its log. The last good document stays in force.\n\n");
    let about = comments("src/document/refusal.rs", "Reason")?;
    rows(&mut page, &about, document::Reason::ALL, |reason| {
        reason.slug()
    })?;

    page.push_str("\n## What goes wrong with etcd\n\n");
    page.push_str("In a store's `status().last_fault`, in the operator's `held` metric, in `/readyz` and in both logs.\n\n");
    let about = comments("src/etcd/fault.rs", "Fault")?;
    rows(&mut page, &about, etcd::Fault::ALL, etcd::Fault::slug)?;

    page.push_str("\n## Why the resources cannot be seen\n\n");
    page.push_str("In the operator's `kube_fault` metric, in `/readyz` and in its log.\n\n");
    let about = comments("src/operator/observe/fault.rs", "Fault")?;
    rows(&mut page, &about, observe::Fault::ALL, observe::Fault::slug)?;

    page.push_str("\n## Why a proxy's record cannot be read\n\n");
    page.push_str("In the column REFUSAL of `proxies`, and as the `refusal` of a proxy in the DiagnosticsFleet. Nothing is known then of the proxy but that it reports.\n\n");
    let about = comments("src/fleet/record.rs", "Unreadable")?;
    rows(
        &mut page,
        &about,
        fleet::Unreadable::ALL,
        fleet::Unreadable::slug,
    )?;
    Ok(page)
}

const BEFORE: &str = "# Reasons

Each reason has one stable slug, free of values: the same word in a status, an Event, a metric and a log. This page is made from the code.
";

fn rows<T: Copy + Debug>(
    page: &mut String,
    about: &Comments,
    all: impl IntoIterator<Item = T>,
    slug: impl Fn(T) -> &'static str,
) -> Result<()> {
    page.push_str("| slug | what it means |\n|---|---|\n");
    for one in all {
        writeln!(page, "| `{}` | {} |", slug(one), about.of(&one)?)?;
    }
    Ok(())
}
