//! Every instruction set against the specification in `f64`.

use super::*;
use crate::testing::{assert_close, random};
use proptest::prelude::*;

/// Similarities that are nearer to each other than this may be ordered either way.
const TOLERANCE: f64 = 1e-5;

/// The reference with the choice of the fast kernel, where that is a right one.
fn chosen(
    matching: &TokenMatching,
    reference: &reference::ReferenceMerging,
    what: &str,
) -> reference::ReferenceMerging {
    let mut chosen = reference.clone();
    (chosen.merged, chosen.unmerged) = (Vec::new(), Vec::new());
    let (mut worst_merged, mut best_unmerged) = (f64::INFINITY, f64::NEG_INFINITY);
    for (source, similarities) in &reference.similarities {
        let largest = similarities.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let row = matching.rows[*source];
        match reference.destinations.iter().position(|token| matching.rows[*token] == row) {
            Some(at) => {
                assert!(similarities[at] >= largest - TOLERANCE, "{what}: destination of {source}");
                worst_merged = worst_merged.min(largest);
                chosen.merged.push((*source, at));
            }
            None => {
                best_unmerged = best_unmerged.max(largest);
                chosen.unmerged.push(*source);
            }
        }
    }
    assert_eq!(chosen.merged.len(), reference.merged.len(), "{what}: merged");
    assert!(worst_merged >= best_unmerged - TOLERANCE, "{what}: {worst_merged} before {best_unmerged}");
    chosen
}

fn check(grid: [usize; 2], channels: usize, merged: usize) {
    let tokens = grid[0] * grid[1];
    let (x, other) = (random(1, tokens * channels), random(2, tokens * channels));
    let want = reference::match_tokens(&x, grid, channels, merged);
    for isa in Isa::available() {
        let what = format!("{isa} {grid:?} {channels} channels, {merged} merged");
        let matching = match_tokens_with(isa, &x, grid, channels, merged);
        assert_eq!(matching.kept(), tokens - want.merged.len(), "{what}");
        let want = chosen(&matching, &want, &what);
        let mut short = vec![f32::NAN; matching.kept() * channels];
        merge(&other, &matching, channels, &mut short);
        let mut long = vec![0.0; tokens * channels];
        unmerge_add(&short, &matching, channels, &mut long);
        // The order of the rows differs, so the sequences are compared after their return.
        let want = want.unmerge(&want.merge(&other, channels), channels);
        assert_close(&long, &want, 1e-6, &what);
    }
}

#[test]
fn real_shapes() {
    check([32, 32], 320, 512);
    check([24, 40], 320, 288);
    check([16, 16], 64, 128);
}

#[test]
fn sides_without_whole_blocks() {
    for grid in [[1, 1], [1, 9], [9, 1], [3, 3], [5, 2], [7, 9], [0, 4]] {
        check(grid, 8, grid[0] * grid[1] / 2);
    }
    assert_eq!(destination_count([7, 9]), 12);
    assert_eq!(match_tokens(&[1.0; 9], [1, 9], 1, 4).kept(), 9);
}

#[test]
fn all_sources_are_merged_at_most() {
    check([6, 6], 5, 27);
    check([6, 6], 5, 1000);
    assert_eq!(match_tokens(&[1.0; 36], [6, 6], 1, 1000).kept(), 9);
}

#[test]
fn equal_tokens_are_merged_from_the_first_on() {
    for isa in Isa::available() {
        let matching = match_tokens_with(isa, &[1.0; 4 * 4 * 3], [4, 4], 3, 5);
        // Tokens 1, 3, 4, 5 and 6 are the first sources, and 0 the first destination.
        assert_eq!(matching.members(0), [0, 1, 3, 4, 5, 6], "{isa}");
        assert_eq!(matching.rows, [0, 0, 1, 0, 0, 0, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    }
}

#[test]
fn zeros_and_values_that_are_not_finite_are_matched_somehow() {
    let mut x = vec![0.0; 8 * 8 * 4];
    assert_eq!(match_tokens(&x, [8, 8], 4, 20).kept(), 44);
    (x[5], x[40], x[99]) = (f32::NAN, f32::INFINITY, f32::MAX);
    assert_eq!(match_tokens(&x, [8, 8], 4, 20).kept(), 44);
}

#[test]
fn nothing_merged_changes_nothing() {
    let x = random(1, 6 * 6 * 7);
    let matching = match_tokens(&x, [6, 6], 7, 0);
    let mut short = vec![f32::NAN; x.len()];
    merge(&x, &matching, 7, &mut short);
    assert_eq!(short, x);
}

#[test]
fn same_bytes_for_any_threads() {
    let x = random(1, 40 * 40 * 64);
    let run = || {
        let matching = match_tokens(&x, [40, 40], 64, 800);
        let mut short = vec![0.0; matching.kept() * 64];
        merge(&x, &matching, 64, &mut short);
        let mut long = x.clone();
        unmerge_add(&short, &matching, 64, &mut long);
        (matching, long.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
    };
    let want = run();
    for threads in [1, 2, 5] {
        assert_eq!(want, parallel::with_threads(threads, run).unwrap());
    }
}

proptest! {
    #[test]
    fn any_shape(height in 0usize..12, width in 0usize..12, channels in 1usize..40, part in 0usize..=100) {
        check([height, width], channels, height * width * part / 100);
    }
}
