//! The threads that take requests.

use std::error::Error;
use std::fs;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use unskew::Host;
use unskew_snapshot_benches::Random;
use unskew_tests::stamped::{Answer, ITEMS, Rows, answer, fill, request, set_current};

use crate::Stamped;

const MAX_NS: u64 = 60_000_000_000;
/// Of a request that takes longer it is asked whether it lost its processor.
const SLOW: Duration = Duration::from_micros(200);

/// What goes on; the turns of a round follow one another.
pub enum Turn {
    Pause = 0,
    End = 1,
}

impl Turn {
    const FIRST: u8 = 2;

    pub fn steady(round: usize) -> u8 {
        Self::FIRST + 2 * round as u8
    }

    pub fn swapping(round: usize) -> u8 {
        Self::steady(round) + 1
    }

    /// The round, and whether generations are swapped; none between turns.
    fn of(turn: u8) -> Option<(usize, bool)> {
        let number = turn.checked_sub(Self::FIRST)?;
        Some((usize::from(number / 2), number % 2 == 1))
    }
}

/// What the threads found in a round.
pub struct Found {
    /// Of all requests, steady and swapping.
    all: [Histogram<u64>; 2],
    /// Of those that kept their processor.
    alone: [Histogram<u64>; 2],
    /// How many did not.
    pub preempted: [u64; 2],
    pub requests: u64,
    pub mixed: u64,
    pub failed: u64,
}

impl Found {
    pub fn new() -> Result<Self, Box<dyn Error>> {
        let histogram = || Histogram::new_with_max(MAX_NS, 3);
        Ok(Self {
            all: [histogram()?, histogram()?],
            alone: [histogram()?, histogram()?],
            preempted: [0; 2],
            requests: 0,
            mixed: 0,
            failed: 0,
        })
    }

    /// Steady and swapping: of all requests, or of those that kept their processor.
    pub fn pair(&self, is_alone: bool) -> (&Histogram<u64>, &Histogram<u64>) {
        let [steady, swapping] = if is_alone { &self.alone } else { &self.all };
        (steady, swapping)
    }

    pub fn add(&mut self, other: &Self) -> Result<(), Box<dyn Error>> {
        for turn in 0..2 {
            self.all[turn].add(&other.all[turn])?;
            self.alone[turn].add(&other.alone[turn])?;
            self.preempted[turn] += other.preempted[turn];
        }
        self.requests += other.requests;
        self.mixed += other.mixed;
        self.failed += other.failed;
        Ok(())
    }
}

/// Takes requests until the end; what was found in each round.
pub fn serve(
    host: &Host,
    stamped: &Stamped,
    seed: u64,
    turn: &AtomicU8,
    rounds: usize,
) -> Result<Vec<Found>, Box<dyn Error>> {
    let mut found = (0..rounds).map(|_| Found::new()).collect::<Result<Vec<_>, _>>()?;
    let mut session = host.session();
    let mut request = request(host)?;
    let mut random = Random::new(seed + 1);
    let mut switches = involuntary_switches();
    loop {
        let current = turn.load(Ordering::Relaxed);
        if current == Turn::End as u8 {
            return Ok(found);
        }
        let rows = pick(&mut random, stamped.rows);
        fill(&mut request, &rows)?;
        let start = Instant::now();
        let answer = answer(&mut session, &request, &rows);
        let took = start.elapsed();
        let Some((round, is_swapping)) = Turn::of(current) else {
            continue;
        };
        let found = &mut found[round];
        found.requests += 1;
        match answer {
            Answer::Right => {}
            Answer::Mixed => found.mixed += 1,
            Answer::Failed => found.failed += 1,
        }
        let mut kept = true;
        if took > SLOW {
            let now = involuntary_switches();
            kept = now == switches;
            switches = now;
        }
        // A request that another turn overtook is of neither.
        if turn.load(Ordering::Relaxed) == current {
            let (turn, ns) = (usize::from(is_swapping), took.as_nanos() as u64);
            found.all[turn].record(ns)?;
            match kept {
                true => found.alone[turn].record(ns)?,
                false => found.preempted[turn] += 1,
            }
        }
    }
}

/// How often this thread lost its processor; nothing where the system does not tell.
fn involuntary_switches() -> Option<u64> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"))?;
    line.trim().parse().ok()
}

fn pick(random: &mut Random, rows: u64) -> Rows {
    let mut picked = [0; ITEMS + 1];
    picked.fill_with(|| random.below(rows));
    picked
}

/// Before anything is timed: both generations answer rightly.
pub fn check(host: &Host, stamped: &Stamped) -> Result<(), Box<dyn Error>> {
    let mut session = host.session();
    let mut request = request(host)?;
    let mut random = Random::new(7);
    for generation in [2, 1] {
        set_current(&stamped.store, generation)?;
        host.refresh()?;
        for _ in 0..1_000 {
            let rows = pick(&mut random, stamped.rows);
            fill(&mut request, &rows)?;
            if answer(&mut session, &request, &rows) != Answer::Right {
                return Err(format!("generation {generation} gives wrong answers").into());
            }
        }
    }
    Ok(())
}
