//! What is drawn through the queue.

use super::{
    Lines, Worker, alone, alone_in, broker, files, front, front_with, queue, until_workers, worker_options,
};
use crate::a1111::{synthetic, vae};
use crate::common::{Folders, Served, small};
use serde_json::{Value, json};

/// Options with others.
fn with(mut options: Value, more: Value) -> Value {
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    options
}

#[test]
fn jobs_through_the_queue_have_the_bytes_of_one_machine() {
    let Some(broker) = broker::start(&[]) else { return };
    let folders = Folders::new();
    let served = front(&folders, &broker);
    let workers = [Worker::start(&broker, "one"), Worker::start(&broker, "two")];
    let first = alone("txt2img", &small("a red apple"));
    let base64 = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(&first[0])
    };
    let image = json!({ "base64": base64, "name": "apple.png" });
    let cases = [
        ("txt2img", small("a red apple")),
        // Parts, which come back in their order.
        ("txt2img", with(small("a sun"), json!({ "batch_count": 5, "batch_size": 2 }))),
        (
            "txt2img",
            with(small("a sun"), json!({ "batch_count": 2, "variation_strength": 0.3, "variation_seed": 1 })),
        ),
        ("img2img", with(small("a green apple"), json!({ "image": image }))),
        // Each cell is a part.
        ("grid", with(small("a sun"), json!({ "x": "steps=1,2" }))),
        ("upscale", json!({ "image": image, "model": "lanczos", "scale": 2 })),
        ("replay", json!({ "image": image })),
    ];
    for (verb, options) in cases {
        let ended = served.ended(&served.submit(verb, options.clone()));
        assert_eq!(ended["state"], "done", "{verb}: {ended}");
        let drawn = files(&folders, &ended);
        assert!(drawn == alone(verb, &options), "{verb}: {ended}");
    }
    // What the page and programs see.
    until_workers(&broker, |workers| workers.iter().map(|worker| worker.done).sum::<u64>() == 13);
    let list = served.get("/api/v1/workers").json();
    let names: Vec<&str> =
        list["workers"].as_array().unwrap().iter().map(|worker| worker["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["one", "two"]);
    let metrics = String::from_utf8(served.get("/metrics").bytes).unwrap();
    assert!(
        metrics.contains("latent_worker_seconds_total ") && metrics.contains("latent_queue_dead 0"),
        "{metrics}"
    );
    drop(workers);
    // Those that were stopped have said so.
    until_workers(&broker, <[_]>::is_empty);
}

#[test]
fn the_cells_of_a_grid_come_back_in_their_places_with_the_bytes_of_one_machine() {
    let Some(broker) = broker::start(&[]) else { return };
    let folders = Folders::new();
    let served = front(&folders, &broker);
    let grids = [
        json!({ "x": "steps=1,2,3", "y": "prompt=sun,moon" }),
        // Cells of different sizes, and seeds of their own.
        json!({ "x": "width=32,48", "y": "seed=3,18446744073709551615" }),
        json!({ "x": "cfg-scale=1,5", "y": "variation-strength=0,0.5", "variation_seed": 3 }),
    ];
    let submitted: Vec<(String, Value)> = grids
        .into_iter()
        .map(|grid| with(small("a sun"), grid))
        .map(|options| (served.submit("grid", options.clone()), options))
        .collect();
    let _workers = [Worker::start(&broker, "one"), Worker::start(&broker, "two")];
    for (id, options) in submitted {
        let ended = served.ended(&id);
        assert_eq!((&ended["state"], &ended["warnings"]), (&json!("done"), &json!([])), "{ended}");
        let drawn = files(&folders, &ended);
        assert!(drawn.len() == 1 && drawn == alone("grid", &options), "{options}");
    }
    until_workers(&broker, |workers| workers.iter().map(|worker| worker.done).sum::<u64>() == 14);
    // Nothing but the grids is in the gallery.
    assert_eq!(folders.images().len(), 3);
}

#[test]
fn an_image_names_the_instruction_set_of_its_worker_and_only_that_set_draws_if_it_is_asked_for() {
    let Some(broker) = broker::start(&[]) else { return };
    let isa = latent_app::threads::isa();
    let other = if isa == "scalar" { "neon" } else { "scalar" };
    let folders = [(); 2].map(|()| Folders::new());
    let served = [isa, other].map(|isa| {
        let mut settings = queue(&broker.url());
        settings.isa = Some(isa.into());
        let folders = &folders[usize::from(isa == other)];
        front_with(folders, settings, &Lines::default())
    });
    let waiting = served[1].submit("txt2img", small("a sun"));
    let _worker = Worker::start(&broker, "one");
    let ended = served[0].ended(&served[0].submit("txt2img", small("a sun")));
    assert_eq!(ended["state"], "done", "{ended}");
    let drawn = files(&folders[0], &ended);
    let text = String::from_utf8_lossy(&drawn[0]).into_owned();
    assert!(text.contains(&format!("\"isa\":\"{isa}\"")), "{text}");
    assert!(drawn == alone("txt2img", &small("a sun")));
    assert_eq!(served[1].get(&format!("/api/v1/jobs/{waiting}")).json()["state"], "queued");
}

#[test]
fn wildcards_are_replaced_only_where_they_are_those_of_the_front() {
    let Some(broker) = broker::start(&[]) else { return };
    let (folders, lines) = (Folders::new(), Lines::default());
    let of = |name: &str, fruit: &str| {
        let folder = folders.path(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("fruit.txt"), fruit).unwrap();
        Some(folder)
    };
    let mut options = folders.options();
    options.queue = Some(queue(&broker.url()));
    options.wildcards = of("front", "pear\n");
    let served = Served::start_with_log(options, lines.log());
    let worker = |name: &str, wildcards| {
        let mut options = worker_options(&broker.url(), name);
        options.wildcards = wildcards;
        Worker::start_with_log(options, &lines)
    };
    let _other = worker("other", of("other", "plum\n"));
    let id = served.submit("txt2img", small("a __fruit__"));
    lines.until("has other wildcards in its folder");
    let _same = worker("same", of("same", "pear\n"));
    let ended = served.ended(&id);
    assert_eq!(ended["state"], "done", "{ended}");
    let text = String::from_utf8_lossy(&files(&folders, &ended)[0]).into_owned();
    assert!(text.contains("a pear") && !text.contains("plum"), "{text}");
}

#[test]
fn progress_and_previews_come_as_from_a_device_of_the_server() {
    let Some(broker) = broker::start(&[]) else { return };
    let folders = Folders::new();
    let served = front(&folders, &broker);
    let options = with(small("a sun"), json!({ "steps": 6 }));
    let body = json!({ "verb": "txt2img", "options": options, "preview_interval": 1 });
    let id = served.post("/api/v1/jobs", &body).json()["id"].as_str().unwrap().to_owned();
    // Nobody draws yet.
    let waiting = served.get(&format!("/api/v1/jobs/{id}")).json();
    assert_eq!((&waiting["state"], &waiting["position"]), (&json!("queued"), &json!(0)), "{waiting}");
    let mut lines = served.open(&format!("/api/v1/jobs/{id}/events"));
    let _worker = Worker::start(&broker, "one");
    let events = crate::common::read_events(&mut lines);
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["state", "progress", "preview", "image", "done"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let progress = events.iter().filter(|(name, _)| name == "progress");
    let parts: Vec<f64> = progress.map(|(_, data)| data["progress"].as_f64().unwrap()).collect();
    assert!(parts.windows(2).all(|pair| pair[0] <= pair[1]) && parts.last() <= Some(&1.0), "{parts:?}");
}

#[test]
fn a_worker_draws_with_its_own_files_of_the_same_hashes_and_others_leave_the_job_alone() {
    let Some(broker) = broker::start(&[]) else { return };
    let [folders, others] = [(); 2].map(|()| Folders::new());
    let [own, theirs] = [&folders, &others].map(|folders| folders.options().models_dir.unwrap());
    let deep = theirs.join("deep");
    std::fs::create_dir_all(&deep).unwrap();
    for (name, bytes) in [("sd15.safetensors", synthetic("sd15")), ("vae.safetensors", vae())] {
        std::fs::write(own.join(name), &bytes).unwrap();
        std::fs::write(deep.join(name), &bytes).unwrap();
    }
    // Of the same name, but another file.
    std::fs::write(theirs.join("sd15.safetensors"), synthetic("sd15-inpaint")).unwrap();
    let options = with(small("a sun"), json!({ "model": "sd15", "vae": "vae" }));
    let served = front(&folders, &broker);
    let _without = Worker::start(&broker, "without");
    let id = served.submit("txt2img", options.clone());
    // It waits for whoever has the model.
    assert_eq!(served.ended(&served.submit("txt2img", small("a moon")))["state"], "done");
    assert_eq!(served.get(&format!("/api/v1/jobs/{id}")).json()["state"], "queued");
    let mut with_files = worker_options(&broker.url(), "with");
    with_files.models_dir = Some(theirs);
    let _with = Worker::start_with(with_files);
    let ended = served.ended(&id);
    assert_eq!(ended["state"], "done", "{ended}");
    let drawn = files(&folders, &ended);
    drop(served);
    assert!(drawn == alone_in(&folders, "txt2img", &options));
}
