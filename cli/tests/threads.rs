//! The number of threads, their stacks, and the variables that must not change them.

use crate::common::Room;

const DRAW: &[&str] =
    &["txt2img", "a red apple", "-s", "1", "--steps", "1", "-W", "8", "-H", "8", "-o", "a.png"];

#[test]
fn more_threads_than_cores_are_told_once() {
    let cores = std::thread::available_parallelism().unwrap().get();
    let room = Room::new();
    let output = room.run(&[DRAW, &["-t", "1024"]].concat());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{error}");
    if cores < 1024 {
        let line = format!("latent: threads: 1024 asked for, {cores} used: this machine has so many cores\n");
        assert_eq!(error.matches(&line).count(), 1, "{error}");
    }
    let output = room.run(&[DRAW, &["-t", "1"]].concat());
    assert!(output.status.success() && !String::from_utf8_lossy(&output.stderr).contains("threads"));
    room.refuses(&[DRAW, &["-t", "1025"]].concat(), &["threads", "1 to 1024"]);
}

/// rayon's own pool would start as many threads as the variable says, and the standard library's have as small a stack.
#[test]
fn no_variable_sets_the_threads() {
    let room = Room::new();
    let draw = |variables: &[(&str, &str)], threads: &[&str]| {
        let args = [DRAW, threads].concat();
        let output = room.command(&args).envs(variables.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{variables:?}: {}", String::from_utf8_lossy(&output.stderr));
        std::fs::read(room.path("a.png")).unwrap()
    };
    let plain = draw(&[], &[]);
    for variables in [
        &[("RAYON_NUM_THREADS", "100000")][..],
        &[("RUST_MIN_STACK", "1")],
        &[("RAYON_NUM_THREADS", "100000"), ("RUST_MIN_STACK", "1"), ("RAYON_RS_NUM_CPUS", "100000")],
    ] {
        assert!(draw(variables, &[]) == plain, "{variables:?}");
        assert!(draw(variables, &["-t", "2"]) == plain, "{variables:?}");
    }
}
