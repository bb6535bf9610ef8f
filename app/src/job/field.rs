//! A field of a job as an option with a name.

use super::source::ImageSource;
use super::text::OptionText;
use std::ffi::OsStr;
use std::path::PathBuf;

/// How the values of an option are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobOptionKind {
    /// A value.
    Value,
    /// Nothing: it is on or off.
    Switch,
    /// A list of values, given together: sigmas.
    Values,
    /// A list of values, each given by itself.
    List,
    /// A file or folder, or the name of a model.
    File,
    /// A list of files.
    Files,
    /// A list of files with a weight behind a colon.
    WeightedFiles,
    /// A file, or the name of a way to enlarge that needs none.
    Upscaler,
}

/// A field whose values are written as texts.
pub(crate) trait OptionField {
    /// The values; none where nothing was given.
    fn texts(&self) -> Vec<String>;

    /// Takes values in place of those that were there.
    ///
    /// # Errors
    /// The end of a line that begins with the option's name.
    fn set(&mut self, texts: &[&OsStr]) -> Result<(), String>;
}

/// The seed of a job, where `random` and -1, as other programs write it, ask for a random one: for none.
pub(super) struct SeedField<'a>(pub(super) &'a mut Option<u64>);

impl OptionField for SeedField<'_> {
    fn texts(&self) -> Vec<String> {
        self.0.texts()
    }

    fn set(&mut self, texts: &[&OsStr]) -> Result<(), String> {
        match texts {
            [text] if *text == "-1" || text.eq_ignore_ascii_case("random") => *self.0 = None,
            [text] => {
                let seed = u64::from_os(text);
                *self.0 = Some(seed.map_err(|_| {
                    format!(
                        "{:?} is not a whole number from 0 to {}; -1 or random, or leaving it out, chooses one",
                        text.to_string_lossy(),
                        u64::MAX
                    )
                })?);
            }
            texts => return self.0.set(texts),
        }
        Ok(())
    }
}

/// The field of an option, with the life of the job that has it.
pub(crate) type OptionFieldBox<'a> = Box<dyn OptionField + 'a>;

impl<F: OptionField + ?Sized> OptionField for &mut F {
    fn texts(&self) -> Vec<String> {
        (**self).texts()
    }

    fn set(&mut self, texts: &[&OsStr]) -> Result<(), String> {
        (**self).set(texts)
    }
}

impl<T: OptionText> OptionField for Option<T> {
    fn texts(&self) -> Vec<String> {
        self.iter().map(OptionText::to_text).collect()
    }

    fn set(&mut self, texts: &[&OsStr]) -> Result<(), String> {
        *self = match texts {
            [] => None,
            [text] => Some(T::from_os(text)?),
            texts => return Err(format!("is given {} times; give it once", texts.len())),
        };
        Ok(())
    }
}

impl<T: OptionText> OptionField for Vec<T> {
    fn texts(&self) -> Vec<String> {
        self.iter().map(OptionText::to_text).collect()
    }

    fn set(&mut self, texts: &[&OsStr]) -> Result<(), String> {
        *self = texts.iter().map(|text| T::from_os(text)).collect::<Result<_, _>>()?;
        Ok(())
    }
}

/// A switch: one value where it is on.
impl OptionField for bool {
    fn texts(&self) -> Vec<String> {
        if *self { vec!["true".to_owned()] } else { Vec::new() }
    }

    fn set(&mut self, texts: &[&OsStr]) -> Result<(), String> {
        *self = match texts {
            [] => true,
            [text] if *text == "true" => true,
            [text] if *text == "false" => false,
            [text, ..] => return Err(format!("{text:?} is a value, and this is a switch")),
        };
        Ok(())
    }
}

/// A text that is always there; an empty one was not given.
impl OptionField for String {
    fn texts(&self) -> Vec<String> {
        if self.is_empty() { Vec::new() } else { vec![self.clone()] }
    }

    fn set(&mut self, texts: &[&OsStr]) -> Result<(), String> {
        *self = texts.last().map_or(Ok(String::new()), |text| String::from_os(text))?;
        Ok(())
    }
}

impl OptionField for ImageSource {
    fn texts(&self) -> Vec<String> {
        if self.is_given() { vec![self.to_text()] } else { Vec::new() }
    }

    fn set(&mut self, texts: &[&OsStr]) -> Result<(), String> {
        *self = match texts {
            [] => ImageSource::default(),
            [text] => ImageSource::from_os(text)?,
            texts => return Err(format!("is given {} times; give it once", texts.len())),
        };
        Ok(())
    }
}

impl OptionText for ImageSource {
    fn from_text(text: &str) -> Result<ImageSource, String> {
        PathBuf::from_text(text).map(ImageSource::from)
    }

    fn from_os(text: &OsStr) -> Result<ImageSource, String> {
        PathBuf::from_os(text).map(ImageSource::from)
    }

    fn to_text(&self) -> String {
        self.path().to_string_lossy().into_owned()
    }
}
