//! How many steps ComfyUI's graphs take to follow: no more than in proportion to their size.

use crate::metadata::comfy;
use crate::metadata::comfy_graph::{Graph, MAX_NODES};
use crate::metadata::json::with_json;
use std::fmt::Write as _;

/// A sampler that leads to the first of the nodes which `node` writes.
fn text(count: usize, node: &dyn Fn(usize, usize) -> String) -> String {
    let mut out = String::from(
        r#"{"S":{"class_type":"KSampler","inputs":{"seed":["n0",0],"steps":1,"cfg":1,"positive":["n0",0],
        "negative":["n0",0],"latent_image":["n0",0],"model":["n0",0]}},
        "h":{"class_type":"PrimitiveInt","inputs":{}}"#,
    );
    for i in 0..count {
        let _ = write!(out, r#","n{i}":{}"#, node(i, (i + 1) % count));
    }
    out + "}"
}

/// The steps that a graph takes, and how many nodes and inputs it has; or why it is refused.
fn steps(text: &str) -> Result<(usize, usize), String> {
    let counted = with_json("prompt", text, |json| {
        let graph = Graph::of_prompt(json)?.expect("a graph");
        comfy::parse(&graph)?;
        let size = graph.nodes().iter().map(|node| 1 + node.inputs().count()).sum();
        Ok(Some((graph.checked_steps()?, size)))
    });
    counted.map(|counted| counted.expect("JSON"))
}

/// Twice the nodes take twice the steps, or the graph is refused after steps in proportion to its size.
#[track_caller]
fn grows_in_proportion(label: &str, node: impl Fn(usize, usize, usize) -> String) {
    let counts = [2_000, 4_000, 8_000].map(|count| steps(&text(count, &|i, next| node(i, next, count))));
    if let [Ok((one, _)), Ok((two, _)), Ok((four, _))] = counts {
        assert!(two <= 2 * one + 100 && four <= 2 * two + 100, "{label}: {one}, {two}, {four} steps");
    }
    for counted in counts {
        match counted {
            Ok((steps, size)) => assert!(steps <= 10_000 + 16 * size, "{label}: {steps} steps, size {size}"),
            Err(line) => assert!(line.contains("steps to follow") || line.contains("MiB"), "{label}: {line}"),
        }
    }
}

#[test]
fn graphs_take_steps_in_proportion_to_their_size() {
    grows_in_proportion("a chain", |_, next, _| {
        format!(r#"{{"class_type":"Reroute","inputs":{{"":["n{next}",0]}}}}"#)
    });
    grows_in_proportion("a hub", |_, next, _| {
        format!(
            r#"{{"class_type":"x","inputs":{{"width":["h",0],"height":["h",0],"samples":["n{next}",0]}}}}"#
        )
    });
    grows_in_proportion("savers", |i, next, _| {
        format!(
            r#"{{"class_type":"SaveImage","inputs":{{"image":["n{next}",0],"images":["n{}",0]}}}}"#,
            i / 2
        )
    });
    grows_in_proportion("samplers", |i, next, count| match i + 1 < count.min(900) {
        true => format!(
            r#"{{"class_type":"K","inputs":{{"steps":1,"cfg":1,"seed":1,"latent_image":["n{next}",0]}}}}"#
        ),
        false => r#"{"inputs":{}}"#.to_owned(),
    });
    grows_in_proportion("conditionings", |i, next, _| {
        format!(
            r#"{{"class_type":"ConditioningCombine","inputs":{{"a":["n{next}",0],"b":["n{}",0]}}}}"#,
            i / 3
        )
    });
    grows_in_proportion("doubled texts", |_, next, _| {
        let inputs = format!(r#"{{"string_a":["n{next}",0],"string_b":["n{next}",0],"delimiter":"-"}}"#);
        format!(r#"{{"class_type":"StringConcatenate","inputs":{inputs}}}"#)
    });
    grows_in_proportion("switches of switches", |_, next, _| {
        let inputs = format!(r#"{{"select":["n{next}",0],"input1":["n{next}",0]}}"#);
        format!(r#"{{"class_type":"ImpactSwitch","inputs":{inputs}}}"#)
    });
}

/// All the links of one node: `x` with as many inputs as there are nodes, each of which leads back to it.
#[test]
fn a_star_takes_steps_in_proportion_to_its_size() {
    grows_in_proportion("a star", |i, _, count| match i {
        0 => {
            let links: Vec<_> = (1..count).map(|to| format!(r#""a{to}":["n{to}",0]"#)).collect();
            format!(r#"{{"class_type":"x","inputs":{{{}}}}}"#, links.join(","))
        }
        _ => r#"{"inputs":{"width":["n0",0],"height":["n0",0],"text":["n0",0]}}"#.to_owned(),
    });
}

#[test]
fn too_many_nodes_are_refused() {
    let node = |_: usize, next: usize| format!(r#"{{"class_type":"x","inputs":{{"a":["n{next}",0]}}}}"#);
    assert!(steps(&text(MAX_NODES - 2, &node)).is_ok());
    let line = steps(&text(MAX_NODES - 1, &node)).unwrap_err();
    assert_eq!(line, "has a graph of 10001 nodes; the maximum is 10000");
}
