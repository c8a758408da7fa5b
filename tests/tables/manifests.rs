//! Manifests as people and templates write them, and what becomes of each.
//!
//! Each is one line, so that a line number names a row. `NAME` stands for the name that the test gives it.

use osproxy_core::EndpointKind::{Cursor, MultiSearch, Search};
use osproxy_observe::DiagLevel::{Off, Shape, ShapeRewriteDiff, ShapeTiming};

use super::{On, on};

/// One manifest.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    manifest: &'static str,
    /// What becomes of it when it is created under the definition that is shipped.
    pub(crate) verdict: Verdict,
    /// What the operator says alone, under a definition that lets everything pass, where that is something else.
    pub(crate) alone: Option<Verdict>,
    /// What becomes of it through `kubectl apply`, which takes nulls away, where that is something else.
    pub(crate) stripped: Option<Verdict>,
    /// What becomes of it through a server-side apply, which some nulls do not survive, where that is something else.
    pub(crate) server_side: Option<Verdict>,
    /// It is about more than the spec, so it cannot be said as a change of the spec.
    pub(crate) whole: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    /// It is published, and decides this.
    Accepted(&'static [On]),
    /// It is accepted, and there is nothing to publish now.
    Idle,
    /// Refused with this slug, by whom.
    Refused(By, &'static str),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum By {
    /// The API server, by the schema or its rules.
    Schema,
    /// The operator: it passes the schema.
    Operator,
    /// The API server and kubectl, by strict field validation or because it is not even an object of the kind. Without
    /// that, the fault is gone before anybody can see it.
    Client,
}
use By::{Client, Operator, Schema};
use Verdict::{Accepted, Idle, Refused};

const fn row(name: &'static str, manifest: &'static str, verdict: Verdict) -> Row {
    Row {
        name,
        manifest,
        verdict,
        alone: None,
        stripped: None,
        server_side: None,
        whole: false,
    }
}

impl Row {
    /// The manifest under this name. Long texts, which nobody wants to read in a table, are written out here.
    pub(crate) fn manifest(&self, name: &str) -> String {
        let mut text = self.manifest.to_owned();
        for (short, letter, count) in [
            ("V256", "v", 256),
            ("V257", "v", 257),
            ("C257", "c", 257),
            ("C1025", "c", 1025),
        ] {
            text = text.replace(
                &format!("\"{short}\""),
                &format!("\"{}\"", letter.repeat(count)),
            );
        }
        text.replace("NAME", name)
            .replace(&format!("{name}-LONG200"), &long(name, 200))
            .replace(&format!("{name}-LONG201"), &long(name, 201))
    }

    /// What the resource is called when the test calls it `name`.
    pub(crate) fn object_name(&self, name: &str) -> String {
        if self.manifest.contains("NAME-LONG200") {
            long(name, 200)
        } else if self.manifest.contains("NAME-LONG201") {
            long(name, 201)
        } else {
            name.to_owned()
        }
    }

    /// Its spec, where the manifest is JSON and has one.
    pub(crate) fn spec(&self) -> Option<serde_json::Value> {
        let whole: serde_json::Value = serde_json::from_str(&self.manifest("x")).ok()?;
        whole.get("spec").cloned()
    }

    /// What becomes of it without the schema.
    pub(crate) fn alone(&self) -> Verdict {
        self.alone.unwrap_or(self.verdict)
    }

    const fn alone_is(mut self, verdict: Verdict) -> Self {
        self.alone = Some(verdict);
        self
    }

    const fn stripped_is(mut self, verdict: Verdict) -> Self {
        self.stripped = Some(verdict);
        self
    }

    const fn server_side_is(mut self, verdict: Verdict) -> Self {
        self.server_side = Some(verdict);
        self
    }

    const fn whole(mut self) -> Self {
        self.whole = true;
        self
    }
}

/// A manifest with this spec.
macro_rules! spec {
    ($spec:literal) => {
        concat!(
            r#"{"apiVersion":"osproxy.io/v1alpha1","kind":"DiagnosticsDirective","metadata":{"name":"NAME"},"spec":"#,
            $spec,
            "}"
        )
    };
}

/// One that is whole but for these members of its spec.
macro_rules! with {
    ($members:literal) => {
        concat!(
            r#"{"apiVersion":"osproxy.io/v1alpha1","kind":"DiagnosticsDirective","metadata":{"name":"NAME"},"spec":{"#,
            r#""match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":"24h","#,
            $members,
            "}}"
        )
    };
}

/// One that is whole but for its target.
macro_rules! target {
    ($target:literal) => {
        concat!(
            r#"{"apiVersion":"osproxy.io/v1alpha1","kind":"DiagnosticsDirective","metadata":{"name":"NAME"},"spec":{"#,
            r#""level":"Shape","samplePerMille":1000,"ttl":"24h","#,
            $target,
            "}}"
        )
    };
}

/// What the longest texts in the table stand for; the manifests name them, and [`Row::manifest`] writes them out.
const V256: &str = concat!(
    "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv",
    "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv",
    "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv",
    "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv",
);

pub(crate) const ROWS: &[Row] = &[
    row("one tenant", target!(r#""match":[{"key":"tenant","value":"acme"}]"#), Accepted(&[on(Shape).tenant("acme")])),
    row("one index", target!(r#""match":[{"key":"index","value":"orders"}]"#), Accepted(&[on(Shape).index("orders")])),
    row("one principal", target!(r#""match":[{"key":"principal","value":"ana"}]"#), Accepted(&[on(Shape).principal("ana")])),
    row("one endpoint", target!(r#""match":[{"key":"endpoint","value":"Search"}]"#), Accepted(&[on(Shape).endpoint(Search)])),
    row("two keys", target!(r#""match":[{"key":"tenant","value":"acme"},{"key":"index","value":"orders"}]"#), Accepted(&[on(Shape).tenant("acme").index("orders")])),
    row("two keys the other way round", target!(r#""match":[{"value":"orders","key":"index"},{"value":"acme","key":"tenant"}]"#), Accepted(&[on(Shape).tenant("acme").index("orders")])),
    row("all four keys", target!(r#""match":[{"key":"tenant","value":"acme"},{"key":"index","value":"orders"},{"key":"principal","value":"ana"},{"key":"endpoint","value":"MultiSearch"}]"#), Accepted(&[on(Shape).tenant("acme").index("orders").principal("ana").endpoint(MultiSearch)])),
    row("every request, said out loud", target!(r#""allRequests":true"#), Accepted(&[on(Shape)])),
    row("every request, a small part of them", spec!(r#"{"allRequests":true,"level":"ShapeTiming","samplePerMille":5,"ttl":"24h"}"#), Accepted(&[on(ShapeTiming).sample(5)])),
    row("level ShapeTiming", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"ShapeTiming","samplePerMille":1000,"ttl":"24h"}"#), Accepted(&[on(ShapeTiming).tenant("acme")])),
    row("level ShapeRewriteDiff", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"ShapeRewriteDiff","samplePerMille":1000,"ttl":"24h"}"#), Accepted(&[on(ShapeRewriteDiff).tenant("acme")])),
    row("no level, but a ring buffer", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"samplePerMille":1000,"ttl":"24h","ringBuffer":true}"#), Accepted(&[on(Off).tenant("acme").ring_buffer()])),
    row("no level, but capture", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"samplePerMille":1000,"ttl":"24h","capture":true}"#), Accepted(&[on(Off).tenant("acme").capture()])),
    row("level Off in quotes, and capture", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Off","samplePerMille":1000,"ttl":"24h","capture":true}"#), Accepted(&[on(Off).tenant("acme").capture()])),
    row("a level, a ring buffer and capture", with!(r#""ringBuffer":true,"capture":true"#), Accepted(&[on(Shape).tenant("acme").ring_buffer().capture()])),
    row("ring buffer and capture said to be off", with!(r#""ringBuffer":false,"capture":false"#), Accepted(&[on(Shape).tenant("acme")])),
    row("no request of a thousand", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":0,"ttl":"24h"}"#), Accepted(&[on(Shape).tenant("acme").sample(0)])),
    row("one request of a thousand", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1,"ttl":"24h"}"#), Accepted(&[on(Shape).tenant("acme").sample(1)])),
    row("a sample of 5%", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":50,"ttl":"24h"}"#), Accepted(&[on(Shape).tenant("acme").sample(50)])),
    row("a whole sample with a fraction of zero", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":50.0,"ttl":"24h"}"#), Accepted(&[on(Shape).tenant("acme").sample(50)])),
    row("a sample with an exponent", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":5e1,"ttl":"24h"}"#), Accepted(&[on(Shape).tenant("acme").sample(50)])),
    row("the longest life", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":"168h"}"#), Accepted(&[on(Shape).tenant("acme")])),
    row("a life in four units", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":"23h59m59s999ms"}"#), Accepted(&[on(Shape).tenant("acme")])),
    row("a life in milliseconds", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":"86400s99999ms"}"#), Accepted(&[on(Shape).tenant("acme")])),
    row("a life with its units in any order", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":"30m23h"}"#), Accepted(&[on(Shape).tenant("acme")])),
    row("the shortest life, held back", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":"5s","suspend":true}"#), Idle),
    row("suspend said to be false", with!(r#""suspend":false"#), Accepted(&[on(Shape).tenant("acme")])),
    row("suspended", with!(r#""suspend":true"#), Idle),
    row("a start in the future", with!(r#""activeFrom":"2199-01-01T00:00:00Z""#), Idle),
    row("a start with an offset, in the future", with!(r#""activeFrom":"2199-01-01T00:00:00.5+14:00""#), Idle),
    row("a window that is over", with!(r#""activeFrom":"2001-01-01T00:00:00Z""#), Idle),
    row("people's words", with!(r#""createdBy":"ana","comment":"INC-4711: tenant globex is slow""#), Accepted(&[on(Shape).tenant("acme")])),
    row("people's words, empty", with!(r#""createdBy":"","comment":"""#), Accepted(&[on(Shape).tenant("acme")])),
    row("a value that looks like null", target!(r#""match":[{"key":"tenant","value":"null"}]"#), Accepted(&[on(Shape).tenant("null")])),
    row("a value that looks like a number", target!(r#""match":[{"key":"tenant","value":"5"}]"#), Accepted(&[on(Shape).tenant("5")])),
    row("a star is a name and no pattern", target!(r#""match":[{"key":"tenant","value":"*"}]"#), Accepted(&[on(Shape).tenant("*")])),
    row("a space at the end belongs to the value", target!(r#""match":[{"key":"tenant","value":"acme "}]"#), Accepted(&[on(Shape).tenant("acme ")])),
    row("a value's case counts", target!(r#""match":[{"key":"tenant","value":"Acme"}]"#), Accepted(&[on(Shape).tenant("Acme")])),
    row("a value with quotes and a backslash", target!(r#""match":[{"key":"tenant","value":"a\"\\b"}]"#), Accepted(&[on(Shape).tenant("a\"\\b")])),
    row("a value beyond ASCII", target!(r#""match":[{"key":"tenant","value":"bücher"}]"#), Accepted(&[on(Shape).tenant("bücher")])),
    row("a value in an escaped spelling", target!(r#""match":[{"key":"tenant","value":"\u0061cme"}]"#), Accepted(&[on(Shape).tenant("acme")])),
    row("the longest value", target!(r#""match":[{"key":"tenant","value":"V256"}]"#), Accepted(&[on(Shape).tenant(V256)])),
    row("the key's name in an escaped spelling", target!(r#""match":[{"k\u0065y":"tenant","value":"acme"}]"#), Accepted(&[on(Shape).tenant("acme")])),
    row("a value that is a word of YAML, in quotes", target!(r#""match":[{"key":"tenant","value":"no"}]"#), Accepted(&[on(Shape).tenant("no")])),
    row("YAML without quotes", "{apiVersion: osproxy.io/v1alpha1, kind: DiagnosticsDirective, metadata: {name: NAME}, spec: {match: [{key: tenant, value: acme}], level: Shape, samplePerMille: 50, ttl: 24h}}", Accepted(&[on(Shape).tenant("acme").sample(50)])),
    row("YAML, a time without quotes", "{apiVersion: osproxy.io/v1alpha1, kind: DiagnosticsDirective, metadata: {name: NAME}, spec: {match: [{key: tenant, value: 2026-11-22}], level: Shape, samplePerMille: 0x32, ttl: 24h}}", Accepted(&[on(Shape).tenant("2026-11-22").sample(50)])),
    row("YAML, capture: on", "{apiVersion: osproxy.io/v1alpha1, kind: DiagnosticsDirective, metadata: {name: NAME}, spec: {match: [{key: endpoint, value: Cursor}], samplePerMille: 1000, ttl: 24h, capture: on}}", Accepted(&[on(Off).endpoint(Cursor).capture()])),
    row("the longest name", r#"{"apiVersion":"osproxy.io/v1alpha1","kind":"DiagnosticsDirective","metadata":{"name":"NAME-LONG200"},"spec":{"allRequests":true,"level":"Shape","samplePerMille":7,"ttl":"24h"}}"#, Accepted(&[on(Shape).sample(7)])).whole(),
    row("no target", spec!(r#"{"level":"Shape","samplePerMille":1000,"ttl":"24h"}"#), Refused(Schema, "no_target")),
    row("an empty match", target!(r#""match":[]"#), Refused(Schema, "no_target")),
    row("both targets", target!(r#""match":[{"key":"tenant","value":"acme"}],"allRequests":true"#), Refused(Schema, "both_targets")),
    row("allRequests false", target!(r#""allRequests":false"#), Refused(Schema, "all_requests_not_true")),
    row("allRequests false beside match", target!(r#""match":[{"key":"tenant","value":"acme"}],"allRequests":false"#), Refused(Schema, "both_targets")),
    row("allRequests a string", target!(r#""allRequests":"true""#), Refused(Schema, "wrong_type")),
    row("allRequests a number", target!(r#""allRequests":1"#), Refused(Schema, "wrong_type")),
    row("match an object", target!(r#""match":{"tenant":"acme"}"#), Refused(Schema, "wrong_type")),
    row("match a string", target!(r#""match":"tenant=acme""#), Refused(Schema, "wrong_type")),
    row("match a number", target!(r#""match":5"#), Refused(Schema, "wrong_type")),
    row("match a list of strings", target!(r#""match":["tenant=acme"]"#), Refused(Schema, "wrong_type")),
    row("match a list with a null", target!(r#""match":[null]"#), Refused(Schema, "null_value")),
    row("match a list with a null at the end", target!(r#""match":[{"key":"tenant","value":"acme"},null]"#), Refused(Schema, "null_value")),
    row("match a list of lists", target!(r#""match":[[{"key":"tenant","value":"acme"}]]"#), Refused(Schema, "wrong_type")),
    row("an item of nothing", target!(r#""match":[{}]"#), Refused(Schema, "missing_field")),
    row("an item without a value", target!(r#""match":[{"key":"tenant"}]"#), Refused(Schema, "missing_field")),
    row("an item without a key", target!(r#""match":[{"value":"acme"}]"#), Refused(Schema, "missing_field")),
    row("an item with an empty value", target!(r#""match":[{"key":"tenant","value":""}]"#), Refused(Schema, "empty_value")),
    row("an item with a null for its value", target!(r#""match":[{"key":"tenant","value":null}]"#), Refused(Schema, "missing_field")).alone_is(Refused(Operator, "null_value")),
    row("an item with a null for its key", target!(r#""match":[{"key":null,"value":"acme"}]"#), Refused(Schema, "missing_field")).alone_is(Refused(Operator, "null_value")),
    row("a null among good items", target!(r#""match":[{"key":"tenant","value":"acme"},{"key":"index","value":null}]"#), Refused(Schema, "missing_field")).alone_is(Refused(Operator, "null_value")),
    row("a value that is a number", target!(r#""match":[{"key":"tenant","value":5}]"#), Refused(Schema, "wrong_type")),
    row("a value that is a boolean", target!(r#""match":[{"key":"tenant","value":true}]"#), Refused(Schema, "wrong_type")),
    row("a value that is a list", target!(r#""match":[{"key":"tenant","value":["acme"]}]"#), Refused(Schema, "wrong_type")),
    row("a value that is an object", target!(r#""match":[{"key":"tenant","value":{"name":"acme"}}]"#), Refused(Schema, "wrong_type")),
    row("a value a character too long", target!(r#""match":[{"key":"tenant","value":"V257"}]"#), Refused(Schema, "too_long")),
    row("a key twice", target!(r#""match":[{"key":"tenant","value":"acme"},{"key":"tenant","value":"globex"}]"#), Refused(Schema, "duplicate_match_key")),
    row("a key twice with one value", target!(r#""match":[{"key":"tenant","value":"acme"},{"key":"tenant","value":"acme"}]"#), Refused(Schema, "duplicate_match_key")),
    row("a key that is none", target!(r#""match":[{"key":"tennant","value":"acme"}]"#), Refused(Schema, "unknown_match_key")),
    row("a key in capitals", target!(r#""match":[{"key":"Tenant","value":"acme"}]"#), Refused(Schema, "unknown_match_key")),
    row("an empty key", target!(r#""match":[{"key":"","value":"acme"}]"#), Refused(Schema, "unknown_match_key")),
    row("a key that is a number", target!(r#""match":[{"key":5,"value":"acme"}]"#), Refused(Schema, "wrong_type")),
    row("an endpoint that is none", target!(r#""match":[{"key":"endpoint","value":"Reindex"}]"#), Refused(Schema, "unknown_endpoint")),
    row("an endpoint in lower case", target!(r#""match":[{"key":"endpoint","value":"search"}]"#), Refused(Schema, "unknown_endpoint")),
    row("a member more in an item", target!(r#""match":[{"key":"tenant","value":"acme","negate":true}]"#), Refused(Operator, "unknown_field")),
    row("a mistyped value in an item", target!(r#""match":[{"key":"tenant","value":"acme","vlaue":"globex"}]"#), Refused(Operator, "unknown_field")),
    row("an item that only has mistyped members", target!(r#""match":[{"kye":"tenant","vlaue":"acme"}]"#), Refused(Schema, "unknown_field")),
    row("five items", target!(r#""match":[{"key":"tenant","value":"a"},{"key":"index","value":"a"},{"key":"principal","value":"a"},{"key":"endpoint","value":"Search"},{"key":"tenant","value":"b"}]"#), Refused(Schema, "duplicate_match_key")),
    row("a mistyped suspend", with!(r#""supend":true"#), Refused(Operator, "unknown_field")),
    row("a mistyped activeFrom", with!(r#""activFrom":"2199-01-01T00:00:00Z""#), Refused(Operator, "unknown_field")),
    row("a mistyped sample beside the right one", with!(r#""samplePermille":1"#), Refused(Operator, "unknown_field")),
    row("tenant as on the wire", with!(r#""tenant":"acme""#), Refused(Operator, "unknown_field")),
    row("a narrower index as on the wire", with!(r#""index":"orders""#), Refused(Operator, "unknown_field")),
    row("principal as on the wire", with!(r#""principal":"ana""#), Refused(Operator, "unknown_field")),
    row("endpoint as on the wire", with!(r#""endpoint":"Search""#), Refused(Operator, "unknown_field")),
    row("the sample as on the wire", with!(r#""sample_per_mille":1"#), Refused(Operator, "unknown_field")),
    row("the life as on the wire", with!(r#""ttl_secs":60"#), Refused(Operator, "unknown_field")),
    row("the ring buffer as on the wire", with!(r#""ring_buffer":true"#), Refused(Operator, "unknown_field")),
    row("an id", with!(r#""id":"x""#), Refused(Operator, "unknown_field")),
    row("a foreign member", with!(r#""matchLabels":{"app":"x"}"#), Refused(Operator, "unknown_field")),
    row("a nest of foreign members", with!(r#""x":{"y":[{"z":null}]}"#), Refused(Operator, "unknown_field")),
    row("a mistyped match beside the right one", with!(r#""Match":[{"key":"index","value":"orders"}]"#), Refused(Operator, "unknown_field")),
    row("a member with an empty name", with!(r#""":1"#), Refused(Operator, "unknown_field")),
    row("a mistyped match alone", target!(r#""mtach":[{"key":"tenant","value":"acme"}]"#), Refused(Schema, "unknown_field")),
    row("a foreign null", with!(r#""supend":null"#), Refused(Operator, "unknown_field")).stripped_is(Accepted(&[on(Shape).tenant("acme")])),
    row("does nothing", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Off","samplePerMille":1000,"ttl":"24h"}"#), Refused(Schema, "does_nothing")),
    row("no level and nothing else to do", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"samplePerMille":1000,"ttl":"24h"}"#), Refused(Schema, "does_nothing")),
    row("level false, YAML's Off", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":false,"samplePerMille":1000,"ttl":"24h"}"#), Refused(Schema, "wrong_type")),
    row("level in lower case", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"shape","samplePerMille":1000,"ttl":"24h"}"#), Refused(Schema, "unknown_level")),
    row("level empty", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"","samplePerMille":1000,"ttl":"24h"}"#), Refused(Schema, "unknown_level")),
    row("level a number", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":1,"samplePerMille":1000,"ttl":"24h"}"#), Refused(Schema, "wrong_type")),
    row("level a list", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":["Shape"],"samplePerMille":1000,"ttl":"24h"}"#), Refused(Schema, "wrong_type")),
    row("level null and nothing else to do", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":null,"samplePerMille":1000,"ttl":"24h"}"#), Refused(Schema, "does_nothing")).alone_is(Refused(Operator, "null_value")),
    row("level null, and capture", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":null,"samplePerMille":1000,"ttl":"24h","capture":true}"#), Accepted(&[on(Off).tenant("acme").capture()])).alone_is(Refused(Operator, "null_value")).stripped_is(Accepted(&[on(Off).tenant("acme").capture()])),
    row("no sample", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","ttl":"24h"}"#), Refused(Schema, "missing_field")),
    row("a sample of null", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":null,"ttl":"24h"}"#), Refused(Schema, "missing_field")).alone_is(Refused(Operator, "null_value")),
    row("a sample of 1001", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1001,"ttl":"24h"}"#), Refused(Schema, "sample_out_of_bounds")),
    row("a negative sample", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":-1,"ttl":"24h"}"#), Refused(Schema, "sample_out_of_bounds")),
    row("a sample that wraps in 16 bits", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":66536,"ttl":"24h"}"#), Refused(Schema, "sample_out_of_bounds")),
    row("a sample in quotes", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":"50","ttl":"24h"}"#), Refused(Schema, "wrong_type")),
    row("a sample in per cent", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":"5%","ttl":"24h"}"#), Refused(Schema, "wrong_type")),
    row("a sample with a fraction", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":0.5,"ttl":"24h"}"#), Refused(Schema, "wrong_type")),
    row("a sample that is true", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":true,"ttl":"24h"}"#), Refused(Schema, "wrong_type")),
    row("a sample that is a list", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":[50],"ttl":"24h"}"#), Refused(Schema, "wrong_type")),
    row("a sample beyond 64 bits", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":18446744073709551616,"ttl":"24h"}"#), Refused(Schema, "wrong_type")),
    row("no life", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000}"#), Refused(Schema, "missing_field")),
    row("a life of null", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":null}"#), Refused(Schema, "missing_field")).alone_is(Refused(Operator, "null_value")),
    row("a life that is a number", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":60}"#), Refused(Schema, "wrong_type")),
    row("a life without a unit", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":"60"}"#), Refused(Schema, "invalid_ttl")),
    row("an empty life", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":""}"#), Refused(Schema, "invalid_ttl")),
    row("a life too short", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":"4s999ms"}"#), Refused(Schema, "ttl_out_of_bounds")),
    row("no life at all", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":"0s"}"#), Refused(Schema, "ttl_out_of_bounds")),
    row("a life a millisecond too long", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":"168h1ms"}"#), Refused(Schema, "ttl_out_of_bounds")),
    row("a life in days", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":"1d"}"#), Refused(Schema, "invalid_ttl")),
    row("a negative life", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":"-30m"}"#), Refused(Schema, "invalid_ttl")),
    row("a life with a sign", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":"+30m"}"#), Refused(Schema, "invalid_ttl")),
    row("a life with a fraction", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":"1.5h"}"#), Refused(Schema, "invalid_ttl")),
    row("a life with a space", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":"30m "}"#), Refused(Schema, "invalid_ttl")),
    row("a life in five groups", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":"1h1m1s1ms1ms"}"#), Refused(Schema, "invalid_ttl")),
    row("a life in microseconds", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":"86400000000us"}"#), Refused(Schema, "invalid_ttl")),
    row("a life with six digits", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":"100000s"}"#), Refused(Schema, "invalid_ttl")),
    row("a life for ever", spec!(r#"{"match":[{"key":"tenant","value":"acme"}],"level":"Shape","samplePerMille":1000,"ttl":"Infinity"}"#), Refused(Schema, "invalid_ttl")),
    row("ring buffer a string", with!(r#""ringBuffer":"true""#), Refused(Schema, "wrong_type")),
    row("ring buffer a number", with!(r#""ringBuffer":1"#), Refused(Schema, "wrong_type")),
    row("capture a string", with!(r#""capture":"false""#), Refused(Schema, "wrong_type")),
    row("suspend a string", with!(r#""suspend":"true""#), Refused(Schema, "wrong_type")),
    row("suspend a number", with!(r#""suspend":1"#), Refused(Schema, "wrong_type")),
    row("activeFrom a number", with!(r#""activeFrom":1795000000"#), Refused(Schema, "wrong_type")),
    row("createdBy a list", with!(r#""createdBy":["ana"]"#), Refused(Schema, "wrong_type")),
    row("comment a number", with!(r#""comment":4711"#), Refused(Schema, "wrong_type")),
    row("a start without a zone", with!(r#""activeFrom":"2199-01-01T00:00:00""#), Refused(Schema, "invalid_active_from")),
    row("a start with a space", with!(r#""activeFrom":"2199-01-01 00:00:00Z""#), Refused(Schema, "invalid_active_from")),
    row("a start without seconds", with!(r#""activeFrom":"2199-01-01T00:00Z""#), Refused(Schema, "invalid_active_from")),
    row("a start on no day", with!(r#""activeFrom":"2199-02-30T00:00:00Z""#), Refused(Schema, "invalid_active_from")),
    row("a start before 1970", with!(r#""activeFrom":"1969-12-31T23:59:59Z""#), Refused(Schema, "invalid_active_from")),
    row("a start in 2200", with!(r#""activeFrom":"2200-01-01T00:00:00Z""#), Refused(Schema, "invalid_active_from")),
    row("a start in lower case", with!(r#""activeFrom":"2199-01-01t00:00:00z""#), Refused(Schema, "invalid_active_from")),
    row("a start tomorrow", with!(r#""activeFrom":"tomorrow""#), Refused(Schema, "invalid_active_from")),
    row("an empty start", with!(r#""activeFrom":"""#), Refused(Schema, "invalid_active_from")),
    row("a leap second", with!(r#""activeFrom":"2199-12-31T23:59:60Z""#), Refused(Schema, "invalid_active_from")),
    row("a comment that is too long", with!(r#""comment":"C1025""#), Refused(Schema, "too_long")),
    row("a name in createdBy that is too long", with!(r#""createdBy":"C257""#), Refused(Schema, "too_long")),
    row("suspend null", with!(r#""suspend":null"#), Accepted(&[on(Shape).tenant("acme")])).alone_is(Refused(Operator, "null_value")).stripped_is(Accepted(&[on(Shape).tenant("acme")])).server_side_is(Refused(Schema, "null_value")),
    row("activeFrom null", with!(r#""activeFrom":null"#), Accepted(&[on(Shape).tenant("acme")])).alone_is(Refused(Operator, "null_value")).stripped_is(Accepted(&[on(Shape).tenant("acme")])).server_side_is(Refused(Schema, "null_value")),
    row("allRequests null beside match", with!(r#""allRequests":null"#), Accepted(&[on(Shape).tenant("acme")])).alone_is(Refused(Operator, "null_value")).stripped_is(Accepted(&[on(Shape).tenant("acme")])).server_side_is(Refused(Schema, "null_value")),
    row("capture null", with!(r#""capture":null"#), Accepted(&[on(Shape).tenant("acme")])).alone_is(Refused(Operator, "null_value")).stripped_is(Accepted(&[on(Shape).tenant("acme")])),
    row("ring buffer null", with!(r#""ringBuffer":null"#), Accepted(&[on(Shape).tenant("acme")])).alone_is(Refused(Operator, "null_value")).stripped_is(Accepted(&[on(Shape).tenant("acme")])),
    row("comment null", with!(r#""comment":null"#), Accepted(&[on(Shape).tenant("acme")])).alone_is(Refused(Operator, "null_value")).stripped_is(Accepted(&[on(Shape).tenant("acme")])).server_side_is(Refused(Schema, "null_value")),
    row("no spec", r#"{"apiVersion":"osproxy.io/v1alpha1","kind":"DiagnosticsDirective","metadata":{"name":"NAME"}}"#, Refused(Schema, "missing_field")).alone_is(Refused(Operator, "spec_not_an_object")).whole(),
    row("a spec that is null", spec!(r#"null"#), Refused(Schema, "missing_field")).alone_is(Refused(Operator, "spec_not_an_object")).whole(),
    row("an empty spec", spec!(r#"{}"#), Refused(Schema, "no_target")),
    row("a spec that is a list", spec!(r#"[]"#), Refused(Schema, "spec_not_an_object")),
    row("a spec that is a string", spec!(r#""all""#), Refused(Schema, "spec_not_an_object")),
    row("a mistyped spec", r#"{"apiVersion":"osproxy.io/v1alpha1","kind":"DiagnosticsDirective","metadata":{"name":"NAME"},"spce":{"level":"Shape","samplePerMille":1000,"ttl":"24h","match":[{"key":"tenant","value":"acme"}]}}"#, Refused(Schema, "unknown_field")).whole(),
    row("a member beside the spec", spec!(r#"{"level":"Shape","samplePerMille":1000,"ttl":"24h","match":[{"key":"tenant","value":"acme"}]},"suspend":true"#), Refused(Client, "unknown_field")).alone_is(Refused(Operator, "unknown_field")).whole(),
    row("a name too long for an Event", r#"{"apiVersion":"osproxy.io/v1alpha1","kind":"DiagnosticsDirective","metadata":{"name":"NAME-LONG201"},"spec":{"level":"Shape","samplePerMille":1000,"ttl":"24h","match":[{"key":"tenant","value":"acme"}]}}"#, Refused(Schema, "name_too_long")).whole(),
    row("a name in capitals", r#"{"apiVersion":"osproxy.io/v1alpha1","kind":"DiagnosticsDirective","metadata":{"name":"NAME-X"},"spec":{"level":"Shape","samplePerMille":1000,"ttl":"24h","match":[{"key":"tenant","value":"acme"}]}}"#, Refused(Client, "invalid_name")).whole(),
    row("a mistyped kind", r#"{"apiVersion":"osproxy.io/v1alpha1","kind":"DiagnosticDirective","metadata":{"name":"NAME"},"spec":{"level":"Shape","samplePerMille":1000,"ttl":"24h","match":[{"key":"tenant","value":"acme"}]}}"#, Refused(Client, "unknown_kind")).whole(),
    row("a version that does not exist", r#"{"apiVersion":"osproxy.io/v1","kind":"DiagnosticsDirective","metadata":{"name":"NAME"},"spec":{"level":"Shape","samplePerMille":1000,"ttl":"24h","match":[{"key":"tenant","value":"acme"}]}}"#, Refused(Client, "unknown_kind")).whole(),
    row("a mistyped member of metadata", r#"{"apiVersion":"osproxy.io/v1alpha1","kind":"DiagnosticsDirective","metadata":{"name":"NAME","lables":{}},"spec":{"level":"Shape","samplePerMille":1000,"ttl":"24h","match":[{"key":"tenant","value":"acme"}]}}"#, Refused(Client, "unknown_field")).whole(),
    row("a label that is a number", r#"{"apiVersion":"osproxy.io/v1alpha1","kind":"DiagnosticsDirective","metadata":{"name":"NAME","labels":{"x":1}},"spec":{"level":"Shape","samplePerMille":1000,"ttl":"24h","match":[{"key":"tenant","value":"acme"}]}}"#, Refused(Client, "wrong_type")).whole(),
    row("the sample twice", with!(r#""samplePerMille":1"#), Refused(Client, "duplicate_field")).whole(),
    row("a value twice", target!(r#""match":[{"key":"tenant","value":"acme","value":"globex"}]"#), Refused(Client, "duplicate_field")).whole(),
    row("match twice", with!(r#""match":[{"key":"index","value":"orders"}]"#), Refused(Client, "duplicate_field")).whole(),
    row("YAML, a tenant whose name is no", "{apiVersion: osproxy.io/v1alpha1, kind: DiagnosticsDirective, metadata: {name: NAME}, spec: {match: [{key: tenant, value: no}], level: Shape, samplePerMille: 1000, ttl: 24h}}", Refused(Schema, "wrong_type")),
    row("YAML, a tenant whose name is a number", "{apiVersion: osproxy.io/v1alpha1, kind: DiagnosticsDirective, metadata: {name: NAME}, spec: {match: [{key: tenant, value: 0123}], level: Shape, samplePerMille: 1000, ttl: 24h}}", Refused(Schema, "wrong_type")),
    row("YAML, a tenant that a template left out", "{apiVersion: osproxy.io/v1alpha1, kind: DiagnosticsDirective, metadata: {name: NAME}, spec: {match: [{key: tenant, value: }], level: Shape, samplePerMille: 1000, ttl: 24h}}", Refused(Schema, "missing_field")).alone_is(Refused(Operator, "null_value")).stripped_is(Refused(Schema, "missing_field")),
    row("YAML, an unquoted Off", "{apiVersion: osproxy.io/v1alpha1, kind: DiagnosticsDirective, metadata: {name: NAME}, spec: {match: [{key: tenant, value: acme}], level: Off, samplePerMille: 1000, ttl: 24h}}", Refused(Schema, "wrong_type")),
    row("YAML, a sample in per cent", "{apiVersion: osproxy.io/v1alpha1, kind: DiagnosticsDirective, metadata: {name: NAME}, spec: {match: [{key: tenant, value: acme}], level: Shape, samplePerMille: 5%, ttl: 24h}}", Refused(Schema, "wrong_type")),
];

fn long(name: &str, length: usize) -> String {
    format!("{name}-{}", "x".repeat(length - name.len() - 1))
}
