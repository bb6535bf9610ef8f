//! Lists of the pipelines that models take, on disk, so that a later process compiles them before they are needed.
//!
//! Which variants of which shaders a model takes follows from its sizes, those of its images and the adapter, and is known when it
//! has run. Then they can be compiled at once, on all threads, and not one after the other where each is first used.

use super::cache::replace_file;
use super::recorder::PipelineUse;
use super::shader::{Shader, ShaderVariant};
use super::{Gpu, GpuError};
use crate::DType;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// First line of a list: those of another version count as empty.
const HEADER: &str = concat!("pipelines of latent-kernels ", env!("CARGO_PKG_VERSION"));

/// Largest list that is read, in bytes. One of all variants of all shaders has a tenth of that.
const MAX_BYTES: u64 = 1 << 20;

/// Largest value of a constant that is taken from a list: sizes of tiles, of blocks of a weight and of subgroups, and numbers of kinds.
const MAX_VALUE: u32 = 4096;

/// The lists of an adapter.
pub(super) struct PipelineLists {
    folder: PathBuf,
    adapter: String,
}

impl PipelineLists {
    /// Those of an adapter in a folder, with all its features or the least.
    pub(super) fn of(info: &wgpu::AdapterInfo, is_minimal: bool, folder: &Path) -> PipelineLists {
        let wgpu::AdapterInfo { backend, vendor, device, .. } = info;
        let level = if is_minimal { "_minimal" } else { "" };
        let adapter = format!("{}_{vendor}_{device}{level}", backend.to_str());
        PipelineLists { folder: folder.to_owned(), adapter }
    }

    fn file(&self, model: &str) -> PathBuf {
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
        let model: String = model.chars().filter(is_plain).collect();
        self.folder.join(format!("{}_{model}.txt", self.adapter))
    }

    /// The lines of a model's list. A list that does not exist, cannot be read or is of another version counts as empty.
    fn lines(&self, model: &str) -> BTreeSet<String> {
        let file = self.file(model);
        if fs::metadata(&file).map_or(true, |of| of.len() > MAX_BYTES) {
            return BTreeSet::new();
        }
        let text = fs::read_to_string(file).unwrap_or_default();
        let mut lines = text.lines();
        if lines.next() == Some(HEADER) { lines.map(str::to_owned).collect() } else { BTreeSet::new() }
    }

    /// The variants of a model's list, without lines that no shader has.
    fn read(&self, model: &str, shaders: &[&'static Shader]) -> Vec<(&'static Shader, ShaderVariant)> {
        self.lines(model).iter().filter_map(|line| parse(line, shaders)).collect()
    }
}

/// The line of a variant: its shader, its dtype, its vector's width, and its flags and constants; after a semicolon the override
/// constants.
fn line(shader: &Shader, variant: &ShaderVariant) -> String {
    let ShaderVariant { dtype, vector, flags, constants, overrides } = variant;
    let mut text = format!("{} {dtype} {vector}", shader.name);
    flags.iter().for_each(|flag| text.extend([" ", flag]));
    for (name, value) in constants {
        let _ = write!(text, " {name}={value}");
    }
    text.push(';');
    for (name, value) in overrides {
        let _ = write!(text, " {name}={value}");
    }
    text
}

/// The variant of a line. Its names are words of its shader's text.
fn parse(line: &str, shaders: &[&'static Shader]) -> Option<(&'static Shader, ShaderVariant)> {
    let (own, overrides) = line.split_once(';')?;
    let mut words = own.split(' ');
    let name = words.next()?;
    let shader = *shaders.iter().find(|shader| shader.name == name)?;
    let dtype = match words.next()? {
        "f32" => DType::F32,
        "f16" => DType::F16,
        _ => return None,
    };
    let vector = match words.next()? {
        "1" => 1,
        "4" => 4,
        _ => return None,
    };
    let mut variant = ShaderVariant::new(dtype, vector);
    for word in words {
        match word.split_once('=') {
            None => variant.flags.push(word_of(shader, word)?),
            Some((name, value)) => variant.constants.push((word_of(shader, name)?, small(value)?)),
        }
    }
    for word in overrides.split_whitespace() {
        let (name, value) = word.split_once('=')?;
        variant.overrides.push((word_of(shader, name)?, small(value)?));
    }
    Some((shader, variant))
}

/// A word of a shader's text.
fn word_of(shader: &Shader, word: &str) -> Option<&'static str> {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = shader.sources.iter().flat_map(|source| source.split(|c| !is_inner(c)));
    words.filter(|own| !own.is_empty()).find(|own| *own == word)
}

/// A constant's value: none of a shader is larger.
fn small(text: &str) -> Option<u32> {
    text.parse().ok().filter(|value| *value <= MAX_VALUE)
}

impl Gpu {
    /// Compiles the pipelines that a model took in an earlier process, of those of `shaders`, on all threads. From now on the list of
    /// that name is what [`Gpu::save_pipelines`] writes. Without a folder ([`GpuOptions::cache`](super::GpuOptions::cache)) there are no
    /// lists.
    ///
    /// # Errors
    /// A lost GPU. A pipeline that does not compile is an error only where it is needed.
    pub fn prepare(&self, model: &str, shaders: &[&'static Shader]) -> Result<(), GpuError> {
        let Some(lists) = self.pipeline_lists() else { return self.check() };
        let variants = lists.read(model, shaders);
        let mut state = self.state();
        state.model = Some(model.to_owned());
        drop(state.recorder.prepare(self, variants));
        drop(state);
        self.check()
    }

    /// How pipelines were compiled since the GPU was opened.
    #[must_use]
    pub fn pipeline_use(&self) -> PipelineUse {
        self.state().recorder.compiled()
    }

    /// Adds all that was compiled to the list of the model that was prepared last.
    ///
    /// # Errors
    /// A folder that cannot be made or written.
    pub(super) fn save_list(&self) -> Result<(), GpuError> {
        let Some(lists) = self.pipeline_lists() else { return Ok(()) };
        let state = self.state();
        let Some(model) = &state.model else { return Ok(()) };
        // Another GPU of the same kind may have written what this one did not need.
        let known = lists.lines(model);
        let mut lines = known.clone();
        lines.extend(state.recorder.variants().map(|(shader, variant)| line(shader, variant)));
        if lines == known {
            return Ok(());
        }
        let text = lines.iter().fold(format!("{HEADER}\n"), |text, line| text + line + "\n");
        replace_file(&lists.file(model), text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::gpus;
    use super::super::{Adapter, Array, GpuOptions, adapters};
    use super::*;
    use crate::DType;
    use crate::activation::{Activation, gpu::activate};
    use crate::elementwise::gpu::{add_assign, scale};
    use crate::shaders;

    #[test]
    fn every_variant_is_found_by_its_line() {
        for shader in shaders::ALL {
            for mut variant in (shader.variants)() {
                for (i, (_, value)) in variant.overrides.iter_mut().enumerate() {
                    *value = 7 + i as u32;
                }
                let line = line(shader, &variant);
                let (found, parsed) = parse(&line, shaders::ALL).unwrap_or_else(|| panic!("{line}"));
                assert!(found.name == shader.name && parsed == variant, "{line}");
            }
        }
        for damaged in [
            "",
            ";",
            "conv2d",
            "nothing f32 1;",
            "add f64 1;",
            "add f32 4; X=1",
            "add f32 4 GATE;",
            "add f32 9;",
            "add f32;",
            "gemm f32 4 DEPTH=65536;",
        ] {
            assert!(parse(damaged, shaders::ALL).is_none(), "{damaged:?}");
        }
    }

    /// Three kernels one after the other.
    fn run(gpu: &Gpu) -> Vec<f32> {
        let mut x = Array::upload(gpu, DType::F32, &[1.0; 64]).unwrap();
        let y = Array::upload(gpu, DType::F32, &[2.0; 64]).unwrap();
        add_assign(&mut x, &y).unwrap();
        scale(&mut x, 2.0).unwrap();
        activate(Activation::Silu, &mut x).unwrap();
        x.read().unwrap()
    }

    #[test]
    fn what_a_submission_needs_is_compiled_at_once() {
        for (name, gpu) in gpus() {
            let mut x = Array::upload(&gpu, DType::F32, &[1.0; 64]).unwrap();
            scale(&mut x, 2.0).unwrap();
            assert_eq!(gpu.pipeline_use(), PipelineUse::default(), "{name}");
            drop(x);
            let first = run(&gpu);
            let PipelineUse { compiled, rounds } = gpu.pipeline_use();
            assert!(compiled >= 2 && rounds <= 2, "{name}: {compiled} in {rounds}");
            assert_eq!(run(&gpu), first, "{name}");
            assert_eq!(gpu.pipeline_use().compiled, compiled, "{name}");
        }
    }

    #[test]
    fn a_later_gpu_compiles_before_it_computes() {
        let Some(adapter) = adapters().into_iter().max_by_key(Adapter::rank) else { return };
        let folder = std::env::temp_dir().join(format!("latent-pipelines-{}", std::process::id()));
        let open = || {
            let options = GpuOptions { cache: Some(folder.clone()), ..GpuOptions::default() };
            let gpu = Gpu::open(&adapter, &options).unwrap();
            gpu.prepare("sd1/f32", shaders::ALL).unwrap();
            gpu
        };
        let first = open();
        assert_eq!(first.pipeline_use(), PipelineUse::default());
        let want = run(&first);
        let compiled = first.pipeline_use().compiled;
        first.save_pipelines().unwrap();

        let second = open();
        assert_eq!(second.pipeline_use(), PipelineUse { compiled, rounds: 1 });
        assert_eq!(run(&second), want);
        assert_eq!(second.pipeline_use(), PipelineUse { compiled, rounds: 1 });

        // A damaged list is one without lines, and a line that no shader has is left out.
        let file = second.pipeline_lists().unwrap().file("sd1/f32");
        assert!(file.file_name().unwrap().to_str().unwrap().ends_with("_sd1f32.txt"));
        for damaged in ["\u{0}\u{1}", "", HEADER, &format!("{HEADER}\nadd f32 9;\n")] {
            fs::write(&file, damaged).unwrap();
            let third = open();
            assert_eq!(third.pipeline_use().compiled, 0, "{damaged:?}");
            assert_eq!(run(&third), want);
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
