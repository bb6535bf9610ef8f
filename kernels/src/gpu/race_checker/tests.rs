//! Every shader as it is, and with faults.

use super::cases::CASES;
use super::faults::FAULTS;
use super::launch::{Caught, Launch, catch};
use super::{Outcome, check, memory};
use crate::DType;
use crate::gpu::template::SUBGROUPS;
use crate::gpu::testing::gpus;
use crate::gpu::{ShaderVariant, in_rows};
use crate::shaders;
use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

/// The commands of all cases on each GPU of the tests, checked once.
fn all() -> &'static [Caught] {
    static ALL: OnceLock<Vec<Caught>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all = Vec::new();
        for (name, gpu) in gpus() {
            for case in CASES.into_iter().flatten() {
                let caught = catch(case.is_compared && name == "full", || (case.run)(&gpu));
                assert!(!caught.is_empty(), "{}", case.name);
                all.extend(caught);
            }
        }
        all
    })
}

/// What distinguishes the code of variants, up to constants.
fn signature(variant: &ShaderVariant) -> (DType, u32, Vec<&'static str>) {
    let mut flags = variant.flags.clone();
    flags.sort_unstable();
    (variant.dtype, variant.vector, flags)
}

#[test]
fn the_shaders_have_no_faults() {
    let mut found = Vec::new();
    for Caught { launch, outcome, .. } in all() {
        for finding in &outcome.findings {
            found.push(format!("{} {:?}: {finding}", launch.shader.name, launch.variant));
        }
    }
    assert!(found.is_empty(), "{} faults:\n{}", found.len(), found.join("\n"));
}

/// The largest difference between scalars that the interpreter wrote and those of `arrays`, and the largest of them.
fn difference(outcome: &Outcome, arrays: &[Vec<u8>]) -> (f32, f32) {
    let (mut most, mut largest) = (0.0f32, 0.0f32);
    for ((width, written), bytes) in outcome.written.iter().zip(arrays) {
        for (at, value) in written {
            let word = match width {
                2 => u32::from(u16::from_le_bytes([bytes[2 * at], bytes[2 * at + 1]])),
                _ => u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[4 * at + i])),
            };
            let other = memory::float(word, *width);
            largest = largest.max(other.abs());
            // NaN differs from everything.
            let apart = if *value == other { 0.0 } else { (value - other).abs() };
            most = if apart.is_nan() { f32::INFINITY } else { most.max(apart) };
        }
    }
    (most, largest)
}

#[test]
fn the_interpreter_computes_what_the_adapter_does() {
    let mut count = 0;
    for Caught { launch, outcome, after } in all() {
        let Some(after) = after else { continue };
        let (most, largest) = difference(outcome, after);
        let tolerance = if launch.variant.dtype == DType::F16 { 4e-3 } else { 2e-5 } * largest.max(1.0);
        let Launch { shader, variant, .. } = launch;
        assert!(most <= tolerance, "{} {variant:?}: {most:e} apart, largest {largest}", shader.name);
        count += 1;
    }
    assert!(all().is_empty() || count > 100, "only {count} of {} commands compared", all().len());
}

/// Every shader, with every set of flags, dtype and width.
#[test]
fn every_variant_is_checked() {
    if all().is_empty() {
        return;
    }
    let checked: HashSet<_> =
        all().iter().map(|c| (c.launch.shader.name, signature(&c.launch.variant))).collect();
    let mut missing = Vec::new();
    for shader in shaders::ALL {
        for variant in (shader.variants)() {
            if !checked.contains(&(shader.name, signature(&variant))) {
                missing.push(format!("{} {variant:?}", shader.name));
            }
        }
    }
    assert!(missing.is_empty(), "no case for\n{}", missing.join("\n"));
}

/// The shader's launch with other constants, of another tile of a product.
fn in_tile(launch: &Launch, variant: &ShaderVariant) -> Launch {
    let of = |name| variant.constants.iter().find(|(n, _)| *n == name).map(|(_, value)| *value as usize);
    let side = if variant.flags.contains(&"SIDE_8") { 8 } else { 16 };
    let (down, across) = (of("DOWN").unwrap(), of("ACROSS").unwrap());
    let [height, mut width] = match of("THREADS_DOWN") {
        Some(threads) => [threads * down, of("THREADS_ACROSS").unwrap() * across * 4],
        None => [4 * side * down, 2 * side * across],
    };
    if variant.flags.contains(&"GATED") {
        width /= 2;
    }
    let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| launch.params[4 * at + i])) as usize;
    let (rows, columns) = (word(0), word(3));
    let mut groups = in_rows(rows.div_ceil(height) * columns.div_ceil(width));
    groups[2] = launch.groups[2];
    let variant = ShaderVariant { overrides: launch.variant.overrides.clone(), ..variant.clone() };
    Launch { variant, groups, ..launch.clone() }
}

/// Tiles that only large products have, on small ones.
#[test]
fn every_tile_of_products_is_checked() {
    for shader in shaders::ALL.iter().filter(|shader| ["gemm", "conv2d"].contains(&shader.name)) {
        for variant in (shader.variants)() {
            let same = all().iter().filter(|c| {
                c.launch.shader.name == shader.name && signature(&c.launch.variant) == signature(&variant)
            });
            let tiles: HashSet<_> = same.clone().map(|c| c.launch.variant.constants.clone()).collect();
            let Some(model) = same.max_by_key(|c| c.launch.arrays[3].len()) else { continue };
            if tiles.contains(&variant.constants) {
                continue;
            }
            let launch = in_tile(&model.launch, &variant);
            let outcome = check(&launch, &launch.text());
            assert!(outcome.findings.is_empty(), "{} {variant:?}: {}", shader.name, outcome.findings[0]);
            let (most, largest) = difference(&outcome, &model.outcome.arrays);
            assert!(most <= 4e-3 * largest.max(1.0), "{} {variant:?}: {most:e} of {largest}", shader.name);
        }
    }
}

/// The launch of a shader that reduces rows, with that many threads a row.
fn in_lanes(launch: &Launch, lanes: u32) -> Launch {
    let rows = u32::from_le_bytes([0, 1, 2, 3].map(|i| launch.params[i]));
    let mut launch = launch.clone();
    launch.variant.overrides = vec![("LANES", lanes)];
    launch.groups = in_rows(rows.div_ceil(128 / lanes) as usize);
    launch
}

/// The shaders that reduce rows, in subgroups of every size and without any.
#[test]
fn rows_are_reduced_in_subgroups_of_any_size() {
    let mut seen = HashMap::new();
    for Caught { launch, outcome, .. } in all() {
        if launch.variant.overrides.iter().any(|(name, _)| *name == "LANES") {
            seen.insert((launch.shader.name, signature(&launch.variant)), (launch, outcome));
        }
    }
    for ((name, (.., flags)), (launch, model)) in seen {
        for lanes in [4, 8, 16, 32, 64, 128] {
            let launch = in_lanes(launch, lanes);
            let outcome = check(&launch, &launch.text());
            assert!(outcome.findings.is_empty(), "{name} {flags:?} {lanes}: {}", outcome.findings[0]);
            let (most, largest) = difference(&outcome, &model.arrays);
            assert!(most <= 4e-3 * largest.max(1.0), "{name} {flags:?} {lanes}: {most:e} of {largest}");
            assert!(launch.spread == 5 || !flags.contains(&SUBGROUPS));
        }
    }
}

#[test]
fn every_planted_fault_is_found() {
    if all().is_empty() {
        return;
    }
    assert!(FAULTS.len() >= 20);
    let mut missed = Vec::new();
    for fault in FAULTS {
        let of_shader = all().iter().filter(|c| c.launch.shader.name == fault.shader);
        // Subgroups of one size whatever the adapter has: some faults show in large ones only.
        let launches = of_shader.map(|c| match c.launch.variant.flags.contains(&SUBGROUPS) {
            true => in_lanes(&c.launch, 32),
            false => c.launch.clone(),
        });
        let texts = launches.map(|launch| (launch.text(), launch));
        let mut faulty = texts.filter(|(text, _)| text.contains(fault.from)).peekable();
        assert!(faulty.peek().is_some(), "{}: no variant of {} has that text", fault.what, fault.shader);
        let mut others = HashSet::new();
        let is_found = faulty.any(|(text, launch)| {
            let changed = text.replace(fault.from, fault.to);
            assert_ne!(changed, text, "{}", fault.what);
            let findings = check(&launch, &changed).findings;
            others.extend(findings.iter().map(|finding| (finding.kind, finding.variable.clone())));
            others.contains(&(fault.kind, fault.variable.to_owned()))
        });
        if !is_found {
            missed.push(format!("{} in {}: found only {others:?}", fault.what, fault.shader));
        }
    }
    assert!(missed.is_empty(), "{} of {} missed:\n{}", missed.len(), FAULTS.len(), missed.join("\n"));
}
