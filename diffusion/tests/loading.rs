//! Weights are read on the threads of `latent_kernels::parallel`: values, errors and what is told of them stay the same.

use latent_diffusion::loader::{Checkpoint, Weights};
use latent_diffusion::params::Params;
use latent_kernels::parallel;
use std::cell::RefCell;
use std::sync::Arc;

/// Rows and columns of a table that is read in several pieces.
const TABLE: [usize; 2] = [700, 1000];

/// Two tables of `f32`, in this order in the file, with NaN at these places.
fn checkpoint(first_bad: Option<usize>, second_bad: Option<usize>) -> Checkpoint {
    let len = 4 * TABLE[0] * TABLE[1];
    let entry = |start: usize| serde_json::json!({"dtype": "F32", "shape": TABLE, "data_offsets": [start, start + len]});
    let header = serde_json::json!({"b.weight": entry(0), "a.weight": entry(len)}).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    for bad in [first_bad, second_bad] {
        let start = file.len();
        file.resize(start + len, 0);
        if let Some(index) = bad {
            file[start + 4 * index..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
        }
    }
    Checkpoint::from_bytes("tables", file).unwrap()
}

/// Reads `a`, then `b`, with so many threads: the lengths that were told, and the error.
fn load(checkpoint: Checkpoint, threads: usize) -> (Vec<u64>, Option<String>) {
    let weights = Weights::new(Arc::new(checkpoint));
    let read = || {
        let told = RefCell::new(Vec::new());
        let on_read = |bytes| told.borrow_mut().push(bytes);
        let params = Params::new(weights, &on_read);
        let result = ["a", "b"].into_iter().try_for_each(|name| params.embedding(name, TABLE).map(drop));
        (told.take(), result.err().map(|error| error.to_string()))
    };
    parallel::with_threads(threads, read).unwrap()
}

#[test]
fn the_same_error_with_any_number_of_threads() {
    let message = |name: &str, index: usize| {
        Some(format!(
            "tables: tensor {name:?} is NaN or infinite at index {index}; the file is damaged, get it again from its source"
        ))
    };
    let bytes = 4 * (TABLE[0] * TABLE[1]) as u64;
    for threads in [1, 2, 5] {
        assert_eq!(load(checkpoint(None, None), threads), (vec![bytes; 2], None));
        assert_eq!(
            load(checkpoint(Some(699_999), None), threads),
            (vec![bytes], message("b.weight", 699_999))
        );
        // The first that is asked for, not the first in the file.
        assert_eq!(load(checkpoint(Some(1), Some(600_000)), threads), (vec![], message("a.weight", 600_000)));
    }
}
