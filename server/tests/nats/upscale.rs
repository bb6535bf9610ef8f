//! An image that is made larger by several machines: a part of its tiles each.

use super::{Worker, WorkerProcess, alone, alone_in, broker, files, front, until_workers, worker_options};
use crate::a1111::esrgan;
use crate::common::{Folders, read_events};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// An image whose pixels differ, half transparent in the middle.
fn image(width: u32, height: u32) -> Value {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgba);
    let pixel =
        |i: u32| [i.wrapping_mul(i) / 7 % 251, i / width % 256, i % width % 256, 255 - 100 * (i / 1000 % 2)];
    let pixels: Vec<u8> = (0..width * height).flat_map(pixel).map(|value| value as u8).collect();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&pixels).unwrap();
    writer.finish().unwrap();
    json!({ "base64": STANDARD.encode(bytes), "name": "photo.png" })
}

/// What the name of a job's only image has after date, time and number of the job.
fn suffix(ended: &Value) -> String {
    let name = ended["images"][0]["name"].as_str().unwrap();
    name.chars().skip("20261129-043226-00042".len()).collect()
}

/// Folders with a small network, which is `4x`.
fn with_network() -> Folders {
    let folders = Folders::new();
    std::fs::write(folders.options().models_dir.unwrap().join("4x.safetensors"), esrgan()).unwrap();
    folders
}

/// A worker with the models of those folders.
fn worker(broker: &broker::Broker, name: &str, folders: &Folders) -> Worker {
    let mut options = worker_options(&broker.url(), name);
    options.models_dir = folders.options().models_dir;
    Worker::start_with(options)
}

#[test]
fn an_enlargement_on_two_workers_has_the_bytes_of_one_machine() {
    let Some(broker) = broker::start(&[]) else { return };
    let [folders, alone] = [(); 2].map(|()| with_network());
    let served = front(&folders, &broker);
    let _workers = ["one", "two"].map(|name| worker(&broker, name, &folders));
    let cases = [
        // The built-in network on two rows of tiles; a filter after it.
        (2, json!({ "image": image(301, 701), "scale": 2.5 })),
        // A network of a file, and what it needs two runs for.
        (2, json!({ "image": image(90, 560), "model": "4x" })),
        (2, json!({ "image": image(20, 139), "model": "4x", "scale": 9 })),
        // One tile, and no network.
        (1, json!({ "image": image(60, 50), "model": "4x" })),
        (1, json!({ "image": image(20, 700), "model": "lanczos" })),
    ];
    let mut parts = 0;
    for (count, options) in cases {
        let ended = served.ended(&served.submit("upscale", options.clone()));
        assert_eq!((&ended["state"], &ended["warnings"]), (&json!("done"), &json!([])), "{ended}");
        assert_eq!(suffix(&ended), ".png", "{ended}");
        assert!(files(&folders, &ended) == alone_in(&alone, "upscale", &options), "{ended}");
        parts += count;
        until_workers(&broker, |workers| workers.iter().map(|worker| worker.done).sum::<u64>() == parts);
    }
}

#[test]
fn the_progress_of_an_enlargement_is_that_of_all_parts() {
    let Some(broker) = broker::start(&[]) else { return };
    let folders = Folders::new();
    let served = front(&folders, &broker);
    let id = served.submit("upscale", json!({ "image": image(301, 701) }));
    let mut lines = served.open(&format!("/api/v1/jobs/{id}/events"));
    let _worker = Worker::start(&broker, "one");
    let events = read_events(&mut lines);
    let progress = events.iter().filter(|(name, _)| name == "progress");
    let progress: Vec<f64> = progress.map(|(_, data)| data["progress"].as_f64().unwrap()).collect();
    assert!(progress.contains(&0.5), "{progress:?}");
    assert!(progress.windows(2).all(|pair| pair[0] <= pair[1]), "{progress:?}");
    assert_eq!(served.ended(&id)["state"], "done");
}

#[test]
fn the_part_of_a_worker_that_is_killed_is_computed_by_another() {
    let Some(broker) = broker::start(&[]) else { return };
    let folders = Folders::new();
    let served = front(&folders, &broker);
    let options = json!({ "image": image(301, 701) });
    let first = WorkerProcess::start(&broker, "first");
    let id = served.submit("upscale", options.clone());
    served.until_it_runs(&id);
    drop(first);
    let _second = Worker::start(&broker, "second");
    let ended = served.ended(&id);
    assert_eq!(ended["state"], "done", "{ended}");
    assert!(files(&folders, &ended) == alone("upscale", &options));
}

#[test]
fn an_enlargement_that_is_cancelled_frees_its_workers_and_one_part_that_fails_ends_all() {
    let Some(broker) = broker::start(&[]) else { return };
    let folders = Folders::new();
    let served = front(&folders, &broker);
    let workers = ["one", "two"].map(|name| Worker::start(&broker, name));
    let id = served.submit("upscale", json!({ "image": image(1024, 4000) }));
    served.until_it_runs(&id);
    assert_eq!(served.delete(&format!("/api/v1/jobs/{id}")).json()["state"], "cancelled");
    until_workers(&broker, |workers| workers.iter().all(|worker| worker.drawing.is_empty()));
    drop(workers);
    let id = served.submit("upscale", json!({ "image": image(641, 1300) }));
    let mut other = broker.client();
    let front = super::refused::name(&folders);
    let result = json!({
        "schema": 3, "worker": "other", "took_ms": 1, "deliveries": 1, "images": [], "warnings": [],
        "error": { "code": "failed", "message": "out of memory" },
    });
    other.publish(&format!("latent.results.{front}.{id}.1"), result.to_string().as_bytes());
    let ended = served.ended(&id);
    assert_eq!(
        (&ended["state"], &ended["error"]["message"]),
        (&json!("failed"), &json!("out of memory")),
        "{ended}"
    );
    assert!(folders.images().is_empty());
}
