//! One side of a grid.

use std::str::FromStr;

/// The flag whose values replace words of the prompt: the first is what the others stand for.
pub(super) const PROMPT: &str = "prompt";
/// Most values of a side.
const MAX_VALUES: usize = 256;

/// A flag of txt2img, and the values that it takes one after the other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    /// The flag without `--`; empty for a side along which nothing changes.
    pub(super) flag: String,
    /// At least one.
    pub(super) values: Vec<String>,
}

impl Default for Axis {
    fn default() -> Axis {
        Axis { flag: String::new(), values: vec![String::new()] }
    }
}

impl Axis {
    /// A value as it stands beside the images: of a file its name alone.
    pub(super) fn label(&self, value: &str) -> String {
        let name = value.rsplit(['/', '\\']).next().unwrap_or(value);
        let value = name.strip_suffix(".safetensors").unwrap_or(name);
        if self.flag == PROMPT { value.to_owned() } else { format!("{} {value}", self.flag) }
    }
}

impl FromStr for Axis {
    type Err = String;

    /// `steps=10,20`; a value with a comma stands in double quotes.
    fn from_str(text: &str) -> Result<Axis, String> {
        let (flag, values) = text.split_once('=').ok_or("give a flag and its values, such as steps=10,20")?;
        let flag = flag.trim().trim_start_matches('-').replace('_', "-");
        let mut parts = vec![String::new()];
        let mut quoted = false;
        for letter in values.chars() {
            match letter {
                '"' => quoted = !quoted,
                ',' if !quoted => parts.push(String::new()),
                _ => parts.last_mut().expect("one at least").push(letter),
            }
        }
        let values: Vec<String> = parts.iter().map(|part| part.trim().to_owned()).collect();
        match () {
            () if quoted => Err("a double quote is not closed".into()),
            () if flag.is_empty() => Err("there is no flag before the =".into()),
            () if values.iter().any(String::is_empty) => Err(format!("{flag}: a value is empty")),
            () if values.len() > MAX_VALUES => {
                Err(format!("{flag}: {} values are too many; {MAX_VALUES} are the most", values.len()))
            }
            () => Ok(Axis { flag, values }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_and_its_values() {
        let axis = |text: &str| text.parse::<Axis>().map(|axis| (axis.flag, axis.values.join("|")));
        let of = |flag: &str, values: &str| Ok((flag.to_owned(), values.to_owned()));
        assert_eq!(axis("steps=10,20"), of("steps", "10|20"));
        assert_eq!(axis("--cfg_scale= 3 , 7.5"), of("cfg-scale", "3|7.5"));
        assert_eq!(axis("prompt=\"a, b\",c=d"), of("prompt", "a, b|c=d"));
        for wrong in ["", "steps", "=1", "steps=", "steps=1,,2", "prompt=\"a"] {
            assert!(axis(wrong).is_err(), "{wrong}");
        }
        assert!(axis(&format!("seed={}1", "1,".repeat(MAX_VALUES))).is_err());
    }

    #[test]
    fn labels_name_files_without_their_folders() {
        let axis = |flag: &str| Axis { flag: flag.into(), values: Vec::new() };
        assert_eq!(axis("steps").label("10"), "steps 10");
        assert_eq!(axis("model").label("a/b.safetensors"), "model b");
        assert_eq!(axis("prompt").label("red"), "red");
    }
}
