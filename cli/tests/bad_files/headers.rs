//! Headers that lie, and those that are no JSON of the format.

use crate::case::{Case, claiming, file};

const VALID: &str = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
const GROUP: &str = "Headers";

/// Name, header, bytes behind it, what is said.
const HEADERS: &[(&str, &str, usize, &str)] = &[
    (
        "a download that is one byte short",
        VALID,
        7,
        "is cut short: expected 70 bytes, have 69; download it again",
    ),
    ("a download that has only the header", VALID, 0, "expected 70 bytes, have 62"),
    ("a byte too many", VALID, 9, "has trailing bytes after its last tensor: expected 70 bytes, have 71"),
    ("white space before the header", concat!(" ", r#"{"a":{}}"#), 8, "begins with white space"),
    ("a line break before the header", "\n{}", 0, "begins with white space"),
    ("a header that ends too soon", r#"{"a":"#, 8, "EOF while parsing"),
    ("a name without a colon", r#"{"a" 1}"#, 8, "at line 1 column 6"),
    ("names in single quotes", "{'a':1}", 8, "key must be a string"),
    ("two headers", "{}{}", 0, "trailing characters"),
    ("zeros behind the header", "{}\0\0", 0, "trailing characters"),
    ("a tensor that is a number", r#"{"a":1}"#, 8, "expected a table with dtype, shape and data_offsets"),
    ("a tensor that is a list", r#"{"a":["F32",[2],[0,8]]}"#, 8, "expected a table with dtype"),
    ("a tensor that is nothing", r#"{"a":null}"#, 0, "expected a table with dtype"),
    ("a number for the format", r#"{"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}}"#, 8, "dtype"),
    (
        "an unknown format",
        r#"{"a":{"dtype":"Q4_K","shape":[2],"data_offsets":[0,8]}}"#,
        8,
        "unknown dtype \"Q4_K\"",
    ),
    (
        "a format in small letters",
        r#"{"a":{"dtype":"f32","shape":[2],"data_offsets":[0,8]}}"#,
        8,
        "unknown dtype \"f32\"",
    ),
    (
        "a shape that is a number",
        r#"{"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}}"#,
        8,
        "expected a list of dimensions",
    ),
    (
        "a dimension that is a text",
        r#"{"a":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}}"#,
        8,
        "expected u64",
    ),
    ("a negative dimension", r#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, 8, "expected u64"),
    (
        "a dimension with a point",
        r#"{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}"#,
        8,
        "expected u64",
    ),
    (
        "a dimension of 20 digits",
        r#"{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]}}"#,
        8,
        "expected u64",
    ),
    (
        "dimensions whose product overflows",
        r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#,
        8,
        "larger than any file",
    ),
    (
        "bits that overflow",
        r#"{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,8]}}"#,
        8,
        "larger than any file",
    ),
    (
        "a dimension of zero with bytes",
        r#"{"a":{"dtype":"F32","shape":[0,9],"data_offsets":[0,8]}}"#,
        8,
        "8 bytes where F32 [0, 9] needs 0",
    ),
    (
        "nine dimensions",
        r#"{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]}}"#,
        8,
        "more than 8 dimensions",
    ),
    (
        "a range that is too short",
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#,
        4,
        "4 bytes where F32 [2] needs 8",
    ),
    (
        "a range that is too long",
        r#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,8]}}"#,
        8,
        "8 bytes where F16 [2] needs 4",
    ),
    (
        "a range that ends before it starts",
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#,
        8,
        "before its start",
    ),
    (
        "a range of one number",
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8]}}"#,
        8,
        "not two numbers",
    ),
    (
        "a range of three numbers",
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}"#,
        8,
        "not two numbers",
    ),
    (
        "a range at the end of 64 bits",
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[18446744073709551607,18446744073709551615]}}"#,
        8,
        "leaves",
    ),
    (
        "a table for a range",
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":{"0":8}}}"#,
        8,
        "list of two offsets",
    ),
    (
        "half a byte",
        r#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#,
        2,
        "does not fill whole bytes",
    ),
    ("no format", r#"{"a":{"shape":[2],"data_offsets":[0,8]}}"#, 8, "no field \"dtype\""),
    ("no shape", r#"{"a":{"dtype":"F32","data_offsets":[0,8]}}"#, 8, "no field \"shape\""),
    ("no range", r#"{"a":{"dtype":"F32","shape":[2]}}"#, 8, "no field \"data_offsets\""),
    (
        "two formats",
        r#"{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
        8,
        "two fields \"dtype\"",
    ),
    (
        "an unknown field",
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"b":0}}"#,
        8,
        "unknown field \"b\"",
    ),
    (
        "two tensors of one name",
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
        8,
        "names \"a\" twice",
    ),
    (
        "the same name, once escaped",
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\u0061":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
        8,
        "names \"a\" twice",
    ),
    (
        "tensors that overlap",
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
        12,
        "overlap tensor \"a\"",
    ),
    (
        "two tensors in one place",
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
        8,
        "overlap tensor",
    ),
    (
        "a hole between tensors",
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#,
        12,
        "leaves 4 bytes before tensor \"b\"",
    ),
    (
        "a hole at the beginning",
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
        8,
        "leaves 4 bytes before tensor \"a\"",
    ),
    (
        "metadata that are a number",
        r#"{"__metadata__":{"epoch":3}}"#,
        0,
        "has metadata \"epoch\" that are not text",
    ),
    ("metadata that are a list", r#"{"__metadata__":[]}"#, 0, "that are not text"),
    ("metadata that are nothing", r#"{"__metadata__":null}"#, 0, "that are not text"),
    ("metadata twice", r#"{"__metadata__":{},"__metadata__":{}}"#, 0, "names \"__metadata__\" twice"),
    ("an entry of the metadata twice", r#"{"__metadata__":{"a":"1","a":"2"}}"#, 0, "names \"a\" twice"),
    ("a name that steers the terminal", "{\"\\u001b[2J\":1}", 0, "expected a table with dtype"),
    ("a format that steers the terminal", "{\"a\":{\"dtype\":\"\\u001b[2J\\n\"}}", 0, "\\u{1b}[2J\\n"),
    ("half a character in an escape", r#"{"\ud800":1}"#, 0, "is not valid JSON"),
    ("a control character in a name", "{\"a\u{1}\":1}", 0, "control character"),
];

pub(crate) fn all() -> Vec<Case> {
    let header = |(name, header, data, says): &(&str, &'static str, usize, &str)| {
        let (header, data) = (*header, *data);
        Case::file(GROUP, name, move || file(header, data), &[says])
    };
    let mut cases: Vec<_> = HEADERS.iter().map(header).collect();
    cases.extend(lengths());
    cases.extend(large());
    cases
}

fn lengths() -> Vec<Case> {
    let too_long = "more than the 16777216 that are read";
    let mut cases: Vec<_> = [
        (
            "a header longer than the file by one byte",
            VALID.len() as u64 + 9,
            "expected at least 71 bytes, have 70",
        ),
        ("a header of a gigabyte", 1 << 30, too_long),
        ("a header of 2^63 bytes", 1 << 63, "claims a header of 9223372036854775808 bytes"),
        ("a header of 2^64 - 1 bytes", u64::MAX, "claims a header of 18446744073709551615 bytes"),
        ("a header of 2^64 - 8 bytes", u64::MAX - 7, "claims a header of 18446744073709551608 bytes"),
        ("a header of no bytes", 0, "is not a safetensors file"),
        ("a header that is cut by its length", 10, "EOF while parsing"),
    ]
    .into_iter()
    .map(|(name, claimed, says)| {
        Case::file(GROUP, name, move || claiming(claimed, VALID.as_bytes(), 8), &[says])
    })
    .collect();
    let mut broken = VALID.as_bytes().to_vec();
    broken[5] = 0xFF;
    let says = "is not UTF-8 text at byte 5";
    cases.push(Case::file(GROUP, "bad UTF-8", move || claiming(broken.len() as u64, &broken, 8), &[says]));
    cases
}

/// Headers that are long.
fn large() -> Vec<Case> {
    // They are not built before they are needed: the memory of this process counts as that of the programs it runs.
    let big = |name: &str, least: usize, header: fn() -> String, says: &str| {
        let make = move || {
            let header = header();
            assert!(header.len() >= least);
            file(&header, 0)
        };
        Case::file(GROUP, name, make, &[says]).with_header(least)
    };
    const MIB: usize = 1 << 20;
    const LIMIT: usize = 16 * MIB;
    vec![
        big(
            "a name of 2 KiB",
            2048,
            || format!(r#"{{"{}":{{}}}}"#, "n".repeat(2048)),
            "has a name of 2048 bytes",
        ),
        big(
            "a text of 1 MiB for a tensor",
            MIB,
            || format!(r#"{{"a":"{}"}}"#, "x".repeat(MIB)),
            "invalid type",
        ),
        big(
            "a million opening brackets",
            MIB,
            || format!(r#"{{"a":{}"#, "[".repeat(MIB)),
            "invalid type: sequence",
        ),
        big("100,000 tables in each other", 500_000, || r#"{"a":"#.repeat(100_000), "unknown field \"a\""),
        big(
            "100,000 tables in an unknown field",
            500_000,
            || format!(r#"{{"a":{{"b":{}"#, r#"{"c":"#.repeat(100_000)),
            "unknown field \"b\"",
        ),
        big(
            "a shape of 7 million zeros",
            14 * MIB,
            || format!(r#"{{"a":{{"dtype":"F32","shape":[0{}"#, ",0".repeat(7 * MIB)),
            "more than 8 dimensions",
        ),
        big(
            "a number of a million digits",
            MIB,
            || format!(r#"{{"a":{{"dtype":"F32","shape":[{}]"#, "9".repeat(MIB)),
            "is not valid JSON",
        ),
        big(
            "10,001 entries of metadata",
            80_000,
            || format!(r#"{{"__metadata__":{{{}}}}}"#, list(10_001, r#""""#)),
            "more than 10000 entries",
        ),
        big(
            "100,001 tensors",
            5_000_000,
            || format!("{{{}}}", list(100_001, r#"{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#)),
            "more than 100000 tensors",
        ),
        big(
            "200,000 lists in a range",
            600_000,
            || format!(r#"{{"a":{{"data_offsets":[{}"#, "[],".repeat(200_000)),
            "is not valid JSON",
        ),
        big(
            "16 MiB of spaces and nothing",
            LIMIT,
            || format!("{{{}", " ".repeat(LIMIT - 1)),
            "EOF while parsing",
        ),
        big(
            "16 MiB and a byte",
            LIMIT,
            || format!("{{}}{}", " ".repeat(LIMIT - 1)),
            "more than the 16777216 that are read",
        ),
    ]
}

fn list(count: usize, value: &str) -> String {
    (0..count).map(|i| format!("\"{i}\":{value}")).collect::<Vec<_>>().join(",")
}
