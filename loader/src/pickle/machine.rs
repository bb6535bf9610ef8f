//! Interprets the opcodes of a pickle, protocols 1 to 5, and builds nothing but what [`Heap`](super::value::Heap) holds.
//!
//! An interpreter of pickles that executes what they name is Python's `pickle`. This one has no way to execute anything: a
//! name is looked up in the table of [`globals`](super::globals), and what is not there is noted and stands for nothing.
//! The whole pickle is read nevertheless, so that all such names can be reported.

use super::calls;
use super::problem::PickleProblem;
use super::state::{MAX_GLOBAL_NAME, PickleState};
use super::value::{PickleRange, Value};
use std::collections::HashMap;

/// The interpreter. It reads one pickle after the other, as old files have them.
#[derive(Debug)]
pub(super) struct PickleMachine<'a> {
    pub(super) state: PickleState<'a>,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

type Step<T> = Result<T, PickleProblem>;

impl<'a> PickleMachine<'a> {
    pub(super) fn new(data: &'a [u8]) -> PickleMachine<'a> {
        PickleMachine {
            state: PickleState::new(data),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        }
    }

    /// Reads the next pickle and gives the value that it stands for. Names that are not known are in `refused` afterwards.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn run(&mut self) -> Step<Value> {
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
        loop {
            self.state.charge(1)?;
            match self.byte()? {
                b'.' => return self.pop(),
                opcode => self.step(opcode)?,
            }
        }
    }

    fn step(&mut self, opcode: u8) -> Step<()> {
        match opcode {
            // Values.
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' | b'K' | b'M' | b'I' | b'L' | b'G' | b'F' | 0x8a | 0x8b => {
                let number = self.number(opcode)?;
                self.push(number);
            }
            b'X' | 0x8c | 0x8d | b'T' | b'U' | b'B' | b'C' | 0x8e | 0x96 => self.text(opcode)?,
            // Collections.
            b'(' => self.marks.push(self.stack.len()),
            b']' | b')' | b'l' | b't' | 0x85..=0x87 => self.sequence(opcode)?,
            b'}' => {
                let dict = self.state.dict(Vec::new());
                self.push(dict);
            }
            b'd' => {
                let items = self.marked()?;
                let entries = self.pairs(&items)?;
                let dict = self.state.dict(entries);
                self.push(dict);
            }
            b'a' | b'e' | b's' | b'u' | 0x90 => self.fill(opcode)?,
            0x8f => self.push(Value::Data),
            0x91 => {
                self.marked()?;
                self.push(Value::Data);
            }
            // The stack and the memo.
            b'0' => self.pop().map(|_| ())?,
            b'1' => self.marked().map(|_| ())?,
            b'2' => {
                let top = self.pop()?;
                self.push(top);
                self.push(top);
            }
            b'q' | b'r' | b'p' | 0x94 | b'h' | b'j' | b'g' => self.remember(opcode)?,
            // Names and calls.
            b'c' | 0x93 | b'i' | b'o' | b'R' | 0x81 | 0x92 | b'b' => self.call(opcode)?,
            b'Q' => {
                let id = self.pop()?;
                let value = calls::persistent(&mut self.state, id)?;
                self.push(value);
            }
            0x80 => self.protocol()?,
            // A frame only says how far to read ahead.
            0x95 => {
                self.take(8)?;
            }
            b'S' | b'V' | b'P' => return Err(self.unsupported("text of pickle protocol 0")),
            0x82..=0x84 => return Err(self.unsupported("an extension code of pickle")),
            0x97 | 0x98 => return Err(self.unsupported("a buffer outside the pickle")),
            _ => return Err(self.state.malformed("an unknown opcode")),
        }
        Ok(())
    }

    fn protocol(&mut self) -> Step<()> {
        if self.byte()? > 5 {
            return Err(self.unsupported("a later pickle protocol than 5"));
        }
        Ok(())
    }

    fn number(&mut self, opcode: u8) -> Step<Value> {
        Ok(match opcode {
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.array()?))),
            b'K' => Value::Int(i64::from(self.byte()?)),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(self.array()?))),
            b'G' => Value::Float(f64::from_be_bytes(self.array()?)),
            0x8a => {
                let len = usize::from(self.byte()?);
                self.long(len)?
            }
            0x8b => {
                let len = u32::from_le_bytes(self.array()?) as usize;
                self.long(len)?
            }
            opcode => {
                let line = self.line()?;
                let text = std::str::from_utf8(&self.state.data[line.range()]).unwrap_or_default();
                match (opcode, text) {
                    (b'I', "00") => Value::Bool(false),
                    (b'I', "01") => Value::Bool(true),
                    (b'F', text) => Value::Float(text.parse().map_err(|_| self.state.malformed("a number"))?),
                    (_, text) => {
                        let digits = text.strip_suffix('L').unwrap_or(text);
                        Value::Int(digits.parse().map_err(|_| self.state.malformed("a number"))?)
                    }
                }
            }
        })
    }

    /// An integer of that many bytes, the lowest first.
    fn long(&mut self, len: usize) -> Step<Value> {
        let span = self.take(len)?;
        let bytes = &self.state.data[span.range()];
        if len > 8 {
            return Ok(Value::Long(span));
        }
        let fill = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
        let mut wide = [fill; 8];
        wide[..len].copy_from_slice(bytes);
        Ok(Value::Int(i64::from_le_bytes(wide)))
    }

    /// A text, or bytes, which no tensor depends on.
    fn text(&mut self, opcode: u8) -> Step<()> {
        let len = match opcode {
            0x8c | b'U' | b'C' => u64::from(self.byte()?),
            b'X' | b'T' | b'B' => u64::from(u32::from_le_bytes(self.array()?)),
            _ => u64::from_le_bytes(self.array()?),
        };
        let span = self.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        let is_text = matches!(opcode, 0x8c | 0x8d | b'X' | b'U' | b'T');
        self.push(if is_text { Value::Text(span) } else { Value::Data });
        Ok(())
    }

    fn sequence(&mut self, opcode: u8) -> Step<()> {
        let items = match opcode {
            b']' | b')' => Vec::new(),
            b'l' | b't' => self.marked()?,
            count => {
                let from = self.below(usize::from(count - 0x84))?;
                self.stack.split_off(from)
            }
        };
        let index = self.state.heap.sequences.len() as u32;
        self.state.heap.sequences.push(items);
        self.push(if matches!(opcode, b']' | b'l') { Value::List(index) } else { Value::Tuple(index) });
        Ok(())
    }

    /// Adds items to the collection below them. What a container class or something unknown is given is passed over.
    fn fill(&mut self, opcode: u8) -> Step<()> {
        let items = match opcode {
            b'a' | b's' => {
                let from = self.below(if opcode == b'a' { 1 } else { 2 })?;
                self.stack.split_off(from)
            }
            _ => self.marked()?,
        };
        let target = *self.stack.last().ok_or_else(|| self.state.malformed("an empty stack"))?;
        match (target, opcode) {
            (Value::List(index), b'a' | b'e') => self.state.heap.sequences[index as usize].extend(items),
            (Value::Dict(index), b's' | b'u') => {
                let entries = self.pairs(&items)?;
                self.state.heap.dicts[index as usize].extend(entries);
            }
            (Value::Data | Value::Refused(_) | Value::Object(_), _) => {}
            _ => return Err(self.state.malformed("items for what is not a collection")),
        }
        Ok(())
    }

    fn pairs(&self, items: &[Value]) -> Step<Vec<(Value, Value)>> {
        let (pairs, rest) = items.as_chunks::<2>();
        if rest.is_empty() {
            Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
        } else {
            Err(self.state.malformed("a key without a value"))
        }
    }

    fn remember(&mut self, opcode: u8) -> Step<()> {
        let index = match opcode {
            b'q' | b'h' => u32::from(self.byte()?),
            b'r' | b'j' => u32::from_le_bytes(self.array()?),
            0x94 => self.memo.len() as u32,
            _ => {
                let line = self.line()?;
                let text = std::str::from_utf8(&self.state.data[line.range()]).unwrap_or_default();
                text.parse().map_err(|_| self.state.malformed("a place of the memo"))?
            }
        };
        if matches!(opcode, b'h' | b'j' | b'g') {
            let value = self.memo.get(&index).copied();
            let value = value.ok_or_else(|| self.state.malformed("a place of the memo that is empty"))?;
            self.push(value);
        } else {
            let top = *self.stack.last().ok_or_else(|| self.state.malformed("an empty stack"))?;
            self.memo.insert(index, top);
        }
        Ok(())
    }

    /// Opcodes that name something or call it.
    fn call(&mut self, opcode: u8) -> Step<()> {
        let value = match opcode {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.state.global(module, name)?
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (module, name) else {
                    return Err(self.state.malformed("a name that is not a text"));
                };
                self.state.global(module, name)?
            }
            b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                let (arguments, callee) = (self.marked()?, self.state.global(module, name)?);
                calls::call(&mut self.state, callee, &arguments)?
            }
            b'o' => {
                let items = self.marked()?;
                let (callee, arguments) =
                    items.split_first().ok_or_else(|| self.state.malformed("an object without a class"))?;
                calls::call(&mut self.state, *callee, arguments)?
            }
            b'b' => {
                let (state, object) = (self.pop()?, self.pop()?);
                if let Value::Object(index) = object {
                    self.state.heap.objects[index as usize] = state;
                }
                object
            }
            opcode => {
                if opcode == 0x92 {
                    // Named arguments.
                    self.pop()?;
                }
                let (arguments, callee) = (self.pop()?, self.pop()?);
                let Value::Tuple(index) = arguments else {
                    return Err(self.state.malformed("arguments that are not a tuple"));
                };
                let arguments = std::mem::take(&mut self.state.heap.sequences[index as usize]);
                let value = calls::call(&mut self.state, callee, &arguments);
                self.state.heap.sequences[index as usize] = arguments;
                value?
            }
        };
        self.push(value);
        Ok(())
    }

    fn push(&mut self, value: Value) {
        self.stack.push(value);
    }

    fn pop(&mut self) -> Step<Value> {
        let from = self.below(1)?;
        Ok(self.stack.split_off(from)[0])
    }

    /// Where the upper `count` values of the stack begin, above the last mark.
    fn below(&self, count: usize) -> Step<usize> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let from = self.stack.len().checked_sub(count).filter(|from| *from >= floor);
        from.ok_or_else(|| self.state.malformed("an empty stack"))
    }

    /// Takes the values above the last mark, and the mark.
    fn marked(&mut self) -> Step<Vec<Value>> {
        let mark = self.marks.pop().ok_or_else(|| self.state.malformed("a missing mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn byte(&mut self) -> Step<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let span = self.take(N)?;
        Ok(self.state.data[span.range()].try_into().expect("as many bytes"))
    }

    fn take(&mut self, len: usize) -> Step<PickleRange> {
        let end = self.state.at.checked_add(len).filter(|end| *end <= self.state.data.len());
        let end = end.ok_or(PickleProblem::Truncated)?;
        let span = PickleRange { start: self.state.at as u32, end: end as u32 };
        self.state.at = end;
        Ok(span)
    }

    /// The bytes up to the next line break, which is passed over.
    fn line(&mut self) -> Step<PickleRange> {
        let rest = &self.state.data[self.state.at..];
        let limit = rest.len().min(MAX_GLOBAL_NAME + 1);
        match rest[..limit].iter().position(|byte| *byte == b'\n') {
            Some(len) => {
                let span = self.take(len)?;
                self.take(1)?;
                Ok(span)
            }
            None if limit < rest.len() => Err(self.state.malformed("a line that is too long")),
            None => Err(PickleProblem::Truncated),
        }
    }

    fn unsupported(&self, what: &'static str) -> PickleProblem {
        PickleProblem::Unsupported { what, at: self.state.at as u64 }
    }
}
