#![forbid(unsafe_code)]
//! Tests of the golden harness itself: that it finds what is there, misses what is not, and judges errors rightly.

#[allow(dead_code, reason = "the harness uses what these tests do not")]
#[path = "goldens/machinery/mod.rs"]
mod machinery;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use machinery::case::{Case, Limit};
use machinery::compare::{Comparison, Outcome, difference};
use machinery::context::Context;
use machinery::folder::{Folder, read_json, reference};
use machinery::report::Report;
use machinery::tensors::Values;
use machinery::{index, required};
use serde_json::{Value, json};

/// An empty folder for one test.
fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("machinery-{name}"));
    if path.exists() {
        fs::remove_dir_all(&path).expect("an old folder of this test");
    }
    fs::create_dir_all(&path).expect("a folder");
    path
}

/// The data of the repository.
fn committed() -> (Value, Vec<Case>, Context) {
    let folder = Folder::find(None).expect("the goldens of the repository");
    let spec = read_json(&folder.spec).expect("the spec");
    let cases = index::read(&folder).expect("the index");
    (spec, cases, Context::new(folder))
}

/// A case that has no files.
fn case(json: Value) -> Case {
    Case { group: "unet/sd15".into(), name: "case0".into(), file: None, tensors: BTreeMap::new(), json }
}

/// Compares one list of numbers.
fn outcome(tolerance: Value, golden: &[f64], got: &[f64]) -> Outcome {
    let (_, _, context) = committed();
    let case = case(json!({"tol": tolerance}));
    let mut comparison = Comparison::new(&case, &context);
    comparison.values("out", golden, got);
    comparison.finish()
}

fn failure(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed(why) => why,
        other => panic!("expected a failure, got {other:?}"),
    }
}

#[test]
fn folder_that_is_not_there() {
    let why = Folder::find(Some("no/such/folder".as_ref())).expect_err("nothing there");
    assert!(why.contains("LATENT_GOLDENS=no/such/folder") && why.contains("index.json"), "{why}");
    assert!(Folder::find(Some("".as_ref())).is_err());
}

#[test]
fn folder_without_a_spec() {
    let root = folder("no-spec").join("inner");
    fs::create_dir_all(&root).expect("a folder");
    fs::write(root.join("index.json"), "{}").expect("a file");
    let why = Folder::find(Some(root.as_os_str())).expect_err("no spec");
    assert!(why.contains("spec.json"), "{why}");
}

#[test]
fn every_accepted_form_of_the_folder() {
    let root = folder("forms");
    let goldens = root.join("goldens");
    fs::create_dir_all(&goldens).expect("a folder");
    fs::write(goldens.join("index.json"), "{}").expect("a file");
    fs::write(root.join("spec.json"), "{}").expect("a file");
    let from_root = Folder::find(Some(root.as_os_str())).expect("the folder above");
    let from_goldens = Folder::find(Some(goldens.as_os_str())).expect("the folder with the index");
    assert_eq!(from_root, from_goldens);
    assert_eq!(from_root.goldens, goldens);
    fs::write(goldens.join("spec.json"), "{}").expect("a file");
    let beside = Folder::find(Some(goldens.as_os_str())).expect("a spec beside the index");
    assert_eq!(beside.spec, goldens.join("spec.json"));
}

#[test]
fn committed_data_are_complete() {
    let (spec, cases, context) = committed();
    assert_eq!(required::missing(&spec, &cases), Vec::<String>::new());
    for case in &cases {
        assert_eq!(context.missing(case), Vec::<String>::new());
    }
}

/// Removes one case after the other: each that the spec asks for by name must be missed.
#[test]
fn every_case_of_the_spec_is_missed_when_it_is_gone() {
    let (spec, cases, _) = committed();
    for (i, case) in cases.iter().enumerate() {
        if case.kind() == "schedulers" {
            continue; // named by the reference program, not by the spec
        }
        let mut rest = cases.clone();
        rest.remove(i);
        assert!(!required::missing(&spec, &rest).is_empty(), "nobody missed {}", case.id());
    }
}

#[test]
fn scheduler_groups_and_filters_are_missed() {
    let (spec, cases, _) = committed();
    let without = |gone: &dyn Fn(&Case) -> bool| {
        let rest: Vec<Case> = cases.iter().filter(|case| !gone(case)).cloned().collect();
        required::missing(&spec, &rest).join("\n")
    };
    assert!(without(&|c| c.group == "schedulers/k-epsilon").contains("schedulers/k-epsilon"));
    let unipc = |c: &Case| c.group == "schedulers/v_prediction" && c.name == "unipc-karras";
    assert!(without(&unipc).contains("unipc-karras"));
}

#[test]
fn family_that_the_index_lacks_is_named() {
    let (mut spec, cases, _) = committed();
    spec["unet"]["families"].as_array_mut().expect("a list").push(json!("sd99"));
    let missing = required::missing(&spec, &cases).join("\n");
    assert!(missing.contains("unet/sd99/case0") && missing.contains("unet/sd99/case5"), "{missing}");
}

#[test]
fn other_sizes_and_parameters_are_named() {
    let (mut spec, cases, _) = committed();
    spec["vae"]["cases"][1] = json!([1, 128, 64]);
    spec["pipelines"][0]["steps"] = json!(7);
    let missing = required::missing(&spec, &cases).join("\n");
    assert!(missing.contains("vae/sd15/case1/image"), "{missing}");
    assert!(missing.contains("pipelines/sd15-txt2img-latents"), "{missing}");
}

#[test]
fn spec_without_a_list_is_named() {
    let (mut spec, cases, _) = committed();
    spec.as_object_mut().expect("an object").remove("edit");
    assert!(required::missing(&spec, &cases).join("\n").contains("/edit/cases"));
}

#[test]
fn tensor_that_the_file_lacks_is_named() {
    let (_, cases, context) = committed();
    let mut case = cases.iter().find(|c| c.id() == "unet/sd15/case0").expect("a case").clone();
    case.tensors.insert("ghost".into(), vec![1]);
    case.tensors.insert("x".into(), vec![9, 9]);
    let missing = context.missing(&case).join("\n");
    assert!(missing.contains("case0/ghost") && missing.contains("[9, 9]"), "{missing}");
    case.file = Some("unet/ghost.safetensors".into());
    assert!(context.missing(&case).join("\n").contains("ghost.safetensors"));
}

#[test]
fn checkpoint_without_a_manifest_is_named() {
    let (_, _, context) = committed();
    let key = json!({"family": "sd99", "scale": "tiny", "seed": 1, "dtype": "f16"});
    assert!(context.missing(&case(json!({"checkpoint": key}))).join("\n").contains("sd99-tiny-single.json"));
}

#[test]
fn damaged_golden_file() {
    let (_, cases, _) = committed();
    let root = folder("damaged");
    fs::write(root.join("short.safetensors"), [9; 5]).expect("a file");
    let folder = Folder { goldens: root.clone(), spec: root.join("spec.json") };
    let mut case = cases.iter().find(|c| c.id() == "unet/sd15/case0").expect("a case").clone();
    case.file = Some("short.safetensors".into());
    let why = Context::new(folder).golden(&case, "x").expect_err("five bytes are no file");
    assert!(why.contains("short.safetensors"), "{why}");
}

#[test]
fn checkpoints_have_the_published_size_and_are_written_once() {
    let (_, cases, context) = committed();
    let case = cases.iter().find(|c| c.id() == "addons/lora-sd15-kohya/scale0.6").expect("a case");
    let key = case.add_on("lora").expect("a LoRA").expect("a LoRA");
    let path = context.checkpoints.path(&key).expect("a file");
    let hashes = read_json(&reference().join("hashes.json")).expect("hashes");
    let row =
        hashes.as_array().expect("a list").iter().find(|r| r["family"] == "lora-sd15-kohya").expect("a row");
    assert_eq!(fs::metadata(&path).expect("a file").len(), row["bytes"].as_u64().expect("a size"));
    assert_eq!(Some(key.seed), row["seed"].as_u64());
    assert_eq!(context.checkpoints.path(&key).expect("again"), path);
}

#[test]
fn limits_are_never_looser_than_the_project_allows() {
    let limit = |tolerance: Value| case(json!({"tol": tolerance})).limit();
    assert_eq!(limit(json!({"abs": 2e-4, "rel": 2e-4})), Limit::Relative(1e-4));
    assert_eq!(limit(json!({"abs": 2e-4, "rel": 1e-5})), Limit::Relative(1e-5));
    assert_eq!(limit(json!({"abs": 5e-6})), Limit::Absolute(5e-6));
    assert_eq!(limit(json!({"latents_rel": 1e-3, "u8_max": 2})), Limit::Relative(1e-4));
    assert_eq!(case(json!({"tol": {"u8_max": 2}})).pixel_limit(), 1);
    assert_eq!(case(json!({"tol": {"u8_max": 0}})).pixel_limit(), 0);
    assert_eq!(case(json!({})).pixel_limit(), 1);
}

#[test]
fn differences_are_measured_as_documented() {
    let d = difference(&[3.0, -4.0], &[3.0, -4.5]).expect("two lists");
    assert_eq!((d.absolute, d.relative, d.l2), (0.5, 0.125, 0.1));
    let zeros = difference(&[0.0, 0.0], &[0.0, 0.0]).expect("two lists");
    assert_eq!((zeros.relative, zeros.l2), (0.0, 0.0));
    assert_eq!(difference(&[0.0], &[1e-9]).expect("two lists").relative, f64::INFINITY);
}

#[test]
fn wrong_results_fail_and_say_why() {
    let relative = || json!({"abs": 1e-4, "rel": 1e-4});
    assert!(matches!(outcome(relative(), &[2.0, 1.0], &[2.0, 1.0001]), Outcome::Passed(_)));
    assert!(failure(outcome(relative(), &[2.0, 1.0], &[2.0, 1.001])).contains("relative 5.00e-4"));
    assert!(failure(outcome(relative(), &[2.0, 1.0], &[2.0])).contains("expected 2 elements, got 1"));
    assert!(failure(outcome(relative(), &[2.0, 1.0], &[2.0, f64::NAN])).contains("element 1 is NaN"));
    assert!(failure(outcome(json!({"abs": 1e-6}), &[100.0], &[100.00001])).contains("1.0e-6 absolute"));
}

#[test]
fn case_that_compares_nothing_fails() {
    let (_, _, context) = committed();
    let case = case(json!({}));
    assert!(failure(Comparison::new(&case, &context).finish()).contains("nothing"));
}

#[test]
fn images_may_differ_by_one() {
    let (_, cases, context) = committed();
    let case = cases.iter().find(|c| c.id() == "vae/sd15/case0").expect("a case");
    let Values::U8(golden) = context.golden(case, "decoded_u8").expect("an image").values else {
        panic!("the golden is no 8-bit image");
    };
    let compare = |got: &[u8]| {
        let mut comparison = Comparison::new(case, &context);
        comparison.image("decoded_u8", got);
        comparison.finish()
    };
    let shifted =
        |by: u8| -> Vec<u8> { golden.iter().map(|&v| if v < 128 { v + by } else { v - by }).collect() };
    match compare(&shifted(1)) {
        Outcome::Passed(errors) => assert_eq!(errors.pixel.error, Some(1.0)),
        other => panic!("one of 255 is allowed, got {other:?}"),
    }
    assert!(failure(compare(&shifted(2))).contains("up to 2 of 255"));
    assert!(failure(compare(&golden[1..])).contains("bytes"));
}

#[test]
fn report_counts_and_names_the_worst() {
    let mut report = Report::new("the CPU".into(), ["unet", "vae"]);
    let case = case(json!({}));
    report.add(&case, outcome(json!({}), &[1.0], &[1.00001]), Duration::from_secs(2));
    report.add(&case, outcome(json!({}), &[1.0], &[1.0]), Duration::from_secs(1));
    report.add(&case, Outcome::Failed("no".into()), Duration::ZERO);
    report.add(&case, Outcome::Unsupported, Duration::ZERO);
    report.add_missing("golden missing: ghost".into());
    report.add_missing("golden missing: ghost".into());
    let text = report.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((report.passed(), report.failed()), (2, 2));
    assert_eq!(lines[0], "on the CPU");
    assert!(
        lines[2].starts_with("unet") && lines[2].contains(" 3.0  1.0e-5 at unet/sd15/case0/out"),
        "{text}"
    );
    assert!(lines.contains(&"FAILED unet/sd15/case0: no") && lines.contains(&"FAILED golden missing: ghost"));
    assert!(lines.contains(&"1 not supported yet"));
    assert_eq!(lines.last(), Some(&"2 passed, 2 failed"));
}
