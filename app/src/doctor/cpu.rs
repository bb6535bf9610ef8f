//! The processor: its cores, its instruction sets, and what each gives.

use super::{Finding, FindingState, Machine};
use latent_kernels::Isa;
use latent_kernels::simd::{Feature, ISA_VARIABLE};

/// An extension beyond the instruction sets.
struct Extension {
    name: &'static str,
    detection: Detection,
    /// What it gives.
    gives: &'static str,
    /// The precision whose products use it, if there is one.
    precision: Option<&'static str>,
}

/// How an extension is found.
enum Detection {
    Feature(Feature),
    /// By the words that Linux lists.
    Words(&'static [&'static str]),
}

const fn used(
    name: &'static str,
    feature: Feature,
    gives: &'static str,
    precision: &'static str,
) -> Extension {
    Extension { name, detection: Detection::Feature(feature), gives, precision: Some(precision) }
}

const fn unused(name: &'static str, detection: Detection, gives: &'static str) -> Extension {
    Extension { name, detection, gives, precision: None }
}

/// Those of x86-64.
const X86: [Extension; 4] = [
    used("AVX512-VNNI", Feature::Avx512Vnni, "products of 8-bit integers, 64 at once", "int8"),
    used("AVX-VNNI", Feature::AvxVnni, "products of 8-bit integers, 32 at once", "int8"),
    used("AVX512-BF16", Feature::Avx512Bf16, "products of bf16, twice as many at once as of f32", "bf16"),
    used("AMX", Feature::AmxBf16, "products of bf16, many times as many at once as of f32", "bf16"),
];
/// Those of 64-bit Arm.
const ARM: [Extension; 4] = [
    used("dotprod", Feature::NeonDotProd, "products of 8-bit integers, 16 at once", "int8"),
    unused("i8mm", Detection::Feature(Feature::NeonI8mm), "products of 8-bit integers, 32 at once"),
    used("bf16", Feature::NeonBf16, "products of bf16, 16 at once", "bf16"),
    unused("sve", Detection::Words(&["sve"]), "vectors that may be longer than NEON's"),
];

pub(super) fn findings(machine: &Machine) -> Vec<Finding> {
    let cpuinfo = machine.read("proc/cpuinfo").unwrap_or_default();
    let mut findings = vec![Finding::fine("name", brand(&cpuinfo)), cores(&cpuinfo)];
    findings.extend(Isa::ALL.iter().filter(|isa| **isa != Isa::Scalar).map(|isa| instruction_set(*isa)));
    findings.push(in_use());
    let (extensions, line) = if cfg!(target_arch = "aarch64") { (&ARM, "Features") } else { (&X86, "flags") };
    let words = value(&cpuinfo, line);
    findings.extend(extensions.iter().map(|extension| finding(extension, words)));
    findings
}

/// The value of the first line of a name.
fn value<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    let pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    pairs.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim()).next()
}

fn brand(cpuinfo: &str) -> String {
    // Arm's Linux names the machine at most.
    let named = value(cpuinfo, "model name").or_else(|| value(cpuinfo, "Model")).map(str::to_owned);
    // Windows gives it to every process.
    let named = named.or_else(|| std::env::var("PROCESSOR_IDENTIFIER").ok());
    named.unwrap_or_else(|| format!("{}, whose name the system does not give", std::env::consts::ARCH))
}

fn cores(cpuinfo: &str) -> Finding {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let all =
        cpuinfo.lines().filter(|line| line.split(':').next().is_some_and(|key| key.trim() == "processor"));
    match all.count() {
        all if all > available => Finding::with_advice(
            "cores",
            format!("{available} of {all}"),
            FindingState::Hint,
            "a container's limit or the process's affinity leaves some out; raise it to draw faster",
        ),
        _ => Finding::fine("cores", available.to_string()),
    }
}

/// An instruction set that kernels are compiled for.
fn instruction_set(isa: Isa) -> Finding {
    let gives = match isa {
        Isa::Avx2 => "AVX2, FMA, F16C: 8 numbers at once",
        Isa::Avx512 => "AVX-512 F, BW, DQ, VL: 16 numbers at once",
        Isa::Neon => "NEON: 4 numbers at once",
        _ => "",
    };
    if isa.is_available() {
        return Finding::fine(isa.name(), format!("found; {gives}"));
    }
    let advice = match isa {
        // All but very old or very small processors have it.
        Isa::Avx2 => {
            "drawing is many times slower without; where the processor has it, let the virtual machine pass it on"
        }
        _ => "a processor with it draws faster",
    };
    Finding::with_advice(isa.name(), format!("not found; {gives}"), FindingState::Hint, advice)
}

/// The one that the kernels use.
fn in_use() -> Finding {
    let name = "kernels use";
    let fastest = Isa::available().last().unwrap_or(Isa::Scalar);
    match Isa::from_environment() {
        Err(error) => {
            let advice = format!("remove {ISA_VARIABLE}, or set it to one of the available");
            Finding::with_advice(name, error, FindingState::Fatal, advice)
        }
        Ok(Some(isa)) if isa != fastest => Finding::with_advice(
            name,
            format!("{isa}, as {ISA_VARIABLE} says"),
            FindingState::Hint,
            format!("remove {ISA_VARIABLE} to use {fastest}, which is faster"),
        ),
        _ => Finding::fine(name, Isa::best().name()),
    }
}

/// An extension, with the words of Linux where it gives any.
fn finding(extension: &Extension, words: Option<&str>) -> Finding {
    let is_there = match extension.detection {
        Detection::Feature(feature) => Some(feature.is_available()),
        Detection::Words(wanted) => words.map(|words| {
            let words: Vec<_> = words.split_whitespace().collect();
            wanted.iter().all(|wanted| words.contains(wanted))
        }),
    };
    let word = match is_there {
        None => "not known",
        Some(true) => "found",
        Some(false) => "not found",
    };
    let gives = extension.gives;
    let value = match (extension.precision, is_there) {
        (Some(precision), Some(true)) => format!("found; {gives}, with --precision {precision}"),
        (Some(precision), _) => format!("{word}; would give {gives}, with --precision {precision}"),
        (None, _) => format!("{word}; would give {gives}; not used by this version"),
    };
    Finding::fine(extension.name, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::tests::machine;

    const CPUINFO: &str = "processor\t: 0\nmodel name\t: AMD EPYC 9654\nflags\t\t: fpu avx2 avx_vnni amx_bf16\n\n\
                           processor\t: 1\nmodel name\t: AMD EPYC 9654\n";

    #[test]
    fn the_processor_is_named_with_what_it_has() {
        let (_folder, machine) = machine(&[("proc/cpuinfo", CPUINFO)]);
        let findings = findings(&machine);
        assert_eq!(findings[0].value, "AMD EPYC 9654");
    }

    #[test]
    fn extensions_are_told_with_what_uses_them() {
        let of = |name: &str, words| {
            let extension = X86.iter().chain(&ARM).find(|extension| extension.name == name);
            finding(extension.unwrap(), words).value
        };
        let gives = "vectors that may be longer than NEON's; not used by this version";
        assert_eq!(of("sve", Some("fp sve")), format!("found; would give {gives}"));
        assert_eq!(of("sve", Some("fp sve2")), format!("not found; would give {gives}"));
        assert_eq!(of("sve", None), format!("not known; would give {gives}"));
        for (name, feature, precision) in [
            ("AVX512-VNNI", Feature::Avx512Vnni, "int8"),
            ("AMX", Feature::AmxBf16, "bf16"),
            ("dotprod", Feature::NeonDotProd, "int8"),
        ] {
            let value = of(name, None);
            assert!(value.ends_with(&format!(", with --precision {precision}")), "{value}");
            assert_eq!(value.starts_with("found; products"), feature.is_available(), "{value}");
        }
    }

    #[test]
    fn cores_that_may_not_be_used_are_told() {
        let many: String = (0..5000).map(|n| format!("processor\t: {n}\n")).collect();
        assert!(cores(&many).value.ends_with(" of 5000"));
        assert_eq!(cores(&many).state, FindingState::Hint);
        assert_eq!(cores("").state, FindingState::Fine);
    }
}
