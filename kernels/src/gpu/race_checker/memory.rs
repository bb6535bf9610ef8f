//! Memory that invocations share, and who touched each of its scalars last.

use half::f16;

/// Something that reads or writes: an invocation, a subgroup that loads or stores a matrix together, or a workgroup.
pub(super) type Agent = u32;

/// No agent.
const NOBODY: Agent = Agent::MAX;

/// The last accesses to a scalar. An epoch is the time between two barriers.
#[derive(Clone, Copy)]
struct Shadow {
    write_epoch: u32,
    writer: Agent,
    read_epoch: u32,
    reader: Agent,
    /// A further reader in the same epoch.
    other_reader: Agent,
}

impl Shadow {
    const NEW: Shadow =
        Shadow { write_epoch: 0, writer: NOBODY, read_epoch: 0, reader: NOBODY, other_reader: NOBODY };

    /// Notes a read. Returns the agent that wrote in the same epoch, if it is another one.
    fn read(&mut self, epoch: u32, agent: Agent) -> Option<Agent> {
        if self.read_epoch != epoch {
            *self = Shadow { read_epoch: epoch, reader: agent, other_reader: NOBODY, ..*self };
        } else if self.reader != agent {
            self.other_reader = agent;
        }
        (self.write_epoch == epoch && self.writer != agent && self.writer != NOBODY).then_some(self.writer)
    }

    /// Notes a write. Returns an agent that read or wrote in the same epoch, if there is another one.
    fn write(&mut self, epoch: u32, agent: Agent) -> Option<Agent> {
        let others = [
            if self.write_epoch == epoch { self.writer } else { NOBODY },
            if self.read_epoch == epoch { self.reader } else { NOBODY },
            if self.read_epoch == epoch { self.other_reader } else { NOBODY },
        ];
        (self.write_epoch, self.writer) = (epoch, agent);
        others.into_iter().find(|other| *other != NOBODY && *other != agent)
    }
}

/// Where a variable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Read only: the parameters, or an array.
    Constant,
    /// An array that is written.
    Storage,
    Workgroup,
}

/// A variable that invocations share.
pub(super) struct SharedVariable {
    pub(super) name: String,
    pub(super) place: Place,
    /// Bytes of a scalar in a binding.
    pub(super) width: usize,
    pub(super) words: Vec<u32>,
    /// Accesses by the invocations of a workgroup, if it is written.
    within: Vec<Shadow>,
    /// Accesses by workgroups, if it is a binding that is written.
    across: Vec<Shadow>,
}

/// Another agent that touched the same scalar.
pub(super) enum Conflict {
    Invocation(Agent),
    Workgroup(Agent),
    /// Nothing wrote it.
    Unwritten,
}

impl SharedVariable {
    /// A binding with its contents.
    pub(super) fn binding(name: String, width: usize, bytes: &[u8], is_written: bool) -> SharedVariable {
        let words: Vec<u32> = match width {
            2 => bytes.chunks_exact(2).map(|b| u32::from(u16::from_le_bytes([b[0], b[1]]))).collect(),
            4 => bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            _ => panic!("scalars of {width} bytes"),
        };
        let shadows = vec![Shadow::NEW; if is_written { words.len() } else { 0 }];
        let place = if is_written { Place::Storage } else { Place::Constant };
        SharedVariable { name, place, width, words, within: shadows.clone(), across: shadows }
    }

    /// Workgroup memory.
    pub(super) fn workgroup(name: String, scalars: usize) -> SharedVariable {
        SharedVariable {
            name,
            place: Place::Workgroup,
            width: 4,
            words: vec![0; scalars],
            within: vec![Shadow::NEW; scalars],
            across: Vec::new(),
        }
    }

    /// Forgets the contents, before the next workgroup.
    pub(super) fn clear(&mut self) {
        if self.place == Place::Workgroup {
            // A pattern that spoils results: a NaN as `f32` and as `f16`.
            self.words.fill(0x7fc0_7e00);
            self.within.fill(Shadow::NEW);
        }
    }

    /// Notes a read of a scalar.
    pub(super) fn read(&mut self, at: usize, epoch: u32, agent: Agent, group: Agent) -> Option<Conflict> {
        if self.place == Place::Constant {
            return None;
        }
        if self.place == Place::Workgroup && self.within[at].writer == NOBODY {
            return Some(Conflict::Unwritten);
        }
        let other = self.within[at].read(epoch, agent).map(Conflict::Invocation);
        let other_group = self.across.get_mut(at).and_then(|shadow| shadow.read(1, group));
        other.or(other_group.map(Conflict::Workgroup))
    }

    /// Notes a write of a scalar.
    pub(super) fn write(&mut self, at: usize, epoch: u32, agent: Agent, group: Agent) -> Option<Conflict> {
        assert!(self.place != Place::Constant, "a write to {}", self.name);
        let other = self.within[at].write(epoch, agent).map(Conflict::Invocation);
        let other_group = self.across.get_mut(at).and_then(|shadow| shadow.write(1, group));
        other.or(other_group.map(Conflict::Workgroup))
    }

    /// The contents as bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        match self.width {
            2 => self.words.iter().flat_map(|word| (*word as u16).to_le_bytes()).collect(),
            _ => self.words.iter().flat_map(|word| word.to_le_bytes()).collect(),
        }
    }

    /// The scalars that the dispatch wrote: the index and the value of each.
    pub(super) fn written(&self) -> impl Iterator<Item = (usize, f32)> {
        let is_written = |at: &usize| self.across.get(*at).is_some_and(|shadow| shadow.writer != NOBODY);
        (0..self.words.len()).filter(is_written).map(|at| (at, float(self.words[at], self.width)))
    }
}

/// A word as a number, as if it were a float of so many bytes.
pub(super) fn float(word: u32, width: usize) -> f32 {
    match width {
        2 => f16::from_bits(word as u16).to_f32(),
        _ => f32::from_bits(word),
    }
}
