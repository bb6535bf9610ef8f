//! Jobs: from the request to the image.

use crate::common::{Folders, Served, endless, read_events, small};
use latent_app::output::Output;
use latent_app::{Job, Session};
use serde_json::{Value, json};
use std::io::BufRead;

/// The bytes that the command line writes for the same settings.
fn as_the_command_line(folder: &std::path::Path, options: &[(&str, &str)]) -> Vec<u8> {
    let mut job = Job::txt2img("a red apple");
    for (name, value) in options.iter().chain(&[("device", "cpu")]) {
        job.set(name, &[*value]).unwrap();
    }
    let drawn = Session::new().draw(&job).unwrap().remove(0);
    let path = folder.join("cli.png");
    let output = Output::new(&path).unwrap();
    assert_eq!(output.write(&path, &drawn.image, &drawn.texts).unwrap().warning(), None);
    std::fs::read(path).unwrap()
}

#[test]
fn an_image_has_the_bytes_of_the_command_line() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let id = served.submit("txt2img", small("a red apple"));
    let ended = served.ended(&id);
    assert_eq!(ended["state"], "done", "{ended}");
    let image = &ended["images"][0];
    assert_eq!((image["width"].as_u64(), image["seed"].as_u64()), (Some(32), Some(7)));
    assert_eq!((&image["prompt"], &image["job"]), (&json!("a red apple"), &json!(id)));
    let file = served.get(image["url"].as_str().unwrap());
    assert_eq!((file.status, file.header("content-type")), (200, Some("image/png")));
    let options = [("width", "32"), ("height", "32"), ("steps", "2"), ("seed", "7")];
    assert!(file.bytes == as_the_command_line(&folders.path("."), &options));
}

/// Without a size, what the built-in model draws is enlarged; and so is an image by the built-in upscaler.
#[test]
fn images_of_the_built_in_model_are_enlarged() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let options = |more: &[&str]| {
        let mut options = json!({ "prompt": "a red apple", "steps": 2, "seed": 7 });
        more.iter().for_each(|name| options[*name] = true.into());
        options
    };
    let drawn = |verb: &str, options: Value| {
        let ended = served.ended(&served.submit(verb, options));
        assert_eq!(ended["state"], "done", "{ended}");
        let image = &ended["images"][0];
        (image["width"].as_u64(), served.get(image["url"].as_str().unwrap()).bytes)
    };
    let (width, file) = drawn("txt2img", options(&[]));
    assert_eq!(width, Some(256));
    assert!(file == as_the_command_line(&folders.path("."), &[("steps", "2"), ("seed", "7")]));
    let (width, small) = drawn("txt2img", options(&["raw_size"]));
    assert_eq!(width, Some(64));
    use base64::Engine as _;
    let image = json!({ "base64": base64::engine::general_purpose::STANDARD.encode(small), "name": "a.png" });
    for (more, expected) in [(json!({}), 256), (json!({ "model": "lanczos" }), 128)] {
        let mut options = more;
        options["image"] = image.clone();
        assert_eq!(drawn("upscale", options).0, Some(expected));
    }
}

#[test]
fn events_tell_of_steps_previews_and_images() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let mut body = json!({ "verb": "txt2img", "options": small("a sun"), "preview_interval": 1 });
    body["options"]["steps"] = 4.into();
    // It waits until the first ends, so that its events are read from the start.
    let first = served.submit("txt2img", endless());
    let id = served.post("/api/v1/jobs", &body).json()["id"].as_str().unwrap().to_owned();
    let mut lines = served.open(&format!("/api/v1/jobs/{id}/events"));
    // The server listens by the time that it answers.
    assert!(!lines.fill_buf().unwrap().is_empty());
    assert_eq!(served.delete(&format!("/api/v1/jobs/{first}")).status, 200);
    let events = read_events(&mut lines);
    let named =
        |name: &str| events.iter().filter(|(own, _)| own == name).map(|(_, data)| data).collect::<Vec<_>>();
    assert_eq!(events[0].0, "state");
    let steps: Vec<u64> = named("progress")
        .iter()
        .filter(|data| data["stage"] == "sampling")
        .map(|data| data["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [0, 1, 2, 3, 4]);
    let previews = named("preview");
    assert_eq!(previews.len(), 4);
    assert!(previews[0]["image"].as_str().unwrap().starts_with("data:image/jpeg;base64,/9j/"));
    assert_eq!(named("image").len(), 1);
    assert_eq!(events.last().unwrap().0, "done");
    assert_eq!(events.last().unwrap().1["progress"], 1.0);
}

#[test]
fn jobs_are_drawn_in_their_order_and_one_can_be_cancelled() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let running = served.submit("txt2img", endless());
    let ids: Vec<String> = (0..3).map(|i| served.submit("txt2img", small(&format!("number {i}")))).collect();
    let position = |id: &str| served.get(&format!("/api/v1/jobs/{id}")).json()["position"].as_u64();
    served.until_it_runs(&running);
    assert_eq!(ids.iter().map(|id| position(id)).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
    let cancelled = served.delete(&format!("/api/v1/jobs/{}", ids[1]));
    assert_eq!((cancelled.status, &cancelled.json()["state"]), (200, &json!("cancelled")));
    let again = served.delete(&format!("/api/v1/jobs/{}", ids[1]));
    assert_eq!((again.status, again.code().as_str()), (409, "conflict"));
    assert_eq!(served.delete(&format!("/api/v1/jobs/{running}")).status, 200);
    assert_eq!(served.ended(&running)["state"], "cancelled");
    let ends: Vec<_> = [&ids[0], &ids[2]].map(|id| served.ended(id)).into();
    assert!(ends.iter().all(|end| end["state"] == "done"));
    assert!(ends[0]["finished"].as_str() <= ends[1]["started"].as_str(), "{ends:?}");
    let list = served.get("/api/v1/jobs?limit=2").json();
    let listed: Vec<&str> =
        list["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(listed, [&ids[2], &ids[1]]);
    assert_eq!(served.delete("/api/v1/jobs/99999").status, 404);
}

#[test]
fn a_full_queue_says_when_to_try_again() {
    let folders = Folders::new();
    let mut options = folders.options();
    (options.max_queue, options.max_queue_per_client) = (3, 2);
    let served = Served::start(options);
    let submit = || served.post("/api/v1/jobs", &json!({ "verb": "txt2img", "options": endless() }));
    let answers: Vec<_> = (0..8).map(|_| submit()).collect();
    let accepted = answers.iter().filter(|answer| answer.status == 202).count();
    // One may run by then.
    assert!((2..=3).contains(&accepted), "{accepted}");
    let last = answers.last().unwrap();
    assert_eq!((last.status, last.code().as_str()), (429, "queue_full"));
    assert!(last.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
}

#[test]
fn every_verb_draws() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let first = served.ended(&served.submit("txt2img", small("a red apple")));
    let name = first["images"][0]["name"].as_str().unwrap().to_owned();
    let image = json!({ "image": name });
    let with = |more: serde_json::Value| {
        let mut options = small("a green apple");
        let all = options.as_object_mut().unwrap();
        all.insert("image".into(), image.clone());
        all.extend(more.as_object().unwrap().clone());
        options
    };
    let mut outpaint = with(json!({ "right": 32 }));
    let mut masked = with(json!({ "mask": { "base64": mask(), "name": "mask.png" } }));
    for own in [&mut outpaint, &mut masked] {
        for side in ["width", "height"] {
            own.as_object_mut().unwrap().remove(side);
        }
    }
    let mut grid = small("a sun");
    grid["x"] = json!({ "option": "steps", "values": ["1", "2"] });
    let jobs = [
        ("img2img", with(json!({ "strength": 0.5 }))),
        ("inpaint", masked),
        ("outpaint", outpaint),
        ("upscale", json!({ "image": image, "scale": 2 })),
        ("grid", grid),
        ("replay", json!({ "image": image })),
    ];
    for (verb, options) in jobs {
        let ended = served.ended(&served.submit(verb, options));
        assert_eq!(
            (&ended["state"], ended["images"].as_array().unwrap().len()),
            (&json!("done"), 1),
            "{ended}"
        );
        if verb == "replay" {
            assert!(ended["warnings"][0].as_str().unwrap().ends_with("has the same pixels"), "{ended}");
        }
    }
    assert_eq!(folders.images().len(), 7);
}

/// A mask of the size of [`small`] whose upper half is white.
fn mask() -> String {
    use base64::Engine as _;
    let mut rgb = vec![255; 32 * 32 * 3];
    rgb[32 * 16 * 3..].fill(0);
    let image = latent_diffusion::Image { width: 32, height: 32, rgb };
    base64::engine::general_purpose::STANDARD.encode(latent_app::output::png(&image).unwrap())
}

#[test]
fn what_is_wrong_is_said_at_the_option() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let cases = [
        (json!({ "verb": "txt2img", "options": { "steps": "many" } }), "steps"),
        (json!({ "verb": "txt2img", "options": { "stepz": 3 } }), "stepz"),
        (json!({ "verb": "txt2img", "options": { "sampler": "eulre" } }), "sampler"),
        (json!({ "verb": "txt2img", "options": { "model": "nothing" } }), "model"),
        (json!({ "verb": "txt2img", "options": { "batch_count": 0 } }), "batch_count"),
        (json!({ "verb": "img2img", "options": { "prompt": "a" } }), "image"),
        (json!({ "verb": "txt2img", "options": { "models_dir": "/" } }), "models_dir"),
        (json!({ "verb": "dance" }), "verb"),
    ];
    for (body, field) in cases {
        let answer = served.post("/api/v1/jobs", &body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_input"), "{body}");
        assert_eq!(answer.json()["error"]["field"], field, "{answer:?}");
    }
    let refused = served.submit("txt2img", json!({ "prompt": "a", "width": 33, "height": 32 }));
    let ended = served.ended(&refused);
    assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("failed"), &json!("bad_input")));
}

#[test]
fn a_reader_that_goes_away_cancels_the_job_that_waits_for_it() {
    use latent_server::queue::{ApiName, JobPhase, JobWait};
    let folders = Folders::new();
    let state = latent_server::state::ServerState::open(folders.options()).unwrap();
    let request = serde_json::from_value(json!({ "verb": "txt2img", "options": endless() })).unwrap();
    let new = state.requests.read(request, ApiName::OpenAi, "127.0.0.1").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let wait = runtime.block_on(JobWait::submit(state.queue.clone(), new)).unwrap();
    let id = wait.id();
    assert_eq!(state.queue.status(id).unwrap().record.phase, JobPhase::Queued);
    drop(wait);
    assert_eq!(state.queue.status(id).unwrap().record.phase, JobPhase::Cancelled);
}
