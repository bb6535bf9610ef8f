//! The scales and offsets of groups that the K formats have: small integers, in units of a half for the whole block.

use super::parts::put_half;
use super::search::{self, affine_error, best_near};

/// Values of a block of any K format.
pub(super) const BLOCK: usize = 256;

/// Scale and offset of each group of a block, as what they are and as what is stored.
pub(super) struct Groups<const N: usize> {
    /// What is stored: units of the block's scale and of its offset.
    pub(super) units: [[u8; 2]; N],
    /// Scales and offsets, of which the offset is subtracted.
    pub(super) scales: [[f32; 2]; N],
}

/// Finds scales and offsets for groups of values whose numbers go from 0 to `highest`, in units from 0 to `most`, and writes
/// the block's two halves at `at`.
pub(super) fn affine<const N: usize>(
    values: &[f32],
    [highest, most]: [f32; 2],
    block: &mut [u8],
    at: [usize; 2],
) -> Groups<N> {
    let groups = || values.chunks_exact(BLOCK / N);
    let mut wanted = [[0f32; 2]; N];
    for (wanted, group) in wanted.iter_mut().zip(groups()) {
        let (scale, offset) = search::affine(group, highest, true);
        *wanted = [scale, -offset];
    }
    let unit = |part: usize| wanted.iter().fold(0f32, |largest, both| largest.max(both[part])) / most;
    let units = [put_half(block, at[0], unit(0)), put_half(block, at[1], unit(1))];
    let mut found = Groups { units: [[0; 2]; N], scales: [[0.0; 2]; N] };
    for (index, (group, wanted)) in groups().zip(wanted).enumerate() {
        let near = |part: usize| if units[part] == 0.0 { 0.0 } else { wanted[part] / units[part] };
        let error =
            |both: [f32; 2]| affine_error(group, (units[0] * both[0], -(units[1] * both[1])), highest);
        let offset = near(1).round_ties_even().clamp(0.0, most);
        let scale = best_near(near(0), [0.0, most], |scale| error([scale, offset]));
        let offset = best_near(offset, [0.0, most], |offset| error([scale, offset]));
        found.units[index] = [scale as u8, offset as u8];
        found.scales[index] = [units[0] * scale, units[1] * offset];
    }
    found
}

/// Bytes of eight scales and eight offsets of six bits.
pub(super) const PACKED: usize = 12;

/// Packs eight pairs of six bits: in each of the first eight bytes a scale (or an offset) of the first four groups, and the
/// upper two bits of one of the last four, whose lower four bits are in the last four bytes.
pub(super) fn put_pairs(bytes: &mut [u8], pairs: &[[u8; 2]; 8]) {
    for j in 0..4 {
        let ([scale, offset], [late_scale, late_offset]) = (pairs[j], pairs[4 + j]);
        bytes[j] = scale | (late_scale >> 4) << 6;
        bytes[4 + j] = offset | (late_offset >> 4) << 6;
        bytes[8 + j] = late_scale & 15 | (late_offset & 15) << 4;
    }
}

/// The scale and the offset of a group that [`put_pairs`] has packed.
#[inline(always)]
pub(super) fn pair(bytes: &[u8], group: usize) -> [f32; 2] {
    let [scale, offset] = if group < 4 {
        [bytes[group] & 63, bytes[4 + group] & 63]
    } else {
        let (j, low) = (group - 4, bytes[4 + group]);
        [low & 15 | (bytes[j] >> 6) << 4, low >> 4 | (bytes[4 + j] >> 6) << 4]
    };
    [f32::from(scale), f32::from(offset)]
}

/// Finds a scale for each group of 16 values whose numbers go from `-limit` to `limit - 1`, in units from `-most` to `most - 1`,
/// and writes the block's half at `at`.
pub(super) fn signed(values: &[f32], limit: f32, most: f32, block: &mut [u8], at: usize) -> [(i8, f32); 16] {
    let groups = values.as_chunks::<16>().0;
    let mut wanted = [0f32; 16];
    for (wanted, group) in wanted.iter_mut().zip(groups) {
        *wanted = search::signed(group, -limit, limit - 1.0);
    }
    let unit = put_half(block, at, search::largest_magnitude(&wanted) / -most);
    let mut scales = [(0, 0.0); 16];
    for (scale, (group, wanted)) in scales.iter_mut().zip(groups.iter().zip(wanted)) {
        let near = if unit == 0.0 { 0.0 } else { wanted / unit };
        let error = |units: f32| search::signed_error(group, unit * units, -limit, limit - 1.0);
        let units = best_near(near, [-most, most - 1.0], error);
        *scale = (units as i8, unit * units);
    }
    scales
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_six_bits_come_back() {
        let pairs = [[0, 63], [1, 62], [17, 33], [63, 0], [48, 15], [15, 48], [63, 63], [5, 42]];
        let mut bytes = [0; PACKED];
        put_pairs(&mut bytes, &pairs);
        for (group, wanted) in pairs.iter().enumerate() {
            assert_eq!(pair(&bytes, group), wanted.map(f32::from));
        }
    }
}
