//! What every case is run with: the golden files and the checkpoints, each read or made once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::case::Case;
use super::checkpoints::Checkpoints;
use super::folder::Folder;
use super::target::Target;
use super::tensors::{Golden, GoldenFile, Values};

/// The reference data of a run.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) folder: Folder,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) target: Target,
    files: RefCell<BTreeMap<String, Rc<GoldenFile>>>,
}

impl Context {
    /// The data of a folder; nothing is read yet.
    pub(crate) fn new(folder: Folder) -> Self {
        Self { folder, checkpoints: Checkpoints::new(), target: Target::cpu(), files: RefCell::default() }
    }

    /// The same data for another device.
    #[allow(dead_code, reason = "the tests of the machinery need no device")]
    pub(crate) fn on(self, target: Target) -> Self {
        Self { target, ..self }
    }

    /// The golden tensor `name` of a case.
    pub(crate) fn golden(&self, case: &Case, name: &str) -> Result<Golden, String> {
        let file = case.file.as_ref().ok_or_else(|| format!("{} has no tensors", case.id()))?;
        let full = format!("{}/{name}", case.name);
        let opened = self.file(file)?;
        opened.get(&full).cloned().ok_or_else(|| format!("{file} has no tensor {full:?}"))
    }

    /// The golden tensor `name` of a case, which must be f32.
    pub(crate) fn f32s(&self, case: &Case, name: &str) -> Result<Vec<f32>, String> {
        match self.golden(case, name)?.values {
            Values::F32(values) => Ok(values),
            _ => Err(format!("{}/{name} is not of type F32", case.id())),
        }
    }

    /// The golden tensor `name` of a case, which must be i32.
    pub(crate) fn i32s(&self, case: &Case, name: &str) -> Result<Vec<i32>, String> {
        match self.golden(case, name)?.values {
            Values::I32(values) => Ok(values),
            _ => Err(format!("{}/{name} is not of type I32", case.id())),
        }
    }

    /// The golden tensor `name` of a case, which must be u8.
    #[allow(dead_code, reason = "the tests of the machinery have no images")]
    pub(crate) fn u8s(&self, case: &Case, name: &str) -> Result<Vec<u8>, String> {
        match self.golden(case, name)?.values {
            Values::U8(values) => Ok(values),
            _ => Err(format!("{}/{name} is not of type U8", case.id())),
        }
    }

    /// Every way in which the files of a case are not what the index says: one line each.
    pub(crate) fn missing(&self, case: &Case) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, shape) in &case.tensors {
            match self.golden(case, name) {
                Ok(golden) if golden.shape == *shape => {
                    if golden.to_f64().iter().any(|v| !v.is_finite()) {
                        problems.push(format!("golden {}/{name} is not finite", case.id()));
                    }
                }
                Ok(golden) => problems.push(format!(
                    "golden {}/{name}: the index says {shape:?}, the file {:?}",
                    case.id(),
                    golden.shape
                )),
                Err(problem) => problems.push(format!("golden missing: {problem}")),
            }
        }
        match case.all_checkpoints() {
            Ok(keys) => problems.extend(keys.iter().filter_map(|key| self.checkpoints.check(key).err())),
            Err(problem) => problems.push(problem),
        }
        problems
    }

    fn file(&self, name: &str) -> Result<Rc<GoldenFile>, String> {
        if let Some(file) = self.files.borrow().get(name) {
            return Ok(Rc::clone(file));
        }
        let file = Rc::new(GoldenFile::open(&self.folder.goldens.join(name))?);
        self.files.borrow_mut().insert(name.to_owned(), Rc::clone(&file));
        Ok(file)
    }
}
