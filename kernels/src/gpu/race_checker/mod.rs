//! A checker for data races and other faults in shaders, which tests alone use.
//!
//! Commands of real ops on small shapes are caught as they are recorded ([`Launch`]). Their workgroups are run by an interpreter of
//! naga's IR that knows who touched each scalar of shared memory since the last barrier, and which invocations take part in
//! a barrier or a subgroup operation. So a fault is found by what a shader does, not by whether the result is wrong on the
//! machine of the test. Where the adapter runs the variant too, the results are compared, which checks the interpreter.

mod access;
mod arithmetic;
mod cases;
mod collective;
mod expression;
mod faults;
mod finding;
mod launch;
mod machine;
mod memory;
mod program;
mod statement;
mod tests;

pub(super) use launch::intercept;

use crate::gpu::BindingAccess;
use finding::Finding;
use launch::Launch;
use machine::Machine;
use program::Program;

/// What the interpreter did with a command.
struct Outcome {
    findings: Vec<Finding>,
    /// The contents of the arrays.
    arrays: Vec<Vec<u8>>,
    /// For each array, the bytes of a scalar, and the scalars that were written.
    written: Vec<(usize, Vec<(usize, f32)>)>,
}

/// Runs a command whose shader has this text.
///
/// # Panics
/// If the text is not valid, or uses something that is not interpreted.
fn check(launch: &Launch, text: &str) -> Outcome {
    let program = Program::parse(text, &launch.variant)
        .unwrap_or_else(|error| panic!("{} {:?}: {error}", launch.shader.name, launch.variant));
    let mut machine = Machine::new(&program, &launch.params, &launch.arrays, launch.groups, launch.spread);
    let [across, down, deep] = launch.groups;
    for group in 0..across * down * deep {
        machine.run([group % across, group / across % down, group / across / down]);
    }
    let mut outcome = Outcome { findings: Vec::new(), arrays: launch.arrays.clone(), written: Vec::new() };
    outcome.written.resize_with(launch.arrays.len(), || (0, Vec::new()));
    let variables = program.module.global_variables.iter();
    for ((_, global), shared) in variables.zip(&machine.globals) {
        let array = global.binding.and_then(|place| (place.binding as usize).checked_sub(1));
        if let Some(array) = array.filter(|array| launch.shader.bindings[*array] == BindingAccess::Write) {
            outcome.arrays[array] = shared.bytes();
            outcome.written[array] = (shared.width, shared.written().collect());
        }
    }
    outcome.findings = machine.findings.sorted();
    outcome
}
