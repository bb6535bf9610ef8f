//! What templates become.

use super::*;
use crate::Error;
use proptest::prelude::*;
use std::fs;
use std::path::Path;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &[u8]| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("animals")).unwrap();
    put("colour.txt", "\u{feff}# warm\nred\n\n  orange \r\n#blue\n".as_bytes());
    put("animals/cats.txt", b"a __colour__ cat\n");
    put("one.txt", b"one");
    put("circle.txt", b"x __circle__");
    put(
        "wide.txt",
        b"__wide2__ __wide2__ __wide2__ __wide2__ __wide2__ __wide2__ __wide2__ __wide2__ __wide2__",
    );
    put(
        "wide2.txt",
        b"__wide3__ __wide3__ __wide3__ __wide3__ __wide3__ __wide3__ __wide3__ __wide3__ __wide3__",
    );
    put(
        "wide3.txt",
        b"__wide4__ __wide4__ __wide4__ __wide4__ __wide4__ __wide4__ __wide4__ __wide4__ __wide4__",
    );
    put(
        "wide4.txt",
        b"__one__ __one__ __one__ __one__ __one__ __one__ __one__ __one__ __one__ __one__ __one__",
    );
    put("large.txt", "y".repeat(30_000).as_bytes());
    put("long.txt", "y".repeat(70_000).as_bytes());
    put("empty.txt", b"# nothing\n\n");
    put("bytes.txt", b"\xFF\xFE");
    folder
}

fn resolve(template: &str, seed: u64) -> Result<String, Error> {
    let folder = folder();
    let [prompt] = Wildcards::open(folder.path())?.resolve([template], seed)?;
    Ok(prompt)
}

#[test]
fn lines_and_parts_are_drawn_by_the_seed() {
    let all = |template: &str| {
        let folder = folder();
        let mut wildcards = Wildcards::open(folder.path()).unwrap();
        let mut found: Vec<String> =
            (0..200).map(|seed| wildcards.resolve([template], seed).unwrap()[0].clone()).collect();
        found.sort();
        found.dedup();
        found
    };
    assert_eq!(all("__colour__"), ["orange", "red"]);
    assert_eq!(all("__animals/cats__!"), ["a orange cat!", "a red cat!"]);
    assert_eq!(all("{a|b|{c|__one__}}"), ["a", "b", "c", "one"]);
    assert_eq!(all("{a|}b"), ["ab", "b"]);
    assert_eq!(all("{2$$a|b|c}").len(), 6);
    assert_eq!(all("{9$$a|b}"), ["a, b", "b, a"]);
    assert_eq!(all("{[a|b]|c}"), ["[a|b]", "c"]);
    assert_eq!(all("{0$$a|b}x"), ["x"]);
    assert_eq!(all("{a|b} {a|b}").len(), 4);
}

#[test]
fn draws_do_not_depend_on_each_other() {
    let folder = folder();
    let mut wildcards = Wildcards::open(folder.path()).unwrap();
    let template = "{a|b|c|d|e|f} __colour__ {1|2|3|4|5|6}";
    let mut alone = |seed| {
        let [prompt] = Wildcards::open(folder.path()).unwrap().resolve([template], seed).unwrap();
        prompt
    };
    let expected: Vec<String> = (0..20).map(&mut alone).collect();
    for (seed, expected) in (0..20).zip(&expected) {
        let [prompt, negative] = wildcards.resolve([template, "{x|y}"], seed).unwrap();
        assert_eq!(prompt, *expected);
        assert_eq!(wildcards.resolve(["", "{x|y}"], seed).unwrap()[1], negative);
    }
    // These are the numbers of this version: images are drawn again by them.
    assert_eq!(expected[..3], ["a orange 2", "e orange 3", "a orange 4"]);
}

#[test]
fn what_is_no_wildcard_stays() {
    for text in [
        "",
        "a cat",
        "{a}",
        "{",
        "}",
        "{a|b",
        "a|b}",
        "a|b",
        "__",
        "____",
        "__ a __",
        "a__b c__d",
        "\\{a|b\\}",
        "\\__one__",
        "<lora:a__one__b:1>",
        "<lora:__one__",
        "[a|b]",
        "snake_case_",
        "{{a}}",
        "\\",
    ] {
        assert_eq!(resolve(text, 1).unwrap(), text);
    }
    assert_eq!(resolve("___one__ __one____one__", 1).unwrap(), "_one oneone");
}

#[test]
fn what_cannot_be_is_one_line() {
    for (template, part) in [
        ("__none__", "none.txt does not exist"),
        ("__animals__", "animals.txt does not exist"),
        ("__../one__", "__../one__ is not the name"),
        ("__/etc/passwd__", "is not the name"),
        ("__animals/../one__", "is not the name"),
        ("__.hidden__", "is not the name"),
        ("__a//b__", "is not the name"),
        ("__c:\\one__", "is not the name"),
        ("__colour*__", "is not the name"),
        ("__empty__", "contains no lines"),
        ("__bytes__", "not UTF-8"),
        ("__circle__", "circle"),
        ("__wide__ __wide__", "10000 random draws"),
        ("__large__ __large__ __large__ __large__", "becomes larger than 64 KiB"),
        ("__long__", "a line of more than 64 KiB"),
    ] {
        let error = resolve(template, 1).unwrap_err();
        assert!(error.is_bad_input(), "{error}");
        let error = error.to_string();
        assert!(error.contains(part) && error.lines().count() == 1, "{template}: {error}");
    }
    let deep = format!("{}a{}", "{b|".repeat(100), "}".repeat(100));
    assert!((0..50).any(|seed| resolve(&deep, seed).is_ok()));
    let braces = format!("{}a{}", "{".repeat(30_000), "}".repeat(30_000));
    assert_eq!(resolve(&braces, 1).unwrap(), braces);
    let error = resolve(&"a ".repeat(40_000), 1).unwrap_err().to_string();
    assert_eq!(error, "prompt: has 78 KiB of text; the maximum is 64 KiB");
    assert!(Wildcards::open(Path::new("/nowhere")).unwrap_err().is_bad_input());
}

#[test]
#[cfg(unix)]
fn a_link_does_not_lead_out() {
    let (folder, other) = (folder(), self::folder());
    let mut wildcards = Wildcards::open(folder.path()).unwrap();
    std::os::unix::fs::symlink(other.path().join("one.txt"), folder.path().join("out.txt")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("one.txt"), folder.path().join("in.txt")).unwrap();
    assert!(wildcards.resolve(["__out__"], 1).unwrap_err().to_string().contains("leads out"));
    assert_eq!(wildcards.resolve(["__in__"], 1).unwrap(), ["one"]);
}

proptest! {
    #[test]
    fn any_text_is_a_template(template in "[ab_{}|\\[\\]$1\\\\]{0,40}|\\PC*", seed: u64) {
        let folder = tempfile::tempdir().unwrap();
        let mut wildcards = Wildcards::open(folder.path()).unwrap();
        let resolved = wildcards.resolve([template.as_str()], seed);
        if let Ok([prompt]) = &resolved {
            prop_assert_eq!(&wildcards.resolve([template.as_str()], seed).unwrap()[0], prompt);
            if !template.contains(['|', '$']) {
                prop_assert_eq!(prompt, &template);
            }
        }
    }
}

/// The end of a row of underscores was looked for from each of them.
#[test]
fn underscores_take_linear_time() {
    let folder = folder();
    let resolve = |template: &String| {
        let [text] = Wildcards::open(folder.path()).unwrap().resolve([template.as_str()], 1).unwrap();
        assert_eq!(text, *template);
    };
    latent_benches::growth::assert_linear("underscores", 2_000, |bytes| "_".repeat(bytes), resolve);
}
