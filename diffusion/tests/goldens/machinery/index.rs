//! Reads the list of cases: `index.json`, and the rows of the two JSON files that have no tensors.

use std::collections::BTreeMap;

use serde_json::Value;

use super::case::Case;
use super::folder::{Folder, read_json};

/// JSON files whose rows are cases; the file name without its ending is the kind.
const JSON_KINDS: [&str; 2] = ["tokenizer", "prompt_weights"];
/// How many characters of a prompt stand in the name of its case.
const NAME_LENGTH: usize = 24;

/// Every case of the folder.
pub(crate) fn read(folder: &Folder) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    for kind in JSON_KINDS {
        let path = folder.goldens.join(format!("{kind}.json"));
        let json = read_json(&path)?;
        let rows = json["rows"].as_array().ok_or_else(|| format!("{} has no rows", path.display()))?;
        for (i, row) in rows.iter().enumerate() {
            cases.push(row_case(kind, i, row)?);
        }
    }
    let path = folder.goldens.join("index.json");
    let json = read_json(&path)?;
    let listed = json["cases"].as_array().ok_or_else(|| format!("{} has no cases", path.display()))?;
    for case in listed {
        cases.push(tensor_case(case).map_err(|e| format!("{}: {e}", path.display()))?);
    }
    Ok(cases)
}

fn row_case(kind: &str, row_number: usize, row: &Value) -> Result<Case, String> {
    let prompt =
        row["prompt"].as_str().ok_or_else(|| format!("{kind}.json: row {row_number} has no prompt"))?;
    let start: String = prompt.chars().take(NAME_LENGTH).collect();
    let name = format!("{row_number} {start:?}");
    Ok(Case { group: kind.to_owned(), name, file: None, tensors: BTreeMap::new(), json: row.clone() })
}

fn tensor_case(json: &Value) -> Result<Case, String> {
    let text = |key: &str| {
        let value = json[key].as_str().map(str::to_owned);
        value.ok_or_else(|| format!("a case has no {key}: {json}"))
    };
    let (group, name, file) = (text("group")?, text("case")?, text("file")?);
    let listed = json["tensors"].as_object().ok_or_else(|| format!("{group}/{name} has no tensors"))?;
    let mut tensors = BTreeMap::new();
    for (tensor, shape) in listed {
        tensors
            .insert(tensor.clone(), dims(shape).ok_or_else(|| format!("{group}/{name}/{tensor}: no shape"))?);
    }
    Ok(Case { group, name, file: Some(file), tensors, json: json.clone() })
}

/// A JSON list of sizes.
pub(crate) fn dims(json: &Value) -> Option<Vec<usize>> {
    json.as_array()?.iter().map(|d| d.as_u64().and_then(|d| usize::try_from(d).ok())).collect()
}
