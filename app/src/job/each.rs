//! Settings of each of several parts of a job, as options that take a list.

use super::field::OptionField;
use super::text::OptionText;
use std::ffi::OsStr;
use std::path::PathBuf;

/// The files of all parts, which make the parts.
pub(super) struct FileOfEach<'a, T> {
    pub(super) all: &'a mut Vec<T>,
    pub(super) file: fn(&mut T) -> &mut PathBuf,
}

impl<T: Clone + Default> OptionField for FileOfEach<'_, T> {
    fn texts(&self) -> Vec<String> {
        self.all.iter().map(|one| (self.file)(&mut one.clone()).to_text()).collect()
    }

    fn set(&mut self, texts: &[&OsStr]) -> Result<(), String> {
        self.all.resize_with(texts.len(), T::default);
        for (one, text) in self.all.iter_mut().zip(texts) {
            *(self.file)(one) = PathBuf::from_os(text)?;
        }
        Ok(())
    }
}

/// A setting of all parts: given once it is for all of them, else for one after the other.
pub(super) struct EachOf<'a, T> {
    pub(super) all: &'a mut Vec<T>,
    /// What a part is called.
    pub(super) part: &'static str,
    /// What holds for those of several that have no value of their own.
    pub(super) default: &'static str,
    pub(super) field: fn(&mut T) -> &mut dyn OptionField,
}

impl<T: Clone> OptionField for EachOf<'_, T> {
    fn texts(&self) -> Vec<String> {
        let own = |one: &T| (self.field)(&mut one.clone()).texts().pop();
        let texts: Vec<Option<String>> = self.all.iter().map(own).collect();
        match texts.first() {
            Some(first) if texts.iter().all(|text| text == first) => first.iter().cloned().collect(),
            _ => texts.into_iter().map(|text| text.unwrap_or_else(|| self.default.to_owned())).collect(),
        }
    }

    fn set(&mut self, texts: &[&OsStr]) -> Result<(), String> {
        let (count, part) = (self.all.len(), self.part);
        if texts.len() > 1 && texts.len() != count {
            return Err(format!(
                "{} are given for {count} {part}s; give one for all, or one for each",
                texts.len()
            ));
        }
        if count == 0 {
            let article = if part.starts_with('I') { "an" } else { "a" };
            return Err(format!("give {article} {part} first"));
        }
        for (i, one) in self.all.iter_mut().enumerate() {
            let own = texts.get(i).or(texts.first());
            // Of several, one may have no value where there is no usual one.
            let own = own.filter(|text| !(self.default.is_empty() && text.is_empty()));
            (self.field)(one).set(own.map_or(&[], std::slice::from_ref))?;
        }
        Ok(())
    }
}
