use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;
use unskew_frame::{Column, ColumnType, Frame, encode};

use crate::golden::{GoldenFunction, call, columns_of, difference, pick};
use crate::instance::{CallError, CallLimits};
use crate::module::Module;

/// How many calls wait for their audit at most; more are dropped.
const SAMPLES: usize = 4;
/// What is set aside for each frame of a sample and each column of its outputs, in words: a request of some hundred candidates
/// fits, and whoever asks for more allocates once.
const FRAME_WORDS: usize = 8 << 10;
const OUTPUT_WORDS: usize = 512;
const OUTPUTS: usize = 32;

/// Calls that were served, made again by another thread on fresh instances: a module that keeps something from call to call
/// gives itself away. Taking a sample copies the call into memory set aside for it; it waits for nobody, and a sample for
/// which there is no room is dropped.
#[derive(Debug)]
pub(crate) struct Audit {
    /// One call in so many of each instance.
    every: u32,
    free: ArrayQueue<Box<Sample>>,
    taken: ArrayQueue<Box<Sample>>,
    dropped: AtomicU64,
    exact: AtomicU64,
    differing: AtomicU64,
    unfinished: AtomicU64,
}

/// What became of the audits of a host, since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audits {
    /// Samples that found no room: the audit is behind.
    pub dropped: u64,
    /// Calls that gave the same bits again.
    pub exact: u64,
    /// Calls that gave something else. Their generation is left like one whose calls fail.
    pub differing: u64,
    /// Calls that took too long the second time.
    pub unfinished: u64,
}

#[derive(Debug, Default)]
struct Sample {
    generation: u64,
    module: Option<Module>,
    function: Option<GoldenFunction>,
    rows: usize,
    frames: [Vec<u64>; 2],
    /// A frame for each column.
    outputs: Vec<Vec<u64>>,
    output_count: usize,
}

impl Audit {
    /// Of one call in `every` of each instance; of none where that is 0.
    pub fn new(every: u32) -> Self {
        let (free, taken) = (ArrayQueue::new(SAMPLES), ArrayQueue::new(SAMPLES));
        for _ in 0..if every == 0 { 0 } else { SAMPLES } {
            let sample = Sample {
                frames: [Vec::with_capacity(FRAME_WORDS), Vec::with_capacity(FRAME_WORDS)],
                outputs: (0..OUTPUTS).map(|_| Vec::with_capacity(OUTPUT_WORDS)).collect(),
                ..Sample::default()
            };
            // There is room for as many.
            let _ = free.push(Box::new(sample));
        }
        Self {
            every,
            free,
            taken,
            dropped: AtomicU64::new(0),
            exact: AtomicU64::new(0),
            differing: AtomicU64::new(0),
            unfinished: AtomicU64::new(0),
        }
    }

    pub fn is_on(&self) -> bool {
        self.every > 0
    }

    pub fn counts(&self) -> Audits {
        // Relaxed: they are counted one by one, and read for people.
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Audits {
            dropped: load(&self.dropped),
            exact: load(&self.exact),
            differing: load(&self.differing),
            unfinished: load(&self.unfinished),
        }
    }

    /// Makes the calls again that were sampled since. `differs` hears of each that gives something else: its generation, and
    /// what differs.
    pub fn run(&self, limits: CallLimits, mut differs: impl FnMut(u64, String)) {
        while let Some(mut sample) = self.taken.pop() {
            let (count, difference) = match sample.difference(limits) {
                Err(CallError::Deadline) => (&self.unfinished, None),
                Err(_) => (&self.differing, Some("it cannot be made again".to_owned())),
                Ok(None) => (&self.exact, None),
                Ok(Some(difference)) => (&self.differing, Some(difference)),
            };
            count.fetch_add(1, Ordering::Relaxed);
            let module = sample.module.take();
            let name = module.as_ref().map_or("", |module| module.descriptor().name.as_str());
            if let Some(difference) = difference {
                let text =
                    format!("module `{name}` keeps something from call to call: on a fresh instance, {difference}");
                differs(sample.generation, text);
            }
            // It came from there.
            let _ = self.free.push(sample);
        }
    }
}

/// Which calls of an instance are sampled.
#[derive(Clone, Debug)]
pub(crate) struct Sampler {
    audit: Arc<Audit>,
    generation: u64,
    until_next: u32,
}

impl Sampler {
    pub fn new(audit: &Arc<Audit>, generation: u64) -> Self {
        Self {
            audit: Arc::clone(audit),
            generation,
            until_next: audit.every,
        }
    }

    /// Counts a call that succeeded; true where it is one to take.
    #[inline]
    pub fn is_due(&mut self) -> bool {
        self.until_next = self.until_next.wrapping_sub(1);
        self.until_next == 0 && self.audit.is_on()
    }

    /// Takes a call: its frames, and the outputs, of which the last `rows` rows are its own.
    pub fn take(
        &mut self,
        module: impl FnOnce() -> Module,
        function: GoldenFunction,
        rows: usize,
        frames: [(&[&Column], usize); 2],
        outputs: &[Column],
    ) {
        self.until_next = self.audit.every;
        let audit = &self.audit;
        let Some(mut sample) = audit.free.pop() else {
            audit.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        sample.generation = self.generation;
        sample.function = Some(function);
        sample.rows = rows;
        let is_whole = sample.fill(frames, outputs);
        let queue = match is_whole {
            true => {
                sample.module = Some(module());
                &audit.taken
            }
            // An output column that was appended to, which no request has.
            false => &audit.free,
        };
        // Both have room for every sample.
        let _ = queue.push(sample);
    }
}

impl Sample {
    fn fill(&mut self, frames: [(&[&Column], usize); 2], outputs: &[Column]) -> bool {
        let mut is_whole = true;
        for (words, (columns, rows)) in self.frames.iter_mut().zip(frames) {
            is_whole &= encode(columns, rows, words).is_ok();
        }
        self.output_count = outputs.len();
        if self.outputs.len() < outputs.len() {
            self.outputs.resize_with(outputs.len(), Vec::new);
        }
        for (words, column) in self.outputs.iter_mut().zip(outputs) {
            is_whole &= encode(&[column], self.rows, words).is_ok();
        }
        is_whole
    }

    /// What differs when the call is made on a fresh instance.
    fn difference(&self, limits: CallLimits) -> Result<Option<String>, CallError> {
        let (Some(module), Some(function)) = (&self.module, self.function) else {
            return Ok(None);
        };
        let descriptor = module.descriptor();
        let types = function.frame_types(descriptor).ok_or(CallError::WrongKind)?;
        let frames = types
            .iter()
            .zip(&self.frames)
            .map(|(types, words)| columns(words, types))
            .collect::<Result<Vec<_>, _>>()?;
        let mut expected = Vec::new();
        for (words, output) in self.outputs[..self.output_count]
            .iter()
            .zip(function.outputs(descriptor))
        {
            let mut column = columns(words, &[output.column_type()])?;
            if let Some(column) = column.pop() {
                expected.push(pick(&column, 0..self.rows));
            }
        }
        let mut instance = module.instantiate(limits).map_err(|_| CallError::Trap)?;
        match call(&mut instance, descriptor, function, self.rows, &frames) {
            Err(CallError::Deadline) => Err(CallError::Deadline),
            found => Ok(difference(&Ok(expected), &found)),
        }
    }
}

fn columns(words: &[u64], types: &[ColumnType]) -> Result<Vec<Column>, CallError> {
    let frame = Frame::check(words, types).map_err(|_| CallError::Output)?;
    Ok(columns_of(&frame))
}

#[cfg(test)]
mod tests;
