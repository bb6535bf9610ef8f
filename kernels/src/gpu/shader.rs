//! The description of a shader on the Rust side.

use crate::DType;

/// How a shader uses an array that is bound to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindingAccess {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    Write,
}

/// A shader. Each of its [`ShaderVariant`]s is compiled to a pipeline.
///
/// Group 0 binds its parameters, a `var<uniform>`, at 0 and its arrays from 1 on.
#[derive(Debug)]
pub struct Shader {
    /// The name in lists and measurements: that of the file.
    pub name: &'static str,
    /// The text, in parts: first the text that several shaders share, then that of the shader alone.
    pub sources: &'static [&'static str],
    /// How it uses its arrays.
    pub bindings: &'static [BindingAccess],
    /// Bytes of its parameters.
    pub params: usize,
    /// Every variant in use, as far as the compiled code depends on it.
    pub variants: fn() -> Vec<ShaderVariant>,
}

/// What distinguishes the pipelines of a shader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShaderVariant {
    /// The dtype of arrays of activations: `F32` or `F16`. The shader calls it `Elem`.
    pub dtype: DType,
    /// Elements of one access, 1 or 4: `Elems` in memory, `Floats` in registers.
    pub vector: u32,
    /// Names for which `#if` holds.
    pub flags: Vec<&'static str>,
    /// Constants, which lengths of arrays may depend on.
    pub constants: Vec<(&'static str, u32)>,
    /// Override constants.
    pub overrides: Vec<(&'static str, u32)>,
}

impl ShaderVariant {
    /// A variant without flags.
    #[must_use]
    pub fn new(dtype: DType, vector: u32) -> ShaderVariant {
        assert!(
            matches!(dtype, DType::F32 | DType::F16) && matches!(vector, 1 | 4),
            "a variant of {vector} {dtype}"
        );
        ShaderVariant { dtype, vector, flags: Vec::new(), constants: Vec::new(), overrides: Vec::new() }
    }

    /// Four elements at once if `width` is a multiple of four.
    #[must_use]
    pub fn of_width(dtype: DType, width: usize) -> ShaderVariant {
        ShaderVariant::new(dtype, if width.is_multiple_of(4) { 4 } else { 1 })
    }

    /// With a flag.
    #[must_use]
    pub fn flag(mut self, name: &'static str, set: bool) -> ShaderVariant {
        if set {
            self.flags.push(name);
        }
        self
    }

    /// With a constant.
    #[must_use]
    pub fn constant(mut self, name: &'static str, value: u32) -> ShaderVariant {
        self.constants.push((name, value));
        self
    }

    /// With an override constant.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: u32) -> ShaderVariant {
        self.overrides.push((name, value));
        self
    }

    /// Both dtypes by both widths, for a shader's list.
    #[must_use]
    pub fn basic() -> Vec<ShaderVariant> {
        [DType::F32, DType::F16]
            .into_iter()
            .flat_map(|dtype| [ShaderVariant::new(dtype, 1), ShaderVariant::new(dtype, 4)])
            .collect()
    }
}
