//! `latent doctor`: what it says of a machine, and what it keeps to itself.

use crate::common::{Room, demo, synthetic};
use serde_json::Value;
use std::process::{Command, Output};

/// A room in which a person is at home.
fn doctor(room: &Room, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command: Command = room.command(&[&["doctor"], args].concat());
    command
        .env("HOME", room.path(""))
        .env_remove("LATENT_MODELS")
        .env_remove("HF_HOME")
        .env_remove("HF_HUB_CACHE");
    command.envs(variables.iter().copied());
    command.output().unwrap()
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A finding by its topic and its name.
fn finding<'a>(report: &'a Value, section: &str, name: &str) -> &'a Value {
    let sections = report["sections"].as_array().unwrap();
    let section = sections.iter().find(|found| found["name"] == section).unwrap();
    let findings = section["findings"].as_array().unwrap();
    findings
        .iter()
        .find(|found| found["name"] == name)
        .unwrap_or_else(|| panic!("{name} is not in {section:#}"))
}

#[test]
fn every_topic_is_there_and_the_status_is_0() {
    let room = Room::new();
    let output = doctor(&room, &[], &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    for topic in
        ["versions", "processor", "memory", "devices", "models", "folders", "environment", "terminal"]
    {
        assert!(text.lines().any(|line| line == topic), "{topic}: {text}");
    }
    assert!(text.contains(env!("CARGO_PKG_VERSION")), "{text}");
    assert!(text.lines().last().unwrap().starts_with("Images can be drawn; "), "{text}");
    assert!(room.files().is_empty(), "it leaves files");
}

#[test]
fn models_are_counted_and_damaged_ones_told() {
    let room = Room::new();
    let folder = room.path(".local/share/latent/deep");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::create_dir(room.path("more")).unwrap();
    for (name, contents) in [("a", demo()), ("b", synthetic("lora-sd15-kohya")), ("c", synthetic("ti-sd15"))]
    {
        std::fs::write(folder.join(format!("{name}.safetensors")), contents).unwrap();
    }
    room.file("more/d.safetensors", b"damaged");
    let more = room.path("more").into_os_string().into_string().unwrap();
    let models = format!("{more}{}{more}-not", if cfg!(windows) { ';' } else { ':' });
    let report = report(&doctor(&room, &["--json"], &[("LATENT_MODELS", &models)]));
    let value = |name: &str| finding(&report, "models", name)["value"].as_str().unwrap();
    assert_eq!(value("~/.local/share/latent"), "1 models, 1 LoRAs, 1 embeddings");
    assert_eq!(value("~/more"), "0 models, 0 LoRAs, 0 embeddings, 1 that cannot be opened");
    assert_eq!(finding(&report, "models", "~/more-not")["state"], "problem");
}

#[test]
fn a_report_does_not_say_who_wrote_it() {
    let room = Room::new();
    std::fs::create_dir_all(room.path("latent")).unwrap();
    let home = room.path("").canonicalize().unwrap();
    let name = home.file_name().unwrap().to_str().unwrap();
    let variables = [("HF_HOME", home.join("hub")), ("TERM", "a\u{1b}[2J\u{202e}".into())];
    let variables = variables.map(|(name, value)| (name, value.into_os_string().into_string().unwrap()));
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, &value[..])).collect();
    for args in [&["--json"][..], &[]] {
        let mut command = room.command(&[&["doctor"], args].concat());
        command.env("HOME", &home).env("XDG_CACHE_HOME", home.join("cache")).envs(variables.iter().copied());
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("~/latent") && !text.contains(name), "{text}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
    }
}

#[test]
fn what_keeps_every_image_from_being_drawn_is_status_1() {
    let room = Room::new();
    for (variable, value) in [("LATENT_DEVICE", "cuda"), ("LATENT_ISA", "mmx"), ("LATENT_CONV", "fft")] {
        let output = doctor(&room, &["--json"], &[(variable, value)]);
        assert_eq!(output.status.code(), Some(1), "{variable}");
        let report = report(&output);
        assert_eq!(report["can_draw"], false);
        let finding = finding(&report, "environment", variable);
        assert_eq!(finding["state"], "fatal");
        assert!(finding["advice"].is_string());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("latent: no image can be drawn here"), "{error}");
    }
}
