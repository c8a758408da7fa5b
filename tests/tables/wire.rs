//! Documents as they may stand at the key, and what becomes of each.

use osproxy_core::EndpointKind::{
    Admin, Count, Cursor, DeleteById, DeleteByQuery, GetById, IngestBulk, IngestDoc, MultiGet,
    MultiSearch, Search, Unknown,
};
use osproxy_observe::DiagLevel::{Off, Shape, ShapeRewriteDiff, ShapeTiming};

use super::{On, on};

/// One document.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) document: &'static [u8],
    pub(crate) verdict: Verdict,
}

pub(crate) enum Verdict {
    /// Both parses take it, and it decides this.
    Accepted(&'static [On]),
    /// The strict parse refuses it with this slug; the shared decoder alone would do that.
    Refused(&'static str, Shared),
}

/// What the shared decoder says to a document that we refuse. Where it takes it, strictness is what keeps it out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shared {
    Takes,
    Refuses(&'static str),
}
use Shared::{Refuses, Takes};

const fn good(name: &'static str, document: &'static str, column: &'static [On]) -> Row {
    Row {
        name,
        document: document.as_bytes(),
        verdict: Verdict::Accepted(column),
    }
}

const fn bad(
    name: &'static str,
    document: &'static str,
    slug: &'static str,
    shared: Shared,
) -> Row {
    raw(name, document.as_bytes(), slug, shared)
}

const fn raw(
    name: &'static str,
    document: &'static [u8],
    slug: &'static str,
    shared: Shared,
) -> Row {
    Row {
        name,
        document,
        verdict: Verdict::Refused(slug, shared),
    }
}

/// A document of one directive that is whole but for `$members`.
macro_rules! one {
    ($members:literal) => {
        concat!(
            r#"{"directives":[{"id":"a/b","level":"Shape","ttl_secs":60,"#,
            $members,
            "}]}"
        )
    };
}

/// The same with two directives, the second in question, so that a bad one is seen not to let the first through.
macro_rules! second {
    ($members:literal) => {
        concat!(
            r#"{"directives":[{"id":"a/a","level":"Shape","ttl_secs":60,"tenant":"acme"},"#,
            r#"{"id":"a/b","level":"Shape","ttl_secs":60,"#,
            $members,
            "}]}"
        )
    };
}

pub(crate) const ROWS: &[Row] = &[
    // What is accepted, and what it decides.
    good("nothing to say", r#"{"directives":[]}"#, &[]),
    good("nothing to say, with space around it", " \n\t{ \"directives\" : [ \r\n ] } \n", &[]),
    good("every request", r#"{"directives":[{"id":"a/b","level":"Shape","ttl_secs":60}]}"#, &[on(Shape)]),
    good("one tenant", one!(r#""tenant":"acme""#), &[on(Shape).tenant("acme")]),
    good("one index", one!(r#""index":"orders""#), &[on(Shape).index("orders")]),
    good("one principal", one!(r#""principal":"ana""#), &[on(Shape).principal("ana")]),
    good("two selectors", one!(r#""tenant":"acme","index":"orders""#), &[on(Shape).tenant("acme").index("orders")]),
    good(
        "all four selectors",
        one!(r#""tenant":"acme","index":"orders","principal":"ana","endpoint":"Search""#),
        &[on(Shape).tenant("acme").index("orders").principal("ana").endpoint(Search)],
    ),
    good("endpoint IngestDoc", one!(r#""endpoint":"IngestDoc""#), &[on(Shape).endpoint(IngestDoc)]),
    good("endpoint IngestBulk", one!(r#""endpoint":"IngestBulk""#), &[on(Shape).endpoint(IngestBulk)]),
    good("endpoint Search", one!(r#""endpoint":"Search""#), &[on(Shape).endpoint(Search)]),
    good("endpoint MultiSearch", one!(r#""endpoint":"MultiSearch""#), &[on(Shape).endpoint(MultiSearch)]),
    good("endpoint Count", one!(r#""endpoint":"Count""#), &[on(Shape).endpoint(Count)]),
    good("endpoint GetById", one!(r#""endpoint":"GetById""#), &[on(Shape).endpoint(GetById)]),
    good("endpoint MultiGet", one!(r#""endpoint":"MultiGet""#), &[on(Shape).endpoint(MultiGet)]),
    good("endpoint DeleteById", one!(r#""endpoint":"DeleteById""#), &[on(Shape).endpoint(DeleteById)]),
    good("endpoint DeleteByQuery", one!(r#""endpoint":"DeleteByQuery""#), &[on(Shape).endpoint(DeleteByQuery)]),
    good("endpoint Cursor", one!(r#""endpoint":"Cursor""#), &[on(Shape).endpoint(Cursor)]),
    good("endpoint Admin", one!(r#""endpoint":"Admin""#), &[on(Shape).endpoint(Admin)]),
    good("endpoint Unknown", one!(r#""endpoint":"Unknown""#), &[on(Shape).endpoint(Unknown)]),
    good(
        "level Off with a ring buffer",
        r#"{"directives":[{"id":"a","level":"Off","ttl_secs":60,"ring_buffer":true}]}"#,
        &[on(Off).ring_buffer()],
    ),
    good("level Off alone", r#"{"directives":[{"id":"a","level":"Off","ttl_secs":60}]}"#, &[on(Off)]),
    good(
        "level ShapeTiming",
        r#"{"directives":[{"id":"a","level":"ShapeTiming","ttl_secs":60,"tenant":"acme"}]}"#,
        &[on(ShapeTiming).tenant("acme")],
    ),
    good(
        "level ShapeRewriteDiff",
        r#"{"directives":[{"id":"a","level":"ShapeRewriteDiff","ttl_secs":60,"tenant":"acme"}]}"#,
        &[on(ShapeRewriteDiff).tenant("acme")],
    ),
    good("capture", one!(r#""tenant":"acme","capture":true"#), &[on(Shape).tenant("acme").capture()]),
    good("capture said to be off", one!(r#""tenant":"acme","capture":false"#), &[on(Shape).tenant("acme")]),
    good(
        "ring buffer and capture",
        one!(r#""index":"orders","capture":true,"ring_buffer":true"#),
        &[on(Shape).index("orders").capture().ring_buffer()],
    ),
    good("no request of a thousand", one!(r#""tenant":"acme","sample_per_mille":0"#), &[on(Shape).tenant("acme").sample(0)]),
    good("one request of a thousand", one!(r#""sample_per_mille":1"#), &[on(Shape).sample(1)]),
    good("one half", one!(r#""tenant":"acme","sample_per_mille":500"#), &[on(Shape).tenant("acme").sample(500)]),
    good("all but one of a thousand", one!(r#""sample_per_mille":999"#), &[on(Shape).sample(999)]),
    good("all of a thousand", one!(r#""sample_per_mille":1000"#), &[on(Shape)]),
    good(
        "a sample holds for capture and ring buffer too",
        one!(r#""capture":true,"ring_buffer":true,"sample_per_mille":300"#),
        &[on(Shape).capture().ring_buffer().sample(300)],
    ),
    good("a name in an escaped spelling", one!(r#""t\u0065nant":"acme""#), &[on(Shape).tenant("acme")]),
    good("a value in an escaped spelling", one!(r#""tenant":"\u0061cm\u0065""#), &[on(Shape).tenant("acme")]),
    good("a value that looks like null", one!(r#""tenant":"null""#), &[on(Shape).tenant("null")]),
    good("a value that looks like a number", one!(r#""tenant":"5""#), &[on(Shape).tenant("5")]),
    good("a star is a name and no pattern", one!(r#""tenant":"*""#), &[on(Shape).tenant("*")]),
    good("a space at the end belongs to the value", one!(r#""tenant":"acme ""#), &[on(Shape).tenant("acme ")]),
    good("a value's case counts", one!(r#""tenant":"Acme""#), &[on(Shape).tenant("Acme")]),
    good("a value with quotes and a backslash", one!(r#""tenant":"a\"\\b""#), &[on(Shape).tenant("a\"\\b")]),
    good("a value beyond the first plane", one!(r#""tenant":"\ud83d\ude80""#), &[on(Shape).tenant("🚀")]),
    good("a value beyond ASCII", one!(r#""index":"bücher""#), &[on(Shape).index("bücher")]),
    good(
        "the members in another order",
        r#"{"directives":[{"tenant":"acme","ttl_secs":60,"level":"Shape","id":"a"}]}"#,
        &[on(Shape).tenant("acme")],
    ),
    good(
        "the longest life",
        r#"{"directives":[{"id":"a","level":"Shape","ttl_secs":691200,"tenant":"acme"}]}"#,
        &[on(Shape).tenant("acme")],
    ),
    good(
        "the shortest life",
        r#"{"directives":[{"id":"a","level":"Shape","ttl_secs":1,"tenant":"acme"}]}"#,
        &[on(Shape).tenant("acme")],
    ),
    good(
        "two directives for two tenants",
        second!(r#""tenant":"globex""#),
        &[on(Shape).tenant("acme"), on(Shape).tenant("globex")],
    ),
    good(
        "two that overlap: the more verbose one wins",
        r#"{"directives":[{"id":"a","level":"ShapeRewriteDiff","ttl_secs":60,"tenant":"acme","index":"orders"},
            {"id":"b","level":"Shape","ttl_secs":60,"tenant":"acme"}]}"#,
        &[on(ShapeRewriteDiff).tenant("acme").index("orders"), on(Shape).tenant("acme")],
    ),
    good(
        "three that add up: a level, a ring buffer and a capture, from three directives",
        r#"{"directives":[{"id":"a","level":"ShapeTiming","ttl_secs":60,"tenant":"acme"},
            {"id":"b","level":"Off","ttl_secs":60,"index":"orders","ring_buffer":true},
            {"id":"c","level":"Off","ttl_secs":60,"principal":"ana","capture":true,"sample_per_mille":700}]}"#,
        &[
            on(ShapeTiming).tenant("acme"),
            on(Off).index("orders").ring_buffer(),
            on(Off).principal("ana").capture().sample(700),
        ],
    ),
    good(
        "ids that differ in case are two",
        r#"{"directives":[{"id":"a","level":"Shape","ttl_secs":60,"tenant":"acme"},{"id":"A","level":"Shape","ttl_secs":60,"index":"orders"}]}"#,
        &[on(Shape).tenant("acme"), on(Shape).index("orders")],
    ),
    // A selector that could vanish, and with it every limit.
    bad("tenant null", one!(r#""tenant":null"#), "null_value", Takes),
    bad("index null", one!(r#""index":null"#), "null_value", Takes),
    bad("principal null", one!(r#""principal":null"#), "null_value", Takes),
    bad("endpoint null", one!(r#""endpoint":null"#), "null_value", Refuses("bad_endpoint")),
    bad("a null beside a value", one!(r#""tenant":"acme","index":null"#), "null_value", Takes),
    bad("tenant a number", one!(r#""tenant":5"#), "wrong_type", Takes),
    bad("tenant zero", one!(r#""tenant":0"#), "wrong_type", Takes),
    bad("tenant negative", one!(r#""tenant":-5"#), "wrong_type", Takes),
    bad("tenant a fraction", one!(r#""tenant":1.5"#), "wrong_type", Takes),
    bad("tenant true", one!(r#""tenant":true"#), "wrong_type", Takes),
    bad("tenant false", one!(r#""tenant":false"#), "wrong_type", Takes),
    bad("tenant a list", one!(r#""tenant":["acme"]"#), "wrong_type", Takes),
    bad("tenant an empty list", one!(r#""tenant":[]"#), "wrong_type", Takes),
    bad("tenant an object", one!(r#""tenant":{"value":"acme"}"#), "wrong_type", Takes),
    bad("tenant an empty object", one!(r#""tenant":{}"#), "wrong_type", Takes),
    bad("index a list of two", one!(r#""index":["orders","order"]"#), "wrong_type", Takes),
    bad("index a number", one!(r#""index":5"#), "wrong_type", Takes),
    bad("principal an object", one!(r#""principal":{"name":"ana"}"#), "wrong_type", Takes),
    bad("principal a number beyond 64 bits", one!(r#""principal":18446744073709551616"#), "wrong_type", Takes),
    bad("endpoint a number", one!(r#""endpoint":1"#), "wrong_type", Refuses("bad_endpoint")),
    bad("endpoint a list", one!(r#""endpoint":["Search"]"#), "wrong_type", Refuses("bad_endpoint")),
    bad("tenant empty", one!(r#""tenant":"""#), "empty_selector", Takes),
    bad("index empty", one!(r#""index":"""#), "empty_selector", Takes),
    bad("principal empty", one!(r#""principal":"""#), "empty_selector", Takes),
    bad("endpoint empty", one!(r#""endpoint":"""#), "empty_selector", Refuses("unknown_endpoint")),
    bad("the second directive's tenant a number", second!(r#""tenant":5"#), "wrong_type", Takes),
    bad("the second directive's tenant null", second!(r#""tenant":null"#), "null_value", Takes),
    // A member that stands twice: one of the two was not meant.
    bad("tenant twice", one!(r#""tenant":"acme","tenant":"globex""#), "duplicate_field", Takes),
    bad("tenant twice alike", one!(r#""tenant":"acme","tenant":"acme""#), "duplicate_field", Takes),
    bad("tenant and then a null", one!(r#""tenant":"acme","tenant":null"#), "duplicate_field", Takes),
    bad("tenant twice, the second escaped", one!(r#""tenant":"acme","t\u0065nant":"globex""#), "duplicate_field", Takes),
    bad("tenant twice, the first escaped", one!(r#""\u0074enant":"acme","tenant":"globex""#), "duplicate_field", Takes),
    bad("index twice", one!(r#""index":"orders","tenant":"acme","index":"order""#), "duplicate_field", Takes),
    bad("endpoint twice", one!(r#""endpoint":"Search","endpoint":"Count""#), "duplicate_field", Takes),
    bad("sample twice", one!(r#""sample_per_mille":1,"sample_per_mille":1000"#), "duplicate_field", Takes),
    bad("capture twice", one!(r#""capture":false,"capture":true"#), "duplicate_field", Takes),
    bad("ring buffer twice", one!(r#""ring_buffer":false,"ring_buffer":true"#), "duplicate_field", Takes),
    bad("id twice", one!(r#""id":"c/d""#), "duplicate_field", Takes),
    bad("level twice", one!(r#""level":"ShapeRewriteDiff""#), "duplicate_field", Takes),
    bad("life twice", one!(r#""ttl_secs":600"#), "duplicate_field", Takes),
    bad("directives twice", r#"{"directives":[],"directives":[{"id":"a","level":"Shape","ttl_secs":60}]}"#, "duplicate_field", Takes),
    bad("a second id, the first directive's", second!(r#""tenant":"globex","index":"a","id":"a/a""#), "duplicate_field", Takes),
    bad(
        "one id for two tenants",
        r#"{"directives":[{"id":"a","level":"Shape","ttl_secs":60,"tenant":"acme"},{"id":"a","level":"Shape","ttl_secs":60,"tenant":"globex"}]}"#,
        "duplicate_id",
        Takes,
    ),
    bad(
        "one id in two spellings",
        r#"{"directives":[{"id":"a","level":"Shape","ttl_secs":60,"tenant":"acme"},{"id":"\u0061","level":"Shape","ttl_secs":60,"tenant":"globex"}]}"#,
        "duplicate_id",
        Takes,
    ),
    // Names that nobody knows.
    bad("tennant", one!(r#""tennant":"acme""#), "unknown_field", Refuses("unknown_field")),
    bad("Tenant", one!(r#""Tenant":"acme""#), "unknown_field", Refuses("unknown_field")),
    bad("tenant with a space", one!(r#""tenant ":"acme""#), "unknown_field", Refuses("unknown_field")),
    bad("a name of nothing", one!(r#""":"acme""#), "unknown_field", Refuses("unknown_field")),
    bad("the resource's spelling of the sample", one!(r#""samplePerMille":5"#), "unknown_field", Refuses("unknown_field")),
    bad("the resource's spelling of the target", one!(r#""match":[]"#), "unknown_field", Refuses("unknown_field")),
    bad("an unknown member beside directives", r#"{"directives":[],"version":2}"#, "unknown_field", Refuses("unknown_field")),
    bad("an unknown member that holds a nest", one!(r#""x":{"y":[{"z":null}]}"#), "unknown_field", Refuses("unknown_field")),
    // The other members: a type that is not theirs is not read as their default.
    bad("capture a string", one!(r#""capture":"true""#), "wrong_type", Takes),
    bad("capture a number", one!(r#""capture":1"#), "wrong_type", Takes),
    bad("capture null", one!(r#""capture":null"#), "null_value", Takes),
    bad("ring buffer a string", one!(r#""ring_buffer":"false""#), "wrong_type", Takes),
    bad("ring buffer null", one!(r#""ring_buffer":null"#), "null_value", Takes),
    bad("ring buffer a list", one!(r#""ring_buffer":[true]"#), "wrong_type", Takes),
    bad("sample null", one!(r#""sample_per_mille":null"#), "null_value", Refuses("bad_sample_rate")),
    bad("sample a string", one!(r#""sample_per_mille":"5""#), "wrong_type", Refuses("bad_sample_rate")),
    bad("sample a fraction", one!(r#""sample_per_mille":0.5"#), "wrong_type", Refuses("bad_sample_rate")),
    bad("sample a whole fraction", one!(r#""sample_per_mille":5.0"#), "wrong_type", Refuses("bad_sample_rate")),
    bad("sample with an exponent", one!(r#""sample_per_mille":1e2"#), "wrong_type", Refuses("bad_sample_rate")),
    bad("sample negative", one!(r#""sample_per_mille":-1"#), "wrong_type", Refuses("bad_sample_rate")),
    bad("sample minus zero", one!(r#""sample_per_mille":-0"#), "wrong_type", Refuses("bad_sample_rate")),
    bad("sample 1001", one!(r#""sample_per_mille":1001"#), "bad_sample_rate", Refuses("bad_sample_rate")),
    bad("sample that wraps to 1000 in 16 bits", one!(r#""sample_per_mille":66536"#), "bad_sample_rate", Refuses("bad_sample_rate")),
    bad("sample beyond 64 bits", one!(r#""sample_per_mille":18446744073709551616"#), "wrong_type", Refuses("bad_sample_rate")),
    bad("endpoint in lower case", one!(r#""endpoint":"search""#), "unknown_endpoint", Refuses("unknown_endpoint")),
    bad("endpoint of a newer version", one!(r#""endpoint":"Reindex""#), "unknown_endpoint", Refuses("unknown_endpoint")),
    bad("no id", r#"{"directives":[{"level":"Shape","ttl_secs":60}]}"#, "missing_id", Refuses("missing_id")),
    bad("id empty", r#"{"directives":[{"id":"","level":"Shape","ttl_secs":60}]}"#, "empty_id", Takes),
    bad("id null", r#"{"directives":[{"id":null,"level":"Shape","ttl_secs":60}]}"#, "null_value", Refuses("missing_id")),
    bad("id a number", r#"{"directives":[{"id":7,"level":"Shape","ttl_secs":60}]}"#, "wrong_type", Refuses("missing_id")),
    bad("id with a line break", r#"{"directives":[{"id":"a\nb","level":"Shape","ttl_secs":60}]}"#, "id_with_control_character", Takes),
    bad("id with a NUL", r#"{"directives":[{"id":"a\u0000","level":"Shape","ttl_secs":60}]}"#, "id_with_control_character", Takes),
    bad("no level", r#"{"directives":[{"id":"a","ttl_secs":60}]}"#, "missing_level", Refuses("missing_level")),
    bad("level null", r#"{"directives":[{"id":"a","level":null,"ttl_secs":60}]}"#, "null_value", Refuses("missing_level")),
    bad("level false, YAML's Off", r#"{"directives":[{"id":"a","level":false,"ttl_secs":60}]}"#, "wrong_type", Refuses("missing_level")),
    bad("level in lower case", r#"{"directives":[{"id":"a","level":"shape","ttl_secs":60}]}"#, "unknown_level", Refuses("unknown_level")),
    bad("level empty", r#"{"directives":[{"id":"a","level":"","ttl_secs":60}]}"#, "unknown_level", Refuses("unknown_level")),
    bad("no life", r#"{"directives":[{"id":"a","level":"Shape"}]}"#, "missing_ttl_secs", Refuses("missing_ttl_secs")),
    bad("life zero", r#"{"directives":[{"id":"a","level":"Shape","ttl_secs":0}]}"#, "zero_ttl", Refuses("zero_ttl")),
    bad("life null", r#"{"directives":[{"id":"a","level":"Shape","ttl_secs":null}]}"#, "null_value", Refuses("missing_ttl_secs")),
    bad("life negative", r#"{"directives":[{"id":"a","level":"Shape","ttl_secs":-60}]}"#, "wrong_type", Refuses("missing_ttl_secs")),
    bad("life a fraction", r#"{"directives":[{"id":"a","level":"Shape","ttl_secs":60.0}]}"#, "wrong_type", Refuses("missing_ttl_secs")),
    bad("life a string", r#"{"directives":[{"id":"a","level":"Shape","ttl_secs":"60"}]}"#, "wrong_type", Refuses("missing_ttl_secs")),
    bad("life a second too long", r#"{"directives":[{"id":"a","level":"Shape","ttl_secs":691201}]}"#, "ttl_too_long", Takes),
    bad("life for ever", r#"{"directives":[{"id":"a","level":"Shape","ttl_secs":18446744073709551615}]}"#, "ttl_too_long", Takes),
    // No document at all.
    bad("nothing", "", "invalid_json", Refuses("invalid_json")),
    bad("null", "null", "not_an_object", Refuses("not_an_object")),
    bad("a list", "[]", "not_an_object", Refuses("not_an_object")),
    bad("a string", r#""directives""#, "not_an_object", Refuses("not_an_object")),
    bad("a number", "0", "not_an_object", Refuses("not_an_object")),
    bad("an empty object", "{}", "missing_directives", Refuses("missing_directives")),
    bad("directives null", r#"{"directives":null}"#, "null_value", Refuses("missing_directives")),
    bad("directives an object", r#"{"directives":{}}"#, "wrong_type", Refuses("missing_directives")),
    bad("directives a string", r#"{"directives":"[]"}"#, "wrong_type", Refuses("missing_directives")),
    bad("a directive that is null", r#"{"directives":[null]}"#, "not_an_object", Refuses("not_an_object")),
    bad("a directive that is a list", r#"{"directives":[[]]}"#, "not_an_object", Refuses("not_an_object")),
    bad("a directive that is a string", r#"{"directives":["Shape"]}"#, "not_an_object", Refuses("not_an_object")),
    bad("an empty directive", r#"{"directives":[{}]}"#, "missing_id", Refuses("missing_id")),
    bad("a comma too many", r#"{"directives":[],}"#, "invalid_json", Refuses("invalid_json")),
    bad("cut in the middle", r#"{"directives":[{"id":"a","level":"Shape","ttl_secs":60,"ten"#, "invalid_json", Refuses("invalid_json")),
    bad("something behind it", r#"{"directives":[]}{"directives":[]}"#, "invalid_json", Refuses("invalid_json")),
    bad("a comment", "{\"directives\":[] /* none */}", "invalid_json", Refuses("invalid_json")),
    bad("single quotes", "{'directives':[]}", "invalid_json", Refuses("invalid_json")),
    bad("not a number", one!(r#""sample_per_mille":NaN"#), "invalid_json", Refuses("invalid_json")),
    bad("a number with a leading zero", one!(r#""sample_per_mille":010"#), "invalid_json", Refuses("invalid_json")),
    bad("a number beyond all bounds", one!(r#""sample_per_mille":1e999"#), "invalid_json", Refuses("invalid_json")),
    bad("half a character", one!(r#""tenant":"\ud83d""#), "invalid_json", Refuses("invalid_json")),
    bad("a raw line break in a value", one!("\"tenant\":\"ac\nme\""), "invalid_json", Refuses("invalid_json")),
    bad("a mark of byte order", "\u{feff}{\"directives\":[]}", "invalid_json", Refuses("invalid_json")),
    bad("YAML", "directives: []\n", "invalid_json", Refuses("invalid_json")),
    raw("a value that is not UTF-8", b"{\"directives\":[{\"id\":\"a\",\"level\":\"Shape\",\"ttl_secs\":60,\"tenant\":\"\xff\"}]}", "invalid_utf8", Refuses("invalid_json")),
    raw("UTF-16", b"\xff\xfe{\0}\0", "invalid_utf8", Refuses("invalid_json")),
];
