//! The functions and classes that a pickle of tensors may name. None is executed: each stands for what is built here.

use crate::DType;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KnownGlobal {
    /// Makes a dictionary.
    Dictionary,
    /// Makes a sequence out of its argument, which it is given as.
    Sequence,
    /// Makes a tensor: storage, offset, shape, strides.
    Tensor,
    /// The same, and as its seventh argument the dtype.
    TypedTensor,
    /// A tensor that is its first argument.
    Parameter,
    /// Calls its first argument with its third.
    FromType,
    /// The class of a storage.
    Storage(Option<DType>),
    /// A dtype.
    DType(DType),
    /// A class whose state holds tensors.
    Container,
    /// Data that no tensor depends on: whatever is made with it is passed over.
    Data,
}

/// Storages of a dtype in the module `torch`, and that dtype's own name there.
const DTYPES: [(&str, &[&str], DType); 15] = [
    ("FloatStorage", &["float32", "float"], DType::F32),
    ("HalfStorage", &["float16", "half"], DType::F16),
    ("BFloat16Storage", &["bfloat16"], DType::BF16),
    ("DoubleStorage", &["float64", "double"], DType::F64),
    ("LongStorage", &["int64", "long"], DType::I64),
    ("IntStorage", &["int32", "int"], DType::I32),
    ("ShortStorage", &["int16", "short"], DType::I16),
    ("CharStorage", &["int8"], DType::I8),
    ("ByteStorage", &["uint8"], DType::U8),
    ("BoolStorage", &["bool"], DType::Bool),
    ("ComplexFloatStorage", &["complex64", "cfloat"], DType::C64),
    ("", &["float8_e4m3fn"], DType::F8E4M3),
    ("", &["float8_e5m2"], DType::F8E5M2),
    ("", &["uint16"], DType::U16),
    ("", &["uint32"], DType::U32),
];

/// All others, by module.
const GLOBALS: &[(&str, &[&str], KnownGlobal)] = &[
    ("collections", &["OrderedDict"], KnownGlobal::Dictionary),
    ("builtins", &["dict"], KnownGlobal::Dictionary),
    ("__builtin__", &["dict"], KnownGlobal::Dictionary),
    ("torch", &["Size"], KnownGlobal::Sequence),
    ("torch._utils", &["_rebuild_tensor", "_rebuild_tensor_v2"], KnownGlobal::Tensor),
    ("torch._utils", &["_rebuild_tensor_v3"], KnownGlobal::TypedTensor),
    ("torch._utils", &["_rebuild_parameter", "_rebuild_parameter_with_state"], KnownGlobal::Parameter),
    ("torch._tensor", &["_rebuild_from_type_v2"], KnownGlobal::FromType),
    ("torch.storage", &["UntypedStorage", "_UntypedStorage"], KnownGlobal::Storage(None)),
    ("torch", &["UntypedStorage"], KnownGlobal::Storage(None)),
    ("torch.nn.modules.container", &["ParameterDict"], KnownGlobal::Container),
    ("torch", &["Tensor", "device", "layout", "strided"], KnownGlobal::Data),
    ("torch", &["FloatTensor", "HalfTensor", "DoubleTensor", "LongTensor", "IntTensor"], KnownGlobal::Data),
    ("torch", &["ShortTensor", "CharTensor", "ByteTensor"], KnownGlobal::Data),
    ("torch.nn.parameter", &["Parameter"], KnownGlobal::Data),
    ("torch.serialization", &["_get_layout"], KnownGlobal::Data),
    ("torch.version", &["TorchVersion"], KnownGlobal::Data),
    ("torch.torch_version", &["TorchVersion"], KnownGlobal::Data),
    ("numpy.core.multiarray", &["scalar", "_reconstruct"], KnownGlobal::Data),
    ("numpy._core.multiarray", &["scalar", "_reconstruct"], KnownGlobal::Data),
    ("numpy", &["dtype", "ndarray"], KnownGlobal::Data),
    ("_codecs", &["encode"], KnownGlobal::Data),
    ("builtins", &["set", "frozenset", "bytearray", "complex"], KnownGlobal::Data),
    ("__builtin__", &["set", "frozenset", "bytearray", "complex"], KnownGlobal::Data),
    // Keys of a dictionary in checkpoints of the first Stable Diffusion models.
    ("pytorch_lightning.callbacks.model_checkpoint", &["ModelCheckpoint"], KnownGlobal::Data),
    ("pytorch_lightning.callbacks", &["model_checkpoint"], KnownGlobal::Data),
];

/// What a name stands for; `None` where it is not among those of tensors.
pub(super) fn known(module: &str, name: &str) -> Option<KnownGlobal> {
    if matches!(module, "torch" | "torch.cuda" | "torch.storage") && !name.is_empty() {
        for (storage, names, dtype) in DTYPES {
            if storage == name {
                return Some(KnownGlobal::Storage(Some(dtype)));
            }
            if module == "torch" && names.contains(&name) {
                return Some(KnownGlobal::DType(dtype));
            }
        }
    }
    GLOBALS
        .iter()
        .find(|(known, names, _)| *known == module && names.contains(&name))
        .map(|(.., known)| *known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_makes_tensors_is_known() {
        assert_eq!(known("torch", "HalfStorage"), Some(KnownGlobal::Storage(Some(DType::F16))));
        assert_eq!(known("torch", "bfloat16"), Some(KnownGlobal::DType(DType::BF16)));
        assert_eq!(known("torch._utils", "_rebuild_tensor_v2"), Some(KnownGlobal::Tensor));
        for (module, name) in [
            ("os", "system"),
            ("posix", "system"),
            ("builtins", "eval"),
            ("builtins", "getattr"),
            ("torch", ""),
            ("torch", "load"),
            ("torch.hub", "load"),
            ("", "FloatStorage"),
            ("torch._utils", "_rebuild_tensor_v2.__globals__"),
            ("collections.OrderedDict", "__init__"),
        ] {
            assert_eq!(known(module, name), None, "{module}.{name}");
        }
    }
}
