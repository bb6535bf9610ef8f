//! The list of samplers, every sampler drawing, and the flags that say how one works.

use crate::common::{Room, read_png};
use serde_json::Value;

/// Flags of a small image of the built-in model.
const SMALL: [&str; 10] = ["txt2img", "a red apple", "-W", "32", "-H", "32", "-s", "3", "-t", "1"];

fn draw(room: &Room, flags: &[&str], file: &str) -> Vec<u8> {
    room.succeeds(&[&SMALL[..], flags, &["-o", file]].concat());
    std::fs::read(room.path(file)).unwrap()
}

fn list(room: &Room) -> Value {
    serde_json::from_str(&room.succeeds(&["samplers", "--json"])).unwrap()
}

#[test]
fn samplers_and_schedules_are_listed_with_a_line_each() {
    let room = Room::new();
    let text = room.succeeds(&["samplers"]);
    let json = list(&room);
    assert!(text.contains("all but ddpm, plms, tcd;\nddim, dpm_fast, dpm_adaptive with an eta of 0 alone"));
    assert!(json["samplers"].as_array().unwrap().iter().all(|sampler| sampler["flow_matching"].is_string()));
    for (part, least) in [("samplers", 20), ("schedules", 10)] {
        let entries = json[part].as_array().unwrap();
        assert!(entries.len() >= least);
        for entry in entries {
            let (name, about) = (entry["name"].as_str().unwrap(), entry["about"].as_str().unwrap());
            let told = |line: &str| line.split_whitespace().next() == Some(name) && line.ends_with(about);
            assert!(text.lines().any(told), "{name}");
            assert!(about.len() < 80 && !about.is_empty(), "{name}");
        }
    }
}

#[test]
fn every_sampler_draws_under_both_of_its_names() {
    let room = Room::new();
    for sampler in list(&room)["samplers"].as_array().unwrap() {
        let image = |key: &str| {
            let name = sampler[key].as_str().unwrap();
            draw(&room, &["--steps", "4", "--sampler", name], "image.png");
            let (pixels, texts) = read_png(&room.path("image.png"));
            (pixels, texts.into_iter().find(|(keyword, _)| keyword == "parameters").unwrap())
        };
        assert_eq!(image("name"), image("label"), "{sampler}");
    }
}

#[test]
fn every_schedule_draws() {
    let room = Room::new();
    for schedule in list(&room)["schedules"].as_array().unwrap() {
        let name = schedule["name"].as_str().unwrap();
        let form = if ["leading", "linspace", "trailing"].contains(&name) { "diffusers" } else { "webui" };
        draw(&room, &["--steps", "3", "--sampler", "euler", "--scheduler", name, "--compat", form], "a.png");
    }
}

#[test]
fn the_flags_change_the_image_and_stand_in_it() {
    let room = Room::new();
    let ancestral = ["--sampler", "euler_a", "--steps", "4"];
    let plain = draw(&room, &ancestral, "plain.png");
    for flags in [["--eta", "0.5"], ["--s-noise", "0.9"], ["--scheduler", "karras"]] {
        assert_ne!(draw(&room, &[&ancestral[..], &flags].concat(), "other.png"), plain, "{flags:?}");
    }
    let bytes = draw(&room, &["--sampler", "euler", "--steps", "4", "--s-churn", "2"], "churn.png");
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("Sigma churn: 2") && text.contains("\"s_churn\":2.0"));
    let bytes = draw(&room, &["--sampler", "euler", "--sigmas", "14.6,3,0.5"], "sigmas.png");
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("Steps: 3, ") && text.contains("Schedule type: Custom"));
}

#[test]
fn bad_numbers_are_refused() {
    let room = Room::new();
    for (flags, word) in [
        (&["--eta", "1.5"][..], "eta: 1.5"),
        (&["--eta", "NaN"], "eta: NaN"),
        (&["--s-churn", "inf"], "s_churn: inf"),
        (&["--s-noise", "7"], "s_noise: 7"),
        (&["--rho", "0"], "rho: 0"),
        (&["--sigmas", "1,2"], "sigmas: sigma 2 is 2"),
        (&["--sigmas", "3,NaN"], "sigmas: sigma 2 is NaN"),
        (&["--sigmas", "0"], "sigmas: no sigma"),
        (&["--sigmas", "3,x"], "--sigmas"),
        (&["--sigmas", "3,1", "--steps", "4"], "--steps"),
        (&["--sampler", "lcm", "--steps", "51"], "1 to 50"),
        (
            &["--sampler", "lcm", "--scheduler", "karras", "--compat", "diffusers"],
            "or choose webui, or choose one of: normal",
        ),
    ] {
        room.refuses(&[&["txt2img", "a cat"], flags].concat(), &[word]);
    }
    assert!(room.files().is_empty());
}

/// What a sampler's own convention lacks is taken from the other one: LCM with SGM Uniform is usual in other programs.
#[test]
fn every_sampler_draws_with_every_schedule() {
    let room = Room::new();
    let list = list(&room);
    for schedule in list["schedules"].as_array().unwrap() {
        let schedule = schedule["name"].as_str().unwrap();
        // Of diffusers' classes, those of consistency models have time steps of their own.
        let is_of_classes = ["leading", "linspace", "trailing"].contains(&schedule);
        for sampler in ["lcm", "tcd"].into_iter().filter(|_| is_of_classes) {
            let line = [&SMALL[..], &["--sampler", sampler, "--scheduler", schedule]].concat();
            room.refuses(&line, &[schedule, "without a convention choose one of: normal, karras,"]);
        }
        let consistency = ["lcm", "tcd"].into_iter().filter(|_| !is_of_classes);
        for sampler in consistency.chain(["ddim", "plms", "unipc"]) {
            draw(&room, &["--steps", "3", "--sampler", sampler, "--scheduler", schedule], "a.png");
        }
    }
    let lcm = ["--steps", "4", "--sampler", "lcm", "--scheduler", "sgm_uniform"];
    draw(&room, &lcm, "a.png");
    draw(&room, &[&lcm[..], &["--compat", "webui"]].concat(), "b.png");
    assert_eq!(read_png(&room.path("a.png")).0, read_png(&room.path("b.png")).0);
}

#[test]
fn names_of_other_programs_are_understood() {
    let room = Room::new();
    for (theirs, ours) in [
        ("k_euler", "euler"),
        ("k_dpmpp_2m", "dpm++2m"),
        ("dpmpp_2m_sde_gpu", "dpm++2m_sde"),
        ("euler_ancestral", "euler_a"),
        ("uni_pc_bh2", "unipc"),
        ("pndm", "plms"),
        ("DPM fast", "dpm_fast"),
        ("euler_ancestral_cfg_pp", "euler_a_cfg++"),
        ("heunpp2", "heun++2"),
    ] {
        let by_theirs = draw(&room, &["--steps", "3", "--sampler", theirs], "a.png");
        let by_ours = draw(&room, &["--steps", "3", "--sampler", ours], "a.png");
        let pixels = |bytes: &[u8]| image::load_from_memory(bytes).unwrap().into_rgb8();
        assert_eq!(pixels(&by_theirs), pixels(&by_ours), "{theirs}");
    }
    room.refuses(
        &["txt2img", "a cat", "--sampler", "sa_solver"],
        &["unknown sampler", "known: euler, euler_a,"],
    );
}

/// CFG++ takes the noise of the negative prompt also where there is no guidance; DPM adaptive draws one image at a time.
#[test]
fn what_samplers_need_of_a_run_is_given_or_said() {
    let room = Room::new();
    let cfg_pp = ["--steps", "3", "--sampler", "euler_cfg_pp", "--cfg-scale", "1"];
    let plain = draw(&room, &cfg_pp, "a.png");
    assert_ne!(draw(&room, &[&cfg_pp[..], &["-n", "a pear"]].concat(), "b.png"), plain);
    let euler = ["--steps", "3", "--sampler", "euler", "--cfg-scale", "1"];
    let pixels = |file: &str| read_png(&room.path(file)).0;
    draw(&room, &euler, "c.png");
    draw(&room, &[&euler[..], &["-n", "a pear"]].concat(), "d.png");
    assert!(pixels("c.png") == pixels("d.png") && pixels("a.png") != pixels("c.png"));
    let adaptive = [&SMALL[..], &["--sampler", "dpm_adaptive", "-b", "2"]].concat();
    room.refuses(
        &[&adaptive[..], &["--batch-size", "2"]].concat(),
        &["one image at a time", "batch size to 1"],
    );
}
