//! The images in the output folder.

use crate::common::{Folders, Served, small};
use serde_json::{Value, json};

fn names(list: &Value) -> Vec<&str> {
    list["images"].as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap()).collect()
}

#[test]
fn images_are_found_by_prompt_model_and_seed() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    for (prompt, seed) in [("a red apple", 7), ("a yellow sun", 8)] {
        let mut options = small(prompt);
        options["seed"] = seed.into();
        assert_eq!(served.ended(&served.submit("txt2img", options))["state"], "done");
    }
    std::fs::write(folders.path("images").join("notes.txt"), "x").unwrap();
    let all = served.get("/api/v1/images").json();
    assert_eq!(
        (names(&all).len(), &all["total"], &all["images"][0]["prompt"]),
        (2, &json!(2), &json!("a yellow sun"))
    );
    for (query, prompt) in
        [("q=APPLE", "a red apple"), ("seed=8", "a yellow sun"), ("q=yellow&model=demo", "a yellow sun")]
    {
        let found = served.get(&format!("/api/v1/images?{query}")).json();
        assert_eq!((&found["total"], &found["images"][0]["prompt"]), (&json!(1), &json!(prompt)), "{query}");
    }
    assert_eq!(served.get("/api/v1/images?q=apple&seed=8").json()["total"], 0);
    assert_eq!(names(&served.get("/api/v1/images?offset=1&limit=5").json()).len(), 1);
    assert_eq!(served.get("/api/v1/images?seed=x").status, 400);
    let thumbnail = served.get(all["images"][0]["thumbnail"].as_str().unwrap());
    assert_eq!((thumbnail.status, thumbnail.header("content-type")), (200, Some("image/jpeg")));
    let metadata = served.get(&format!("{}/metadata", all["images"][0]["url"].as_str().unwrap())).json();
    assert_eq!((&metadata["prompt"], &metadata["replayable"]), (&json!("a yellow sun"), &json!(true)));
    assert_eq!(
        (&metadata["job"]["verb"], &metadata["job"]["options"]["steps"]),
        (&json!("txt2img"), &json!(2))
    );
}

#[test]
fn a_deleted_image_comes_back() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    let image = served.ended(&served.submit("txt2img", small("a sun")))["images"][0].clone();
    let url = image["url"].as_str().unwrap();
    let undo = served.delete(url).json();
    assert_eq!((served.get(url).status, folders.images().len()), (404, 0));
    let back = served.post("/api/v1/images/restore", &undo);
    assert_eq!((back.status, &back.json()["name"]), (200, &image["name"]));
    assert_eq!(served.get(url).status, 200);
    assert_eq!(served.post("/api/v1/images/restore", &undo).status, 404);
    for token in ["1-../../etc/passwd", "1-.trash", "", "x-a.png", "1-"] {
        assert_eq!(served.post("/api/v1/images/restore", &json!({ "undo": token })).status, 404, "{token}");
    }
}

#[test]
fn names_lead_nowhere_else() {
    let folders = Folders::new();
    let served = Served::start(folders.options());
    std::fs::write(folders.path("secret.png"), "x").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(folders.path("secret.png"), folders.path("images").join("link.png")).unwrap();
    for name in [
        "..%2Fsecret.png",
        "%2e%2e%2fsecret.png",
        "link.png",
        ".trash",
        "..",
        "%00.png",
        "a.png%00",
        "..%5Csecret.png",
    ] {
        for end in ["", "/thumbnail", "/metadata"] {
            let answer = served.get(&format!("/api/v1/images/{name}{end}"));
            assert_eq!(answer.status, 404, "{name}{end}");
        }
        assert_eq!(served.delete(&format!("/api/v1/images/{name}")).status, 404, "{name}");
    }
    for source in ["../secret.png", "link.png", "/etc/passwd"] {
        let body = json!({ "verb": "img2img", "options": { "prompt": "a", "image": { "image": source } } });
        assert_eq!(served.post("/api/v1/jobs", &body).status, 404, "{source}");
    }
    for source in ["/etc/passwd", "http://localhost/a.png", "file:///etc/passwd", "data:image/png,x"] {
        let body = json!({ "verb": "img2img", "options": { "prompt": "a", "image": source } });
        assert_eq!(served.post("/api/v1/jobs", &body).status, 400, "{source}");
    }
}

#[test]
fn what_a_killed_program_left_is_removed_with_the_next_start() {
    let folders = Folders::new();
    let images = folders.path("images");
    std::fs::create_dir(&images).unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    for (name, is_old) in [(".tmpAb3dE9", true), (".tmpAb3dE8", false), (".tmpfile", true), ("a.png", true)] {
        let file = std::fs::File::create(images.join(name)).unwrap();
        if is_old {
            file.set_modified(old).unwrap();
        }
    }
    drop(Served::start(folders.options()));
    let left = [".tmpAb3dE9", ".tmpAb3dE8", ".tmpfile", "a.png"].map(|name| images.join(name).exists());
    assert_eq!(left, [false, true, true, true]);
}
