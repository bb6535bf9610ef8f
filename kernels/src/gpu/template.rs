//! The text of a shader for one of its variants.
//!
//! The text is preceded by the enabled extensions, the types that depend on the variant, and its constants. In the text
//! itself, a line `#if NAME`, `#else` or `#endif` chooses by the variant's flags; nothing else is replaced.

use super::shader::{Shader, ShaderVariant};
use crate::DType;
use std::fmt::Write as _;

/// The flag of shaders that use subgroup operations. naga accepts these without the `enable` of the standard, which it
/// refuses.
pub(crate) const SUBGROUPS: &str = "SUBGROUPS";
/// The flag of shaders that use cooperative matrices.
pub(crate) const COOPERATIVE: &str = "COOPERATIVE";

/// The text of a variant.
///
/// # Panics
/// If an `#if` is not closed, or closed twice.
pub(super) fn expand(shader: &Shader, variant: &ShaderVariant) -> String {
    let mut out = String::new();
    let has = |name: &str| variant.flags.contains(&name);
    if variant.dtype == DType::F16 || has(COOPERATIVE) {
        out.push_str("enable f16;\n");
    }
    if has(COOPERATIVE) {
        out.push_str("enable wgpu_cooperative_matrix;\n");
    }
    out.push_str(match (variant.dtype, variant.vector) {
        (DType::F16, 1) => "alias Elem = f16;\nalias Elems = f16;\nalias Floats = f32;\n",
        (DType::F16, _) => "alias Elem = f16;\nalias Elems = vec4<f16>;\nalias Floats = vec4<f32>;\n",
        (_, 1) => "alias Elem = f32;\nalias Elems = f32;\nalias Floats = f32;\n",
        _ => "alias Elem = f32;\nalias Elems = vec4<f32>;\nalias Floats = vec4<f32>;\n",
    });
    out.push_str(match variant.vector {
        1 => "const V = 1u;\nfn total(x: Floats) -> f32 { return x; }\n",
        _ => "const V = 4u;\nfn total(x: Floats) -> f32 { return (x.x + x.y) + (x.z + x.w); }\n",
    });
    for (name, value) in &variant.constants {
        writeln!(out, "const {name} = {value}u;").expect("a string grows");
    }
    // For each open `#if`, whether its lines are taken.
    let mut open: Vec<bool> = Vec::new();
    for line in shader.sources.iter().flat_map(|source| source.lines()) {
        let words = line.trim();
        if let Some(name) = words.strip_prefix("#if ") {
            open.push(has(name.trim()));
        } else if words == "#else" {
            let last = open.last_mut().unwrap_or_else(|| panic!("{}: #else without #if", shader.name));
            *last = !*last;
        } else if words == "#endif" {
            open.pop().unwrap_or_else(|| panic!("{}: #endif without #if", shader.name));
        } else if open.iter().all(|taken| *taken) {
            out.push_str(line);
            out.push('\n');
        }
    }
    assert!(open.is_empty(), "{}: #if without #endif", shader.name);
    out
}
