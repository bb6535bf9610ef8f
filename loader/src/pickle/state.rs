//! What a pickle has built so far, and what it has asked for.

use super::globals;
use super::problem::{PickleProblem, RefusedGlobal};
use super::value::{Heap, PickleRange, Value};
use std::collections::HashMap;

/// Maximum number of opcodes; models have some ten thousands.
const MAX_OPCODES: usize = 2 << 20;
/// Names that are not known and are kept.
const MAX_REFUSED: usize = 64;
/// Maximum length of the name of a module or of something in it.
pub(super) const MAX_GLOBAL_NAME: usize = 256;

/// The bytes of a pickle, and what follows from those before `at`.
#[derive(Debug)]
pub(super) struct PickleState<'a> {
    pub(super) data: &'a [u8],
    pub(super) at: usize,
    pub(super) heap: Heap,
    opcodes: usize,
    pub(super) refused: Vec<RefusedGlobal>,
    refused_by_name: HashMap<String, u32>,
    pub(super) refused_total: usize,
    /// In archives of the first PyTorch, tensors that the pickle names by numbers.
    pub(super) numbered: HashMap<i64, u32>,
}

impl<'a> PickleState<'a> {
    pub(super) fn new(data: &'a [u8]) -> PickleState<'a> {
        PickleState {
            data,
            at: 0,
            heap: Heap::default(),
            opcodes: 0,
            refused: Vec::new(),
            refused_by_name: HashMap::new(),
            refused_total: 0,
            numbered: HashMap::new(),
        }
    }

    /// Counts work: opcodes, and values that are copied.
    pub(super) fn charge(&mut self, count: usize) -> Result<(), PickleProblem> {
        self.opcodes = self.opcodes.saturating_add(count);
        if self.opcodes > MAX_OPCODES {
            return Err(PickleProblem::TooMany { what: "opcodes", limit: MAX_OPCODES as u64 });
        }
        Ok(())
    }

    /// What a name stands for.
    pub(super) fn global(&mut self, module: PickleRange, name: PickleRange) -> Result<Value, PickleProblem> {
        let text = |span: PickleRange| {
            let text = std::str::from_utf8(&self.data[span.range()]).ok();
            text.filter(|text| text.len() <= MAX_GLOBAL_NAME)
        };
        let (Some(module), Some(name)) = (text(module), text(name)) else {
            return Err(self.malformed("a name that is not valid"));
        };
        if let Some(known) = globals::known(module, name) {
            return Ok(Value::Global(known));
        }
        let whole = format!("{module}.{name}");
        if let Some(index) = self.refused_by_name.get(&whole) {
            return Ok(Value::Refused(*index));
        }
        let index = self.refused_total as u32;
        self.refused_total += 1;
        if self.refused.len() < MAX_REFUSED {
            let at = self.at as u64;
            self.refused.push(RefusedGlobal { name: whole.clone(), at, call: None });
            self.refused_by_name.insert(whole, index);
        }
        Ok(Value::Refused(index))
    }

    pub(super) fn dict(&mut self, entries: Vec<(Value, Value)>) -> Value {
        self.heap.dicts.push(entries);
        Value::Dict(self.heap.dicts.len() as u32 - 1)
    }

    pub(super) fn malformed(&self, what: &'static str) -> PickleProblem {
        PickleProblem::Malformed { what, at: self.at as u64 }
    }

    /// Refuses a pickle that names what is not known, also where it ends with an error afterwards.
    pub(super) fn refuse(&self) -> Result<(), PickleProblem> {
        if self.refused_total == 0 {
            return Ok(());
        }
        Err(PickleProblem::Refused { globals: self.refused.clone(), total: self.refused_total })
    }
}
