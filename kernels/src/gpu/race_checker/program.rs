//! The text of a variant as typed naga IR, and the layout of its values.
//!
//! All values are flattened to scalars, each a word of 32 bits: a `vec4<f16>` is four words, an array of 8 of them 32.

use crate::gpu::ShaderVariant;
use crate::gpu::testing;
use naga::back::pipeline_constants;
use naga::valid::{FunctionInfo, ModuleInfo};
use naga::{ArraySize, EntryPoint, Handle, Module, Scalar, Span, Type, TypeInner};

/// A module without override constants.
pub(super) struct Program {
    pub(super) module: Module,
    pub(super) info: ModuleInfo,
    /// Threads of a subgroup.
    pub(super) subgroup: usize,
    text: String,
    /// Where each line of the text begins.
    lines: Vec<usize>,
}

impl Program {
    /// # Errors
    /// The message of naga.
    pub(super) fn parse(text: &str, variant: &ShaderVariant) -> Result<Program, String> {
        let (module, info) = testing::parse(text, variant)?;
        let constants = testing::pipeline_constants(variant);
        let (module, info) = pipeline_constants::process_overrides(&module, &info, None, &constants)
            .map_err(|error| error.to_string())?;
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let named = |values: &[(&str, u32)], name| values.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        let subgroup = named(&variant.constants, "SUBGROUP").or_else(|| named(&variant.overrides, "LANES"));
        Ok(Program {
            module: module.into_owned(),
            info: info.into_owned(),
            subgroup: subgroup.unwrap_or(1) as usize,
            text: text.to_owned(),
            lines,
        })
    }

    pub(super) fn entry(&self) -> &EntryPoint {
        &self.module.entry_points[0]
    }

    pub(super) fn entry_info(&self) -> &FunctionInfo {
        self.info.get_entry_point(0)
    }

    /// The number of the line at a span, from 1 on; 0 where naga has lost the span.
    pub(super) fn line_number(&self, span: Span) -> usize {
        let start = span.to_range().map(|range| range.start);
        start.map_or(0, |start| self.lines.partition_point(|line| *line <= start))
    }

    pub(super) fn line(&self, number: usize) -> &str {
        self.text.lines().nth(number.wrapping_sub(1)).unwrap_or("").trim()
    }

    /// Scalars of a value; of a pointer 1. An array whose length depends on a binding counts as none.
    pub(super) fn scalars(&self, inner: &TypeInner) -> usize {
        match *inner {
            TypeInner::Scalar(_) | TypeInner::Pointer { .. } | TypeInner::ValuePointer { .. } => 1,
            TypeInner::Vector { size, .. } => size as usize,
            TypeInner::CooperativeMatrix { columns, rows, .. } => {
                columns as usize * rows as usize / self.subgroup
            }
            TypeInner::Array { base, size: ArraySize::Constant(len), .. } => {
                len.get() as usize * self.scalars_of(base)
            }
            TypeInner::Array { size: ArraySize::Dynamic, .. } => 0,
            TypeInner::Struct { ref members, .. } => {
                members.iter().map(|member| self.scalars_of(member.ty)).sum()
            }
            ref other => panic!("values of {other:?} are not interpreted"),
        }
    }

    pub(super) fn scalars_of(&self, ty: Handle<Type>) -> usize {
        self.scalars(&self.module.types[ty].inner)
    }

    /// The scalar type of a value's parts.
    pub(super) fn scalar(&self, inner: &TypeInner) -> Scalar {
        match *inner {
            TypeInner::Scalar(scalar)
            | TypeInner::Vector { scalar, .. }
            | TypeInner::CooperativeMatrix { scalar, .. } => scalar,
            TypeInner::Array { base, .. } => self.scalar(&self.module.types[base].inner),
            TypeInner::Struct { ref members, .. } => self.scalar(&self.module.types[members[0].ty].inner),
            ref other => panic!("{other:?} has no scalars"),
        }
    }

    /// The parts of a value that an index chooses from: the scalars of each, and their number. `None` for the length of
    /// an array that depends on a binding.
    pub(super) fn parts(&self, inner: &TypeInner) -> (usize, Option<usize>) {
        match *inner {
            TypeInner::Vector { size, .. } | TypeInner::ValuePointer { size: Some(size), .. } => {
                (1, Some(size as usize))
            }
            TypeInner::Array { base, size: ArraySize::Constant(len), .. } => {
                (self.scalars_of(base), Some(len.get() as usize))
            }
            TypeInner::Array { base, .. } => (self.scalars_of(base), None),
            ref other => panic!("no index into {other:?}"),
        }
    }

    /// The scalars before part `index` of a value.
    pub(super) fn offset(&self, inner: &TypeInner, index: u32) -> usize {
        match inner {
            TypeInner::Struct { members, .. } => {
                members[..index as usize].iter().map(|member| self.scalars_of(member.ty)).sum()
            }
            other => self.parts(other).0 * index as usize,
        }
    }

    /// The type that a pointer points to, if it is one; else the type itself.
    pub(super) fn pointee<'a>(&'a self, inner: &'a TypeInner) -> (&'a TypeInner, bool) {
        match *inner {
            TypeInner::Pointer { base, .. } => (&self.module.types[base].inner, true),
            TypeInner::ValuePointer { .. } => (inner, true),
            _ => (inner, false),
        }
    }

    /// Scalars of what a pointer points to.
    pub(super) fn pointee_scalars(&self, inner: &TypeInner) -> usize {
        match *inner {
            TypeInner::Pointer { base, .. } => self.scalars_of(base),
            TypeInner::ValuePointer { size, .. } => size.map_or(1, |size| size as usize),
            ref other => panic!("{other:?} is not a pointer"),
        }
    }
}
