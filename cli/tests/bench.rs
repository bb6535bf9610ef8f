//! What `latent bench` measures. Speeds depend on the machine: only what does not is compared.

use crate::common::Room;
use serde_json::Value;

#[test]
fn a_stage_is_measured_without_a_file() {
    let room = Room::new();
    let args = [
        "bench",
        "--family",
        "sd15",
        "--size",
        "64",
        "--stage",
        "text",
        "--runs",
        "1",
        "--threads",
        "2",
        "--json",
    ];
    let json: Value = serde_json::from_str(&room.succeeds(&args)).unwrap();
    assert_eq!(json["family"], "sd15");
    assert_eq!((&json["size"], &json["threads"]), (&64.into(), &2.into()));
    assert!(json["isa"].is_string());
    assert!(json["fma_peak_gflops"].as_f64().unwrap() > 0.0);
    assert!(json["image_20_steps_seconds"].is_null(), "only a stage was measured");
    let [stage] = &json["stages"].as_array().unwrap()[..] else { panic!("{json}") };
    assert_eq!(stage["name"], "text");
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    assert!(number(&stage["seconds"]) > 0.0 && number(&stage["of_peak"]) > 0.0);
    // CLIP-L is 6.65 G multiply-adds; here are two.
    assert!((number(&stage["direct_gflop"]) - 26.6).abs() < 0.05, "{stage}");
    let ops = stage["ops"].as_object().unwrap();
    let sum = |key: &str| ops.values().map(|op| number(&op[key])).sum::<f64>();
    for class in ["conv3x3", "linear", "attention", "norm", "elementwise", "other"] {
        assert!(ops.contains_key(class), "{ops:?}");
    }
    assert!((sum("share") - 1.0).abs() < 1e-6 && (sum("seconds") - number(&stage["seconds"])).abs() < 1e-6);
    assert!((sum("direct_gflop") - number(&stage["direct_gflop"])).abs() < 1e-6);
    if cfg!(target_os = "linux") {
        let (rss, anonymous) = (number(&json["peak_rss_mb"]), number(&json["peak_anon_mb"]));
        // 123 million values in f16, less some slack.
        assert!(anonymous > 240.0 && rss >= anonymous, "{rss} {anonymous}");
    }
    assert!(room.files().is_empty());
}

#[test]
fn one_evaluation_of_the_unet_is_measured() {
    let room = Room::new();
    let args = ["bench", "--size", "64", "--stage", "unet", "--batch", "1", "--runs", "1", "--json"];
    let json: Value = serde_json::from_str(&room.succeeds(&args)).unwrap();
    assert_eq!((&json["batch"], &json["stages"][0]["name"]), (&1.into(), &"unet".into()));
    let gflop = json["stages"][0]["direct_gflop"].as_f64().unwrap();
    // As counted from the sizes, for a latent of 8x8, without the text's keys and values: they are the same in every step.
    assert!((gflop - 10.676).abs() < 0.005, "{gflop}");
}

/// The last level, whose bands are computed more than once, is over a third of the operations.
#[test]
fn decoding_in_bands_is_measured() {
    let room = Room::new();
    let gflop = |more: &[&str]| {
        let args = [&["bench", "--size", "192", "--stage", "vae", "--runs", "1", "--json"], more].concat();
        let json: Value = serde_json::from_str(&room.succeeds(&args)).unwrap();
        assert_eq!(json["low_memory"], !more.is_empty());
        json["stages"][0]["direct_gflop"].as_f64().unwrap()
    };
    let (whole, bands) = (gflop(&[]), gflop(&["--low-memory"]));
    assert!((1.3..1.5).contains(&(bands / whole)), "{bands} and {whole}");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let room = Room::new();
    room.refuses(
        &["bench", "--family", "sd16"],
        &["--family", "sd16", "did you mean \"sd15\"?", "known: sd15, sdxs, sd21, sdxl"],
    );
    room.refuses(&["bench", "--stage", "clip"], &["--stage", "clip", "text", "unet", "vae", "all"]);
    room.refuses(&["bench", "--size", "500"], &["size", "500", "multiple of 8"]);
    room.refuses(&["bench", "--size", "0"], &["size"]);
    room.refuses(&["bench", "--size", "100000"], &["size", "8192"]);
    for family in ["sd21", "SD2.1", "sdxl", "sdxl-base"] {
        room.refuses(&["bench", "--family", family, "--size", "500"], &["size", "multiple of 8"]);
    }
    room.refuses(&["bench", "--batch", "0"], &["batch", "1 to 64"]);
    room.refuses(&["bench", "--batch", "65"], &["batch", "1 to 64"]);
    room.refuses(&["bench", "--runs", "0"], &["runs", "1 to 1000"]);
    room.refuses(&["bench", "--threads", "0"], &["threads", "1 to 1024"]);
}

#[test]
fn merged_tokens_are_measured() {
    let room = Room::new();
    let bench = ["bench", "--size", "64", "--stage", "unet", "--batch", "1", "--runs", "1", "--json"];
    let attention = |flags: &[&str]| {
        let json: Value = serde_json::from_str(&room.succeeds(&[&bench[..], flags].concat())).unwrap();
        json["stages"][0]["ops"]["attention"]["direct_gflop"].as_f64().unwrap()
    };
    assert!(attention(&["--tome", "0.5"]) < attention(&[]));
    room.refuses(&["bench", "--tome", "0.6"], &["tome", "0.6", "0 to 0.5"]);
}

/// Seconds depend on the machine; what is compared, and that the table adds up, does not.
#[test]
fn advice_has_a_row_for_each_switch() {
    let room = Room::new();
    let advise = ["bench", "--advise", "--size", "64", "--json"];
    let json: Value = serde_json::from_str(&room.succeeds(&advise)).unwrap();
    assert_eq!((&json["family"], &json["size"], &json["steps"]), (&"sd15".into(), &64.into(), &20.into()));
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"));
    let rows = json["rows"].as_array().unwrap();
    assert!(rows[0]["speed"] == 1.0 && rows[0]["cache"] == 1 && rows[0]["psnr_median"].is_null());
    let parts = &json["parts_seconds"];
    let whole = number(&parts["text"]) + 20.0 * number(&parts["step"]) + number(&parts["decode"]);
    assert!((number(&rows[0]["seconds"]) / whole - 1.0).abs() < 1e-9);
    for (key, value) in [
        ("cache", Value::from(3)),
        ("cfg_end", 0.6.into()),
        ("tome", 0.5.into()),
        ("taesd", true.into()),
        ("few_steps", true.into()),
        ("low_memory", true.into()),
    ] {
        let row = rows.iter().find(|row| row[key] == value).unwrap_or_else(|| panic!("{key}: {json}"));
        assert!(number(&row["seconds"]) > 0.0 && number(&row["speed"]) > 0.0, "{row}");
    }
    room.refuses(&["bench", "--advise", "--stage", "vae"], &["--advise", "--stage"]);
}
