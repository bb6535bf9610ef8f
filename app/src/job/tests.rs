//! Options by name, and jobs as JSON.

use super::*;

fn job(options: &[(&str, &[&str])]) -> Job {
    let mut job = Job::txt2img("a cat");
    options.iter().for_each(|(name, values)| job.set(name, values).unwrap());
    job
}

fn texts(job: &Job, name: &str) -> Vec<String> {
    find_option(name).unwrap().texts(job)
}

#[test]
fn a_value_is_kept_as_it_was_spelled() {
    let mut job = job(&[("cfg-scale", &["7.0"]), ("sampler", &["DPM++ 2M Karras"]), ("steps", &["20"])]);
    assert_eq!((job.sampling.cfg_scale, job.sampling.steps), (Some(7.0), Some(20)));
    assert_eq!(texts(&job, "cfg-scale"), ["7.0"]);
    assert_eq!(texts(&job, "sampler"), ["DPM++ 2M Karras"]);
    assert_eq!(job.spelling.keys().collect::<Vec<_>>(), ["cfg-scale", "sampler"]);
    // Until it becomes another one.
    job.sampling.cfg_scale = Some(8.0);
    assert_eq!(texts(&job, "cfg-scale"), ["8"]);
    job.set("cfg-scale", &["9"]).unwrap();
    assert_eq!(job.spelling.len(), 1);
}

#[test]
fn every_option_is_found_by_its_name_and_nothing_is_given_at_first() {
    for (i, option) in OPTIONS.iter().enumerate() {
        assert_eq!(find_option(option.name()).unwrap().name(), option.name());
        assert!(OPTIONS[..i].iter().all(|other| other.name() != option.name()), "{option:?} twice");
        let tasks = JobTask::NAMES.map(|name| Job::new(JobTask::named(name).unwrap(), ""));
        assert!(tasks.iter().any(|job| option.applies_to(job)), "{option:?}");
        assert!(tasks.iter().all(|job| option.texts(job).is_empty()), "{option:?}");
    }
    assert_eq!(find_option("cfg_scale").unwrap().name(), "cfg-scale");
    let unknown = find_option("stepz").unwrap_err().to_string();
    assert_eq!(unknown, "unknown option \"stepz\", did you mean \"steps\"?");
}

#[test]
fn a_task_has_its_own_options() {
    let mut job = Job::txt2img("a cat");
    let error = job.set("strength", &["0.5"]).unwrap_err().to_string();
    assert_eq!(error, "strength: txt2img has no such option");
    assert_eq!(job.set("steps", &["many"]).unwrap_err().to_string(), "steps: \"many\" is not a whole number");
    job.task = JobTask::named("inpaint").unwrap();
    job.set("strength", &["0.5"]).unwrap();
    job.set("only-masked", &[]).unwrap();
    assert_eq!(texts(&job, "only-masked"), ["true"]);
    assert!(job.check().unwrap_err().to_string().starts_with("image: "));
}

#[test]
fn one_value_is_for_all_control_nets_and_several_are_for_each() {
    let mut job =
        job(&[("control-net", &["a", "b"]), ("control-image", &["i"]), ("control-strength", &["1", "2"])]);
    let strengths: Vec<_> = job.control.iter().map(|one| one.strength).collect();
    assert_eq!(strengths, [Some(1.0), Some(2.0)]);
    assert!(job.control.iter().all(|one| one.image == "i".into()));
    assert_eq!((texts(&job, "control-image"), texts(&job, "control-end")), (vec!["i".to_owned()], vec![]));
    let refused = job.set("control-end", &["1", "2", "3"]).unwrap_err().to_string();
    assert!(refused.starts_with("control end: 3 are given for 2 ControlNets"), "{refused}");
    assert!(job.check().is_ok());
    job.set("control-strength", &["3", "3"]).unwrap();
    assert_eq!(texts(&job, "control-strength"), ["3", "3"]);
    job.control[1].strength = None;
    assert_eq!(texts(&job, "control-strength"), ["3", "1"]);
}

#[test]
fn files_among_the_values() {
    let file = |name: &str, value: &str| find_option(name).unwrap().file_of(value);
    assert_eq!(file("lora", "a/b.safetensors:0.50"), Some(("a/b.safetensors".into(), ":0.50".into())));
    assert_eq!(file("vae", "a/b"), Some(("a/b".into(), String::new())));
    assert_eq!(file("hires-upscaler", "latent"), None);
    assert_eq!(file("hires-upscaler", "4x.safetensors"), Some(("4x.safetensors".into(), String::new())));
    assert_eq!((file("steps", "3"), file("models-dir", "a")), (None, None));
}

#[test]
fn a_job_is_plain_json() {
    let mut job = job(&[("sampler", &["euler"]), ("seed", &["7"]), ("lora", &["a:0.5"]), ("hires", &[])]);
    job.control.push(ControlOptions { net: "n".into(), image: "i".into(), ..ControlOptions::default() });
    let json = serde_json::to_value(&job).unwrap();
    assert_eq!(json["sampling"]["sampler"], "euler");
    assert_eq!(json["task"]["type"], "txt2img");
    assert_eq!(serde_json::from_value::<Job>(json).unwrap(), job);
    let sent =
        r#"{"prompt": "a cat", "task": {"type": "img2img", "image": {"name": "a.png", "base64": "AAEC"}}}"#;
    let read: Job = serde_json::from_str(sent).unwrap();
    assert_eq!(read.task.image(), Some(&ImageSource::inline("a.png", vec![0, 1, 2])));
    assert!(serde_json::from_str::<Job>(r#"{"promt": "a cat"}"#).is_err());
}

#[test]
fn what_options_require_of_each_other() {
    let refuses = |options: &[(&str, &[&str])], part: &str| {
        let error = job(options).check().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    refuses(&[("batch-count", &["0"])], "batch count: 0");
    refuses(&[("batch-size", &["0"])], "batch size");
    refuses(&[("sigmas", &["1", "0"]), ("steps", &["3"])], "sigmas");
    refuses(&[("hires-scale", &["2"])], "hires");
    refuses(&[("refiner-start", &["0.5"])], "refiner");
    refuses(&[("control-net", &["a"])], "control image");
    refuses(&[("control-net", &["a"; 9])], "control net: 9 are given; the maximum is 8");
}
