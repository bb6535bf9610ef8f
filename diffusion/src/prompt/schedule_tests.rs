//! Which text a prompt is in which step, and what `AND` joins.

use super::*;
use latent_benches::growth::assert_linear;
use proptest::prelude::*;

/// The spans of a prompt in a run of ten steps, written as `last step: text`.
fn spans(prompt: &str) -> Vec<String> {
    spans_of(prompt, 10)
}

fn spans_of(prompt: &str, steps: usize) -> Vec<String> {
    let schedule = PromptSchedule::new(prompt, steps).unwrap();
    schedule.spans().map(|(until, text)| format!("{until}: {text}")).collect()
}

#[track_caller]
fn same(prompt: &str, text: &str) {
    assert_eq!(spans(prompt), [format!("10: {text}")], "{prompt}");
}

#[test]
fn a_text_becomes_another_one() {
    for (prompt, expected) in [
        ("a cat", &["10: a cat"][..]),
        ("", &["10: "]),
        ("a [b:3]", &["3: a ", "10: a b"]),
        ("a [b: 3 ]", &["3: a ", "10: a b"]),
        ("a [b::3] c", &["3: a b c", "10: a  c"]),
        ("a [b:c:3] d", &["3: a b d", "10: a c d"]),
        ("a [b : c : 1] d", &["1: a b  d", "10: a  c  d"]),
        ("a [b:.5] c", &["5: a  c", "10: a b c"]),
        ("[a:b:0.29]", &["2: a", "10: b"]),
        ("[a:b:1e0]", &["1: a", "10: b"]),
        ("[:3]", &["10: "]),
        ("[::3]", &["10: "]),
        ("[:b:3]", &["3: ", "10: b"]),
        ("[a:b:2][c:d:4]", &["2: ac", "4: bc", "10: bd"]),
    ] {
        assert_eq!(spans(prompt), expected, "{prompt}");
    }
}

#[test]
fn a_change_at_either_end_is_none() {
    for when in ["0", "-1", "0.0", "-0.5", "0.05", "0.5e-9"] {
        same(&format!("[a:b:{when}]"), "b");
    }
    for when in ["10", "1000", "1.0", "7.5", "1e300"] {
        same(&format!("[a:b:{when}]"), "a");
    }
    // A part is one only with a point.
    assert_eq!(spans("[a:b:1]"), ["1: a", "10: b"]);
    assert_eq!(spans_of("[a:b:0.25]", 100), ["25: a", "100: b"]);
    assert_eq!(spans_of("[a:b:0.5]", 1), ["1: b"]);
    // 0.29 times 100 is a little less than 29 in floating point.
    assert_eq!(spans_of("[a:b:0.29]", 100), ["28: a", "100: b"]);
}

#[test]
fn texts_take_turns() {
    assert_eq!(spans_of("[a|b]", 4), ["1: a", "2: b", "3: a", "4: b"]);
    assert_eq!(spans_of("[fe|]male", 3), ["1: female", "2: male", "3: female"]);
    assert_eq!(spans_of("[a|b|c] d", 4), ["1: a d", "2: b d", "3: c d", "4: a d"]);
    assert_eq!(spans_of("[a||]", 4), ["1: a", "3: ", "4: a"]);
    same("[a|a]", "a");
    let schedule = PromptSchedule::new("[a|b]", 1000).unwrap();
    assert_eq!(schedule.texts(), ["a", "b"]);
    assert_eq!((schedule.at(1), schedule.at(1000), schedule.at(2000)), ("a", "b", "b"));
}

#[test]
fn one_lies_in_the_other() {
    assert_eq!(spans("a[b:[c:d:2]:1]e"), ["1: abe", "2: ace", "10: ade"]);
    assert_eq!(spans_of("[[a|b]:c:2]", 4), ["1: a", "2: b", "4: c"]);
    assert_eq!(spans_of("[[a|b]|c]", 4), ["1: a", "2: c", "3: a", "4: c"]);
    assert_eq!(spans_of("[a|[b:c:2]]", 4), ["1: a", "2: b", "3: a", "4: c"]);
    assert_eq!(spans("a [[[b]]:2]"), ["2: a ", "10: a [[b]]"]);
    assert_eq!(spans("[(a:2):3]"), ["3: ", "10: (a:2)"]);
    assert_eq!(spans("([a:b:3]:1.2) c"), ["3: (a:1.2) c", "10: (b:1.2) c"]);
    assert_eq!(spans("[x ([a:b:3]:1.2)]"), ["3: [x (a:1.2)]", "10: [x (b:1.2)]"]);
    assert_eq!(spans_of("[a|(b:1.1)]", 2), ["1: a", "2: (b:1.1)"]);
}

#[test]
fn a_second_pass_is_counted_on() {
    let spans = |prompt: &str| -> Vec<String> {
        let schedule = PromptSchedule::of_passes(prompt, 10, 4).unwrap();
        schedule.spans().map(|(until, text)| format!("{until}: {text}")).collect()
    };
    assert_eq!(spans("a"), ["14: a"]);
    assert_eq!(spans("[a:b:0.5]"), ["5: a", "14: b"]);
    assert_eq!(spans("[a:b:1.5]"), ["12: a", "14: b"]);
    assert_eq!(spans("[a:b:1.0]"), ["10: a", "14: b"]);
    assert_eq!(spans("[a:b:2.0]"), ["14: a"]);
    assert_eq!(spans("[a:b:11]"), ["11: a", "14: b"]);
    assert_eq!(spans("[a:b:3]"), ["3: a", "14: b"]);
    let turns = PromptSchedule::of_passes("[a|b|c]", 4, 2).unwrap();
    assert_eq!((1..=6).map(|step| turns.at(step)).collect::<String>(), "abcaab");
}

#[test]
fn what_is_no_schedule_is_text() {
    for text in [
        "[a]",
        "(a:1.2)",
        "a:b:3",
        "[a:b]",
        "[a:b:c]",
        "[a:b:c:3]",
        "[a|b:3]",
        "[a:3|b]",
        "(a|b)",
        "a | b",
        "[a:b:1.2.3]",
        "[a:b:]",
        "[a:b:nan]",
        "[a:b:inf]",
        "[a:b:(3)]",
        "[a:b:\\3]",
        "\\[a:b:3\\]",
        "\\[a|b\\]",
        "\\",
        "a [b",
        "a] b",
        "[a:b:3",
        "(a [b:c:3",
        "[(a:b:3]",
        "[a\\:3]",
    ] {
        same(text, text);
    }
    assert_eq!(spans("a | [b:3]"), ["3: a | ", "10: a | b"]);
    assert_eq!(spans_of("[a\\|b|c\\]d]", 2), ["1: a\\|b", "2: c\\]d"]);
    // A bracket that closes nothing makes those around it text, and none of those after it.
    assert_eq!(spans("((a][:b:c [d:3]"), ["3: ((a][:b:c ", "10: ((a][:b:c d"]);
    assert_eq!(spans("[a (b] c:d:3] [e:f:3]"), ["3: [a (b] c:d:3] e", "10: [a (b] c:d:3] f"]);
}

#[test]
fn prompts_are_joined_by_and() {
    let weighted = |prompt: &str| -> Vec<(String, f64)> {
        subprompts(prompt).unwrap().iter().map(|part| (part.text.to_owned(), part.weight)).collect()
    };
    let one = |text: &str, weight: f64| (text.to_owned(), weight);
    assert_eq!(weighted("a cat :0.5"), [one("a cat :0.5", 1.0)]);
    assert_eq!(weighted("a AND b"), [one("a", 1.0), one(" b", 1.0)]);
    assert_eq!(weighted("a :1.2 AND b: .5 AND c:-1 "), [one("a", 1.2), one(" b", 0.5), one(" c", -1.0)]);
    assert_eq!(weighted("a:+2.AND b"), [one("a", 2.0), one(" b", 1.0)]);
    assert_eq!(weighted("(a:1.2) AND [b:c:5]"), [one("(a:1.2)", 1.0), one(" [b:c:5]", 1.0)]);
    assert_eq!(
        weighted("a:1.2.3 AND b:. AND c:x"),
        [one("a:1.2.3", 1.0), one(" b:.", 1.0), one(" c:x", 1.0)]
    );
    assert_eq!(weighted("AND"), [one("", 1.0), one("", 1.0)]);
    for plain in ["SAND AND_ ANDY and And", "aAND ANDb"] {
        assert_eq!(weighted(plain), [one(plain, 1.0)]);
    }
    assert_eq!(weighted(&"a AND ".repeat(31)).len(), 32);
    for wrong in ["a AND ".repeat(32), "a:1e9 AND b:1001 AND c".into(), "a:-2000 AND b".into()] {
        let error = subprompts(&wrong).unwrap_err();
        assert!(error.is_bad_input() && error.to_string().starts_with("prompt: "), "{error}");
    }
}

#[test]
fn hostile_prompts_take_linear_time() {
    let linear = |label: &str, prompt: &dyn Fn(usize) -> String| {
        let texts = |prompt: &String| PromptSchedule::new(prompt, 2).unwrap().texts().len();
        assert_linear(label, 20_000, prompt, |prompt| assert!(texts(prompt) > 0));
    };
    for hostile in ["[", "]", "[a", "[a:b:1]", "[a|", "[|]", ":", "|", "\\", "[:", "(", "[(", "[:1]"] {
        linear(hostile, &|bytes| hostile.repeat(bytes / hostile.len()));
    }
    // Each alternation changes with every step; only the first adds all of them.
    let alternations = |bytes: usize| "[a|b]".repeat(bytes / 5);
    assert_linear("alternations", 20_000, alternations, |prompt| {
        assert_eq!(PromptSchedule::new(prompt, 4).unwrap().texts().len(), 2);
    });
    linear("nested brackets", &|bytes| format!("{}{}", "[".repeat(bytes / 2), "]".repeat(bytes / 2)));
    linear("nested edits", &|bytes| format!("{}a{}", "[".repeat(bytes / 4), ":1]".repeat(bytes / 4)));
}

#[test]
fn depth_and_length_have_ends() {
    let deep = |n: usize| format!("{}a{}", "[".repeat(n), ":1]".repeat(n));
    assert_eq!(spans(&deep(64)), ["1: ", "10: a"]);
    // The inner ones count.
    assert_eq!(spans(&deep(66)), ["1: [[:1]:1]", "10: [[a:1]:1]"]);
    for n in [100_000, 1_000_000] {
        let deep = format!("{}{}", "[".repeat(n / 2), "]".repeat(n / 2));
        assert_eq!(PromptSchedule::new(&deep, 2).unwrap().texts(), [deep]);
        let deep = format!("{}a{}", "[".repeat(n / 4), ":1]".repeat(n / 4));
        assert_eq!(PromptSchedule::new(&deep, 2).unwrap().texts().len(), 2);
    }
    // Each step of a thousand another long text.
    let wide =
        format!("{}{}", (0..1000).map(|i| format!("[a{i}:{i}]")).collect::<String>(), "b".repeat(10_000));
    let error = PromptSchedule::new(&wide, 1000).unwrap_err().to_string();
    assert!(error.contains("4 MB") && error.lines().count() == 1, "{error}");
    let long = "cat ".repeat(2 << 20);
    assert_eq!(PromptSchedule::new(&long, 1000).unwrap().texts(), [long]);
}

proptest! {
    #[test]
    fn any_text_has_a_schedule(prompt in "[ab\\\\()\\[\\]:|1. ]{0,40}|\\PC*", steps in 1usize..30) {
        let schedule = PromptSchedule::new(&prompt, steps).unwrap();
        let mut from = 1;
        for (until, text) in schedule.spans() {
            prop_assert!(until >= from && until <= steps);
            prop_assert!(text.len() <= prompt.len());
            (from..=until).for_each(|step| assert_eq!(schedule.at(step), text));
            from = until + 1;
        }
        prop_assert_eq!(from, steps + 1);
        if !prompt.contains('[') {
            prop_assert_eq!(schedule.texts(), std::slice::from_ref(&prompt));
        }
        if let Ok(parts) = subprompts(&prompt) {
            prop_assert!(parts.iter().all(|part| part.weight.is_finite() && prompt.contains(part.text)));
        }
    }
}
