//! The policy matrix: who, how, from what, to what, and the answer.

use Answer::{Allowed, Refused, RefusedBySchema, WithoutEffect};
use Verb::{
    Apply, Create, Delete, JsonPatch, Label, MergePatch, Replace, ServerSideApply, StatusPatch,
};

/// One attempt.
pub(crate) struct Row {
    /// Which of [`POLICIES`] it meets.
    pub(crate) namespace: &'static str,
    /// What the row says, for people.
    pub(crate) says: &'static str,
    pub(crate) who: &'static str,
    pub(crate) verb: Verb,
    /// The spec that is there already, stored before there was a policy.
    pub(crate) stored: Option<&'static str>,
    /// A spec, a patch or a label, as the verb wants it.
    pub(crate) change: &'static str,
    pub(crate) answer: Answer,
}

/// How the attempt is made: always by kubectl, as people do.
pub(crate) enum Verb {
    Create,
    Apply,
    ServerSideApply,
    Replace,
    MergePatch,
    JsonPatch,
    StatusPatch,
    Label,
    Delete,
}

/// What comes of it.
pub(crate) enum Answer {
    Allowed,
    /// The policy refuses, and its message says this.
    Refused(&'static str),
    /// The resource's own schema refuses, before any policy.
    RefusedBySchema(&'static str),
    /// It is admitted, and the spec stays as it was.
    WithoutEffect,
}

/// Has every right, and still keeps to the rules that are not about rights.
pub(crate) const ADMIN: &str = "admin";
/// May do everything with directives that has a verb of Kubernetes.
pub(crate) const DEV: &str = "dev";
/// A dev with the verb `target-all-requests`.
const LEAD: &str = "lead";
/// A dev with the verb `capture`.
const FORENSICS: &str = "forensics";
/// A dev with each verb where it counts: in `fleet` the one, in `bodies` the other.
const LOCAL: &str = "local";
/// A dev with both verbs, in another namespace.
const NEIGHBOUR: &str = "neighbour";
/// A controller for deployment from git: it applies other people's manifests as itself.
const GITOPS: &str = "system:serviceaccount:argocd:application-controller";
/// One whose name only begins like the controller's.
const IMPOSTOR: &str = "system:serviceaccount:argocd:application-controller-2";

/// Rights by role, as rules of a cluster role.
pub(crate) const ROLES: &[(&str, &str)] = &[
    (
        "matrix-edit",
        "{apiGroups: [osproxy.io], resources: [diagnosticsdirectives, diagnosticsdirectives/status], \
         verbs: [get, list, watch, create, update, patch, delete]}",
    ),
    (
        "matrix-target-all-requests",
        "{apiGroups: [osproxy.io], resources: [diagnosticsdirectives], verbs: [target-all-requests]}",
    ),
    (
        "matrix-capture",
        "{apiGroups: [osproxy.io], resources: [diagnosticsdirectives], verbs: [capture]}",
    ),
];

/// Who has which role, and in which namespace; without one, in all.
pub(crate) const GRANTS: &[(&str, &str, Option<&str>)] = &[
    (DEV, "matrix-edit", None),
    (LEAD, "matrix-edit", None),
    (LEAD, "matrix-target-all-requests", None),
    (FORENSICS, "matrix-edit", None),
    (FORENSICS, "matrix-capture", None),
    (LOCAL, "matrix-edit", None),
    (LOCAL, "matrix-target-all-requests", Some("fleet")),
    (LOCAL, "matrix-capture", Some("bodies")),
    (NEIGHBOUR, "matrix-edit", None),
    (NEIGHBOUR, "matrix-target-all-requests", Some("unlimited")),
    (NEIGHBOUR, "matrix-capture", Some("unlimited")),
    (GITOPS, "matrix-edit", None),
    (IMPOSTOR, "matrix-edit", None),
];

/// The spec [`ACME`] with more to it, or with another `ttl`.
macro_rules! acme {
    (ttl $ttl:literal) => {
        concat!(
            "match: [{key: tenant, value: acme}], level: Shape, samplePerMille: 50, ttl: ",
            $ttl
        )
    };
    ($more:literal) => {
        concat!(
            "match: [{key: tenant, value: acme}], level: Shape, samplePerMille: 50, ttl: 1h, ",
            $more
        )
    };
}

/// The spec [`ALL`] with more to it.
macro_rules! all {
    ($more:literal) => {
        concat!(
            "allRequests: true, level: Shape, samplePerMille: 50, ttl: 1h, ",
            $more
        )
    };
}

/// What is installed for the rows of some namespaces.
pub(crate) struct Policy {
    /// The release, and the namespace of its own.
    pub(crate) name: &'static str,
    /// More namespaces that it watches.
    beside: &'static [&'static str],
    /// The chart's values. Whatever they do not name is off.
    pub(crate) values: &'static [&'static str],
    /// A spec that it refuses to [`DEV`] as soon as it bites.
    pub(crate) probe: &'static str,
}

impl Policy {
    /// All the namespaces that it watches.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &'static str> {
        self.beside.iter().copied().chain([self.name])
    }
}

/// A policy for each switch, and one with all of them.
pub(crate) const POLICIES: &[Policy] = &[
    // An unknown field in each place: the probe is not what proves one of them.
    Policy {
        name: "fields",
        beside: &[],
        values: &[
            OFF,
            "policy.unknownFields=true",
            r#"policy.namespaceSelector={"matchLabels":{"kubernetes.io/metadata.name":"fields"}}"#,
        ],
        probe: "match: [{key: tenant, value: acme, probe: 1}], level: Shape, samplePerMille: 50, ttl: 1h, probe: 1",
    },
    Policy {
        name: "fleet",
        beside: &[],
        values: &[
            OFF,
            "policy.targetAllRequests=true",
            r#"watch.namespaces=["fleet"]"#,
        ],
        probe: ALL,
    },
    Policy {
        name: "bodies",
        beside: &[],
        values: &[OFF, "policy.capture=true", r#"watch.namespaces=["bodies"]"#],
        probe: CAPTURE,
    },
    Policy {
        name: "brief",
        beside: &[],
        values: &[
            OFF,
            r#"policy.maxTtl="4h""#,
            r#"watch.namespaces=["brief"]"#,
        ],
        probe: acme!(ttl "9h"),
    },
    Policy {
        name: "reasons",
        beside: &[],
        values: &[
            OFF,
            "policy.requireComment=true",
            r#"watch.namespaces=["reasons"]"#,
        ],
        probe: ACME,
    },
    Policy {
        name: "authors",
        beside: &[],
        values: &[
            OFF,
            r#"policy.createdBy={"enforce":true,"exemptUsers":["system:serviceaccount:argocd:application-controller"]}"#,
            r#"watch.namespaces=["authors"]"#,
        ],
        probe: acme!("createdBy: ana"),
    },
    // `unlimited` has no annotation and `nobody` an empty one.
    Policy {
        name: "tenants",
        beside: &["unlimited", "nobody"],
        values: &[
            OFF,
            "policy.namespaceTenants=true",
            r#"watch.namespaces=["tenants","unlimited","nobody"]"#,
        ],
        probe: "match: [{key: index, value: o}], level: Shape, samplePerMille: 50, ttl: 1h",
    },
    Policy {
        name: "everything",
        beside: &[],
        values: &[
            r#"policy.maxTtl="4h""#,
            "policy.requireComment=true",
            r#"policy.createdBy={"enforce":true}"#,
            r#"watch.namespaces=["everything"]"#,
        ],
        probe: ACME,
    },
];

const OFF: &str = r#"policy={"unknownFields":false,"targetAllRequests":false,"capture":false,"namespaceTenants":false}"#;

/// What a namespace is limited to. The spaces and the empty entry are there on purpose.
pub(crate) const ANNOTATIONS: &[(&str, &str)] = &[
    ("tenants", "{osproxy.io/tenants: ' acme , globex,'}"),
    ("nobody", "{osproxy.io/tenants: ''}"),
    ("everything", "{osproxy.io/tenants: acme}"),
];

/// All namespaces of all policies.
pub(crate) fn namespaces() -> impl Iterator<Item = &'static str> {
    POLICIES.iter().flat_map(Policy::namespaces)
}

/// The tenant that no refusal may repeat.
pub(crate) const SECRET: &str = "initech";

const ACME: &str = "match: [{key: tenant, value: acme}], level: Shape, samplePerMille: 50, ttl: 1h";
const INITECH: &str =
    "match: [{key: tenant, value: initech}], level: Shape, samplePerMille: 50, ttl: 1h";
const ALL: &str = "allRequests: true, level: Shape, samplePerMille: 50, ttl: 1h";
const CAPTURE: &str =
    "match: [{key: tenant, value: acme}], capture: true, samplePerMille: 50, ttl: 1h";
/// Stored before any policy, against every switch of `everything`.
const AGAINST_ALL: &str =
    "allRequests: true, capture: true, samplePerMille: 50, ttl: 10h, createdBy: ana, supend: true";
const SUSPEND: &str = r#"{"spec":{"suspend":true}}"#;

/// Why a refusal, in the words that the message must contain.
const NO_VERB_ALL: &str =
    "needs the RBAC verb target-all-requests on diagnosticsdirectives.osproxy.io";
const NO_VERB_CAPTURE: &str = "needs the RBAC verb capture on diagnosticsdirectives.osproxy.io";
const TOO_LONG: &str = "spec.ttl must be at most 4h";
const NO_COMMENT: &str = "spec.comment must say what the directive is for";
const NOT_THE_AUTHOR: &str =
    "spec.createdBy must be your own user name where it is set or changed: ";
const NOT_OUR_TENANT: &str =
    "may target only the tenants that its annotation osproxy.io/tenants lists";

const fn row(
    namespace: &'static str,
    says: &'static str,
    who: &'static str,
    verb: Verb,
    stored: Option<&'static str>,
    change: &'static str,
    answer: Answer,
) -> Row {
    Row {
        namespace,
        says,
        who,
        verb,
        stored,
        change,
        answer,
    }
}

/// The matrix.
#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = &[
    // ---- unknownFields -------------------------------------------------------------------------
    row("fields", "a directive of known fields", DEV, Create, None, ACME, Allowed),
    row("fields", "all the known fields", ADMIN, Create, None,
        "match: [{key: tenant, value: acme}, {key: index, value: o}], level: Shape, samplePerMille: 1, ttl: 1h, ringBuffer: true, \
         capture: true, activeFrom: '2026-11-22T14:00:00Z', suspend: false, createdBy: ana, comment: c", Allowed),
    row("fields", "other switches are off here", DEV, Create, None, "allRequests: true, capture: true, samplePerMille: 1, ttl: 168h, createdBy: ana", Allowed),
    row("fields", "a typo", DEV, Create, None,
        acme!("supend: true"), Refused("unknown field spec.supend. Allowed in spec: match, allRequests")),
    row("fields", "a typo by client-side apply", DEV, Apply, None,
        acme!("activFrom: later"), Refused("unknown field spec.activFrom.")),
    row("fields", "a typo by server-side apply", DEV, ServerSideApply, None,
        acme!("activFrom: later"), Refused("unknown field spec.activFrom.")),
    row("fields", "the spelling of the wire", DEV, Create, None,
        acme!("ring_buffer: true"), Refused("unknown field spec.ring_buffer.")),
    row("fields", "another case", DEV, JsonPatch, Some(ACME), r#"[{"op":"add","path":"/spec/Suspend","value":true}]"#, Refused("unknown field spec.Suspend.")),
    row("fields", "a null", DEV, JsonPatch, Some(ACME), r#"[{"op":"add","path":"/spec/tenant","value":null}]"#, Refused("unknown field spec.tenant.")),
    row("fields", "in an item of match", DEV, Create, None,
        "match: [{key: tenant, value: acme, not: true, index: o}], level: Shape, samplePerMille: 50, ttl: 1h", Refused("spec.match[].not")),
    row("fields", "in both places, both named", DEV, Create, None,
        "match: [{key: tenant, value: acme, index: o}], level: Shape, samplePerMille: 50, ttl: 1h, tennant: initech", Refused("unknown field spec.tennant, spec.match[].index. ")),
    row("fields", "also for an administrator", ADMIN, Create, None,
        acme!("supend: true"), Refused("unknown field spec.supend.")),
    row("fields", "by replace", DEV, Replace, Some(ACME),
        acme!("supend: true"), Refused("unknown field spec.supend.")),
    row("fields", "beside a change that narrows", DEV, MergePatch, Some(ACME), r#"{"spec":{"suspend":true,"supend":true}}"#, Refused("unknown field spec.supend.")),
    row("fields", "on one that has it already", DEV, MergePatch, Some(acme!("supend: true")),
        r#"{"spec":{"samplePerMille":60}}"#, Refused("unknown field spec.supend.")),
    row("fields", "one that has it already is suspended", DEV, MergePatch, Some(acme!("supend: true")), SUSPEND, Allowed),
    row("fields", "one that has it already is mended", DEV, JsonPatch, Some(acme!("supend: true")),
        r#"[{"op":"remove","path":"/spec/supend"}]"#, Allowed),
    row("fields", "one that has it already is labelled", DEV, Label, Some(acme!("supend: true")), "team=search", Allowed),

    // ---- targetAllRequests ---------------------------------------------------------------------
    row("fleet", "all requests with the verb", LEAD, Create, None, ALL, Allowed),
    row("fleet", "all requests with the verb in this namespace", LOCAL, Create, None, ALL, Allowed),
    row("fleet", "all requests with every right", ADMIN, Create, None, ALL, Allowed),
    row("fleet", "a match without the verb", DEV, Create, None, ACME, Allowed),
    row("fleet", "other switches are off here", DEV, Create, None,
        "match: [{key: tenant, value: acme}], capture: true, samplePerMille: 50, ttl: 10h, supend: true, createdBy: ana", Allowed),
    row("fleet", "all requests without the verb", DEV, Create, None, ALL, Refused(NO_VERB_ALL)),
    row("fleet", "all requests without the verb, by server-side apply", DEV, ServerSideApply, None, ALL, Refused("which user dev does not have")),
    row("fleet", "the other verb", FORENSICS, Create, None, ALL, Refused(NO_VERB_ALL)),
    row("fleet", "the verb in another namespace", NEIGHBOUR, Create, None, ALL, Refused("in namespace fleet, which user neighbour")),
    row("fleet", "suspended, to be resumed later", DEV, Create, None, all!("suspend: true"), Refused(NO_VERB_ALL)),
    row("fleet", "resumed by one without the verb", DEV, MergePatch, Some(all!("suspend: true")),
        r#"{"spec":{"suspend":false}}"#, Refused(NO_VERB_ALL)),
    row("fleet", "resumed with a shorter ttl", DEV, MergePatch, Some(all!("suspend: true")),
        r#"{"spec":{"suspend":false,"ttl":"30m"}}"#, Refused(NO_VERB_ALL)),
    row("fleet", "resumed by one with the verb", LEAD, MergePatch, Some(all!("suspend: true")),
        r#"{"spec":{"suspend":false}}"#, Allowed),
    row("fleet", "a higher sample", DEV, MergePatch, Some(ALL), r#"{"spec":{"samplePerMille":51}}"#, Refused(NO_VERB_ALL)),
    row("fleet", "a higher sample beside metadata of nulls", DEV, MergePatch, Some(ALL),
        r#"{"metadata":{"labels":null,"annotations":null,"managedFields":null},"spec":{"samplePerMille":51}}"#, Refused(NO_VERB_ALL)),
    row("fleet", "a longer ttl", DEV, MergePatch, Some(ALL), r#"{"spec":{"ttl":"61m"}}"#, Refused(NO_VERB_ALL)),
    row("fleet", "a ttl that is one millisecond longer", DEV, MergePatch, Some(ALL), r#"{"spec":{"ttl":"59m60s1ms"}}"#, Refused(NO_VERB_ALL)),
    row("fleet", "a longer ttl beside a suspension", DEV, MergePatch, Some(ALL), r#"{"spec":{"suspend":true,"ttl":"2h"}}"#, Refused(NO_VERB_ALL)),
    row("fleet", "a later start, and so a later end", DEV, MergePatch, Some(all!("activeFrom: '2030-01-01T00:00:00Z'")),
        r#"{"spec":{"activeFrom":"2030-01-01T00:00:01Z"}}"#, Refused(NO_VERB_ALL)),
    row("fleet", "an earlier start", DEV, MergePatch, Some(all!("activeFrom: '2030-01-01T00:00:00Z'")),
        r#"{"spec":{"activeFrom":"2029-12-31T23:59:59Z"}}"#, Refused(NO_VERB_ALL)),
    row("fleet", "an earlier start in another zone's words", DEV, MergePatch, Some(all!("activeFrom: '2030-01-01T00:00:00Z'")),
        r#"{"spec":{"activeFrom":"2030-01-01T00:30:00+01:00"}}"#, Refused(NO_VERB_ALL)),
    row("fleet", "a start where there was none, later than the creation", DEV, MergePatch, Some(ALL), r#"{"spec":{"activeFrom":"2100-01-01T00:00:00Z"}}"#, Refused(NO_VERB_ALL)),
    row("fleet", "suspended with a lower level", DEV, MergePatch, Some("allRequests: true, level: ShapeTiming, samplePerMille: 50, ttl: 1h"),
        r#"{"spec":{"suspend":true,"level":"Shape"}}"#, Refused(NO_VERB_ALL)),
    row("fleet", "replaced by a match", DEV, MergePatch, Some(ALL), r#"{"spec":{"allRequests":null,"match":[{"key":"tenant","value":"acme"}]}}"#, RefusedBySchema("cannot be changed")),
    row("fleet", "a match widened to all requests", LEAD, MergePatch, Some(ACME), r#"{"spec":{"match":null,"allRequests":true}}"#, RefusedBySchema("cannot be changed")),
    row("fleet", "another creation time", DEV, MergePatch, Some(ALL), r#"{"metadata":{"creationTimestamp":"2100-01-01T00:00:00Z"}}"#, WithoutEffect),
    row("fleet", "another creation time, to make a longer ttl look short", DEV, MergePatch, Some(ALL),
        r#"{"metadata":{"creationTimestamp":"2000-01-01T00:00:00Z"},"spec":{"ttl":"2h"}}"#, Refused(NO_VERB_ALL)),
    row("fleet", "a start that only looks like a time", DEV, MergePatch, Some(ALL), r#"{"spec":{"activeFrom":"2030-01-01t00:00:00z","suspend":true}}"#, RefusedBySchema("spec.activeFrom")),
    row("fleet", "the spec by way of the status", DEV, StatusPatch, Some(ALL), r#"{"spec":{"samplePerMille":1000},"status":{"state":"Active"}}"#, WithoutEffect),
    row("fleet", "the status", DEV, StatusPatch, Some(ALL), r#"{"status":{"state":"Active"}}"#, Allowed),
    row("fleet", "suspended", DEV, MergePatch, Some(ALL), SUSPEND, Allowed),
    row("fleet", "suspended by server-side apply", DEV, ServerSideApply, Some(ALL), all!("suspend: true"), Allowed),
    row("fleet", "suspended by client-side apply", DEV, Apply, Some(ALL), all!("suspend: true"), Allowed),
    row("fleet", "suspended by replace", DEV, Replace, Some(ALL), all!("suspend: true"), Allowed),
    row("fleet", "a suspended one shortened", DEV, MergePatch, Some(all!("suspend: true")), r#"{"spec":{"ttl":"59m"}}"#, Allowed),
    row("fleet", "a shorter ttl", DEV, MergePatch, Some(ALL), r#"{"spec":{"ttl":"59m"}}"#, Allowed),
    row("fleet", "the same ttl in other words", DEV, MergePatch, Some(ALL), r#"{"spec":{"ttl":"60m"}}"#, Allowed),
    row("fleet", "a later start with the same end", DEV, MergePatch, Some(all!("activeFrom: '2030-01-01T00:00:00Z'")),
        r#"{"spec":{"activeFrom":"2030-01-01T00:30:00Z","ttl":"30m"}}"#, Allowed),
    row("fleet", "an earlier start with the same end", DEV, MergePatch, Some(all!("activeFrom: '2030-01-01T00:00:00Z'")),
        r#"{"spec":{"activeFrom":"2029-12-31T22:00:00Z","ttl":"2h"}}"#, Refused(NO_VERB_ALL)),
    row("fleet", "labelled", DEV, Label, Some(ALL), "team=search", Allowed),
    row("fleet", "given a finalizer", DEV, MergePatch, Some(ALL), r#"{"metadata":{"finalizers":["example.com/wait"]}}"#, Allowed),
    row("fleet", "deleted", DEV, Delete, Some(ALL), "", Allowed),

    // ---- capture -------------------------------------------------------------------------------
    row("bodies", "capture with the verb", FORENSICS, Create, None, CAPTURE, Allowed),
    row("bodies", "capture with the verb in this namespace", LOCAL, Create, None, CAPTURE, Allowed),
    row("bodies", "no capture without the verb", DEV, Create, None, ACME, Allowed),
    row("bodies", "capture said to be off", DEV, Create, None, "match: [{key: tenant, value: acme}], level: Shape, capture: false, samplePerMille: 50, ttl: 1h", Allowed),
    row("bodies", "other switches are off here", DEV, Create, None, ALL, Allowed),
    row("bodies", "capture without the verb", DEV, Create, None, CAPTURE, Refused(NO_VERB_CAPTURE)),
    row("bodies", "the other verb", LEAD, Create, None, CAPTURE, Refused(NO_VERB_CAPTURE)),
    row("bodies", "the verb in another namespace", NEIGHBOUR, Create, None, CAPTURE, Refused("in namespace bodies, which user neighbour")),
    row("bodies", "turned on later", DEV, MergePatch, Some(ACME), r#"{"spec":{"capture":true}}"#, Refused(NO_VERB_CAPTURE)),
    row("bodies", "turned on beside a suspension", DEV, MergePatch, Some(ACME), r#"{"spec":{"capture":true,"suspend":true}}"#, Refused(NO_VERB_CAPTURE)),
    row("bodies", "a bigger sample of somebody's capture", DEV, MergePatch, Some(CAPTURE), r#"{"spec":{"samplePerMille":1000}}"#, Refused(NO_VERB_CAPTURE)),
    row("bodies", "resumed by dropping what suspended it", DEV, JsonPatch,
        Some("match: [{key: tenant, value: acme}], capture: true, suspend: true, samplePerMille: 50, ttl: 1h"),
        r#"[{"op":"remove","path":"/spec/suspend"}]"#, RefusedBySchema("suspend")),
    row("bodies", "turned off by one without the verb", DEV, MergePatch, Some("match: [{key: tenant, value: acme}], level: Shape, capture: true, samplePerMille: 50, ttl: 1h"),
        r#"{"spec":{"capture":false}}"#, Allowed),
    row("bodies", "suspended by one without the verb", DEV, MergePatch, Some(CAPTURE), SUSPEND, Allowed),
    row("bodies", "suspended with the items of match in another order", DEV, ServerSideApply,
        Some("match: [{key: tenant, value: acme}, {key: index, value: o}], capture: true, samplePerMille: 50, ttl: 1h"),
        "match: [{key: index, value: o}, {key: tenant, value: acme}], capture: true, samplePerMille: 50, ttl: 1h, suspend: true", Allowed),
    row("bodies", "replaced with the items of match in another order", DEV, Replace,
        Some("match: [{key: tenant, value: acme}, {key: index, value: o}], capture: true, samplePerMille: 50, ttl: 1h"),
        "match: [{key: index, value: o}, {key: tenant, value: acme}], capture: true, samplePerMille: 50, ttl: 1h, suspend: true", Allowed),

    // ---- maxTtl: 4h ----------------------------------------------------------------------------
    row("brief", "just the longest", DEV, Create, None, acme!(ttl "4h"), Allowed),
    row("brief", "the longest in minutes", DEV, Create, None, acme!(ttl "240m"), Allowed),
    row("brief", "too long", DEV, Create, None, acme!(ttl "4h1s"), Refused(TOO_LONG)),
    row("brief", "too long in minutes", DEV, Create, None, acme!(ttl "241m"), Refused(TOO_LONG)),
    row("brief", "too long in four parts", DEV, Create, None, acme!(ttl "2h1h59m61s"), Refused(TOO_LONG)),
    row("brief", "too long, though nobody sees it", DEV, Create, None, acme!(ttl "5h, suspend: true"), Refused(TOO_LONG)),
    row("brief", "too long for an administrator", ADMIN, Create, None, acme!(ttl "5h"), Refused(TOO_LONG)),
    row("brief", "a fraction", DEV, Create, None, acme!(ttl "1.5h"), RefusedBySchema("spec.ttl")),
    row("brief", "a negative one", DEV, Create, None, acme!(ttl "'-1h'"), RefusedBySchema("spec.ttl")),
    row("brief", "raised within the limit", DEV, MergePatch, Some(ACME), r#"{"spec":{"ttl":"3h"}}"#, Allowed),
    row("brief", "raised beyond it", DEV, MergePatch, Some(ACME), r#"{"spec":{"ttl":"5h"}}"#, Refused(TOO_LONG)),
    row("brief", "raised beyond it beside a suspension", DEV, MergePatch, Some(ACME), r#"{"spec":{"ttl":"5h","suspend":true}}"#, Refused(TOO_LONG)),
    row("brief", "an old one shortened, still too long", DEV, MergePatch, Some(acme!(ttl "10h")), r#"{"spec":{"ttl":"6h"}}"#, Allowed),
    row("brief", "an old one shortened and sampled more", DEV, MergePatch, Some(acme!(ttl "10h")),
        r#"{"spec":{"ttl":"6h","samplePerMille":60}}"#, Refused(TOO_LONG)),
    row("brief", "an old one suspended", DEV, MergePatch, Some(acme!(ttl "10h")), SUSPEND, Allowed),
    row("brief", "an old one resumed", DEV, MergePatch, Some(acme!(ttl "10h, suspend: true")),
        r#"{"spec":{"suspend":false}}"#, Refused(TOO_LONG)),

    // ---- requireComment ------------------------------------------------------------------------
    row("reasons", "a comment", DEV, Create, None, acme!("comment: INC-1"), Allowed),
    row("reasons", "a comment in another script", DEV, Create, None, acme!("comment: 検索"), Allowed),
    row("reasons", "none", DEV, Create, None, ACME, Refused(NO_COMMENT)),
    row("reasons", "an empty one", DEV, Create, None, acme!("comment: ''"), Refused(NO_COMMENT)),
    row("reasons", "one of spaces", DEV, Create, None, acme!("comment: \"  \\t\\u00a0\\u200b\""), Refused(NO_COMMENT)),
    row("reasons", "one of marks", DEV, Create, None, acme!("comment: '--'"), Refused(NO_COMMENT)),
    row("reasons", "taken away later", DEV, MergePatch, Some(acme!("comment: INC-1")),
        r#"{"spec":{"comment":null}}"#, Refused(NO_COMMENT)),
    row("reasons", "one without is suspended", DEV, MergePatch, Some(ACME), SUSPEND, Allowed),
    row("reasons", "one without gets one", DEV, MergePatch, Some(ACME), r#"{"spec":{"comment":"INC-1"}}"#, Allowed),

    // ---- createdBy -----------------------------------------------------------------------------
    row("authors", "one's own name", DEV, Create, None, acme!("createdBy: dev"), Allowed),
    row("authors", "no name", DEV, Create, None, ACME, Allowed),
    row("authors", "another's name", DEV, Create, None, acme!("createdBy: ana"), Refused("where it is set or changed: dev.")),
    row("authors", "one's own name in capitals", DEV, Create, None, acme!("createdBy: Dev"), Refused(NOT_THE_AUTHOR)),
    row("authors", "another's name, as an administrator", ADMIN, Create, None, acme!("createdBy: ana"), Refused(NOT_THE_AUTHOR)),
    row("authors", "another's name by GitOps", GITOPS, ServerSideApply, None, acme!("createdBy: ana"), Allowed),
    row("authors", "another's name by one called almost like it", IMPOSTOR, ServerSideApply, None,
        acme!("createdBy: ana"), Refused(NOT_THE_AUTHOR)),
    row("authors", "another's directive, edited", DEV, MergePatch, Some(acme!("createdBy: ana")),
        r#"{"spec":{"samplePerMille":60}}"#, Allowed),
    row("authors", "another's directive, taken over", DEV, MergePatch, Some(acme!("createdBy: ana")),
        r#"{"spec":{"createdBy":"dev"}}"#, Allowed),
    row("authors", "one's own directive, blamed on another", DEV, MergePatch, Some(acme!("createdBy: dev")),
        r#"{"spec":{"createdBy":"ana"}}"#, Refused(NOT_THE_AUTHOR)),
    row("authors", "created without a name, then blamed on another", DEV, MergePatch, Some(ACME), r#"{"spec":{"createdBy":"ana"}}"#, Refused(NOT_THE_AUTHOR)),
    row("authors", "made anonymous", DEV, MergePatch, Some(acme!("createdBy: ana")),
        r#"{"spec":{"createdBy":null}}"#, Refused(NOT_THE_AUTHOR)),
    row("authors", "blamed on another beside a suspension", DEV, MergePatch, Some(ACME), r#"{"spec":{"createdBy":"ana","suspend":true}}"#, Refused(NOT_THE_AUTHOR)),
    row("authors", "another's directive, suspended", DEV, MergePatch, Some(acme!("createdBy: ana")), SUSPEND, Allowed),

    // ---- namespaceTenants: acme and globex -----------------------------------------------------
    row("tenants", "a listed tenant", DEV, Create, None, ACME, Allowed),
    row("tenants", "the other listed tenant, and an index", DEV, Create, None,
        "match: [{key: index, value: o}, {key: tenant, value: globex}], level: Shape, samplePerMille: 50, ttl: 1h", Allowed),
    row("tenants", "a tenant that is not listed", DEV, Create, None, INITECH, Refused(NOT_OUR_TENANT)),
    row("tenants", "also for an administrator", ADMIN, Create, None, INITECH, Refused(NOT_OUR_TENANT)),
    row("tenants", "no tenant", DEV, Create, None, "match: [{key: index, value: o}], level: Shape, samplePerMille: 50, ttl: 1h", Refused(NOT_OUR_TENANT)),
    row("tenants", "a listed tenant's name as a principal", DEV, Create, None, "match: [{key: principal, value: acme}], level: Shape, samplePerMille: 50, ttl: 1h", Refused(NOT_OUR_TENANT)),
    row("tenants", "all requests, even with the verb", LEAD, Create, None, ALL, Refused(NOT_OUR_TENANT)),
    row("tenants", "two tenants in one value", DEV, Create, None, "match: [{key: tenant, value: 'acme,globex'}], level: Shape, samplePerMille: 50, ttl: 1h", Refused(NOT_OUR_TENANT)),
    row("tenants", "the annotation's own spaces", DEV, Create, None, "match: [{key: tenant, value: ' acme '}], level: Shape, samplePerMille: 50, ttl: 1h", Refused(NOT_OUR_TENANT)),
    row("tenants", "another case", DEV, Create, None, "match: [{key: tenant, value: Acme}], level: Shape, samplePerMille: 50, ttl: 1h", Refused(NOT_OUR_TENANT)),
    row("tenants", "the empty tenant that a trailing comma would list", DEV, Create, None, "match: [{key: tenant, value: ''}], level: Shape, samplePerMille: 50, ttl: 1h", RefusedBySchema("spec.match[0].value")),
    row("tenants", "a listed tenant beside another", DEV, Create, None,
        "match: [{key: tenant, value: acme}, {key: tenant, value: initech}], level: Shape, samplePerMille: 50, ttl: 1h", RefusedBySchema("Duplicate value")),
    row("tenants", "an old one for another tenant, edited", DEV, MergePatch, Some(INITECH), r#"{"spec":{"level":"ShapeTiming"}}"#, Refused(NOT_OUR_TENANT)),
    row("tenants", "an old one for another tenant, suspended", DEV, MergePatch, Some(INITECH), SUSPEND, Allowed),
    row("tenants", "an old one for another tenant, deleted", DEV, Delete, Some(INITECH), "", Allowed),
    row("unlimited", "a namespace without the annotation", DEV, Create, None, INITECH, Allowed),
    row("unlimited", "all requests in a namespace without the annotation", DEV, Create, None, ALL, Allowed),
    row("nobody", "a namespace with an empty annotation", DEV, Create, None, ACME, Refused(NOT_OUR_TENANT)),

    // ---- all switches on -----------------------------------------------------------------------
    row("everything", "what every rule admits", DEV, Create, None,
        acme!(ttl "4h, createdBy: dev, comment: INC-1"), Allowed),
    row("everything", "no comment", DEV, Create, None, ACME, Refused(NO_COMMENT)),
    row("everything", "one against all of them, suspended", DEV, MergePatch, Some(AGAINST_ALL), SUSPEND, Allowed),
    row("everything", "one against all of them, shortened", DEV, MergePatch, Some(AGAINST_ALL), r#"{"spec":{"ttl":"9h"}}"#, Allowed),
    row("everything", "one against all of them, labelled", DEV, Label, Some(AGAINST_ALL), "team=search", Allowed),
    row("everything", "one against all of them, reported on", DEV, StatusPatch, Some(AGAINST_ALL), r#"{"status":{"state":"Rejected"}}"#, Allowed),
    row("everything", "one against all of them, sampled less", DEV, MergePatch, Some(AGAINST_ALL), r#"{"spec":{"samplePerMille":49}}"#, Refused("unknown field spec.supend.")),
];
